//! Rows and aggregates out of a snapshot: of each series the rows of all runs and blocks in time
//! order, the newest value of each field, or windows over them.
//!
//! It knows ids, no names, and no query language. A store gives one series' rows in pieces that do
//! not overlap; the merge opens a piece only when the scan reaches its time.

mod block;
mod entries;
mod hidden;
mod input;
mod merge;
mod numbers;
mod partial;
mod piece;
mod repeats;
mod rows;
mod run;
mod runs;
mod shared;
mod window;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::manifest::catalog::field_by_id;
use crate::memtable::pick_rows;
use crate::model::{
    AggregateRequest, Column, FieldType, Hides, ScanRequest, SeriesRows, WindowBatch,
};
use crate::scan::block::BlockStore;
use crate::scan::hidden::HiddenStore;
pub(crate) use crate::scan::partial::partial;
use crate::scan::piece::Store;
pub use crate::scan::rows::RowCursor;
use crate::scan::run::RunStore;
use crate::scan::runs::{RunsStore, has_few};
use crate::scan::shared::Shared;
pub use crate::scan::window::WindowCursor;
use crate::snapshot::Snapshot;
use crate::workers::Workers;

/// Asked between two pieces; an error ends the scan with it.
pub type Check = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// Starts reading the rows that `request` asks for: rows in which none of its fields has a value
/// are left out. Values are read as the cursor goes.
///
/// # Errors
/// `NotFound` for an unknown measurement or field; `Corrupt` or `Io` where a block cannot be read.
pub fn rows(snapshot: &Snapshot, request: ScanRequest, check: Check) -> Result<RowCursor<'_>> {
    let types = types(snapshot, &request)?;
    let stores = stores(snapshot, &request)?;
    Ok(RowCursor::new(request, types, stores, check))
}

/// Starts reading the aggregates that `request` asks for. Values are read as the cursor goes.
///
/// # Errors
/// As [`rows`].
pub fn aggregates(
    snapshot: &Snapshot,
    mut request: AggregateRequest,
    check: Check,
) -> Result<WindowCursor<'_>> {
    request.scan.range = window::within(request.scan.range, &request.edges);
    // Statistics know nothing of it, so that it would hold for some rows and not for others.
    request.scan.filter = None;
    let types = types(snapshot, &request.scan)?;
    let stores = stores(snapshot, &request.scan)?;
    Ok(WindowCursor::new(request, types, stores, check))
}

/// As [`rows`], shared with `workers` where there is enough to read. A query gets the same rows in the
/// same order.
///
/// # Errors
/// As [`rows`].
pub fn shared_rows<'snapshot>(
    snapshot: &'snapshot Arc<Snapshot>,
    request: ScanRequest,
    workers: &Arc<Workers>,
) -> Result<SharedRows<'snapshot>> {
    Shared::open(request, snapshot, workers).map(SharedRows)
}

/// As [`aggregates`], shared with `workers` where there is enough to read. A query gets the same windows
/// in the same order.
///
/// # Errors
/// As [`rows`].
pub fn shared_aggregates<'snapshot>(
    snapshot: &'snapshot Arc<Snapshot>,
    request: AggregateRequest,
    workers: &Arc<Workers>,
) -> Result<SharedWindows<'snapshot>> {
    Shared::open(request, snapshot, workers).map(SharedWindows)
}

/// The rows of a scan that threads share: see [`shared_rows`].
#[derive(Debug)]
pub struct SharedRows<'snapshot>(Shared<'snapshot, ScanRequest>);

impl SharedRows<'_> {
    /// As [`RowCursor::next_rows`].
    ///
    /// # Errors
    /// As [`RowCursor::next_rows`].
    pub fn next_rows(&mut self) -> Result<Option<SeriesRows>> {
        self.0.next_item()
    }
}

/// The windows of an aggregation that threads share: see [`shared_aggregates`].
#[derive(Debug)]
pub struct SharedWindows<'snapshot>(Shared<'snapshot, AggregateRequest>);

impl SharedWindows<'_> {
    /// As [`WindowCursor::next_windows`].
    ///
    /// # Errors
    /// As [`RowCursor::next_rows`].
    pub fn next_windows(&mut self) -> Result<Option<WindowBatch>> {
        self.0.next_item()
    }
}

/// Those of a column's rows whose numbers stand in `rows`, in that order.
///
/// # Panics
/// If the column has not that many rows.
#[must_use]
pub fn pick(column: &Column, rows: &[u32]) -> Column {
    pick_rows(column, rows)
}

fn types(snapshot: &Snapshot, request: &ScanRequest) -> Result<Arc<[FieldType]>> {
    let unknown = |what| Error::new(ErrorKind::NotFound, format!("the {what} does not exist"));
    let measurement = snapshot
        .catalog()
        .measurement_by_id(request.measurement)
        .ok_or_else(|| unknown("measurement"))?;
    let field_type = |id| field_by_id(measurement, id).map(|field| field.field_type);
    let types = request.fields.iter().map(|field| field_type(*field));
    types.collect::<Option<_>>().ok_or_else(|| unknown("field"))
}

/// Whether all that a scan read was what is stored: what it answered holds only then.
fn check_intact(stores: &[Box<dyn Store<'_> + '_>]) -> Result<()> {
    stores.iter().try_for_each(|store| store.check_intact())
}

/// What may hold rows of the request, oldest first.
fn stores<'snapshot>(
    snapshot: &'snapshot Snapshot,
    request: &ScanRequest,
) -> Result<Vec<Box<dyn Store<'snapshot> + 'snapshot>>> {
    snapshot.check_blocks(Some(request.policy), request.range)?;
    let mut stores: Vec<Box<dyn Store<'snapshot> + 'snapshot>> = Vec::new();
    let tombstones = snapshot.tombstones();
    let hides = |last| tombstones.hides(last, request.policy, request.measurement);
    for block in snapshot.blocks(request.policy) {
        if let Some(store) = BlockStore::new(block, request)? {
            let hides = hides(block.meta().info.sequences.last);
            stores.push(seen(Box::new(store), hides, request));
        }
    }
    let mut few = Vec::new();
    for run in &*snapshot.runs(request.policy, request.measurement) {
        let Some(store) = RunStore::new(run, request) else {
            continue;
        };
        let hides = hides(run.sequences().1);
        if hides.is_empty() && has_few(&store, request) {
            few.push(store);
            continue;
        }
        stores.extend(together(std::mem::take(&mut few), request));
        stores.push(seen(Box::new(store), hides, request));
    }
    stores.extend(together(few, request));
    Ok(stores)
}

/// A store as it is seen through deletes.
fn seen<'snapshot>(
    store: Box<dyn Store<'snapshot> + 'snapshot>,
    hides: Hides,
    request: &ScanRequest,
) -> Box<dyn Store<'snapshot> + 'snapshot> {
    if hides.is_empty() {
        return store;
    }
    Box::new(HiddenStore {
        inner: store,
        hides,
        field_count: request.fields.len(),
    })
}

/// Runs that are read as one.
fn together<'snapshot>(
    runs: Vec<RunStore>,
    request: &ScanRequest,
) -> Option<Box<dyn Store<'snapshot> + 'snapshot>> {
    (!runs.is_empty())
        .then(|| -> Box<dyn Store<'snapshot>> { Box::new(RunsStore::new(runs, request)) })
}
