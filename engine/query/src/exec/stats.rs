//! Windows from the store's statistics, one series behind another, taken group by group.

use std::ops::Range;
use std::sync::Arc;

use silverback_storage::model::{
    AggregateRequest, AggregateSet, FieldId, Selected, SeriesWindows, TimeRange,
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
    pending: Option<SeriesWindows>,
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
            pending: None,
        })
    }

    /// Adds the windows of the series in `members`, which lie behind those asked for before.
    pub(super) fn merge(
        &mut self,
        context: &Context<'_>,
        members: &Range<usize>,
        into: &mut GroupWindows,
    ) -> Result<(), QueryError> {
        loop {
            let series = match self.pending.take() {
                Some(series) => series,
                None => match self.scan.next_windows()? {
                    Some(series) => series,
                    None => return Ok(()),
                },
            };
            if series.index >= members.end {
                self.pending = Some(series);
                return Ok(());
            }
            context.piece(0)?;
            if series.index < members.start {
                continue;
            }
            into.add(context, series, &self.present)?;
        }
    }
}

/// First and last time of any row in `range`, and how many values there are; `None` without any.
/// Cost: the statistics of all series.
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
    let mut found: Option<(TimeRange, u64)> = None;
    while let Some(series) = scan.next_windows()? {
        context.piece(0)?;
        for column in &series.columns {
            let point = |selected| column.point(selected, 0);
            let (Some((first, _)), Some((last, _))) =
                (point(Selected::First), point(Selected::Last))
            else {
                continue;
            };
            let count = column.count(0);
            let own = TimeRange {
                start: first,
                end: last.saturating_add(1),
            };
            found = Some(match found {
                None => (own, count),
                Some((range, all)) => {
                    let range = TimeRange {
                        start: range.start.min(own.start),
                        end: range.end.max(own.end),
                    };
                    (range, all.saturating_add(count))
                }
            });
        }
    }
    Ok(found)
}
