//! Blocks over the simulated disk: what is written is read, and nothing else ever is.

mod alone;
pub(crate) mod damage;
mod points;
mod select;

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::budget::{Budget, Class};
use crate::codec::Effort;
use crate::env::Env;
use crate::env::sim::SimEnv;
use crate::error::ErrorKind;
use crate::format::block::stats::partial_of;
use crate::format::block::{
    BlockInfo, BlockMeta, STATS_ROWS_MIN, SequenceRange, block_path, block_temporary_path,
};
use crate::format::sealed::tests::MemRead;
use crate::model::{
    AggregateSet, CanonicalKey, Column, DatabaseId, FieldColumn, FieldId, FieldType, FieldValue,
    FieldWindows, FloatSum, MeasurementId, PolicyId, Presence, Rows, Selected, Sequence,
    SeriesEntry, SeriesId, Sum, TIMESTAMP_MAX, TIMESTAMP_MIN, TagKeyId, TimeRange, Values,
    WindowPartial,
};
use points::{Points, any_points};

const DIRECTORY: u128 = 77;

fn info() -> BlockInfo {
    BlockInfo {
        database: DatabaseId(1),
        policy: PolicyId(2),
        level: 0,
        sequences: SequenceRange {
            first: Sequence(1),
            last: Sequence(9),
        },
    }
}

/// Block 1 of these series, a row each.
pub(crate) fn block_of_keys(
    env: &Arc<dyn Env>,
    measurement: MeasurementId,
    entries: &[SeriesEntry],
) -> Arc<Block> {
    let values = entries.iter().map(|entry| entry.id.0.cast_signed());
    let column = Column {
        values: Values::Integer(values.collect()),
        presence: Presence::All,
    };
    let rows = Rows {
        measurement,
        series: entries.iter().map(|entry| entry.id).collect(),
        timestamps: vec![5; entries.len()],
        columns: vec![(FieldId(1), column)],
    };
    let mut writer = BlockWriter::create(env, 1, DIRECTORY, info(), Effort::Hot).unwrap();
    writer.begin_measurement(measurement).unwrap();
    writer.push(&rows, entries).unwrap();
    let meta = writer.finish().unwrap().unwrap();
    Arc::new(Block::open(&**env, DIRECTORY, &meta).unwrap())
}

/// Writes `points` as block 5, `step` rows to a call.
fn write(
    points: &Points,
    effort: Effort,
    step: usize,
) -> (Arc<dyn Env>, Option<BlockMeta>, SimEnv) {
    let sim = SimEnv::new(1);
    let env: Arc<dyn Env> = Arc::new(sim.clone());
    env.create_dir(Path::new("blocks")).unwrap();
    let mut writer = BlockWriter::create(&env, 5, DIRECTORY, info(), effort).unwrap();
    for measurement in points.measurements() {
        writer.begin_measurement(measurement).unwrap();
        for (rows, series) in points.rows(measurement, step) {
            writer.push(&rows, &series).unwrap();
        }
    }
    let meta = writer.finish().unwrap();
    (env, meta, sim)
}

