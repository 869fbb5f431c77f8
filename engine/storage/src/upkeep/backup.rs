//! Backup and restore: the files of a state of the manifest, copied or linked to another directory
//! and back, each of them read back and checked.
//!
//! It reads one directory and writes another, and knows neither log nor memtables: whoever calls it
//! has flushed, and keeps the files in their place meanwhile. Page: `docs/format/backup.md`.

mod copy;
mod inspect;
mod restore;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{DirLock, Env};
use crate::error::{Error, ErrorKind, Result};
use crate::format::backup::{BACKUP, BackupFile, BackupList};
use crate::format::block::block_path;
use crate::format::header::{FileHeader, FileKind};
use crate::format::sealed;
use crate::index::registry::RegistryFile;
use crate::manifest::{self, CURRENT, State};
use copy::{Transfer, identify, remove_if_there};

pub use inspect::{open, other_bytes};
pub use restore::{RestoreReport, restore};

const LOCK: &str = "LOCK";
const TEMPORARY: &str = "BACKUP.tmp";
/// Folders of a backup.
const FOLDERS: [&str; 3] = ["blocks", "registry", manifest::FOLDER];

/// How far a backup or a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupProgress {
    /// Bytes that are there and were read back.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

/// Told of the progress some times a second; an error ends the work with it.
pub type OnProgress<'call> = &'call mut dyn FnMut(BackupProgress) -> Result<()>;

/// What a backup came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Which backup in its directory, from 1.
    pub number: u64,
    /// Every write up to this sequence is in it.
    pub through: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were not there before.
    pub new_files: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// New files that are hard links.
    pub linked_files: u64,
}

/// Where a file of a kind that backups keep lies.
fn path_of(kind: FileKind, file_id: u64) -> PathBuf {
    match kind {
        FileKind::Block => block_path(file_id),
        FileKind::Registry => RegistryFile::path(file_id),
        FileKind::Manifest => manifest::manifest_path(file_id),
        FileKind::Backup | FileKind::WalSegment => unreachable!("a list refuses other kinds"),
    }
}

/// The files that a state names, with their sizes; ascending, without the manifest itself.
fn files_of(state: &State) -> Vec<(FileKind, u64, u64)> {
    let blocks = state.blocks.values();
    let blocks = blocks.map(|block| (FileKind::Block, block.file_id, block.size_bytes));
    let registries = state.registries.values();
    let registries = registries.map(|file| (FileKind::Registry, file.file, file.size_bytes));
    blocks.chain(registries).collect()
}

/// A store that is not the one that its backup was made of any more.
fn gone_apart(path: PathBuf) -> Error {
    let message = "the directory has a backup in which this file is another: two copies of one data directory went \
                   on each by itself. Back this one up into a directory of its own";
    Error::new(ErrorKind::Conflict, message).at(path, 0)
}

/// A backup whose list and manifest do not fit together.
fn other_files(number: u64) -> Error {
    let message = "the manifest names other files than the backup's list";
    Error::corrupt(manifest::manifest_path(number), 0, message)
}

/// Makes `target` a backup of `state`, whose files lie in `source` and stay there meanwhile.
/// Whatever stops it, the backup that `target` held before stays valid. Cost: reads every file of
/// the backup once, the new ones twice where they cannot be linked; memory 1 MiB.
///
/// # Errors
/// `Invalid` where `target` holds something else; `Conflict` where it holds a backup of another
/// directory, or a file of a copy of this one that went on by itself, or another process works on it; `Corrupt` where a file is damaged; `Io`, `NoSpace`;
/// what `progress` answers.
pub fn backup(
    source: &dyn Env,
    target: &Arc<dyn Env>,
    state: &State,
    progress: OnProgress<'_>,
) -> Result<BackupReport> {
    let _lock = take(&**target)?;
    let old = old_list(&**target, state.directory_id)?;
    prepare(&**target)?;
    let number = old.as_ref().map_or(0, |list| list.number) + 1;
    let listed = old.map_or(Vec::new(), |list| list.files);
    let begun_ns = source.now_ns();
    let files = files_of(state);
    let total_bytes = files.iter().map(|(_, _, size)| size).sum();
    let mut transfer = Transfer::new(
        (source, &**target),
        state.directory_id,
        (total_bytes, progress),
    );
    let mut report = BackupReport {
        number,
        through: state.flushed_through.0,
        ..BackupReport::default()
    };
    let mut list = Vec::new();
    for (kind, file_id, size_bytes) in files {
        // A list ascends by kind and id.
        let named = listed.binary_search_by_key(&(kind, file_id), |old| (old.kind, old.file_id));
        let named = named.ok().map(|at| &listed[at]);
        let file = meant(
            source,
            state.directory_id,
            (kind, file_id, size_bytes),
            named,
        )?;
        let brought = transfer.bring(&file)?;
        if let Some(brought) = brought {
            report.new_files += 1;
            report.new_bytes += size_bytes;
            report.linked_files += u64::from(brought.is_link);
        }
        list.push(file);
    }
    list.push(write_manifest(&mut transfer, state, number)?);
    list.sort_unstable();
    for folder in FOLDERS {
        let folder = Path::new(folder);
        (target.sync_dir(folder)).map_err(|source| Error::io("sync folder", folder, source))?;
    }
    report.files = list.len() as u64;
    report.bytes = list.iter().map(|file| file.size_bytes).sum();
    let list = BackupList {
        directory_id: state.directory_id,
        number,
        begun_ns,
        through: state.flushed_through,
        files: list,
    };
    publish(&**target, &list)?;
    remove_others(&**target, &list);
    Ok(report)
}

