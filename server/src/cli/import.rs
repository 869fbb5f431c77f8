//! `silverback import`: files of line protocol, plain or gzip, in batches of whole lines.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use silverback::query::lineprotocol::line_text;

use super::files;
use super::put::{BatchArgs, Put};
use super::target::{Missing, Target, TargetArgs};
use crate::exit::{Exit, Failure};

/// Text of a batch, about; and the longest line that is read.
const BATCH_BYTES: usize = 4 << 20;
const LINE_BYTES_MAX: usize = 20 << 20;

/// Options of `import`.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    batch: BatchArgs,
    #[command(flatten)]
    target: TargetArgs,

    /// Files of line protocol; names that end in .gz are decompressed
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Imports all files into one database, which is made if there is none.
pub(super) fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    let mut total = 0;
    for path in &args.files {
        let size = std::fs::metadata(path).map_err(|error| files::failed(path, &error))?;
        total += size.len();
    }
    let target = args.target.open(Missing::Make)?;
    args.batch.create(&target)?;
    let bar = ProgressBar::new(total).with_style(style());
    let mut refusals = 0_u64;
    for path in &args.files {
        refusals += file(args, &target, path, &bar)?;
    }
    bar.finish();
    target.close()?;
    if refusals > 0 {
        let text = format!("{refusals} batches had lines that were refused; the others are stored");
        return Err(Failure::failed(text));
    }
    Ok(Exit::Done)
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Imports one file; how many batches had refused lines.
fn file(
    args: &ImportArgs,
    target: &Target,
    path: &Path,
    bar: &ProgressBar,
) -> Result<u64, Failure> {
    let reader = bar.wrap_read(BufReader::new(files::open(path)?));
    let is_gzip = path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("gz"));
    let mut reader: Box<dyn Read> = if is_gzip {
        Box::new(MultiGzDecoder::new(reader))
    } else {
        Box::new(reader)
    };
    bar.set_message(path.display().to_string());
    let mut refusals = 0;
    let mut text = Vec::new();
    loop {
        let at_end = fill(&mut reader, &mut text).map_err(|error| files::failed(path, &error))?;
        let whole = if at_end {
            text.len()
        } else {
            whole_lines(&text)
        };
        if whole == 0 && !at_end {
            if text.len() > LINE_BYTES_MAX {
                let text = format!(
                    "{}: a line is longer than {LINE_BYTES_MAX} bytes",
                    path.display()
                );
                return Err(Failure::failed(text));
            }
            continue;
        }
        let rest = text.split_off(whole);
        let batch = std::mem::replace(&mut text, rest);
        if let Put::Refused(reason) = args.batch.put(target, &batch.into())? {
            refusals += 1;
            bar.suspend(|| complain(&format!("{}: {reason}", path.display())));
        }
        if at_end {
            return Ok(refusals);
        }
    }
}

/// One line to stderr.
fn complain(text: &str) {
    use std::io::Write as _;
    // A closed stderr is no reason to stop an import.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Reads about a batch more behind `text`; whether the file is at its end.
fn fill(reader: &mut dyn Read, text: &mut Vec<u8>) -> io::Result<bool> {
    let before = text.len();
    reader.take(BATCH_BYTES as u64).read_to_end(text)?;
    Ok(text.len() - before < BATCH_BYTES)
}

/// Where the last whole line of `text` ends. A line feed inside a quoted string ends no line.
fn whole_lines(text: &[u8]) -> usize {
    let mut at = 0;
    let mut whole = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\n' => {
                at += 1;
                whole = at;
            }
            b' ' | b'\t' | 0 => at += 1,
            b'#' => match memchr::memchr(b'\n', &text[at..]) {
                Some(length) => at += length,
                None => return whole,
            },
            _ => at += line_text(text, at).len(),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_end_behind_whole_lines() {
        let text = b"# x\n\n m f=1\nm s=\"a\nb\" 1\n  m f=3";
        assert_eq!(whole_lines(text), text.len() - 7);
        assert_eq!(whole_lines(b"m s=\"a\nb"), 0);
        assert_eq!(whole_lines(b"m f=1\n# unfinished"), 6);
        assert_eq!(whole_lines(b""), 0);
    }
}
