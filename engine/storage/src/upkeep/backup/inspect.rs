//! What a backup says of itself, held against its files.

use std::sync::Arc;

use super::copy::Transfer;
use super::{files_of, other_file, other_files, path_of, read_list};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::header::{FileHeader, FileKind};
use crate::manifest::{self, State};

/// The state that a backup holds, and which of its files are others than its list says: whole ones, as what
/// is damaged shows when it is read. `None` where the directory has no complete backup. Cost: reads every
/// file twice.
///
/// # Errors
/// `Corrupt` where the list or the manifest is damaged, or they name other files; `Conflict` where a newer
/// build wrote them; `Io`.
pub fn inspect(env: &Arc<dyn Env>) -> Result<Option<(State, Vec<Error>)>> {
    let Some(list) = read_list(&**env)? else {
        return Ok(None);
    };
    let header = FileHeader::new(FileKind::Manifest, list.directory_id, list.number);
    let state = manifest::import(&**env, &header)?;
    let files = list.files.iter();
    let named = files.filter(|file| file.kind != FileKind::Manifest);
    let named = named.map(|file| (file.kind, file.file_id, file.size_bytes));
    if !named.eq(files_of(&state)) {
        return Err(other_files(list.number));
    }
    let mut others = Vec::new();
    let mut on_progress = |_| Ok(());
    let ends = (&**env, &**env);
    let mut transfer = Transfer::new(ends, list.directory_id, (0, &mut on_progress));
    for file in &list.files {
        let path = path_of(file.kind, file.file_id);
        let checksum = if file.kind == FileKind::Manifest {
            transfer.checksum(&path)
        } else {
            transfer.verify((file.kind, file.file_id), file.size_bytes)
        };
        if let Ok(checksum) = checksum
            && checksum != file.checksum
        {
            others.push(other_file(path, checksum, file));
        }
    }
    Ok(Some((state, others)))
}
