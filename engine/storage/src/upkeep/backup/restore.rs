//! A backup to a data directory.

use std::path::Path;
use std::sync::Arc;

use super::copy::Transfer;
use super::{FOLDERS, OnProgress, files_of, other_files, path_of, read_list, take};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::BackupList;
use crate::format::header::{FileHeader, FileKind};
use crate::manifest;

/// The folder of the log, which a restored directory has none of yet.
const LOG_FOLDER: &str = "wal";

/// What a restore came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreReport {
    /// Which backup of its directory it was.
    pub number: u64,
    /// When that was begun, ns since 1970 UTC.
    pub begun_ns: i64,
    /// Every write up to this sequence is there.
    pub through: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Makes `target`, which is empty or not there, the data directory that `source` is a backup of.
/// The backup stays as it is. Whatever stops it, what was restored in part does not open.
///
/// # Errors
/// `NotFound` where `source` has no complete backup; `Invalid` where `target` is not empty;
/// `Corrupt` where a file of the backup is damaged, missing, or not what the list says; `Conflict`
/// where a newer build wrote it, or another process works on either; `Io`, `NoSpace`; what
/// `progress` answers.
pub fn restore(
    source: &dyn Env,
    target: &Arc<dyn Env>,
    progress: OnProgress<'_>,
) -> Result<RestoreReport> {
    let list = read_list(source)?.ok_or_else(|| {
        let message = "the directory has no complete backup: BACKUP is missing";
        Error::new(ErrorKind::NotFound, message)
    })?;
    let root = Path::new("");
    let entries = source.list(root);
    let entries = entries.map_err(|error| Error::io("list folder", root, error))?;
    if let Some(entry) =
        (entries.iter()).find(|entry| FOLDERS.contains(&&*entry.name) && !entry.is_dir)
    {
        // A link would lead out of the backup.
        let message = "a folder of the backup is something else";
        return Err(Error::corrupt(&entry.name, 0, message));
    }
    match target.list(root) {
        Ok(entries) if entries.is_empty() => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Ok(_) => {
            let message = "the directory to restore into is not empty";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Err(error) => return Err(Error::io("list folder", root, error)),
    }
    // A backup may lie where nothing can be written; one that is being made changes under us.
    let _source_lock = match take(source) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
        Err(_) => None,
    };
    let _target_lock = take(&**target)?;
    let bytes = bring_all(source, target, &list, progress)?;
    Ok(RestoreReport {
        number: list.number,
        begun_ns: list.begun_ns,
        through: list.through.0,
        files: list.files.len() as u64,
        bytes,
    })
}

fn bring_all(
    source: &dyn Env,
    target: &Arc<dyn Env>,
    list: &BackupList,
    progress: OnProgress<'_>,
) -> Result<u64> {
    let sync = |folder: &Path| {
        (target.sync_dir(folder)).map_err(|source| Error::io("sync folder", folder, source))
    };
    for folder in FOLDERS.into_iter().chain([LOG_FOLDER]) {
        let made = target.create_dir(Path::new(folder));
        made.map_err(|source| Error::io("make folder", folder, source))?;
    }
    sync(Path::new(""))?;
    let total_bytes = list.files.iter().map(|file| file.size_bytes).sum();
    let ends = (source, &**target);
    let mut transfer = Transfer::new(ends, list.directory_id, (total_bytes, progress));
    for file in &list.files {
        let path = path_of(file.kind, file.file_id);
        transfer.copy(&path, &path).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                return Error::corrupt(&path, 0, "a file of the backup is missing");
            }
            error
        })?;
        transfer.verify(file, &path)?;
    }
    FOLDERS
        .into_iter()
        .try_for_each(|folder| sync(Path::new(folder)))?;
    let header = FileHeader::new(FileKind::Manifest, list.directory_id, list.number);
    let state = manifest::import(&**target, &header)?;
    let named = list.files.iter();
    let named = named.map(|file| (file.kind, file.file_id, file.size_bytes));
    if !named
        .filter(|file| file.0 != FileKind::Manifest)
        .eq(files_of(&state))
    {
        return Err(other_files(list.number));
    }
    manifest::make_current(&**target, &header)?;
    Ok(total_bytes)
}
