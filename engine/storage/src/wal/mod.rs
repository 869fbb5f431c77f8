//! The log: what was acknowledged and is not in a block yet. One per data directory.
//!
//! It knows records as a kind and bytes, and never what they mean. What it promises:
//! - A record is published and acknowledged once it is durable, in the order of its sequence.
//! - Opening replays every acknowledged record above what was released, or names what is damaged or
//!   missing; what a crash left unfinished at the end is cut and no damage.
//! - A failed sync is final for its segment. What waited is refused and stays invisible.
//! - A full disk is none: it refuses, and works again when space returns.
//!
//! Memory: what is queued (bounded by [`WalOptions::queue_bytes_max`]) and, while it is opened, the
//! largest record.

mod commit;
mod counters;
mod fuzz;
mod recover;
mod replay;
mod report;
mod scan;
mod scrub;
mod segment;
mod ticket;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use commit::{Mode, Queued, Shared};
use segment::{Failed, Room, Writer};
use ticket::SharedSlot;

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::wal::{PAYLOAD_BYTES_MAX, record_size};
use crate::model::Sequence;

pub use commit::{Acknowledged, Durability, Submission};
pub use counters::{SYNC_BIN_ENDS_US, WalCounters};
#[doc(hidden)]
pub use fuzz::fuzz_reader;
pub(crate) use recover::QUARANTINE;
pub use recover::is_segment;
pub(crate) use recover::segment_path;
pub use replay::Replay;
pub use report::{Damage, LogEnd, RecoveryReport, SequenceSpan, TornTail, WalStart};
pub use scrub::{ClosedSegment, SegmentScrub};
pub use segment::Record;

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Size that a segment is made with; one group that is larger gets a segment of its own. Bytes.
    pub segment_bytes: u64,
    /// What may be queued at most, with headers. Bytes.
    pub queue_bytes_max: usize,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions {
            segment_bytes: 64 << 20,
            queue_bytes_max: 256 << 20,
        }
    }
}

/// The log, open for writing. Shared by all writers.
#[derive(Debug)]
pub struct Wal {
    shared: Arc<Shared>,
    options: WalOptions,
}

/// A submission's place in the queue.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    slot: SharedSlot,
}

impl Wal {
    /// Opens the log of the directory that `env` is, which is locked: `replay` gets every record
    /// above what was released, in order. Then the log is mended: the torn tail of a crash is cut,
    /// copies of damaged bytes go to `quarantine/`, released segments go. A second opening finds the
    /// same records and nothing to mend. Takes no space, so that a full disk can be opened.
    ///
    /// # Errors
    /// `Io` where the disk fails; `Conflict` for a segment of another directory or a newer format;
    /// `Corrupt` where segments contradict each other; whatever `replay` answers. Damage and missing
    /// records are no error: they are in the report.
    ///
    /// # Source
    /// docs/format/wal.md, "Reading after a stop".
    pub fn open(
        env: Arc<dyn Env>,
        options: WalOptions,
        start: WalStart,
        replay: &mut Replay<'_>,
    ) -> Result<(Wal, RecoveryReport)> {
        let mut found = recover::read(&*env, &start, replay)?;
        recover::mend(&*env, &start, &mut found)?;
        let state = (found.segments, found.number_max, found.last);
        let writer = Writer::new(env, start.directory_id, options.segment_bytes, state);
        let shared = Arc::new(Shared::new(writer));
        Ok((Wal { shared, options }, found.report))
    }

    /// Reads the log as [`Wal::open`] does and changes nothing.
    ///
    /// # Errors
    /// As [`Wal::open`].
    pub fn inspect(
        env: &dyn Env,
        start: &WalStart,
        replay: &mut Replay<'_>,
    ) -> Result<RecoveryReport> {
        Ok(recover::read(env, start, replay)?.report)
    }

