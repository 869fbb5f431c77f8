//! Files that a user names on the command line. They lie outside any data directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::exit::Failure;

/// Opens `path` for reading.
#[expect(
    clippy::disallowed_methods,
    reason = "a user's file, which no data directory's env knows"
)]
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| failed(path, &error))
}

/// Everything in `path`.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = open(path)?.read_to_end(&mut text);
    read.map_err(|error| failed(path, &error))?;
    Ok(text)
}

/// Reading `path` failed.
pub(super) fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("read {}: {error}", path.display()))
}
