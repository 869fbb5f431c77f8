//! Pieces of runs, put end to end: column by column, a copy of each piece's values.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use super::pieces::Piece;
use crate::codec::Word;
use crate::memtable::{Held, Narrow, Run, Slice};
use crate::model::{Bitmap, Column, FieldId, FieldType, Presence, Rows, SeriesId, Strings, Values};

/// The runs that pieces are taken from, field by field.
#[derive(Debug)]
pub(super) struct Gather<'runs> {
    runs: &'runs [Arc<Run>],
    fields: Vec<Field<'runs>>,
}

/// One field in all runs.
#[derive(Debug)]
struct Field<'runs> {
    id: FieldId,
    values: FieldType,
    /// All rows of each run; of one that holds it narrow, none.
    slices: Vec<Slice<'runs>>,
    narrow: Vec<Option<&'runs Narrow>>,
    /// Of each run which rows have a value.
    sources: Vec<Source<'runs>>,
    /// Whether each row of each run has a value.
    is_full: bool,
}

/// A field in a run.
#[derive(Debug)]
enum Source<'runs> {
    Absent,
    Full,
    /// Which rows have a value, and how many values stand before each word of that.
    Holes(&'runs Bitmap, Vec<u32>),
}

impl<'runs> Gather<'runs> {
    pub(super) fn new(runs: &'runs [Arc<Run>]) -> Gather<'runs> {
        let mut ids: Vec<FieldId> = runs.iter().flat_map(|run| run.fields()).collect();
        ids.sort_unstable();
        ids.dedup();
        let fields = ids.into_iter().map(|id| Field::new(id, runs));
        Gather {
            runs,
            fields: fields.collect(),
        }
    }

    /// The rows of `pieces`, in their order, under the series that `series` gives with the length of
    /// each piece. Cost: a copy.
    pub(super) fn rows(
        &self,
        pieces: &[Piece],
        series: impl Iterator<Item = (SeriesId, usize)>,
    ) -> Rows {
        let measurement = self.runs[0].measurement();
        let times: Vec<Wide<'_, i64>> = (self.runs.iter())
            .map(|run| Wide(run.timestamps()))
            .collect();
        let columns = self.fields.iter();
        Rows {
            measurement,
            series: series
                .flat_map(|(series, len)| iter::repeat_n(series, len))
                .collect(),
            timestamps: copy(&times, pieces),
            columns: columns
                .filter_map(|field| Some((field.id, field.column(pieces)?)))
                .collect(),
        }
    }
}

impl<'runs> Field<'runs> {
    fn new(id: FieldId, runs: &'runs [Arc<Run>]) -> Field<'runs> {
        let held: Vec<Held<'_>> = runs.iter().map(|run| run.held(id)).collect();
        let slice = |(run, held): (&Arc<Run>, &Held<'runs>)| {
            let column = match held {
                Held::Wide(column) => Some(*column),
                Held::Absent | Held::Narrow(_) => None,
            };
            Slice::of(column, 0..run.row_count())
        };
        let narrow = |held: &Held<'runs>| match held {
            Held::Narrow(column) => Some(&column.values),
            Held::Absent | Held::Wide(_) => None,
        };
        let sources: Vec<Source<'_>> = held.iter().map(|held| Source::of(*held)).collect();
        let values = held.iter().find_map(|held| held.field_type());
        Field {
            id,
            values: values.expect("a field stands in a run"),
            slices: runs.iter().zip(&held).map(slice).collect(),
            narrow: held.iter().map(narrow).collect(),
            is_full: sources.iter().all(|source| matches!(source, Source::Full)),
            sources,
        }
    }

    /// The values of `pieces`; `None` where there is none.
    fn column(&self, pieces: &[Piece]) -> Option<Column> {
        if self.is_full {
            return Some(Column {
                values: self.pick(pieces),
                presence: Presence::All,
            });
        }
        let mut present = Bitmap::default();
        let dense: Vec<Piece> = pieces
            .iter()
            .map(|piece| self.sources[piece.run as usize].dense(*piece, &mut present))
            .collect();
        let values = self.pick(&dense);
        let presence = if values.len() == present.len() {
            Presence::All
        } else {
            Presence::Some(present)
        };
        (!values.is_empty()).then_some(Column { values, presence })
    }

