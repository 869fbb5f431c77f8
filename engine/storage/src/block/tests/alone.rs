//! A chunk that is all of its group comes in the form that takes least to add it up.

use super::*;
use crate::codec::Repeat;
use crate::model::{AggregateSet, Bitmap};

/// 600 rows of one series, ten apart but for the last where `uneven`, and of another one where `shared`. Fields: one
/// value, two values, many, some missing, none.
fn block(effort: Effort, (uneven, shared): (bool, bool)) -> Arc<Block> {
    let env: Arc<dyn Env> = Arc::new(SimEnv::new(1));
    env.create_dir(Path::new("blocks")).unwrap();
    let mut writer = BlockWriter::create(&env, 5, DIRECTORY, info(), effort).unwrap();
    writer.begin_measurement(MeasurementId(1)).unwrap();
    let count = if shared { 601 } else { 600 };
    let integers = |value: fn(i64) -> i64| Column {
        values: Values::Integer((0..count).map(value).collect()),
        presence: Presence::All,
    };
    let mut bits = Bitmap::default();
    (0..count).for_each(|row| bits.push(row != 5));
    let holes = Column {
        values: Values::Integer(vec![1; usize::try_from(count).unwrap() - 1]),
        presence: Presence::Some(bits),
    };
    let columns = [
        integers(|_| 7),
        integers(|row| row / 300),
        integers(|row| row * row % 1009),
        holes,
    ];
    let time = |row: i64| if uneven && row == 599 { 5991 } else { row * 10 };
    let series = |row: i64| if row < 600 { SeriesId(1) } else { SeriesId(2) };
    let rows = Rows {
        measurement: MeasurementId(1),
        series: (0..count).map(series).collect(),
        timestamps: (0..count).map(time).collect(),
        columns: (1..).map(FieldId).zip(columns).collect(),
    };
    let entry = |id: u64| SeriesEntry {
        id: SeriesId(id),
        key: CanonicalKey::encode(
            MeasurementId(1),
            &mut [(TagKeyId(1), &[u8::try_from(id).unwrap()])],
        ),
    };
    let entries: Vec<SeriesEntry> = if shared {
        vec![entry(1), entry(2)]
    } else {
        vec![entry(1)]
    };
    writer.push(&rows, &entries).unwrap();
    let meta = writer.finish().unwrap().unwrap();
    Arc::new(Block::open(&*env, DIRECTORY, &meta).unwrap())
}

/// What is added up of a chunk is what its rows hold.
pub(super) fn assert_same(
    cursor: &mut BlockCursor<'_>,
    chunk: &Chunk,
    rows: &BlockRows,
) -> crate::error::Result<()> {
    let Some(alone) = cursor.alone(chunk)? else {
        return Ok(());
    };
    assert_eq!(alone.times().len(), rows.timestamps.len());
    for (row, time) in rows.timestamps.iter().enumerate() {
        assert_eq!(alone.times().get(row), *time);
    }
    for (field, expected) in rows.columns.iter().enumerate() {
        match (
            cursor.column_alone(&alone, (field, AggregateSet::ALL))?,
            expected,
        ) {
            (ChunkColumn::Absent, expected) => assert_eq!(*expected, None),
            (ChunkColumn::Values(found), expected) => assert_eq!(Some(found), expected.as_ref()),
            (ChunkColumn::Repeats(found), Some(expected)) => {
                assert_eq!(expected.presence, Presence::All);
                let mut words = found
                    .iter()
                    .flat_map(|one| std::iter::repeat_n(one.word, one.count));
                match &expected.values {
                    Values::Float(values) => assert!(
                        values
                            .iter()
                            .all(|value| words.next() == Some(value.to_bits()))
                    ),
                    Values::Integer(values) => assert!(
                        values
                            .iter()
                            .all(|value| words.next() == Some(value.cast_unsigned()))
                    ),
                    Values::Unsigned(values) => {
                        assert!(values.iter().all(|value| words.next() == Some(*value)));
                    }
                    Values::Boolean(_) | Values::String(_) => unreachable!("runs are of numbers"),
                }
                assert_eq!(words.next(), None);
            }
            (ChunkColumn::Counted | ChunkColumn::Repeats(_), _) => {
                unreachable!("more was asked for")
            }
        }
    }
    Ok(())
}

