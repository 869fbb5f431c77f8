//! Online verification: every block, registry file and closed segment of the log, and the manifest,
//! is read again from the disk, slowly and all the time, or at once when somebody asks. What it finds
//! is remembered as if a reader had met it. What is in memory yet is written anew at once: rows of a
//! damaged segment to blocks, a damaged manifest under a new name.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::block::Block;
use crate::db::Db;
use crate::db::core::{Core, lock};
use crate::db::open::LOG_FOLDER;
use crate::db::stats::Problem;
use crate::env::StepOutcome;
use crate::error::{Error, ErrorKind, Result};
use crate::format::sealed::{PIECE_BYTES, SealedReader};
use crate::index::registry::RegistryFile;
use crate::wal::{ClosedSegment, Damage, SegmentScrub, Wal, segment_path};

/// A pass reads at least so many bytes a second, so that a small store is done in minutes.
const BYTES_PER_S_MIN: u64 = 1 << 20;
/// Of a segment of the log so much is read at once.
const LOG_PIECE_BYTES: u64 = 256 << 10;

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
    Segment(ClosedSegment),
    Manifest,
}

/// How far a file is read.
#[derive(Debug, Default)]
struct Place {
    /// The next piece of a sealed file.
    piece: u64,
    /// A segment of the log.
    segment: Option<SegmentScrub>,
}

/// What one piece came to.
#[derive(Debug, Default)]
struct Piece {
    bytes: u64,
    is_last: bool,
    /// What is wrong, but for what a sealed file remembers by itself.
    problems: Vec<Problem>,
}

/// The pass that runs.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    /// Those not finished; the last one is being read.
    left: Vec<Target>,
    place: Place,
    /// When the pass began, by the monotonic clock.
    began: Option<Duration>,
    /// When bytes were read last.
    read: Option<Duration>,
    counters: ScrubCounters,
}

impl Target {
    /// What `check` says of a sealed file; `None` where it is gone, or none.
    fn with<T>(&self, check: impl FnOnce(&SealedReader) -> T) -> Option<T> {
        match self {
            Target::Block(block) => block.upgrade().map(|block| check(block.file())),
            Target::Registry(file) => file.upgrade().and_then(|file| file.sealed().map(check)),
            Target::Segment(_) | Target::Manifest => None,
        }
    }
}

impl Db {
    /// Reads every block, registry file and closed segment of the log, and the manifest, from the disk
    /// at once and verifies each checksum; what is wrong is remembered for stats, too. Files that could
    /// not be opened, and so are set aside, are in the report as well. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// `Closed` where the store is being closed.
    pub fn verify(&self) -> Result<VerifyReport> {
        let core = &self.core;
        let mut report = VerifyReport::default();
        let mut is_log_damaged = false;
        for target in core.scrub_targets() {
            let mut place = Place::default();
            loop {
                if core.stopping.load(Ordering::Acquire) {
                    return Err(Error::new(ErrorKind::Closed, "the store is being closed"));
                }
                let piece = core.scrub_piece(&target, &mut place);
                is_log_damaged |= core.note_scrubbed(&target, &piece);
                report.problems.extend(piece.problems);
                if piece.is_last {
                    let sealed = target.with(|file| (file.size_bytes(), file.problems()));
                    let (bytes, found) = sealed.unwrap_or((piece.bytes, Vec::new()));
                    report.files += u64::from(bytes > 0);
                    report.bytes += bytes;
                    report
                        .problems
                        .extend(found.iter().map(Problem::from_error));
                    break;
                }
                if matches!(target, Target::Segment(_)) {
                    report.bytes += piece.bytes;
                }
            }
        }
        report.problems.extend(core.set_aside());
        core.save_log(is_log_damaged);
        Ok(report)
    }
}

