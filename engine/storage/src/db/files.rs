//! Which files of a data directory something refers to, and which nothing does.
//!
//! Page: `docs/format/directory.md`.

use std::path::{Path, PathBuf};

use super::open::{FILE_FOLDERS, LOCK, LOG_FOLDER};
use super::reserve::RESERVE;
use crate::env::Env;
use crate::format::block::block_path;
use crate::index::registry::RegistryFile;
use crate::manifest::{CURRENT, FOLDER as MANIFEST_FOLDER, State, manifest_path};
use crate::wal::is_segment;

/// A file that nothing refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Where it lies, relative to the data directory.
    pub file: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
}

/// Whether the manifest names a file of a folder of blocks or registries.
pub(super) fn is_named(state: &State, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(file_id).is_some_and(|id| {
        state.blocks.contains_key(&id) && path == block_path(id)
            || state.registries.contains_key(&id) && path == RegistryFile::path(id)
    })
}

/// The id in a file's name, if there is one.
pub(super) fn file_id(name: &str) -> Option<u64> {
    u64::from_str_radix(name.get(..16)?, 16).ok()
}

/// All files that nothing refers to, folder by folder, sorted. Copies of damaged bytes are for people,
/// and other folders than the store's own not its business.
pub(super) fn orphans(env: &dyn Env, state: &State, manifest: u64) -> Vec<Orphan> {
    let is_used = |folder: &str, path: &Path, name: &str| match folder {
        "" => [CURRENT, LOCK, RESERVE].contains(&name),
        MANIFEST_FOLDER => path == manifest_path(manifest),
        LOG_FOLDER => is_segment(name),
        _ => is_named(state, path),
    };
    let mut found = Vec::new();
    for folder in ["", MANIFEST_FOLDER, LOG_FOLDER]
        .into_iter()
        .chain(FILE_FOLDERS)
    {
        for entry in env.list(Path::new(folder)).unwrap_or_default() {
            let file = Path::new(folder).join(&entry.name);
            if !entry.is_dir && !is_used(folder, &file, &entry.name) {
                found.push(Orphan {
                    file,
                    bytes: entry.size_bytes,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::reserve::{BYTES_MAX, BYTES_MIN, ROOM, SHARE};
    use crate::wal::QUARANTINE;

    #[test]
    fn the_page_names_all_that_a_directory_holds() {
        let page = include_str!("../../../../docs/format/directory.md");
        let folders = [MANIFEST_FOLDER, LOG_FOLDER, QUARANTINE].into_iter();
        for folder in folders.chain(FILE_FOLDERS) {
            assert!(page.contains(&format!("| `{folder}/")), "{folder}");
        }
        for file in [CURRENT, LOCK, RESERVE] {
            assert!(page.contains(&format!("| `{file}` |")), "{file}");
        }
        for fact in [
            format!("one byte of {SHARE}"),
            format!(
                "{} KiB at least, {} MiB at most",
                BYTES_MIN >> 10,
                BYTES_MAX >> 20
            ),
            format!("{ROOM} times as much free"),
        ] {
            assert!(page.contains(&fact), "the page lacks: {fact}");
        }
    }
}
