//! Windows from the store's statistics, one series behind another, taken group by group.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use silverback_storage::model::{
    AggregateRequest, FieldId, SeriesWindows, TimeRange, WindowPartial,
};

use crate::exec::Context;
use crate::exec::groups::PreparedMeasurement;
use crate::exec::pieces::request;
use crate::functions::aggregate::merge_partials;
use crate::result::QueryError;
use crate::source::WindowScan;

/// The windows of a group: for each that is not empty, by its start, one partial per field.
pub(super) type GroupWindows = BTreeMap<i64, Vec<Option<WindowPartial>>>;

/// The windows of all series of an input.
pub(super) struct WindowStream<'p> {
    scan: Box<dyn WindowScan + 'p>,
    edges: Arc<[i64]>,
    /// Which of the fields asked for the measurement has.
    present: Vec<bool>,
    pending: Option<SeriesWindows>,
}

impl<'p> WindowStream<'p> {
    /// Windows between `edges`, of `fields`, from what lies in `range`. A field that the
    /// measurement has not is `None`, and has no partials.
    pub(super) fn new(
        own: &'p PreparedMeasurement<'p>,
        fields: &[Option<FieldId>],
        range: TimeRange,
        edges: Arc<[i64]>,
    ) -> Result<WindowStream<'p>, QueryError> {
        let mut scan = request(own, 0..own.series.len(), range, false);
        scan.fields = fields.iter().flatten().copied().collect();
        let request = AggregateRequest {
            scan,
            edges: edges.to_vec(),
        };
        Ok(WindowStream {
            scan: own.input.source.aggregate(request)?,
            edges,
            present: fields.iter().map(Option::is_some).collect(),
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
            for (window, partials) in series.windows {
                let start = self.edges[window as usize];
                let partials = self.spread(partials);
                if let Some(own) = into.get_mut(&start) {
                    merge_fields(own, partials);
                } else {
                    context.charge((partials.len() + 1) * size_of::<WindowPartial>())?;
                    into.insert(start, partials);
                }
            }
        }
    }
}

impl WindowStream<'_> {
    /// Partials of the fields asked for, from those of the fields that the measurement has.
    fn spread(&self, found: Vec<Option<WindowPartial>>) -> Vec<Option<WindowPartial>> {
        if found.len() == self.present.len() {
            return found;
        }
        let mut found = found.into_iter();
        let present = self.present.iter();
        present
            .map(|present| present.then(|| found.next().flatten()).flatten())
            .collect()
    }
}

fn merge_fields(own: &mut [Option<WindowPartial>], other: Vec<Option<WindowPartial>>) {
    for (own, other) in own.iter_mut().zip(other) {
        match (own, other) {
            (Some(own), Some(other)) => merge_partials(own, &other),
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
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
    let edges = vec![range.start, range.end];
    let scan = request(own, members, range, false);
    let mut scan = own
        .input
        .source
        .aggregate(AggregateRequest { scan, edges })?;
    let mut found: Option<(TimeRange, u64)> = None;
    while let Some(series) = scan.next_windows()? {
        context.piece(0)?;
        let partials = series
            .windows
            .iter()
            .flat_map(|(_, partials)| partials)
            .flatten();
        for partial in partials {
            let own = TimeRange {
                start: partial.first.timestamp,
                end: partial.last.timestamp.saturating_add(1),
            };
            found = Some(match found {
                None => (own, partial.count),
                Some((range, count)) => {
                    let range = TimeRange {
                        start: range.start.min(own.start),
                        end: range.end.max(own.end),
                    };
                    (range, count.saturating_add(partial.count))
                }
            });
        }
    }
    Ok(found)
}
