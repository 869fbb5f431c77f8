//! What is wrong with a line, in the words clients match, and where it stands.

use std::fmt;

/// What became of a bad line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineErrorKind {
    /// The line is no point: `unable to parse`.
    Unparsable,
    /// The line is a point that cannot be stored.
    Dropped,
    /// The point was stored without the part the reason names.
    Stripped,
}

/// A bad line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// What became of it.
    pub kind: LineErrorKind,
    /// The line's number in the body, from 1, counting every line feed.
    pub line: u32,
    /// Where in the line the reason lies, in bytes from 1.
    pub column: u32,
    /// The line from its first byte that is not blank, without its line feed, if unparsable.
    pub text: Box<[u8]>,
    /// Why, in InfluxDB's words.
    pub reason: String,
}

impl fmt::Display for LineError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            LineErrorKind::Unparsable => {
                let text = String::from_utf8_lossy(&self.text);
                write!(out, "unable to parse '{text}': {}", self.reason)?;
            }
            LineErrorKind::Dropped | LineErrorKind::Stripped => out.write_str(&self.reason)?,
        }
        write!(out, " (line {}, column {})", self.line, self.column)
    }
}
