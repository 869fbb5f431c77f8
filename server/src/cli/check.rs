//! `silverback check DIR`.

use std::fmt::Write as _;
use std::path::PathBuf;

use silverback::Silverback;
use silverback::storage::db::CheckOptions;

use super::progress;
use crate::door::problem;
use crate::exit::{Exit, Failure};

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Data directory, or a backup
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Decode every value too, and compare what is stored twice
    #[arg(long)]
    deep: bool,
}

/// Reads every byte of a data directory, or of a backup, and verifies each checksum, without locking or changing it;
/// lists files that nothing refers to, which are no problem. Exit code 3 where something is wrong.
pub(super) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    if !args.dir.is_dir() {
        return Err(Failure::failed(format!(
            "{} is no directory",
            args.dir.display()
        )));
    }
    let bar = progress::bar();
    let options = CheckOptions { deep: args.deep };
    let report = Silverback::check_with(&args.dir, options, &mut |done, total| {
        progress::show(&bar, done, total);
    });
    bar.finish_and_clear();
    let report = report
        .map_err(|error| Failure::open(&error.context(&format!("check {}", args.dir.display()))))?;
    let mut text = String::new();
    for found in &report.problems {
        text.extend([&problem::sentence(found), "\n"]);
    }
    for orphan in &report.orphans {
        let (file, bytes) = (orphan.file.display(), orphan.bytes);
        writeln!(text, "{file}: nothing refers to it ({bytes} bytes)")
            .expect("writing to a string cannot fail");
    }
    let (files, bytes) = (report.files, report.bytes);
    let (records, rows) = (report.log_records, report.block_rows);
    let deep = if args.deep {
        format!(
            ", {} values, {} statistics",
            report.values, report.statistics
        )
    } else {
        String::new()
    };
    let verdict = match report.problems.len() {
        0 => "all well".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    writeln!(
        text,
        "{files} files, {bytes} bytes, {records} records of the log, {rows} rows in blocks{deep}: {verdict}"
    )
    .expect("writing to a string cannot fail");
    super::print(text.as_bytes())?;
    Ok(if report.problems.is_empty() {
        Exit::Done
    } else {
        Exit::ProblemsFound
    })
}
