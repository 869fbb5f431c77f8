//! What opening the log takes and tells.

use std::path::PathBuf;

use crate::model::Sequence;

/// Where the log ended at a clean stop, for the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// Number of the last segment; 0 if there never was one.
    pub segment: u64,
    /// Bytes of it.
    pub offset: u64,
    /// Last sequence of the log; everything up to it was durable.
    pub sequence: Sequence,
}

/// What the manifest knows about the log when it is opened.
#[derive(Clone, Copy, Debug)]
pub struct WalStart {
    /// The data directory the log must belong to.
    pub directory_id: u128,
    /// Records up to here are durable elsewhere: they are not replayed, and may be gone.
    pub released_through: Sequence,
    /// What the last clean stop left. It may be old: what it says was durable stays so.
    pub clean_end: Option<LogEnd>,
}

/// Sequences from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceSpan {
    /// The lowest.
    pub first: Sequence,
    /// The highest.
    pub last: Sequence,
}

/// What a crash left unfinished behind the end of the log. Normal; it was never acknowledged as
/// durable as far as anything recorded says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment, relative to the data directory.
    pub file: PathBuf,
    /// Where the log ends in it.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
}

/// Bytes that should be records and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment, relative to the data directory.
    pub file: PathBuf,
    /// Where the bad bytes begin.
    pub offset: u64,
    /// How many there are, zeros at their end not counted.
    pub bytes: u64,
    /// The acknowledged sequences that they held, if any did not survive.
    pub lost: Option<SequenceSpan>,
    /// Where the bad bytes were copied, relative to the data directory; `None` where there was no
    /// room for a copy.
    pub quarantine: Option<PathBuf>,
}

/// What was found when the log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Records handed to the caller.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Last sequence of the log; what is written next has a larger one.
    pub last: Option<Sequence>,
    /// The unfinished write at the end, if there was one.
    pub torn: Option<TornTail>,
    /// Damaged places, the first thousand.
    pub damage: Vec<Damage>,
    /// All damaged places.
    pub damage_count: u64,
    /// Acknowledged sequences of which no byte is there.
    pub missing: Vec<SequenceSpan>,
}

impl RecoveryReport {
    /// Whether everything that was ever acknowledged as durable is there.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.damage_count == 0
    }
}
