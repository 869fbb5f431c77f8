//! Merges against a map in which the newest write wins.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::block::{Block, BlockWriter};
use crate::codec::Effort;
use crate::env::Env;
use crate::env::sim::SimEnv;
use crate::error::ErrorKind;
use crate::format::block::{BlockInfo, BlockMeta, LEVEL_FINAL, SequenceRange, block_path};
use crate::model::{
    CanonicalKey, DatabaseId, FieldColumn, FieldId, FieldType, FieldValue, MeasurementId, PolicyId,
    Rows, Sequence, SeriesEntry, SeriesId, TagKeyId, TimeRange, Tombstones,
};

const DIRECTORY: u128 = 3;
pub(super) const WIDTH: i64 = 1000;

pub(super) fn info(level: u8, first: u64, last: u64) -> BlockInfo {
    BlockInfo {
        database: DatabaseId(1),
        policy: PolicyId(1),
        level,
        sequences: SequenceRange {
            first: Sequence(first),
            last: Sequence(last),
        },
    }
}

type Row = BTreeMap<FieldId, FieldValue>;
type Points = BTreeMap<(MeasurementId, u64), BTreeMap<i64, Row>>;

/// A write: measurement, series, time, field, value.
type Write = (u8, u64, i64, u8, u16);

fn entry(measurement: MeasurementId, series: u64) -> SeriesEntry {
    // Ids against the order of keys.
    let text = format!("host-{}", 50 - series);
    let key = CanonicalKey::encode(measurement, &mut [(TagKeyId(1), text.as_bytes())]);
    SeriesEntry {
        id: SeriesId(series + 1),
        key,
    }
}

fn points_of(writes: &[Write]) -> Points {
    let mut points = Points::new();
    for (measurement, series, time, field, value) in writes {
        let measurement = MeasurementId(u32::from(*measurement) + 1);
        let rows = points.entry((measurement, *series)).or_default();
        let value = match field {
            0 => FieldValue::Float(f64::from(*value) / 10.0),
            1 => FieldValue::String(value.to_string().into_bytes().into()),
            _ => FieldValue::Integer(i64::from(*value)),
        };
        rows.entry(*time)
            .or_default()
            .insert(FieldId(u32::from(*field) + 1), value);
    }
    points
}

fn write_block(env: &Arc<dyn Env>, file_id: u64, points: &Points) -> Option<Arc<Block>> {
    let info = info(0, file_id * 10, file_id * 10 + 9);
    let mut writer = BlockWriter::create(env, file_id, DIRECTORY, info, Effort::Hot).unwrap();
    let mut last = None;
    let mut series: Vec<_> = points.iter().collect();
    series
        .sort_by_key(|((measurement, series), _)| (*measurement, entry(*measurement, *series).key));
    for ((measurement, series), rows) in series {
        if last != Some(measurement) {
            writer.begin_measurement(*measurement).unwrap();
        }
        last = Some(measurement);
        let entry = entry(*measurement, *series);
        let types = [FieldType::Float, FieldType::String, FieldType::Integer];
        let mut columns: Vec<FieldColumn> = types
            .map(|field_type| FieldColumn::absent(b"", field_type, 0))
            .into();
        for (at, row) in rows.values().enumerate() {
            for (field, value) in row {
                columns[field.0 as usize - 1].push(at, value);
            }
        }
        for column in &mut columns {
            column.pad(rows.len());
        }
        let rows = Rows {
            measurement: *measurement,
            series: vec![entry.id; rows.len()],
            timestamps: rows.keys().copied().collect(),
            columns: (1..)
                .map(FieldId)
                .zip(columns.into_iter().map(|column| column.column))
                .collect(),
        };
        writer.push(&rows, &[entry]).unwrap();
    }
    let meta = writer.finish().unwrap()?;
    Some(Arc::new(Block::open(&**env, DIRECTORY, &meta).unwrap()))
}

