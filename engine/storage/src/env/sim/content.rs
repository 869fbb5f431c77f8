//! A file's bytes, kept sparse and shared, so that a copy of a disk costs little.
//!
//! Bytes beyond the size may be kept while a crash is played: it can lose a sector's data or the
//! size that covers it independently. In the end they are clipped.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SECTOR_BYTES;

const PAGE_BYTES: u64 = 4096;
const PAGE: usize = 4096;
const SECTOR: usize = 512;
const _: () = assert!(PAGE as u64 == PAGE_BYTES && SECTOR as u64 == SECTOR_BYTES);

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) size: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl Content {
    /// Puts bytes down without a change of the size.
    pub(super) fn put(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = within_page(offset);
            let (now, later) = bytes.split_at(bytes.len().min(PAGE - within));
            let page = self
                .pages
                .entry(offset / PAGE_BYTES)
                .or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            bytes = later;
        }
    }

    /// Makes a whole sector what `byte` gives.
    pub(super) fn put_sector(&mut self, sector: u64, mut byte: impl FnMut() -> u8) {
        let bytes: [u8; SECTOR] = std::array::from_fn(|_| byte());
        self.put(sector * SECTOR_BYTES, &bytes);
    }

    /// Changes the size. What a larger size lets in is zeros, or what was put there before.
    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.clear_from(size);
        }
        self.size = size;
    }

    /// Forgets what lies beyond the size.
    pub(super) fn clip(&mut self) {
        self.clear_from(self.size);
    }

    fn clear_from(&mut self, end: u64) {
        drop(self.pages.split_off(&end.div_ceil(PAGE_BYTES)));
        if let Some(page) = self.pages.get_mut(&(end / PAGE_BYTES)) {
            Arc::make_mut(page)[within_page(end)..].fill(0);
        }
    }

    /// Fills `buffer` from `offset` on; the caller has compared with the size.
    pub(super) fn read(&self, mut offset: u64, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let within = within_page(offset);
            let length = buffer.len().min(PAGE - within);
            let (now, later) = buffer.split_at_mut(length);
            match self.pages.get(&(offset / PAGE_BYTES)) {
                Some(page) => now.copy_from_slice(&page[within..within + length]),
                None => now.fill(0),
            }
            offset += length as u64;
            buffer = later;
        }
    }
}

fn within_page(offset: u64) -> usize {
    usize::try_from(offset % PAGE_BYTES).expect("a page's size fits")
}
