//! How the process ends: one code for each thing a script would do next.

use std::fmt;
use std::process::ExitCode;

use silverback::storage::{Error, ErrorKind};

/// The codes of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done,
    /// It failed while running.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// `check` found problems.
    ProblemsFound,
    /// Another process has the data directory, or a newer version wrote it.
    Locked,
    /// Stored bytes are damaged so that it cannot start.
    Corrupt,
    /// The disk is full at the start: try again later.
    DiskFull,
}

impl Exit {
    /// The number the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::ProblemsFound => 3,
            Exit::Locked => 4,
            Exit::Corrupt => 5,
            Exit::DiskFull => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why the process ends, for a person, and the code for a script.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// It failed while running.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, message)
    }

    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// Ends with `exit`, saying `message`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            message: message.into(),
        }
    }

    /// A data directory that could not be opened.
    pub(crate) fn open(error: &Error) -> Failure {
        let exit = match error.kind() {
            ErrorKind::Conflict => Exit::Locked,
            ErrorKind::Corrupt => Exit::Corrupt,
            ErrorKind::NoSpace => Exit::DiskFull,
            ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Busy
            | ErrorKind::Limit
            | ErrorKind::Io
            | ErrorKind::Closed
            | _ => Exit::Failed,
        };
        Failure::new(exit, error.to_string())
    }

    /// The code for the shell.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_not_to_start_has_its_code() {
        let code = |kind| Failure::open(&Error::new(kind, "x")).exit().code();
        assert_eq!(code(ErrorKind::Conflict), 4);
        assert_eq!(code(ErrorKind::Corrupt), 5);
        assert_eq!(code(ErrorKind::NoSpace), 75);
        assert_eq!(code(ErrorKind::Io), 1);
    }
}
