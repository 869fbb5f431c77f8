//! Many series of few rows in several runs.

use super::blocks::{scanned, snapshot_of};
use super::*;
use crate::scan::runs::{BATCH_ROWS, SERIES_ROWS_MAX};
use crate::scan::shared::Shared;
use crate::workers::Workers;

/// A row whose fields tell where it comes from; some have no value.
fn row_of(series: u64, time: i64, write: i64) -> Row {
    let odd = (series + (time + write).unsigned_abs()) % 2 == 1;
    let fields = [
        Some(FieldValue::Float(
            0.5 * f64::from(i16::try_from(write).unwrap()),
        )),
        odd.then_some(FieldValue::Integer(write * 1000 + time)),
        None,
        (!odd).then_some(FieldValue::Boolean(odd)),
        (write == 3).then(|| FieldValue::String(time.to_le_bytes()[..1].into())),
    ];
    (series, time, fields)
}

/// A hundred thousand rows of some thousand series in seven runs that overlap, one run of another shape.
fn case_of_many(large: u64) -> Case {
    let mut writes: Vec<Write> = (0..7_u64)
        .map(|write| {
            let series = (0..4000).filter(|series| series % 7 != write);
            let of_series = |series: u64| {
                let count = if series == large {
                    6 * SERIES_ROWS_MAX / 5
                } else {
                    1 + (series % 4) as usize
                };
                let start = (series * 31 + write) % 5;
                let times = (start.cast_signed()..).step_by(2).take(count);
                times.map(move |time| row_of(series, time, write.cast_signed()))
            };
            (series.flat_map(of_series).collect(), None)
        })
        .collect();
    // One that has many rows of each of its series is not read with others.
    let dense = (0..4000).flat_map(|series| (0..40).map(move |time| row_of(series, time, 9)));
    writes.insert(3, (dense.collect(), None));
    let mut case = Case {
        writes,
        ..integer_case(Vec::new())
    };
    // Ascending with holes, then some in another order and some that nobody wrote.
    let ids = (0..3900)
        .filter(|id| id % 11 != 5)
        .chain([3950, 3920, 9_999, 3999, 3901]);
    case.request.series = ids.map(SeriesId).collect();
    case.request.fields = [2, 5, 1].map(FieldId).to_vec();
    case
}

/// Time and values of each row of a series.
type Expected = Vec<(i64, Vec<Option<FieldValue>>)>;

fn expected(case: &Case) -> Vec<Expected> {
    let mut by_series: BTreeMap<u64, Expected> = BTreeMap::new();
    for ((series, time), fields) in case.model() {
        let own = case.request.fields.iter();
        let own: Vec<_> = own
            .map(|field| fields[field.0 as usize - 1].clone())
            .collect();
        if case.request.range.contains(time) && own.iter().any(Option::is_some) {
            by_series.entry(series).or_default().push((time, own));
        }
    }
    let mut found: Vec<_> = (case.request.series.iter())
        .map(|series| by_series.remove(&series.0).unwrap_or_default())
        .collect();
    if case.request.descending {
        for rows in &mut found {
            rows.reverse();
        }
    }
    found
}

#[test]
fn many_series_of_few_rows_are_read_together_and_say_the_same() {
    for (large, descending, range) in [
        (700, false, TimeRange::ALL),
        (0, true, TimeRange::ALL),
        (3899, false, TimeRange { start: 3, end: 8 }),
        (
            1,
            true,
            TimeRange {
                start: 5,
                end: 5000,
            },
        ),
    ] {
        let mut case = case_of_many(large);
        case.request.descending = descending;
        case.request.range = range;
        let snapshot = Arc::new(snapshot_of(&mut case));
        assert!(case.model().len() > 4 * BATCH_ROWS, "several batches");
        let stores = stores(&snapshot, &case.request).unwrap();
        let together = stores
            .iter()
            .filter(|store| format!("{store:?}").starts_with("RunsStore"));
        assert_eq!(
            (stores.len(), together.count()),
            (3, 2),
            "a run between keeps them apart"
        );
        let expected = expected(&case);
        assert!(
            scanned(&snapshot, &case) == expected,
            "series {large}, {range:?}"
        );
        // In pieces of any size, from anywhere.
        for morsel_series in [1, 77, 1000] {
            let cursor = rows(&snapshot, case.request.clone(), no_check()).unwrap();
            let scan = (case.request.clone(), cursor);
            let mut shared = Shared::new(scan, &snapshot, &Workers::none(), morsel_series);
            let mut count = vec![0; expected.len()];
            while let Some(rows) = shared.next_item().unwrap() {
                count[rows.index] += rows.timestamps.len();
            }
            let expected: Vec<usize> = expected.iter().map(Vec::len).collect();
            assert_eq!(count, expected);
        }
    }
}

