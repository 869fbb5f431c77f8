//! A run that grows, as a log is read: rows of several records that ascend from one to the next are one sorted run
//! at once. Each by itself they would be read and copied again to become one, soon after.

use std::sync::Arc;

use crate::budget::{Budget, Charge, Class};
use crate::memtable::MERGED_ROWS_MAX;
use crate::memtable::order::ascends;
use crate::memtable::run::Run;
use crate::model::{Column, FieldId, FieldType, Presence, Rows, Sequence};

/// Room is made for so many times the rows that there are.
const ROOM_FACTOR: usize = 8;
/// Rows for which there is room at most: a run that is large enough, and what is left of its last record.
const ROOM_ROWS_MAX: usize = MERGED_ROWS_MAX + MERGED_ROWS_MAX / 16;

/// Rows of consecutive sequences of a measurement.
#[derive(Debug)]
pub(crate) struct Growing {
    rows: Rows,
    sequences: (Sequence, Sequence),
    /// Whether more may come to stand behind them.
    is_joinable: bool,
    /// Whether some did: there is room for more then.
    has_joined: bool,
    /// Whether they come behind a run that became as large as may be, and so perhaps will this.
    follows_whole: bool,
    charge: Charge,
}

impl Growing {
    /// The rows of a record.
    ///
    /// # Panics
    /// If there are none.
    pub(crate) fn new(rows: Rows, sequence: Sequence, budget: &Arc<Budget>) -> Growing {
        assert!(!rows.is_empty(), "a run has rows");
        Growing {
            is_joinable: is_joinable(&rows),
            has_joined: false,
            follows_whole: false,
            sequences: (sequence, sequence),
            charge: budget.charge(Class::Replay, rows.size_bytes()),
            rows,
        }
    }

    /// The rows of a later record that do not join these: where these grew as far as may be, so may those.
    ///
    /// # Panics
    /// As [`Growing::new`].
    pub(crate) fn next(&self, rows: Rows, sequence: Sequence) -> Growing {
        Growing {
            follows_whole: self.rows.len() >= MERGED_ROWS_MAX,
            ..Growing::new(rows, sequence, self.charge.budget())
        }
    }

    /// Adds the rows of a later record, or others of the same, if all have the same fields and a value of each,
    /// ascend, and are not many enough already; else gives them back. Cost: a copy.
    pub(crate) fn join(&mut self, rows: Rows, sequence: Sequence) -> Option<Rows> {
        let is_next = self.is_joinable
            && self.rows.len() < MERGED_ROWS_MAX
            && is_alike(&self.rows, &rows)
            && is_behind(&self.rows, &rows)
            && is_joinable(&rows);
        if !is_next {
            return Some(rows);
        }
        let wanted = self.rows.len() + rows.len();
        if wanted > self.rows.series.capacity() {
            let room = if self.follows_whole {
                ROOM_ROWS_MAX
            } else {
                (self.rows.len() * ROOM_FACTOR).min(ROOM_ROWS_MAX)
            };
            reserve(&mut self.rows, room.max(wanted));
        }
        append(&mut self.rows, &rows);
        self.has_joined = true;
        self.sequences.1 = sequence;
        self.charge.resize(self.rows.size_bytes());
        None
    }

    /// The run, without room for more.
    pub(crate) fn finish(mut self) -> Run {
        if self.has_joined {
            shrink(&mut self.rows);
        }
        Run::charged(self.rows, self.sequences, self.charge.budget())
    }
}

/// Whether rows may join others: they ascend, and each column has a value in each row, none of which is a string:
/// there is no telling how long these become together.
fn is_joinable(rows: &Rows) -> bool {
    let is_plain = |column: &Column| {
        column.presence == Presence::All && column.values.field_type() != FieldType::String
    };
    let mut columns = rows.columns.iter();
    columns.all(|(_, column)| is_plain(column)) && ascends(&rows.series, &rows.timestamps)
}