    /// The values of `pieces`, which count values that are there.
    fn pick(&self, pieces: &[Piece]) -> Values {
        match self.values {
            FieldType::Float => Values::Float(copy(&self.wide(Slice::floats), pieces)),
            FieldType::Integer => Values::Integer(copy(&self.whole(Slice::integers), pieces)),
            FieldType::Unsigned => Values::Unsigned(copy(&self.whole(Slice::unsigned), pieces)),
            FieldType::Boolean => Values::Boolean(copy(&self.wide(Slice::booleans), pieces)),
            FieldType::String => {
                let all: Vec<Option<&Strings>> = self.slices.iter().map(Slice::strings).collect();
                let mut picked = Strings::default();
                for piece in pieces {
                    if let Some(strings) = all[piece.run as usize] {
                        piece.range().for_each(|at| picked.push(strings.get(at)));
                    }
                }
                Values::String(picked)
            }
        }
    }

    fn wide<T>(&self, read: impl Fn(&Slice<'runs>) -> &'runs [T]) -> Vec<Wide<'runs, T>> {
        self.slices.iter().map(|slice| Wide(read(slice))).collect()
    }

    fn whole<T>(&self, read: impl Fn(&Slice<'runs>) -> &'runs [T]) -> Vec<Whole<'runs, T>> {
        let whole = |(slice, narrow): (&Slice<'runs>, Option<&'runs Narrow>)| match narrow {
            Some(narrow) => Whole::Narrow(narrow),
            None => Whole::Wide(Wide(read(slice))),
        };
        let narrow = self.narrow.iter().copied();
        self.slices.iter().zip(narrow).map(whole).collect()
    }
}

impl<'runs> Source<'runs> {
    fn of(held: Held<'runs>) -> Source<'runs> {
        let bits = match held.presence() {
            None => return Source::Absent,
            Some(Presence::All) => return Source::Full,
            Some(Presence::Some(bits)) => bits,
        };
        let mut before = 0;
        let words = bits.words().iter().map(|word| {
            let rank = before;
            before += word.count_ones();
            rank
        });
        let mut ranks: Vec<u32> = words.collect();
        ranks.push(before);
        Source::Holes(bits, ranks)
    }

    /// Where the values of a piece stand among the dense ones; appends to `present` which of its rows
    /// have one.
    fn dense(&self, piece: Piece, present: &mut Bitmap) -> Piece {
        match self {
            Source::Absent => {
                piece.range().for_each(|_| present.push(false));
                Piece {
                    start: 0,
                    len: 0,
                    ..piece
                }
            }
            Source::Full => {
                piece.range().for_each(|_| present.push(true));
                piece
            }
            Source::Holes(bits, ranks) => {
                let rank = |row: usize| {
                    let word = bits.words().get(row / 64).copied().unwrap_or(0);
                    let below = word & ((1 << (row % 64)) - 1);
                    ranks[row / 64] + below.count_ones()
                };
                piece.range().for_each(|row| present.push(bits.get(row)));
                let (start, end) = (rank(piece.range().start), rank(piece.range().end));
                Piece {
                    start,
                    len: end - start,
                    ..piece
                }
            }
        }
    }
}

/// Where values of a run are copied from.
trait Stock<T> {
    fn one(&self, at: usize) -> T;
    fn some(&self, range: Range<usize>, into: &mut Vec<T>);
}

/// Values of a run as they are.
#[derive(Debug)]
struct Wide<'runs, T>(&'runs [T]);

/// Whole numbers of a run.
#[derive(Debug)]
enum Whole<'runs, T> {
    Wide(Wide<'runs, T>),
    Narrow(&'runs Narrow),
}

impl<T: Copy> Stock<T> for Wide<'_, T> {
    #[inline]
    fn one(&self, at: usize) -> T {
        self.0[at]
    }

    #[inline]
    fn some(&self, range: Range<usize>, into: &mut Vec<T>) {
        into.extend_from_slice(&self.0[range]);
    }
}

impl<T: Word> Stock<T> for Whole<'_, T> {
    #[inline]
    fn one(&self, at: usize) -> T {
        match self {
            Whole::Wide(wide) => wide.one(at),
            Whole::Narrow(narrow) => narrow.get(at),
        }
    }

    #[inline]
    fn some(&self, range: Range<usize>, into: &mut Vec<T>) {
        match self {
            Whole::Wide(wide) => wide.some(range, into),
            Whole::Narrow(narrow) => into.extend(range.map(|at| narrow.get::<T>(at))),
        }
    }
}

