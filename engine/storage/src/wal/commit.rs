//! Group commit without a timer: the first who waits leads, writes and syncs everything that is
//! queued by then, publishes it in order, and tells the others.
//!
//! Invariants: sequences are given in the order of the queue; `apply` is called in that order, and
//! only for what is as durable as was asked; whoever is queued is led by somebody, or will be by the
//! next who waits; every submission ends in exactly one of `apply` and `refused`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counters::Counting;
use super::segment::{Failed, Outcome, Record, Room, Writer};
use super::ticket::{SharedSlot, Slot, Woken};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Sequence;
use crate::sabotage::{self, Fault};

/// A group takes no further submission beyond this size, so that the first in it need not wait for
/// what came long after. Bytes.
const GROUP_BYTES_MAX: usize = 16 << 20;
/// Records that one group can count.
const GROUP_RECORDS_MAX: usize = 1 << 20;

/// How safe a submission must be before it is published and acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On disk: what was acknowledged survives a power cut.
    #[default]
    Disk,
    /// Given to the system: it survives a kill, and a power cut once a later group or
    /// [`Wal::sync_written`](super::Wal::sync_written) has synced it.
    Buffered,
    /// In the queue of the log: acknowledged at once, published with its group, and lost where the
    /// process ends or the disk refuses before that.
    Memory,
}

/// What a submission was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its last sequence; none where it was acknowledged before it had one.
    pub sequence: Option<Sequence>,
    /// How safe it is: as was asked, or more where others in its group asked for more.
    pub durability: Durability,
}

type Apply = Box<dyn FnOnce(Sequence) + Send>;
type Refused = Box<dyn FnOnce(Vec<Record>, &Error) + Send>;

/// Records that go to the log together, and what happens then.
pub struct Submission {
    pub(super) records: Vec<Record>,
    pub(super) durability: Durability,
    pub(super) apply: Apply,
    pub(super) refused: Option<Refused>,
    /// What a segment that is made for it takes.
    room: Room,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Submission")
            .field("records", &self.records.len())
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Submission {
    /// `records`, each a kind and a payload, get sequences one after another. When they are durable
    /// `apply` is called with the first one, on the thread that leads: it publishes them to readers,
    /// must be short and must not call the log.
    pub fn new(records: Vec<Record>, apply: impl FnOnce(Sequence) + Send + 'static) -> Submission {
        Submission {
            records,
            durability: Durability::Disk,
            apply: Box::new(apply),
            refused: None,
            room: Room::Usual,
        }
    }

    /// The same, which goes into a segment of its own size where the disk has no room for a usual
    /// one: for what frees space.
    #[must_use]
    pub fn with_least_room(mut self) -> Submission {
        self.room = Room::Least;
        self
    }

    /// The same with another durability.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Submission {
        self.durability = durability;
        self
    }

    /// The same; where it is refused after it was queued, `refused` gets the records back, before
    /// the ticket tells: what others rely on must be logged again. It must not wait for the log.
    #[must_use]
    pub fn on_refused(
        mut self,
        refused: impl FnOnce(Vec<Record>, &Error) + Send + 'static,
    ) -> Submission {
        self.refused = Some(Box::new(refused));
        self
    }
}

/// What the log takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    /// A sync failed: nothing until a new segment was asked for.
    Failed,
    /// A sync failed again, or publishing panicked: nothing until it is opened anew.
    Sealed,
    Closed,
}

#[derive(Debug)]
pub(super) struct Queued {
    submission: Option<Submission>,
    bytes: usize,
    slot: SharedSlot,
}

impl Queued {
    pub(super) fn new(submission: Submission, bytes: usize) -> Queued {
        Queued {
            submission: Some(submission),
            bytes,
            slot: Arc::new(Slot::default()),
        }
    }

    pub(super) fn slot(&self) -> SharedSlot {
        Arc::clone(&self.slot)
    }

    /// Acknowledges what is to be no safer than the queue is.
    pub(super) fn acknowledge_early(&self) {
        if self.submission().durability == Durability::Memory {
            self.slot.complete(Ok(Acknowledged {
                sequence: None,
                durability: Durability::Memory,
            }));
        }
    }

