//! Answers as they leave a query: a stream of statements, series and rows into a [`ResultSink`], so
//! that no answer need stand in memory whole. Knows nothing of JSON or CSV.

mod batch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::tz::TimeZone;
use silverback_storage::budget::QueryShare;
use silverback_storage::model::Tag;
use silverback_storage::{Error, ErrorKind};

pub use crate::result::batch::{BatchColumn, BatchPiece, BatchValue, RowBatch};
use crate::running::RunningQueries;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// No value.
    Null,
    /// A moment of the column `time`, ns UTC; shown as the client asked.
    Time(i64),
    /// A float; not finite is shown as null where the format has no word for it.
    Float(f64),
    /// A signed integer.
    Integer(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// True or false.
    Boolean(bool),
    /// Bytes, UTF-8 by convention.
    String(Box<[u8]>),
    /// Several strings in one cell.
    Strings(Vec<Box<[u8]>>),
}

impl Cell {
    /// The string cell of `bytes`.
    pub fn string(bytes: impl AsRef<[u8]>) -> Cell {
        Cell::String(bytes.as_ref().into())
    }
}

/// What stands above the rows of a series.
#[derive(Clone, Debug, Default)]
pub struct SeriesHeader {
    /// The measurement, or what `SHOW` calls it.
    pub name: Option<Box<[u8]>>,
    /// The values of the tags it is grouped by, sorted by key; `None` where not grouped by tags.
    pub tags: Option<Vec<Tag>>,
    /// The names of the columns; every row has as many cells. Headers of one statement mostly share them.
    pub columns: Arc<[Box<[u8]>]>,
    /// Times written as text are in this zone; `None`: UTC, written `Z`.
    pub zone: Option<TimeZone>,
}

impl SeriesHeader {
    /// A header without tags.
    pub fn plain(name: Option<&[u8]>, columns: &[&str]) -> SeriesHeader {
        SeriesHeader {
            name: name.map(Into::into),
            columns: columns.iter().map(|name| name.as_bytes().into()).collect(),
            ..SeriesHeader::default()
        }
    }
}

/// Nobody takes the answer any more: stop quietly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Takes an answer. The order of calls is
/// `(statement (series (row | rows)*)* message* end)*`.
pub trait ResultSink {
    /// Statement `id` (its index among those of the query) begins.
    ///
    /// # Errors
    /// [`Stopped`] where nobody takes the answer any more, here and in the other calls.
    fn statement(&mut self, id: usize) -> Result<(), Stopped>;

    /// A series begins. One without rows is shown as its header alone.
    ///
    /// # Errors
    /// See [`ResultSink::statement`].
    fn series(&mut self, header: &SeriesHeader) -> Result<(), Stopped>;

    /// A row of the series that began last; as many cells as that has columns.
    ///
    /// # Errors
    /// See [`ResultSink::statement`].
    fn row(&mut self, cells: &[Cell]) -> Result<(), Stopped>;

    /// Rows of the series that began last, as columns. As [`ResultSink::row`] for each of them.
    ///
    /// # Errors
    /// See [`ResultSink::statement`].
    fn rows(&mut self, batch: &RowBatch<'_>) -> Result<(), Stopped> {
        batch.each_row(|cells| self.row(cells))
    }

    /// A note of the statement, such as (`warning`, `deprecated use of ...`).
    ///
    /// # Errors
    /// See [`ResultSink::statement`].
    fn message(&mut self, level: &str, text: &str) -> Result<(), Stopped>;

    /// The statement ends, with what went wrong if something did.
    ///
    /// # Errors
    /// See [`ResultSink::statement`].
    fn end(&mut self, error: Option<&str>) -> Result<(), Stopped>;
}

/// Why a query failed, by what its caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryErrorKind {
    /// The text is not `InfluxQL`, and nothing was run: HTTP 400.
    Parse,
    /// The statement asks what cannot be answered: HTTP 200, inside its result. The other kinds as well.
    Statement,
    /// A named limit would be passed.
    Limit,
    /// It took longer than allowed.
    Timeout,
    /// It was killed, or nobody takes the answer any more.
    Interrupted,
    /// The store could not read or write.
    Storage,
}

/// A failed query: its kind and one sentence, `InfluxDB`'s own where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    kind: QueryErrorKind,
    message: String,
}

impl QueryError {
    /// An error of `kind` that says `message`.
    pub fn new(kind: QueryErrorKind, message: impl Into<String>) -> QueryError {
        QueryError {
            kind,
            message: message.into(),
        }
    }

    /// The text is not `InfluxQL`.
    pub fn parse(message: impl Into<String>) -> QueryError {
        QueryError::new(QueryErrorKind::Parse, message)
    }

    /// The statement asks what cannot be answered.
    pub fn statement(message: impl Into<String>) -> QueryError {
        QueryError::new(QueryErrorKind::Statement, message)
    }

    /// A limit would be passed.
    pub fn limit(message: impl Into<String>) -> QueryError {
        QueryError::new(QueryErrorKind::Limit, message)
    }

