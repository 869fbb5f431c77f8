//! Field values and their types.

use std::fmt;

/// The type of a field. The discriminants are written to disk and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FieldType {
    /// 64-bit IEEE 754, every bit kept: NaN payloads, -0.0, infinities.
    Float = 1,
    /// Signed 64-bit.
    Integer = 2,
    /// Unsigned 64-bit.
    Unsigned = 3,
    /// True or false.
    Boolean = 4,
    /// Bytes, UTF-8 by convention; what a client sent is kept as it was.
    String = 5,
}

impl FieldType {
    /// The type written as `code`, if there is one.
    pub fn from_code(code: u8) -> Option<FieldType> {
        Some(match code {
            1 => FieldType::Float,
            2 => FieldType::Integer,
            3 => FieldType::Unsigned,
            4 => FieldType::Boolean,
            5 => FieldType::String,
            _ => return None,
        })
    }

    /// The byte that stands for the type on disk.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The type's name as `InfluxDB` writes it.
    pub fn name(self) -> &'static str {
        match self {
            FieldType::Float => "float",
            FieldType::Integer => "integer",
            FieldType::Unsigned => "unsigned",
            FieldType::Boolean => "boolean",
            FieldType::String => "string",
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One value of a field.
#[derive(Clone, Debug)]
pub enum FieldValue {
    /// See [`FieldType::Float`].
    Float(f64),
    /// See [`FieldType::Integer`].
    Integer(i64),
    /// See [`FieldType::Unsigned`].
    Unsigned(u64),
    /// See [`FieldType::Boolean`].
    Boolean(bool),
    /// See [`FieldType::String`].
    String(Box<[u8]>),
}

/// The same, its string where it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldValueRef<'v> {
    /// See [`FieldType::Float`].
    Float(f64),
    /// See [`FieldType::Integer`].
    Integer(i64),
    /// See [`FieldType::Unsigned`].
    Unsigned(u64),
    /// See [`FieldType::Boolean`].
    Boolean(bool),
    /// See [`FieldType::String`].
    String(&'v [u8]),
}

impl From<FieldValueRef<'_>> for FieldValue {
    fn from(value: FieldValueRef<'_>) -> FieldValue {
        match value {
            FieldValueRef::Float(value) => FieldValue::Float(value),
            FieldValueRef::Integer(value) => FieldValue::Integer(value),
            FieldValueRef::Unsigned(value) => FieldValue::Unsigned(value),
            FieldValueRef::Boolean(value) => FieldValue::Boolean(value),
            FieldValueRef::String(value) => FieldValue::String(value.into()),
        }
    }
}

impl FieldValue {
    /// The value's type.
    pub fn field_type(&self) -> FieldType {
        match self {
            FieldValue::Float(_) => FieldType::Float,
            FieldValue::Integer(_) => FieldType::Integer,
            FieldValue::Unsigned(_) => FieldType::Unsigned,
            FieldValue::Boolean(_) => FieldType::Boolean,
            FieldValue::String(_) => FieldType::String,
        }
    }
}

/// Equal means the same type and the same bits: a NaN equals itself, 0.0 and -0.0 differ.
impl PartialEq for FieldValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (FieldValue::Float(a), FieldValue::Float(b)) => a.to_bits() == b.to_bits(),
            (FieldValue::Integer(a), FieldValue::Integer(b)) => a == b,
            (FieldValue::Unsigned(a), FieldValue::Unsigned(b)) => a == b,
            (FieldValue::Boolean(a), FieldValue::Boolean(b)) => a == b,
            (FieldValue::String(a), FieldValue::String(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for FieldValue {}