/// All that `block` holds within `range`.
fn read(block: &Block, range: TimeRange) -> crate::error::Result<Points> {
    let mut points = Points::default();
    for id in block.measurements()? {
        let measurement = block.measurement(id)?.expect("it is listed");
        let fields: Vec<(FieldId, FieldType)> = measurement.fields().collect();
        let ids: Vec<FieldId> = fields.iter().map(|(id, _)| *id).collect();
        let mut series = Vec::new();
        let mut walk = measurement.walk();
        while let Some((_, entry)) = walk.advance()? {
            series.push(entry);
        }
        let mut cursor = measurement.cursor(&ids, range);
        for entry in &series {
            for chunk in cursor.chunks(entry.id)? {
                if let Some(rows) = cursor.rows(&chunk)? {
                    alone::assert_same(&mut cursor, &chunk, &rows)?;
                    points.add(entry, &ids, &rows);
                }
            }
        }
    }
    Ok(points)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn rows_written_are_rows_read(
        points in any_points(),
        cold in any::<bool>(),
        step in 1_usize..3000,
        start in -2_000_i64..20_000,
        len in 0_i64..20_000,
    ) {
        let effort = if cold { Effort::Cold } else { Effort::Hot };
        let (env, meta, sim) = write(&points, effort, step);
        let Some(meta) = meta else {
            prop_assert_eq!(points.row_count(), 0);
            return Ok(());
        };
        prop_assert_eq!(meta.row_count, points.row_count());
        let block = Block::open(&*env, DIRECTORY, &meta).unwrap();
        let all = read(&block, TimeRange::ALL).unwrap();
        prop_assert_eq!(&all, &points);
        let range = TimeRange { start, end: start + len };
        prop_assert_eq!(read(&block, range).unwrap(), points.within(range));
        let bytes = sim.peek(block_path(5)).unwrap();
        prop_assert_eq!(bytes.len() as u64, meta.size_bytes);
        let file = Arc::new(MemRead { bytes, mapped: true });
        let mapped = Block::from_file(file, DIRECTORY, 5).unwrap();
        prop_assert_eq!(&read(&mapped, TimeRange::ALL).unwrap(), &points);
        prop_assert!(mapped.file().verify_all().is_empty());
    }

    #[test]
    fn statistics_are_what_the_rows_come_to(points in any_points(), cold in any::<bool>()) {
        let effort = if cold { Effort::Cold } else { Effort::Hot };
        let (env, Some(meta), _) = write(&points, effort, 5000) else {
            return Ok(());
        };
        let block = Block::open(&*env, DIRECTORY, &meta).unwrap();
        for id in block.measurements().unwrap() {
            let measurement = block.measurement(id).unwrap().unwrap();
            let fields: Vec<(FieldId, FieldType)> = measurement.fields().collect();
            let ids: Vec<FieldId> = fields.iter().map(|(id, _)| *id).collect();
            let series = measurement.series_ids().unwrap();
            let mut cursor = measurement.cursor(&ids, TimeRange::ALL);
            for series in series {
                for chunk in cursor.chunks(series).unwrap() {
                    prop_assert_eq!(chunk.has_stats(), chunk.row_count() >= STATS_ROWS_MIN);
                    let rows = cursor.rows(&chunk).unwrap().unwrap();
                    prop_assert_eq!(rows.timestamps.len(), chunk.row_count());
                    let (first, last) = (rows.timestamps[0], *rows.timestamps.last().unwrap());
                    if chunk.has_stats() {
                        let range = TimeRange { start: first, end: last + 1 };
                        prop_assert_eq!(chunk.range(), range);
                    }
                    prop_assert!(chunk.range().contains(first) && chunk.range().contains(last));
                    for (at, (_, field_type)) in fields.iter().enumerate() {
                        let stats = cursor.stats(&chunk, at).unwrap();
                        if !chunk.has_stats() || *field_type == FieldType::String {
                            prop_assert_eq!(stats, FieldStats::Unknown);
                            continue;
                        }
                        let expected = match naive(&rows, at) {
                            None => FieldStats::Absent,
                            Some(partial) => FieldStats::Known(partial),
                        };
                        // As text, in which a sum that is NaN equals itself.
                        prop_assert_eq!(format!("{stats:?}"), format!("{expected:?}"));
                    }
                }
            }
        }
    }
}

/// What column `at` comes to, value by value.
fn naive(rows: &BlockRows, at: usize) -> Option<WindowPartial> {
    use crate::model::Extreme;
    let column = rows.columns[at].as_ref()?;
    let values: Vec<Extreme> = rows
        .timestamps
        .iter()
        .enumerate()
        .filter_map(|(row, timestamp)| {
            let value = column.get(row)?;
            Some(Extreme {
                value,
                timestamp: *timestamp,
            })
        })
        .collect();
    let order = |value: &FieldValue| match value {
        FieldValue::Float(value) => *value,
        FieldValue::Boolean(value) => f64::from(u8::from(*value)),
        // The integers of these tests are small enough.
        FieldValue::Integer(value) => value.to_string().parse().unwrap(),
        FieldValue::Unsigned(value) => value.to_string().parse().unwrap(),
        FieldValue::String(_) => 0.0,
    };
    let numbers: Vec<&Extreme> = values
        .iter()
        .filter(|one| !order(&one.value).is_nan())
        .collect();
    let mut min = *numbers.first().unwrap_or(&values.first()?);
    let mut max = min;
    for one in numbers {
        if order(&one.value) < order(&min.value) {
            min = one;
        }
        if order(&one.value) > order(&max.value) {
            max = one;
        }
    }
    let mut sum = Sum::None;
    for one in &values {
        sum = match (&one.value, sum) {
            (FieldValue::Float(value), Sum::Float(sum)) => Sum::Float(sum.plus(*value)),
            (FieldValue::Float(value), _) => Sum::Float(FloatSum::default().plus(*value)),
            (FieldValue::Integer(value), Sum::Integer(sum)) => {
                Sum::Integer(sum + i128::from(*value))
            }
            (FieldValue::Integer(value), _) => Sum::Integer(i128::from(*value)),
            (FieldValue::Unsigned(value), Sum::Integer(sum)) => {
                Sum::Integer(sum + i128::from(*value))
            }
            (FieldValue::Unsigned(value), _) => Sum::Integer(i128::from(*value)),
            (FieldValue::Boolean(_) | FieldValue::String(_), sum) => sum,
        };
    }
    Some(WindowPartial {
        count: values.len() as u64,
        sum,
        min: Some(min.clone()),
        max: Some(max.clone()),
        first: values.first()?.clone(),
        last: values.last()?.clone(),
    })
}

