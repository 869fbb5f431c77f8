//! `silverback write`.

use std::io::Read as _;
use std::path::PathBuf;

use super::files;
use super::put::{BatchArgs, Put};
use super::target::{Missing, TargetArgs};
use crate::exit::{Exit, Failure};

/// Options of `write`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    silverback write -d demo --create 'cpu,host=a usage=12.5'\n  \
    silverback write -d demo --precision s < points.lp")]
pub(super) struct WriteArgs {
    #[command(flatten)]
    batch: BatchArgs,
    #[command(flatten)]
    target: TargetArgs,

    /// Make the database if there is none of that name, and the data directory with it
    #[arg(long)]
    create: bool,

    /// File of line protocol; - or neither file nor lines: stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "lines")]
    file: Option<PathBuf>,

    /// Lines of line protocol
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
}

/// Writes lines in one batch.
pub(super) fn write(args: &WriteArgs) -> Result<Exit, Failure> {
    let lines = match &args.file {
        _ if !args.lines.is_empty() => args.lines.join("\n").into_bytes(),
        Some(path) if path.as_os_str() != "-" => files::read(path)?,
        Some(_) | None => {
            let mut text = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut text);
            read.map_err(|error| Failure::failed(format!("read stdin: {error}")))?;
            text
        }
    };
    let missing = if args.create {
        Missing::Make
    } else {
        Missing::Refuse
    };
    let target = args.target.open(missing)?;
    if args.create {
        args.batch.create(&target)?;
    }
    let put = args.batch.put(&target, &lines.into());
    target.close()?;
    match put? {
        Put::Stored => Ok(Exit::Done),
        Put::Refused(reason) => Err(Failure::failed(reason)),
    }
}
