//! Space on the disk that is kept back, so that on a full one the manifest can still say what is
//! dropped, which makes room. Given back at a clean stop; what a crash leaves is taken over.

use std::path::Path;
use std::time::Duration;

use crate::db::core::{Core, lock};
use crate::error::{Error, ErrorKind, Result};

/// The file.
pub(super) const RESERVE: &str = "RESERVE";
/// Of the size of all blocks, one part of so many.
pub(super) const SHARE: u64 = 200;
/// Edits of a small manifest fit.
pub(super) const BYTES_MIN: u64 = 64 << 10;
/// Nobody misses so much on a disk that holds 13 GB.
pub(super) const BYTES_MAX: u64 = 64 << 20;
/// It is made only where the disk has so many times its size free: it is no use to take the last.
pub(super) const ROOM: u64 = 4;
/// It is looked after no more often.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// Size of the file, 0 where there is none.
    bytes: u64,
    /// When it was looked after, by the monotonic clock.
    seen: Option<Duration>,
}

/// How much is to be kept back for blocks of so many bytes.
fn wanted(block_bytes: u64) -> u64 {
    (block_bytes / SHARE).clamp(BYTES_MIN, BYTES_MAX)
}

impl Core {
    /// Takes over what an earlier owner of the directory kept back.
    pub(super) fn find_reserve(&self) {
        let entries = self.env.list(Path::new("")).unwrap_or_default();
        let own = entries.iter().find(|entry| entry.name == RESERVE);
        lock(&self.reserve).bytes = own.map_or(0, |entry| entry.size_bytes);
    }

    /// Makes the reserve, or a larger one, where the disk has room.
    pub(super) fn keep_reserve(&self) {
        let now = self.env.monotonic();
        let seen = lock(&self.reserve).seen;
        if seen.is_some_and(|seen| now.saturating_sub(seen) < INTERVAL) {
            return;
        }
        // Before the reserve is locked: whoever holds the manifest may ask for it.
        let blocks: u64 = {
            let manifest = self.manifest();
            let blocks = manifest.state().blocks.values();
            blocks.map(|block| block.size_bytes).sum()
        };
        let mut reserve = lock(&self.reserve);
        reserve.seen = Some(now);
        let wanted = wanted(blocks);
        let free = self.env.free_bytes().unwrap_or(0);
        // Not for every block that comes: it may be half as large as it should.
        if reserve.bytes > wanted / 2 || free / ROOM < wanted {
            return;
        }
        if self.give(&mut reserve) || reserve.bytes == 0 {
            let path = Path::new(RESERVE);
            let made = self
                .env
                .create(path)
                .and_then(|mut file| file.allocate(wanted));
            match made {
                Ok(()) => reserve.bytes = wanted,
                // Another time.
                Err(_) => drop(self.env.remove(path)),
            }
        }
    }

    /// Gives the reserve to the disk; whether there was any.
    pub(super) fn give_reserve(&self) -> bool {
        let mut reserve = lock(&self.reserve);
        // It is made anew when the disk has room, and not at once.
        reserve.seen = Some(self.env.monotonic());
        self.give(&mut reserve)
    }

    fn give(&self, reserve: &mut Reserve) -> bool {
        if reserve.bytes == 0 || self.env.remove(Path::new(RESERVE)).is_err() {
            return false;
        }
        reserve.bytes = 0;
        true
    }

    /// Bytes kept back.
    pub(super) fn reserve_bytes(&self) -> u64 {
        lock(&self.reserve).bytes
    }

    /// Runs `work`, and where it meets a full disk, once more with the reserve given to it.
    ///
    /// # Errors
    /// As `work`.
    pub(super) fn with_reserve(&self, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        let done = work();
        let is_full = |error: &Error| error.kind() == ErrorKind::NoSpace;
        if done.as_ref().is_err_and(is_full) && self.give_reserve() {
            return work();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_half_percent_within_its_bounds() {
        assert_eq!(wanted(0), 64 << 10);
        assert_eq!(wanted(1 << 30), (1 << 30) / 200);
        assert_eq!(wanted(1 << 50), 64 << 20);
    }
}
