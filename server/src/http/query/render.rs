//! How the answer is written: the engine's writers over the pipe, compressed where asked.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use silverback::query::output::{CsvSink, Epoch, JsonOptions, JsonSink};
use silverback::query::result::{QueryError, QueryOptions, Stopped};

use super::pipe::Pipe;
use super::request::Form;
use crate::app::App;

/// Rows of a piece where the client does not say.
const CHUNK_ROWS: usize = 10_000;

/// What the client takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// CSV instead of JSON.
    pub(super) csv: bool,
    /// Compressed.
    pub(super) gzip: bool,
}

/// How the answer is written.
#[derive(Clone, Debug)]
pub(super) struct Style {
    wanted: Wanted,
    epoch: String,
    pretty: bool,
    /// Rows of a document where the answer comes in several.
    chunk_rows: Option<usize>,
}

impl Style {
    /// What the parameters ask.
    pub(super) fn of(form: &Form, wanted: Wanted) -> Style {
        let size = form.get("chunk_size").and_then(|size| size.parse().ok());
        let chunk_rows = size.filter(|size| *size > 0).unwrap_or(CHUNK_ROWS);
        Style {
            wanted,
            epoch: form.get("epoch").unwrap_or_default().to_owned(),
            pretty: form.get("pretty") == Some("true"),
            chunk_rows: (form.get("chunked") == Some("true")).then_some(chunk_rows),
        }
    }
}

/// Runs `text` and writes its answer to `pipe`.
pub(super) fn run(
    app: &App,
    text: &str,
    options: &QueryOptions,
    style: &Style,
    pipe: Pipe,
) -> Result<(), QueryError> {
    let out = if style.wanted.gzip {
        Out::Gzip(Box::new(GzEncoder::new(pipe, Compression::fast())))
    } else {
        Out::Plain(pipe)
    };
    let epoch = Epoch::of(&style.epoch);
    let out = if style.wanted.csv {
        let mut sink = CsvSink::new(out, epoch);
        app.engine.query_into(text, options, &mut sink)?;
        sink.finish()?
    } else {
        let json = JsonOptions {
            epoch,
            pretty: style.pretty,
            chunk_rows: style.chunk_rows,
        };
        let mut sink = JsonSink::new(out, json);
        app.engine.query_into(text, options, &mut sink)?;
        sink.finish()?
    };
    let size = out.finish().map_err(|_| Stopped)?;
    app.metrics.query_bytes.add(size);
    Ok(())
}

/// Where the answer's bytes go.
#[derive(Debug)]
enum Out {
    Plain(Pipe),
    Gzip(Box<GzEncoder<Pipe>>),
}

impl Out {
    /// Sends what is left and the end; how many bytes there were.
    fn finish(self) -> io::Result<u64> {
        let mut pipe = match self {
            Out::Plain(pipe) => pipe,
            Out::Gzip(encoder) => encoder.finish()?,
        };
        pipe.finish()?;
        Ok(pipe.written())
    }
}

impl Write for Out {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Out::Plain(pipe) => pipe.write(data),
            Out::Gzip(encoder) => encoder.write(data),
        }
    }

    /// Nothing is sent before its time: [`Out::finish`] sends what is left.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
