//! Runs against a map from (series, time, field) to the newest value.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use proptest::prelude::*;

use super::*;
use crate::budget::Budget;
use crate::model::{
    Bitmap, Column, FieldId, FieldType, FieldValue, Presence, Rows, SeriesId, Values,
};

const TYPES: [FieldType; 5] = [
    FieldType::Float,
    FieldType::Integer,
    FieldType::Unsigned,
    FieldType::Boolean,
    FieldType::String,
];

type Model = BTreeMap<(SeriesId, i64), BTreeMap<FieldId, FieldValue>>;

/// A row: series, time, and of each of the five types a value or none.
type Row = (u64, i64, [Option<FieldValue>; 5]);

fn rows_of(rows: &[Row]) -> Rows {
    let mut columns: Vec<(FieldId, Column)> = (1..)
        .zip(TYPES)
        .map(|(id, field_type)| {
            let column = Column {
                values: Values::new(field_type),
                presence: Presence::Some(Bitmap::default()),
            };
            (FieldId(id), column)
        })
        .collect();
    for (_, _, values) in rows {
        for ((_, column), value) in columns.iter_mut().zip(values) {
            if let Presence::Some(bits) = &mut column.presence {
                bits.push(value.is_some());
            }
            if let Some(value) = value {
                column.values.push(value);
            }
        }
    }
    for (_, column) in &mut columns {
        if column.values.len() == rows.len() {
            column.presence = Presence::All;
        }
    }
    columns.retain(|(_, column)| !column.values.is_empty());
    Rows {
        measurement: MeasurementId(1),
        series: rows
            .iter()
            .map(|(series, _, _)| SeriesId(*series))
            .collect(),
        timestamps: rows.iter().map(|(_, time, _)| *time).collect(),
        columns,
    }
}

fn apply(model: &mut Model, rows: &Rows) {
    for row in 0..rows.len() {
        let fields = model
            .entry((rows.series[row], rows.timestamps[row]))
            .or_default();
        for (field, column) in &rows.columns {
            if let Some(value) = column.get(row) {
                fields.insert(*field, value);
            }
        }
    }
}

fn model_of(rows: impl IntoIterator<Item = impl Borrow<Rows>>) -> Model {
    let mut model = Model::new();
    for rows in rows {
        apply(&mut model, rows.borrow());
    }
    model
}

/// The runs of `all`, every second one narrow.
fn narrow_runs(all: &[Rows]) -> Vec<Arc<Run>> {
    let run = |(rows, sequence): (&Rows, u64)| {
        let run = Arc::new(Run::new(rows.clone(), Sequence(sequence)));
        if sequence.is_multiple_of(2) {
            run
        } else {
            Run::narrowed(run)
        }
    };
    all.iter().zip(1..).map(run).collect()
}

fn value(field_type: FieldType) -> BoxedStrategy<FieldValue> {
    match field_type {
        FieldType::Float => prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            Just(-0.0),
            Just(f64::from_bits(0x7ff8_0000_dead_beef)),
        ]
        .prop_map(FieldValue::Float)
        .boxed(),
        FieldType::Integer => any::<i64>().prop_map(FieldValue::Integer).boxed(),
        FieldType::Unsigned => any::<u64>().prop_map(FieldValue::Unsigned).boxed(),
        FieldType::Boolean => any::<bool>().prop_map(FieldValue::Boolean).boxed(),
        FieldType::String => prop::collection::vec(any::<u8>(), 0..5)
            .prop_map(|bytes| FieldValue::String(bytes.into()))
            .boxed(),
    }
}

fn row() -> impl Strategy<Value = Row> {
    let values = TYPES.map(|field_type| prop::option::weighted(0.7, value(field_type)));
    (1_u64..6, -4_i64..8, values)
}

