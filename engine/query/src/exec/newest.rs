//! The first row of each series, from statistics; and the newest windows, before all the others.
//!
//! Both are shortcuts: the same rows come the long way, and where a shortcut cannot be sure of that it
//! is not taken.

use silverback_storage::model::{FieldValue, FieldValueRef, Selected, TimeRange, WindowBatch};

use crate::exec::group::Execution;
use crate::exec::groups::{Part, Prepared, PreparedInput, PreparedMeasurement};
use crate::exec::pass::{Pass, Stream};
use crate::exec::pieces::{each_tag, put_tags};
use crate::exec::plain::Give;
use crate::exec::{Context, Flow, Visit};
use crate::functions::aggregate::Aggregate;
use crate::plan::expr::Expr;
use crate::plan::{Base, Binding, Call, Fill, Plan};
use crate::result::{BatchColumn, BatchPiece, BatchValue, QueryError, RowBatch};

/// More windows than this are not tried apart: all are asked for at once.
const WINDOWS_TRIED_MAX: u64 = 256;

/// Whether each group of a plan without calls shows one row, the first in its order, of one series:
/// statistics tell which that is, as every field has a first and a last value.
pub(super) fn shows_one_row(prepared: &Prepared<'_>) -> bool {
    let plan = prepared.plan;
    let [PreparedInput::Measurement(own)] = &prepared.inputs[..] else {
        return false;
    };
    let kept = |binding: &Binding| match binding {
        Binding::Field { stored, wanted, .. } => stored == wanted,
        Binding::Tag(_) | Binding::Absent => true,
        Binding::Column { .. } => false,
    };
    let one = |part: &Part| part.members.len() == 1;
    plan.cut.limit == 1
        && plan.cut.offset == 0
        && plan.shown == plan.variables.len()
        && matches!(plan.fill, Fill::Null | Fill::None | Fill::Linear)
        && !own.is_filtered()
        && own.input.bindings.iter().all(kept)
        && (prepared.groups.iter()).all(|group| matches!(&group.parts[..], [part] if one(part)))
}

impl<'p> Pass<'p> {
    /// Visits the one row that [`shows_one_row`] speaks of.
    pub(super) fn one_row(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        parts: &[Part],
        visit: &mut Visit<'_>,
    ) -> Result<(), QueryError> {
        let mut slots = std::mem::take(&mut self.slots);
        slots.resize(prepared.plan.variables.len(), None);
        self.only(
            context,
            prepared,
            parts,
            &mut |(own, member), timestamp, entry| {
                put_tags(own, member, &mut slots);
                for (variable, place, _) in &own.columns {
                    slots[*variable] = entry.value(*place, timestamp).map(FieldValue::from);
                }
                visit(timestamp, &slots).map(|_| ())
            },
        )?;
        self.slots = slots;
        Ok(())
    }

    /// Gives the same row of a plan that shows columns as they are stored: its tags are not copied.
    pub(super) fn plain_row(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        parts: &[Part],
        give: &mut Give<'_>,
    ) -> Result<(), QueryError> {
        let plan = prepared.plan;
        if self.shown.is_empty() {
            self.shown = shown(plan);
        }
        let shown = std::mem::take(&mut self.shown);
        let given = self.only(
            context,
            prepared,
            parts,
            &mut |(own, member), timestamp, entry| {
                let null = || BatchColumn::Constant(BatchValue::Null);
                let mut columns: Vec<BatchColumn<'_>> =
                    plan.columns.iter().map(|_| null()).collect();
                let mut put = |variable: usize, value| {
                    for column in &shown[variable] {
                        columns[*column] = BatchColumn::Constant(value);
                    }
                };
                each_tag(own, member, |variable, value| {
                    put(variable, value.map_or(BatchValue::Null, BatchValue::String));
                });
                for (variable, place, _) in &own.columns {
                    let value = entry.value(*place, timestamp);
                    put(*variable, value.map_or(BatchValue::Null, BatchValue::from));
                }
                let piece = BatchPiece {
                    timestamps: &[timestamp],
                    columns,
                };
                give(&RowBatch {
                    pieces: &[piece],
                    order: &[(0, 0)],
                })
            },
        );
        self.shown = shown;
        given
    }

    /// Calls `found` with the one row of a group, if it has one.
    fn only(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        parts: &[Part],
        found: &mut Found<'_, 'p>,
    ) -> Result<(), QueryError> {
        let ([part], [PreparedInput::Measurement(own)]) = (parts, &prepared.inputs[..]) else {
            return Ok(());
        };
        let Stream::Windows(stream) = &mut self.streams[part.input] else {
            return Ok(());
        };
        while let Some((batch, place)) = stream.next_series(context, &part.members)? {
            // There is one window: a series has one entry.
            let at = batch.entries(place).start;
            let entry = Entry::new((batch, at), prepared.plan.descending);
            if let Some(timestamp) = entry.timestamp(own) {
                found((own, part.members.start), timestamp, entry)?;
            }
        }
        Ok(())
    }
}

