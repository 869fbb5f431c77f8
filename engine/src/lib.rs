//! Silverback, the embeddable time-series database: open a directory, write points, ask `InfluxQL`.
//!
//! ```
//! use silverback::{Options, Point, Silverback};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let db = Silverback::open(Options::new(path))?;
//! db.create_database("shop")?;
//! db.write_lines("shop", b"sales,town=Bern amount=4i 2000")?;
//! db.write_points("shop", &[Point::new("sales", 3000).tag("town", "Berlin").field("amount", 3_i64)])?;
//! let answer = db.query("shop", "SELECT sum(amount) FROM sales")?;
//! assert_eq!(answer.statements[0].series[0].rows[0][1], silverback::Cell::Integer(7));
//! db.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A directory has one owner at a time. All calls block; a call that writes returns when the points
//! are durable. [`Silverback`] is shared between threads by reference or in an `Arc`.

mod answer;
mod catalog;
mod delete;
mod point;
mod store;
mod write;

pub use answer::{Answer, AnswerSeries, StatementAnswer};
pub use delete::DeleteRequest;
pub use point::Point;
pub use silverback_query as query;
pub use silverback_query::result::Cell;
pub use silverback_query::source::Alter;
pub use silverback_storage as storage;
pub use silverback_storage::db::Discarded;
pub use silverback_storage::env::real::guard_mapped_files;
pub use silverback_storage::upkeep::backup::{BackupProgress, BackupReport, RestoreReport};
pub use silverback_storage::{Error, ErrorKind, Result};
pub use store::{Options, Silverback};
pub use write::{PendingWrite, WriteOutcome, WriteRequest};
