//! Deliberate faults, by which the tests are tested: each breaks a promise of the store in one place,
//! and the suite must find it (`cargo xtask sabotage`).
//!
//! They are switches at run time of a build with the feature `sabotage`, which nothing that is shipped
//! has: without it `is` is `false` at compile time and every fault is gone.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "their names say what they do; where they do it, the code"
)]
pub enum Fault {
    AcknowledgedBeforeSync = 1,
    SyncErrorSwallowed,
    SyncTriedAgain,
    SegmentNameNotDurable,
    BlockNameNotDurable,
    BlockNotSynced,
    ManifestNotSynced,
    CurrentNotDurable,
    LogReleasedBeforeManifest,
    PieceChecksumIgnored,
    ChecksumWithoutPlace,
    RecordChecksumIgnored,
    TailNotCut,
    DamageTakenForTail,
    DefinitionsLoggedOnce,
    OldestWinsInCompaction,
    DeleteForgottenByCompaction,
    DeleteLostAtRestart,
    DamagedBlockSkipped,
    NewerVersionOpened,
    RefusedRowsReplayed,
    CutManifestUnnoticed,
}

/// Every fault.
pub const FAULTS: [Fault; 22] = [
    Fault::AcknowledgedBeforeSync,
    Fault::SyncErrorSwallowed,
    Fault::SyncTriedAgain,
    Fault::SegmentNameNotDurable,
    Fault::BlockNameNotDurable,
    Fault::BlockNotSynced,
    Fault::ManifestNotSynced,
    Fault::CurrentNotDurable,
    Fault::LogReleasedBeforeManifest,
    Fault::PieceChecksumIgnored,
    Fault::ChecksumWithoutPlace,
    Fault::RecordChecksumIgnored,
    Fault::TailNotCut,
    Fault::DamageTakenForTail,
    Fault::DefinitionsLoggedOnce,
    Fault::OldestWinsInCompaction,
    Fault::DeleteForgottenByCompaction,
    Fault::DeleteLostAtRestart,
    Fault::DamagedBlockSkipped,
    Fault::NewerVersionOpened,
    Fault::RefusedRowsReplayed,
    Fault::CutManifestUnnoticed,
];

#[cfg(not(feature = "sabotage"))]
#[inline]
pub(crate) const fn is(_fault: Fault) -> bool {
    false
}

#[cfg(feature = "sabotage")]
pub(crate) use switch::is;
#[cfg(feature = "sabotage")]
pub use switch::set;

#[cfg(feature = "sabotage")]
mod switch {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Fault;

    /// Is looked for in what is shipped.
    static MARK: &str = "silverback is sabotaged";

    static NOW: AtomicU8 = AtomicU8::new(0);

    pub(crate) fn is(fault: Fault) -> bool {
        NOW.load(Ordering::Relaxed) == fault as u8
    }

    /// Makes the store commit one fault, or none. Gives the mark of such a build.
    pub fn set(fault: Option<Fault>) -> &'static str {
        NOW.store(fault.map_or(0, |fault| fault as u8), Ordering::SeqCst);
        MARK
    }
}
