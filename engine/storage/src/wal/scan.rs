//! Finds groups and records in the bytes of one segment, whatever state they are in. Decides nothing:
//! what a bad byte means is for `replay` to say.
//!
//! Reads through a window of bounded size; an error of the disk is always an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{Env, ReadFile};
use crate::error::{Error, Result};
use crate::format::wal::{
    GROUP_HEADER_BYTES, GroupHeader, RECORD_ALIGN, RECORD_HEADER_BYTES, RecordHeader, SECTOR,
    SECTOR_BYTES, Seal,
};

const WINDOW_BYTES: u64 = 64 << 10;

/// The bytes of one segment.
#[derive(Debug)]
pub(super) struct Scan {
    file: Arc<dyn ReadFile>,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    window: Vec<u8>,
    window_start: u64,
}

/// Which records can stand in some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) seal: Seal,
    /// Lowest and highest sequence.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where the bytes end.
    pub(super) end: u64,
}

impl Scan {
    pub(super) fn open(env: &dyn Env, path: &Path) -> Result<Scan> {
        let file = env
            .open_read(path)
            .map_err(|error| Error::io("open a segment of the log", path, error))?;
        Ok(Scan {
            size: file.size_bytes(),
            file,
            path: path.to_owned(),
            window: Vec::new(),
            window_start: 0,
        })
    }

    /// What is read next comes from the disk, as far as the system lets it.
    pub(super) fn forget_cached(&mut self) {
        self.file.forget_cached();
        self.window.clear();
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_at(offset, buffer).map_err(|error| {
            Error::io("read a segment of the log", &self.path, error).at(&self.path, offset)
        })
    }

    /// Makes `target` the `length` bytes from `offset` on, which the segment has; small ones by way of
    /// the window, so that a log of small records is not read call by call.
    pub(super) fn copy(&mut self, offset: u64, length: usize, target: &mut Vec<u8>) -> Result<()> {
        if length as u64 > WINDOW_BYTES / 4 {
            target.resize(length, 0);
            return self.read(offset, target);
        }
        target.clear();
        target.extend_from_slice(self.bytes(offset, length)?);
        Ok(())
    }

    /// Up to `length` bytes from `offset` on, fewer where the segment ends.
    pub(super) fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let length = (length as u64).min(self.size.saturating_sub(offset));
        if length == 0 {
            return Ok(&[]);
        }
        let window_end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + length > window_end {
            let fill = WINDOW_BYTES
                .max(length)
                .min(self.size.saturating_sub(offset));
            let mut window = std::mem::take(&mut self.window);
            window.resize(to_usize(fill), 0);
            self.window_start = offset;
            self.read(offset, &mut window)?;
            self.window = window;
        }
        let start = to_usize(offset - self.window_start);
        Ok(&self.window[start..start + to_usize(length)])
    }

    /// The group that begins at `offset`, if one does.
    pub(super) fn group(&mut self, offset: u64, seal: Seal) -> Result<Option<GroupHeader>> {
        let bytes = self.bytes(offset, GROUP_HEADER_BYTES)?;
        Ok(GroupHeader::decode(bytes, seal, offset))
    }

    /// The first group at `offset` or behind it whose sequences are not below `first`.
    pub(super) fn next_group(
        &mut self,
        mut offset: u64,
        seal: Seal,
        first: u64,
    ) -> Result<Option<(u64, GroupHeader)>> {
        while offset < self.size {
            let group = self.group(offset, seal)?;
            if let Some(group) = group.filter(|group| group.first >= first) {
                return Ok(Some((offset, group)));
            }
            offset += SECTOR_BYTES;
        }
        Ok(None)
    }

    /// The salt that the groups of segment `number` prove, with the first such group and its place.
    pub(super) fn find_seal(
        &mut self,
        directory_id: u128,
        number: u64,
    ) -> Result<Option<(Seal, u64, GroupHeader)>> {
        let mut offset = SECTOR_BYTES;
        while offset < self.size {
            let bytes = self.bytes(offset, GROUP_HEADER_BYTES)?;
            if let Some(salt) = GroupHeader::salt_of(bytes) {
                let seal = Seal::new(directory_id, number, salt);
                if let Some(group) = GroupHeader::decode(bytes, seal, offset) {
                    return Ok(Some((seal, offset, group)));
                }
            }
            offset += SECTOR_BYTES;
        }
        Ok(None)
    }

    /// The highest sequence that a group of the segment says was durable when it was written.
    pub(super) fn horizon(&mut self, seal: Seal) -> Result<u64> {
        let (mut offset, mut horizon) = (SECTOR_BYTES, 0);
        while let Some((at, group)) = self.next_group(offset, seal, 0)? {
            horizon = horizon.max(group.durable);
            // A group cannot reach over the next one, but what says so may be damaged itself.
            offset = match self.group(group.next_offset(at), seal)? {
                Some(_) => group.next_offset(at),
                None => at + SECTOR_BYTES,
            };
        }
        Ok(horizon)
    }

    /// The record that begins at `offset`, if one does that can stand there.
    pub(super) fn record(&mut self, offset: u64, wanted: Wanted) -> Result<Option<RecordHeader>> {
        let bytes = self.bytes(offset, RECORD_HEADER_BYTES)?;
        // Cheap first: a search comes here for every eighth byte.
        let sequence = bytes.get(8..16).map(|bytes| {
            let bytes = bytes.try_into().expect("eight bytes are eight bytes");
            u64::from_le_bytes(bytes)
        });
        if !sequence.is_some_and(|sequence| (wanted.first..=wanted.last).contains(&sequence)) {
            return Ok(None);
        }
        let header = RecordHeader::decode(bytes, wanted.seal, offset);
        let payload_end = offset + RECORD_HEADER_BYTES as u64;
        Ok(header.filter(|header| {
            payload_end + u64::from(header.payload_bytes) <= wanted.end.min(self.size)
        }))
    }

    /// The first record at `offset` or behind it that can stand there.
    pub(super) fn next_record(
        &mut self,
        mut offset: u64,
        wanted: Wanted,
    ) -> Result<Option<(u64, RecordHeader)>> {
        while offset < wanted.end.min(self.size) {
            if let Some(header) = self.record(offset, wanted)? {
                return Ok(Some((offset, header)));
            }
            offset += RECORD_ALIGN;
        }
        Ok(None)
    }

    /// Where the last byte between `start` and `end` that is not zero ends; `start` if all are.
    pub(super) fn content_end(&mut self, start: u64, end: u64) -> Result<u64> {
        let (mut offset, mut content_end) = (start, start);
        while offset < end.min(self.size) {
            let length = SECTOR.min(to_usize(end - offset));
            let bytes = self.bytes(offset, length)?;
            let read = bytes.len() as u64;
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                content_end = offset + last as u64 + 1;
            }
            offset += read;
        }
        Ok(content_end)
    }
}

pub(super) fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("sizes in memory fit, the machine has 64 bits")
}