    /// What its caller does next.
    pub fn kind(&self) -> QueryErrorKind {
        self.kind
    }

    /// The sentence, as a client sees it behind `"error":`.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for QueryError {}

impl From<Stopped> for QueryError {
    fn from(_: Stopped) -> Self {
        QueryError::new(QueryErrorKind::Interrupted, "query interrupted")
    }
}

impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Conflict => {
                QueryError::statement(error.message())
            }
            ErrorKind::Limit => QueryError::limit(error.message()),
            ErrorKind::Busy
            | ErrorKind::NoSpace
            | ErrorKind::Io
            | ErrorKind::Corrupt
            | ErrorKind::Closed
            | _ => QueryError::new(QueryErrorKind::Storage, error.to_string()),
        }
    }
}

/// Bounds on what one query may cost. 0 = no bound, save for `text_bytes_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Length of the text, bytes.
    pub text_bytes_max: usize,
    /// Rows read, of all series together (`max-select-point`).
    pub points_max: u64,
    /// Series read (`max-select-series`).
    pub series_max: u64,
    /// Windows of `GROUP BY time`, of one statement (`max-select-buckets`).
    pub buckets_max: u64,
    /// Memory that one statement's rows, groups and windows hold, bytes.
    pub memory_bytes_max: u64,
}

impl Default for QueryLimits {
    fn default() -> Self {
        QueryLimits {
            text_bytes_max: 1 << 20,
            points_max: 0,
            series_max: 0,
            buckets_max: 0,
            memory_bytes_max: 1 << 30,
        }
    }
}

/// Set from outside to stop a query, asked by the query every few thousand rows.
#[derive(Debug, Default)]
pub struct StopFlag {
    state: AtomicU8,
    /// Called whenever the query asks, on whichever of its threads.
    on_check: Option<fn()>,
}

const GO_ON: u8 = 0;
const INTERRUPTED: u8 = 1;
const TIMED_OUT: u8 = 2;

impl StopFlag {
    /// A flag that calls `on_check` whenever the query asks, on whichever of its threads: for who lends
    /// it a thread and wants to know when it takes long.
    pub fn calling(on_check: fn()) -> StopFlag {
        StopFlag {
            state: AtomicU8::new(GO_ON),
            on_check: Some(on_check),
        }
    }

    /// Stops the query: it was killed, or its client left.
    pub fn interrupt(&self) {
        self.state.store(INTERRUPTED, Ordering::Relaxed);
    }

    /// Stops the query: its time is over.
    pub fn time_out(&self) {
        self.state.store(TIMED_OUT, Ordering::Relaxed);
    }

    /// Stops the query: memory is short, and writes come first.
    pub fn give_way(&self) {
        self.state.store(TIMED_OUT + 1, Ordering::Relaxed);
    }

    /// Whether the query may go on. Cost: one relaxed load, and the call that was asked for.
    ///
    /// # Errors
    /// `Interrupted`, `Timeout` or `Limit`, as it was told.
    pub fn check(&self) -> Result<(), QueryError> {
        if let Some(on_check) = self.on_check {
            on_check();
        }
        match self.state.load(Ordering::Relaxed) {
            GO_ON => Ok(()),
            INTERRUPTED => Err(Stopped.into()),
            TIMED_OUT => Err(QueryError::new(
                QueryErrorKind::Timeout,
                "query-timeout limit exceeded",
            )),
            _ => Err(QueryError::limit(
                "the query was stopped: memory is short, and writes come first; ask for less or raise \
                 memory_budget",
            )),
        }
    }
}

/// The value of a `$name` in the text.
#[derive(Clone, Debug, PartialEq)]
pub enum BindValue {
    /// A string literal.
    String(Box<str>),
    /// A float literal.
    Float(f64),
    /// An integer literal.
    Integer(i64),
    /// A boolean literal.
    Boolean(bool),
    /// A name.
    Identifier(Box<str>),
    /// A regular expression, without slashes.
    Regex(Box<str>),
    /// A duration literal, such as `10s`.
    Duration(Box<str>),
    /// What the client gave is none of these: an error with this text where the name is used.
    Wrong(Box<str>),
}

/// What a query is run with, besides its text.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// The database of sources that name none.
    pub database: Option<Box<str>>,
    /// The policy of sources that name neither policy nor database.
    pub policy: Option<Box<str>>,
    /// What `now()` is, ns UTC.
    pub now_ns: i64,
    /// Values of `$name`.
    pub params: Vec<(Box<str>, BindValue)>,
    /// Came by a method that should only read (HTTP GET): statements that change something are run
    /// and warned of.
    pub read_only_context: bool,
    /// Bounds.
    pub limits: QueryLimits,
    /// Stops it.
    pub stop: Arc<StopFlag>,
    /// Its part of the store's memory budget; none where nobody counts.
    pub memory: Option<Arc<QueryShare>>,
    /// Where it is listed while it runs; none where nobody lists queries.
    pub running: Option<Arc<RunningQueries>>,
}