fn read_block(block: &Block) -> Points {
    let mut points = Points::new();
    for id in block.measurements().unwrap() {
        let measurement = block.measurement(id).unwrap().unwrap();
        let series = measurement.series_ids().unwrap();
        let fields: Vec<FieldId> = measurement.fields().map(|(id, _)| id).collect();
        let mut cursor = measurement.cursor(&fields, TimeRange::ALL);
        for series in series {
            for chunk in cursor.chunks(series).unwrap() {
                let rows = cursor.rows(&chunk).unwrap().unwrap();
                for (at, time) in rows.timestamps.iter().enumerate() {
                    let values = fields.iter().zip(&rows.columns);
                    let row: Row = values
                        .filter_map(|(id, column)| Some((*id, column.as_ref()?.get(at)?)))
                        .collect();
                    let own = points.entry((id, series.0 - 1)).or_default();
                    assert_eq!(own.insert(*time, row), None, "each row comes once");
                }
            }
        }
    }
    points
}

fn new_env() -> (Arc<dyn Env>, SimEnv) {
    let sim = SimEnv::new(1);
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    env.create_dir(Path::new("blocks")).unwrap();
    (env, sim)
}

fn run(
    env: &Arc<dyn Env>,
    blocks: &[Arc<Block>],
    is_stopped: &dyn Fn() -> bool,
) -> crate::error::Result<Vec<BlockMeta>> {
    run_as(env, blocks, &Layout::Split(BTreeSet::new()), is_stopped)
}

fn run_as(
    env: &Arc<dyn Env>,
    blocks: &[Arc<Block>],
    layout: &Layout,
    is_stopped: &dyn Fn() -> bool,
) -> crate::error::Result<Vec<BlockMeta>> {
    let job = Compaction {
        env,
        directory_id: DIRECTORY,
        blocks,
        partition_ns: WIDTH,
        tombstones: &Tombstones::default(),
        goal: goal_of(blocks),
        is_live: &|id| id != MeasurementId(3),
        has_field: &|_, _| true,
        layout,
        memory: Memory::of_budget(256 << 20),
        proceed: &|_| !is_stopped(),
    };
    let mut next = 100;
    compact(&job, &mut || {
        next += 1;
        next
    })
}

fn any_writes() -> impl Strategy<Value = Vec<Write>> {
    let dense = (0_u8..3, 0_u64..6, -2500_i64..2500, 0_u8..3, any::<u16>());
    proptest::collection::vec(dense, 0..400)
}

