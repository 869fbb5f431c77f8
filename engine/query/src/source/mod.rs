//! What the languages read and change: the door to storage, so that plans can also be run against
//! a naive model in tests.

mod storage;

use std::collections::BTreeSet;
use std::sync::Arc;

use silverback_storage::Result;

pub use crate::source::storage::SnapshotSource;
pub use silverback_storage::db::{Alter, Delete};
pub use silverback_storage::model::{PolicyChange, PolicySpec};

use silverback_storage::model::{
    AggregateRequest, MeasurementInfo, PolicyInfo, ScanRequest, SeriesId, SeriesRequest,
    SeriesRows, Strings, TagSet, WindowBatch,
};

/// A series as a query sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesInfo {
    /// Its id.
    pub id: SeriesId,
    /// Its tags.
    pub tags: TagSet,
}

/// The pieces of a scan, in the order of the request's series, each series' rows in time order.
pub trait RowScan {
    /// The next piece, or `None` when all have been given. After an error there is no next.
    ///
    /// # Errors
    /// `Corrupt` where stored bytes are damaged, `Io` where they cannot be read.
    fn next_rows(&mut self) -> Result<Option<SeriesRows>>;
}

/// The windows of an aggregation, in the order of the request's series; a series without any row
/// in range is left out.
pub trait WindowScan {
    /// Windows of the next few series, or `None` when all have been given.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn next_windows(&mut self) -> Result<Option<WindowBatch>>;
}

/// One database as of one moment. Reading it takes no lock that a writer waits for.
pub trait Source: Send + Sync {
    /// The retention policies, sorted by name; one is the default unless that was dropped.
    fn policies(&self) -> Vec<PolicyInfo>;

    /// What the default retention policy is called, whether or not it is there.
    fn default_policy(&self) -> Box<str>;

    /// The measurements, sorted by name.
    fn measurements(&self) -> Vec<Arc<MeasurementInfo>>;

    /// The measurement called `name`, if there is one.
    fn measurement(&self, name: &[u8]) -> Option<Arc<MeasurementInfo>>;

    /// The series that are asked for, sorted by tags; those that have no point in the policy and the span of time may be
    /// among them.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn series(&self, request: SeriesRequest<'_>) -> Result<Vec<SeriesInfo>>;

    /// The series that [`Source::series`] gives, each with those of its tags at least that `keys` name, and sorted by
    /// the tags that it comes with. One of whose tag keys damage took the name may be among them.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn series_by(
        &self,
        request: SeriesRequest<'_>,
        _keys: &[Box<[u8]>],
    ) -> Result<Vec<SeriesInfo>> {
        self.series(request)
    }

    /// The ids of the series that [`Source::series`] gives, each once, in an order that is good to read them in.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn series_ids(&self, request: SeriesRequest<'_>) -> Result<Vec<SeriesId>> {
        let series = self.series(request)?;
        Ok(series.into_iter().map(|one| one.id).collect())
    }

    /// How many series [`Source::series`] gives.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn series_count(&self, request: SeriesRequest<'_>) -> Result<u64> {
        Ok(self.series_ids(request)?.len() as u64)
    }

    /// Whether [`Source::series`] gives any.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn has_series(&self, request: SeriesRequest<'_>) -> Result<bool> {
        Ok(self.series_count(request)? > 0)
    }

    /// The values that tag `key` has among the series that [`Source::series`] gives, ascending,
    /// each once.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`]; `Limit` where there are too many.
    fn tag_values(&self, request: SeriesRequest<'_>, key: &[u8]) -> Result<Strings> {
        let series = self.series(request)?;
        let values: BTreeSet<&[u8]> = series.iter().filter_map(|one| one.tags.get(key)).collect();
        let mut strings = Strings::default();
        for value in values {
            strings.push(value);
        }
        Ok(strings)
    }

    /// Starts reading rows.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn scan(&self, request: ScanRequest) -> Result<Box<dyn RowScan + '_>>;

    /// Starts reading aggregates, from statistics where they answer.
    ///
    /// # Errors
    /// As [`RowScan::next_rows`].
    fn aggregate(&self, request: AggregateRequest) -> Result<Box<dyn WindowScan + '_>>;
}

/// All databases of a store.
pub trait Catalog: Send + Sync {
    /// The names of the databases, sorted.
    fn databases(&self) -> Vec<Box<str>>;

    /// The database `name` as of now, if there is one.
    fn source(&self, name: &str) -> Option<Arc<dyn Source>>;

    /// Makes a database; one that exists as asked is fine. Durable when it returns.
    ///
    /// # Errors
    /// `Invalid` for a bad name, `Conflict` where `spec` differs from the policy there is.
    fn create_database(&self, name: &str, spec: &PolicySpec) -> Result<()>;

    /// Drops a database with all its data; none of that name is fine. Durable when it returns.
    ///
    /// # Errors
    /// `Io` or `NoSpace` where the manifest cannot be written.
    fn drop_database(&self, name: &str) -> Result<()>;

    /// Makes a retention policy; one that exists as asked is fine. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database, `Invalid` for a bad name or duration, `Conflict` where one of
    /// that name is another.
    fn create_policy(&self, database: &str, spec: &PolicySpec, makes_default: bool) -> Result<()>;

    /// Changes a retention policy, at once and for all that it holds. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database or the policy, `Invalid` for a bad duration.
    fn alter_policy(&self, database: &str, name: &str, change: &PolicyChange) -> Result<()>;

    /// Drops a retention policy with all its points; none of that name is fine, nor is a database
    /// of that name needed. Durable when it returns.
    ///
    /// # Errors
    /// As [`Catalog::drop_database`].
    fn drop_policy(&self, database: &str, name: &str) -> Result<()>;

    /// Drops a measurement in all policies; none of that name is fine. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database; else as [`Catalog::drop_database`].
    fn drop_measurement(&self, database: &str, measurement: &[u8]) -> Result<()>;

    /// Deletes rows, and measurements that have none left. Durable and seen by all who begin to
    /// read when it returns.
    ///
    /// # Errors
    /// `NotFound` for the database or policy, `Limit` where too many deletes wait for compaction;
    /// else as [`Catalog::drop_database`].
    fn delete(&self, database: &str, delete: &Delete<'_>) -> Result<()>;

    /// Renames a measurement, a tag key or a field of it, or drops a field. Durable and seen by all
    /// who begin to read when it returns.
    ///
    /// # Errors
    /// `NotFound` for what is not there, `Conflict` where the new name is in use, `Invalid` where it
    /// is none; else as [`Catalog::drop_database`].
    fn alter_measurement(&self, database: &str, measurement: &[u8], alter: Alter<'_>)
    -> Result<()>;
}
