//! `silverback check DIR`.

use std::fmt::Write as _;
use std::path::PathBuf;

use silverback::Silverback;

use crate::door::problem;
use crate::exit::{Exit, Failure};

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Data directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Reads every byte of a data directory and verifies each checksum, without locking or changing it.
/// Exit code 3 where something is wrong.
pub(super) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    if !args.dir.is_dir() {
        return Err(Failure::failed(format!(
            "{} is no directory",
            args.dir.display()
        )));
    }
    let report = Silverback::check(&args.dir)
        .map_err(|error| Failure::open(&error.context(&format!("check {}", args.dir.display()))))?;
    let mut text = String::new();
    for found in &report.problems {
        text.extend([&problem::sentence(found), "\n"]);
    }
    let (files, bytes) = (report.files, report.bytes);
    let (records, rows) = (report.log_records, report.block_rows);
    let verdict = match report.problems.len() {
        0 => "all well".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    writeln!(
        text,
        "{files} files, {bytes} bytes, {records} records of the log, {rows} rows in blocks: {verdict}"
    )
    .expect("writing to a string cannot fail");
    super::print(text.as_bytes())?;
    Ok(if report.problems.is_empty() {
        Exit::Done
    } else {
        Exit::ProblemsFound
    })
}