/// One float field of `series_count` series, `rows` rows each, ids in an order of their own.
fn wide(series_count: u64, rows: i64) -> Points {
    let mut points = Points::default();
    for number in 0..series_count {
        let value = format!("host-{number:05}");
        let measurement = MeasurementId(3);
        let key = CanonicalKey::encode(measurement, &mut [(TagKeyId(1), value.as_bytes())]);
        let id = SeriesId(1 + number * 7919 % series_count);
        let entry = SeriesEntry { id, key };
        for row in 0..rows {
            let value = FieldValue::Integer(row * i64::try_from(number).unwrap());
            points.set(&entry, row * 10, FieldId(1), value);
        }
    }
    points
}

#[test]
fn each_of_many_series_is_found_by_its_id() {
    let points = wide(3000, 3);
    let (env, meta, _) = write(&points, Effort::Hot, 1000);
    let block = Block::open(&*env, DIRECTORY, &meta.unwrap()).unwrap();
    let measurement = block.measurement(MeasurementId(3)).unwrap().unwrap();
    assert_eq!(measurement.series_count(), 3000);
    assert_eq!(measurement.row_count(), 9000);
    assert_eq!(
        measurement.range().unwrap(),
        TimeRange { start: 0, end: 21 }
    );
    for (entry, _) in points.series(MeasurementId(3)) {
        assert_eq!(measurement.series_entry(entry.id).unwrap(), Some(entry));
    }
    assert_eq!(measurement.series_entry(SeriesId(3001)).unwrap(), None);
    assert!(!measurement.has_series(SeriesId(0)).unwrap());
    assert!(block.measurement(MeasurementId(2)).unwrap().is_none());
    assert!(block.measurement(MeasurementId(4)).unwrap().is_none());
}

#[test]
fn more_chunks_than_a_page_of_statistics_holds_have_them_all() {
    let points = wide(1100, 300);
    let (env, meta, _) = write(&points, Effort::Hot, 9000);
    let block = Block::open(&*env, DIRECTORY, &meta.unwrap()).unwrap();
    let measurement = block.measurement(MeasurementId(3)).unwrap().unwrap();
    let ids = measurement.series_ids().unwrap();
    let mut cursor = measurement.cursor(&[FieldId(1)], TimeRange::ALL);
    let mut known = 0;
    for (series, number) in ids.into_iter().zip(0_i128..) {
        for chunk in cursor.chunks(series).unwrap() {
            if let FieldStats::Known(partial) = cursor.stats(&chunk, 0).unwrap() {
                known += 1;
                if chunk.row_count() == 300 {
                    assert_eq!(partial.sum, Sum::Integer(number * 299 * 150));
                }
            }
        }
    }
    assert!(known > 1030, "{known}");
}

#[test]
fn statistics_that_are_kept_serve_whoever_wants_the_same_or_more() {
    let points = wide(40, 300);
    let (env, meta, _) = write(&points, Effort::Cold, 9000);
    let meta = meta.unwrap();
    let budget = Budget::new(1 << 30);
    let decoded = Arc::new(DecodedPages::new(1 << 20, &budget));
    let open = || Block::open(&*env, DIRECTORY, &meta).unwrap();
    let (bare, keeping) = (open(), open().with_decoded(&decoded));
    let stats = |block: &Block, wanted| {
        let measurement = block.measurement(MeasurementId(3)).unwrap().unwrap();
        let ids = measurement.series_ids().unwrap();
        let mut cursor = measurement.cursor(&[FieldId(1)], TimeRange::ALL);
        let mut windows = [FieldWindows::new(FieldType::Integer, wanted)];
        for series in ids {
            for chunk in cursor.chunks(series).unwrap() {
                cursor.push_stats(&chunk, &mut windows).unwrap();
            }
        }
        windows
    };
    let kept = || budget.usage().class(Class::Cache);
    let mut held = vec![0];
    let last = AggregateSet::of(Selected::Last);
    for wanted in [
        last,
        AggregateSet::SUM,
        last,
        AggregateSet::COUNT,
        AggregateSet::ALL,
    ] {
        assert_eq!(stats(&keeping, wanted), stats(&bare, wanted));
        held.push(kept());
    }
    // What was decoded for one stays there for the others.
    assert!(held[0] < held[1] && held[1] < held[2], "{held:?}");
    assert!(held[2] == held[4] && held[4] < held[5], "{held:?}");
}

