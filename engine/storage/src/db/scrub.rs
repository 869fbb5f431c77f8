//! Online verification: every block and registry file is read again from the disk, slowly and all
//! the time, or at once when somebody asks. What it finds is remembered as if a reader had met it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::block::Block;
use crate::db::Db;
use crate::db::core::{Core, lock};
use crate::db::stats::Problem;
use crate::env::StepOutcome;
use crate::error::{Error, ErrorKind, Result};
use crate::format::sealed::{PIECE_BYTES, SealedReader};
use crate::index::registry::RegistryFile;

/// A pass reads at least so many bytes a second, so that a small store is done in minutes.
const BYTES_PER_S_MIN: u64 = 1 << 20;

/// What scrubbing came to since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubCounters {
    /// Passes that were finished.
    pub passes: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes of the pass that runs.
    pub pass_bytes: u64,
    /// Bytes of it that are done.
    pub pass_done_bytes: u64,
    /// When the last pass ended, ns since 1970 UTC; 0 where none did.
    pub last_pass_ns: i64,
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Files read whole.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong with them.
    pub problems: Vec<Problem>,
}

/// A file to be read. It may be gone when its turn comes: it is not kept for this.
#[derive(Debug)]
enum Target {
    Block(Weak<Block>),
    Registry(Weak<RegistryFile>),
}

/// The pass that runs.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    /// Those not finished; the last one is being read.
    left: Vec<Target>,
    /// The next piece of it.
    piece: u64,
    /// When the pass began, by the monotonic clock.
    began: Option<Duration>,
    /// When bytes were read last.
    read: Option<Duration>,
    counters: ScrubCounters,
}

impl Target {
    /// What `check` says of the file; `None` where it is gone.
    fn with<T>(&self, check: impl FnOnce(&SealedReader) -> T) -> Option<T> {
        match self {
            Target::Block(block) => block.upgrade().map(|block| check(block.file())),
            Target::Registry(file) => file.upgrade().and_then(|file| file.sealed().map(check)),
        }
    }
}

impl Db {
    /// Reads every block and registry file from the disk at once and verifies each checksum; what is
    /// wrong is remembered for stats, too. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// `Closed` where the store is being closed.
    pub fn verify(&self) -> Result<VerifyReport> {
        let core = &self.core;
        let mut report = VerifyReport::default();
        for target in core.scrub_targets() {
            let found = target.with(|file| {
                file.scrub_frame().ok();
                for piece in 0..file.piece_count() {
                    if core.stopping.load(Ordering::Acquire) {
                        return Err(Error::new(ErrorKind::Closed, "the store is being closed"));
                    }
                    file.scrub_piece(piece).ok();
                }
                report.files += 1;
                report.bytes += file.size_bytes();
                Ok(file.problems())
            });
            let problems = found.transpose()?.unwrap_or_default();
            report
                .problems
                .extend(problems.iter().map(Problem::from_error));
        }
        Ok(report)
    }
}

impl Core {
    fn scrub_targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for database in self.all_databases() {
            let files = database.registry.files();
            targets.extend(
                files
                    .iter()
                    .map(|file| Target::Registry(Arc::downgrade(file))),
            );
            for state in database.stores().policies.values() {
                let blocks = state.blocks.iter();
                targets.extend(blocks.map(|block| Target::Block(Arc::downgrade(block))));
            }
        }
        targets
    }

    /// What the background step does: some pieces, as many as keep to the rate.
    pub(super) fn scrub_step(&self) -> StepOutcome {
        let interval = self.options.scrub_interval;
        if interval.is_zero() {
            return StepOutcome::Finished;
        }
        let now = self.env.monotonic();
        let mut scrub = lock(&self.scrub);
        if scrub.left.is_empty() {
            let rests = |began| now.saturating_sub(began) < interval;
            if scrub.began.is_some_and(rests) {
                return StepOutcome::Idle;
            }
            scrub.begin(self.scrub_targets(), now);
        }
        let since = scrub
            .read
            .map_or(Duration::ZERO, |read| now.saturating_sub(read));
        scrub.read = Some(now);
        let whole = u128::from(scrub.counters.pass_bytes);
        let rate = whole / u128::from(interval.as_secs().max(1));
        let rate = rate.max(u128::from(BYTES_PER_S_MIN));
        // After a long rest of the step it does not make up for all of it at once.
        let budget = rate * since.min(Duration::from_secs(2)).as_millis() / 1000;
        scrub.read_some(u64::try_from(budget).unwrap_or(u64::MAX));
        if scrub.left.is_empty() {
            scrub.counters.passes += 1;
            scrub.counters.last_pass_ns = self.env.now_ns();
        }
        StepOutcome::Idle
    }

    /// What scrubbing came to.
    pub(super) fn scrub_counters(&self) -> ScrubCounters {
        lock(&self.scrub).counters
    }
}

impl Scrub {
    fn begin(&mut self, targets: Vec<Target>, now: Duration) {
        self.left = targets;
        self.piece = 0;
        self.began = Some(now);
        let sizes = self.left.iter();
        let sizes = sizes.filter_map(|target| target.with(SealedReader::size_bytes));
        self.counters.pass_bytes = sizes.sum();
        self.counters.pass_done_bytes = 0;
    }

    /// Reads about so many bytes, one piece at least.
    fn read_some(&mut self, budget: u64) {
        let mut read = 0;
        while let Some(target) = self.left.last() {
            let piece = self.piece;
            let is_last = target.with(|file| {
                if piece == 0 {
                    // What is wrong is remembered with the file.
                    file.scrub_frame().ok();
                }
                file.scrub_piece(piece).ok();
                piece + 1 >= file.piece_count()
            });
            read += PIECE_BYTES as u64;
            self.piece += 1;
            if is_last.unwrap_or(true) {
                self.left.pop();
                self.piece = 0;
            }
            if read >= budget {
                break;
            }
        }
        self.counters.bytes += read;
        self.counters.pass_done_bytes += read;
        let (done, whole) = (self.counters.pass_done_bytes, self.counters.pass_bytes);
        self.counters.pass_done_bytes = done.min(whole);
    }
}
