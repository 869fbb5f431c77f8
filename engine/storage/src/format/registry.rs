//! Registry files: series by the hash of their canonical key, ready to map. Page:
//! `docs/format/registry.md`.
//!
//! Layout: a sealed file (docs/format/file-header.md) whose contents behind the header are the
//! number of entries and then the entries, ascending by hash, no hash twice. Knows nothing of which
//! series live.

use std::path::Path;
use std::sync::Arc;

use crate::env::{ReadFile, WriteFile};
use crate::error::{Error, Result};
use crate::format::header::{FileHeader, HEADER_BYTES};
use crate::format::sealed::{SealedReader, SealedWriter};
use crate::model::{KeyHash, SeriesId};

/// Size of an entry, bytes: the hash, then the series.
pub const ENTRY_BYTES: usize = 24;
/// Where the first entry stands; the count of entries fills the eight bytes before it.
pub const ENTRIES_AT: u64 = HEADER_BYTES as u64 + 8;

/// Steps of interpolation before halving takes over: hashes are even, so three land within a few
/// hundred entries of a million.
const INTERPOLATIONS: u32 = 3;

/// A hash and the series whose canonical key has it.
pub type Entry = (KeyHash, SeriesId);

/// Writes a registry of `count` entries; returns the file's size in bytes. Durable but not yet
/// named: see [`crate::format::sealed::publish`].
///
/// # Errors
/// `Io` or `NoSpace`, and what `entries` gives.
///
/// # Panics
/// If there are more or fewer entries than said, or they do not ascend.
pub fn write(
    (file, path): (Box<dyn WriteFile>, &Path),
    header: &FileHeader,
    count: u64,
    entries: impl Iterator<Item = Result<Entry>>,
) -> Result<u64> {
    let mut writer = SealedWriter::new(file, path, header);
    writer.write(&count.to_le_bytes())?;
    let (mut written, mut last) = (0, None);
    for entry in entries {
        let (hash, series) = entry?;
        assert!(last.is_none_or(|last| last < hash), "entries ascend");
        last = Some(hash);
        written += 1;
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..16].copy_from_slice(&hash.0.to_le_bytes());
        bytes[16..].copy_from_slice(&series.0.to_le_bytes());
        writer.write(&bytes)?;
    }
    assert_eq!(written, count, "as many entries as said");
    writer.finish()
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
        let count_at = HEADER_BYTES as u64;
        if sealed.contents_bytes() < ENTRIES_AT {
            let message = "the file ends before its count of entries";
            return Err(Error::corrupt(path, count_at, message));
        }
        let bytes = sealed.read(count_at..ENTRIES_AT)?;
        let count = bytes
            .first_chunk()
            .map_or(0, |count| u64::from_le_bytes(*count));
        let end = count
            .checked_mul(ENTRY_BYTES as u64)
            .and_then(|size| size.checked_add(ENTRIES_AT));
        if end != Some(sealed.contents_bytes()) {
            let message = "the count of entries does not give the file's size";
            return Err(Error::corrupt(path, count_at, message));
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
        let hash = bytes
            .first_chunk()
            .map_or(0, |hash| u128::from_le_bytes(*hash));
        let series = bytes
            .last_chunk()
            .map_or(0, |series| u64::from_le_bytes(*series));
        Ok((KeyHash(hash), SeriesId(series)))
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
