//! One pass over a group's data for some of a plan's calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use silverback_storage::model::{FieldValue, TimeRange};

use crate::exec::fill::{Filled, Filling};
use crate::exec::sequence::{Entries, Entry, transform};
use crate::exec::windows::GroupWindows;
use crate::exec::{Context, Flow};
use crate::functions::Point;
use crate::functions::aggregate::Accumulator;
use crate::functions::integral::Integral;
use crate::plan::{Base, Call, Fill, Plan};
use crate::result::QueryError;

/// A call's points of one group by the start of their window, ascending.
pub(super) type Windowed = Vec<(i64, Vec<Point>)>;

/// The span and windows of a pass.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) range: TimeRange,
    /// Edges of all windows, ascending; empty where there are no windows, or where the span has no
    /// lower bound.
    pub(super) edges: Arc<[i64]>,
}

impl Span {
    /// What an aggregate over the whole span has as its time.
    pub(super) fn time(&self) -> i64 {
        if self.is_open() { 0 } else { self.range.start }
    }

    /// Whether the span has no lower bound.
    pub(super) fn is_open(&self) -> bool {
        self.range.start <= TimeRange::ALL.start
    }
}

/// Takes the rows of a group and aggregates them by window, for some calls.
pub(super) struct Windowing<'p> {
    plan: &'p Plan,
    span: &'p Span,
    calls: Vec<usize>,
    beside: bool,
    current: Option<((i64, i64), Vec<Accumulator>)>,
    others: BTreeMap<i64, Vec<Accumulator>>,
    areas: Vec<Option<(Integral, Windowed)>>,
}

impl<'p> Windowing<'p> {
    pub(super) fn new(
        plan: &'p Plan,
        span: &'p Span,
        calls: &[usize],
        beside: bool,
    ) -> Windowing<'p> {
        let area = |call: &usize| match plan.calls[*call].base {
            Base::Integral(unit_ns) => {
                Some((Integral::new(unit_ns, plan.windows.is_some()), Vec::new()))
            }
            Base::Raw | Base::Aggregate(_) => None,
        };
        Windowing {
            plan,
            span,
            calls: calls.to_vec(),
            beside,
            current: None,
            others: BTreeMap::new(),
            areas: calls.iter().map(area).collect(),
        }
    }

    fn bounds(&self, timestamp: i64) -> (i64, i64) {
        match &self.plan.windows {
            Some(windows) => windows.bounds(timestamp),
            None => (self.span.time(), i64::MAX),
        }
    }

    fn is_current(&self, timestamp: i64) -> bool {
        match &self.current {
            Some(((start, end), _)) => {
                self.plan.windows.is_none() || (*start <= timestamp && timestamp < *end)
            }
            None => false,
        }
    }

    /// Makes the window of `timestamp` the current one.
    fn turn(&mut self, context: &Context<'_>, timestamp: i64) -> Result<(), QueryError> {
        if self.is_current(timestamp) {
            return Ok(());
        }
        if let Some(((start, _), accumulators)) = self.current.take() {
            self.others.insert(start, accumulators);
        }
        let bounds = self.bounds(timestamp);
        let accumulators = if let Some(own) = self.others.remove(&bounds.0) {
            own
        } else {
            context.charge(self.calls.len() * size_of::<Accumulator>() + 64)?;
            let start = |call: &usize| match &self.plan.calls[*call].base {
                Base::Aggregate(function) => function.start(),
                Base::Raw | Base::Integral(_) => Accumulator::Selected(None),
            };
            self.calls.iter().map(start).collect()
        };
        self.current = Some((bounds, accumulators));
        Ok(())
    }

    /// Takes one row: the values of the plan's variables.
    pub(super) fn push(
        &mut self,
        context: &Context<'_>,
        timestamp: i64,
        slots: &[Option<FieldValue>],
    ) -> Result<Flow, QueryError> {
        for place in 0..self.calls.len() {
            let call = &self.plan.calls[self.calls[place]];
            let Some(value) = &slots[call.variable] else {
                continue;
            };
            if self.areas[place].is_some() {
                self.push_area(place, &Point::new(timestamp, value.clone()));
                continue;
            }
            self.turn(context, timestamp)?;
            let Base::Aggregate(function) = &call.base else {
                continue;
            };
            let Some((_, accumulators)) = &mut self.current else {
                continue;
            };
            let accumulator = &mut accumulators[place];
            // A row is copied only for a point that will stand for a while.
            if self.beside && !accumulator.wants(function, (timestamp, value), slots) {
                continue;
            }
            let point = Point {
                timestamp,
                value: value.clone(),
                beside: self.beside.then(|| Arc::from(slots)),
            };
            let before = accumulator.size_bytes();
            accumulator.push(function, point);
            let after = accumulator.size_bytes();
            if after > before {
                context.charge(after - before)?;
            }
        }
        Ok(Flow::More)
    }

    fn push_area(&mut self, place: usize, point: &Point) {
        let (plan, time) = (self.plan, self.span.time());
        let edges = move |at: i64| match &plan.windows {
            Some(windows) => windows.bounds(at),
            None => (time, i64::MAX),
        };
        if let Some((integral, areas)) = &mut self.areas[place]
            && let Some(area) = integral.push(point, &edges)
        {
            areas.push((area.timestamp, vec![area]));
        }
    }

    /// The points of each call, in the order of `calls`.
    pub(super) fn finish(mut self) -> Vec<(usize, Windowed)> {
        if let Some(((start, _), accumulators)) = self.current.take() {
            self.others.insert(start, accumulators);
        }
        let mut results: Vec<(usize, Windowed)> =
            self.calls.iter().map(|call| (*call, Vec::new())).collect();
        for (start, accumulators) in self.others {
            for (place, accumulator) in accumulators.into_iter().enumerate() {
                if let Base::Aggregate(function) = &self.plan.calls[self.calls[place]].base {
                    let points = accumulator.finish(function);
                    if !points.is_empty() {
                        results[place].1.push((start, points));
                    }
                }
            }
        }
        for (place, area) in self.areas.into_iter().enumerate() {
            if let Some((integral, mut areas)) = area {
                areas.extend(integral.finish().map(|area| (area.timestamp, vec![area])));
                results[place].1 = areas;
            }
        }
        results
    }
}

