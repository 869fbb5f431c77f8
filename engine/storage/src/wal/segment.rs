//! Makes segments and appends groups to the last one. One owner at a time, who holds it while it
//! writes; queues and waiters are no business of this module.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::recover::{FOLDER, remove, segment_path};
use super::report::LogEnd;
use super::scan::to_usize;
use super::scrub::ClosedSegment;
use crate::env::{Env, WriteFile};
use crate::error::{Error, ErrorKind, Result, is_out_of_descriptors};
use crate::format::wal::{
    GROUP_HEADER_BYTES, GroupHeader, RECORD_HEADER_BYTES, RecordHeader, SECTOR, SECTOR_BYTES, Seal,
    SegmentHeader, record_size,
};
use crate::model::Sequence;
use crate::sabotage::{self, Fault};

/// What a record is to the log: a kind of the caller's numbering, and bytes.
pub type Record = (u8, Vec<u8>);

static ZEROS: [u8; SECTOR] = [0; SECTOR];

/// Why a group was not written.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing durable was touched by the failure; the log can go on.
    Group(Error),
    /// A sync failed: what it means is unknown, and final for its segment.
    Sync(Error),
}

pub(super) type Outcome<T> = std::result::Result<T, Failed>;

#[derive(Debug)]
struct Active {
    file: Box<dyn WriteFile>,
    number: u64,
    seal: Seal,
    offset: u64,
    size: u64,
    /// Last sequence written to it, or before it.
    last: u64,
    unsynced: bool,
    /// Some of what is unsynced was acknowledged, to a caller who asked for no more.
    owed: bool,
}

/// What is known of a segment that is not written to any more.
#[derive(Clone, Copy, Debug)]
struct Old {
    /// The last sequence that was given in it, refused or not.
    last: u64,
    /// The last that was durable in it.
    durable: u64,
}

#[derive(Debug)]
pub(super) struct Writer {
    env: Arc<dyn Env>,
    directory_id: u128,
    segment_bytes: u64,
    active: Option<Active>,
    /// Segments that are not written to any more, by number.
    old: BTreeMap<u64, Old>,
    next_number: u64,
    /// The sequence that the next record gets.
    next_sequence: u64,
    durable: u64,
    pub(super) segments_made: u64,
}

/// How much of the disk a new segment takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// What segments have, so that a full disk shows when one is made.
    Usual,
    /// Where the disk does not have that, just what the group at hand needs.
    Least,
}

impl Writer {
    pub(super) fn new(
        env: Arc<dyn Env>,
        directory_id: u128,
        segment_bytes: u64,
        (found, number_max, last): (BTreeMap<u64, u64>, u64, u64),
    ) -> Writer {
        let old = |(number, last)| {
            let durable = last;
            (number, Old { last, durable })
        };
        Writer {
            env,
            directory_id,
            segment_bytes,
            active: None,
            old: found.into_iter().map(old).collect(),
            next_number: number_max + 1,
            next_sequence: last + 1,
            durable: last,
            segments_made: 0,
        }
    }

