//! A [`Source`] over the store's own snapshot. It adds nothing: what is read, and how, is storage's.

use std::sync::Arc;

use silverback_storage::Result;
use silverback_storage::model::{
    AggregateRequest, MeasurementId, MeasurementInfo, PolicyId, PolicyInfo, ScanRequest,
    SeriesRows, SeriesWindows, TagPredicate, TimeRange,
};
use silverback_storage::scan::{self, Check, RowCursor, WindowCursor};
use silverback_storage::snapshot::Snapshot;

use crate::source::{RowScan, SeriesInfo, Source, WindowScan};

/// A snapshot of one database, read as long as a query lasts.
#[derive(Clone, Debug)]
pub struct SnapshotSource(pub Arc<Snapshot>);

impl SnapshotSource {
    /// Whoever drives a query asks between the pieces it gets: storage need not.
    fn no_check() -> Check {
        Arc::new(|| Ok(()))
    }
}

impl Source for SnapshotSource {
    fn policies(&self) -> Vec<PolicyInfo> {
        self.0.catalog().policies().to_vec()
    }

    fn measurements(&self) -> Vec<Arc<MeasurementInfo>> {
        self.0.catalog().measurements().to_vec()
    }

    fn measurement(&self, name: &[u8]) -> Option<Arc<MeasurementInfo>> {
        self.0.catalog().measurement(name).cloned()
    }

    fn series(
        &self,
        measurement: MeasurementId,
        predicate: &TagPredicate,
        policy: Option<PolicyId>,
        range: TimeRange,
    ) -> Result<Vec<SeriesInfo>> {
        let series = self.0.series(measurement, predicate, policy, range)?;
        let info = |(id, tags)| SeriesInfo { id, tags };
        Ok(series.into_iter().map(info).collect())
    }

    fn scan(&self, request: ScanRequest) -> Result<Box<dyn RowScan + '_>> {
        let cursor = scan::rows(&self.0, request, SnapshotSource::no_check())?;
        Ok(Box::new(cursor))
    }

    fn aggregate(&self, request: AggregateRequest) -> Result<Box<dyn WindowScan + '_>> {
        let cursor = scan::aggregates(&self.0, request, SnapshotSource::no_check())?;
        Ok(Box::new(cursor))
    }
}

impl RowScan for RowCursor<'_> {
    fn next_rows(&mut self) -> Result<Option<SeriesRows>> {
        RowCursor::next_rows(self)
    }
}

impl WindowScan for WindowCursor<'_> {
    fn next_windows(&mut self) -> Result<Option<SeriesWindows>> {
        WindowCursor::next_windows(self)
    }
}