#[test]
fn a_column_comes_in_the_form_that_takes_least() {
    for effort in [Effort::Hot, Effort::Cold] {
        let block = block(effort, (false, false));
        let measurement = block.measurement(MeasurementId(1)).unwrap().unwrap();
        let fields = [1, 2, 3, 4, 9].map(FieldId);
        let range = TimeRange {
            start: 15,
            end: 5_000,
        };
        let mut cursor = measurement.cursor(&fields, range);
        let chunks = cursor.chunks(SeriesId(1)).unwrap();
        let alone = cursor.alone(&chunks[0]).unwrap().expect("it is alone");
        let times = Times::Even {
            first: 20,
            step: 10,
            count: 498,
        };
        assert_eq!(alone.times(), &times);
        let mut form = |field, wanted| {
            let column = cursor.column_alone(&alone, (field, wanted)).unwrap();
            match column {
                ChunkColumn::Absent => "absent".to_owned(),
                ChunkColumn::Counted => "counted".to_owned(),
                ChunkColumn::Repeats(repeats) => format!("{repeats:?}"),
                ChunkColumn::Values(column) => {
                    let rows = 2..500_i64;
                    let Values::Integer(values) = &column.values else {
                        unreachable!("fields are of integers");
                    };
                    match &column.presence {
                        Presence::All => {
                            let expected = rows.map(|row| row * row % 1009);
                            assert!(expected.eq(values.iter().copied()));
                        }
                        Presence::Some(bits) => {
                            assert_eq!(
                                (bits.len(), bits.get(3), bits.count_ones()),
                                (498, false, 497)
                            );
                            assert_eq!(values, &[1; 497]);
                        }
                    }
                    "values".to_owned()
                }
            }
        };
        let repeats = |runs: &[(u64, usize)]| {
            let each = runs.iter().map(|(word, count)| Repeat {
                word: *word,
                count: *count,
            });
            format!("{:?}", &each.collect::<Vec<_>>()[..])
        };
        let found = (0..5).map(|field| form(field, AggregateSet::SUM));
        let expected = [
            &*repeats(&[(7, 498)]),
            &*repeats(&[(0, 298), (1, 200)]),
            "values",
            "values",
            "absent",
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        let found = (0..5).map(|field| form(field, AggregateSet::COUNT));
        let expected = ["counted", "counted", "counted", "values", "absent"];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_shares_a_group_lies_outside_or_has_holes_everywhere_is_not_added_up_in_place() {
    let alone = |block: &Arc<Block>, fields: &[u32], range: TimeRange| {
        let measurement = block.measurement(MeasurementId(1)).unwrap().unwrap();
        let fields: Vec<FieldId> = fields.iter().map(|id| FieldId(*id)).collect();
        let mut cursor = measurement.cursor(&fields, range);
        let chunks = cursor.chunks(SeriesId(1)).unwrap();
        cursor
            .alone(&chunks[0])
            .unwrap()
            .map(|alone| alone.times().clone())
    };
    let own = block(Effort::Cold, (false, false));
    assert!(alone(&own, &[4, 1], TimeRange::ALL).is_some());
    assert_eq!(
        alone(&own, &[4], TimeRange::ALL),
        None,
        "rows may have no value"
    );
    let gap = TimeRange { start: 11, end: 20 };
    assert_eq!(alone(&own, &[1], gap), None, "no row lies there");
    let shared = block(Effort::Cold, (false, true));
    assert_eq!(
        alone(&shared, &[1], TimeRange::ALL),
        None,
        "another series is there too"
    );
    let uneven = block(Effort::Cold, (true, false));
    let end = TimeRange {
        start: 5_980,
        end: i64::MAX,
    };
    assert_eq!(
        alone(&uneven, &[1], end),
        Some(Times::Each(vec![5_980, 5_991]))
    );
}
