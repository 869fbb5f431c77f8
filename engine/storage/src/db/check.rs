//! Checking a directory whole, without its lock and without changing a byte.

use std::path::Path;
use std::sync::Arc;

use crate::block::Block;
use crate::db::Db;
use crate::db::files::{Orphan, orphans};
use crate::db::stats::Problem;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::block::BlockMeta;
use crate::format::definitions::Definitions;
use crate::format::rows::decode_rows;
use crate::index::registry::RegistryFile;
use crate::manifest::{Manifest, State};
use crate::model::{CanonicalKey, DatabaseId, KeyHash, KeyHasher, SeriesId};
use crate::upkeep::{FindSeries, Registered, backup, deep_check};
use crate::wal::{LogEnd, Wal, WalStart};

use super::core::{RECORD_DEFINITIONS, RECORD_ROWS, RECORD_TOMBSTONE};
use super::replay::read_tombstone;

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
    /// Values of blocks that were decoded: none unless the check was deep.
    pub values: u64,
    /// Statistics of blocks that were compared with the values.
    pub statistics: u64,
    /// Files that nothing refers to: what a crash left, or what a running store just makes.
    pub orphans: Vec<Orphan>,
    /// What is wrong; empty where all is well.
    pub problems: Vec<Problem>,
}

/// How a directory is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// Decode every page and compare what says the same thing twice.
    pub deep: bool,
}

impl Db {
    /// As [`Db::check_with`], verifying checksums alone.
    ///
    /// # Errors
    /// As [`Db::check_with`].
    pub fn check(env: &Arc<dyn Env>) -> Result<CheckReport> {
        Db::check_with(env, CheckOptions::default(), &mut |_, _| {})
    }

    /// Reads every byte of a directory that the manifest names, and verifies each checksum; a deep
    /// check reads all that blocks hold besides, as [`deep_check`] does. Where the directory is a backup, the
    /// files of that, which are held against its list, too. Takes no lock and writes
    /// nothing: beside a running store it may name files that were just replaced. Tells `progress`
    /// after each file how many bytes of how many are done.
    ///
    /// # Errors
    /// `Corrupt` or `Conflict` where the manifest cannot be read, `Io`. What is wrong with other
    /// files stands in the report.
    pub fn check_with(
        env: &Arc<dyn Env>,
        options: CheckOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let Some(manifest) = Manifest::open(Arc::clone(env))? else {
            if let Some((list, state)) = backup::open(&**env)? {
                report.files += 2;
                report.stored(&**env, &state, (options, progress));
                let known = |path: &Path| {
                    let mut files = report.problems.iter().map(|found| found.file.as_deref());
                    files.any(|file| file == Some(path))
                };
                let others = backup::other_bytes(&**env, &list, &known);
                report
                    .problems
                    .extend(others.iter().map(Problem::from_error));
                return Ok(report);
            }
            super::open::check_empty(&**env)?;
            return Ok(report);
        };
        report.files += 2;
        let state = manifest.state();
        report.stored(&**env, state, (options, progress));
        report.orphans = orphans(&**env, state, manifest.file());
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

/// The id that any of the database's registry files gives a key.
fn find_series(
    files: &[Arc<RegistryFile>],
    database: DatabaseId,
    hash: KeyHash,
) -> Result<Option<SeriesId>> {
    for file in files.iter().filter(|file| file.meta().database == database) {
        if let Some(series) = file.find(hash)? {
            return Ok(Some(series));
        }
    }
    Ok(None)
}

impl CheckReport {
    fn sealed(&mut self, bytes: u64, errors: &[Error]) {
        self.files += 1;
        self.bytes += bytes;
        self.problems.extend(errors.iter().map(Problem::from_error));
    }

    /// Verifies the files that `state` names, but for the log.
    fn stored(
        &mut self,
        env: &dyn Env,
        state: &State,
        (options, progress): (CheckOptions, &mut dyn FnMut(u64, u64)),
    ) {
        let blocks = state.blocks.values().map(|meta| meta.size_bytes);
        let registries = state.registries.values().map(|meta| meta.size_bytes);
        let total = blocks.chain(registries).sum();
        let found = self.registries(env, state, &mut |done| progress(done, total));
        let hasher = KeyHasher::new(state.secret);
        for meta in state.blocks.values() {
            let database = meta.info.database;
            let catalog = state.catalog.by_id(database);
            let find = |key: &[u8]| {
                let measurement = CanonicalKey(key).measurement();
                let live = measurement.zip(catalog);
                if live.is_none_or(|(id, catalog)| catalog.measurement_by_id(id).is_none()) {
                    // What was dropped may have left the registries before it leaves the blocks.
                    return Ok(Registered::Dropped);
                }
                let series = find_series(&found, database, hasher.hash(key))?;
                Ok(series.map_or(Registered::Unknown, Registered::As))
            };
            let find: Option<FindSeries<'_>> = if options.deep { Some(&find) } else { None };
            self.block(env, state.directory_id, meta, find);
            progress(self.bytes, total);
        }
    }

    /// Verifies all registry files; those that can be asked.
    fn registries(
        &mut self,
        env: &dyn Env,
        state: &State,
        progress: &mut dyn FnMut(u64),
    ) -> Vec<Arc<RegistryFile>> {
        let mut whole = Vec::new();
        for meta in state.registries.values() {
            let file = RegistryFile::open(env, state.directory_id, *meta);
            match file.and_then(|file| Ok((file.verify_all()?, file))) {
                Ok((errors, file)) => {
                    self.sealed(meta.size_bytes, &errors);
                    whole.push(file);
                }
                Err(error) => self.problems.push(Problem::from_error(&error)),
            }
            progress(self.bytes);
        }
        whole
    }

    /// Verifies a block, and reads all it holds where `find` is given.
    fn block(
        &mut self,
        env: &dyn Env,
        directory_id: u128,
        meta: &BlockMeta,
        find: Option<FindSeries<'_>>,
    ) {
        let block = match Block::open(env, directory_id, meta) {
            Ok(block) => block,
            Err(error) => return self.problems.push(Problem::from_error(&error)),
        };
        self.block_rows += meta.row_count;
        let errors = block.file().verify_all();
        self.sealed(meta.size_bytes, &errors);
        // What is known to be damaged would be met again.
        let Some(find) = find.filter(|_| errors.is_empty()) else {
            return;
        };
        match deep_check(&block, find) {
            Ok(count) => {
                self.values += count.values;
                self.statistics += count.statistics;
            }
            Err(error) => self.problems.push(Problem::from_error(&error)),
        }
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
