//! Times as a query writes them in strings.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::result::QueryError;

/// The moment that `text` says, ns UTC, or `None` where it does not look like a date. A text
/// without an offset is in `zone`, UTC where `None`.
///
/// # Errors
/// `Statement` where it looks like a date and is none, or lies outside what 64 bits hold.
pub(crate) fn parse_time(text: &str, zone: Option<&TimeZone>) -> Result<Option<i64>, QueryError> {
    if !looks_like_date(text.as_bytes()) {
        return Ok(None);
    }
    let invalid = || QueryError::statement("invalid timestamp string");
    let (local, offset) = parse_parts(text.as_bytes()).ok_or_else(invalid)?;
    let utc = TimeZone::UTC;
    let timestamp = match offset {
        Some(offset) => offset.to_timestamp(local),
        None => zone.unwrap_or(&utc).to_timestamp(local),
    };
    let ns = timestamp.map_err(|_| invalid())?.as_nanosecond();
    match i64::try_from(ns) {
        Ok(ns) => Ok(Some(ns)),
        Err(_) => Err(QueryError::statement(format!(
            "time {:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z {} time literal",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second(),
            if ns < 0 { "underflows" } else { "overflows" }
        ))),
    }
}

fn looks_like_date(text: &[u8]) -> bool {
    let shape = b"dddd-dd-dd";
    text.len() >= shape.len()
        && shape.iter().zip(text).all(|(shape, byte)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => other == byte,
        })
}

/// Date and time as written, and the offset where one is written.
fn parse_parts(text: &[u8]) -> Option<(DateTime, Option<Offset>)> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    let month = sign_and_digits(&mut rest, b'-')?;
    let day = sign_and_digits(&mut rest, b'-')?;
    let date = (i16::try_from(year).ok()?, small(month)?, small(day)?);
    let Some((separator, mut rest)) = rest.split_first() else {
        let local = DateTime::new(date.0, date.1, date.2, 0, 0, 0, 0).ok()?;
        return Some((local, None));
    };
    let hour = small(digits(&mut rest, 2)?)?;
    let minute = small(sign_and_digits(&mut rest, b':')?)?;
    let second = small(sign_and_digits(&mut rest, b':')?)?;
    let fraction = fraction(&mut rest)?;
    let local = DateTime::new(date.0, date.1, date.2, hour, minute, second, fraction).ok()?;
    match (separator, rest) {
        (b' ', []) => Some((local, None)),
        (b'T', b"Z") => Some((local, Some(Offset::UTC))),
        (b'T', [sign @ (b'+' | b'-'), offset @ ..]) => {
            let mut rest = offset;
            let hours = i32::try_from(digits(&mut rest, 2)?).ok()?;
            let minutes = i32::try_from(sign_and_digits(&mut rest, b':')?).ok()?;
            if !rest.is_empty() || hours > 24 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 60 + minutes) * 60;
            let seconds = if *sign == b'-' { -seconds } else { seconds };
            Some((local, Some(Offset::from_seconds(seconds).ok()?)))
        }
        _ => None,
    }
}

fn small(value: u32) -> Option<i8> {
    i8::try_from(value).ok()
}

/// Takes `count` digits off.
fn digits(rest: &mut &[u8], count: usize) -> Option<u32> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    head.iter().try_fold(0, |value: u32, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        Some(value * 10 + digit)
    })
}

/// Takes `sign` and two digits off.
fn sign_and_digits(rest: &mut &[u8], sign: u8) -> Option<u32> {
    *rest = rest.strip_prefix(&[sign])?;
    digits(rest, 2)
}

/// Takes a fraction of a second off, in ns; 0 where there is none. Digits behind the ninth count
/// for nothing.
fn fraction(rest: &mut &[u8]) -> Option<i32> {
    let Some(tail) = rest.strip_prefix(b".") else {
        return Some(0);
    };
    let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (head, tail) = tail.split_at(count);
    *rest = tail;
    let ns = (0..9).fold(0, |ns, index| {
        let digit = head.get(index).map_or(0, |byte| i32::from(byte - b'0'));
        ns * 10 + digit
    });
    Some(ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_others_are_told_apart() {
        for (text, ns) in [
            ("1970-01-02", 86_400_000_000_000),
            ("1970-01-01 00:00:01", 1_000_000_000),
            ("1970-01-01 00:00:01.25", 1_250_000_000),
            ("1970-01-01T00:00:00.0000000019Z", 1),
            ("1969-12-31T23:00:00-01:30", 1_800_000_000_000),
        ] {
            assert_eq!(parse_time(text, None), Ok(Some(ns)), "{text}");
        }
        for text in ["", "abc", "70-01-01", "1970/01/01"] {
            assert_eq!(parse_time(text, None), Ok(None), "{text}");
        }
        for text in [
            "1970-02-30",
            "1970-01-01 ",
            "1970-01-01T00:00:00",
            "1970-01-01 00:00:00Z",
            "1970-01-01 24:00:00",
            "1970-01-01 00:00:00.",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01T00:00:00+01:60",
            "1970-01-01T00:00:00+25:00",
            "1970-01-01x00:00:00",
        ] {
            let error = parse_time(text, None).unwrap_err();
            assert_eq!(error.message(), "invalid timestamp string", "{text}");
        }
    }
}
