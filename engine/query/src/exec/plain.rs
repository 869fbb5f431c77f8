//! Plans that show what is stored as it is: columns go from the scan to the sink, and no row is made of
//! them in between.

use silverback_storage::model::{Column, SeriesRows};
use silverback_storage::scan::pick;

use crate::exec::groups::{Part, Prepared, PreparedInput, PreparedMeasurement};
use crate::exec::newest::shows_one_row;
use crate::exec::ordered::{
    FILTERED_SLICE_ROWS, Inputs, Order, SLICE_ROWS_MAX, each_slice, inputs_of,
};
use crate::exec::pieces::{put_tags, request};
use crate::exec::selection::chosen;
use crate::exec::{Context, Flow, cell};
use crate::plan::expr::Expr;
use crate::plan::{Binding, Fill, VariableKind};
use crate::result::{BatchColumn, BatchPiece, BatchValue, Cell, QueryError, RowBatch};

/// Rows that are given at once: between two batches a query can be stopped.
const BATCH_ROWS_MAX: usize = 64 * 1024;

/// Takes batches of rows.
pub(super) type Give<'g> = dyn FnMut(&RowBatch<'_>) -> Result<(), QueryError> + 'g;

/// Whether `prepared` shows columns as they are stored: all rows that count, or one of each group.
pub(super) fn is_plain(prepared: &Prepared<'_>) -> bool {
    let plan = prepared.plan;
    let as_stored = |own: &PreparedMeasurement<'_>, expr: &Expr| {
        let Expr::Slot(slot) = expr else {
            return false;
        };
        match own.input.bindings.get(*slot) {
            Some(Binding::Field { stored, wanted, .. }) => stored == wanted,
            Some(Binding::Tag(_) | Binding::Absent) => true,
            Some(Binding::Column { .. }) | None => false,
        }
    };
    let measured = |input: &PreparedInput<'_>| match input {
        PreparedInput::Measurement(own) => {
            let mut columns = plan.columns.iter();
            columns.all(|column| as_stored(own, &column.expr))
        }
        PreparedInput::Subquery(_) => false,
    };
    let mut shown = plan.variables[..plan.shown].iter();
    let all = plan.cut.limit == 0 && plan.cut.offset == 0;
    plan.calls.is_empty()
        && (all || shows_one_row(prepared))
        && matches!(plan.fill, Fill::Null | Fill::None | Fill::Linear)
        && shown.any(|variable| matches!(variable.kind, VariableKind::Field(_)))
        && prepared.inputs.iter().all(measured)
}

/// Rows of one series that count, what is shown of them.
struct Piece {
    timestamps: Vec<i64>,
    /// By place in the fields of the measurement; `None` where it is not shown.
    columns: Vec<Option<Column>>,
    /// Of the plan's variables that are tags.
    tags: Vec<Cell>,
    /// Number of the input among the group's.
    place: usize,
}

/// Reads the rows of groups of a plan that [`is_plain`].
pub(super) struct Plain<'p> {
    context: &'p Context<'p>,
    prepared: &'p Prepared<'p>,
}

