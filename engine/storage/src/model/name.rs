//! Which names of things inside a measurement, and values of tags, can be written at all.

use std::fmt;

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOf {
    /// A measurement.
    Measurement,
    /// A tag key.
    TagKey,
    /// The value of a tag.
    TagValue,
    /// A field.
    Field,
}

impl fmt::Display for NameOf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            NameOf::Measurement => "measurement",
            NameOf::TagKey => "tag key",
            NameOf::TagValue => "tag value",
            NameOf::Field => "field",
        })
    }
}

/// Why no line of line protocol can have `name`, however it is escaped; `None` where one can. A name
/// that is given otherwise must pass this too: nobody could write to what has it, and the line that a point
/// is exported as would be another.
///
/// # Source
/// The rules of `InfluxDB` 1.x: only comma, space and equals sign can be escaped, and a backslash
/// before a line feed keeps both.
pub fn unwritable(of: NameOf, name: &[u8]) -> Option<&'static str> {
    let is_field = of == NameOf::Field;
    let ends_line = |pair: &[u8]| pair[1] == b'\n' && (is_field || pair[0] != b'\\');
    let begins = match name {
        [] => return Some("it is empty"),
        [b'\n', ..] => return Some("it has a line feed, which ends a line"),
        [first, ..] => *first,
    };
    if name.ends_with(b"\\") {
        return Some("it ends with a backslash, which escapes what follows it");
    }
    if name.windows(2).any(ends_line) {
        return Some("it has a line feed, which ends a line");
    }
    match of {
        NameOf::Measurement if begins == b'#' => Some("it begins as a comment does"),
        NameOf::Measurement if matches!(begins, b'\t' | 0) => {
            Some("it begins with a tab or a zero byte, which lines may be indented with")
        }
        NameOf::TagKey | NameOf::Field if name == b"time" => Some("every point has its time by it"),
        NameOf::Measurement | NameOf::TagKey | NameOf::TagValue | NameOf::Field => None,
    }
}