/// Whether `next` ascends from the end of `rows`.
fn is_behind(rows: &Rows, next: &Rows) -> bool {
    let last = rows.series.last().zip(rows.timestamps.last());
    last < next.series.first().zip(next.timestamps.first())
}

/// Whether they have the same fields of the same types.
fn is_alike(rows: &Rows, next: &Rows) -> bool {
    let (own, next_columns) = (rows.columns.iter(), next.columns.iter());
    let kind = |(field, column): &(FieldId, Column)| (*field, column.values.field_type());
    rows.measurement == next.measurement && own.map(kind).eq(next_columns.map(kind))
}

fn reserve(rows: &mut Rows, count: usize) {
    let more = count - rows.len();
    rows.series.reserve_exact(more);
    rows.timestamps.reserve_exact(more);
    for (_, column) in &mut rows.columns {
        column.values.reserve_exact(more);
    }
}

fn shrink(rows: &mut Rows) {
    rows.series.shrink_to_fit();
    rows.timestamps.shrink_to_fit();
    for (_, column) in &mut rows.columns {
        column.values.shrink_to_fit();
    }
}

fn append(rows: &mut Rows, next: &Rows) {
    rows.series.extend_from_slice(&next.series);
    rows.timestamps.extend_from_slice(&next.timestamps);
    for ((_, column), (_, next)) in rows.columns.iter_mut().zip(&next.columns) {
        column.values.append(&next.values, 0..next.values.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bitmap, MeasurementId, SeriesId, Strings, Values};

    /// A row of each of some series, of some fields.
    fn rows(series: std::ops::Range<u64>, time: i64, fields: &[u32]) -> Rows {
        let count = series.clone().count();
        let column = |field: u32| {
            let values = match field {
                1 => Values::Float(series.clone().map(f64::from_bits).collect()),
                2 => Values::Integer(series.clone().map(u64::cast_signed).collect()),
                3 => Values::Unsigned(series.clone().collect()),
                4 => Values::Boolean(series.clone().map(|id| id % 3 == 0).collect()),
                _ => {
                    let mut strings = Strings::default();
                    series
                        .clone()
                        .for_each(|id| strings.push(&id.to_le_bytes()));
                    Values::String(strings)
                }
            };
            let presence = Presence::All;
            (FieldId(field), Column { values, presence })
        };
        Rows {
            measurement: MeasurementId(1),
            series: series.clone().map(SeriesId).collect(),
            timestamps: vec![time; count],
            columns: fields.iter().map(|field| column(*field)).collect(),
        }
    }

    fn budget() -> Arc<Budget> {
        Budget::new(1 << 30)
    }

    #[test]
    fn records_that_ascend_become_one_run_and_all_of_it_is_there() {
        let budget = budget();
        let fields = [1, 2, 3, 4];
        let mut growing = Growing::new(rows(1..100, 5, &fields), Sequence(1), &budget);
        // The same series again, later.
        assert_eq!(growing.join(rows(99..100, 6, &fields), Sequence(2)), None);
        for (number, sequence) in (100..60_000).step_by(100).zip(3..) {
            let next = rows(number..number + 100, 5, &fields);
            assert_eq!(growing.join(next, Sequence(sequence)), None);
        }
        let held = budget.usage().class(Class::Replay);
        assert!(held > 60_000 * (8 * 5 + 1), "{held}");
        assert!(held < 8 * 60_000 * (8 * 5 + 1), "{held}");
        let run = growing.finish();
        assert_eq!(budget.usage().class(Class::Replay), 0);
        assert_eq!(budget.usage().class(Class::Memtable), run.size_bytes());
        assert!(
            run.size_bytes() < 60_200 * (8 * 5 + 2),
            "{}",
            run.size_bytes()
        );
        assert!(run.is_sorted());
        assert_eq!(run.sequences(), (Sequence(1), Sequence(601)));
        assert_eq!(run.row_count(), 60_000);
        let mut expected = rows(1..60_000, 5, &fields);
        let again = rows(99..100, 6, &fields);
        expected.series.insert(99, again.series[0]);
        expected.timestamps.insert(99, 6);
        for ((_, column), (_, again)) in expected.columns.iter_mut().zip(again.columns) {
            match (&mut column.values, again.values) {
                (Values::Float(own), Values::Float(again)) => own.insert(99, again[0]),
                (Values::Integer(own), Values::Integer(again)) => own.insert(99, again[0]),
                (Values::Unsigned(own), Values::Unsigned(again)) => own.insert(99, again[0]),
                (Values::Boolean(own), Values::Boolean(again)) => own.insert(99, again[0]),
                (own, _) => panic!("{own:?}"),
            }
        }
        assert_eq!(*run.rows(), expected);
    }

    #[test]
    fn rows_of_one_record_join_too_and_leave_no_room() {
        let budget = budget();
        let mut growing = Growing::new(rows(1..1000, 5, &[1]), Sequence(1), &budget);
        assert_eq!(growing.join(rows(1000..1010, 5, &[1]), Sequence(1)), None);
        let run = growing.finish();
        assert_eq!(run.sequences(), (Sequence(1), Sequence(1)));
        assert_eq!(*run.rows(), rows(1..1010, 5, &[1]));
        assert!(
            run.size_bytes() < 1500 * (8 * 3 + 1),
            "{}",
            run.size_bytes()
        );
    }

    #[test]
    fn what_does_not_follow_is_given_back() {
        let hole = |mut rows: Rows| {
            let mut bits = Bitmap::filled(rows.len(), true);
            bits.set(0, false);
            rows.columns[0].1.presence = Presence::Some(bits);
            if let Values::Float(values) = &mut rows.columns[0].1.values {
                values.remove(0);
            }
            rows
        };
        let other = |mut rows: Rows| {
            rows.measurement = MeasurementId(2);
            rows
        };
        let typed = |mut rows: Rows| {
            rows.columns[0].1.values = Values::Unsigned(vec![1; rows.len()]);
            rows
        };
        let disordered = |mut rows: Rows| {
            rows.series.reverse();
            rows
        };
        let first = || rows(1..10, 5, &[1]);
        let cases = [
            ("the same rows", first(), rows(9..10, 5, &[1])),
            ("an earlier time", first(), rows(9..20, 4, &[1])),
            ("an earlier series", first(), rows(5..20, 6, &[1])),
            ("another field", first(), rows(10..20, 5, &[2])),
            ("a field more", first(), rows(10..20, 5, &[1, 2])),
            ("another type", first(), typed(rows(10..20, 5, &[1]))),
            ("another measurement", first(), other(rows(10..20, 5, &[1]))),
            ("a hole", first(), hole(rows(10..20, 5, &[1]))),
            ("behind a hole", hole(first()), rows(10..20, 5, &[1])),
            ("no order", first(), disordered(rows(10..20, 5, &[1]))),
            (
                "behind no order",
                disordered(first()),
                rows(10..20, 5, &[1]),
            ),
            ("strings", rows(1..10, 5, &[5]), rows(10..20, 5, &[5])),
            (
                "enough",
                rows(1..MERGED_ROWS_MAX as u64 + 1, 5, &[1]),
                rows(
                    MERGED_ROWS_MAX as u64 + 1..MERGED_ROWS_MAX as u64 + 2,
                    5,
                    &[1],
                ),
            ),
        ];
        for (name, first, next) in cases {
            let mut growing = Growing::new(first.clone(), Sequence(1), &budget());
            let back = growing.join(next.clone(), Sequence(2));
            assert_eq!(back.as_ref(), Some(&next), "{name}");
            let behind = growing.next(next.clone(), Sequence(2)).finish();
            assert_eq!(*behind.rows(), next, "{name}");
            assert_eq!(behind.sequences(), (Sequence(2), Sequence(2)), "{name}");
            let run = growing.finish();
            assert_eq!(*run.rows(), first, "{name}");
            assert_eq!(run.sequences(), (Sequence(1), Sequence(1)), "{name}");
        }
    }
}
