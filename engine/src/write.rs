//! Writing: text or points in, what was stored and what was not out, durable when it says so.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use silverback_query::lineprotocol::{
    Keys, LineError, LineErrorKind, ParseOptions, Parsed, Precision, key_fault, line_text, parse,
};
use silverback_storage::budget::Budget;
use silverback_storage::db::{
    Durability, RejectReason, RejectedRow, Submitted, Ticket, WriteOptions,
};
use silverback_storage::model::Batch;
use silverback_storage::{Error, ErrorKind, Result};

use crate::point::{Point, batch, key_texts};
use crate::store::Silverback;

/// Where a write goes and how its text is read.
#[derive(Clone, Copy, Debug)]
pub struct WriteRequest<'a> {
    /// The database, which must exist.
    pub database: &'a str,
    /// The retention policy; the default one where absent.
    pub policy: Option<&'a str>,
    /// The unit of timestamps in text.
    pub precision: Precision,
    /// The time of a line without one, ns UTC; the clock's where absent.
    pub now_ns: Option<i64>,
    /// How safe the points must be before the write returns.
    pub durability: Durability,
}

impl<'a> WriteRequest<'a> {
    /// A write to the default policy of `database`, in nanoseconds, that returns when it is durable.
    pub fn new(database: &'a str) -> WriteRequest<'a> {
        WriteRequest {
            database,
            policy: None,
            precision: Precision::Nanosecond,
            now_ns: None,
            durability: Durability::Disk,
        }
    }

    fn options(&self) -> WriteOptions {
        WriteOptions {
            durability: self.durability,
        }
    }
}

/// What became of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    /// How many points were stored.
    pub stored: u64,
    /// The lines (or points, counted from 1) that were not, or not whole, in their order.
    pub errors: Vec<LineError>,
    /// How safe they are: as was asked, or safer where others that asked for more shared a sync.
    pub durability: Durability,
}

/// A write that is on its way to the disk.
#[derive(Debug)]
pub struct PendingWrite {
    ticket: Ticket,
    outcome: WriteOutcome,
    budget: Arc<Budget>,
    delay: Duration,
}

impl PendingWrite {
    /// Waits until the points are as durable as was asked, and visible; a little longer where memory
    /// is short, until some is free.
    ///
    /// # Errors
    /// `Io` where the disk failed (whether the points are stored is unknown), `NoSpace` where it is
    /// full, `Closed` where the store takes no writes any more.
    pub fn wait(self) -> Result<WriteOutcome> {
        let durability = self.ticket.wait()?;
        if !self.delay.is_zero() {
            self.budget.wait_for_relief(self.delay);
        }
        Ok(WriteOutcome {
            durability,
            ..self.outcome
        })
    }

    /// As [`PendingWrite::wait`] for an event loop: never blocks, wakes `waker` when it is time to
    /// ask again. Somebody must lead the log: [`Silverback::lead`]. See [`PendingWrite::delay`].
    ///
    /// # Errors
    /// As [`PendingWrite::wait`].
    pub fn poll(&mut self, waker: &Waker) -> Poll<Result<WriteOutcome>> {
        let polled = self.ticket.poll(waker);
        polled.map(|result| {
            result.map(|durability| WriteOutcome {
                durability,
                ..std::mem::take(&mut self.outcome)
            })
        })
    }
}

impl PendingWrite {
    fn new(silverback: &Silverback, submitted: Submitted, outcome: WriteOutcome) -> PendingWrite {
        PendingWrite {
            ticket: submitted.ticket,
            outcome,
            budget: Arc::clone(silverback.db().budget()),
            delay: submitted.delay,
        }
    }

    /// How long to hold the acknowledgement back behind [`PendingWrite::poll`], so that writers send
    /// less while memory is short. Zero where it is not.
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

impl Silverback {
    /// Writes line protocol to the default policy of `database`. Returns when it is durable.
    ///
    /// # Errors
    /// `Invalid`, naming the first line that is wrong, where not all lines were stored (the others
    /// are: [`Silverback::write`] tells more); else as [`Silverback::write`].
    pub fn write_lines(&self, database: &str, lines: &[u8]) -> Result<()> {
        whole(&self.write(&WriteRequest::new(database), lines)?)
    }

    /// Writes points to the default policy of `database`. Returns when they are durable.
    ///
    /// # Errors
    /// `Invalid` for a point that cannot be one, before any is stored; then as
    /// [`Silverback::write_lines`].
    pub fn write_points(&self, database: &str, points: &[Point]) -> Result<()> {
        let (text, ends) = key_texts(points)?;
        let batch = batch(points, &text, &ends, self.db().hasher());
        let stored = batch.row_count() as u64;
        let mut submitted =
            self.db()
                .write(database, None, batch, &Keys, WriteOptions::default())?;
        let rejected = std::mem::take(&mut submitted.rejected);
        let rejected = rejected.into_iter().map(|row| (row, None));
        let errors: Vec<_> = rejected.map(|(row, text)| line_error(&row, text)).collect();
        let outcome = WriteOutcome {
            stored: stored - errors.len() as u64,
            errors,
            ..WriteOutcome::default()
        };
        whole(&PendingWrite::new(self, submitted, outcome).wait()?)
    }

