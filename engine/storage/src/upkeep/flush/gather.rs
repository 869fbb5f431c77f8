//! Pieces of runs, put end to end: column by column, a copy of each piece's values.

use std::iter;
use std::sync::Arc;

use super::pieces::Piece;
use crate::memtable::{Run, Slice};
use crate::model::{Bitmap, Column, FieldId, Presence, Rows, SeriesId, Strings, Values};

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
    /// All rows of each run.
    slices: Vec<Slice<'runs>>,
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
        let columns = runs.iter().flat_map(|run| &run.rows().columns);
        let mut ids: Vec<FieldId> = columns.map(|(id, _)| *id).collect();
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
        let times = self.runs.iter().map(|run| &run.rows().timestamps[..]);
        let columns = self.fields.iter();
        Rows {
            measurement,
            series: series
                .flat_map(|(series, len)| iter::repeat_n(series, len))
                .collect(),
            timestamps: copy(times, pieces),
            columns: columns
                .filter_map(|field| Some((field.id, field.column(pieces)?)))
                .collect(),
        }
    }
}

impl<'runs> Field<'runs> {
    fn new(id: FieldId, runs: &'runs [Arc<Run>]) -> Field<'runs> {
        let slice = |run: &'runs Arc<Run>| {
            let columns = &run.rows().columns;
            let at = columns.binary_search_by_key(&id, |(id, _)| *id);
            let column = at.ok().map(|at| &columns[at].1);
            Slice::of(column, 0..run.rows().len())
        };
        let slices: Vec<Slice<'_>> = runs.iter().map(slice).collect();
        Field {
            id,
            is_full: slices.iter().all(Slice::is_full),
            sources: slices.iter().map(Source::of).collect(),
            slices,
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
        let like = self.slices.iter().find_map(|slice| slice.column);
        let slices = self.slices.iter();
        match &like.expect("a field stands in a run").values {
            Values::Float(_) => Values::Float(copy(slices.map(Slice::floats), pieces)),
            Values::Integer(_) => Values::Integer(copy(slices.map(Slice::integers), pieces)),
            Values::Unsigned(_) => Values::Unsigned(copy(slices.map(Slice::unsigned), pieces)),
            Values::Boolean(_) => Values::Boolean(copy(slices.map(Slice::booleans), pieces)),
            Values::String(_) => {
                let all: Vec<Option<&Strings>> = slices.map(Slice::strings).collect();
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
}

impl<'runs> Source<'runs> {
    fn of(slice: &Slice<'runs>) -> Source<'runs> {
        let Some(column) = slice.column else {
            return Source::Absent;
        };
        let Presence::Some(bits) = &column.presence else {
            return Source::Full;
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

fn copy<'runs, T: Copy + 'runs>(
    values: impl Iterator<Item = &'runs [T]>,
    pieces: &[Piece],
) -> Vec<T> {
    let of_runs: Vec<&[T]> = values.collect();
    let count = pieces.iter().map(|piece| piece.len as usize).sum();
    let mut copied = Vec::with_capacity(count);
    for piece in pieces {
        let values = of_runs[piece.run as usize];
        // Where nobody put the rows in order before, nearly all pieces are one row.
        if piece.len == 1 {
            copied.push(values[piece.start as usize]);
        } else {
            copied.extend_from_slice(&values[piece.range()]);
        }
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let pieces = [
            (0, 250..300),
            (1, 0..1),
            (0, 64..128),
            (2, 3..7),
            (1, 10..10),
            (0, 1..2),
            (1, 63..64),
        ];
        let pieces = pieces.map(|(run, rows): (u32, std::ops::Range<u32>)| Piece {
            run,
            start: rows.start,
            len: rows.end - rows.start,
        });
        let series = (7..).map(SeriesId);
        let lens = pieces.iter().map(|piece| piece.len as usize);
        let gathered = Gather::new(&runs).rows(&pieces, series.zip(lens));
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