    /// Everything up to here is durable.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Whether there are written bytes that were never synced.
    pub(super) fn is_unsynced(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.unsynced)
    }

    /// Appends `records` as one group, in a new segment if they do not fit, and says how many bytes
    /// that took. Nothing is synced. On an error their sequences are not used, or never again.
    pub(super) fn append(&mut self, records: &[&Record], room: Room) -> Outcome<u64> {
        let sizes = records
            .iter()
            .map(|(_, payload)| record_size(payload.len() as u64));
        let size_bytes = GROUP_HEADER_BYTES as u64 + sizes.sum::<u64>();
        let space = size_bytes.next_multiple_of(SECTOR_BYTES);
        let fits = |active: &Active| active.offset + space <= active.size;
        if !self.active.as_ref().is_some_and(fits) {
            self.begin_segment(space, room)?;
        }
        let durable = self.durable;
        let Some(active) = self.active.as_mut() else {
            let message = "no segment of the log is open";
            return Err(Failed::Group(Error::new(ErrorKind::Io, message)));
        };
        let group = GroupHeader {
            record_count: u32::try_from(records.len()).expect("a group's records are bounded"),
            first: self.next_sequence,
            size_bytes,
            durable,
        };
        let written = write_group(active, &group, records);
        // Used up in any case: bytes that carry them may be on disk.
        self.next_sequence = group.last() + 1;
        if let Err(error) = written {
            let error = Error::io("write to the log", segment_path(active.number), error);
            return Err(self.leave_after_failed_write(error));
        }
        active.offset += space;
        active.last = group.last();
        active.unsynced = true;
        Ok(space)
    }

    /// The segment's tail is unknown after a failed write: what lies before it is made durable, and
    /// the next group goes to another segment, which says that the refused sequences do not count.
    fn leave_after_failed_write(&mut self, error: Error) -> Failed {
        if let Err(failed) = self.sync() {
            return failed;
        }
        self.retire();
        Failed::Group(error.context("outcome unknown"))
    }

    /// Makes everything written durable, and says how long the disk took.
    pub(super) fn sync(&mut self) -> Outcome<Duration> {
        let Some(active) = self.active.as_mut().filter(|active| active.unsynced) else {
            return Ok(Duration::ZERO);
        };
        let before = self.env.monotonic();
        let mut synced = active.file.sync_data();
        if sabotage::is(Fault::SyncTriedAgain) && synced.is_err() {
            synced = active.file.sync_data();
        }
        if sabotage::is(Fault::SyncErrorSwallowed) {
            synced = Ok(());
        }
        match synced {
            Ok(()) => {
                (active.unsynced, active.owed) = (false, false);
                self.durable = active.last;
                Ok(self.env.monotonic().saturating_sub(before))
            }
            Err(error) => {
                let path = segment_path(active.number);
                let forgivable = is_full(&error) && !active.owed;
                self.retire();
                let doing = "sync the log, outcome unknown";
                // A full disk is no broken one where nothing that was acknowledged hangs on it.
                Err(if forgivable {
                    Failed::Group(Error::io(doing, path, error))
                } else {
                    Failed::Sync(broken(doing, &path, error))
                })
            }
        }
    }

    /// Notes that what is written was acknowledged before it is durable.
    pub(super) fn owe(&mut self) {
        if let Some(active) = &mut self.active {
            active.owed = active.unsynced;
        }
    }

    /// Stops writing to the active segment.
    fn retire(&mut self) {
        if let Some(active) = self.active.take() {
            let old = Old {
                last: active.last.max(self.next_sequence - 1),
                durable: active.last.min(self.durable),
            };
            self.old.insert(active.number, old);
        }
    }

    /// Makes and syncs a segment with room for `space` bytes of groups; the old one stays active
    /// unless that worked.
    pub(super) fn begin_segment(&mut self, space: u64, room: Room) -> Outcome<()> {
        if self.is_unsynced() {
            self.sync()?;
        }
        let least = SECTOR_BYTES + space;
        let usual = self.segment_bytes.max(least);
        match self.begin_sized(usual) {
            Err(Failed::Group(error))
                if room == Room::Least && usual > least && error.kind() == ErrorKind::NoSpace =>
            {
                self.begin_sized(least)
            }
            begun => begun,
        }
    }

    fn begin_sized(&mut self, size: u64) -> Outcome<()> {
        let number = self.next_number;
        let header = SegmentHeader {
            directory_id: self.directory_id,
            number,
            salt: self.env.random()[0],
            first: self.next_sequence,
            durable: self.durable,
        };
        // Whatever happens to it, its number is used up: a leftover is told by its header.
        self.next_number += 1;
        let file = match make_segment(&*self.env, &header, size) {
            Ok(file) => file,
            Err(failed) => {
                // Whoever opens the directory next removes or ignores what this leaves.
                drop(remove(&*self.env, number));
                return Err(failed);
            }
        };
        self.retire();
        self.segments_made += 1;
        self.active = Some(Active {
            file,
            number,
            seal: header.seal(),
            offset: SECTOR_BYTES,
            size,
            last: header.first - 1,
            unsynced: false,
            owed: false,
        });
        Ok(())
    }

    /// Segments that are not written to any more.
    pub(super) fn closed(&self) -> Vec<ClosedSegment> {
        let closed = self.old.iter().map(|(number, old)| ClosedSegment {
            number: *number,
            durable: Sequence(old.durable),
        });
        closed.collect()
    }

    /// Removes old segments that hold nothing above `through`, as far as the disk lets.
    pub(super) fn release(&mut self, through: u64) -> Result<()> {
        let mut outcome = Ok(());
        let env = &*self.env;
        self.old.retain(|number, old| {
            if old.last > through {
                return true;
            }
            let removed = remove(env, *number);
            let kept = removed.is_err();
            outcome = std::mem::replace(&mut outcome, Ok(())).and(removed);
            kept
        });
        outcome
    }

    /// Syncs, gives the unused space back and says where the log ends.
    pub(super) fn close(&mut self) -> Outcome<LogEnd> {
        self.sync()?;
        let Some(mut active) = self.active.take() else {
            let segment = self.old.keys().next_back().copied().unwrap_or(0);
            return Ok(LogEnd {
                segment,
                offset: 0,
                sequence: Sequence(self.durable),
            });
        };
        let path = segment_path(active.number);
        let io = |error| Error::io("give back unused space of the log", &path, error);
        let end = LogEnd {
            segment: active.number,
            offset: active.offset,
            sequence: Sequence(self.durable),
        };
        active
            .file
            .truncate(active.offset)
            .map_err(|error| Failed::Group(io(error)))?;
        active
            .file
            .sync_data()
            .map_err(|error| Failed::Sync(broken("sync the log", &path, error)))?;
        // Finished as any other: what is released behind the end takes it away.
        let old = Old {
            last: self.durable,
            durable: self.durable,
        };
        self.old.insert(active.number, old);
        Ok(end)
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// A failed sync is never a full disk to the caller: waiting for space would not mend it.
fn broken(doing: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(doing, path, std::io::Error::other(error))
}

fn make_segment(env: &dyn Env, header: &SegmentHeader, size: u64) -> Outcome<Box<dyn WriteFile>> {
    let path = segment_path(header.number);
    let io = |error| Error::io("make a segment of the log", &path, error);
    let refused = |error| Failed::Group(io(error));
    let unsynced = |error| {
        // Syncing a folder takes a descriptor: having none is no failed sync.
        if is_full(&error) || is_out_of_descriptors(&error) {
            refused(error)
        } else {
            Failed::Sync(broken("make a segment of the log", &path, error))
        }
    };
    let mut file = env.create(&path).map_err(refused)?;
    file.allocate(size).map_err(refused)?;
    file.write_at(0, &[IoSlice::new(&header.encode())])
        .map_err(refused)?;
    file.sync_data().map_err(unsynced)?;
    if !sabotage::is(Fault::SegmentNameNotDurable) {
        env.sync_dir(Path::new(FOLDER)).map_err(unsynced)?;
    }
    Ok(file)
}

fn zeros(count: u64) -> &'static [u8] {
    &ZEROS[..to_usize(count)]
}