    fn submission(&self) -> &Submission {
        (self.submission.as_ref()).expect("a submission leaves the queue whole and once")
    }

    /// Publishes it; gives the buffers back.
    fn apply(&mut self, first: u64) -> Vec<Record> {
        let submission = self.submission.take();
        let submission = submission.expect("a submission leaves the queue whole and once");
        (submission.apply)(Sequence(first));
        submission.records
    }

    pub(super) fn refuse(mut self, error: &Error) {
        if let Some(submission) = self.submission.take() {
            if let Some(refused) = submission.refused {
                refused(submission.records, error);
            }
            self.slot.complete(Err(error.duplicate()));
        }
    }
}

impl Drop for Queued {
    /// Nobody waits for ever, even where a panic passed by.
    fn drop(&mut self) {
        if !self.slot.is_done() {
            self.slot.complete(Err(sealed()));
        }
    }
}

fn sealed() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the log is read-only until it is opened anew",
    )
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) pending: Vec<Queued>,
    pub(super) pending_bytes: usize,
    pub(super) mode: Mode,
    leading: bool,
    /// Payload buffers to use again.
    spare: Vec<Vec<u8>>,
}

/// Everything that the face and its tickets share.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
    pub(super) durable: std::sync::atomic::AtomicU64,
    pub(super) counting: Counting,
    /// Why the last group was refused, if it was.
    refusal: Mutex<Option<Refusal>>,
}

/// Why nothing is written.
#[derive(Debug)]
struct Refusal {
    error: Error,
    /// When it was last seen whether that is still so, by the monotonic clock.
    seen: Option<Duration>,
}

/// Payload buffers kept for later, and their bytes: enough for the writers of a few cores.
const SPARE_BUFFERS_MAX: usize = 16;
const SPARE_BYTES_MAX: usize = 8 << 20;

impl Shared {
    pub(super) fn new(writer: Writer) -> Shared {
        Shared {
            durable: writer.durable().into(),
            queue: Mutex::new(Queue {
                pending: Vec::new(),
                pending_bytes: 0,
                mode: Mode::Open,
                leading: false,
                spare: Vec::new(),
            }),
            writer: Mutex::new(writer),
            counting: Counting::default(),
            refusal: Mutex::default(),
        }
    }

    /// Why nothing can be written as far as is known: the last group was refused, or nothing is
    /// taken any more. `None` for a log that was closed in order.
    pub(super) fn failing(&self) -> Option<Error> {
        let mode = self.queue().mode;
        if mode == Mode::Closed {
            return None;
        }
        let refusal = self.refusal();
        let refusal = refusal.as_ref().map(|refusal| refusal.error.duplicate());
        refusal.or_else(|| Shared::check_open(mode).err())
    }

