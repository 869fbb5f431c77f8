//! Windows from the store's statistics, one series behind another, taken group by group.

use std::ops::Range;
use std::sync::Arc;

use silverback_storage::model::{
    AggregateRequest, AggregateSet, FieldId, Selected, TimeRange, WindowBatch,
};

use crate::exec::Context;
use crate::exec::groups::PreparedMeasurement;
use crate::exec::pieces::request;
use crate::exec::windows::GroupWindows;
use crate::result::QueryError;
use crate::source::WindowScan;

/// The windows of all series of an input.
pub(super) struct WindowStream<'p> {
    scan: Box<dyn WindowScan + 'p>,
    /// Which of the fields asked for the measurement has.
    present: Vec<bool>,
    /// The batch read last, and how many of its series have been taken.
    batch: (WindowBatch, usize),
}

impl<'p> WindowStream<'p> {
    /// Windows between `edges`, from what lies in `range`: of each of `fields` what is wanted. A field
    /// that the measurement has not is `None`, and has no windows.
    pub(super) fn new(
        own: &'p PreparedMeasurement<'p>,
        fields: &[(Option<FieldId>, AggregateSet)],
        range: TimeRange,
        edges: Arc<[i64]>,
    ) -> Result<WindowStream<'p>, QueryError> {
        let mut scan = request(own, 0..own.series.len(), range, false);
        let known = |(field, wanted): &(Option<FieldId>, _)| field.map(|field| (field, *wanted));
        let wanted;
        (scan.fields, wanted) = fields.iter().filter_map(known).unzip();
        let request = AggregateRequest {
            scan,
            wanted,
            edges,
        };
        Ok(WindowStream {
            scan: own.input.source.aggregate(request)?,
            present: fields.iter().map(|(field, _)| field.is_some()).collect(),
            batch: (WindowBatch::default(), 0),
        })
    }

    /// Adds the windows of the series in `members`, which lie behind those asked for before.
    pub(super) fn merge(
        &mut self,
        context: &Context<'_>,
        members: &Range<usize>,
        into: &mut GroupWindows,
    ) -> Result<(), QueryError> {
        let present = std::mem::take(&mut self.present);
        while let Some(found) = self.next_series(context, members)? {
            into.add(context, found, &present)?;
        }
        self.present = present;
        Ok(())
    }

    /// The next series in `members`, which lie behind those asked for before: its batch and its place
    /// there.
    pub(super) fn next_series(
        &mut self,
        context: &Context<'_>,
        members: &Range<usize>,
    ) -> Result<Option<(&mut WindowBatch, usize)>, QueryError> {
        loop {
            let (batch, next) = &mut self.batch;
            let Some((index, _)) = batch.series.get(*next).copied() else {
                context.piece(0)?;
                match self.scan.next_windows()? {
                    Some(batch) => self.batch = (batch, 0),
                    None => return Ok(None),
                }
                continue;
            };
            if index >= members.end {
                return Ok(None);
            }
            *next += 1;
            if index >= members.start {
                break;
            }
        }
        let (batch, next) = &mut self.batch;
        Ok(Some((batch, *next - 1)))
    }
}

/// First and last time of any row in `range`, and how many rows there are at least: as many as the
/// field with the most values of each series has. `None` without any. Cost: the statistics of all series.
pub(super) fn extent(
    context: &Context<'_>,
    own: &PreparedMeasurement<'_>,
    members: Range<usize>,
    range: TimeRange,
) -> Result<Option<(TimeRange, u64)>, QueryError> {
    let scan = request(own, members, range, false);
    let ends = AggregateSet::of(Selected::First).with(AggregateSet::of(Selected::Last));
    let request = AggregateRequest {
        wanted: vec![ends; scan.fields.len()],
        scan,
        edges: [range.start, range.end].into(),
    };
    let mut scan = own.input.source.aggregate(request)?;
    let (mut span, mut count) = (None, 0_u64);
    while let Some(batch) = scan.next_windows()? {
        context.piece(0)?;
        // There is one window: an entry is a series.
        for at in 0..batch.windows.len() {
            let mut rows = 0;
            for column in &batch.columns {
                let point = |selected| column.point(selected, at);
                let (Some((start, _)), Some((last, _))) =
                    (point(Selected::First), point(Selected::Last))
                else {
                    continue;
                };
                rows = rows.max(column.count(at));
                let end = last.saturating_add(1);
                let own = TimeRange { start, end };
                span = Some(span.map_or(own, |span: TimeRange| TimeRange {
                    start: span.start.min(start),
                    end: span.end.max(end),
                }));
            }
            count = rows.saturating_add(count);
        }
    }
    Ok(span.map(|span| (span, count)))
}