/// Either, so that both are seen.
fn goal_of(blocks: &[Arc<Block>]) -> Goal {
    match blocks.len() % 2 {
        0 => Goal::Balance,
        _ => Goal::Final,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_newest_write_wins_field_by_field_and_each_partition_is_one_block(
        batches in proptest::collection::vec(any_writes(), 1..5),
        long in any::<bool>(),
    ) {
        let (env, _) = new_env();
        let mut expected = Points::new();
        let mut blocks = Vec::new();
        for (mut writes, number) in batches.into_iter().zip(1_u64..) {
            if long {
                // One series of several groups in every block, the blocks meeting in time.
                let start = i64::try_from(number).unwrap() * 300;
                writes.extend((0..9000).map(|at| (0, 9, start + at % 2 + at / 3, 2, 7)));
                writes.extend((0..9000).map(|at| (0, 9, start - at, 2, 8)));
            }
            let points = points_of(&writes);
            blocks.extend(write_block(&env, number, &points));
            for (key, rows) in points {
                for (time, row) in rows {
                    expected.entry(key).or_default().entry(time).or_default().extend(row);
                }
            }
        }
        expected.retain(|(measurement, _), _| *measurement != MeasurementId(3));
        if blocks.is_empty() {
            return Ok(());
        }
        let metas = run(&env, &blocks, &|| false).unwrap();
        let mut found = Points::new();
        let mut seen = Vec::new();
        for meta in &metas {
            let block = Block::open(&*env, DIRECTORY, meta).unwrap();
            prop_assert_eq!(meta.info.level, match goal_of(&blocks) {
                Goal::Balance => 1,
                Goal::Final => LEVEL_FINAL,
            });
            prop_assert_eq!(meta.info.sequences.first, blocks[0].meta().info.sequences.first);
            let number = partition(meta.range.start, WIDTH);
            prop_assert_eq!(number, partition(meta.range.end - 1, WIDTH));
            seen.push(number);
            for (key, rows) in read_block(&block) {
                found.entry(key).or_default().extend(rows);
            }
        }
        prop_assert!(seen.is_sorted_by(|a, b| a < b), "one block for each: {:?}", seen);
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn what_the_manifest_clipped_off_stays_off() {
    let (env, _) = new_env();
    let writes: Vec<Write> = (0..100).map(|at| (0, 1, at * 40, 0, 1)).collect();
    let block = write_block(&env, 1, &points_of(&writes)).unwrap();
    let clipped = BlockMeta {
        range: TimeRange {
            start: 2100,
            ..block.meta().range
        },
        ..*block.meta()
    };
    let block = Arc::new(Block::open(&*env, DIRECTORY, &clipped).unwrap());
    let metas = run(&env, &[block], &|| false).unwrap();
    let ranges: Vec<TimeRange> = metas.iter().map(|meta| meta.range).collect();
    let range = |start, end| TimeRange { start, end };
    assert_eq!(ranges, [range(2120, 2961), range(3000, 3961)]);
}

#[test]
fn a_job_that_is_stopped_or_meets_damage_leaves_nothing() {
    let (env, sim) = new_env();
    // Long enough for its footer to lie in another piece than its first page.
    let value = |at: i64| u16::try_from(at * 7919 % 60_000).unwrap();
    let writes: Vec<Write> = (0..20_000).map(|at| (0, 1, at, 0, value(at))).collect();
    let block = write_block(&env, 1, &points_of(&writes)).unwrap();
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 4
    };
    let error = run(&env, &[Arc::clone(&block)], &stop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(env.list(Path::new("blocks")).unwrap().len(), 1);
    let mut bytes = sim.peek(block_path(1)).unwrap();
    bytes[100] ^= 1;
    sim.poke(block_path(1), &bytes);
    let block = Arc::new(Block::open(&*env, DIRECTORY, block.meta()).unwrap());
    let error = run(&env, &[block], &|| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(env.list(Path::new("blocks")).unwrap().len(), 1);
}

#[test]
fn rows_of_many_partitions_are_split_in_passes_or_stay_together() {
    let (env, _) = new_env();
    let writes: Vec<Write> = (0..6000_i64)
        .map(|at| {
            (
                0,
                u64::try_from(at % 7).unwrap(),
                at * 7919 % 400_000 - 200_000,
                2,
                1,
            )
        })
        .collect();
    let expected = points_of(&writes);
    let all_points = |metas: &[BlockMeta]| {
        let mut found = Points::new();
        for meta in metas {
            let block = Block::open(&*env, DIRECTORY, meta).unwrap();
            for (key, rows) in read_block(&block) {
                for (time, row) in rows {
                    let own = found.entry(key).or_default();
                    assert_eq!(own.insert(time, row), None, "a row is in one block");
                }
            }
        }
        found
    };
    let block = write_block(&env, 1, &expected).unwrap();
    let blocks = [block];
    // More partitions than are written side by side.
    let split = run(&env, &blocks, &|| false).unwrap();
    assert_eq!(split.len(), 400);
    assert_eq!(all_points(&split), expected);
    for meta in &split {
        env.remove(&block_path(meta.file_id)).unwrap();
    }
    let dense = run_as(&env, &blocks, &Layout::SplitWhereDense, &|| false).unwrap();
    let levels: Vec<u8> = dense.iter().map(|meta| meta.info.level).collect();
    assert_eq!(levels, [1], "400 blocks of 15 rows are not worth it");
    assert_eq!(all_points(&dense), expected);
    env.remove(&block_path(dense[0].file_id)).unwrap();
    let whole = run_as(&env, &blocks, &Layout::Together, &|| false).unwrap();
    assert_eq!(whole[0].info.level, 0);
    assert_eq!(all_points(&whole), expected);
}

#[test]
fn what_has_others_beside_it_is_not_encoded_to_stay() {
    let (env, _) = new_env();
    let writes: Vec<Write> = (0..300).map(|at| (0, 1, at * 10, 0, 1)).collect();
    let block = write_block(&env, 1, &points_of(&writes)).unwrap();
    assert_eq!(goal_of(&[Arc::clone(&block)]), Goal::Final);
    let layout = Layout::Split(BTreeSet::from([1]));
    let metas = run_as(&env, &[block], &layout, &|| false).unwrap();
    let levels: Vec<u8> = metas.iter().map(|meta| meta.info.level).collect();
    assert_eq!(levels, [LEVEL_FINAL, 1, LEVEL_FINAL]);
}
