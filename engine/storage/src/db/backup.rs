//! Backups of an open store: its files stay in their place while they are copied.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::db::Db;
use crate::db::core::{Core, lock};
use crate::env::Env;
use crate::error::Result;
use crate::upkeep::backup::{self, BackupReport, OnProgress};

/// Files that a backup still needs and that count no more.
#[derive(Debug, Default)]
pub(super) struct Pins {
    backups: usize,
    removed: Vec<PathBuf>,
}

/// As long as it lives, files are removed later.
struct Pin<'core>(&'core Core);

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = lock(&self.0.pins);
        pins.backups -= 1;
        if pins.backups > 0 {
            return;
        }
        let removed = std::mem::take(&mut pins.removed);
        drop(pins);
        self.0.remove_files(&removed);
    }
}

impl Db {
    /// Makes `target`, a directory outside this one, a backup of the store: everything that was
    /// acknowledged before the call is in it. Flushes first; reads, writes and all background work
    /// go on meanwhile. A later backup into the same directory adds what is new. Whatever stops it,
    /// the backup that was there before stays valid. Cost: see [`backup::backup`].
    ///
    /// # Errors
    /// As [`Db::flush`] and [`backup::backup`].
    pub fn backup(&self, target: &Arc<dyn Env>, progress: OnProgress<'_>) -> Result<BackupReport> {
        let core = &self.core;
        core.flush()?;
        lock(&core.pins).backups += 1;
        let _pin = Pin(core);
        let mut state = core.manifest().state().clone();
        // The end of a log that the backup does not have.
        state.clean_stop = None;
        backup::backup(&*core.env, target, &state, progress)
    }
}

impl Core {
    /// Removes a file that does not count any more; one that stays is an orphan at the next open.
    pub(super) fn remove_file(&self, path: &Path) {
        let mut pins = lock(&self.pins);
        if pins.backups > 0 {
            pins.removed.push(path.to_owned());
            return;
        }
        drop(pins);
        drop(self.env.remove(path));
    }
}
