//! Runs plans. Reads through [`crate::source::Source`] only, knows no language, starts no thread.
//!
//! Memory follows one group: its windows, its kept points, and one piece of rows per open scan.
//! What grows is charged to the `Context` and refused when the query's share is used up.
//! Every piece of rows asks whether the query may go on.

mod aligned;
mod calls;
mod fill;
mod group;
mod groups;
mod newest;
mod ordered;
mod pass;
mod pieces;
mod plain;
mod selection;
mod sequence;
mod stats;
mod windows;

use std::cell::Cell as Counter;

use silverback_storage::model::FieldValue;

use crate::exec::group::Execution;
use crate::exec::groups::{Leading, Prepared};
use crate::exec::newest::newest_windows;
use crate::exec::plain::is_plain;
use crate::plan::Plan;
use crate::result::{Cell, QueryError, QueryOptions, ResultSink, SeriesHeader};

/// Windows of one statement where the options state no bound of their own: three years of
/// ten-second windows. More is a mistyped interval or a missing lower bound.
pub const SELECT_BUCKETS_MAX: u64 = 10_000_000;

/// Whether whoever takes rows wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Go on.
    More,
    /// That is enough.
    Enough,
}

/// Takes rows: their time and the values of their columns.
pub(crate) type Visit<'v> = dyn FnMut(i64, &[Option<FieldValue>]) -> Result<Flow, QueryError> + 'v;

/// What a running query may use, and what it has used.
#[derive(Debug)]
pub(crate) struct Context<'q> {
    options: &'q QueryOptions,
    points: Counter<u64>,
    memory: Counter<u64>,
    series: Counter<u64>,
}

