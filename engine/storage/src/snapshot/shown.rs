//! Which series still show a row where deletes hide some: a series without any is not listed.

use std::sync::Arc;

use crate::block::{Block, BlockCursor};
use crate::error::Result;
use crate::memtable::Run;
use crate::model::{
    Hides, MeasurementId, PolicyId, SeriesId, TimeRange, Tombstones, covers, is_hidden, meets,
};

/// The runs of one measurement, seen through the deletes.
pub(super) struct ShownRuns {
    /// The newest first, each with what is hidden of it.
    runs: Vec<(Arc<Run>, Hides)>,
    is_touched: bool,
}

impl ShownRuns {
    /// Of each policy the runs. Sorts them where deletes touch any.
    pub(super) fn new(
        policies: impl Iterator<Item = (PolicyId, Vec<Arc<Run>>)>,
        measurement: MeasurementId,
        tombstones: &Tombstones,
    ) -> ShownRuns {
        let mut runs = Vec::new();
        for (policy, own) in policies {
            for run in own.iter().rev() {
                let hides = tombstones.hides(run.sequences().1, policy, measurement);
                runs.push((Arc::clone(run), hides));
            }
        }
        let is_touched = runs.iter().any(|(_, hides)| !hides.is_empty());
        if is_touched {
            for (run, _) in &mut runs {
                *run = run.sorted();
            }
        }
        ShownRuns { runs, is_touched }
    }

    /// Whether deletes hide anything here.
    pub(super) fn is_touched(&self) -> bool {
        self.is_touched
    }

    /// Whether `series`, which the live index knows, is to be listed. Where deletes touch it, it
    /// must have a row left.
    pub(super) fn shows(&self, series: SeriesId) -> bool {
        if !self.is_touched {
            return true;
        }
        let mut is_touched = false;
        for (run, hides) in &self.runs {
            let ranges = hides.ranges(series);
            is_touched |= !ranges.is_empty();
            let times = &run.timestamps()[run.rows_of(series)];
            if times.iter().any(|time| !is_hidden(&ranges, *time)) {
                return true;
            }
        }
        !is_touched
    }
}

/// The series of one measurement of a block, seen through the deletes.
pub(super) struct ShownChunks<'block> {
    hides: Hides,
    cursor: Option<BlockCursor<'block>>,
}

impl<'block> ShownChunks<'block> {
    pub(super) fn new(
        block: &'block Block,
        measurement: MeasurementId,
        tombstones: &Tombstones,
    ) -> Result<ShownChunks<'block>> {
        let info = &block.meta().info;
        let hides = tombstones.hides(info.sequences.last, info.policy, measurement);
        let own = if hides.is_empty() {
            None
        } else {
            block.measurement(measurement)?
        };
        Ok(ShownChunks {
            cursor: own.map(|own| own.cursor(&[], TimeRange::ALL)),
            hides,
        })
    }

    /// Whether deletes hide anything here.
    pub(super) fn is_touched(&self) -> bool {
        self.cursor.is_some()
    }

    /// Whether `series` has a row that is not hidden. Decodes times where statistics do not tell.
    ///
    /// # Errors
    /// `Corrupt` or `Io` where the block cannot be read.
    pub(super) fn shows(&mut self, series: SeriesId) -> Result<bool> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(true);
        };
        let ranges = self.hides.ranges(series);
        if ranges.is_empty() {
            return Ok(true);
        }
        for chunk in cursor.chunks(series)? {
            let span = chunk.range();
            if covers(&ranges, span.start, span.end - 1) {
                continue;
            }
            if !meets(&ranges, span.start, span.end - 1) {
                return Ok(true);
            }
            if let Some(rows) = cursor.rows(&chunk)?
                && rows
                    .timestamps
                    .iter()
                    .any(|time| !is_hidden(&ranges, *time))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
