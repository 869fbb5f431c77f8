//! Registry files: opening, writing, merging; which to merge is chosen apart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::header::{FileHeader, FileKind};
use crate::format::manifest::RegistryMeta;
use crate::format::registry::{self, Entry, RegistryReader, RegistryWalk};
use crate::format::sealed::{self, SealedReader};
use crate::model::{DatabaseId, KeyHash, SeriesId};

/// The folder of registry files.
const FOLDER: &str = "registry";
/// So many files of about one size become one.
const MERGE_FILES: usize = 4;
/// Sizes are about one where the larger has at most this many times the series of the smaller.
const MERGE_RATIO: u64 = 4;

/// A registry file that the manifest names.
#[derive(Debug)]
pub struct RegistryFile {
    meta: RegistryMeta,
    /// Or why it cannot be read.
    reader: Result<RegistryReader>,
}

impl RegistryFile {
    /// Where file `id` lies.
    pub fn path(id: u64) -> PathBuf {
        Path::new(FOLDER).join(format!("{id:016x}.reg"))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`RegistryReader::open`].
    pub fn open(env: &dyn Env, directory: u128, meta: RegistryMeta) -> Result<Arc<RegistryFile>> {
        let path = RegistryFile::path(meta.file);
        let file = env
            .open_read(&path)
            .map_err(|source| Error::io("open registry", &path, source))?;
        let header = FileHeader::new(FileKind::Registry, directory, meta.file);
        let reader = RegistryReader::open(file, &path, &header)?;
        if reader.count() != meta.series_count {
            let message = "the file has another count of series than the manifest says";
            return Err(Error::corrupt(&path, 64, message));
        }
        let reader = Ok(reader);
        Ok(Arc::new(RegistryFile { meta, reader }))
    }

    /// A file that cannot be opened: lookups that need it meet the error.
    pub fn broken(meta: RegistryMeta, error: Error) -> Arc<RegistryFile> {
        let reader = Err(error);
        Arc::new(RegistryFile { meta, reader })
    }

    /// Writes a file of `entries`, ascending by hash, and opens it. Durable with its name.
    ///
    /// # Errors
    /// `Io` or `NoSpace`, and what `entries` gives: nothing is left behind, if the disk lets it go.
    pub fn write(
        env: &dyn Env,
        directory: u128,
        (file, database): (u64, DatabaseId),
        entries: impl Iterator<Item = Result<Entry>>,
    ) -> Result<Arc<RegistryFile>> {
        let folder = Path::new(FOLDER);
        env.create_dir(folder)
            .map_err(|source| Error::io("make folder", folder, source))?;
        let path = RegistryFile::path(file);
        let temporary = path.with_extension("tmp");
        let writing = env
            .create(&temporary)
            .map_err(|source| Error::io("make registry", &temporary, source))?;
        let header = FileHeader::new(FileKind::Registry, directory, file);
        let written = registry::write((writing, &path), &header, entries);
        let (series_count, size_bytes) = written.inspect_err(|_| drop(env.remove(&temporary)))?;
        sealed::publish(env, &temporary, &path)?;
        let meta = RegistryMeta {
            file,
            database,
            series_count,
            size_bytes,
        };
        RegistryFile::open(env, directory, meta)
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> RegistryMeta {
        self.meta
    }

    /// The series with this hash.
    ///
    /// # Errors
    /// `Corrupt` or `Io`.
    pub fn find(&self, hash: KeyHash) -> Result<Option<SeriesId>> {
        self.reader()?.find(hash)
    }

    /// Checks the file whole; all that is wrong with it.
    ///
    /// # Errors
    /// If it could not be opened.
    pub fn verify_all(&self) -> Result<Vec<Error>> {
        Ok(self.reader()?.sealed().verify_all())
    }

    /// What is wrong with it as far as lookups have met it; nothing of one that could not be opened.
    pub fn problems(&self) -> Vec<Error> {
        let reader = self.reader.as_ref();
        reader.map_or_else(|_| Vec::new(), |reader| reader.sealed().problems())
    }

    /// Why it could not be opened, if it could not.
    pub fn fault(&self) -> Option<&Error> {
        self.reader.as_ref().err()
    }

    /// The framed file, for whoever checks it; `None` where it could not be opened.
    pub fn sealed(&self) -> Option<&SealedReader> {
        self.reader.as_ref().ok().map(RegistryReader::sealed)
    }

    fn reader(&self) -> Result<&RegistryReader> {
        self.reader.as_ref().map_err(Error::duplicate)
    }
}

/// Which files to make one of, by index: the smallest four or more of about one size, or none.
/// Pure. With it a database has some four files for each fourfold of its series.
pub fn choose_merge(files: &[RegistryMeta]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_unstable_by_key(|index| (files[*index].series_count, files[*index].file));
    for start in 0..order.len() {
        let limit = files[order[start]]
            .series_count
            .max(1)
            .saturating_mul(MERGE_RATIO);
        let alike = order[start..]
            .iter()
            .take_while(|index| files[**index].series_count <= limit);
        let alike: Vec<usize> = alike.copied().collect();
        if alike.len() >= MERGE_FILES {
            return alike;
        }
    }
    Vec::new()
}

/// All entries of `files`, ascending by hash; one that stands in several comes once. Memory: a piece
/// of each file.
///
/// # Errors
/// `Corrupt` or `Io` of a file that could not be opened; others come in place of an entry.
pub fn merge(files: &[Arc<RegistryFile>]) -> Result<Merge<'_>> {
    let mut walks = Vec::with_capacity(files.len());
    for file in files {
        let mut walk = file.reader()?.walk();
        walks.push((walk.next(), walk));
    }
    Ok(Merge { walks })
}

/// Walks several files as one.
#[derive(Debug)]
pub struct Merge<'files> {
    /// Each with the entry it stands at.
    walks: Vec<(Option<Result<Entry>>, RegistryWalk<'files>)>,
}

impl Iterator for Merge<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        let heads = self.walks.iter();
        // An error comes before every entry.
        let least = heads
            .filter_map(|(head, _)| {
                head.as_ref()
                    .map(|head| head.as_ref().ok().map(|one| one.0))
            })
            .min()?;
        let mut found = None;
        for (head, walk) in &mut self.walks {
            let hash = head
                .as_ref()
                .map(|head| head.as_ref().ok().map(|one| one.0));
            if hash == Some(least) {
                let head = std::mem::replace(head, walk.next());
                found = found.or(head);
            }
        }
        found
    }
}