/// The entries of `call`, which takes field `field` of `windows`, in the order of the output.
pub(super) fn from_windows(
    (plan, call): (&Plan, usize),
    span: &Span,
    windows: &GroupWindows,
    field: usize,
) -> Vec<Entry> {
    let (Base::Aggregate(function), Some(column)) = (&plan.calls[call].base, windows.column(field))
    else {
        return Vec::new();
    };
    let own_time = selects(plan);
    let entry = |place: usize| {
        let (timestamp, value) = function.of_windows(column, place)?;
        Some(Entry {
            timestamp: timestamp
                .filter(|_| own_time)
                .unwrap_or_else(|| window_time(plan, span, windows, place)),
            value: Some(value),
            beside: None,
        })
    };
    let order = windows.order().into_iter();
    if plan.descending {
        order.rev().filter_map(entry).collect()
    } else {
        order.filter_map(entry).collect()
    }
}

/// The time that the window at `place` is shown with.
pub(super) fn window_time(plan: &Plan, span: &Span, windows: &GroupWindows, place: usize) -> i64 {
    if plan.windows.is_some() {
        windows.start(place)
    } else {
        span.time()
    }
}

/// Whether the one point of a plan's one call keeps its own time.
pub(super) fn selects(plan: &Plan) -> bool {
    let [call] = &plan.calls[..] else {
        return false;
    };
    let selector = matches!(&call.base, Base::Aggregate(function) if function.is_selector());
    selector && call.stages.is_empty() && plan.windows.is_none()
}

/// A call's `entries`, which are in the order of the output: windows filled, stages passed.
pub(super) fn sequence<'e>(
    context: &Context<'_>,
    plan: &Plan,
    call: &Call,
    span: &Span,
    entries: Vec<Entry>,
) -> Result<Entries<'e>, QueryError> {
    let filled: Entries<'e> = match &plan.windows {
        Some(windows) if call.is_filled() && plan.fill != Fill::None && !entries.is_empty() => {
            let filling = Filling::new(plan, call, windows.every_ns);
            let edges = if span.is_open() {
                let first = entries.iter().map(|entry| entry.timestamp).min();
                let range = TimeRange {
                    start: first.unwrap_or(span.range.start),
                    end: span.range.end,
                };
                context.buckets(windows.count(range))?;
                windows.edges(range).into()
            } else {
                Arc::clone(&span.edges)
            };
            Box::new(Filled::new(filling, entries, edges, plan.descending))
        }
        Some(_) | None => Box::new(entries.into_iter()),
    };
    Ok(transform(filled, &call.stages, plan.descending))
}

/// A call's points as entries in the order of the output.
pub(super) fn in_order(plan: &Plan, call: &Call, windowed: Windowed) -> Vec<Entry> {
    let keeps = matches!(&call.base, Base::Aggregate(function) if function.keeps_times());
    let own_time = keeps || selects(plan);
    let mut entries = Vec::with_capacity(windowed.len());
    let mut add = |(start, points): (i64, Vec<Point>)| {
        for point in points {
            let mut entry = Entry::from(point);
            if !own_time {
                entry.timestamp = start;
            }
            entries.push(entry);
        }
    };
    if plan.descending {
        windowed.into_iter().rev().for_each(&mut add);
    } else {
        windowed.into_iter().for_each(&mut add);
    }
    entries
}
