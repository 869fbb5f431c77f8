//! The index of a block: one of drawn series answers as the definition of predicates says, and one
//! whose bytes lie, under right checksums, ends in a value or an error.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::block::{Block, BlockWriter};
use crate::codec::Effort;
use crate::env::{Env, SimEnv};
use crate::format::block::{BlockInfo, SequenceRange, block_path};
use crate::format::header::{FileKind, HEADER_BYTES};
use crate::index::InvertedIndex;
use crate::model::{
    CanonicalKey, Column, DatabaseId, FieldId, MeasurementId, PolicyId, Presence, Rows, Sequence,
    SeriesEntry, SeriesId, TagKeyId, TagPredicate, TagSet, ValueMatcher, Values,
};

/// Names of the tag keys with the ids 1 to 3, and of one that no series has.
const KEYS: [&[u8]; 4] = [b"a", b"b", b"c", b"nobody"];
const MEASUREMENT: MeasurementId = MeasurementId(1);
/// More than one run of strings has.
const SERIES_MAX: usize = 400;

/// Passes values that begin with this.
#[derive(Debug)]
struct Opens(Vec<u8>);

impl ValueMatcher for Opens {
    fn matches(&self, value: &[u8]) -> bool {
        value.starts_with(&self.0)
    }

    fn prefix(&self) -> &[u8] {
        &self.0
    }
}

/// A byte of how a block is encoded, two of how many series there are, four for each (which tags it has,
/// and their values); then two of a place in the index and one that is put there by XOR, as often as
/// there are any.
///
/// # Panics
/// If reading does, or a sound index answers wrongly.
pub fn fuzz_index(data: &[u8]) {
    let Some(([effort, low, high], rest)) = data.split_first_chunk::<3>() else {
        return;
    };
    let count = usize::from(u16::from_le_bytes([*low, *high])) % SERIES_MAX + 1;
    let (drawn, changes) = rest.split_at((count * 4).min(rest.len()));
    let series = draw(drawn);
    if series.is_empty() {
        return;
    }
    let effort = if effort % 2 == 0 {
        Effort::Hot
    } else {
        Effort::Cold
    };
    let contents = contents(&series, effort);
    let block = open(&contents).expect("it was just written");
    let own = block.measurement(MEASUREMENT).expect("it is whole");
    let index = own.as_ref().expect("it is there").index();
    check(index, &series, &|answer, expected| {
        assert_eq!(answer.as_deref(), Some(expected), "a sound index is right");
    });
    let spans = parts(&block, &contents);
    let mut lying = contents.clone();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        if let Some(byte) = at(&spans, place).and_then(|at| lying.get_mut(at - HEADER_BYTES)) {
            *byte ^= change[2];
        }
    }
    let Some(block) = open(&lying) else {
        return;
    };
    if let Ok(Some(own)) = block.measurement(MEASUREMENT) {
        let count = own.index().series_count();
        check(own.index(), &series, &|answer, _| {
            let ordinals = answer.iter().flatten();
            let mut inside = ordinals.map(|ordinal| *ordinal as usize);
            assert!(
                inside.all(|ordinal| ordinal < count),
                "no series is made up"
            );
        });
    }
}

/// Where keys, terms, postings and the directory lie in the file.
fn parts(block: &Block, contents: &[u8]) -> Vec<Range<u64>> {
    let own = block.measurement(MEASUREMENT).expect("it is whole");
    let index = own.as_ref().expect("it is there").index();
    let directory = index.directory_bytes();
    let mut places = contents.windows(directory.len());
    let start = places.position(|bytes| bytes == directory);
    let start = (start.expect("the file has it") + HEADER_BYTES) as u64;
    let mut parts = index.spans().to_vec();
    parts.push(start..start + directory.len() as u64);
    parts
}

/// The place in the file of byte `place` of all spans together, counted round.
fn at(spans: &[Range<u64>], place: usize) -> Option<usize> {
    let all: u64 = spans.iter().map(|span| span.end - span.start).sum();
    let mut left = (place as u64).checked_rem(all)?;
    for span in spans {
        let len = span.end - span.start;
        if left < len {
            return usize::try_from(span.start + left).ok();
        }
        left -= len;
    }
    None
}

