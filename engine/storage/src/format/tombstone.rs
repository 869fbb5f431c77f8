//! The bytes of a tombstone: the payload of its record in the log, and the body of the manifest's
//! edit. Page: `docs/format/tombstone.md`.
//!
//! It knows bytes and ids, not which of them exist.

use crate::error::Result;
use crate::format::definitions::{damaged, take_count, take_id, take_number};
use crate::format::manifest::take_array;
use crate::model::{
    DatabaseId, MeasurementId, PolicyId, Sequence, SeriesId, SeriesSet, TimeRange, Tombstone,
    push_varint,
};

/// A tombstone's size at most, bytes: what an alternating choice of four million series takes.
pub const TOMBSTONE_BYTES_MAX: usize = 16 << 20;

/// Appends database, policy, time and targets; not the sequence, which the record has.
pub fn encode_tombstone(database: DatabaseId, tombstone: &Tombstone, bytes: &mut Vec<u8>) {
    push_varint(bytes, u64::from(database.0));
    push_varint(
        bytes,
        tombstone.policy.map_or(0, |policy| u64::from(policy.0)),
    );
    bytes.extend_from_slice(&tombstone.range.start.to_le_bytes());
    bytes.extend_from_slice(&tombstone.range.end.to_le_bytes());
    push_varint(bytes, tombstone.targets.len() as u64);
    for (measurement, set) in &tombstone.targets {
        push_varint(bytes, u64::from(measurement.0));
        let spans = match set {
            SeriesSet::All => {
                bytes.push(ALL);
                continue;
            }
            SeriesSet::Spans(spans) => spans,
        };
        bytes.push(SPANS);
        push_varint(bytes, spans.len() as u64);
        let mut behind = 0;
        for (first, last) in spans {
            push_varint(bytes, first.0 - behind);
            push_varint(bytes, last.0 - first.0);
            behind = last.0;
        }
    }
}

/// Every series of the measurement.
const ALL: u8 = 0;
/// A list of spans.
const SPANS: u8 = 1;

/// Takes a tombstone that has `sequence` off the front.
///
/// # Errors
/// `Corrupt` if the bytes are none: the caller adds the place.
pub fn decode_tombstone(bytes: &mut &[u8], sequence: Sequence) -> Result<(DatabaseId, Tombstone)> {
    let database = DatabaseId(take_id(bytes)?);
    let policy = match u32::try_from(take_number(bytes)?) {
        Ok(0) => None,
        Ok(id) => Some(PolicyId(id)),
        Err(_) => return Err(damaged("an id is too large")),
    };
    let start = i64::from_le_bytes(take_array(bytes)?);
    let end = i64::from_le_bytes(take_array(bytes)?);
    let mut targets: Vec<(MeasurementId, SeriesSet)> = Vec::new();
    for _ in 0..take_count(bytes)? {
        let measurement = MeasurementId(take_id(bytes)?);
        if targets.last().is_some_and(|(last, _)| *last >= measurement) {
            return Err(damaged("the measurements of a tombstone do not ascend"));
        }
        targets.push((measurement, decode_set(bytes)?));
    }
    let tombstone = Tombstone {
        sequence,
        policy,
        targets,
        range: TimeRange { start, end },
    };
    Ok((database, tombstone))
}

fn decode_set(bytes: &mut &[u8]) -> Result<SeriesSet> {
    let [kind] = take_array(bytes)?;
    match kind {
        ALL => return Ok(SeriesSet::All),
        SPANS => {}
        _ => return Err(damaged("a set of series is of no known kind")),
    }
    let mut spans: Vec<(SeriesId, SeriesId)> = Vec::new();
    let mut behind: u64 = 0;
    for _ in 0..take_count(bytes)? {
        let first = behind.checked_add(take_number(bytes)?);
        let first = first.ok_or_else(|| damaged("a series id passes 64 bits"))?;
        let last = first.checked_add(take_number(bytes)?);
        let last = last.ok_or_else(|| damaged("a series id passes 64 bits"))?;
        // The first of all is 1 or more; a gap lies before each other one.
        if first <= behind || !spans.is_empty() && first == behind + 1 {
            return Err(damaged("the series of a tombstone do not ascend"));
        }
        spans.push((SeriesId(first), SeriesId(last)));
        behind = last;
    }
    Ok(SeriesSet::Spans(spans))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tombstone {
        let series = [1, 2, 3, 7, 300, 301].map(SeriesId).to_vec();
        Tombstone {
            sequence: Sequence(9),
            policy: Some(PolicyId(2)),
            targets: vec![
                (MeasurementId(1), SeriesSet::of(series)),
                (MeasurementId(4), SeriesSet::All),
                (MeasurementId(5), SeriesSet::of(Vec::new())),
            ],
            range: TimeRange { start: -5, end: 7 },
        }
    }

    fn bytes_of(tombstone: &Tombstone) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_tombstone(DatabaseId(3), tombstone, &mut bytes);
        bytes
    }

    #[test]
    fn a_tombstone_reads_back_as_written() {
        let all = Tombstone {
            policy: None,
            range: TimeRange::ALL,
            ..sample()
        };
        for tombstone in [sample(), all] {
            let bytes = bytes_of(&tombstone);
            let mut rest = &bytes[..];
            let read = decode_tombstone(&mut rest, Sequence(9)).unwrap();
            assert_eq!(read, (DatabaseId(3), tombstone));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_cut_or_changed_tombstone_is_an_error_or_another_one_but_never_a_panic() {
        let bytes = bytes_of(&sample());
        for end in 0..bytes.len() {
            let cut = decode_tombstone(&mut &bytes[..end], Sequence(9));
            assert!(cut.is_err(), "cut at {end}");
        }
        for index in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[index] = value;
                if let Ok(read) = decode_tombstone(&mut &changed[..], Sequence(9)) {
                    let same = read == (DatabaseId(3), sample());
                    assert!(changed == bytes || !same, "byte {index}");
                }
            }
        }
        let mut many = bytes_of(&Tombstone {
            targets: Vec::new(),
            ..sample()
        });
        many.pop();
        push_varint(&mut many, u64::from(u32::MAX));
        assert!(decode_tombstone(&mut &many[..], Sequence(1)).is_err());
    }

    #[test]
    fn the_page_shows_the_bytes_of_a_tombstone() {
        let page = include_str!("../../../../docs/format/tombstone.md");
        let hex: Vec<String> = bytes_of(&sample())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let shown: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("    "))
            .flat_map(str::split_whitespace)
            .collect();
        assert_eq!(shown, hex);
    }
}
