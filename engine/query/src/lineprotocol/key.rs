//! Series keys: `measurement,tag=value,...` with its escapes.

use std::borrow::Cow;

use silverback_storage::model::{KeyError, KeyParser, SeriesKey, TagSet};

/// Reads line protocol keys for storage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys;

/// Where a key is wrong, in bytes from its start, and why.
pub(super) type KeyFault = (usize, &'static str);

impl KeyParser for Keys {
    fn parse(&self, text: &[u8]) -> Result<SeriesKey, KeyError> {
        let key = parse_key(text).map_err(|(at, reason)| KeyError(format!("{at}:{reason}")))?;
        if key.tags.get(b"time").is_some() {
            let measurement = String::from_utf8_lossy(&key.measurement);
            return Err(KeyError(format!(
                "invalid tag key: input tag \"time\" on measurement \"{measurement}\" is invalid"
            )));
        }
        Ok(key)
    }
}

/// The place and the reason of a [`KeyError`] that says the line is no point; `None` where the
/// point is one but cannot be stored.
pub fn key_fault(words: &str) -> Option<(usize, &str)> {
    let (at, reason) = words.split_once(':')?;
    Some((at.parse().ok()?, reason))
}

/// Reads `measurement,tag=value,...`, which ends with `text`.
pub(super) fn parse_key(text: &[u8]) -> Result<SeriesKey, KeyFault> {
    plain_key(text).map_or_else(|| any_key(text), Ok)
}

/// Reads a key in which nothing is escaped and nothing is wrong, as nearly all are; `None` where that is
/// not so. Cost: two searches a tag.
fn plain_key(text: &[u8]) -> Option<SeriesKey> {
    if memchr::memchr(b'\\', text).is_some() {
        return None;
    }
    let measurement_end = memchr::memchr(b',', text).unwrap_or(text.len());
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::with_capacity(TAGS_EXPECTED);
    let mut rest = &text[measurement_end..];
    while let [b',', tag @ ..] = rest {
        let equals = memchr::memchr2(b'=', b',', tag)?;
        let (key, value) = (&tag[..equals], &tag[equals + 1..]);
        let end = memchr::memchr2(b',', b'=', value).unwrap_or(value.len());
        let (value, behind) = value.split_at(end);
        if tag[equals] == b',' || behind.first() == Some(&b'=') {
            return None;
        }
        if key.is_empty() || value.is_empty() {
            return None;
        }
        pairs.push((key, value));
        rest = behind;
    }
    let measurement = &text[..measurement_end];
    (!measurement.is_empty()).then_some(SeriesKey {
        measurement: measurement.into(),
        tags: TagSet::from_pairs(&mut pairs).ok()?,
    })
}

/// Reads any key.
fn any_key(text: &[u8]) -> Result<SeriesKey, KeyFault> {
    let measurement_end = find_unescaped(text, 0, b',').unwrap_or(text.len());
    if measurement_end == 0 {
        return Err((0, "missing measurement"));
    }
    let measurement = unescape(&text[..measurement_end], b", ").into();
    let mut tags: Vec<Parsed<'_>> = Vec::with_capacity(TAGS_EXPECTED);
    let mut at = measurement_end;
    while at < text.len() {
        let start = at + 1;
        let end = find_unescaped(text, start, b',').unwrap_or(text.len());
        tags.push(parse_tag(text, start, end)?);
        at = end;
    }
    let mut pairs: Vec<(&[u8], &[u8])> =
        tags.iter().map(|(key, value)| (&**key, &**value)).collect();
    let tags = TagSet::from_pairs(&mut pairs).map_err(|_| (measurement_end, "duplicate tags"))?;
    Ok(SeriesKey { measurement, tags })
}

/// Tags that a key has as a rule, at most.
const TAGS_EXPECTED: usize = 16;

/// A tag: where nothing is escaped, as it stands in the text.
type Parsed<'text> = (Cow<'text, [u8]>, Cow<'text, [u8]>);

/// Reads `key=value` in `text[start..end]`.
fn parse_tag(text: &[u8], start: usize, end: usize) -> Result<Parsed<'_>, KeyFault> {
    let tag = &text[start..end];
    let Some(equals) = find_unescaped(tag, 0, b'=') else {
        let reason = if tag.is_empty() {
            "missing tag key"
        } else {
            "missing tag value"
        };
        return Err((start, reason));
    };
    if equals == 0 {
        return Err((start, "missing tag key"));
    }
    let value = &tag[equals + 1..];
    if value.is_empty() {
        return Err((end, "missing tag value"));
    }
    if value.ends_with(b"\\") {
        // It would escape what follows wherever the key is written out again.
        return Err((end - 1, "invalid tag format"));
    }
    match find_unescaped(value, 0, b'=') {
        Some(second) => Err((start + equals + 1 + second, "invalid tag format")),
        None => Ok((unescape(&tag[..equals], b",= "), unescape(value, b",= "))),
    }
}

/// Where `wanted` stands in `text` from `start` on without a backslash right before it.
pub(super) fn find_unescaped(text: &[u8], start: usize, wanted: u8) -> Option<usize> {
    memchr::memchr_iter(wanted, &text[start..])
        .map(|at| start + at)
        .find(|at| *at == 0 || text[at - 1] != b'\\')
}

/// `text` with the backslash taken from before each byte of `escapable`; others stay.
pub(super) fn unescape<'text>(text: &'text [u8], escapable: &[u8]) -> Cow<'text, [u8]> {
    if memchr::memchr(b'\\', text).is_none() {
        return text.into();
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(next) if *byte == b'\\' && escapable.contains(next) => {}
            _ => plain.push(*byte),
        }
    }
    plain.into()
}

/// Appends a measurement's name as line protocol writes it.
pub fn escape_measurement(name: &[u8], out: &mut Vec<u8>) {
    escape(name, b", ", out);
}

/// Appends a tag key, tag value or field key as line protocol writes it.
pub fn escape_key(name: &[u8], out: &mut Vec<u8>) {
    escape(name, b",= ", out);
}

fn escape(name: &[u8], escapable: &[u8], out: &mut Vec<u8>) {
    for byte in name {
        if escapable.contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_plain_key_is_what_any_key_is(text in "[ab=,]{0,16}") {
            let any = any_key(text.as_bytes());
            prop_assert_eq!(plain_key(text.as_bytes()), any.ok());
        }

        #[test]
        fn a_key_with_escapes_is_not_plain(text in "[ab=, \\\\]{0,16}") {
            let any = any_key(text.as_bytes());
            prop_assert_eq!(parse_key(text.as_bytes()), any);
        }
    }
}