/// Series by canonical key.
type Series = BTreeMap<Box<[u8]>, TagSet>;

fn draw(bytes: &[u8]) -> Series {
    let mut series = Series::new();
    for drawn in bytes.chunks_exact(4) {
        let value = |byte: u8| match byte % 3 {
            0 => vec![b'v', byte],
            1 => format!("value-{byte}").into_bytes(),
            _ => vec![byte; usize::from(byte)],
        };
        let values: Vec<Vec<u8>> = drawn[1..].iter().map(|byte| value(*byte)).collect();
        let ids = (1..).map(TagKeyId);
        let has = |index: usize| drawn[0] >> index & 1 == 1 && !values[index].is_empty();
        let mut own: Vec<(usize, TagKeyId)> = (0..3).zip(ids).filter(|(at, _)| has(*at)).collect();
        own.sort_unstable();
        let mut by_id: Vec<(TagKeyId, &[u8])> =
            own.iter().map(|(at, id)| (*id, &values[*at][..])).collect();
        let mut named: Vec<(&[u8], &[u8])> = own
            .iter()
            .map(|(at, _)| (KEYS[*at], &values[*at][..]))
            .collect();
        let tags = TagSet::from_pairs(&mut named).expect("each key comes once");
        series.insert(CanonicalKey::encode(MEASUREMENT, &mut by_id), tags);
    }
    series
}

/// What stands behind the header of a block with a row of each series.
fn contents(series: &Series, effort: Effort) -> Vec<u8> {
    let sim = SimEnv::new(1);
    sim.create_dir(Path::new("blocks"))
        .expect("the simulated disk works");
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    let info = BlockInfo {
        database: DatabaseId(1),
        policy: PolicyId(1),
        level: 0,
        sequences: SequenceRange {
            first: Sequence(1),
            last: Sequence(1),
        },
    };
    let written = BlockWriter::create(&env, 5, 77, info, effort).and_then(|mut writer| {
        writer.begin_measurement(MEASUREMENT)?;
        // Ids that do not ascend with the keys.
        for (key, id) in series.keys().zip((1..=series.len() as u64).rev()) {
            let id = SeriesId(id);
            let rows = Rows {
                measurement: MEASUREMENT,
                series: vec![id],
                timestamps: vec![1],
                columns: vec![(
                    FieldId(1),
                    Column {
                        values: Values::Integer(vec![1]),
                        presence: Presence::All,
                    },
                )],
            };
            let key = key.clone();
            writer.push_series(&rows, 0..1, &SeriesEntry { id, key })?;
        }
        writer.finish()
    });
    written.expect("the simulated disk works");
    let bytes = sim.peek(block_path(5)).expect("it was just written");
    let file = sealed_end(&sim);
    bytes[HEADER_BYTES..file].to_vec()
}

fn sealed_end(sim: &SimEnv) -> usize {
    let file = sim.open_read(&block_path(5)).expect("it was just written");
    let block = Block::from_file(file, 77, 5).expect("it is whole");
    usize::try_from(block.file().contents_bytes()).expect("it is small")
}

fn open(contents: &[u8]) -> Option<Block> {
    Block::from_file(Arc::new(super::sealed(FileKind::Block, contents)), 77, 5).ok()
}

/// Gets the ordinals of an answer, `None` for an error, and those that are right.
type Judge<'check> = dyn Fn(Option<Vec<u32>>, &[u32]) + 'check;

