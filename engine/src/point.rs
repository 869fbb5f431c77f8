//! Points by name and type, for programs that have values rather than text.

use silverback_query::lineprotocol::{escape_key, escape_measurement};
use silverback_storage::model::{
    Batch, FieldColumn, FieldValue, KeyHasher, KeyRef, MeasurementRows, NameOf, TIMESTAMP_MAX,
    TIMESTAMP_MIN, unwritable,
};
use silverback_storage::{Error, ErrorKind, Result};

/// A point: one series, one time, at least one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    measurement: Vec<u8>,
    tags: Vec<(Vec<u8>, Vec<u8>)>,
    fields: Vec<(Vec<u8>, FieldValue)>,
    timestamp: i64,
}

/// What a field may be given.
pub trait IntoFieldValue {
    /// The value with its type.
    fn into_field_value(self) -> FieldValue;
}

macro_rules! field_values {
    ($($own:ty => $variant:ident),*) => {
        $(impl IntoFieldValue for $own {
            fn into_field_value(self) -> FieldValue {
                FieldValue::$variant(self)
            }
        })*
    };
}

field_values!(f64 => Float, i64 => Integer, u64 => Unsigned, bool => Boolean);

impl IntoFieldValue for &str {
    fn into_field_value(self) -> FieldValue {
        FieldValue::String(self.as_bytes().into())
    }
}

impl IntoFieldValue for FieldValue {
    fn into_field_value(self) -> FieldValue {
        self
    }
}

impl Point {
    /// A point of `measurement` at `timestamp` (ns UTC), without tags and fields yet.
    pub fn new(measurement: impl AsRef<[u8]>, timestamp: i64) -> Point {
        let measurement = measurement.as_ref().to_vec();
        Point {
            measurement,
            tags: Vec::new(),
            fields: Vec::new(),
            timestamp,
        }
    }

    /// The same point with one more tag. One without a value is left out, as `InfluxDB`'s clients do.
    #[must_use]
    pub fn tag(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Point {
        if !value.as_ref().is_empty() {
            self.tags
                .push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        }
        self
    }

    /// The same point with one more field; of two with one name the later stays.
    #[must_use]
    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl IntoFieldValue) -> Point {
        let name = name.as_ref();
        self.fields.retain(|(own, _)| own != name);
        self.fields.push((name.to_vec(), value.into_field_value()));
        self
    }

    /// What is wrong with the point itself, if anything is.
    fn fault(&self) -> Option<String> {
        let names = [(NameOf::Measurement, &self.measurement)].into_iter();
        let tags = self.tags.iter();
        let tags = tags.flat_map(|(key, value)| [(NameOf::TagKey, key), (NameOf::TagValue, value)]);
        let fields = self.fields.iter().map(|(name, _)| (NameOf::Field, name));
        for (of, name) in names.chain(tags).chain(fields) {
            if let Some(why) = unwritable(of, name) {
                let name = String::from_utf8_lossy(name);
                return Some(format!("invalid {of} {name:?}: {why}"));
            }
        }
        if self.fields.is_empty() {
            return Some("a point has at least one field".to_owned());
        }
        if !(TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(&self.timestamp) {
            let time = self.timestamp;
            return Some(format!(
                "time {time} is outside {TIMESTAMP_MIN}..={TIMESTAMP_MAX}"
            ));
        }
        None
    }

    /// Appends the series key as line protocol writes it, so that a point and a line of one series
    /// have one text and one hash.
    fn push_key(&self, text: &mut Vec<u8>) {
        escape_measurement(&self.measurement, text);
        let mut tags: Vec<_> = self.tags.iter().collect();
        tags.sort_unstable();
        for (key, value) in tags {
            text.push(b',');
            escape_key(key, text);
            text.push(b'=');
            escape_key(value, text);
        }
    }
}

/// The text that the keys of `points` lie in, and where.
pub(crate) fn key_texts(points: &[Point]) -> Result<(Vec<u8>, Vec<usize>)> {
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(points.len());
    for (index, point) in points.iter().enumerate() {
        if let Some(fault) = point.fault() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("point {index}: {fault}"),
            ));
        }
        point.push_key(&mut text);
        ends.push(text.len());
    }
    if u32::try_from(text.len()).is_err() {
        return Err(Error::new(
            ErrorKind::Limit,
            "the keys of one call have 4 GiB at most",
        ));
    }
    Ok((text, ends))
}

/// The batch of `points`, whose keys lie in `text` up to `ends`.
pub(crate) fn batch<'text>(
    points: &[Point],
    text: &'text [u8],
    ends: &[usize],
    hasher: KeyHasher,
) -> Batch<'text> {
    let narrow = |size: usize| u32::try_from(size).expect("the text was bounded");
    let mut rows: Vec<MeasurementRows> = Vec::new();
    let mut start = 0;
    for (index, (point, end)) in points.iter().zip(ends).enumerate() {
        let own = rows
            .iter()
            .position(|rows| *rows.measurement == *point.measurement);
        let own = own.unwrap_or_else(|| {
            rows.push(MeasurementRows {
                measurement: point.measurement.as_slice().into(),
                keys: Vec::new(),
                timestamps: Vec::new(),
                lines: Vec::new(),
                fields: Vec::new(),
            });
            rows.len() - 1
        });
        let hash = hasher.hash(&text[start..*end]);
        let key = KeyRef {
            offset: narrow(start),
            len: narrow(end - start),
            hash,
        };
        start = *end;
        push(&mut rows[own], point, key, narrow(index + 1));
    }
    for rows in &mut rows {
        let count = rows.timestamps.len();
        rows.fields.iter_mut().for_each(|field| field.pad(count));
    }
    Batch { text, rows }
}

fn push(rows: &mut MeasurementRows, point: &Point, key: KeyRef, line: u32) {
    let row = rows.timestamps.len();
    for (name, value) in &point.fields {
        let same = |field: &FieldColumn| {
            *field.name == **name && field.column.values.field_type() == value.field_type()
        };
        let own = rows.fields.iter().position(same);
        let own = own.unwrap_or_else(|| {
            rows.fields
                .push(FieldColumn::absent(name, value.field_type(), row));
            rows.fields.len() - 1
        });
        rows.fields[own].push(row, value);
    }
    rows.keys.push(key);
    rows.timestamps.push(point.timestamp);
    rows.lines.push(line);
}
