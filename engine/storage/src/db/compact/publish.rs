//! What was merged takes the place of its sources, by one edit of the manifest.

use std::path::PathBuf;
use std::sync::Arc;

use crate::block::Block;
use crate::db::compact::Job;
use crate::db::core::Core;
use crate::db::flush::open_block;
use crate::error::Result;
use crate::format::block::{BlockMeta, block_path};
use crate::format::manifest::Edit;

impl Core {
    /// Puts what was merged in the place of its sources, on disk and for readers; what is not needed then
    /// is removed.
    pub(super) fn publish_merged(&self, job: &Job, metas: &[BlockMeta]) -> Result<()> {
        let remove = |metas: &mut dyn Iterator<Item = &BlockMeta>| {
            let files: Vec<PathBuf> = metas.map(|meta| block_path(meta.file_id)).collect();
            self.remove_files(&files);
        };
        let opened = metas.iter().map(|meta| open_block(self, meta));
        let opened = match opened.collect::<Result<Vec<_>>>() {
            Ok(opened) => opened,
            Err(error) => {
                remove(&mut metas.iter());
                return Err(error);
            }
        };
        let mut manifest = self.manifest();
        let live = &manifest.state().blocks;
        let sources = || job.blocks.iter().map(|block| block.meta());
        if !sources().all(|meta| live.get(&meta.file_id) == Some(meta)) {
            // The database or the policy was dropped meanwhile, or retention took some of it.
            drop(manifest);
            remove(&mut metas.iter());
            return Ok(());
        }
        let mut edits: Vec<Edit> = sources()
            .map(|meta| Edit::RemoveBlock(meta.file_id))
            .collect();
        edits.extend(metas.iter().copied().map(Edit::AddBlock));
        if let Err(error) = self.commit(&mut manifest, &edits) {
            if !manifest.is_uncertain() {
                remove(&mut metas.iter());
            }
            return Err(error);
        }
        drop(manifest);
        let mut stores = job.database.stores_mut();
        if let Some(state) = stores.policies.get_mut(&job.policy) {
            let gone = |own: &Arc<Block>| job.blocks.iter().any(|one| Arc::ptr_eq(one, own));
            state.blocks.retain(|own| !gone(own));
            for block in opened {
                state.add_block(block);
            }
        }
        drop(stores);
        remove(&mut sources());
        Ok(())
    }
}
