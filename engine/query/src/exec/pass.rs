//! One reading of a group's data, from statistics, rows or inner plans.

use silverback_storage::model::FieldValue;

use crate::exec::calls::{Span, Windowing, from_windows, in_order};
use crate::exec::group::Execution;
use crate::exec::groups::{Part, Prepared, PreparedInput, PreparedSubquery};
use crate::exec::ordered::{Order, visit_ordered};
use crate::exec::pieces::RowStream;
use crate::exec::sequence::Entry;
use crate::exec::stats::WindowStream;
use crate::exec::windows::GroupWindows;
use crate::exec::{Context, Flow, Visit};
use crate::functions::arithmetic::cast;
use crate::plan::{Base, Binding, Call};
use crate::result::QueryError;

/// Several calls that are answered by one reading of the data.
pub(super) struct Pass<'p> {
    pub(super) way: Way,
    pub(super) span: Span,
    pub(super) calls: Vec<usize>,
    /// For windows from statistics: which of the fields is whose.
    pub(super) columns: Vec<usize>,
    pub(super) streams: Vec<Stream<'p>>,
    /// Room for the windows of a group, from statistics.
    pub(super) windows: GroupWindows,
    /// Room for the values of a row, by variable.
    pub(super) slots: Vec<Option<FieldValue>>,
    /// For each variable the columns that show it, where rows are given as they are stored.
    pub(super) shown: Vec<Vec<usize>>,
}

/// How a pass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Windows from statistics.
    Statistics,
    /// The first row of each series, from statistics.
    OneRow,
    /// Rows series by series.
    Rows,
    /// Rows in order of time.
    Ordered,
}

