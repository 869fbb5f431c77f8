//! Registry files: series by the hash of their canonical key, ready to map. Page:
//! `docs/format/registry.md`.
//!
//! Layout: a sealed file (docs/format/file-header.md) whose contents behind the header are the
//! entries, ascending by hash, no hash twice. Knows nothing of which series live.

use std::path::Path;
use std::sync::Arc;

use crate::env::{ReadFile, WriteFile};
use crate::error::{Error, Result};
use crate::format::header::{FileHeader, HEADER_BYTES};
use crate::format::sealed::{SealedReader, SealedWriter};
use crate::model::{KeyHash, SeriesId};

/// Size of an entry, bytes: the hash, then the series.
pub const ENTRY_BYTES: usize = 24;
/// Where the first entry stands.
pub const ENTRIES_AT: u64 = HEADER_BYTES as u64;

/// Entries that a walk reads at once: some 16 KiB.
const WALK_ENTRIES: u64 = 682;

/// Steps of interpolation before halving takes over: hashes are even, so three land within a few
/// hundred entries of a million.
const INTERPOLATIONS: u32 = 3;

/// A hash and the series whose canonical key has it.
pub type Entry = (KeyHash, SeriesId);

/// Writes a registry; returns how many entries it has and its size in bytes. Durable but not yet
/// named: see [`crate::format::sealed::publish`].
///
/// # Errors
/// `Io` or `NoSpace`, and what `entries` gives.
///
/// # Panics
/// If the entries do not ascend.
pub fn write(
    (file, path): (Box<dyn WriteFile>, &Path),
    header: &FileHeader,
    entries: impl Iterator<Item = Result<Entry>>,
) -> Result<(u64, u64)> {
    let mut writer = SealedWriter::new(file, path, header);
    let (mut count, mut last) = (0, None);
    for entry in entries {
        let (hash, series) = entry?;
        assert!(last.is_none_or(|last| last < hash), "entries ascend");
        last = Some(hash);
        count += 1;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&hash.0.to_le_bytes());
        bytes[16..].copy_from_slice(&series.0.to_le_bytes());
        writer.write(&bytes)?;
    }
    Ok((count, writer.finish()?))
}

/// A registry file that is asked.
#[derive(Debug)]
pub struct RegistryReader {
    sealed: SealedReader,
    count: u64,
}

impl RegistryReader {
    /// Opens a registry. Cost: as [`SealedReader::open`]; entries are checked as they are touched.
    ///
    /// # Errors
    /// As [`SealedReader::open`]; `Corrupt` where the count does not fit the size.
    pub fn open(
        file: Arc<dyn ReadFile>,
        path: &Path,
        expected: &FileHeader,
    ) -> Result<RegistryReader> {
        let sealed = SealedReader::open(file, path, expected)?;
        let size = sealed.contents_bytes().saturating_sub(ENTRIES_AT);
        let count = size / ENTRY_BYTES as u64;
        if !size.is_multiple_of(ENTRY_BYTES as u64) {
            let message = "the file ends within an entry";
            return Err(Error::corrupt(
                path,
                ENTRIES_AT + count * ENTRY_BYTES as u64,
                message,
            ));
        }
        Ok(RegistryReader { sealed, count })
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The framing, for whoever checks it whole.
    pub fn sealed(&self) -> &SealedReader {
        &self.sealed
    }

    /// The series with this hash, if there is one. Cost: some five to twelve entries touched.
    ///
    /// # Errors
    /// `Corrupt` where what is touched is damaged; `Io`.
    pub fn find(&self, hash: KeyHash) -> Result<Option<SeriesId>> {
        let (mut low, mut high) = (0, self.count);
        // Hashes at `low` and behind `high - 1`, for interpolation.
        let (mut floor, mut ceiling) = (0_u128, u128::MAX);
        let mut step = 0;
        while low < high {
            let width = high - low;
            let middle = if step < INTERPOLATIONS {
                interpolate(hash.0, (floor, ceiling), width)
            } else {
                width / 2
            };
            step += 1;
            let middle = low + middle.min(width - 1);
            let (found, series) = self.entry(middle)?;
            match found.cmp(&hash) {
                std::cmp::Ordering::Equal => {
                    self.sealed.check_intact()?;
                    return Ok(Some(series));
                }
                std::cmp::Ordering::Less => (low, floor) = (middle + 1, found.0),
                std::cmp::Ordering::Greater => (high, ceiling) = (middle, found.0),
            }
        }
        // Else a series would get a second id.
        self.sealed.check_intact()?;
        Ok(None)
    }

    /// Entry `index`, in the order of hashes.
    ///
    /// # Errors
    /// As [`RegistryReader::find`].
    pub fn entry(&self, index: u64) -> Result<Entry> {
        let at = ENTRIES_AT + index * ENTRY_BYTES as u64;
        let bytes = self.sealed.read(at..at + ENTRY_BYTES as u64)?;
        Ok(decode(&bytes))
    }

    /// All entries, ascending by hash; ends behind the first error.
    pub fn walk(&self) -> RegistryWalk<'_> {
        RegistryWalk {
            reader: self,
            next: 0,
            read: Vec::new().into_iter(),
        }
    }

    fn entries(&self, from: u64) -> Result<Vec<Entry>> {
        let count = WALK_ENTRIES.min(self.count - from);
        let at = ENTRIES_AT + from * ENTRY_BYTES as u64;
        let bytes = self.sealed.read(at..at + count * ENTRY_BYTES as u64)?;
        let entries: Vec<Entry> = bytes.chunks_exact(ENTRY_BYTES).map(decode).collect();
        self.sealed.check_intact()?;
        if entries.is_sorted_by_key(|(hash, _)| *hash) {
            return Ok(entries);
        }
        let message = "the entries do not ascend";
        Err(Error::corrupt(self.sealed.path(), at, message))
    }
}

fn decode(bytes: &[u8]) -> Entry {
    let hash = bytes.first_chunk().copied().map_or(0, u128::from_le_bytes);
    let series = bytes.last_chunk().copied().map_or(0, u64::from_le_bytes);
    (KeyHash(hash), SeriesId(series))
}

/// Walks a registry file.
#[derive(Debug)]
pub struct RegistryWalk<'file> {
    reader: &'file RegistryReader,
    next: u64,
    read: std::vec::IntoIter<Entry>,
}

impl Iterator for RegistryWalk<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if let Some(entry) = self.read.next() {
            return Some(Ok(entry));
        }
        if self.next >= self.reader.count {
            return None;
        }
        match self.reader.entries(self.next) {
            Ok(entries) => {
                self.next += entries.len() as u64;
                self.read = entries.into_iter();
                self.read.next().map(Ok)
            }
            Err(error) => {
                self.next = self.reader.count;
                Some(Err(error))
            }
        }
    }
}

/// Where among `width` even entries between `floor` and `ceiling` the hash would stand.
fn interpolate(hash: u128, (floor, ceiling): (u128, u128), width: u64) -> u64 {
    if hash <= floor || floor >= ceiling {
        return 0;
    }
    // 64 bits of each are enough for a guess.
    let part = (hash - floor) >> 64;
    let whole = ((ceiling - floor) >> 64).max(1);
    u64::try_from(part * u128::from(width) / whole).unwrap_or(u64::MAX)
}