#[test]
fn a_long_series_shares_no_page_and_a_part_of_it_is_read_alone() {
    let points = wide(3, 5000);
    for effort in [Effort::Hot, Effort::Cold] {
        let (env, meta, _) = write(&points, effort, 9000);
        let block = Block::open(&*env, DIRECTORY, &meta.unwrap()).unwrap();
        let measurement = block.measurement(MeasurementId(3)).unwrap().unwrap();
        assert_eq!(measurement.group_count(), 3);
        let range = TimeRange {
            start: 10_005,
            end: 20_000,
        };
        let mut cursor = measurement.cursor(&[FieldId(1)], range);
        for (entry, number) in points.series(MeasurementId(3)).into_iter().zip(0_i64..) {
            let chunks = cursor.chunks(entry.0.id).unwrap();
            let rows = cursor.rows(&chunks[0]).unwrap().unwrap();
            assert_eq!(
                rows.timestamps,
                (1001..2000).map(|row| row * 10).collect::<Vec<_>>()
            );
            let values = (1001..2000).map(|row| row * number).collect();
            let column = rows.columns[0].as_ref().unwrap();
            assert_eq!(column.values, Values::Integer(values));
        }
    }
}

#[test]
fn times_and_values_at_the_ends_of_their_types_are_kept() {
    let mut points = Points::default();
    let key = CanonicalKey::encode(MeasurementId(1), &mut []);
    let entry = SeriesEntry {
        id: SeriesId(u64::MAX),
        key,
    };
    for time in [TIMESTAMP_MIN, -1, 0, TIMESTAMP_MAX] {
        let nan = FieldValue::Float(f64::from_bits(0x7ff8_0000_dead_beef));
        points.set(&entry, time, FieldId(1), nan);
        points.set(&entry, time, FieldId(2), FieldValue::Float(-0.0));
        points.set(&entry, time, FieldId(3), FieldValue::Integer(i64::MIN));
        points.set(&entry, time, FieldId(4), FieldValue::Unsigned(u64::MAX));
        points.set(
            &entry,
            time,
            FieldId(5),
            FieldValue::String(b"\0\xff"[..].into()),
        );
    }
    let (env, meta, _) = write(&points, Effort::Cold, 10);
    let meta = meta.unwrap();
    assert_eq!(meta.range, TimeRange::ALL);
    let block = Block::open(&*env, DIRECTORY, &meta).unwrap();
    assert_eq!(read(&block, TimeRange::ALL).unwrap(), points);
    assert!(block.holds(FieldType::String) && !block.holds(FieldType::Boolean));
}

#[test]
fn a_writer_without_rows_or_without_an_end_leaves_nothing() {
    let (env, meta, sim) = write(&Points::default(), Effort::Hot, 10);
    assert_eq!(meta, None);
    let mut writer = BlockWriter::create(&env, 6, DIRECTORY, info(), Effort::Hot).unwrap();
    writer.begin_measurement(MeasurementId(1)).unwrap();
    assert!(sim.peek(block_temporary_path(6)).is_ok());
    drop(writer);
    assert_eq!(env.list(Path::new("blocks")).unwrap(), []);
}

#[test]
fn a_field_without_any_value_is_not_listed() {
    let points = wide(2, 3);
    let (rows, series) = points.rows(MeasurementId(3), 10).remove(0);
    let (env, _, _) = write(&Points::default(), Effort::Hot, 1);
    let mut writer = BlockWriter::create(&env, 5, DIRECTORY, info(), Effort::Hot).unwrap();
    writer.begin_measurement(MeasurementId(3)).unwrap();
    let mut rows = rows;
    let absent = FieldColumn::absent(b"", FieldType::String, rows.len());
    rows.columns.push((FieldId(2), absent.column));
    writer.push(&rows, &series).unwrap();
    let meta = writer.finish().unwrap().unwrap();
    let block = Block::open(&*env, DIRECTORY, &meta).unwrap();
    let measurement = block.measurement(MeasurementId(3)).unwrap().unwrap();
    let fields: Vec<_> = measurement.fields().collect();
    assert_eq!(fields, [(FieldId(1), FieldType::Integer)]);
    assert_eq!(read(&block, TimeRange::ALL).unwrap(), points);
}

#[test]
fn a_block_that_is_not_the_manifests_is_refused() {
    let (env, meta, _) = write(&wide(3, 3), Effort::Hot, 10);
    let meta = meta.unwrap();
    let other = BlockMeta {
        row_count: 10,
        ..meta
    };
    let error = Block::open(&*env, DIRECTORY, &other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let error = Block::open(&*env, DIRECTORY + 1, &meta).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let missing = BlockMeta { file_id: 6, ..meta };
    let error = Block::open(&*env, DIRECTORY, &missing).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn the_definition_of_statistics_leaves_holes_out() {
    let values = Values::Integer(vec![5, 7]);
    let partial = partial_of(&values, 0..2, &[10, 30]).unwrap();
    assert_eq!((partial.count, partial.sum), (2, Sum::Integer(12)));
}
