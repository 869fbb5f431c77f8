//! Reads closed segments again while the log is in use, some groups at a time. What it finds is lost on
//! the disk alone: their records are in memory, or the segment would be gone.

use super::recover::{note_bytes, open_segment};
use super::replay::{Bounds, SegmentReplay, Step};
use super::report::{Damage, RecoveryReport, SequenceSpan};
use super::scan::Scan;
use crate::env::Env;
use crate::error::Result;
use crate::format::wal::{SECTOR_BYTES, Seal};
use crate::model::Sequence;

/// A segment that is not written to any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedSegment {
    /// Its number.
    pub number: u64,
    /// Everything it holds up to here was acknowledged, or may have been.
    pub durable: Sequence,
}

/// A closed segment that is being read.
#[derive(Debug)]
pub struct SegmentScrub {
    scan: Scan,
    /// None where nothing of it can be read.
    seal: Option<Seal>,
    durable: u64,
    /// Where the next group begins.
    at: u64,
    /// The sequence that comes next.
    expected: u64,
    report: RecoveryReport,
    payload: Vec<u8>,
    is_done: bool,
}

impl SegmentScrub {
    /// Opens a segment and has the system forget what it keeps of it: what is read comes from the disk.
    ///
    /// # Errors
    /// `Io` or `Busy` where it cannot be read, or was released meanwhile; `Conflict` where it is another's.
    pub fn open(env: &dyn Env, directory_id: u128, closed: ClosedSegment) -> Result<SegmentScrub> {
        let mut segment = open_segment(env, directory_id, closed.number)?;
        segment.scan.forget_cached();
        let mut report = RecoveryReport::default();
        if segment.header.is_none() {
            let end = segment.known.map_or(segment.scan.size, |_| SECTOR_BYTES);
            note_bytes(&mut report, &mut segment.scan, end)?;
        }
        Ok(SegmentScrub {
            seal: segment.known.map(|known| known.seal),
            durable: closed.durable.0,
            at: SECTOR_BYTES,
            expected: segment.known.map_or(0, |known| known.first),
            is_done: segment.known.is_none(),
            scan: segment.scan,
            report,
            payload: Vec::new(),
        })
    }

    /// Whether all of it was read.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Reads about so many bytes, one group at least: how many they were, and what is wrong with
    /// them. Nothing up to `released` is missed. Memory: the largest record.
    ///
    /// # Errors
    /// `Io`.
    pub fn advance(&mut self, released: Sequence, bytes: u64) -> Result<(u64, Vec<Damage>)> {
        let start = self.at;
        if let Some(seal) = self.seal {
            let mut reading = SegmentReplay {
                scan: &mut self.scan,
                seal,
                bounds: Bounds {
                    released: released.0,
                    required: self.durable,
                    limit: self.durable,
                },
                expected: self.expected,
                report: &mut self.report,
                replay: &mut |_, _, _| Ok(()),
                payload: std::mem::take(&mut self.payload),
            };
            while !self.is_done && self.at - start < bytes {
                match reading.advance(self.at)? {
                    Step::On(next) => self.at = next,
                    Step::End(end) => (self.at, self.is_done) = (end, true),
                }
            }
            self.expected = reading.expected;
            self.payload = reading.payload;
        }
        let first = self.expected.max(released.0 + 1);
        if self.is_done && self.seal.is_some() && first <= self.durable {
            self.report.damage.push(Damage {
                file: self.scan.path.clone(),
                offset: self.at,
                bytes: 0,
                lost: Some(SequenceSpan {
                    first: Sequence(first),
                    last: Sequence(self.durable),
                }),
                quarantine: None,
            });
        }
        let damage = std::mem::take(&mut self.report.damage);
        Ok((self.at - start, damage))
    }
}
