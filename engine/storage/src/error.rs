//! The one error type of the engine. Kinds are by what the caller does next; values, never handles.

use std::fmt;
use std::path::PathBuf;

/// The way out where nothing more can be opened.
const MORE_DESCRIPTORS: &str = "raise the limit of open files (ulimit -n, LimitNOFILE=)";

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call is wrong: mend it, do not repeat it.
    Invalid,
    /// What the call names does not exist.
    NotFound,
    /// The call contradicts what exists, or another process holds the directory.
    Conflict,
    /// Not now: repeat the call later, unchanged.
    Busy,
    /// A named limit would be passed.
    Limit,
    /// The disk is full: writes come back when space does, reads go on.
    NoSpace,
    /// The disk failed. After a failed sync the outcome of the write is unknown.
    Io,
    /// Stored bytes are damaged; [`Place`] says where.
    Corrupt,
    /// The store is closed, or read-only after a second disk failure.
    Closed,
}

/// Where in the store an error was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the data directory where possible.
    pub file: PathBuf,
    /// Byte offset from the start of the file.
    pub offset: u64,
}

/// An error of the engine: its kind, one sentence in the present tense, the place and the cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    place: Option<Place>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that says `message`, a sentence in the present tense without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            place: None,
            source: None,
        }
    }

    /// Damage at `offset` of `file`.
    pub fn corrupt(file: impl Into<PathBuf>, offset: u64, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Corrupt, message).at(file, offset)
    }

    /// What the operating system said while the engine did `doing`; a full disk or quota is
    /// [`ErrorKind::NoSpace`], a process or system that has no more descriptors is
    /// [`ErrorKind::Busy`], everything else [`ErrorKind::Io`].
    pub fn io(doing: &str, file: impl Into<PathBuf>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let full = matches!(source.kind(), StorageFull | QuotaExceeded);
        let kind = if full {
            ErrorKind::NoSpace
        } else if is_out_of_descriptors(&source) {
            ErrorKind::Busy
        } else {
            ErrorKind::Io
        };
        let source = if kind == ErrorKind::Busy {
            format!("{source}: {MORE_DESCRIPTORS}").into()
        } else {
            source.into()
        };
        Error {
            source: Some(source),
            ..Error::new(kind, doing).at(file, 0)
        }
    }

    /// The same error with its place.
    #[must_use]
    pub fn at(mut self, file: impl Into<PathBuf>, offset: u64) -> Self {
        self.place = Some(Place {
            file: file.into(),
            offset,
        });
        self
    }

    /// The same error, one step up: `doing: message`.
    #[must_use]
    pub fn context(mut self, doing: &str) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// What the caller does next.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The sentence alone, without place and cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where, if the error has a place.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// A second copy for another waiter. The cause is carried as its text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let source = self.source.as_ref().map(|source| source.to_string().into());
        Error {
            kind: self.kind,
            message: self.message.clone(),
            place: self.place.clone(),
            source,
        }
    }
}

/// Whether the process (EMFILE) or the system (ENFILE) can open nothing more: that passes, and says
/// nothing of any file.
pub fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23))
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        if let Some(place) = &self.place {
            write!(out, " ({}", place.file.display())?;
            // Damage has a place even where it is the first byte.
            if place.offset > 0 || self.kind == ErrorKind::Corrupt {
                write!(out, " at byte {}", place.offset)?;
            }
            out.write_str(")")?;
        }
        if let Some(source) = &self.source {
            write!(out, ": {source}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_reads_as_one_sentence() {
        let error = Error::corrupt("blocks/7.blk", 4096, "checksum differs").context("read page");
        assert_eq!(
            error.to_string(),
            "read page: checksum differs (blocks/7.blk at byte 4096)"
        );
    }

    #[test]
    fn damage_in_the_first_byte_has_its_offset_too() {
        let error = Error::corrupt("blocks/7.blk", 0, "checksum differs");
        assert_eq!(
            error.to_string(),
            "checksum differs (blocks/7.blk at byte 0)"
        );
    }

    #[test]
    fn a_full_disk_is_not_a_broken_one() {
        let full = std::io::Error::from_raw_os_error(28);
        assert_eq!(Error::io("write", "wal/1", full).kind(), ErrorKind::NoSpace);
        for code in [23, 24] {
            let busy = std::io::Error::from_raw_os_error(code);
            let busy = Error::io("open", "wal/1", busy);
            assert_eq!(busy.kind(), ErrorKind::Busy);
            assert!(busy.to_string().contains("ulimit -n"), "{busy}");
        }
        let broken = std::io::Error::from_raw_os_error(5);
        assert_eq!(Error::io("write", "wal/1", broken).kind(), ErrorKind::Io);
    }
}