    /// Queues a submission behind those that came before; never blocks on the disk. Nothing happens
    /// to it until somebody leads: a thread in [`Ticket::wait`], or [`Wal::lead`].
    ///
    /// # Errors
    /// `Invalid` without records, `Limit` for a payload above `PAYLOAD_BYTES_MAX`, `Busy` while the
    /// queue is full, `Io` after a failed sync until [`Wal::resume_in_new_segment`], `Closed` after a
    /// second one or [`Wal::close`]. Here `refused` is not called.
    pub fn submit(&self, submission: Submission) -> Result<Ticket> {
        if submission.records.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a submission has no records",
            ));
        }
        let mut bytes = 0;
        for (_, payload) in &submission.records {
            if payload.len() > PAYLOAD_BYTES_MAX {
                let message = format!(
                    "a record of {} bytes passes the log's limit of {PAYLOAD_BYTES_MAX}",
                    payload.len()
                );
                return Err(Error::new(ErrorKind::Limit, message));
            }
            bytes += scan::to_usize(record_size(payload.len() as u64));
        }
        let mut queue = self.shared.queue();
        Shared::check_open(queue.mode)?;
        if queue.pending_bytes > 0 && queue.pending_bytes + bytes > self.options.queue_bytes_max {
            return Err(Error::new(ErrorKind::Busy, "the queue of the log is full"));
        }
        let queued = Queued::new(submission, bytes);
        queued.acknowledge_early();
        let slot = queued.slot();
        queue.pending.push(queued);
        queue.pending_bytes += bytes;
        drop(queue);
        let shared = Arc::clone(&self.shared);
        Ok(Ticket { shared, slot })
    }

    /// Writes and syncs what is queued until nothing is, unless somebody does already. Blocks on the
    /// disk: for those whose tickets are polled, on a thread that may.
    pub fn lead(&self) {
        self.shared.lead();
    }

    /// The same until `done`, which is asked after each group: for those who wait for some
    /// submissions and not for an end of them. Others may be left queued without a leader: see
    /// [`Wal::needs_leader`].
    pub fn lead_until(&self, done: impl Fn() -> bool) {
        self.shared.lead_until(done);
    }

    /// Whether something is queued and nobody leads: whoever only polls asks this after a submit, and
    /// has [`Wal::lead`] called somewhere.
    pub fn needs_leader(&self) -> bool {
        self.shared.needs_leader()
    }

    /// An empty buffer for a payload, with the room that an earlier one took.
    pub fn buffer(&self) -> Vec<u8> {
        self.shared.buffer()
    }

    /// Every record up to here is durable, and published to readers; flush, caches and rollups stop
    /// here. What was published beyond it was asked for with less durability, or is in this moment
    /// being published.
    pub fn durable(&self) -> Sequence {
        Sequence(self.shared.durable.load(Ordering::Acquire))
    }

    /// Makes what was only written durable; to be called every 200 ms at most where
    /// [`Durability::Buffered`] is in use. Costs nothing where there is nothing.
    ///
    /// # Errors
    /// `Io` where the sync fails, which counts as any failed sync.
    pub fn sync_written(&self) -> Result<()> {
        Shared::check_open(self.shared.queue().mode)?;
        let mut writer = self.shared.writer();
        if !writer.is_unsynced() {
            return Ok(());
        }
        let synced = writer.sync();
        self.shared
            .durable
            .store(writer.durable(), Ordering::Release);
        match synced {
            Ok(took) => {
                self.shared.counting.synced(took);
                Ok(())
            }
            Err(Failed::Group(error)) => Err(error),
            Err(Failed::Sync(error)) => {
                self.shared.refuse_all(Vec::new(), &error);
                Err(error)
            }
        }
    }

    /// The last sequence that was given: everything up to it is published or was refused. Waits for
    /// a group that is being written.
    pub fn given(&self) -> Sequence {
        Sequence(self.shared.writer().next_sequence() - 1)
    }

    /// After a failed sync, and after everything published was flushed: makes and syncs a new
    /// segment, and takes submissions again. Nothing to do on an open log.
    ///
    /// # Errors
    /// `NoSpace` where the segment finds no room: call again when it does. `Io` where the disk fails
    /// again, and `Closed` from then on.
    pub fn resume_in_new_segment(&self) -> Result<()> {
        let mut writer = self.shared.writer();
        match self.shared.queue().mode {
            Mode::Failed => {}
            mode @ (Mode::Open | Mode::Sealed | Mode::Closed) => return Shared::check_open(mode),
        }
        match writer.begin_segment(0, Room::Usual) {
            Ok(()) => {
                self.shared.queue().mode = Mode::Open;
                Ok(())
            }
            Err(Failed::Group(error)) => Err(error),
            Err(Failed::Sync(error)) => {
                self.shared.refuse_all(Vec::new(), &error);
                Err(error)
            }
        }
    }

    /// Removes segments that hold nothing above `through`, which is durable elsewhere.
    ///
    /// # Errors
    /// `Io` where a file cannot be removed; the next call tries again.
    pub fn release(&self, through: Sequence) -> Result<()> {
        self.shared.writer().release(through.0)
    }

    /// Writes what is queued, refuses what another leader has not come to, syncs, gives reserved space back and takes nothing more. What it
    /// answers belongs into the manifest: with it a tail that is cut later is told from a crash.
    ///
    /// # Errors
    /// `Io` where the disk fails; `Closed` where the log was closed or sealed before.
    pub fn close(&self) -> Result<LogEnd> {
        self.lead();
        let mut writer = self.shared.writer();
        let mut queue = self.shared.queue();
        Shared::check_open(queue.mode)?;
        queue.mode = Mode::Closed;
        let late = std::mem::take(&mut queue.pending);
        queue.pending_bytes = 0;
        drop(queue);
        let error = Error::new(ErrorKind::Closed, "the log is closed");
        for queued in late {
            queued.refuse(&error);
        }
        let end = writer.close();
        self.shared
            .durable
            .store(writer.durable(), Ordering::Release);
        end.map_err(|failed| match failed {
            Failed::Group(error) | Failed::Sync(error) => error,
        })
    }

    /// Segments that are not written to any more and were not released yet. Waits for a group that is
    /// being written.
    pub fn closed_segments(&self) -> Vec<ClosedSegment> {
        self.shared.writer().closed()
    }

    /// Why writes are refused as of now, as far as the last of them tells.
    pub fn failing(&self) -> Option<Error> {
        self.shared.failing()
    }

    /// Where the last write was refused, sees whether one would be taken by now: makes the segment
    /// that it would go to, which then is there for it. To be called now and then, with the
    /// monotonic clock; it tries no sooner than `interval` after it tried last.
    pub fn try_again(&self, now: Duration, interval: Duration) {
        self.shared.try_again(now, interval);
    }

    /// Sums since the log was opened.
    pub fn counters(&self) -> WalCounters {
        self.shared.counting.read()
    }
}

impl Ticket {
    /// Blocks until the submission is published or refused; leads where nobody does. One that asked
    /// for [`Durability::Memory`] waits for nothing.
    ///
    /// # Errors
    /// Why it was refused: `NoSpace` with nothing written, `Io` with an unknown outcome, `Closed`.
    pub fn wait(self) -> Result<Acknowledged> {
        self.shared.wait(&self.slot)
    }

    /// The same without blocking and without leading; `waker` is woken when there is an outcome. See
    /// [`Wal::needs_leader`].
    ///
    /// # Errors
    /// As [`Ticket::wait`].
    pub fn poll(&self, waker: &Waker) -> Poll<Result<Acknowledged>> {
        self.slot.poll(waker)
    }
}

#[cfg(test)]
mod tests;
