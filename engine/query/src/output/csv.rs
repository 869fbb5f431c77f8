//! InfluxDB's CSV: name and tags before the columns, a header whenever the columns change, times
//! always as integers.
//!
//! A statement's error stands as a line of its own; `InfluxDB` 1.6 leaves it out.

use std::io::Write;
use std::sync::Arc;

use crate::lineprotocol::escape_key;
use crate::output::Epoch;
use crate::output::value::push_plain_float;
use crate::result::{Cell, ResultSink, SeriesHeader, Stopped};

/// Bytes that wait before they are handed on.
const HELD_BYTES: usize = 64 << 10;

/// Writes an answer as CSV.
#[derive(Debug)]
pub struct CsvSink<W> {
    out: W,
    held: Vec<u8>,
    unit: i64,
    /// Columns of the header above; `None` where none stands above in this statement.
    columns: Option<Arc<[Box<[u8]>]>>,
    /// Name and tags of the series, ready to be repeated in each row.
    prefix: Vec<u8>,
    anything_written: bool,
}

impl<W: Write> CsvSink<W> {
    /// A sink that writes to `out`, times in `epoch` (text is nanoseconds here).
    pub fn new(out: W, epoch: Epoch) -> CsvSink<W> {
        CsvSink {
            out,
            held: Vec::new(),
            unit: match epoch {
                Epoch::Text => 1,
                Epoch::Divided(unit) => unit,
            },
            columns: None,
            prefix: Vec::new(),
            anything_written: false,
        }
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// [`Stopped`] where the writer refused.
    pub fn finish(mut self) -> Result<W, Stopped> {
        self.hand_on()?;
        self.out.flush().map_err(|_| Stopped)?;
        Ok(self.out)
    }

    fn hand_on(&mut self) -> Result<(), Stopped> {
        self.out.write_all(&self.held).map_err(|_| Stopped)?;
        self.held.clear();
        Ok(())
    }

    fn cell(&mut self, cell: &Cell) {
        // Numbers and words never need quotes.
        let out = &mut self.held;
        match cell {
            Cell::Null => {}
            Cell::Time(ns) => push_integer(out, ns / self.unit),
            Cell::Float(value) if value.is_finite() => push_plain_float(out, *value),
            Cell::Float(value) => out.extend_from_slice(go_word(*value).as_bytes()),
            Cell::Integer(value) => push_integer(out, *value),
            Cell::Unsigned(value) => push_integer(out, *value),
            Cell::Boolean(true) => out.extend_from_slice(b"true"),
            Cell::Boolean(false) => out.extend_from_slice(b"false"),
            Cell::String(bytes) => push_field(out, bytes),
            Cell::Strings(strings) => push_field(out, &strings.join(&b","[..])),
        }
    }
}

impl<W: Write> ResultSink for CsvSink<W> {
    fn statement(&mut self, _: usize) -> Result<(), Stopped> {
        self.columns = None;
        Ok(())
    }

    fn series(&mut self, header: &SeriesHeader) -> Result<(), Stopped> {
        if self.columns.as_ref() != Some(&header.columns) {
            if self.anything_written {
                self.held.push(b'\n');
            }
            self.anything_written = true;
            self.held.extend_from_slice(b"name,tags");
            for column in header.columns.iter() {
                self.held.push(b',');
                push_field(&mut self.held, column);
            }
            self.held.push(b'\n');
            self.columns = Some(Arc::clone(&header.columns));
        }
        self.prefix.clear();
        push_field(&mut self.prefix, header.name.as_deref().unwrap_or_default());
        self.prefix.push(b',');
        let mut tags = Vec::new();
        for (key, value) in header.tags.iter().flatten() {
            if !value.is_empty() {
                if !tags.is_empty() {
                    tags.push(b',');
                }
                escape_key(key, &mut tags);
                tags.push(b'=');
                escape_key(value, &mut tags);
            }
        }
        push_field(&mut self.prefix, &tags);
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> Result<(), Stopped> {
        self.held.extend_from_slice(&self.prefix);
        for cell in cells {
            self.held.push(b',');
            self.cell(cell);
        }
        self.held.push(b'\n');
        if self.held.len() >= HELD_BYTES {
            self.hand_on()?;
        }
        Ok(())
    }

    fn message(&mut self, _: &str, _: &str) -> Result<(), Stopped> {
        Ok(())
    }

    fn end(&mut self, error: Option<&str>) -> Result<(), Stopped> {
        if let Some(error) = error {
            if self.anything_written {
                self.held.push(b'\n');
            }
            self.anything_written = true;
            push_error(&mut self.held, error);
        }
        Ok(())
    }
}

/// The body of an answer that is an error as a whole.
pub fn error_csv(error: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_error(&mut out, error);
    out
}

fn push_error(out: &mut Vec<u8>, error: &str) {
    out.extend_from_slice(b"error\n");
    push_field(out, error.as_bytes());
    out.push(b'\n');
}

fn push_integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// What Go calls a float that is not finite.
fn go_word(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// Appends a field, in quotes where Go's `encoding/csv` sets them.
fn push_field(out: &mut Vec<u8>, field: &[u8]) {
    let starts_with_space = String::from_utf8_lossy(field).starts_with(char::is_whitespace);
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if field != b"\\." && !starts_with_space && !field.iter().any(special) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for byte in field {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_repeat_name_and_tags_and_headers_come_when_columns_change() {
        let mut sink = CsvSink::new(Vec::new(), Epoch::Divided(1_000_000));
        let tags = [("dc", ""), ("host", "a b"), ("os", "x")];
        let tags = tags.map(|(key, value)| (key.as_bytes().into(), value.as_bytes().into()));
        sink.statement(0).unwrap();
        let header = SeriesHeader {
            tags: Some(tags.into()),
            ..SeriesHeader::plain(Some(b"\"q\""), &["time", "v"])
        };
        sink.series(&header).unwrap();
        sink.row(&[Cell::Time(1_600_000_000_999_999), Cell::Float(1e21)])
            .unwrap();
        sink.row(&[Cell::Null, Cell::string("x,y\n\"z\"")]).unwrap();
        sink.series(&SeriesHeader::plain(Some(b"m"), &["time", "v"]))
            .unwrap();
        sink.row(&[Cell::Integer(-1), Cell::Boolean(true)]).unwrap();
        sink.series(&SeriesHeader::plain(None, &["w"])).unwrap();
        sink.row(&[Cell::string(" lead")]).unwrap();
        sink.end(None).unwrap();
        sink.statement(1).unwrap();
        sink.end(None).unwrap();
        sink.statement(2).unwrap();
        sink.end(Some("no, not so")).unwrap();
        let text = String::from_utf8(sink.finish().unwrap()).unwrap();
        let expected = concat!(
            "name,tags,time,v\n",
            "\"\"\"q\"\"\",\"host=a\\ b,os=x\",1600000000,1000000000000000000000\n",
            "\"\"\"q\"\"\",\"host=a\\ b,os=x\",,\"x,y\n\"\"z\"\"\"\n",
            "m,,-1,true\n",
            "\nname,tags,w\n",
            ",,\" lead\"\n",
            "\nerror\n\"no, not so\"\n",
        );
        assert_eq!(text, expected);
        assert_eq!(error_csv("bad"), b"error\nbad\n");
    }
}
