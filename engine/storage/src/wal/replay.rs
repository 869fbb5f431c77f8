//! Reads one segment from its first record to where the log ends in it, and tells the torn tail of a
//! crash from damage: bad bytes are the end only where everything that must be there has been read.
//!
//! Changes nothing on disk.

use std::ops::Range;

use super::report::{Damage, RecoveryReport, SequenceSpan};
use super::scan::{Scan, Wanted, to_usize};
use crate::error::Result;
use crate::format::wal::{
    GROUP_HEADER_BYTES, GroupHeader, RECORD_HEADER_BYTES, RecordHeader, SECTOR_BYTES, Seal,
};
use crate::model::Sequence;
use crate::sabotage::{self, Fault};

/// Places of damage that are listed; the rest is counted.
const DAMAGE_LISTED_MAX: usize = 1000;

/// Takes one record when the log is opened: sequence, kind, payload.
pub type Replay<'a> = dyn FnMut(Sequence, u8, &[u8]) -> Result<()> + 'a;

/// What must be in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Up to here nothing is replayed or missed.
    pub(super) released: u64,
    /// Up to here everything must be there.
    pub(super) required: u64,
    /// Beyond here nothing is replayed.
    pub(super) limit: u64,
}

pub(super) struct SegmentReplay<'a, 'r> {
    pub(super) scan: &'a mut Scan,
    pub(super) seal: Seal,
    pub(super) bounds: Bounds,
    /// The sequence that comes next.
    pub(super) expected: u64,
    pub(super) report: &'a mut RecoveryReport,
    pub(super) replay: &'a mut Replay<'r>,
    pub(super) payload: Vec<u8>,
}

/// Where reading got to: on, or to the end of the log at an offset.
pub(super) enum Step {
    On(u64),
    End(u64),
}

impl SegmentReplay<'_, '_> {
    /// Replays the segment; the offset where the log ends in it.
    pub(super) fn run(&mut self) -> Result<u64> {
        let mut at = SECTOR_BYTES;
        loop {
            match self.advance(at)? {
                Step::On(next) => at = next,
                Step::End(end) => return Ok(end),
            }
        }
    }

    /// Replays the group at `at`, or what stands in its place.
    pub(super) fn advance(&mut self, at: u64) -> Result<Step> {
        if at >= self.scan.size {
            return Ok(Step::End(self.scan.size));
        }
        let group = self.scan.group(at, self.seal)?;
        match group.filter(|group| group.first >= self.expected) {
            Some(group) => self.group(at, &group),
            None if self.expected > self.bounds.required => Ok(Step::End(at)),
            None => self.without_group(at),
        }
    }

    fn group(&mut self, at: u64, group: &GroupHeader) -> Result<Step> {
        let next = group.next_offset(at);
        if group.first > self.expected {
            if self.expected > self.bounds.required {
                return Ok(Step::End(at));
            }
            self.damaged(at..at, self.expected, group.first - 1)?;
            self.expected = group.first;
        }
        if group.last() <= self.bounds.released {
            self.expected = group.last() + 1;
            return Ok(Step::On(next));
        }
        let end = at.saturating_add(group.size_bytes).min(self.scan.size);
        let start = at + GROUP_HEADER_BYTES as u64;
        match self.records(start, end, group.last())? {
            Step::On(end) => {
                self.padding(end, next)?;
                Ok(Step::On(next))
            }
            end @ Step::End(_) => Ok(end),
        }
    }

    /// Bytes that must hold a group and do not: the records in them up to the next group.
    fn without_group(&mut self, at: u64) -> Result<Step> {
        let next = self
            .scan
            .next_group(at + SECTOR_BYTES, self.seal, self.expected)?;
        let (end, last) = match next {
            Some((offset, group)) => (offset, group.first - 1),
            None => (self.scan.size, self.bounds.required),
        };
        if self.expected > last {
            // Nothing but the padding or the header of what was read already.
            self.damaged(at..end, 1, 0)?;
            return Ok(Step::On(end));
        }
        if next.is_none() && self.scan.content_end(at, end)? == at {
            // Zeros up to the end: nothing is damaged here, it is missing.
            return Ok(Step::End(at));
        }
        let found = self.scan.next_record(at, self.wanted(end, u64::MAX))?;
        let found_at = found.map_or(end, |(offset, _)| offset);
        let lost_last = found.map_or(last, |(_, header)| header.sequence - 1);
        self.damaged(at..found_at, self.expected, lost_last)?;
        self.expected = lost_last + 1;
        match self.records(found_at, end, last)? {
            Step::On(_) => Ok(Step::On(end)),
            stop @ Step::End(_) => Ok(stop),
        }
    }

