//! Checking a directory whole, without its lock and without changing a byte.

use std::path::Path;
use std::sync::Arc;

use crate::block::Block;
use crate::db::Db;
use crate::db::stats::Problem;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::definitions::Definitions;
use crate::format::rows::decode_rows;
use crate::index::registry::RegistryFile;
use crate::manifest::Manifest;
use crate::wal::{LogEnd, Wal, WalStart};

use super::core::{RECORD_DEFINITIONS, RECORD_ROWS, RECORD_TOMBSTONE};
use super::open::read_tombstone;

/// What a check of a directory found.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Files read whole.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records of the log.
    pub log_records: u64,
    /// Rows in blocks.
    pub block_rows: u64,
    /// What is wrong; empty where all is well.
    pub problems: Vec<Problem>,
}

impl Db {
    /// Reads every byte of a directory that the manifest names, and verifies each checksum. Takes no
    /// lock and writes nothing: beside a running store it may name files that were just replaced.
    ///
    /// # Errors
    /// `Corrupt` or `Conflict` where the manifest cannot be read, `Io`. What is wrong with other
    /// files stands in the report.
    pub fn check(env: &Arc<dyn Env>) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let Some(manifest) = Manifest::open(Arc::clone(env))? else {
            super::open::check_empty(&**env)?;
            return Ok(report);
        };
        report.files += 2;
        let state = manifest.state();
        for meta in state.blocks.values() {
            match Block::open(&**env, state.directory_id, meta) {
                Ok(block) => {
                    report.block_rows += meta.row_count;
                    report.sealed(meta.size_bytes, &block.file().verify_all());
                }
                Err(error) => report.problems.push(Problem::from_error(&error)),
            }
        }
        for meta in state.registries.values() {
            let file = RegistryFile::open(&**env, state.directory_id, *meta);
            match file.and_then(|file| file.verify_all()) {
                Ok(errors) => report.sealed(meta.size_bytes, &errors),
                Err(error) => report.problems.push(Problem::from_error(&error)),
            }
        }
        let start = WalStart {
            directory_id: state.directory_id,
            released_through: state.flushed_through,
            clean_end: state.clean_stop.map(|end| LogEnd {
                segment: end.segment,
                offset: end.offset,
                sequence: end.sequence,
            }),
        };
        report.log(&**env, &start)?;
        Ok(report)
    }
}

impl CheckReport {
    fn sealed(&mut self, bytes: u64, errors: &[Error]) {
        self.files += 1;
        self.bytes += bytes;
        self.problems.extend(errors.iter().map(Problem::from_error));
    }

    fn log(&mut self, env: &dyn Env, start: &WalStart) -> Result<()> {
        let mut problems = Vec::new();
        let mut replay = |sequence: crate::model::Sequence, kind, payload: &[u8]| {
            let error = match kind {
                RECORD_DEFINITIONS => Definitions::decode(payload).err().map(|e| e.to_string()),
                RECORD_ROWS => decode_rows(payload).err().map(|e| e.to_string()),
                RECORD_TOMBSTONE => read_tombstone(sequence, payload)
                    .err()
                    .map(|e| e.to_string()),
                other => Some(format!("its kind, {other}, is not known")),
            };
            if let Some(error) = error {
                problems.push(Problem {
                    message: format!("record {} of the log: {error}", sequence.0),
                    file: None,
                    offset: 0,
                });
            }
            Ok(())
        };
        let found = Wal::inspect(env, start, &mut replay)?;
        self.problems.append(&mut problems);
        self.log_records = found.records;
        self.bytes += found.payload_bytes;
        let entries = env.list(Path::new("wal")).unwrap_or_default();
        self.files += entries.len() as u64;
        let damage = found.damage.iter().map(Problem::from_log_damage);
        self.problems.extend(damage);
        let missing = found.missing.iter().copied();
        self.problems.extend(missing.map(Problem::from_missing));
        Ok(())
    }
}
