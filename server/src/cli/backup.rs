//! `silverback backup` and `silverback restore`: a directory with all data, and back.

use std::path::{Path, PathBuf};

use indicatif::{HumanBytes, ProgressBar};
use serde_json::Value;
use silverback::{BackupReport, Silverback};

use super::client::Client;
use super::progress;
use super::target::{Missing, Target, TargetArgs};
use crate::exit::{Exit, Failure};

/// Options of `backup`.
#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Directory of the backup, on the server's machine; made if missing. One that has a backup of
    /// the same data gets what is new
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Options of `restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// Directory of the backup
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Directory to restore into: empty, or not there
    #[arg(long, value_name = "NEW")]
    data_dir: PathBuf,
}

/// Makes a backup: everything acknowledged before it began is in it, and every file was read back.
/// It does not count before its last step: whatever stops it, the last complete one stays valid.
pub(super) fn backup(args: &BackupArgs) -> Result<Exit, Failure> {
    let dir = std::path::absolute(&args.dir)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.dir.display())))?;
    let bar = progress::bar();
    let text = match args.target.open(Missing::Refuse)? {
        Target::Server(client) => from_server(&client, &dir, &bar)?,
        Target::Directory(engine) => {
            let report = engine.backup(&dir, &mut |at| {
                progress::show(&bar, at.done_bytes, at.total_bytes);
                Ok(())
            });
            let report = report.map_err(|error| Failure::failed(error.to_string()))?;
            Target::Directory(engine).close()?;
            summary(&report)
        }
    };
    bar.finish_and_clear();
    super::print(format!("{}: {text}\n", dir.display()).as_bytes())
}

/// Restores a backup; it stays as it is.
pub(super) fn restore(args: &RestoreArgs) -> Result<Exit, Failure> {
    let bar = progress::bar();
    let report = Silverback::restore(&args.dir, &args.data_dir, &mut |at| {
        progress::show(&bar, at.done_bytes, at.total_bytes);
        Ok(())
    });
    let report = report.map_err(|error| {
        let doing = format!("restore {}", args.dir.display());
        Failure::open(&error.context(&doing))
    })?;
    bar.finish_and_clear();
    let text = format!(
        "{}: {} files, {}, all verified; backup {}, every write up to {}\n",
        args.data_dir.display(),
        report.files,
        HumanBytes(report.bytes),
        report.number,
        report.through
    );
    super::print(text.as_bytes())
}

/// The report as a line.
fn summary(report: &BackupReport) -> String {
    format!(
        "backup {}, {} files, {}, all verified; {} files, {} new, {} of them linked; every write up \
         to {}",
        report.number,
        report.files,
        HumanBytes(report.bytes),
        report.new_files,
        HumanBytes(report.new_bytes),
        report.linked_files,
        report.through
    )
}

/// Has a server make the backup.
fn from_server(client: &Client, dir: &Path, bar: &ProgressBar) -> Result<String, Failure> {
    let path = dir
        .to_str()
        .ok_or_else(|| Failure::usage(format!("{} is not UTF-8", dir.display())))?;
    let mut outcome = None;
    client.lines("/admin/backup", &[("path", path)], &mut |line| {
        let number = |key: &str| line.get(key).and_then(Value::as_u64).unwrap_or(0);
        if let Some(error) = line.get("error").and_then(Value::as_str) {
            outcome = Some(Err(Failure::failed(error)));
        } else if line.get("status").is_some() {
            outcome = Some(Ok(summary(&BackupReport {
                number: number("number"),
                through: number("through"),
                files: number("files"),
                bytes: number("bytes"),
                new_files: number("new_files"),
                new_bytes: number("new_bytes"),
                linked_files: number("linked_files"),
            })));
        } else {
            progress::show(bar, number("done_bytes"), number("total_bytes"));
        }
    })?;
    outcome.unwrap_or_else(|| Err(Failure::failed("the server's answer ends early")))
}