fn runs(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rows>> {
    let rows = prop::collection::vec(row(), 1..40).prop_map(|rows| rows_of(&rows));
    prop::collection::vec(rows, count)
}

fn memtable_of(all: &[Rows]) -> Memtable {
    let memtable = Memtable::new();
    for (rows, sequence) in all.iter().zip(1..) {
        let run = Run::new(rows.clone(), Sequence(sequence));
        memtable.push(Arc::new(run), Duration::from_secs(sequence));
    }
    memtable
}

fn ascends_strictly(rows: &Rows) -> bool {
    let keys: Vec<_> = rows.series.iter().zip(&rows.timestamps).collect();
    keys.windows(2).all(|pair| pair[0] < pair[1])
}

proptest! {
    #[test]
    fn a_merge_keeps_the_newest_value_of_each_field(all in runs(1..6)) {
        let merged = Run::merge(&narrow_runs(&all));
        prop_assert!(merged.is_sorted() && ascends_strictly(&merged.rows()));
        prop_assert_eq!(merged.sequences(), (Sequence(1), Sequence(all.len() as u64)));
        prop_assert_eq!(model_of([merged.rows()]), model_of(&all));
        prop_assert_eq!(merged.rows().len(), model_of(&all).len());
    }

    #[test]
    fn a_sorted_run_says_the_same_and_finds_each_series(rows in prop::collection::vec(row(), 1..60)) {
        let run = &narrow_runs(&[rows_of(&rows)])[0];
        let sorted = run.sorted();
        prop_assert!(sorted.is_sorted());
        prop_assert!(matches!(sorted.rows(), Cow::Borrowed(_)), "a reader gets full width");
        prop_assert_eq!(model_of([sorted.rows()]), model_of([run.rows()]));
        for series in (0..8).map(SeriesId) {
            let found = sorted.rows_of(series);
            let expected = sorted.rows().series.iter().filter(|one| **one == series).count();
            prop_assert_eq!(found.len(), expected);
            prop_assert!(sorted.rows().series[found].iter().all(|one| *one == series));
        }
        let times = sorted.timestamps().iter();
        prop_assert_eq!(times.clone().min().zip(times.max()), Some((&run.times().0, &run.times().1)));
    }

    #[test]
    fn a_narrow_run_holds_the_same_rows_fields_and_values(
        rows in prop::collection::vec(row(), 1..60),
        gone in 0_i64..8,
    ) {
        let rows = rows_of(&rows);
        let run = &narrow_runs(std::slice::from_ref(&rows))[0];
        prop_assert_eq!(&*run.rows(), &rows);
        prop_assert_eq!(run.row_count(), rows.len());
        let fields: Vec<FieldId> = run.fields().collect();
        let expected: Vec<FieldId> = rows.columns.iter().map(|(field, _)| *field).collect();
        prop_assert_eq!(&fields, &expected);
        let wide = Arc::new(Run::new(rows, Sequence(1)));
        let left = |run: &Arc<Run>| run.without(|_, time| time == gone).map(|run| run.rows().into_owned());
        prop_assert_eq!(left(run), left(&wide));
        for dropped in fields {
            let left = |run: &Arc<Run>| run.with_fields(|field| field != dropped).map(|run| run.rows().into_owned());
            prop_assert_eq!(left(run), left(&wide));
        }
    }

    #[test]
    fn what_was_pushed_is_read_whatever_was_merged(all in runs(1..80)) {
        let memtable = memtable_of(&all);
        let runs = memtable.runs(MeasurementId(1));
        prop_assert!(runs.len() < 2 * MERGE_RUNS, "{} runs", runs.len());
        prop_assert_eq!(model_of(runs.iter().map(|run| run.rows())), model_of(&all));
        let size: usize = runs.iter().map(|run| run.size_bytes()).sum();
        prop_assert_eq!(memtable.size_bytes(), size);
        prop_assert_eq!(memtable.row_count(), runs.iter().map(|run| run.row_count()).sum::<usize>());
        let mut next = 1;
        for run in &runs {
            prop_assert_eq!(run.sequences().0, Sequence(next));
            next = run.sequences().1.0 + 1;
        }
        prop_assert_eq!(next, all.len() as u64 + 1);
    }
}

proptest! {
    #[test]
    fn readers_that_come_and_go_and_deletes_between_hide_no_row(
        all in runs(1..80),
        deletes in prop::collection::btree_set(0..80_usize, 0..4),
        reads in prop::collection::btree_set(0..80_usize, 0..4),
    ) {
        let memtable = Memtable::new();
        for (index, rows) in all.iter().enumerate() {
            let sequence = Sequence(index as u64 + 1);
            let now = READ_LATELY * u32::try_from(index).unwrap() / 10;
            memtable.push(Arc::new(Run::new(rows.clone(), sequence)), now);
            if deletes.contains(&index) {
                memtable.bar(sequence);
            }
            if reads.contains(&index) {
                let runs = memtable.settled_runs(MeasurementId(1));
                prop_assert_eq!(model_of(runs.iter().map(|run| run.rows())), model_of(&all[..=index]));
            }
        }
        let runs = memtable.settled_runs(MeasurementId(1));
        prop_assert!(runs.len() < 6 * MERGE_RUNS, "{} runs", runs.len());
        prop_assert_eq!(model_of(runs.iter().map(|run| run.rows())), model_of(&all));
        prop_assert_eq!(memtable.row_count(), runs.iter().map(|run| run.row_count()).sum::<usize>());
        prop_assert_eq!(memtable.size_bytes(), runs.iter().map(|run| run.size_bytes()).sum::<usize>());
        for run in &runs {
            let (first, last) = run.sequences();
            for delete in &deletes {
                let barrier = Sequence(*delete as u64 + 1);
                prop_assert!(last <= barrier || first > barrier, "a run lies across a delete");
            }
        }
    }
}

/// `count` rows of one series from `start` on.
fn many(start: i64, count: usize) -> Rows {
    let end = start + i64::try_from(count).unwrap();
    let times: Vec<i64> = (start..end).collect();
    let column = Column {
        values: Values::Integer(times.clone()),
        presence: Presence::All,
    };
    Rows {
        measurement: MeasurementId(1),
        series: vec![SeriesId(1); count],
        timestamps: times,
        columns: vec![(FieldId(1), column)],
    }
}

/// Runs of 300 rows, too many to wait for `seconds`.
fn push_many(memtable: &Memtable, sequences: std::ops::Range<u64>, second: u64) {
    for sequence in sequences {
        let rows = many(i64::try_from(sequence).unwrap() * 300, 300);
        let run = Run::new(rows, Sequence(sequence));
        memtable.push(Arc::new(run), Duration::from_secs(second));
    }
}

#[test]
fn runs_wait_where_nobody_reads_and_the_first_reader_merges_them() {
    let memtable = Memtable::new();
    push_many(&memtable, 0..100, 1);
    assert_eq!(memtable.runs(MeasurementId(1)).len(), 100, "nobody reads");
    assert_eq!(memtable.settled_runs(MeasurementId(1)).len(), 1);
    push_many(&memtable, 100..200, 2);
    let read = memtable.runs(MeasurementId(1)).len();
    assert!(read < 2 * MERGE_RUNS, "{read} runs while somebody reads");
    push_many(&memtable, 200..300, 2 + READ_LATELY.as_secs());
    let read = memtable.runs(MeasurementId(1)).len();
    assert!(
        read < 3 * MERGE_RUNS,
        "{read} runs while the next is expected"
    );
    push_many(&memtable, 300..400, 3 + READ_LATELY.as_secs());
    let waiting = memtable.runs(MeasurementId(1)).len();
    assert!(waiting >= 100, "{waiting} runs after a while");
    assert!(memtable.settled_runs(MeasurementId(1)).len() < 3 * MERGE_RUNS);
    assert_eq!(memtable.row_count(), 400 * 300);
}

#[test]
fn who_reads_one_memtable_is_expected_to_read_the_next() {
    let first = Memtable::new();
    push_many(&first, 0..100, 1);
    first.settled_runs(MeasurementId(1));
    first.freeze();
    let next = first.successor();
    push_many(&next, 100..200, 2);
    let runs = next.runs(MeasurementId(1)).len();
    assert!(runs < 2 * MERGE_RUNS, "{runs} runs");
}

#[test]
fn what_waits_is_bounded() {
    let memtable = Memtable::new();
    let count = WAITING_ROWS_MAX / 8192 + 2;
    for sequence in 0..count {
        let rows = many(i64::try_from(sequence * 8192).unwrap(), 8192);
        let run = Run::new(rows, Sequence(sequence as u64));
        memtable.push(Arc::new(run), Duration::ZERO);
    }
    let runs = memtable.runs(MeasurementId(1));
    assert!(runs.len() < 10, "{} runs", runs.len());
    let small = |run: &&Arc<Run>| run.row_count() < MERGED_ROWS_MAX;
    assert!(runs.iter().filter(small).count() <= 2);
    assert_eq!(memtable.row_count(), count * 8192);
}

#[test]
fn whole_numbers_that_wait_take_few_bytes_until_somebody_reads() {
    let all: Vec<Rows> = (0..10).map(|at| many(at * 300, 300)).collect();
    let memtable = Memtable::new();
    let mut pushed_bytes = 0;
    for (rows, sequence) in all.iter().zip(1..) {
        let run = Run::new(rows.clone(), Sequence(sequence));
        pushed_bytes += run.size_bytes();
        memtable.push(Arc::new(run), Duration::ZERO);
    }
    // Of the 24 bytes of a row the value takes two, series and time stay; runs have their frames.
    let waiting_bytes = memtable.size_bytes();
    assert!(
        waiting_bytes < pushed_bytes * 4 / 5,
        "{waiting_bytes} of {pushed_bytes}"
    );
    let runs = memtable.runs(MeasurementId(1));
    assert!(runs.iter().all(|run| matches!(run.rows(), Cow::Owned(_))));
    assert_eq!(model_of(runs.iter().map(|run| run.rows())), model_of(&all));
    let sizes = runs.iter().map(|run| run.size_bytes());
    assert_eq!(sizes.sum::<usize>(), waiting_bytes);
    // With a reader about, runs stay as they come.
    memtable.settled_runs(MeasurementId(1));
    memtable.push(
        Arc::new(Run::new(many(9_000, 300), Sequence(30))),
        Duration::ZERO,
    );
    let last = &memtable.runs(MeasurementId(1))[10];
    assert!(matches!(last.rows(), Cow::Borrowed(_)));
}

#[test]
fn a_measurement_dropped_while_its_runs_are_merged_stays_dropped() {
    let memtable = Memtable::new();
    push_many(&memtable, 0..2, 1);
    let group = memtable.runs(MeasurementId(1));
    memtable.remove(MeasurementId(1));
    memtable.merge(MeasurementId(1), &group, true);
    assert_eq!((memtable.row_count(), memtable.size_bytes()), (0, 0));
    push_many(&memtable, 2..4, 1);
    memtable.merge(MeasurementId(1), &group, true);
    assert_eq!(memtable.row_count(), 600, "others stand there now");
    assert_eq!(memtable.runs(MeasurementId(1)).len(), 2);
}

/// One row of one integer field.
fn one(series: u64, time: i64, value: i64) -> Rows {
    let column = Column {
        values: Values::Integer(vec![value]),
        presence: Presence::All,
    };
    Rows {
        measurement: MeasurementId(1),
        series: vec![SeriesId(series)],
        timestamps: vec![time],
        columns: vec![(FieldId(1), column)],
    }
}

#[test]
fn the_number_of_runs_grows_with_the_logarithm_of_the_writes() {
    let all: Vec<Rows> = (0..10_000).map(|time| one(1, time, time)).collect();
    let memtable = memtable_of(&all);
    let runs = memtable.runs(MeasurementId(1)).len();
    assert!(runs <= 4 * (MERGE_RUNS - 1), "{runs} runs of 10,000 writes");
    assert_eq!(memtable.row_count(), 10_000);
}

#[test]
fn a_large_run_is_left_alone() {
    let memtable = memtable_of(&vec![many(0, MERGED_ROWS_MAX); MERGE_RUNS + 1]);
    assert_eq!(
        memtable.settled_runs(MeasurementId(1)).len(),
        MERGE_RUNS + 1
    );
}

#[test]
fn a_memtable_knows_its_age_and_its_sequences() {
    let memtable = Memtable::new();
    assert_eq!((memtable.oldest_push(), memtable.sequences()), (None, None));
    for (sequence, second) in [(4, 10), (4, 11), (9, 12)] {
        let run = Run::new(one(1, 1, 1), Sequence(sequence));
        memtable.push(Arc::new(run), Duration::from_secs(second));
    }
    assert_eq!(memtable.oldest_push(), Some(Duration::from_secs(10)));
    assert_eq!(memtable.sequences(), Some((Sequence(4), Sequence(9))));
    memtable.freeze();
    assert!(memtable.is_frozen() && !memtable.is_empty());
}

#[test]
fn a_dropped_measurement_leaves_nothing_behind() {
    let memtable = memtable_of(&[one(1, 1, 1), one(2, 2, 2)]);
    memtable.remove(MeasurementId(2));
    assert_eq!(memtable.row_count(), 2);
    memtable.remove(MeasurementId(1));
    assert_eq!((memtable.row_count(), memtable.size_bytes()), (0, 0));
    assert!(memtable.measurements().is_empty());
}

/// Every write overwrites one point with the next number: a reader that merges what it sees must
/// never see the number fall, nor miss a write that was pushed before it looked.
#[test]
fn readers_never_miss_a_pushed_row_while_runs_are_merged() {
    const WRITES: i64 = 5_000;
    let memtable = Memtable::new();
    let done = AtomicBool::new(false);
    let pushed = std::sync::atomic::AtomicI64::new(0);
    let looks = std::sync::atomic::AtomicI64::new(0);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        let before = pushed.load(Ordering::Acquire);
                        let runs = memtable.settled_runs(MeasurementId(1));
                        let model = model_of(runs.iter().map(|run| run.rows()));
                        let seen = match model.get(&(SeriesId(1), 7)).map(|row| &row[&FieldId(1)]) {
                            Some(FieldValue::Integer(seen)) => *seen,
                            _ => 0,
                        };
                        assert!(seen >= before, "saw {seen} after {before} was pushed");
                        let others = i64::try_from(model.len()).unwrap() - 1;
                        assert!(
                            seen == 0 || others == seen - 1,
                            "{others} points, {seen} writes"
                        );
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for write in 1..=WRITES {
            let mut rows = one(1, 7, write);
            if write > 1 {
                let more = one(2, write, write);
                rows.series.extend(more.series);
                rows.timestamps.extend(more.timestamps);
                rows.columns[0].1.values = Values::Integer(vec![write, write]);
            }
            let run = Run::new(rows, Sequence(write.cast_unsigned()));
            memtable.push(Arc::new(run), Duration::ZERO);
            pushed.store(write, Ordering::Release);
            // Writes are faster than readers: some of these look now and then, whatever else the machine does.
            while looks.load(Ordering::Relaxed) < write / 500
                && !readers.iter().all(ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
        assert!(looks.load(Ordering::Relaxed) > 0, "nobody read");
    });
}

#[test]
fn what_a_log_leaves_waits_until_it_is_planned_and_then_anybody_merges_it() {
    const RUNS: usize = 3 * WAITING_ROWS_MAX / 8192;
    let memtable = Memtable::new();
    for sequence in 0..RUNS {
        let rows = many(i64::try_from(sequence * 8192).unwrap(), 8192);
        let run = Run::new(rows, Sequence(sequence as u64));
        memtable.push_replayed(Arc::new(run), Duration::ZERO);
    }
    assert_eq!(memtable.runs(MeasurementId(1)).len(), RUNS);
    assert!(memtable.plan_waiting(MeasurementId(1)));
    assert!(!memtable.plan_waiting(MeasurementId(1)), "it is planned");
    // A writer leaves it to others, who share it.
    let next = Run::new(many(1 << 40, 8192), Sequence(u64::try_from(RUNS).unwrap()));
    memtable.push(Arc::new(next), Duration::ZERO);
    assert_eq!(memtable.runs(MeasurementId(1)).len(), RUNS + 1);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                memtable.settle(MeasurementId(1), false);
                let runs = memtable.runs(MeasurementId(1));
                assert_eq!(runs.len(), RUNS * 8192 / MERGED_ROWS_MAX + 1);
            });
        }
    });
    assert_eq!(memtable.row_count(), (RUNS + 1) * 8192);
    assert!(!memtable.plan_waiting(MeasurementId(1)));
}