/// Asks the index everything.
fn check(index: InvertedIndex<'_>, series: &Series, judge: &Judge<'_>) {
    let names = |name: &[u8]| {
        let found = KEYS[..3].iter().position(|key| *key == name)?;
        u32::try_from(found + 1).ok().map(TagKeyId)
    };
    for predicate in predicates(series) {
        let right = series.values().zip(0..);
        let right = right.filter(|(tags, _)| predicate.holds(tags));
        let right: Vec<u32> = right.map(|(_, ordinal)| ordinal).collect();
        let found = index.select(&predicate, &names).ok();
        if let Some(found) = &found {
            index.values(TagKeyId(2), found, &mut |_| {}).ok();
        }
        judge(found.map(|found| found.iter().collect()), &right);
    }
    let mut walk = index.keys(0);
    let mut walked = Vec::new();
    while let Ok(Some((ordinal, entry))) = walk.advance() {
        walked.extend(u32::try_from(ordinal).ok());
        if walked.len() > SERIES_MAX {
            break;
        }
        let found = index.ordinal(entry.id).ok();
        let found = found.map(|place| place.and_then(|place| u32::try_from(place).ok()));
        let right = u32::try_from(ordinal).expect("they are few");
        judge(found.map(|place| place.into_iter().collect()), &[right]);
    }
    judge(
        Some(walked),
        &(0..).take(series.len()).collect::<Vec<u32>>(),
    );
}

fn predicates(series: &Series) -> Vec<TagPredicate> {
    let mut all = vec![TagPredicate::All];
    let some = series.values().step_by(series.len() / 4 + 1);
    let values = some.flat_map(|tags| KEYS.iter().filter_map(|key| tags.get(key)));
    let mut values: Vec<&[u8]> = values.collect();
    values.push(b"");
    for key in KEYS {
        for value in &values {
            let (key, value) = (Box::from(key), *value);
            let opens = TagPredicate::Matches {
                key: Box::clone(&key),
                matcher: Arc::new(Opens(value.iter().take(2).copied().collect())),
            };
            let equal = TagPredicate::Equal {
                key,
                value: value.into(),
            };
            all.push(opens.clone());
            all.push(TagPredicate::Not(Box::new(equal.clone())));
            all.push(TagPredicate::Or(vec![equal.clone(), opens.clone()]));
            all.push(TagPredicate::And(vec![
                opens,
                TagPredicate::Not(Box::new(equal)),
            ]));
        }
    }
    all.push(TagPredicate::SameValue(KEYS[0].into(), KEYS[1].into()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeRange;

    /// Input for so many series, without changes.
    fn input(effort: u8, count: u16) -> Vec<u8> {
        let mut input = vec![effort];
        input.extend_from_slice(&(count - 1).to_le_bytes());
        let mut seed = u64::from(count);
        for _ in 0..count {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            input.extend_from_slice(&seed.to_le_bytes()[4..]);
        }
        input
    }

    #[test]
    fn an_index_of_any_series_is_right_and_one_that_lies_does_no_harm() {
        for effort in 0..2 {
            for count in [1, 2, 127, 128, 129, 300] {
                let sound = input(effort, count);
                fuzz_index(&sound);
                let all = 9_000 / count.max(30);
                for place in (0..all).map(|at| at.wrapping_mul(211)) {
                    let mut lying = sound.clone();
                    lying.extend_from_slice(&place.to_le_bytes());
                    lying.push([0x01, 0x80, 0xff, 0x7f][usize::from(place % 4)]);
                    fuzz_index(&lying);
                }
            }
        }
    }

    #[test]
    fn changes_reach_every_part_of_an_index() {
        let series = draw(&input(0, 300)[3..]);
        let contents = contents(&series, Effort::Hot);
        let block = open(&contents).unwrap();
        let own = block.measurement(MEASUREMENT).unwrap().unwrap();
        let spans = parts(&block, &contents);
        assert!(spans.iter().all(|span| !span.is_empty()), "{spans:?}");
        let all: u64 = spans.iter().map(|span| span.end - span.start).sum();
        let places = (0..usize::try_from(all).unwrap()).map(|place| at(&spans, place).unwrap());
        let inside = |at: usize| spans.iter().any(|span| span.contains(&(at as u64)));
        assert_eq!(places.filter(|at| inside(*at)).count() as u64, all);
        assert!(own.cursor(&[], TimeRange::ALL).chunks_at(0).is_ok());
    }
}