#[test]
fn few_series_and_long_ones_are_merged_by_themselves() {
    let mut case = case_of_many(700);
    let snapshot = snapshot_of(&mut case);
    case.request.series = (0..30).map(SeriesId).collect();
    assert_eq!(stores(&snapshot, &case.request).unwrap().len(), 8);
    let long = (0..100).flat_map(|series| (0..80).map(move |time| row_of(series, time, 1)));
    let long: Vec<Row> = long.collect();
    let mut case = Case {
        writes: vec![(long.clone(), None), (long, None)],
        ..integer_case(Vec::new())
    };
    case.request.series = (0..100).map(SeriesId).collect();
    let snapshot = snapshot_of(&mut case);
    assert_eq!(stores(&snapshot, &case.request).unwrap().len(), 2);
}

/// The entries of batches: number of the series, window, and of each field what there is.
fn entries(batches: &[WindowBatch]) -> Vec<(usize, u32, Partials)> {
    let of_batch = |batch: &WindowBatch| {
        let series = batch.series.iter().enumerate();
        let entries =
            series.flat_map(|(place, (index, _))| batch.entries(place).map(move |at| (*index, at)));
        let entry = |(index, at): (usize, usize)| {
            let columns = batch.columns.iter();
            (
                index,
                batch.windows[at],
                columns.map(|column| partial_of(column, at)).collect(),
            )
        };
        entries.map(entry).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of_batch).collect()
}

#[test]
fn their_aggregates_are_those_of_each_by_itself() {
    for (large, range) in [
        (700, TimeRange::ALL),
        (
            2,
            TimeRange {
                start: 3,
                end: 4000,
            },
        ),
    ] {
        let mut case = case_of_many(large);
        // Nothing but runs of few rows: one store has them all.
        case.writes.remove(3);
        case.request.range = range;
        case.request.fields.insert(1, FieldId(3));
        let snapshot = Arc::new(snapshot_of(&mut case));
        let edges = [0, 2, 5, 6, 90, 9000];
        let mut request = aggregates_of(&case.request, &edges);
        request.scan.range = window::within(request.scan.range, &request.edges);
        let all = |mut cursor: WindowCursor<'_>| {
            let batches = std::iter::from_fn(|| cursor.next_windows().unwrap());
            entries(&batches.collect::<Vec<_>>())
        };
        let each = all(WindowCursor::new(
            request.clone(),
            case.types(),
            case.stores(),
            no_check(),
        ));
        assert!(each.len() > 8000, "{}", each.len());
        let found = all(aggregates(&snapshot, request.clone(), no_check()).unwrap());
        let same = |found: &[(usize, u32, Partials)]| {
            assert_eq!(found.len(), each.len());
            for (found, each) in found.iter().zip(&each) {
                assert_eq!((found.0, found.1), (each.0, each.1));
                for (found, each) in found.2.iter().zip(&each.2) {
                    assert!(
                        alike(found.as_ref(), each.as_ref()),
                        "{found:?}, not {each:?}"
                    );
                }
            }
        };
        same(&found);
        for morsel_series in [1, 77, 1000] {
            let cursor = aggregates(&snapshot, request.clone(), no_check()).unwrap();
            let scan = (request.clone(), cursor);
            let mut shared = Shared::new(scan, &snapshot, &Workers::none(), morsel_series);
            let batches = std::iter::from_fn(|| shared.next_item().unwrap());
            same(&entries(&batches.collect::<Vec<_>>()));
        }
    }
}

/// What a batch copies is bounded whatever rows hold.
#[test]
fn long_rows_are_read_some_at_a_time() {
    let long = |series: u64, write: i64| {
        let text = vec![b'a' + series.to_le_bytes()[0] % 16; 20_000];
        let fields = [
            None,
            None,
            None,
            None,
            Some(FieldValue::String(text.into())),
        ];
        (series, write, fields)
    };
    let rows = |write: i64| (0..1000).map(|series| long(series, write)).collect();
    let mut case = Case {
        writes: vec![(rows(1), None), (rows(2), None)],
        ..integer_case(Vec::new())
    };
    case.request.series = (0..1000).map(SeriesId).collect();
    case.request.fields = vec![FieldId(5)];
    let snapshot = snapshot_of(&mut case);
    let stores = stores(&snapshot, &case.request).unwrap();
    let (mut next, mut batches) = (0, 0);
    while next < 1000 {
        let found = stores[0].together(next).unwrap();
        assert!(found.rows.timestamps.len() < 450, "8 MiB of rows of 20 KB");
        assert_eq!(found.numbers.start, next);
        next = found.numbers.end;
        batches += 1;
    }
    assert!(batches > 5, "{batches} batches");
    assert!(scanned(&snapshot, &case) == expected(&case));
}
