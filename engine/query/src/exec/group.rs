//! Runs one group after another of a prepared plan.

use std::sync::Arc;

use silverback_storage::model::{AggregateSet, FieldId, FieldValue, Selected, TimeRange};

use crate::exec::aligned::{aligned, is_aligned};
use crate::exec::calls::{Span, sequence};
use crate::exec::groups::{Part, Prepared, PreparedInput, PreparedMeasurement, extend};
use crate::exec::newest::shows_one_row;
use crate::exec::ordered::Order;
use crate::exec::pass::{Pass, Stream, Way};
use crate::exec::pieces::RowStream;
use crate::exec::plain::{Give, Plain};
use crate::exec::sequence::{Entries, Entry, Output, join};
use crate::exec::stats::{WindowStream, extent};
use crate::exec::windows::GroupWindows;
use crate::exec::{Context, Flow, Visit};
use crate::functions::Point;
use crate::functions::aggregate::Aggregate;
use crate::functions::transform::Transformer;
use crate::plan::{Base, Binding, Call, Fill, Input, Plan, Stage, VariableKind};
use crate::result::QueryError;

/// A prepared plan under way. Groups are asked for in their order, each once.
pub(super) struct Execution<'p> {
    context: &'p Context<'p>,
    prepared: &'p Prepared<'p>,
    span: Span,
    /// Rows carry all variables: a selected point shows its neighbours.
    beside: bool,
    passes: Vec<Pass<'p>>,
}

