//! Filters: rows that they do not choose may be left out, and no others.

use std::sync::Mutex;

use super::blocks::{scanned, snapshot_of};
use super::*;
use crate::model::RowFilter;

/// Chooses rows whose value at a place is written with an even number of characters.
#[derive(Debug)]
struct Even {
    place: [usize; 1],
    /// Of each time it was asked: whether there were other columns.
    asked: Mutex<Vec<bool>>,
}

impl Even {
    fn at(place: usize) -> Arc<Even> {
        Arc::new(Even {
            place: [place],
            asked: Mutex::default(),
        })
    }

    fn chooses(value: Option<&FieldValue>) -> bool {
        value.is_some_and(|value| format!("{value:?}").len().is_multiple_of(2))
    }
}

impl RowFilter for Even {
    fn places(&self) -> &[usize] {
        &self.place
    }

    fn chosen(&self, _: usize, count: usize, columns: &[Option<&Column>]) -> Option<Vec<u32>> {
        let own = columns[self.place[0]];
        let others = columns.iter().flatten().count() > usize::from(own.is_some());
        self.asked.lock().unwrap().push(others);
        let rows = (0_u32..).take(count);
        let value = |row: &u32| own.and_then(|column| column.get(*row as usize));
        Some(
            rows.filter(|row| Even::chooses(value(row).as_ref()))
                .collect(),
        )
    }
}

/// Scans with and without a filter by the field at `place`; gives how often it was asked before other
/// columns were read.
fn check(case: &mut Case, place: usize) -> usize {
    let snapshot = snapshot_of(case);
    case.request.filter = None;
    let all = scanned(&snapshot, case);
    let filter = Even::at(place);
    case.request.filter = Some(Arc::clone(&filter) as Arc<dyn RowFilter>);
    let chosen = |rows: Vec<(i64, Vec<Option<FieldValue>>)>| {
        let rows = rows.into_iter();
        let rows = rows.filter(|(_, values)| Even::chooses(values[place].as_ref()));
        rows.collect::<Vec<_>>()
    };
    let expected: Vec<_> = all.into_iter().map(chosen).collect();
    assert_eq!(scanned(&snapshot, case), expected);
    let asked = filter.asked.lock().unwrap();
    asked.iter().filter(|others| !**others).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_left_out_is_what_the_filter_does_not_choose(
        case in case(),
        place in any::<prop::sample::Index>(),
    ) {
        let mut case = case;
        let place = place.index(case.request.fields.len());
        check(&mut case, place);
    }
}

/// Rows of series 1 with an integer and a float.
fn pairs(rows: impl Iterator<Item = (i64, i64)>) -> Vec<Row> {
    rows.map(|(time, value)| {
        let float = FieldValue::Float(0.5 * f64::from(i32::try_from(time).unwrap()));
        let fields = [
            Some(float),
            Some(FieldValue::Integer(value)),
            None,
            None,
            None,
        ];
        (1, time, fields)
    })
    .collect()
}

#[test]
fn a_long_chunk_that_meets_no_other_is_read_as_far_as_rows_are_chosen() {
    let all = || pairs((0..6_000).map(|at| (at, at % 1_500)));
    for descending in [false, true] {
        for (start, end) in [(i64::MIN + 2, i64::MAX), (90, 5_000), (1, 10), (20, 90)] {
            let mut case = integer_case(vec![(all(), Some(1))]);
            case.request.fields = vec![FieldId(1), FieldId(2)];
            case.request.range = TimeRange { start, end };
            case.request.descending = descending;
            assert!(check(&mut case, 1) > 0, "the float is not read before");
        }
    }
}

/// A newer value decides, whatever the older one says.
#[test]
fn a_chunk_that_meets_rows_of_another_store_is_not_filtered_before_them() {
    let old = pairs((0..6_000).map(|at| (at, 7)));
    let newer = integers((0..300).map(|at| (3_000 + at, at % 13)));
    let mut case = integer_case(vec![(old, Some(1)), (newer, None)]);
    case.request.fields = vec![FieldId(1), FieldId(2)];
    assert_eq!(check(&mut case, 1), 0);
}
