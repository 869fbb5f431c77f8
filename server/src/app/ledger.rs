//! Memory of request bodies: a limit of their own within the engine's budget, and buffers that go
//! from request to request, since touching fresh memory costs more than filling it.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use silverback::storage::budget::{Budget, Charge, Class};
use silverback::storage::{Error, ErrorKind};

/// Buffers that wait for their next request, at most, and how large each may be.
const SPARE_COUNT_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 8 << 20;
/// What waits is at most this part of the budget.
const SPARE_PART: usize = 32;

/// The sum of all buffers in use.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    budget: Arc<Budget>,
    used: AtomicUsize,
    spare: Mutex<Spare>,
}

/// Buffers that nobody uses; they are counted in the budget all the same.
#[derive(Debug, Default)]
struct Spare {
    buffers: Vec<(Vec<u8>, Charge)>,
    bytes: usize,
}

impl Ledger {
    /// A ledger for `bytes_max` bytes, which are part of `budget`.
    pub(crate) fn new(bytes_max: usize, budget: &Arc<Budget>) -> Ledger {
        Ledger(Arc::new(Shared {
            bytes_max,
            budget: Arc::clone(budget),
            used: AtomicUsize::new(0),
            spare: Mutex::default(),
        }))
    }

    /// An empty buffer.
    pub(crate) fn buffer(&self) -> Buffer {
        Buffer {
            ledger: self.clone(),
            bytes: Vec::new(),
            booked: self.0.budget.charge(Class::Ingest, 0),
        }
    }

    /// Bytes booked now.
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Books `size` more bytes for a buffer that has `booked`.
    fn book(&self, booked: &mut Charge, size: usize) -> Result<(), Error> {
        let shared = &self.0;
        let before = shared.used.fetch_add(size, Ordering::Relaxed);
        let fits = if before.saturating_add(size) <= shared.bytes_max {
            shared.budget.admit(size).map(|more| {
                booked.resize(booked.bytes() + size);
                drop(more);
            })
        } else {
            let message = format!(
                "request bodies in memory would pass {} bytes (bodies_bytes_max)",
                shared.bytes_max
            );
            Err(Error::new(ErrorKind::Busy, message))
        };
        if fits.is_err() {
            shared.used.fetch_sub(size, Ordering::Relaxed);
        }
        fits
    }

    /// A spare buffer, or none where there is none.
    fn spare(&self) -> Vec<u8> {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((bytes, _)) = spare.buffers.pop() else {
            return Vec::new();
        };
        spare.bytes -= bytes.capacity();
        bytes
    }

    fn take_back(&self, mut bytes: Vec<u8>, booked: usize) {
        let shared = &self.0;
        shared.used.fetch_sub(booked, Ordering::Relaxed);
        let capacity = bytes.capacity();
        if capacity == 0 || capacity > SPARE_BYTES_MAX {
            return;
        }
        bytes.clear();
        let mut spare = shared.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = spare.bytes + capacity <= shared.budget.limit_bytes() / SPARE_PART;
        if fits && spare.buffers.len() < SPARE_COUNT_MAX {
            let charge = shared.budget.charge(Class::Ingest, capacity);
            spare.bytes += capacity;
            spare.buffers.push((bytes, charge));
        }
    }
}

/// Bytes whose memory is booked; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    ledger: Ledger,
    bytes: Vec<u8>,
    booked: Charge,
}

impl Buffer {
    /// Makes room for `size` bytes in all.
    ///
    /// # Errors
    /// `Busy` where the ledger or the budget has no room.
    pub(crate) fn reserve(&mut self, size: usize) -> Result<(), Error> {
        let booked = self.booked.bytes();
        if size > booked {
            self.ledger.book(&mut self.booked, size - booked)?;
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
    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), Error> {
        let need = self.bytes.len() + data.len();
        let booked = self.booked.bytes();
        if need > booked {
            self.reserve(need.max(booked * 2).max(4096))?;
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
        self.ledger.take_back(bytes, self.booked.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(bytes_max: usize) -> Ledger {
        Ledger::new(bytes_max, &Budget::new(64 << 20))
    }

    #[test]
    fn bodies_together_stay_within_the_limit() {
        let ledger = ledger(10_000);
        let mut one = ledger.buffer();
        one.append(&[1; 5_000]).unwrap();
        let mut other = ledger.buffer();
        let refusal = other.reserve(6_000).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Busy);
        assert!(refusal.message().contains("bodies_bytes_max"), "{refusal}");
        assert!(ledger.used() <= 10_000);
        drop(one);
        other.reserve(6_000).unwrap();
        drop(other);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn bodies_are_counted_in_the_budget_and_refused_where_it_is_used_up() {
        let ledger = ledger(32 << 20);
        let budget = Arc::clone(&ledger.0.budget);
        let rows = budget.charge(Class::Memtable, 48 << 20);
        let mut body = ledger.buffer();
        body.reserve(1 << 20).unwrap();
        assert_eq!(budget.usage().class(Class::Ingest), 1 << 20);
        let refusal = ledger.buffer().reserve(16 << 20).unwrap_err();
        assert!(refusal.message().contains("memory_budget"), "{refusal}");
        assert_eq!(budget.usage().class(Class::Ingest), 1 << 20);
        drop(body);
        // It waits for the next request.
        assert_eq!(budget.usage().class(Class::Ingest), 1 << 20);
        drop((rows, ledger));
        assert_eq!(budget.usage().total(), 0);
    }

    #[test]
    fn a_buffer_is_used_again() {
        let ledger = ledger(1 << 20);
        let mut first = ledger.buffer();
        first.append(&vec![7; 50_000]).unwrap();
        let place = first.as_ptr();
        drop(first);
        let mut second = ledger.buffer();
        second.reserve(1).unwrap();
        assert_eq!((second.as_ptr(), second.len()), (place, 0));
    }
}