impl<'p> Execution<'p> {
    /// Opens what the plan's groups read in `range`. `ordered`: rows are wanted in order of time;
    /// else those of a plan without calls may come series by series.
    pub(super) fn new(
        context: &'p Context<'p>,
        prepared: &'p Prepared<'p>,
        range: TimeRange,
        ordered: bool,
    ) -> Result<Execution<'p>, QueryError> {
        let plan = prepared.plan;
        let range = plan.range.intersect(range);
        let beside = plan.needs_neighbours();
        let mut own = Execution {
            context,
            prepared,
            span: Span {
                range,
                edges: Arc::default(),
            },
            beside,
            passes: Vec::new(),
        };
        if prepared.groups.is_empty() || range.is_empty() {
            return Ok(own);
        }
        let mut kinds: Vec<(Way, u32, Vec<usize>)> = Vec::new();
        for (index, call) in plan.calls.iter().enumerate() {
            let way = own.way(call);
            let before = if plan.windows.is_some() {
                call.windows_before()
            } else {
                0
            };
            match kinds
                .iter_mut()
                .find(|kind| (kind.0, kind.1) == (way, before))
            {
                Some((_, _, calls)) => calls.push(index),
                None => kinds.push((way, before, vec![index])),
            }
        }
        let shown = &plan.variables[..plan.shown];
        let known = shown
            .iter()
            .any(|variable| variable.kind != VariableKind::Unknown);
        if plan.calls.is_empty() && known {
            let cut = plan.cut.limit > 0 || plan.cut.offset > 0 || plan.fill == Fill::Previous;
            let way = if shows_one_row(prepared) {
                Way::OneRow
            } else if cut || ordered && !own.is_in_order() {
                Way::Ordered
            } else {
                Way::Rows
            };
            kinds.push((way, 0, Vec::new()));
        }
        for (way, before, calls) in kinds {
            if let Some(pass) = own.open(way, before, calls)? {
                own.passes.push(pass);
            }
        }
        Ok(own)
    }

    /// Whether rows series by series are in order of time: a group is one series. One scan then reads
    /// all groups.
    fn is_in_order(&self) -> bool {
        let one = |part: &Part| {
            let measured = matches!(
                self.prepared.inputs[part.input],
                PreparedInput::Measurement(_)
            );
            measured && part.members.len() == 1
        };
        let mut groups = self.prepared.groups.iter();
        !self.prepared.plan.descending
            && groups.all(|group| matches!(&group.parts[..], [part] if one(part)))
    }

    fn way(&self, call: &Call) -> Way {
        let Base::Aggregate(function) = &call.base else {
            return Way::Ordered;
        };
        if matches!(function, Aggregate::Sample(_)) {
            return Way::Ordered;
        }
        let stated = |input: &PreparedInput<'_>| match input {
            PreparedInput::Measurement(own) => call.is_stated(own.input) && !own.is_filtered(),
            PreparedInput::Subquery(_) => false,
        };
        if !self.beside && self.prepared.inputs.iter().all(stated) {
            return Way::Statistics;
        }
        Way::Rows
    }

    /// The pass for `calls`; `None` where there is nothing to read.
    fn open(
        &self,
        way: Way,
        before: u32,
        calls: Vec<usize>,
    ) -> Result<Option<Pass<'p>>, QueryError> {
        let plan = self.prepared.plan;
        let mut span = Span {
            range: self.span.range,
            edges: Arc::default(),
        };
        let mut edges: Arc<[i64]> = [span.range.start, span.range.end].into();
        if let Some(windows) = &plan.windows {
            let reach = windows.every_ns.saturating_mul(i64::from(before));
            let open = span.is_open();
            span.range = extend(span.range, reach, plan.descending);
            let mut covered = span.range;
            if open && way == Way::Statistics {
                match self.extent(span.range)? {
                    Some(found) => covered.start = found.start,
                    None => return Ok(None),
                }
            }
            if !open || way == Way::Statistics {
                self.context.buckets(windows.count(covered))?;
                edges = windows.edges(covered).into();
                let places = GroupWindows::places_bytes(edges.len());
                self.context
                    .charge(edges.len() * size_of::<i64>() + places)?;
            }
            if !open {
                span.edges = Arc::clone(&edges);
            }
        }
        let mut pass = Pass {
            way,
            span,
            calls,
            columns: Vec::new(),
            streams: Vec::new(),
            windows: GroupWindows::new(Arc::clone(&edges)),
            slots: Vec::new(),
            shown: Vec::new(),
        };
        for input in &self.prepared.inputs {
            let stream = self.stream(&mut pass, input, &edges)?;
            pass.streams.push(stream);
        }
        Ok(Some(pass))
    }

    fn stream(
        &self,
        pass: &mut Pass<'p>,
        input: &'p PreparedInput<'p>,
        edges: &Arc<[i64]>,
    ) -> Result<Stream<'p>, QueryError> {
        let range = pass.span.range;
        Ok(match (input, pass.way) {
            (PreparedInput::Subquery(own), _) => {
                let ordered = pass.way == Way::Ordered;
                let inner = Execution::new(self.context, &own.inner, range, ordered)?;
                Stream::Inner(Box::new(inner))
            }
            (PreparedInput::Measurement(own), _) if own.series.is_empty() => Stream::None,
            (PreparedInput::Measurement(_), Way::Ordered) => Stream::None,
            (PreparedInput::Measurement(own), Way::Rows) => {
                Stream::Rows(RowStream::new(own, range)?)
            }
            (PreparedInput::Measurement(own), Way::OneRow) => {
                let selected = if self.prepared.plan.descending {
                    Selected::Last
                } else {
                    Selected::First
                };
                let wanted = AggregateSet::of(selected);
                let fields: Vec<(Option<FieldId>, AggregateSet)> =
                    (own.fields.iter().map(|field| (Some(*field), wanted))).collect();
                Stream::Windows(WindowStream::new(own, &fields, range, Arc::clone(edges))?)
            }
            (PreparedInput::Measurement(own), Way::Statistics) => {
                let fields = self.fields(pass, own);
                Stream::Windows(WindowStream::new(own, &fields, range, Arc::clone(edges))?)
            }
        })
    }

    /// The fields of `own` that the calls of `pass` take, each once, and what is wanted of each; notes
    /// which of them is whose.
    fn fields(
        &self,
        pass: &mut Pass<'p>,
        own: &PreparedMeasurement<'_>,
    ) -> Vec<(Option<FieldId>, AggregateSet)> {
        let mut variables: Vec<(usize, AggregateSet)> = Vec::new();
        pass.columns.clear();
        for call in &pass.calls {
            let call = &self.prepared.plan.calls[*call];
            let wanted = match &call.base {
                Base::Aggregate(function) => function.wanted().unwrap_or_default(),
                Base::Raw | Base::Integral(_) => AggregateSet::default(),
            };
            let known = variables
                .iter()
                .position(|(variable, _)| *variable == call.variable);
            let place = known.unwrap_or(variables.len());
            match variables.get_mut(place) {
                Some((_, own)) => *own = own.with(wanted),
                None => variables.push((call.variable, wanted)),
            }
            pass.columns.push(place);
        }
        let field = |(variable, wanted)| match own.input.bindings.get(variable) {
            Some(Binding::Field { field, .. }) => (Some(*field), wanted),
            Some(Binding::Absent | Binding::Tag(_) | Binding::Column { .. }) | None => {
                (None, wanted)
            }
        };
        variables.into_iter().map(field).collect()
    }

    /// The span of all rows of the measurements in `range`.
    fn extent(&self, range: TimeRange) -> Result<Option<TimeRange>, QueryError> {
        let mut all: Option<TimeRange> = None;
        for input in &self.prepared.inputs {
            if let PreparedInput::Measurement(own) = input
                && let Some((found, _)) = extent(self.context, own, 0..own.series.len(), range)?
            {
                all = Some(TimeRange {
                    start: all.map_or(found.start, |all| all.start.min(found.start)),
                    end: all.map_or(found.end, |all| all.end.max(found.end)),
                });
            }
        }
        Ok(all)
    }

    /// Gives the rows of group `index`.
    pub(super) fn group(&mut self, index: usize, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        if self.passes.is_empty() {
            return Ok(());
        }
        let held = self.context.held();
        let result = if self.prepared.plan.calls.is_empty() {
            self.raw(index, visit)
        } else if self.is_stepwise() {
            self.stepwise(index, visit)
        } else {
            self.computed(index, visit)
        };
        self.context.release_to(held);
        result
    }

    /// Gives the rows of group `index` of a plan that is plain.
    pub(super) fn plain(&mut self, index: usize, give: &mut Give<'_>) -> Result<(), QueryError> {
        let plain = Plain::new(self.context, self.prepared);
        let parts = &self.prepared.groups[index].parts;
        for pass in &mut self.passes {
            if pass.way == Way::Ordered {
                let order = Order {
                    range: pass.span.range,
                    descending: self.prepared.plan.descending,
                };
                plain.ordered(parts, order, give)?;
                continue;
            }
            if pass.way == Way::OneRow {
                pass.plain_row(self.context, self.prepared, parts, give)?;
                continue;
            }
            for part in parts {
                let (Stream::Rows(stream), PreparedInput::Measurement(own)) = (
                    &mut pass.streams[part.input],
                    &self.prepared.inputs[part.input],
                ) else {
                    continue;
                };
                while let Some(rows) = stream.next_piece(self.context, &part.members)? {
                    plain.alone(own, rows, give)?;
                }
            }
        }
        Ok(())
    }

    /// Whether all calls go from row to row, so that nothing need be kept.
    fn is_stepwise(&self) -> bool {
        let steps = |call: &Call| {
            let transforms = |stage: &Stage| matches!(stage, Stage::Transform(_));
            call.base == Base::Raw && call.stages.iter().all(transforms)
        };
        self.passes.len() == 1 && self.prepared.plan.calls.iter().all(steps)
    }

    /// Rows as they are.
    fn raw(&mut self, index: usize, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        let plan = self.prepared.plan;
        let mut output = Output::new(self.context, plan);
        let parts = &self.prepared.groups[index].parts;
        let inner = parts
            .iter()
            .any(|part| matches!(plan.inputs[part.input], Input::Subquery(_)));
        let fills = !matches!(plan.fill, Fill::Null | Fill::None | Fill::Linear);
        let mut filled = Vec::new();
        let mut show = |timestamp: i64, slots: &[Option<FieldValue>]| {
            let shown = &slots[..plan.shown];
            let has_field = |(slot, value): (usize, &Option<FieldValue>)| {
                let tag = matches!(plan.variables[slot].kind, VariableKind::Tag);
                value.is_some() && !tag
            };
            if !inner && !shown.iter().enumerate().any(has_field) {
                return Ok(Flow::More);
            }
            if !fills {
                return output.give(timestamp, &[slots, &[]], visit);
            }
            filled.clear();
            filled.extend_from_slice(slots);
            output.fill(&mut filled, 0);
            output.give(timestamp, &[&filled, &[]], visit)
        };
        let pass = &mut self.passes[0];
        let (context, prepared) = (self.context, self.prepared);
        match pass.way {
            Way::OneRow => pass.one_row(context, prepared, parts, &mut show),
            Way::Rows => pass.rows(context, prepared, parts, &mut show),
            Way::Ordered | Way::Statistics => pass.ordered(context, prepared, parts, &mut show),
        }
    }

    /// Each row goes through the calls' transformations; results of one time share a row.
    fn stepwise(&mut self, index: usize, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        let plan = self.prepared.plan;
        let mut output = Output::new(self.context, plan);
        let mut chains: Vec<Vec<Transformer>> = plan
            .calls
            .iter()
            .map(|call| {
                let start = |stage: &Stage| match stage {
                    Stage::Transform(transform) => Some(transform.start(plan.descending)),
                    Stage::HoltWinters(_) => None,
                };
                call.stages.iter().filter_map(start).collect()
            })
            .collect();
        let mut waiting: Vec<Vec<Entry>> = vec![Vec::new(); chains.len()];
        let mut at = None;
        let mut enough = false;
        let parts = &self.prepared.groups[index].parts;
        let pass = &mut self.passes[0];
        pass.ordered(
            self.context,
            self.prepared,
            parts,
            &mut |timestamp, slots| {
                if at.is_some_and(|at| at != timestamp) && waiting.iter().any(|own| !own.is_empty())
                {
                    let flow = drain(plan, &mut waiting, &mut output, visit)?;
                    enough = flow == Flow::Enough;
                    if enough {
                        return Ok(Flow::Enough);
                    }
                }
                at = Some(timestamp);
                for ((chain, call), waiting) in chains.iter_mut().zip(&plan.calls).zip(&mut waiting)
                {
                    let mut point = slots[call.variable]
                        .clone()
                        .map(|value| Point::new(timestamp, value));
                    for step in chain {
                        point = point.and_then(|point| step.push(point));
                    }
                    waiting.extend(point.map(Entry::from));
                }
                Ok(Flow::More)
            },
        )?;
        if !enough {
            drain(plan, &mut waiting, &mut output, visit)?;
        }
        Ok(())
    }

    /// The calls' sequences, joined by time.
    fn computed(&mut self, index: usize, visit: &mut Visit<'_>) -> Result<(), QueryError> {
        let plan = self.prepared.plan;
        if let [pass] = &mut self.passes[..]
            && is_aligned(plan, pass)
        {
            let parts = &self.prepared.groups[index].parts;
            pass.windows(self.context, parts)?;
            return aligned(self.context, plan, pass, visit);
        }
        let empty = |_: &Call| -> Entries<'_> { Box::new(std::iter::empty()) };
        let mut sequences: Vec<Entries<'_>> = plan.calls.iter().map(empty).collect();
        for pass in &mut self.passes {
            let parts = &self.prepared.groups[index].parts;
            let entries = pass.entries(self.context, self.prepared, parts, self.beside)?;
            for (call, entries) in entries {
                let own = &plan.calls[call];
                sequences[call] = sequence(self.context, plan, own, &pass.span, entries)?;
            }
        }
        let mut output = Output::new(self.context, plan);
        join(plan, sequences, &mut output, visit)
    }
}

/// Gives the rows that wait, and says whether more are wanted.
fn drain(
    plan: &Plan,
    waiting: &mut [Vec<Entry>],
    output: &mut Output<'_, '_>,
    visit: &mut Visit<'_>,
) -> Result<Flow, QueryError> {
    let entries =
        |own: &mut Vec<Entry>| -> Entries<'_> { Box::new(std::mem::take(own).into_iter()) };
    let sequences = waiting.iter_mut().map(entries).collect();
    let mut flow = Flow::More;
    join(plan, sequences, output, &mut |timestamp, values| {
        flow = visit(timestamp, values)?;
        Ok(flow)
    })?;
    if output.is_full() {
        flow = Flow::Enough;
    }
    Ok(flow)
}
