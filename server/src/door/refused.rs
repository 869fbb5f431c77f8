//! What is said of a write that was not stored whole, in `InfluxDB`'s words: clients match them.
//! Used by every door that takes line protocol.

use silverback::query::lineprotocol::{LineError, LineErrorKind};

use silverback::WriteOutcome;

/// Lines that are told of at most; the rest is counted.
const LINES_TOLD_MAX: usize = 100;

/// The longest piece of a bad line that is repeated, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// Said of all points that are older than their policy keeps them, without a place: clients match
/// the text with the count behind it.
const BEYOND_RETENTION: &str = "points beyond retention policy";

/// What to say of the lines that were not stored, if there are any.
pub(crate) fn text(written: &WriteOutcome) -> Option<Vec<u8>> {
    let first = written.errors.first()?;
    let unparsable = |error: &&LineError| error.kind == LineErrorKind::Unparsable;
    let dropped = written
        .errors
        .iter()
        .filter(|error| error.kind == LineErrorKind::Dropped)
        .count();
    let mut text = Vec::new();
    if written.stored == 0 && written.errors.iter().all(|error| unparsable(&error)) {
        join(written.errors.iter(), &mut text);
        return Some(text);
    }
    text.extend_from_slice(b"partial write: ");
    if dropped == 0 {
        join(written.errors.iter(), &mut text);
    } else {
        // InfluxDB names the first point that was dropped and counts the others; age, which it looks
        // at in another place, only where there is nothing else.
        let is_dropped = |error: &&LineError| error.kind == LineErrorKind::Dropped;
        let is_old = |error: &LineError| error.reason.starts_with(BEYOND_RETENTION);
        let drops = || written.errors.iter().filter(is_dropped);
        let drop = drops().find(|error| !is_old(error)).or(drops().next());
        let named = written
            .errors
            .iter()
            .filter(unparsable)
            .chain([drop.unwrap_or(first)]);
        join(named, &mut text);
    }
    text.extend_from_slice(format!(" dropped={dropped}").as_bytes());
    Some(text)
}

/// How many points or lines were not stored.
pub(crate) fn count(written: &WriteOutcome) -> u64 {
    let lost = |error: &&LineError| error.kind != LineErrorKind::Stripped;
    written.errors.iter().filter(lost).count() as u64
}

/// Each error on a line of its own.
fn join<'a>(errors: impl Iterator<Item = &'a LineError>, text: &mut Vec<u8>) {
    let mut untold = 0_usize;
    for (index, error) in errors.enumerate() {
        if index >= LINES_TOLD_MAX {
            untold += 1;
            continue;
        }
        if index > 0 {
            text.push(b'\n');
        }
        say(error, text);
    }
    if untold > 0 {
        text.extend_from_slice(format!("\nand {untold} more lines").as_bytes());
    }
}

/// The error with its place. The line stays bytes: what is no UTF-8 is shown byte by byte.
fn say(error: &LineError, text: &mut Vec<u8>) {
    if error.kind == LineErrorKind::Unparsable {
        let line = &error.text[..error.text.len().min(TEXT_BYTES_MAX)];
        text.extend_from_slice(b"unable to parse '");
        text.extend_from_slice(line);
        text.extend_from_slice(if line.len() < error.text.len() {
            b"...': "
        } else {
            b"': "
        });
    }
    text.extend_from_slice(error.reason.as_bytes());
    if error.reason != BEYOND_RETENTION {
        let place = format!(" (line {}, column {})", error.line, error.column);
        text.extend_from_slice(place.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: LineErrorKind, line: u32, reason: &str) -> LineError {
        LineError {
            kind,
            line,
            column: 2,
            text: b"bad".as_slice().into(),
            reason: reason.to_owned(),
        }
    }

    fn text(stored: u64, errors: Vec<LineError>) -> Option<String> {
        let written = WriteOutcome {
            stored,
            errors,
            ..WriteOutcome::default()
        };
        super::text(&written).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn nothing_wrong_is_no_refusal() {
        assert_eq!(text(3, vec![]), None);
    }

    #[test]
    fn all_lines_bad_is_not_a_partial_write() {
        let errors = vec![
            error(LineErrorKind::Unparsable, 1, "missing fields"),
            error(LineErrorKind::Unparsable, 3, "invalid number"),
        ];
        assert_eq!(
            text(0, errors).unwrap(),
            "unable to parse 'bad': missing fields (line 1, column 2)\n\
             unable to parse 'bad': invalid number (line 3, column 2)"
        );
    }

    #[test]
    fn bad_lines_among_good_ones_count_as_not_dropped() {
        let errors = vec![error(LineErrorKind::Unparsable, 2, "missing fields")];
        assert_eq!(
            text(1, errors).unwrap(),
            "partial write: unable to parse 'bad': missing fields (line 2, column 2) dropped=0"
        );
    }

    #[test]
    fn dropped_points_are_counted_and_the_first_is_named() {
        let errors = vec![
            error(LineErrorKind::Dropped, 2, "field type conflict: a"),
            error(LineErrorKind::Dropped, 3, "field type conflict: b"),
        ];
        assert_eq!(
            text(0, errors).unwrap(),
            "partial write: field type conflict: a (line 2, column 2) dropped=2"
        );
    }

    #[test]
    fn old_points_are_counted_and_named_where_nothing_else_is_dropped() {
        let old = |line| error(LineErrorKind::Dropped, line, BEYOND_RETENTION);
        assert_eq!(
            text(1, vec![old(1), old(3)]).unwrap(),
            "partial write: points beyond retention policy dropped=2"
        );
        let other = error(LineErrorKind::Dropped, 2, "field type conflict: a");
        assert_eq!(
            text(1, vec![old(1), other]).unwrap(),
            "partial write: field type conflict: a (line 2, column 2) dropped=2"
        );
    }

    #[test]
    fn a_thousand_bad_lines_are_not_all_repeated() {
        let errors: Vec<_> = (1..=1000)
            .map(|line| error(LineErrorKind::Unparsable, line, "missing fields"))
            .collect();
        let text = text(0, errors).unwrap();
        assert!(text.ends_with("\nand 900 more lines"), "{text}");
        assert!(text.len() < 10_000);
    }
}
