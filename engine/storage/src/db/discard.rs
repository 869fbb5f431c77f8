//! Giving up a block that is damaged: somebody who knows that no copy will come says so, and answers that could not be
//! whole are given without it.

use std::path::{Path, PathBuf};

use crate::db::Db;
use crate::db::core::Core;
use crate::db::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::{BlockMeta, block_path};
use crate::format::manifest::Edit;
use crate::model::PolicyId;
use crate::wal::QUARANTINE;

/// A block that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discarded {
    /// The database whose points it held.
    pub database: Box<str>,
    /// What the manifest said of it.
    pub meta: BlockMeta,
    /// Where its file is now, under the data directory; `None` where it could not be moved.
    pub file: Option<PathBuf>,
}

impl Db {
    /// Gives up the block in `file` (`blocks/<id>.blk`), which is damaged: its points count as gone. Durable once it
    /// returns; the file is moved into `quarantine/`, where nothing reads or removes it.
    ///
    /// # Errors
    /// `NotFound` where no block of this name counts; `Conflict` where it is not known to be damaged; `Io` or `NoSpace`
    /// where the manifest cannot be written.
    pub fn discard_damaged_block(&self, file: &Path) -> Result<Discarded> {
        let core = &self.core;
        core.settle()?;
        let found = core.all_databases().into_iter().find_map(|database| {
            let (policy, meta, is_damaged) = database.block_in(file)?;
            Some((database, policy, meta, is_damaged))
        });
        let Some((database, policy, meta, is_damaged)) = found else {
            let message =
                "no block of this name counts; /health and check name those that are damaged";
            return Err(Error::new(ErrorKind::NotFound, message).at(file, 0));
        };
        if !is_damaged {
            let message = "the block is not known to be damaged: it is kept";
            return Err(Error::new(ErrorKind::Conflict, message).at(file, 0));
        }
        let mut manifest = core.manifest();
        if manifest.state().blocks.get(&meta.file_id) != Some(&meta) {
            let message = "the block has just been changed: look again";
            return Err(Error::new(ErrorKind::Conflict, message).at(file, 0));
        }
        core.commit(&mut manifest, &[Edit::RemoveBlock(meta.file_id)])?;
        drop(manifest);
        database.forget_block(policy, meta.file_id);
        core.forget_problems_of(file);
        Ok(Discarded {
            database: database.stores().catalog.name().into(),
            meta,
            file: core.quarantine_block(meta.file_id),
        })
    }
}

impl Core {
    /// Moves a block's file to where nothing removes it, if that can be done.
    fn quarantine_block(&self, file_id: u64) -> Option<PathBuf> {
        let (from, folder) = (block_path(file_id), Path::new(QUARANTINE));
        let name = from.file_name()?.to_string_lossy().into_owned();
        let to = folder.join(format!("block-{name}"));
        self.env.create_dir(folder).ok()?;
        self.env.rename(&from, &to).ok()?;
        for changed in [folder, from.parent()?, Path::new("")] {
            self.env.sync_dir(changed).ok();
        }
        Some(to)
    }
}

impl Database {
    /// The block in `file`, its policy, and whether it is known to be damaged.
    fn block_in(&self, file: &Path) -> Option<(PolicyId, BlockMeta, bool)> {
        let stores = self.stores();
        stores.policies.iter().find_map(|(policy, state)| {
            let is_it = |meta: &BlockMeta| block_path(meta.file_id) == file;
            let open = state.blocks.iter();
            let open = open.map(|block| (*block.meta(), !block.file().problems().is_empty()));
            let aside = state.damaged.iter().map(|aside| (aside.meta, true));
            let (meta, is_damaged) = open.chain(aside).find(|(meta, _)| is_it(meta))?;
            Some((*policy, meta, is_damaged))
        })
    }

    fn forget_block(&self, policy: PolicyId, file_id: u64) {
        let mut stores = self.stores_mut();
        if let Some(state) = stores.policies.get_mut(&policy) {
            state.blocks.retain(|block| block.meta().file_id != file_id);
            state.damaged.retain(|aside| aside.meta.file_id != file_id);
        }
    }
}