/// The file of a store that its backup is to have, which a list may name already.
fn meant(
    source: &dyn Env,
    directory_id: u128,
    (kind, file_id, size_bytes): (FileKind, u64, u64),
    listed: Option<&BackupFile>,
) -> Result<BackupFile> {
    let file = identify(source, directory_id, (kind, file_id))?;
    let path = path_of(kind, file_id);
    if file.size_bytes != size_bytes {
        let message = format!(
            "the file has {} bytes, not the {size_bytes} that it was made with",
            file.size_bytes
        );
        return Err(Error::corrupt(path, size_bytes, message));
    }
    if listed.is_some_and(|listed| *listed != file) {
        return Err(gone_apart(path));
    }
    Ok(file)
}

/// Takes a directory for this process.
fn take(env: &dyn Env) -> Result<Box<dyn DirLock>> {
    env.lock(Path::new(LOCK)).map_err(|source| {
        if source.kind() == std::io::ErrorKind::WouldBlock {
            return Error::new(ErrorKind::Conflict, source.to_string());
        }
        Error::io("lock the directory", LOCK, source)
    })
}

/// The list of a complete backup, if there is one.
fn read_list(env: &dyn Env) -> Result<Option<BackupList>> {
    let path = Path::new(BACKUP);
    match env.open_read(path) {
        Ok(file) => BackupList::read(file, path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open file", path, error)),
    }
}

/// What the target holds already, if it may hold a backup of directory `directory_id` at all.
fn old_list(target: &dyn Env, directory_id: u128) -> Result<Option<BackupList>> {
    let root = Path::new("");
    let entries = target.list(root);
    let entries = entries.map_err(|source| Error::io("list folder", root, source))?;
    let own = |name: &str| FOLDERS.contains(&name) || [LOCK, BACKUP, TEMPORARY].contains(&name);
    if let Some(other) = entries.iter().find(|entry| !own(&entry.name)) {
        let message = if other.name == CURRENT {
            "the directory is a data directory and takes no backup".to_owned()
        } else {
            format!("the directory is no backup: it has {:?}", other.name)
        };
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let list = read_list(target)?;
    if let Some(list) = list
        .as_ref()
        .filter(|list| list.directory_id != directory_id)
    {
        let message = format!(
            "the directory has a backup of data directory {:032x}, not of {directory_id:032x}",
            list.directory_id
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    Ok(list)
}

/// Makes the folders.
fn prepare(target: &dyn Env) -> Result<()> {
    for folder in FOLDERS {
        let made = target.create_dir(Path::new(folder));
        made.map_err(|source| Error::io("make folder", folder, source))?;
    }
    let root = Path::new("");
    (target.sync_dir(root)).map_err(|source| Error::io("sync folder", root, source))
}

fn write_manifest(transfer: &mut Transfer<'_>, state: &State, number: u64) -> Result<BackupFile> {
    let target = transfer.target();
    // Left by one that was stopped; no list names it.
    remove_if_there(target, &manifest::manifest_path(number))?;
    manifest::export(target, state, number)?;
    let header = FileHeader::new(FileKind::Manifest, state.directory_id, number);
    let path = manifest::manifest_path(number);
    let written = target.open_read(&path);
    written
        .map_err(|source| Error::io("open file", &path, source))?
        .forget_cached();
    let own = manifest::import(target, &header)?;
    assert_eq!(files_of(&own), files_of(state), "what was written is read");
    identify(target, state.directory_id, (FileKind::Manifest, number))
}

/// Makes the list count.
fn publish(target: &dyn Env, list: &BackupList) -> Result<()> {
    let temporary = Path::new(TEMPORARY);
    remove_if_there(target, temporary)?;
    let file = target.create(temporary);
    let file = file.map_err(|source| Error::io("make file", temporary, source))?;
    list.write(file, temporary)?;
    sealed::publish(target, temporary, Path::new(BACKUP))
}

/// Removes what the list does not name. What stays is removed by the next backup.
fn remove_others(target: &dyn Env, list: &BackupList) {
    let files = list.files.iter();
    let own: BTreeSet<PathBuf> = files.map(|file| path_of(file.kind, file.file_id)).collect();
    for folder in FOLDERS {
        for entry in target.list(Path::new(folder)).unwrap_or_default() {
            let path = Path::new(folder).join(&entry.name);
            if !entry.is_dir && !own.contains(&path) {
                target.remove(&path).ok();
            }
        }
    }
}
