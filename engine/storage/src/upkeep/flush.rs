//! Frozen memtables to a block: rows merged, ordered by key and time, encoded.
//!
//! It knows memtables and the writer of blocks; not the log, nor the manifest, nor who reads. Rows
//! are put in order a batch of whole series at a time: besides the memtables there is in memory
//! where each series' rows stand, 16 bytes for each piece of a run, and one batch.

mod gather;
mod pieces;

use std::sync::Arc;

use crate::block::BlockWriter;
use crate::codec::Effort;
use crate::env::Env;
use crate::error::Result;
use crate::format::block::{BlockInfo, BlockMeta};
use crate::memtable::{Memtable, Run};
use crate::model::{
    FieldId, MeasurementId, PolicyId, SeriesEntry, SeriesId, Tombstones, is_hidden,
};

use pieces::Pieces;

/// Where a block goes and what it is.
#[derive(Debug)]
pub struct Target<'env> {
    /// Where files are made.
    pub env: &'env Arc<dyn Env>,
    /// The data directory.
    pub directory_id: u128,
    /// The block's file, not used before.
    pub file_id: u64,
    /// What it states of itself.
    pub info: BlockInfo,
}

/// What a flush asks of those who know.
pub trait Keys {
    /// Whether a measurement lives; rows of others are left out.
    fn is_live(&self, measurement: MeasurementId) -> bool;

    /// Whether a measurement has a field; values of others are left out.
    fn has_field(&self, measurement: MeasurementId, field: FieldId) -> bool;

    /// The places in `series`, which are of one measurement, of those that have a key, in the order
    /// of canonical keys.
    fn key_order(&self, series: &[SeriesId]) -> Vec<u32>;

    /// Those of `series` that have a canonical key, with it.
    fn entries(&self, series: &[SeriesId]) -> Vec<SeriesEntry>;
}

/// What a flush made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The block, durable under its name; `None` where there was no row.
    pub block: Option<BlockMeta>,
    /// Rows whose series has no key: left out, for nobody can ask for them.
    pub rows_without_key: u64,
}

/// Writes the rows of `memtables`, oldest first, all of one database and policy, as one block,
/// without those that `tombstones` hide.
///
/// # Errors
/// `Io`, `NoSpace` or `Limit`: no block is left behind, the memtables are as they were.
pub fn write_block(
    target: &Target<'_>,
    memtables: &[Arc<Memtable>],
    tombstones: &Tombstones,
    keys: &dyn Keys,
) -> Result<Flushed> {
    let mut writer = BlockWriter::create(
        target.env,
        target.file_id,
        target.directory_id,
        target.info,
        Effort::Hot,
    )?;
    let mut measurements: Vec<MeasurementId> = memtables
        .iter()
        .flat_map(|memtable| memtable.measurements())
        .filter(|measurement| keys.is_live(*measurement))
        .collect();
    measurements.sort_unstable();
    measurements.dedup();
    let mut rows_without_key = 0;
    for measurement in measurements {
        let runs: Vec<Arc<Run>> = memtables
            .iter()
            .flat_map(|memtable| memtable.runs(measurement))
            .filter_map(|run| shown(run, target.info.policy, tombstones))
            .filter_map(|run| run.with_fields(|field| keys.has_field(measurement, field)))
            .collect();
        writer.begin_measurement(measurement)?;
        let pieces = Pieces::new(&runs, keys);
        rows_without_key += pieces.rows_without_key();
        pieces.each_batch(keys, &mut |rows, entries| writer.push(rows, entries))?;
    }
    Ok(Flushed {
        block: writer.finish()?,
        rows_without_key,
    })
}

/// What deletes leave of a run.
fn shown(run: Arc<Run>, policy: PolicyId, tombstones: &Tombstones) -> Option<Arc<Run>> {
    let hides = tombstones.hides(run.sequences().1, policy, run.measurement());
    if hides.is_empty() {
        return Some(run);
    }
    // Rows of one series mostly stand together.
    let mut last = (SeriesId(0), Vec::new());
    run.without(|series, time| {
        if series != last.0 {
            last = (series, hides.ranges(series));
        }
        is_hidden(&last.1, time)
    })
}