fn write_group(
    active: &mut Active,
    group: &GroupHeader,
    records: &[&Record],
) -> std::io::Result<()> {
    let group_header = group.encode(active.seal, active.offset);
    let mut headers: Vec<[u8; RECORD_HEADER_BYTES]> = Vec::with_capacity(records.len());
    let mut at = active.offset + GROUP_HEADER_BYTES as u64;
    for (sequence, (kind, payload)) in (group.first..).zip(records) {
        headers.push(RecordHeader::encode(
            (*kind, payload),
            sequence,
            active.seal,
            at,
        ));
        at += record_size(payload.len() as u64);
    }
    let mut buffers = Vec::with_capacity(2 + records.len() * 3);
    buffers.push(IoSlice::new(&group_header));
    for (header, (_, payload)) in headers.iter().zip(records) {
        buffers.push(IoSlice::new(header));
        buffers.push(IoSlice::new(payload));
        let padding =
            record_size(payload.len() as u64) - (RECORD_HEADER_BYTES + payload.len()) as u64;
        buffers.push(IoSlice::new(zeros(padding)));
    }
    let end = active.offset + group.size_bytes;
    let padding = end.next_multiple_of(SECTOR_BYTES) - end;
    buffers.push(IoSlice::new(zeros(padding)));
    active.file.write_at(active.offset, &buffers)
}
