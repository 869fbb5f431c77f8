//! What a backup says of itself, held against its files.

use std::path::Path;

use super::copy::open_listed;
use super::{files_of, other_files, path_of, read_list};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::backup::BackupList;
use crate::format::header::{FileHeader, FileKind};
use crate::manifest::{self, State};

/// The list of a backup, and the state that it holds; `None` where the directory has no complete backup.
///
/// # Errors
/// `Corrupt` where the list or the manifest is damaged, or they name other files; `Conflict` where a newer
/// build wrote them; `Io`.
pub fn open(env: &dyn Env) -> Result<Option<(BackupList, State)>> {
    let Some(list) = read_list(env)? else {
        return Ok(None);
    };
    let header = FileHeader::new(FileKind::Manifest, list.directory_id, list.number);
    let state = manifest::import(env, &header)?;
    let files = list.files.iter();
    let named = files.filter(|file| file.kind != FileKind::Manifest);
    let named = named.map(|file| (file.kind, file.file_id, file.size_bytes));
    if !named.eq(files_of(&state)) {
        return Err(other_files(list.number));
    }
    Ok(Some((list, state)))
}

/// The files of a backup that are not those of its `list`, sound or not, but for those that are `known` to be
/// damaged. Cost: reads headers and checksum sections, and the manifest.
pub fn other_bytes(env: &dyn Env, list: &BackupList, known: &dyn Fn(&Path) -> bool) -> Vec<Error> {
    let files = list.files.iter();
    let paths = files.map(|file| (file, path_of(file.kind, file.file_id)));
    paths
        .filter(|(_, path)| !known(path))
        .filter_map(|(file, path)| open_listed((env, &path), list.directory_id, file).err())
        .collect()
}
