//! Memory of request bodies: one sum for all of them, and buffers that go from request to request,
//! since touching fresh memory costs more than filling it.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers that wait for their next request, at most, and how large each may be.
const SPARE_COUNT_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 8 << 20;

/// There is no room for so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Bytes of all bodies at most.
    pub(crate) bytes_max: usize,
}

/// The sum of all buffers in use.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    used: AtomicUsize,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Ledger {
    /// A ledger for `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Ledger {
        Ledger(Arc::new(Shared {
            bytes_max,
            used: AtomicUsize::new(0),
            spare: Mutex::default(),
        }))
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Buffer {
        Buffer {
            ledger: self.clone(),
            bytes: Vec::new(),
            booked: 0,
        }
    }

    /// Bytes booked now.
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn book(&self, size: usize) -> Result<(), Full> {
        let before = self.0.used.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) <= self.0.bytes_max {
            return Ok(());
        }
        self.0.used.fetch_sub(size, Ordering::Relaxed);
        Err(Full {
            bytes_max: self.0.bytes_max,
        })
    }

    /// A spare buffer, or none where there is none.
    fn spare(&self) -> Vec<u8> {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop().unwrap_or_default()
    }

    fn take_back(&self, mut bytes: Vec<u8>, booked: usize) {
        self.0.used.fetch_sub(booked, Ordering::Relaxed);
        if bytes.capacity() == 0 || bytes.capacity() > SPARE_BYTES_MAX {
            return;
        }
        bytes.clear();
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_COUNT_MAX {
            spare.push(bytes);
        }
    }
}

/// Bytes whose memory is booked; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    ledger: Ledger,
    bytes: Vec<u8>,
    booked: usize,
}

impl Buffer {
    /// Makes room for `size` bytes in all.
    ///
    /// # Errors
    /// [`Full`] where the ledger has no room.
    pub(crate) fn reserve(&mut self, size: usize) -> Result<(), Full> {
        if size > self.booked {
            self.ledger.book(size - self.booked)?;
            self.booked = size;
        }
        if self.bytes.capacity() == 0 && size > 0 {
            self.bytes = self.ledger.spare();
        }
        // Exactly what was booked: the vector's own growth would take up to twice as much.
        self.bytes
            .reserve_exact(size.saturating_sub(self.bytes.len()));
        Ok(())
    }

    /// Appends `data`, doubling the room where it does not fit.
    ///
    /// # Errors
    /// As [`Buffer::reserve`].
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), Full> {
        let need = self.bytes.len() + data.len();
        if need > self.booked {
            self.reserve(need.max(self.booked * 2).max(4096))?;
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.ledger.take_back(bytes, self.booked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_together_stay_within_the_limit() {
        let ledger = Ledger::new(10_000);
        let mut one = ledger.buffer();
        one.append(&[1; 5_000]).unwrap();
        let mut other = ledger.buffer();
        assert_eq!(other.reserve(6_000), Err(Full { bytes_max: 10_000 }));
        assert!(ledger.used() <= 10_000);
        drop(one);
        other.reserve(6_000).unwrap();
        drop(other);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn a_buffer_is_used_again() {
        let ledger = Ledger::new(1 << 20);
        let mut first = ledger.buffer();
        first.append(&vec![7; 50_000]).unwrap();
        let place = first.as_ptr();
        drop(first);
        let mut second = ledger.buffer();
        second.reserve(1).unwrap();
        assert_eq!((second.as_ptr(), second.len()), (place, 0));
    }
}
