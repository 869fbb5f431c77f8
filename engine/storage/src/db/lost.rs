//! What shows that edits of the manifest were lost: a cut one looks like one whose last edits were
//! never made, but other files remember them.

use std::path::Path;

use crate::block::Block;
use crate::db::core::Core;
use crate::db::stats::Problem;
use crate::format::block::block_path;
use crate::model::DatabaseId;
use crate::sabotage::{self, Fault};

impl Core {
    /// Whether a block that the manifest does not name holds rows that nothing else has. Reports it
    /// then. A crash leaves no such block: a flush has its rows in the log until the manifest names
    /// what it wrote, and a compaction in the blocks it read.
    pub(super) fn is_lost_block(&self, id: u64) -> bool {
        let path = block_path(id);
        let file = self.env.open_read(&path).ok();
        let block = file.and_then(|file| Block::from_file(file, self.directory_id, id).ok());
        let Some(sequences) = block.map(|block| block.meta().info.sequences) else {
            return false;
        };
        let is_lost = sequences.last > self.durable() && !sabotage::is(Fault::CutManifestUnnoticed);
        if is_lost {
            let message = format!(
                "the manifest does not name this block, and the log ends before its writes {} to {}: \
                 the manifest was cut",
                sequences.first.0, sequences.last.0
            );
            self.report_lost(&path, message);
        }
        is_lost
    }

    /// Reports a record of the log of a database that the manifest never had.
    pub(super) fn report_lost_database(&self, database: DatabaseId) {
        if database.0 > self.manifest().state().catalog.last_database() {
            let message = format!(
                "the log has writes to database {}, which the manifest never had: the manifest was cut",
                database.0
            );
            self.report_lost(Path::new("manifest"), message);
        }
    }

    fn report_lost(&self, path: &Path, message: String) {
        self.report(Problem {
            message,
            file: Some(path.to_owned()),
            offset: 0,
        });
    }
}
