//! Memory that only grows, in chunks, so that growing copies little and nothing moves.

use crate::model::{push_varint, take_varint};

/// Bytes in a chunk: the longest string there can be, and its length, fits.
const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 17;
/// Entries in a step.
const STEP: usize = 4096;

/// Byte strings, each found by where it begins.
#[derive(Debug, Default)]
pub(super) struct Arena {
    chunks: Vec<Vec<u8>>,
}

impl Arena {
    /// Appends a string; where it begins.
    ///
    /// # Panics
    /// If it is longer than a chunk, or 4 GiB are taken.
    pub(super) fn push(&mut self, string: &[u8]) -> u32 {
        let size = string.len() + 5;
        assert!(size <= CHUNK_BYTES, "strings are bounded by keys");
        let fits = |chunk: &Vec<u8>| chunk.len() + size <= CHUNK_BYTES;
        if !self.chunks.last().is_some_and(fits) {
            self.chunks.push(room(self.chunks.len(), CHUNK_BYTES));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        let start = index << CHUNK_BITS | chunk.len();
        push_varint(chunk, string.len() as u64);
        chunk.extend_from_slice(string);
        u32::try_from(start).expect("an index in memory stays below 4 GiB")
    }

    /// The string that begins at `start`.
    pub(super) fn get(&self, start: u32) -> &[u8] {
        let start = start as usize;
        let mut rest = &self.chunks[start >> CHUNK_BITS][start & (CHUNK_BYTES - 1)..];
        let len = take_varint(&mut rest).expect("a string opens with its length");
        &rest[..usize::try_from(len).expect("it lies in memory")]
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

/// A vector in steps of 4096 entries.
#[derive(Debug)]
pub(super) struct Steps<T> {
    steps: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Steps<T> {
    fn default() -> Steps<T> {
        Steps {
            steps: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Copy> Steps<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, entry: T) {
        if self.len.is_multiple_of(STEP) {
            self.steps.push(room(self.steps.len(), STEP));
        }
        let last = self.steps.last_mut().expect("it has just been pushed");
        last.push(entry);
        self.len += 1;
    }

    pub(super) fn get(&self, index: usize) -> T {
        self.steps[index / STEP][index % STEP]
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut T {
        &mut self.steps[index / STEP][index % STEP]
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.steps.iter().map(Vec::capacity).sum::<usize>() * size_of::<T>()
    }
}

/// The next of several vectors of one `size`. The first grows with what it holds, as there may be little; others
/// need not be copied for that.
fn room<T>(vectors: usize, size: usize) -> Vec<T> {
    Vec::with_capacity(if vectors == 0 { 0 } else { size })
}