pub(super) enum Stream<'p> {
    None,
    Windows(WindowStream<'p>),
    Rows(RowStream<'p>),
    Inner(Box<Execution<'p>>),
}

impl<'p> Pass<'p> {
    /// The windows of one group, from statistics.
    pub(super) fn windows(
        &mut self,
        context: &Context<'_>,
        parts: &[Part],
    ) -> Result<&GroupWindows, QueryError> {
        self.windows.clear();
        for part in parts {
            if let Stream::Windows(stream) = &mut self.streams[part.input] {
                stream.merge(context, &part.members, &mut self.windows)?;
            }
        }
        Ok(&self.windows)
    }

    /// The entries of the pass's calls in one group, each call's in the order of the output.
    pub(super) fn entries(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        parts: &[Part],
        beside: bool,
    ) -> Result<Vec<(usize, Vec<Entry>)>, QueryError> {
        let plan = prepared.plan;
        if self.way == Way::Statistics {
            self.windows(context, parts)?;
            let calls = self.calls.iter().zip(&self.columns);
            let of = |(call, field): (&usize, &usize)| {
                let entries = from_windows((plan, *call), &self.span, &self.windows, *field);
                (*call, entries)
            };
            return Ok(calls.map(of).collect());
        }
        let span = self.span.clone();
        let mut windowing = Windowing::new(plan, &span, &self.calls, beside);
        let mut push = |timestamp: i64, slots: &[Option<FieldValue>]| {
            windowing.push(context, timestamp, slots)
        };
        if self.way == Way::Ordered {
            self.ordered_as(context, prepared, (parts, false), &mut push)?;
        } else {
            self.rows(context, prepared, parts, &mut push)?;
        }
        let points = windowing.finish().into_iter();
        Ok(points
            .map(|(call, windowed)| (call, in_order(plan, &plan.calls[call], windowed)))
            .collect())
    }

    /// Visits a group's rows series by series.
    pub(super) fn rows(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        parts: &[Part],
        visit: &mut Visit<'_>,
    ) -> Result<(), QueryError> {
        let mut slots = vec![None; prepared.plan.variables.len()];
        for part in parts {
            slots.fill(None);
            let flow = match (&mut self.streams[part.input], &prepared.inputs[part.input]) {
                (Stream::Rows(stream), _) => {
                    stream.visit(context, &part.members, &mut slots, visit)?
                }
                (Stream::Inner(inner), PreparedInput::Subquery(own)) => {
                    visit_inner(inner, own, part, &mut slots, visit)?
                }
                _ => Flow::More,
            };
            if flow == Flow::Enough {
                break;
            }
        }
        Ok(())
    }

    /// Visits a group's rows in the order of the output.
    pub(super) fn ordered(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        parts: &[Part],
        visit: &mut Visit<'_>,
    ) -> Result<(), QueryError> {
        self.ordered_as(context, prepared, (parts, prepared.plan.descending), visit)
    }

    fn ordered_as(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        (parts, descending): (&[Part], bool),
        visit: &mut Visit<'_>,
    ) -> Result<(), QueryError> {
        let order = Order {
            range: self.span.range,
            descending,
        };
        let inner = |part: &Part| matches!(prepared.inputs[part.input], PreparedInput::Subquery(_));
        if !parts.iter().any(inner) {
            return visit_ordered(context, prepared, parts, order, visit);
        }
        if let [part] = parts
            && let (Stream::Inner(stream), PreparedInput::Subquery(own)) =
                (&mut self.streams[part.input], &prepared.inputs[part.input])
        {
            // Without windows the results of a group's aggregates have no order between groups.
            let raw = |call: &Call| call.base == Base::Raw;
            let calls = &own.input.plan.calls;
            let windows = own.input.plan.windows.is_some();
            let unordered = !calls.is_empty() && !windows && !calls.iter().any(raw);
            let same_way = descending == own.input.plan.descending;
            if part.members.len() == 1 && same_way || unordered {
                let mut slots = vec![None; prepared.plan.variables.len()];
                return visit_inner(stream, own, part, &mut slots, visit).map(|_| ());
            }
        }
        self.sorted(context, prepared, (parts, order), visit)
    }

    /// Collects a group's rows from inputs of all kinds, sorts them by time and visits them.
    fn sorted(
        &mut self,
        context: &Context<'_>,
        prepared: &'p Prepared<'p>,
        (parts, order): (&[Part], Order),
        visit: &mut Visit<'_>,
    ) -> Result<(), QueryError> {
        let mut rows: Vec<(i64, Vec<Option<FieldValue>>)> = Vec::new();
        let row_bytes = 40 + prepared.plan.variables.len() * size_of::<Option<FieldValue>>();
        for part in parts {
            let mut keep = |timestamp: i64, slots: &[Option<FieldValue>]| {
                context.charge(row_bytes)?;
                rows.push((timestamp, slots.to_vec()));
                Ok(Flow::More)
            };
            if let (Stream::Inner(inner), PreparedInput::Subquery(own)) =
                (&mut self.streams[part.input], &prepared.inputs[part.input])
            {
                let mut slots = vec![None; prepared.plan.variables.len()];
                visit_inner(inner, own, part, &mut slots, &mut keep)?;
            } else {
                let part = std::slice::from_ref(part);
                visit_ordered(context, prepared, part, order, &mut keep)?;
            }
        }
        rows.sort_by_key(|(timestamp, _)| {
            if order.descending {
                !timestamp
            } else {
                *timestamp
            }
        });
        for (timestamp, slots) in rows {
            if visit(timestamp, &slots)? == Flow::Enough {
                break;
            }
        }
        Ok(())
    }
}

/// Visits the rows of some groups of an inner plan, one group behind another, as values of the
/// outer plan's variables.
fn visit_inner(
    inner: &mut Execution<'_>,
    own: &PreparedSubquery<'_>,
    part: &Part,
    slots: &mut [Option<FieldValue>],
    visit: &mut Visit<'_>,
) -> Result<Flow, QueryError> {
    for member in part.members.clone() {
        slots.fill(None);
        let group = &own.inner.groups[member];
        for (slot, binding) in slots.iter_mut().zip(&own.input.bindings) {
            if let Binding::Tag(key) = binding
                && let Ok(place) = own.inner.plan.group_by.binary_search(key)
            {
                *slot = Some(FieldValue::String((*group.tags[place]).into()));
            }
        }
        let mut flow = Flow::More;
        inner.group(member, &mut |timestamp, values| {
            for (slot, binding) in slots.iter_mut().zip(&own.input.bindings) {
                if let Binding::Column { index, wanted } = binding {
                    *slot = match (&values[*index], wanted) {
                        (Some(value), Some(wanted)) => cast(value, *wanted),
                        (value, _) => value.clone(),
                    };
                }
            }
            flow = match &own.input.filter {
                Some(filter) if !filter.holds(&[slots, &[]]) => Flow::More,
                _ => visit(timestamp, slots)?,
            };
            Ok(flow)
        })?;
        if flow == Flow::Enough {
            return Ok(flow);
        }
    }
    Ok(Flow::More)
}
