//! One series' rows out of all the stores that have some: in time order, each time once, of each
//! field the newest value.

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::memtable::{Fold, Slice, pick_rows};
use crate::model::{
    Bitmap, Column, FieldType, Presence, SeriesId, TimeRange, VECTOR_ROWS_MAX, Values,
};
use crate::scan::entries::Entries;
use crate::scan::input::Input;
use crate::scan::piece::{Decoded, Piece, Store};

/// A store gives rows of its own, unmerged, where this many come before any other's.
const SOLO_ROWS_MIN: usize = 64;

/// What the merge of one series gives next.
#[derive(Debug)]
pub(super) enum Step {
    /// Rows in the order of the scan, [`VECTOR_ROWS_MAX`] at most, a column for each field.
    Rows(Vec<i64>, Vec<Column>),
    /// Aggregates have been added in place of rows; so many rows were read for them.
    Added(usize),
}

/// The rows of one series.
#[derive(Debug)]
pub(super) struct Merge<'snapshot> {
    /// Oldest store first.
    inputs: Vec<Input<'snapshot>>,
    descending: bool,
    types: Arc<[FieldType]>,
}

impl<'snapshot> Merge<'snapshot> {
    /// The merge of the rows of `series` in `stores`, oldest first, fields being of `types`.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where a directory cannot be read.
    pub(super) fn open(
        stores: &[Box<dyn Store<'snapshot> + 'snapshot>],
        series: (usize, SeriesId),
        (range, descending): (TimeRange, bool),
        types: &Arc<[FieldType]>,
    ) -> Result<Merge<'snapshot>> {
        let mut inputs = Vec::new();
        for store in stores {
            store.open(series, range, descending, &mut |pieces| {
                inputs.push(Input::new(pieces, descending));
            })?;
        }
        Ok(Merge {
            inputs,
            descending,
            types: Arc::clone(types),
        })
    }

    /// What comes next, or `None` at the end. A piece that overlaps no other is added to `entries`, if there
    /// are some, where it can be without making rows of it.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where values cannot be read.
    pub(super) fn step(&mut self, mut entries: Option<&mut Entries<'_>>) -> Result<Option<Step>> {
        loop {
            self.inputs.retain(|input| input.edge().is_some());
            let Some(first) = self.first() else {
                return Ok(None);
            };
            let others = self.edge_of_others(first);
            let input = &mut self.inputs[first];
            if input.left() == 0 {
                if let Some(entries) = entries.as_deref_mut()
                    && let Some(rows) = input.add_piece(others, entries)?
                {
                    return Ok(Some(Step::Added(rows)));
                }
                input.open(|last| last < others)?;
                continue;
            }
            let solo = input.count(|key| key < others).min(VECTOR_ROWS_MAX);
            let decoded = if solo >= SOLO_ROWS_MIN || self.inputs.len() == 1 {
                self.solo(first, solo)
            } else {
                self.several()
            };
            let (timestamps, columns) = self.finish(decoded);
            if !timestamps.is_empty() {
                return Ok(Some(Step::Rows(timestamps, columns)));
            }
        }
    }

    /// The input with the lowest edge; of equal ones one that is not open, as what it has must be
    /// known before anything is given.
    fn first(&self) -> Option<usize> {
        let key = |at: &usize| (self.inputs[*at].edge(), self.inputs[*at].left() > 0);
        (0..self.inputs.len()).min_by_key(key)
    }

    fn edge_of_others(&self, first: usize) -> i64 {
        let others = (0..self.inputs.len()).filter(|at| *at != first);
        let edges = others.filter_map(|at| self.inputs[at].edge());
        edges.min().unwrap_or(i64::MAX)
    }

    /// The next `count` rows of one input.
    fn solo(&mut self, at: usize, count: usize) -> Decoded {
        let input = &mut self.inputs[at];
        let rows = input.take(count);
        let piece = input.piece().expect("rows come of an open piece");
        let is_whole = rows.len() == piece.timestamps().len();
        if is_whole && matches!(piece, Piece::Decoded(_)) {
            if let Some(Piece::Decoded(decoded)) = input.close() {
                return decoded;
            }
            unreachable!("no rows are left of a piece taken whole");
        }
        let fields = 0..self.types.len();
        let column = |field| piece.slice(field, rows.clone()).to_column();
        let decoded = Decoded {
            timestamps: piece.timestamps()[rows.clone()].to_vec(),
            columns: fields.map(column).collect(),
        };
        input.close();
        decoded
    }

    /// The next rows of all inputs, merged: as far as every input is known, and as many of each as
    /// keep the result short.
    fn several(&mut self) -> Decoded {
        let open = self.inputs.iter().filter(|input| input.left() > 0).count();
        let quota = (VECTOR_ROWS_MAX / open.max(1)).max(1);
        let known = self.inputs.iter().map(|input| input.known_to(quota));
        let cut = known.min().unwrap_or(i64::MAX);
        let take = |input: &mut Input<'_>| {
            let count = input.count(|key| key <= cut);
            input.take(count)
        };
        let taken: Vec<Range<usize>> = self.inputs.iter_mut().map(take).collect();
        let parts: Vec<(&Piece, Range<usize>)> = self
            .inputs
            .iter()
            .zip(taken)
            .filter(|(_, rows)| !rows.is_empty())
            .filter_map(|(input, rows)| Some((input.piece()?, rows)))
            .collect();
        let mut timestamps: Vec<i64> = Vec::new();
        for (piece, rows) in &parts {
            timestamps.extend_from_slice(&piece.timestamps()[rows.clone()]);
        }
        let fold = Fold::new(&vec![SeriesId(1); timestamps.len()], &timestamps);
        let column = |field: usize| {
            let slices: Vec<Slice<'_>> = parts
                .iter()
                .map(|(piece, rows)| piece.slice(field, rows.clone()))
                .collect();
            fold.column(&slices)
        };
        let decoded = Decoded {
            columns: (0..self.types.len()).map(column).collect(),
            timestamps: fold.all(&timestamps),
        };
        for input in &mut self.inputs {
            input.close();
        }
        decoded
    }

    /// Leaves out rows without any value, turns them where the scan descends, and makes columns of
    /// fields that have no value.
    fn finish(&self, decoded: Decoded) -> (Vec<i64>, Vec<Column>) {
        let Decoded {
            mut timestamps,
            mut columns,
        } = decoded;
        if let Some(rows) = kept(timestamps.len(), &columns, self.descending) {
            timestamps = rows.iter().map(|row| timestamps[*row as usize]).collect();
            for column in columns.iter_mut().flatten() {
                *column = pick_rows(column, &rows);
            }
        }
        let rows = timestamps.len();
        let fill = |(column, field_type): (Option<Column>, &FieldType)| {
            column.unwrap_or_else(|| Column {
                values: Values::new(*field_type),
                presence: Presence::Some(Bitmap::filled(rows, false)),
            })
        };
        let columns = columns.into_iter().zip(&*self.types).map(fill).collect();
        (timestamps, columns)
    }
}

/// The rows that have any value, in the order of the scan; `None` where they are all, as they are.
pub(super) fn kept(count: usize, columns: &[Option<Column>], descending: bool) -> Option<Vec<u32>> {
    let is_full = |column: &Column| column.presence == Presence::All;
    let all = columns.iter().flatten().any(is_full);
    if all && !descending {
        return None;
    }
    let mut words: Vec<u64> = vec![0; count.div_ceil(64)];
    for column in columns.iter().flatten() {
        if let Presence::Some(bits) = &column.presence {
            for (word, own) in words.iter_mut().zip(bits.words()) {
                *word |= own;
            }
        }
    }
    let rows = u32::try_from(count).expect("a vector is short");
    let has = |row: &u32| all || words[*row as usize / 64] >> (row % 64) & 1 == 1;
    let mut kept: Vec<u32> = (0..rows).filter(has).collect();
    if descending {
        kept.reverse();
    } else if kept.len() == count {
        return None;
    }
    Some(kept)
}