/// For each variable the columns that show it.
fn shown(plan: &Plan) -> Vec<Vec<usize>> {
    let mut shown = vec![Vec::new(); plan.variables.len()];
    for (place, column) in plan.columns.iter().enumerate() {
        if let Expr::Slot(slot) = column.expr {
            shown[slot].push(place);
        }
    }
    shown
}

/// Takes the row of a series of a measurement: its time, and what knows its values.
type Found<'f, 'p> =
    dyn FnMut((&'p PreparedMeasurement<'p>, usize), i64, Entry<'_>) -> Result<(), QueryError> + 'f;

/// What an entry of a batch knows of the first row in the order of the output.
#[derive(Clone, Copy)]
struct Entry<'b> {
    batch: &'b WindowBatch,
    at: usize,
    selected: Selected,
}

impl<'b> Entry<'b> {
    fn new((batch, at): (&'b WindowBatch, usize), descending: bool) -> Entry<'b> {
        let selected = if descending {
            Selected::Last
        } else {
            Selected::First
        };
        Entry {
            batch,
            at,
            selected,
        }
    }

    fn end(&self, place: usize) -> Option<(i64, FieldValueRef<'b>)> {
        self.batch.columns[place].point_ref(self.selected, self.at)
    }

    /// The row's time; `None` where no field has a value.
    fn timestamp(&self, own: &PreparedMeasurement<'_>) -> Option<i64> {
        let times = (0..own.fields.len()).filter_map(|place| Some(self.end(place)?.0));
        match self.selected {
            Selected::Last => times.max(),
            Selected::First | Selected::Min | Selected::Max => times.min(),
        }
    }

    /// The value of the field at `place` in the row at `timestamp`: a field that has one there has it first.
    fn value(&self, place: usize, timestamp: i64) -> Option<FieldValueRef<'b>> {
        let end = self.end(place).filter(|(own, _)| *own == timestamp);
        end.map(|(_, value)| value)
    }
}

/// Rows of a group: times and values of the columns.
pub(super) type Rows = Vec<(i64, Vec<Option<FieldValue>>)>;

/// The rows of all groups of a plan that shows its newest windows only, read from those windows
/// alone; `None` where that may not be all that is to be shown.
pub(super) fn newest_windows(
    context: &Context<'_>,
    prepared: &Prepared<'_>,
) -> Result<Option<Vec<Rows>>, QueryError> {
    let Some(range) = newest_range(prepared) else {
        return Ok(None);
    };
    let mut execution = Execution::new(context, prepared, range, true)?;
    let mut all = Vec::with_capacity(prepared.groups.len());
    for group in 0..prepared.groups.len() {
        let mut rows = Rows::new();
        execution.group(group, &mut |timestamp, values| {
            rows.push((timestamp, values.to_vec()));
            Ok(Flow::More)
        })?;
        // Where the last row shown has all values, the windows before it hide nothing.
        let full = rows.len() as u64 == prepared.plan.cut.limit;
        let known = rows
            .last()
            .is_some_and(|(_, values)| values.iter().all(Option::is_some));
        if !full || !known {
            return Ok(None);
        }
        all.push(rows);
    }
    Ok(Some(all))
}

/// The span of the newest windows that a plan shows, where the others change nothing of them.
fn newest_range(prepared: &Prepared<'_>) -> Option<TimeRange> {
    let plan = prepared.plan;
    let windows = plan.windows.as_ref()?;
    let count = plan.cut.limit.checked_add(plan.cut.offset)?;
    let measured = |input: &PreparedInput<'_>| matches!(input, PreparedInput::Measurement(_));
    let tried = plan.descending
        && plan.cut.limit > 0
        && count <= WINDOWS_TRIED_MAX
        && matches!(plan.fill, Fill::Null | Fill::None)
        && !plan.calls.is_empty()
        && plan.calls.iter().all(|call| is_alone(plan, call))
        && prepared.inputs.iter().all(measured);
    let end = plan.range.end;
    if !tried || plan.range.is_empty() {
        return None;
    }
    let mut start = windows.start_of(end - 1);
    for _ in 1..count {
        start = windows.start_of(start.checked_sub(1)?);
    }
    (start > plan.range.start).then_some(TimeRange { start, end })
}

/// Whether a call gives one value for a window, null where it has no points, from that window alone.
fn is_alone(plan: &Plan, call: &Call) -> bool {
    let zero = |function: &Aggregate| *function == Aggregate::Count && plan.fill == Fill::Null;
    call.stages.is_empty()
        && matches!(&call.base, Base::Aggregate(function) if function.is_partial() && !zero(function))
}
