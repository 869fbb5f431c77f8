//! Ending a store.

use std::sync::atomic::Ordering;

use crate::db::Db;
use crate::db::core::lock;
use crate::error::Result;
use crate::format::manifest::{CleanStop, Edit};

impl Db {
    /// Stops background steps, flushes, closes the log and notes its end in the manifest. Writes
    /// are refused from then on; reads go on.
    ///
    /// # Errors
    /// `Io` or `NoSpace` where something cannot be written: nothing acknowledged is lost, it is
    /// replayed at the next open. `Closed` where it was closed before.
    pub fn close(&self) -> Result<()> {
        self.stop_steps();
        let flushed = self.core.flush();
        let end = self.core.wal()?.close()?;
        flushed?;
        let mut manifest = self.core.manifest();
        let end = CleanStop {
            segment: end.segment,
            offset: end.offset,
            sequence: end.sequence,
        };
        self.core.commit(&mut manifest, &[Edit::CleanStop(end)])?;
        // All of it lies in blocks, unless somebody wrote behind the flush: the log's space is
        // given back. A stop before this is mended by the next flush.
        let through = manifest.state().flushed_through;
        drop(manifest);
        self.core.give_reserve();
        self.core.wal()?.release(through)
    }

    pub(super) fn stop_steps(&self) {
        self.core.stopping.store(true, Ordering::Release);
        let steps = std::mem::take(&mut *lock(&self.core.steps));
        for step in steps {
            step.stop();
        }
        if let Some(workers) = self.core.workers.get() {
            workers.stop();
        }
    }
}

/// What was acknowledged is in the log, or goes there now; it is replayed at the next open.
impl Drop for Db {
    fn drop(&mut self) {
        self.stop_steps();
        self.lead();
    }
}