impl<'q> Context<'q> {
    pub(crate) fn new(options: &'q QueryOptions) -> Context<'q> {
        Context {
            options,
            points: Counter::new(0),
            memory: Counter::new(0),
            series: Counter::new(0),
        }
    }

    /// A piece of `rows` rows has been read: whether the query may go on.
    fn piece(&self, rows: usize) -> Result<(), QueryError> {
        self.options.stop.check()?;
        let points = self.points.get().saturating_add(rows as u64);
        self.points.set(points);
        exceeds("max-select-point", points, self.options.limits.points_max)
    }

    fn series(&self, count: usize) -> Result<(), QueryError> {
        self.options.stop.check()?;
        let series = self.series.get().saturating_add(count as u64);
        self.series.set(series);
        exceeds("max-select-series", series, self.options.limits.series_max)
    }

    fn buckets(&self, count: u64) -> Result<(), QueryError> {
        let max = match self.options.limits.buckets_max {
            0 => SELECT_BUCKETS_MAX,
            max => max,
        };
        exceeds("max-select-buckets", count, max)
    }

    /// The query holds `bytes` more.
    fn charge(&self, bytes: usize) -> Result<(), QueryError> {
        if let Some(share) = &self.options.memory {
            share.charge(bytes)?;
        }
        let held = self.memory.get().saturating_add(bytes as u64);
        self.memory.set(held);
        let max = self.options.limits.memory_bytes_max;
        if max > 0 && held > max {
            return Err(QueryError::limit(format!(
                "query memory limit exceeded: ({held}/{max} bytes), query_memory_bytes_max; narrow the \
                 time range, group less finely or ask for fewer series"
            )));
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.memory.get()
    }

    /// The query holds what it held when [`Context::held`] gave `held`.
    fn release_to(&self, held: u64) {
        if let Some(share) = &self.options.memory {
            let bytes = self.memory.get().saturating_sub(held);
            share.release(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        self.memory.set(held);
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        self.release_to(0);
    }
}

fn exceeds(name: &str, count: u64, max: u64) -> Result<(), QueryError> {
    if max > 0 && count > max {
        return Err(QueryError::limit(format!(
            "{name} limit exceeded: ({count}/{max})"
        )));
    }
    Ok(())
}

/// Runs a plan: each group that has rows becomes a series of the answer.
///
/// # Errors
/// `Limit`, `Timeout`, `Interrupted` as the options say; `Storage` where the store cannot read.
/// Rows already given stay given.
pub fn run(
    plan: &Plan,
    options: &QueryOptions,
    sink: &mut dyn ResultSink,
) -> Result<(), QueryError> {
    let context = Context::new(options);
    let prepared = Prepared::new(&context, plan, Leading::default(), plan.range)?;
    let mut rows = Rows::new(plan, sink);
    if let Some(newest) = newest_windows(&context, &prepared)? {
        for (index, group) in newest.iter().enumerate() {
            for (timestamp, values) in group {
                rows.give(&prepared, index, (*timestamp, values))?;
            }
        }
        return Ok(());
    }
    let plain = is_plain(&prepared);
    let mut execution = Execution::new(&context, &prepared, plan.range, true)?;
    for index in 0..prepared.groups.len() {
        if plain {
            execution.plain(index, &mut |batch| {
                rows.begin(&prepared, index)?;
                rows.sink.rows(batch)?;
                Ok(())
            })?;
            continue;
        }
        execution.group(index, &mut |timestamp, values| {
            rows.give(&prepared, index, (timestamp, values))
        })?;
    }
    Ok(())
}

/// Rows on their way out, each group under its header.
struct Rows<'s> {
    sink: &'s mut dyn ResultSink,
    /// Of the last group, used again.
    header: SeriesHeader,
    /// The group whose header has been given last.
    begun: Option<usize>,
    /// The cells of the row before, used again: most strings have the length that stood there.
    cells: Vec<Cell>,
}

impl<'s> Rows<'s> {
    fn new(plan: &Plan, sink: &'s mut dyn ResultSink) -> Rows<'s> {
        let names = plan.columns.iter().map(|column| &column.name);
        let columns = [&plan.time_column].into_iter().chain(names);
        Rows {
            sink,
            header: SeriesHeader {
                columns: columns.cloned().collect(),
                ..SeriesHeader::default()
            },
            begun: None,
            cells: Vec::new(),
        }
    }

    /// Gives the header of group `index` unless its rows have begun.
    fn begin(&mut self, prepared: &Prepared<'_>, index: usize) -> Result<(), QueryError> {
        if self.begun != Some(index) {
            let (plan, group) = (prepared.plan, &prepared.groups[index]);
            let header = &mut self.header;
            if header.name.as_deref() != Some(&*group.name) {
                header.name = Some((*group.name).into());
            }
            if self.begun.is_none() {
                let keys = plan.group_by.iter().cloned();
                let tags = keys.map(|key| (key, Box::default())).collect();
                header.tags = (!plan.group_by.is_empty()).then_some(tags);
                header.zone.clone_from(&plan.zone);
            }
            let values = header.tags.iter_mut().flatten().map(|(_, value)| value);
            for (own, value) in values.zip(&group.tags) {
                if own.len() == value.len() {
                    own.copy_from_slice(value);
                } else {
                    *own = (**value).into();
                }
            }
            self.sink.series(header)?;
            self.begun = Some(index);
        }
        Ok(())
    }

    fn give(
        &mut self,
        prepared: &Prepared<'_>,
        index: usize,
        (timestamp, values): (i64, &[Option<FieldValue>]),
    ) -> Result<Flow, QueryError> {
        self.begin(prepared, index)?;
        self.cells.resize(values.len() + 1, Cell::Null);
        self.cells[0] = Cell::Time(timestamp);
        for (own, value) in self.cells[1..].iter_mut().zip(values) {
            put_cell(own, value.as_ref());
        }
        self.sink.row(&self.cells)?;
        Ok(Flow::More)
    }
}

/// Writes a value over a cell; a string where it stood if it is as long.
fn put_cell(cell: &mut Cell, value: Option<&FieldValue>) {
    match (cell, value) {
        (Cell::String(own), Some(FieldValue::String(value))) => own.clone_from(value),
        (own, value) => *own = self::cell(value),
    }
}

fn cell(value: Option<&FieldValue>) -> Cell {
    match value {
        None => Cell::Null,
        Some(FieldValue::Float(value)) => Cell::Float(*value),
        Some(FieldValue::Integer(value)) => Cell::Integer(*value),
        Some(FieldValue::Unsigned(value)) => Cell::Unsigned(*value),
        Some(FieldValue::Boolean(value)) => Cell::Boolean(*value),
        Some(FieldValue::String(value)) => Cell::String(value.clone()),
    }
}