    /// Writes line protocol. Returns when the good lines are as durable as the request asks; the bad
    /// ones are listed.
    ///
    /// # Errors
    /// `NotFound` for the database or the policy, `Busy` where memory is short, and what
    /// [`PendingWrite::wait`] gives.
    pub fn write(&self, request: &WriteRequest<'_>, lines: &[u8]) -> Result<WriteOutcome> {
        self.submit(request, lines)?.wait()
    }

    /// As [`Silverback::write`], but returns when the write is queued.
    ///
    /// # Errors
    /// As [`Silverback::write`].
    pub fn submit(&self, request: &WriteRequest<'_>, lines: &[u8]) -> Result<PendingWrite> {
        let options = ParseOptions {
            hasher: self.db().hasher(),
            precision: request.precision,
            now_ns: request.now_ns.unwrap_or_else(|| self.now_ns()),
        };
        // What is parsed takes about as much as its text; it is counted as rows behind that.
        let parsing = self.db().budget().admit(lines.len())?;
        let Parsed { batch, mut errors } = parse(lines, options);
        let rows = batch.row_count() as u64;
        let mut submitted = self.db().write(
            request.database,
            request.policy,
            batch,
            &Keys,
            request.options(),
        )?;
        drop(parsing);
        let rejected = submitted.rejected.len() as u64;
        if rejected > 0 {
            let rejected = std::mem::take(&mut submitted.rejected);
            let texts = lines_of(lines, &rejected);
            let rejected = rejected.into_iter().zip(texts);
            errors.extend(rejected.map(|(row, text)| line_error(&row, Some(text))));
            errors.sort_by_key(|error| error.line);
        }
        let outcome = WriteOutcome {
            stored: rows - rejected,
            errors,
            ..WriteOutcome::default()
        };
        Ok(PendingWrite::new(self, submitted, outcome))
    }
}

impl Silverback {
    /// As [`Silverback::submit`], for rows that are columns already: their keys are texts of line
    /// protocol, hashed with [`Silverback::hasher`].
    ///
    /// # Errors
    /// As [`Silverback::write`].
    pub fn submit_batch(
        &self,
        request: &WriteRequest<'_>,
        batch: Batch<'_>,
    ) -> Result<PendingWrite> {
        let rows = batch.row_count() as u64;
        let mut submitted = self.db().write(
            request.database,
            request.policy,
            batch,
            &Keys,
            request.options(),
        )?;
        let rejected = std::mem::take(&mut submitted.rejected).into_iter();
        let errors: Vec<_> = rejected.map(|row| line_error(&row, None)).collect();
        let outcome = WriteOutcome {
            stored: rows - errors.len() as u64,
            errors,
            ..WriteOutcome::default()
        };
        Ok(PendingWrite::new(self, submitted, outcome))
    }
}

/// Nothing, if all of a write was stored.
fn whole(outcome: &WriteOutcome) -> Result<()> {
    match outcome.errors.first() {
        None => Ok(()),
        Some(error) => {
            let others = outcome.errors.len() - 1;
            let more = if others > 0 {
                format!("; and {others} more")
            } else {
                String::new()
            };
            Err(Error::new(ErrorKind::Invalid, format!("{error}{more}")))
        }
    }
}

/// The text of each rejected row's line, by its number: one pass over the body.
fn lines_of<'text>(body: &'text [u8], rejected: &[RejectedRow]) -> Vec<&'text [u8]> {
    let mut texts = Vec::with_capacity(rejected.len());
    let (mut start, mut line) = (0, 1);
    for row in rejected {
        while line < row.line {
            let rest = &body[start..];
            start += rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |at| at + 1);
            line += 1;
        }
        let blank = body[start..]
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t' | 0))
            .count();
        texts.push(line_text(body, start + blank));
    }
    texts
}

/// A rejected row as the protocol reports it.
fn line_error(row: &RejectedRow, text: Option<&[u8]>) -> LineError {
    let mut kind = LineErrorKind::Dropped;
    let mut column = 1;
    let mut reason = row.reason.to_string();
    if let RejectReason::Key(words) = &row.reason
        && let Some((at, why)) = key_fault(words)
    {
        kind = LineErrorKind::Unparsable;
        column = u32::try_from(at + 1).unwrap_or(u32::MAX);
        why.clone_into(&mut reason);
    }
    let text = match kind {
        LineErrorKind::Unparsable => text.unwrap_or_default().into(),
        LineErrorKind::Dropped | LineErrorKind::Stripped => Box::default(),
    };
    LineError {
        kind,
        line: row.line,
        column,
        text,
        reason,
    }
}