    fn refusal(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn buffer(&self) -> Vec<u8> {
        self.queue().spare.pop().unwrap_or_default()
    }

    /// Blocks until `slot` is done, leading where nobody else does.
    pub(super) fn wait(&self, slot: &Slot) -> Result<Acknowledged> {
        loop {
            if let Some(outcome) = slot.outcome() {
                return outcome;
            }
            if self.take_the_lead() {
                self.lead_while(|| slot.is_done());
            } else if slot.sleep() == Woken::Lead {
                self.lead_while(|| slot.is_done());
            }
        }
    }

    /// Leads until nothing is queued, unless somebody else does.
    pub(super) fn lead(&self) {
        if self.take_the_lead() {
            self.lead_while(|| false);
        }
    }

    /// Leads until `done`, unless somebody else does. Where others are queued then and none of them
    /// sleeps, nobody leads.
    pub(super) fn lead_until(&self, done: impl Fn() -> bool) {
        if !self.take_the_lead() {
            return;
        }
        let unwinding = SealOnPanic(self);
        loop {
            self.commit();
            let mut queue = self.queue();
            let is_over = queue.pending.is_empty() || done();
            if is_over {
                let handed_over = (queue.pending.iter()).any(|queued| queued.slot.ask_to_lead());
                queue.leading = handed_over;
                break;
            }
        }
        drop(unwinding);
    }

    pub(super) fn needs_leader(&self) -> bool {
        let queue = self.queue();
        !queue.leading && !queue.pending.is_empty()
    }

    fn take_the_lead(&self) -> bool {
        let mut queue = self.queue();
        let free = !queue.leading && !queue.pending.is_empty();
        queue.leading |= free;
        free
    }

    /// Writes group after group. The lead ends with the queue, or goes to a sleeper once the leader's
    /// own matter is `done`; those who only poll are never left alone.
    fn lead_while(&self, done: impl Fn() -> bool) {
        let unwinding = SealOnPanic(self);
        loop {
            self.commit();
            let mut queue = self.queue();
            if queue.pending.is_empty() {
                queue.leading = false;
                break;
            }
            if done() && (queue.pending.iter()).any(|queued| queued.slot.ask_to_lead()) {
                break;
            }
        }
        drop(unwinding);
    }

    fn commit(&self) {
        let mut writer = self.writer();
        let mut group = self.take_group();
        if group.is_empty() {
            return;
        }
        let first = writer.next_sequence();
        match self.write(&mut writer, &group) {
            Ok(()) => {
                // What needs little may find room where the rest does not.
                let room = group.first().map(|first| first.submission().room);
                if room == Some(Room::Usual) {
                    drop(self.refusal().take());
                }
                self.publish(&mut group, first, writer.durable());
            }
            Err(Failed::Group(error)) => self.refuse(group, &error),
            Err(Failed::Sync(error)) => self.refuse_all(group, &error),
        }
    }

    /// Where the last group was refused, makes the segment that the next one would go to, if it is `interval`
    /// since that was tried last.
    pub(super) fn try_again(&self, now: Duration, interval: Duration) {
        match &mut *self.refusal() {
            None => return,
            Some(refusal) => {
                let seen = *refusal.seen.get_or_insert(now);
                if now.saturating_sub(seen) < interval {
                    return;
                }
                refusal.seen = Some(now);
            }
        }
        let mut writer = self.writer();
        if self.queue().mode != Mode::Open {
            return;
        }
        let made = writer.segments_made;
        let begun = writer.begin_segment(0, Room::Usual);
        Counting::add(&self.counting.segments, writer.segments_made - made);
        self.durable
            .store(writer.durable(), std::sync::atomic::Ordering::Release);
        match begun {
            Ok(()) => drop(self.refusal().take()),
            Err(Failed::Group(error)) => {
                if let Some(refusal) = &mut *self.refusal() {
                    refusal.error = error;
                }
            }
            Err(Failed::Sync(error)) => self.refuse_all(Vec::new(), &error),
        }
    }

    fn take_group(&self) -> Vec<Queued> {
        let mut queue = self.queue();
        let (mut bytes, mut records, mut count) = (0, 0, 0);
        let room = queue.pending.first().map(|first| first.submission().room);
        for queued in &queue.pending {
            // What needs little is not refused with what needs much.
            if Some(queued.submission().room) != room {
                break;
            }
            bytes += queued.bytes;
            records += queued.submission().records.len();
            if count > 0 && (bytes > GROUP_BYTES_MAX || records > GROUP_RECORDS_MAX) {
                break;
            }
            count += 1;
        }
        let later = queue.pending.split_off(count);
        let group = std::mem::replace(&mut queue.pending, later);
        queue.pending_bytes -= group.iter().map(|queued| queued.bytes).sum::<usize>();
        group
    }

    fn write(&self, writer: &mut Writer, group: &[Queued]) -> Outcome<()> {
        let records: Vec<&Record> = (group.iter())
            .flat_map(|queued| &queued.submission().records)
            .collect();
        let made = writer.segments_made;
        let room = group.first().map(|first| first.submission().room);
        let appended = writer.append(&records, room.unwrap_or(Room::Usual));
        Counting::add(&self.counting.segments, writer.segments_made - made);
        let bytes = appended?;
        let to_disk = |queued: &Queued| {
            queued.submission().durability == Durability::Disk
                && !sabotage::is(Fault::AcknowledgedBeforeSync)
        };
        if group.iter().any(to_disk) {
            self.counting.synced(writer.sync()?);
        } else {
            writer.owe();
        }
        Counting::add(&self.counting.groups, 1);
        Counting::add(&self.counting.submissions, group.len() as u64);
        Counting::add(&self.counting.records, records.len() as u64);
        Counting::add(&self.counting.bytes, bytes);
        Ok(())
    }

    /// Everybody's rows, then the watermark, then the tickets: whoever reads the watermark finds all
    /// up to it published, and whoever was answered finds it not below.
    fn publish(&self, group: &mut [Queued], mut next: u64, durable: u64) {
        let mut spent = Vec::new();
        let mut outcomes = Vec::with_capacity(group.len());
        for queued in &mut *group {
            let first = next;
            next += queued.submission().records.len() as u64;
            let records = queued.apply(first);
            spent.extend(records.into_iter().map(|(_, payload)| payload));
            outcomes.push(next - 1);
        }
        self.durable
            .store(durable, std::sync::atomic::Ordering::Release);
        for (queued, last) in group.iter().zip(outcomes) {
            let durability = if last <= durable {
                Durability::Disk
            } else {
                Durability::Buffered
            };
            queued.slot.complete(Ok(Acknowledged {
                sequence: Some(Sequence(last)),
                durability,
            }));
        }
        let mut queue = self.queue();
        for mut buffer in spent {
            let kept: usize = queue.spare.iter().map(Vec::capacity).sum();
            let fits = buffer.capacity() > 0 && kept + buffer.capacity() <= SPARE_BYTES_MAX;
            if fits && queue.spare.len() < SPARE_BUFFERS_MAX {
                buffer.clear();
                queue.spare.push(buffer);
            }
        }
    }

    fn refuse(&self, group: Vec<Queued>, error: &Error) {
        Counting::add(&self.counting.refused, group.len() as u64);
        let told = group.iter().filter(|queued| queued.slot.is_done()).count();
        Counting::add(&self.counting.refused_acknowledged, told as u64);
        let refusal = Refusal {
            error: error.duplicate(),
            seen: None,
        };
        *self.refusal() = Some(refusal);
        for queued in group {
            queued.refuse(error);
        }
    }

    /// A sync failed: `group` and everything queued is refused, and nothing more is taken.
    pub(super) fn refuse_all(&self, group: Vec<Queued>, error: &Error) {
        Counting::add(&self.counting.sync_failures, 1);
        let mut queue = self.queue();
        queue.mode = match queue.mode {
            Mode::Open if self.sync_failures() <= 1 => Mode::Failed,
            Mode::Open | Mode::Failed | Mode::Sealed => Mode::Sealed,
            Mode::Closed => Mode::Closed,
        };
        let pending = std::mem::take(&mut queue.pending);
        queue.pending_bytes = 0;
        drop(queue);
        self.refuse(group, error);
        self.refuse(pending, error);
    }

    fn sync_failures(&self) -> u64 {
        self.counting
            .sync_failures
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What the log says to whoever submits now.
    pub(super) fn check_open(mode: Mode) -> Result<()> {
        match mode {
            Mode::Open => Ok(()),
            Mode::Failed => Err(Error::new(
                ErrorKind::Io,
                "a sync of the log failed, and it waits for a new segment",
            )),
            Mode::Sealed => Err(sealed()),
            Mode::Closed => Err(Error::new(ErrorKind::Closed, "the log is closed")),
        }
    }
}

/// Seals the log where publishing panics: what readers see is not what the log says any more.
struct SealOnPanic<'a>(&'a Shared);

impl Drop for SealOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.queue();
            queue.mode = Mode::Sealed;
            queue.leading = false;
            let pending = std::mem::take(&mut queue.pending);
            queue.pending_bytes = 0;
            drop(queue);
            self.0.refuse(pending, &sealed());
        }
    }
}