fn copy<T>(of_runs: &[impl Stock<T>], pieces: &[Piece]) -> Vec<T> {
    let count = pieces.iter().map(|piece| piece.len as usize).sum();
    let mut copied = Vec::with_capacity(count);
    for piece in pieces {
        let values = &of_runs[piece.run as usize];
        // Where nobody put the rows in order before, nearly all pieces are one row.
        if piece.len == 1 {
            copied.push(values.one(piece.start as usize));
        } else {
            values.some(piece.range(), &mut copied);
        }
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::memtable::Memtable;
    use crate::model::{MeasurementId, Sequence};

    fn run(first_series: u64, count: usize, has_strings: bool) -> Arc<Run> {
        let mut bits = Bitmap::default();
        let mut strings = Strings::default();
        for row in 0..count {
            bits.push(row % 3 != 1);
            if row % 3 != 1 {
                strings.push(format!("value {row} of {first_series}").as_bytes());
            }
        }
        let ids = first_series..first_series + count as u64;
        let full = Column {
            values: Values::Unsigned(ids.clone().collect()),
            presence: Presence::All,
        };
        let mut columns = vec![(FieldId(1), full)];
        if has_strings {
            let holes = Column {
                values: Values::String(strings),
                presence: Presence::Some(bits),
            };
            columns.push((FieldId(2), holes));
            let more = Column {
                values: Values::Float(vec![0.5; count]),
                presence: Presence::All,
            };
            columns.push((FieldId(3), more));
        }
        let rows = Rows {
            measurement: MeasurementId(1),
            series: ids.map(SeriesId).collect(),
            timestamps: (0..).take(count).collect(),
            columns,
        };
        Arc::new(Run::new(rows, Sequence(1)))
    }

    #[test]
    fn pieces_take_their_values_along_whatever_has_holes() {
        let runs = [run(1, 300, true), run(1000, 64, true), run(2000, 10, false)];
        let narrow = runs.clone().map(|run| {
            let memtable = Memtable::new();
            let rows = run.rows().into_owned();
            drop(run);
            // What waits for a flush is narrow, where it is not tiny.
            memtable.push(Arc::new(Run::new(rows, Sequence(1))), Duration::ZERO);
            memtable.runs(MeasurementId(1)).remove(0)
        });
        assert!(matches!(narrow[0].held(FieldId(1)), Held::Narrow(_)));
        assert!(matches!(narrow[1].held(FieldId(1)), Held::Wide(_)));
        for runs in [&runs, &narrow] {
            check_pieces(runs);
        }
    }

    fn check_pieces(runs: &[Arc<Run>]) {
        let pieces = [
            (0, 250..300),
            (1, 0..1),
            (0, 64..128),
            (2, 3..7),
            (1, 10..10),
            (0, 1..2),
            (1, 63..64),
        ];
        let pieces = pieces.map(|(run, rows): (u32, Range<u32>)| Piece {
            run,
            start: rows.start,
            len: rows.end - rows.start,
        });
        let series = (7..).map(SeriesId);
        let lens = pieces.iter().map(|piece| piece.len as usize);
        let gathered = Gather::new(runs).rows(&pieces, series.zip(lens));
        let mut at = 0;
        for (piece, series) in pieces.iter().zip(7..) {
            let rows = runs[piece.run as usize].rows();
            for row in piece.range() {
                assert_eq!(gathered.series[at], SeriesId(series));
                assert_eq!(gathered.timestamps[at], rows.timestamps[row]);
                for column in 0..3 {
                    let have = gathered.columns[column].1.get(at);
                    let want = rows.columns.get(column).and_then(|(_, own)| own.get(row));
                    assert_eq!(have, want, "row {row} column {column}");
                }
                at += 1;
            }
        }
        assert_eq!(gathered.len(), at);
    }

    #[test]
    fn a_field_without_a_value_in_the_pieces_has_no_column() {
        let runs = [run(1, 300, true), run(2000, 10, false)];
        let rows = |run, start| Piece { run, start, len: 1 };
        let of = |pieces: &[Piece]| {
            let series = pieces.iter().map(|_| (SeriesId(1), 1));
            Gather::new(&runs).rows(pieces, series).columns.len()
        };
        assert_eq!(of(&[rows(1, 4), rows(1, 5)]), 1);
        assert_eq!(of(&[rows(0, 1), rows(1, 5)]), 2);
        assert_eq!(of(&[rows(0, 2), rows(1, 5)]), 3);
    }
}