/// Whoever waits for a merge must not wait for one that failed.
#[test]
fn a_merge_that_panics_is_not_waited_for() {
    let memtable = Memtable::new();
    push_many(&memtable, 0..100, 1);
    let planned = memtable
        .merging
        .plan(MeasurementId(1), || memtable.groups(MeasurementId(1)));
    assert!(planned);
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _taken = memtable.merging.take(MeasurementId(1)).unwrap();
        panic!("a merge fails");
    }));
    assert!(failed.is_err());
    assert_eq!(memtable.settled_runs(MeasurementId(1)).len(), 1);
}

#[test]
fn runs_of_several_measurements_come_in_any_order_those_of_one_in_theirs() {
    let of = |measurement: u32, sequence: u64, end: u64| {
        let rows = Rows {
            measurement: MeasurementId(measurement),
            ..many(sequence.cast_signed() * 10, 10)
        };
        let sequences = (Sequence(sequence), Sequence(end));
        Arc::new(Run::charged(rows, sequences, &Budget::new(1 << 30)))
    };
    let memtable = Memtable::new();
    memtable.push_replayed(of(1, 3, 9), Duration::ZERO);
    memtable.push_replayed(of(2, 1, 7), Duration::ZERO);
    memtable.push_replayed(of(2, 8, 8), Duration::ZERO);
    assert_eq!(memtable.sequences(), Some((Sequence(1), Sequence(9))));
    let early = of(1, 8, 10);
    let pushed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        memtable.push_replayed(early, Duration::ZERO);
    }));
    assert!(pushed.is_err());
}