    fn wanted(&self, end: u64, last: u64) -> Wanted {
        // So many records at most fit into the rest of the segment.
        let most = self.scan.size / RECORD_HEADER_BYTES as u64;
        Wanted {
            seal: self.seal,
            first: self.expected,
            last: last.min(self.expected.saturating_add(most)),
            end,
        }
    }

    /// The records from `at` to `end`, the last of which has the sequence `last`.
    fn records(&mut self, mut at: u64, end: u64, last: u64) -> Result<Step> {
        while self.expected <= last {
            let wanted = self.wanted(end, last);
            let header = self.scan.record(at, wanted)?;
            let Some(header) = header.filter(|header| header.sequence == self.expected) else {
                if self.expected > self.bounds.required {
                    return Ok(Step::End(at));
                }
                let found = self.scan.next_record(at, wanted)?;
                let next = found.map_or(end, |(offset, _)| offset);
                let lost_last = found.map_or(last, |(_, header)| header.sequence - 1);
                self.damaged(at..next, self.expected, lost_last)?;
                (at, self.expected) = (next, lost_last + 1);
                continue;
            };
            if header.sequence > self.bounds.limit {
                return Ok(Step::End(at));
            }
            if !self.record(at, &header)? {
                let is_tail = header.sequence > self.bounds.required;
                if is_tail || sabotage::is(Fault::DamageTakenForTail) {
                    return Ok(Step::End(at));
                }
                let bad_end = (at + header.size_bytes()).min(end);
                self.damaged(at..bad_end, header.sequence, header.sequence)?;
            }
            self.expected += 1;
            at += header.size_bytes();
        }
        Ok(Step::On(at))
    }

    /// Hands one record on; false if its payload is damaged.
    fn record(&mut self, at: u64, header: &RecordHeader) -> Result<bool> {
        let start = at + RECORD_HEADER_BYTES as u64;
        self.scan
            .copy(start, header.payload_bytes as usize, &mut self.payload)?;
        if !header.fits(&self.payload) && !sabotage::is(Fault::RecordChecksumIgnored) {
            return Ok(false);
        }
        if header.sequence > self.bounds.released {
            self.report.records += 1;
            self.report.payload_bytes += self.payload.len() as u64;
            (self.replay)(Sequence(header.sequence), header.kind, &self.payload)?;
        }
        self.padding(start + self.payload.len() as u64, at + header.size_bytes())?;
        Ok(true)
    }

    /// Bytes that must be zero.
    fn padding(&mut self, start: u64, end: u64) -> Result<()> {
        let content_end = self.scan.content_end(start, end)?;
        if content_end > start {
            self.damaged(start..content_end, 1, 0)?;
        }
        Ok(())
    }

    /// Notes bad bytes and the sequences they held, none where `first` is above `last`. Those that
    /// were released, or need not be there, are not missed.
    fn damaged(&mut self, bytes: Range<u64>, first: u64, last: u64) -> Result<()> {
        let lost = first.max(self.bounds.released + 1)..=last.min(self.bounds.required);
        if first <= last && lost.is_empty() {
            return Ok(());
        }
        self.report.damage_count += 1;
        if self.report.damage.len() < DAMAGE_LISTED_MAX {
            let content_end = self.scan.content_end(bytes.start, bytes.end)?;
            self.report.damage.push(Damage {
                file: self.scan.path.clone(),
                offset: bytes.start,
                bytes: content_end - bytes.start,
                lost: (first <= last).then(|| SequenceSpan {
                    first: Sequence(*lost.start()),
                    last: Sequence(*lost.end()),
                }),
                quarantine: None,
            });
        }
        Ok(())
    }
}

/// Copies the bad bytes of a segment, piece by piece.
pub(super) fn pieces(
    scan: &Scan,
    bytes: Range<u64>,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    const PIECE_BYTES: u64 = 256 << 10;
    let mut at = bytes.start;
    let mut piece = Vec::new();
    while at < bytes.end {
        piece.resize(to_usize((bytes.end - at).min(PIECE_BYTES)), 0);
        scan.read(at, &mut piece)?;
        take(at - bytes.start, &piece)?;
        at += piece.len() as u64;
    }
    Ok(())
}
