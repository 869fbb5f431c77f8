//! Frozen memtables to a block: rows merged, ordered by key and time, encoded.
//!
//! It knows memtables and the writer of blocks; not the log, nor the manifest, nor who reads. Rows
//! are put in order a batch of whole series at a time: besides the memtables there is in memory
//! where each series' rows stand, 12 bytes for each piece of a run, and one batch.

mod gather;
mod pieces;

use std::sync::Arc;

use crate::block::BlockWriter;
use crate::budget::Budget;
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
    /// Where what the writer holds is counted.
    pub budget: &'env Arc<Budget>,
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
    )?
    .counted_in(target.budget);
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::budget::Class;
    use crate::env::SimEnv;
    use crate::format::block::SequenceRange;
    use crate::model::{
        CanonicalKey, Column, DatabaseId, Presence, Rows, Sequence, TagKeyId, Values,
    };

    const SERIES: u64 = 20_000;

    /// Everything has a key; notes the most that was held when it was asked.
    struct Noting {
        budget: Arc<Budget>,
        most: Cell<usize>,
    }

    impl Keys for Noting {
        fn is_live(&self, _: MeasurementId) -> bool {
            true
        }

        fn has_field(&self, _: MeasurementId, _: FieldId) -> bool {
            true
        }

        fn key_order(&self, series: &[SeriesId]) -> Vec<u32> {
            (0..).take(series.len()).collect()
        }

        fn entries(&self, series: &[SeriesId]) -> Vec<SeriesEntry> {
            let held = self.budget.usage().class(Class::Upkeep);
            self.most.set(self.most.get().max(held));
            let entry = |id: &SeriesId| {
                let value = format!("{:08}", id.0);
                let tags = &mut [(TagKeyId(1), value.as_bytes())];
                SeriesEntry {
                    id: *id,
                    key: CanonicalKey::encode(MeasurementId(1), tags),
                }
            };
            series.iter().map(entry).collect()
        }
    }

    #[test]
    fn what_the_writer_of_a_block_holds_is_counted_while_it_does() {
        let sim = SimEnv::new(1);
        sim.create_dir(Path::new("blocks")).unwrap();
        let env: Arc<dyn Env> = Arc::new(sim);
        let memtable = Memtable::new();
        let count = usize::try_from(SERIES).unwrap();
        let column = Column {
            values: Values::Integer((0..).take(count).collect()),
            presence: Presence::All,
        };
        let rows = Rows {
            measurement: MeasurementId(1),
            series: (1..=SERIES).map(SeriesId).collect(),
            timestamps: vec![5; count],
            columns: vec![(FieldId(1), column)],
        };
        memtable.push(Arc::new(Run::new(rows, Sequence(1))), Duration::ZERO);
        let budget = Budget::new(1 << 30);
        let target = Target {
            env: &env,
            budget: &budget,
            directory_id: 7,
            file_id: 1,
            info: BlockInfo {
                database: DatabaseId(1),
                policy: PolicyId(1),
                level: 0,
                sequences: SequenceRange {
                    first: Sequence(1),
                    last: Sequence(1),
                },
            },
        };
        let keys = Noting {
            budget: Arc::clone(&budget),
            most: Cell::new(0),
        };
        let memtables = [Arc::new(memtable)];
        let flushed = write_block(&target, &memtables, &Tombstones::default(), &keys).unwrap();
        assert_eq!(flushed.block.unwrap().row_count, SERIES);
        // Times and values of a group of 8,192 rows, and their keys.
        assert!(keys.most.get() > 8192 * 24, "{}", keys.most.get());
        assert_eq!(
            budget.usage().class(Class::Upkeep),
            0,
            "all of it is given back"
        );
    }
}
