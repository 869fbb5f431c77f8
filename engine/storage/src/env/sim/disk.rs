//! What is on the disk: as the running machine sees it, as it is durable, and the changes between
//! the two in the order they were made. No faults, no counters: see `machine` and `faults`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::Content;
use super::{Random, SECTOR_BYTES};
use crate::env::DirEntry;

/// A change of one file that is not durable yet. `stamp` orders the changes of all files and names.
#[derive(Clone, Debug)]
pub(super) struct FileChange {
    pub(super) stamp: u64,
    pub(super) what: FileChangeKind,
}

#[derive(Clone, Debug)]
pub(super) enum FileChangeKind {
    Resize { to: u64 },
    Write { offset: u64, bytes: Arc<[u8]> },
}

impl FileChangeKind {
    /// The sectors that a write touches; none for a change of size.
    pub(super) fn sectors(&self) -> Range<u64> {
        match self {
            FileChangeKind::Resize { .. } => 0..0,
            FileChangeKind::Write { offset, bytes } => {
                let end = offset + bytes.len() as u64;
                offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)
            }
        }
    }

    /// Does what falls into `sectors`; a change of size is done whole.
    pub(super) fn apply(&self, content: &mut Content, sectors: Range<u64>) {
        match self {
            FileChangeKind::Resize { to } => content.resize(*to),
            FileChangeKind::Write { offset, bytes } => {
                let start = (sectors.start * SECTOR_BYTES).max(*offset);
                let end = (sectors.end * SECTOR_BYTES).min(offset + bytes.len() as u64);
                let within = |at: u64| usize::try_from(at - offset).expect("inside the write");
                content.put(start, &bytes[within(start)..within(end)]);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) now: Content,
    pub(super) durable: Content,
    pub(super) pending: Vec<FileChange>,
    /// Its clones are the open handles.
    pub(super) handles: Arc<()>,
}

/// A change of one name that is not durable yet.
#[derive(Clone, Debug)]
pub(super) struct NameChange {
    pub(super) stamp: u64,
    pub(super) path: PathBuf,
    pub(super) what: NameChangeKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum NameChangeKind {
    Link(u64),
    Unlink,
    Folder,
}

/// The names of files and folders; the data directory itself has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) files: BTreeMap<PathBuf, u64>,
    pub(super) folders: BTreeSet<PathBuf>,
}

impl Names {
    pub(super) fn apply(&mut self, path: &Path, what: NameChangeKind) {
        match what {
            NameChangeKind::Link(inode) => {
                self.files.insert(path.to_owned(), inode);
            }
            NameChangeKind::Unlink => {
                self.files.remove(path);
            }
            NameChangeKind::Folder => {
                self.folders.insert(path.to_owned());
            }
        }
    }

    fn has_folder(&self, path: &Path) -> bool {
        path == Path::new("") || self.folders.contains(path)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: Names,
    pub(super) durable: Names,
    pub(super) pending: Vec<NameChange>,
    pub(super) next_inode: u64,
    pub(super) next_stamp: u64,
}

impl Disk {
    /// A disk with nothing unsynced.
    pub(super) fn settled(mut files: BTreeMap<u64, Content>, mut names: Names) -> Disk {
        // Where a folder's own name is lost, what lay in it is out of reach.
        names.files.retain(|path, _| {
            let folder = path.parent().unwrap_or(Path::new(""));
            folder == Path::new("") || names.folders.contains(folder)
        });
        let used: BTreeSet<u64> = names.files.values().copied().collect();
        files.retain(|inode, _| used.contains(inode));
        let next_inode = files.keys().next_back().map_or(0, |last| last + 1);
        let inodes = files.into_iter().map(|(inode, content)| {
            let inode_now = Inode {
                now: content.clone(),
                durable: content,
                ..Inode::default()
            };
            (inode, inode_now)
        });
        Disk {
            inodes: inodes.collect(),
            durable: names.clone(),
            names,
            pending: Vec::new(),
            next_inode,
            next_stamp: 0,
        }
    }

    fn stamp(&mut self) -> u64 {
        self.next_stamp += 1;
        self.next_stamp
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        let found = self.names.files.get(path).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn inode(&self, inode: u64) -> &Inode {
        self.inodes.get(&inode).expect("a handle keeps its file")
    }

    pub(super) fn inode_mut(&mut self, inode: u64) -> &mut Inode {
        self.inodes
            .get_mut(&inode)
            .expect("a handle keeps its file")
    }

    fn rename_or_make(&mut self, path: &Path, what: NameChangeKind) {
        let stamp = self.stamp();
        self.names.apply(path, what);
        let path = path.to_owned();
        self.pending.push(NameChange { stamp, path, what });
    }

    fn need_folder_of(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        if self.names.has_folder(folder) && path.file_name().is_some() {
            return Ok(());
        }
        Err(io::ErrorKind::NotFound.into())
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.need_folder_of(path)?;
        if self.names.files.contains_key(path) || self.names.folders.contains(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.rename_or_make(path, NameChangeKind::Link(inode));
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.need_folder_of(to)?;
        let inode = self.find(from)?;
        self.rename_or_make(to, NameChangeKind::Link(inode));
        self.rename_or_make(from, NameChangeKind::Unlink);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.rename_or_make(path, NameChangeKind::Unlink);
        Ok(())
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.need_folder_of(path)?;
        if self.names.files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !self.names.folders.contains(path) {
            self.rename_or_make(path, NameChangeKind::Folder);
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        if !self.names.has_folder(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = |name: &Path, size_bytes, is_dir| DirEntry {
            name: name
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            size_bytes,
            is_dir,
        };
        let inside = |name: &&PathBuf| name.parent() == Some(path);
        let files = (self.names.files.iter())
            .filter(|(name, _)| inside(name))
            .map(|(name, inode)| entry(name, self.inode(*inode).now.size, false));
        let folders = self.names.folders.iter().filter(inside);
        let mut entries: Vec<DirEntry> = files
            .chain(folders.map(|name| entry(name, 0, true)))
            .collect();
        entries.sort_unstable();
        Ok(entries)
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        if !self.names.has_folder(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let inside = change.path.parent() == Some(path);
            if inside {
                durable.apply(&change.path, change.what);
            }
            !inside
        });
        self.forget_unreachable();
        Ok(())
    }

    /// Drops files that have no name in any possible future and no open handle.
    fn forget_unreachable(&mut self) {
        let mut used: BTreeSet<u64> = self.names.files.values().copied().collect();
        used.extend(self.durable.files.values());
        used.extend(self.pending.iter().filter_map(|change| match change.what {
            NameChangeKind::Link(inode) => Some(inode),
            NameChangeKind::Unlink | NameChangeKind::Folder => None,
        }));
        self.inodes
            .retain(|inode, file| used.contains(inode) || Arc::strong_count(&file.handles) > 1);
    }

    pub(super) fn resize(&mut self, inode: u64, to: u64) {
        let stamp = self.stamp();
        let file = self.inode_mut(inode);
        if file.now.size != to {
            file.now.resize(to);
            let what = FileChangeKind::Resize { to };
            file.pending.push(FileChange { stamp, what });
        }
    }

    pub(super) fn write(&mut self, inode: u64, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if end > self.inode(inode).now.size {
            self.resize(inode, end);
        }
        let stamp = self.stamp();
        let file = self.inode_mut(inode);
        file.now.put(offset, bytes);
        let bytes = bytes.into();
        let what = FileChangeKind::Write { offset, bytes };
        file.pending.push(FileChange { stamp, what });
    }

    pub(super) fn sync_data(&mut self, inode: u64) {
        let file = self.inode_mut(inode);
        for change in std::mem::take(&mut file.pending) {
            change.what.apply(&mut file.durable, change.what.sectors());
        }
    }

    /// A sync that failed: any part may have become durable, the rest never will, whatever later
    /// syncs say.
    pub(super) fn sync_data_in_part(&mut self, inode: u64, random: &mut Random) {
        let file = self.inode_mut(inode);
        for change in std::mem::take(&mut file.pending) {
            let sectors = change.what.sectors();
            if sectors.is_empty() && random.below(2) == 0 {
                change.what.apply(&mut file.durable, sectors.clone());
            }
            for sector in sectors {
                if random.below(2) == 0 {
                    change.what.apply(&mut file.durable, sector..sector + 1);
                }
            }
        }
        file.durable.clip();
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let sizes = self
            .names
            .files
            .values()
            .map(|inode| self.inode(*inode).now.size);
        sizes.sum()
    }

    pub(super) fn peek(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = &self.inode(self.find(path)?).now;
        let size = usize::try_from(content.size).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        content.read(0, &mut bytes);
        Ok(bytes)
    }

    pub(super) fn poke(&mut self, path: &Path, bytes: &[u8]) {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            self.names.apply(folder, NameChangeKind::Folder);
            self.durable.apply(folder, NameChangeKind::Folder);
        }
        let mut content = Content::default();
        content.resize(bytes.len() as u64);
        content.put(0, bytes);
        let inode = self.find(path).unwrap_or(self.next_inode);
        self.next_inode = self.next_inode.max(inode + 1);
        let file = self.inodes.entry(inode).or_default();
        file.now = content.clone();
        file.durable = content;
        file.pending.clear();
        self.names.apply(path, NameChangeKind::Link(inode));
        self.durable.apply(path, NameChangeKind::Link(inode));
        self.pending.retain(|change| change.path != path);
    }

    pub(super) fn snatch(&mut self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.names.apply(path, NameChangeKind::Unlink);
        self.durable.apply(path, NameChangeKind::Unlink);
        self.pending.retain(|change| change.path != path);
        Ok(())
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.names.files.keys().cloned().collect()
    }
}