impl Core {
    fn scrub_targets(&self) -> Vec<Target> {
        let mut targets = vec![Target::Manifest];
        let segments = self.wal.get().map(Wal::closed_segments);
        targets.extend(segments.into_iter().flatten().map(Target::Segment));
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

    /// What the manifest names and could not be opened: there is nothing to read again, and who asks
    /// whether all is well must hear of it.
    fn set_aside(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for database in self.all_databases() {
            let files = database.registry.files();
            let files = files.iter().filter_map(|file| file.fault());
            problems.extend(files.map(Problem::from_error));
            for state in database.stores().policies.values() {
                let blocks = state.damaged.iter().map(|block| &block.error);
                problems.extend(blocks.map(Problem::from_error));
            }
        }
        problems
    }

    /// Bytes of all that is to be read.
    fn scrub_bytes(&self, targets: &[Target]) -> u64 {
        let log = self.env.list(Path::new(LOG_FOLDER)).unwrap_or_default();
        let sizes = targets.iter().map(|target| match target {
            Target::Block(_) | Target::Registry(_) => {
                target.with(SealedReader::size_bytes).unwrap_or(0)
            }
            Target::Segment(closed) => {
                let path = segment_path(closed.number);
                let mut all = log.iter();
                let own = all.find(|entry| path.ends_with(&entry.name));
                own.map_or(0, |entry| entry.size_bytes)
            }
            Target::Manifest => self.manifest().standing().map_or(0, |own| own.end),
        });
        sizes.sum()
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
            scrub.left = self.scrub_targets();
            scrub.place = Place::default();
            scrub.began = Some(now);
            scrub.counters.pass_bytes = self.scrub_bytes(&scrub.left);
            scrub.counters.pass_done_bytes = 0;
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
        let budget = u64::try_from(budget).unwrap_or(u64::MAX);
        let is_log_damaged = scrub.read_some(self, budget);
        if scrub.left.is_empty() {
            scrub.counters.passes += 1;
            scrub.counters.last_pass_ns = self.env.now_ns();
        }
        drop(scrub);
        self.save_log(is_log_damaged);
        StepOutcome::Idle
    }

    /// What scrubbing came to.
    pub(super) fn scrub_counters(&self) -> ScrubCounters {
        lock(&self.scrub).counters
    }

    /// Reads the next piece of a file.
    fn scrub_piece(&self, target: &Target, place: &mut Place) -> Piece {
        match target {
            Target::Block(_) | Target::Registry(_) => {
                let piece = place.piece;
                place.piece += 1;
                let is_last = target.with(|file| {
                    // What is wrong is remembered with the file.
                    if piece == 0 {
                        file.scrub_frame().ok();
                    }
                    file.scrub_piece(piece).ok();
                    piece + 1 >= file.piece_count()
                });
                Piece {
                    // One that is gone or set aside is not read.
                    bytes: is_last.map_or(0, |_| PIECE_BYTES as u64),
                    is_last: is_last.unwrap_or(true),
                    problems: Vec::new(),
                }
            }
            Target::Segment(closed) => self
                .scrub_segment(*closed, &mut place.segment)
                .unwrap_or_else(|error| Piece {
                    problems: self.unless_released(*closed, &error).into_iter().collect(),
                    is_last: true,
                    bytes: 0,
                }),
            Target::Manifest => self.scrub_manifest(),
        }
    }

    fn scrub_segment(
        &self,
        closed: ClosedSegment,
        open: &mut Option<SegmentScrub>,
    ) -> Result<Piece> {
        let segment = match open {
            Some(segment) => segment,
            none => none.insert(SegmentScrub::open(&*self.env, self.directory_id, closed)?),
        };
        let released = self.manifest().state().flushed_through;
        let (bytes, damage) = segment.advance(released, LOG_PIECE_BYTES)?;
        Ok(Piece {
            bytes,
            is_last: segment.is_done(),
            problems: damage.iter().map(segment_problem).collect(),
        })
    }

    /// What keeps a segment from being read, unless it was let go of meanwhile, or that says nothing of it.
    fn unless_released(&self, closed: ClosedSegment, error: &Error) -> Option<Problem> {
        let segments = self.wal.get().map(Wal::closed_segments);
        let is_there = segments.is_some_and(|all| all.contains(&closed));
        (is_there && error.kind() != ErrorKind::Busy).then(|| Problem::from_error(error))
    }

    /// Reads the manifest, and where it is damaged writes it anew: what counts is in memory.
    fn scrub_manifest(&self) -> Piece {
        let whole = |bytes| Piece {
            bytes,
            is_last: true,
            problems: Vec::new(),
        };
        let Some(standing) = self.manifest().standing() else {
            return whole(0);
        };
        if standing.verify(&*self.env).is_ok() {
            return whole(standing.end);
        }
        // Once more while nobody writes it: it may have been written anew meanwhile.
        let mut manifest = self.manifest();
        let now = manifest.standing();
        let Some(Err(error)) = now.map(|standing| standing.verify(&*self.env)) else {
            return whole(standing.end);
        };
        if error.kind() == ErrorKind::Busy {
            return whole(0);
        }
        let mut problem = Problem::from_error(&error);
        problem.message += match manifest.renew() {
            Ok(()) => "; it was written anew from memory",
            Err(_) => "; it could not be written anew: without it the next start finds nothing",
        };
        Piece {
            problems: vec![problem],
            ..whole(standing.end)
        }
    }

    /// Remembers what a piece came to; whether a segment of the log was found damaged that was whole
    /// before.
    fn note_scrubbed(&self, target: &Target, piece: &Piece) -> bool {
        let mut is_new = false;
        for problem in &piece.problems {
            is_new |= self.report_once(problem);
        }
        is_new && matches!(target, Target::Segment(_))
    }

    /// Where the log is damaged on the disk, what it holds is in memory: a flush saves it.
    fn save_log(&self, is_damaged: bool) {
        if is_damaged {
            // How it goes is noted there.
            self.flush().ok();
        }
    }
}

impl Scrub {
    /// Reads about so many bytes, one piece at least; whether the log is damaged.
    fn read_some(&mut self, core: &Core, budget: u64) -> bool {
        let (mut read, mut is_log_damaged) = (0, false);
        while let Some(target) = self.left.last() {
            let piece = core.scrub_piece(target, &mut self.place);
            is_log_damaged |= core.note_scrubbed(target, &piece);
            read += piece.bytes;
            if piece.is_last {
                self.left.pop();
                self.place = Place::default();
            }
            if read >= budget {
                break;
            }
        }
        self.counters.bytes += read;
        self.counters.pass_done_bytes += read;
        let (done, whole) = (self.counters.pass_done_bytes, self.counters.pass_bytes);
        self.counters.pass_done_bytes = done.min(whole);
        is_log_damaged
    }
}

fn segment_problem(damage: &Damage) -> Problem {
    let what = match damage.bytes {
        0 => "a closed segment of the log ends before its last write".to_owned(),
        bytes => format!("{bytes} bytes of a closed segment of the log are damaged"),
    };
    Problem {
        message: format!("{what}; what it holds is in memory yet, and flushed to blocks"),
        file: Some(damage.file.clone()),
        offset: damage.offset,
    }
}
