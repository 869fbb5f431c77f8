//! Rows straight from the windows of a group, where no call needs more than its own window: every
//! call's value of a window stands in the same row.

use silverback_storage::model::FieldValue;

use crate::exec::calls::{selects, window_time};
use crate::exec::fill::Filling;
use crate::exec::pass::{Pass, Way};
use crate::exec::sequence::Output;
use crate::exec::windows::GroupWindows;
use crate::exec::{Context, Flow, Visit};
use crate::functions::aggregate::Aggregate;
use crate::plan::{Base, Call, Fill, Plan};
use crate::result::QueryError;

/// Whether [`aligned`] gives the rows of `plan`, of which `pass` is the only one.
pub(super) fn is_aligned(plan: &Plan, pass: &Pass<'_>) -> bool {
    let constant = match plan.fill {
        Fill::None => true,
        Fill::Null | Fill::Number(_) | Fill::Integer(_) => {
            // Where time has no beginning each call is filled from its own first window on.
            plan.windows.is_none() || !pass.span.is_open()
        }
        Fill::Previous | Fill::Linear => false,
    };
    let alone = |call: &Call| call.stages.is_empty();
    pass.way == Way::Statistics && constant && plan.calls.iter().all(alone)
}

/// A call's part in a row.
struct Part<'p> {
    function: &'p Aggregate,
    field: usize,
    /// What stands in an empty window.
    empty: Option<FieldValue>,
}

/// Gives the rows of the group whose windows `pass` holds.
pub(super) fn aligned(
    context: &Context<'_>,
    plan: &Plan,
    pass: &Pass<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), QueryError> {
    let windows = &pass.windows;
    let order = windows.order();
    let parts = parts(plan, pass, &order);
    let mut rows = Rows {
        plan,
        windows,
        parts: &parts,
        output: Output::new(context, plan),
        values: vec![None; plan.variables.len() + parts.len()],
    };
    let fills = plan.windows.is_some() && plan.fill != Fill::None;
    if fills && order.iter().any(|place| rows.has_value(*place)) {
        return rows.filled(&order, &pass.span.edges, visit);
    }
    let count = order.len();
    for at in 0..count {
        let place = order[if plan.descending { count - 1 - at } else { at }];
        let own_time = rows.put(Some(place));
        let time = own_time.unwrap_or_else(|| window_time(plan, &pass.span, windows, place));
        if rows.has_value(place) && rows.give(time, visit)? == Flow::Enough {
            return Ok(());
        }
    }
    Ok(())
}

/// What each call of `plan` puts into a row. A call without any value is not filled.
fn parts<'p>(plan: &'p Plan, pass: &Pass<'_>, order: &[usize]) -> Vec<Option<Part<'p>>> {
    let mut parts: Vec<Option<Part<'p>>> = Vec::new();
    parts.resize_with(plan.calls.len(), || None);
    for (call, field) in pass.calls.iter().zip(&pass.columns) {
        let own = &plan.calls[*call];
        let (Base::Aggregate(function), Some(column)) = (&own.base, pass.windows.column(*field))
        else {
            continue;
        };
        let has = |place: &usize| function.of_windows(column, *place).is_some();
        let fills = own.is_filled() && order.iter().any(has);
        let filling = plan.windows.as_ref().filter(|_| fills);
        let filling = filling.map(|windows| Filling::new(plan, own, windows.every_ns));
        parts[*call] = Some(Part {
            function,
            field: *field,
            empty: filling.and_then(|filling| filling.constant()),
        });
    }
    parts
}

struct Rows<'r, 'v> {
    plan: &'r Plan,
    windows: &'r GroupWindows,
    parts: &'r [Option<Part<'r>>],
    output: Output<'r, 'v>,
    /// Of the plan's variables, which are not shown, and of its calls.
    values: Vec<Option<FieldValue>>,
}

impl Rows<'_, '_> {
    /// A row for each window between `edges`; `order` are those that were found.
    fn filled(
        &mut self,
        order: &[usize],
        edges: &[i64],
        visit: &mut Visit<'_>,
    ) -> Result<(), QueryError> {
        let count = edges.len().saturating_sub(1);
        let descending = self.plan.descending;
        let mut found = 0;
        for at in 0..count {
            let time = edges[if descending { count - 1 - at } else { at }];
            let next = order.get(if descending {
                order.len().wrapping_sub(1 + found)
            } else {
                found
            });
            let place = next
                .copied()
                .filter(|place| self.windows.start(*place) == time);
            found += usize::from(place.is_some());
            self.put(place);
            if self.give(time, visit)? == Flow::Enough {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether any call has a value in the window at `place`.
    fn has_value(&self, place: usize) -> bool {
        let mut parts = self.parts.iter().flatten();
        parts.any(|part| {
            let column = self.windows.column(part.field);
            column.is_some_and(|column| part.function.of_windows(column, place).is_some())
        })
    }

    /// Puts the values of the window at `place`, or of an empty one, into the row. Gives the time of the
    /// point where the plan shows that.
    fn put(&mut self, place: Option<usize>) -> Option<i64> {
        let own_time = selects(self.plan);
        let values = &mut self.values[self.plan.variables.len()..];
        let mut time = None;
        for (own, part) in values.iter_mut().zip(self.parts) {
            let Some(part) = part else {
                *own = None;
                continue;
            };
            let column = place.and_then(|place| Some((self.windows.column(part.field)?, place)));
            let found = column.and_then(|(column, at)| part.function.of_windows(column, at));
            *own = match found {
                Some((at, value)) => {
                    time = at.filter(|_| own_time);
                    Some(value)
                }
                None => part.empty.clone(),
            };
        }
        time
    }

    fn give(&mut self, time: i64, visit: &mut Visit<'_>) -> Result<Flow, QueryError> {
        let first = self.plan.variables.len();
        self.output.fill(&mut self.values[first..], first);
        self.output.give(time, &[&self.values, &[]], visit)
    }
}