impl<'p> Plain<'p> {
    pub(super) fn new(context: &'p Context<'p>, prepared: &'p Prepared<'p>) -> Plain<'p> {
        Plain { context, prepared }
    }

    /// Gives the rows of the series `rows` are of, of input `input`: a group of one series.
    pub(super) fn alone(
        &self,
        own: &PreparedMeasurement<'_>,
        rows: SeriesRows,
        give: &mut Give<'_>,
    ) -> Result<(), QueryError> {
        let Some(piece) = self.piece(own, (0, rows.index), rows) else {
            return Ok(());
        };
        let count = u32::try_from(piece.timestamps.len()).unwrap_or(u32::MAX);
        let order: Vec<(u32, u32)> = (0..count).map(|row| (0, row)).collect();
        let shown = self.batch_piece(own, &piece);
        give(&RowBatch {
            pieces: &[shown],
            order: &order,
        })
    }

    /// Gives the rows of a group in `order` of time.
    pub(super) fn ordered(
        &self,
        parts: &[Part],
        order: Order,
        give: &mut Give<'_>,
    ) -> Result<(), QueryError> {
        let own = inputs_of(self.prepared, parts);
        let filtered = own.iter().any(|(own, _)| own.is_filtered());
        let first = if filtered {
            FILTERED_SLICE_ROWS
        } else {
            SLICE_ROWS_MAX
        };
        each_slice(self.context, (&own, order), first, &mut |range| {
            let mut pieces = Vec::new();
            for (place, (own, members)) in own.iter().enumerate() {
                let request = request(own, members.clone(), range, order.descending);
                let mut scan = own.input.source.scan(request)?;
                while let Some(rows) = scan.next_rows()? {
                    self.context.piece(rows.timestamps.len())?;
                    let member = members.start + rows.index;
                    if let Some(piece) = self.piece(own, (place, member), rows) {
                        self.context.charge(piece.size_bytes())?;
                        pieces.push(piece);
                    }
                }
            }
            let found: usize = pieces.iter().map(|piece| piece.timestamps.len()).sum();
            self.give(&own, &pieces, order, give)?;
            Ok((found as u64, Flow::More))
        })
    }

    fn give(
        &self,
        own: &Inputs<'_>,
        pieces: &[Piece],
        order: Order,
        give: &mut Give<'_>,
    ) -> Result<(), QueryError> {
        let mut rows: Vec<(i64, (u32, u32))> = Vec::new();
        for (number, piece) in (0_u32..).zip(pieces) {
            let ranks = piece.timestamps.iter().map(|time| order.rank(*time));
            rows.extend(ranks.zip((0..).map(|row| (number, row))));
        }
        // What each piece gives is in order already; of equal times the first piece's comes first.
        rows.sort_by_key(|(rank, _)| *rank);
        let order: Vec<(u32, u32)> = rows.iter().map(|(_, row)| *row).collect();
        let shown: Vec<BatchPiece<'_>> = pieces
            .iter()
            .map(|piece| self.batch_piece(own[piece.place].0, piece))
            .collect();
        for order in order.chunks(BATCH_ROWS_MAX) {
            self.context.piece(0)?;
            give(&RowBatch {
                pieces: &shown,
                order,
            })?;
        }
        Ok(())
    }

    /// What counts of `rows`; `None` where nothing does.
    fn piece(
        &self,
        own: &PreparedMeasurement<'_>,
        (place, member): (usize, usize),
        rows: SeriesRows,
    ) -> Option<Piece> {
        let plan = self.prepared.plan;
        let mut shown = vec![false; own.fields.len()];
        for (variable, place, _) in &own.columns {
            shown[*place] |= *variable < plan.shown;
        }
        let selected = selected(own, member, (&rows, &shown));
        if selected.as_ref().is_some_and(Vec::is_empty) {
            return None;
        }
        let columns = rows.columns.into_iter().zip(shown);
        let columns = columns.map(|(column, shown)| {
            shown.then(|| match &selected {
                Some(selected) => pick(&column, selected),
                None => column,
            })
        });
        let mut slots = vec![None; plan.variables.len()];
        put_tags(own, member, &mut slots);
        Some(Piece {
            columns: columns.collect(),
            timestamps: match &selected {
                Some(selected) => (selected.iter())
                    .map(|row| rows.timestamps[*row as usize])
                    .collect(),
                None => rows.timestamps,
            },
            tags: slots.iter().map(|value| cell(value.as_ref())).collect(),
            place,
        })
    }

    fn batch_piece<'b>(&self, own: &PreparedMeasurement<'_>, piece: &'b Piece) -> BatchPiece<'b> {
        let columns = self.prepared.plan.columns.iter().map(|column| {
            let Expr::Slot(slot) = column.expr else {
                return BatchColumn::Constant(BatchValue::Null);
            };
            let mut fields = own.columns.iter();
            let field = fields.find(|(variable, ..)| *variable == slot);
            match field.and_then(|(_, place, _)| piece.columns[*place].as_ref()) {
                Some(column) => BatchColumn::of(column),
                None => BatchColumn::Constant(BatchValue::Cell(&piece.tags[slot])),
            }
        });
        BatchPiece {
            timestamps: &piece.timestamps,
            columns: columns.collect(),
        }
    }
}

impl Piece {
    /// Memory that it takes until its slice has been given, bytes.
    fn size_bytes(&self) -> usize {
        // Its times, and twice a place in the order of the slice.
        let rows = self.timestamps.len() * (8 + 16 + 8);
        let columns = self.columns.iter().flatten();
        rows + columns
            .map(|column| column.values.size_bytes())
            .sum::<usize>()
    }
}

/// The rows that count: that pass the filter of series `member`, and have a value in a field that is
/// `shown`. `None`: all of them.
fn selected(
    own: &PreparedMeasurement<'_>,
    member: usize,
    (rows, shown): (&SeriesRows, &[bool]),
) -> Option<Vec<u32>> {
    let count = u32::try_from(rows.timestamps.len()).expect("a piece has few rows");
    let mut selected = chosen(own, member, rows);
    // A row has a value in a field that is read, which need not be one that is shown.
    if shown.contains(&false) {
        let columns = || rows.columns.iter().zip(shown).filter(|(_, shown)| **shown);
        let has = |row: &u32| columns().any(|(column, _)| column.presence.has(*row as usize));
        selected = Some(match selected {
            Some(selected) => selected.into_iter().filter(has).collect(),
            None => (0..count).filter(has).collect(),
        });
    }
    selected.filter(|selected| selected.len() < rows.timestamps.len())
}
