//! InfluxDB's JSON, byte for byte, as the answer comes: one document, or one per chunk of rows.
//!
//! Knows nothing of HTTP. Invariant: what has been written so far, ended by [`JsonSink::finish`],
//! is well-formed whenever the calls of [`ResultSink`] come in their order.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use crate::output::Epoch;
use crate::output::value::{TimeText, push_json_float};
use crate::result::{
    BatchColumn, BatchPiece, BatchValue, Cell, ResultSink, RowBatch, SeriesHeader, Stopped,
};

/// Bytes that wait before they are handed on.
const HELD_BYTES: usize = 256 << 10;

/// An answer that is longer gets room for [`HELD_BYTES`] at once, in place of being moved to twice the room
/// again and again.
const SHORT_BYTES: usize = 16 << 10;

/// How JSON is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonOptions {
    /// The column `time`.
    pub epoch: Epoch,
    /// Indented by four spaces.
    pub pretty: bool,
    /// One document for every so many rows; at least 1.
    pub chunk_rows: Option<usize>,
}

/// Writes an answer as JSON. One document is handed on in pieces; a chunk at once, so that the
/// client sees it.
#[derive(Debug)]
pub struct JsonSink<W> {
    out: W,
    held: Vec<u8>,
    options: JsonOptions,
    statement: usize,
    /// Where the statement's text begins in `held`; `None` when some of it is out already.
    statement_start: Option<usize>,
    document_open: bool,
    statements: usize,
    /// The series whose rows come; chunks repeat it.
    series: Option<SeriesHeader>,
    series_in_result: usize,
    rows_in_series: usize,
    messages: Vec<(Box<str>, Box<str>)>,
    clock: TimeText,
    /// The names of columns that were written last: series of a statement share them.
    columns: Arc<[Box<[u8]>]>,
    columns_text: Vec<u8>,
}

impl<W: Write> JsonSink<W> {
    /// A sink that writes to `out`.
    pub fn new(out: W, options: JsonOptions) -> JsonSink<W> {
        JsonSink {
            out,
            held: Vec::new(),
            options,
            statement: 0,
            statement_start: None,
            document_open: false,
            statements: 0,
            series: None,
            series_in_result: 0,
            rows_in_series: 0,
            messages: Vec::new(),
            clock: TimeText::default(),
            columns: Arc::default(),
            columns_text: b"[]".to_vec(),
        }
    }

    /// Ends the last document and hands everything on. A query without statements is `{}`.
    ///
    /// # Errors
    /// [`Stopped`] where the writer refused.
    pub fn finish(mut self) -> Result<W, Stopped> {
        if self.statements == 0 {
            self.held.extend_from_slice(b"{}\n");
        } else if self.document_open {
            self.close_document();
        }
        self.hand_on()?;
        self.out.flush().map_err(|_| Stopped)?;
        Ok(self.out)
    }

    fn chunked(&self) -> bool {
        self.options.chunk_rows.is_some()
    }

    fn hand_on(&mut self) -> Result<(), Stopped> {
        self.out.write_all(&self.held).map_err(|_| Stopped)?;
        self.held.clear();
        self.statement_start = None;
        Ok(())
    }

    /// A new line indented to `level`, if lines are wanted.
    fn line(&mut self, level: usize) {
        if self.options.pretty {
            self.held.push(b'\n');
            let length = self.held.len() + 4 * level;
            self.held.resize(length, b' ');
        }
    }

    /// `"name":` of an object at `level`, a comma before it unless it is the first.
    fn key(&mut self, level: usize, name: &str, first: bool) {
        if !first {
            self.held.push(b',');
        }
        self.line(level);
        push_string(&mut self.held, name.as_bytes());
        self.colon();
    }

    fn colon(&mut self) {
        self.held.push(b':');
        if self.options.pretty {
            self.held.push(b' ');
        }
    }

    fn array(&mut self, level: usize, items: &[Box<[u8]>]) {
        self.held.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.held.push(b',');
            }
            self.line(level + 1);
            push_string(&mut self.held, item);
        }
        if !items.is_empty() {
            self.line(level);
        }
        self.held.push(b']');
    }

    /// Begins a result, and the document before it where none is open.
    fn open_result(&mut self) {
        if self.document_open {
            self.held.push(b',');
        } else {
            self.held.push(b'{');
            self.key(1, "results", true);
            self.held.push(b'[');
            self.document_open = true;
        }
        self.line(2);
        self.held.push(b'{');
        self.key(3, "statement_id", true);
        let mut buffer = itoa::Buffer::new();
        let id = buffer.format(self.statement);
        self.held.extend_from_slice(id.as_bytes());
        self.series_in_result = 0;
    }

    fn open_series(&mut self, header: &SeriesHeader) {
        if self.series_in_result == 0 {
            self.key(3, "series", false);
            self.held.push(b'[');
        } else {
            self.held.push(b',');
        }
        self.series_in_result += 1;
        self.rows_in_series = 0;
        self.line(4);
        self.held.push(b'{');
        let mut first = true;
        if let Some(name) = header.name.as_ref().filter(|name| !name.is_empty()) {
            self.key(5, "name", true);
            push_string(&mut self.held, name);
            first = false;
        }
        if let Some(tags) = header.tags.as_ref().filter(|tags| !tags.is_empty()) {
            self.key(5, "tags", first);
            first = false;
            self.held.push(b'{');
            for (index, (key, value)) in tags.iter().enumerate() {
                if index > 0 {
                    self.held.push(b',');
                }
                self.line(6);
                push_string(&mut self.held, key);
                self.colon();
                push_string(&mut self.held, value);
            }
            self.line(5);
            self.held.push(b'}');
        }
        self.key(5, "columns", first);
        if Arc::ptr_eq(&self.columns, &header.columns) {
            self.held.extend_from_slice(&self.columns_text);
            return;
        }
        let start = self.held.len();
        self.array(5, &header.columns);
        self.columns_text = self.held[start..].to_vec();
        self.columns = Arc::clone(&header.columns);
    }

    fn close_series(&mut self, partial: bool) {
        if self.rows_in_series > 0 {
            self.line(5);
            self.held.push(b']');
        }
        if partial {
            self.key(5, "partial", false);
            self.held.extend_from_slice(b"true");
        }
        self.line(4);
        self.held.push(b'}');
    }

    /// Ends the result; `partial` where more of the statement follows in another document.
    fn close_result(&mut self, partial: bool, error: Option<&str>) {
        if self.series_in_result > 0 {
            self.line(3);
            self.held.push(b']');
        }
        if !partial && !self.messages.is_empty() {
            self.push_messages();
        }
        if partial {
            self.key(3, "partial", false);
            self.held.extend_from_slice(b"true");
        }
        if let Some(error) = error {
            self.key(3, "error", false);
            push_string(&mut self.held, error.as_bytes());
        }
        self.line(2);
        self.held.push(b'}');
    }

    fn push_messages(&mut self) {
        self.key(3, "messages", false);
        self.held.push(b'[');
        for (index, (level, text)) in std::mem::take(&mut self.messages).iter().enumerate() {
            if index > 0 {
                self.held.push(b',');
            }
            self.line(4);
            self.held.push(b'{');
            self.key(5, "level", true);
            push_string(&mut self.held, level.as_bytes());
            self.key(5, "text", false);
            push_string(&mut self.held, text.as_bytes());
            self.line(4);
            self.held.push(b'}');
        }
        self.line(3);
        self.held.push(b']');
    }

    fn close_document(&mut self) {
        self.line(1);
        self.held.push(b']');
        self.line(0);
        self.held.extend_from_slice(b"}\n");
        self.document_open = false;
    }

    /// Hands the open chunk on and begins the next of the same statement.
    fn next_chunk(&mut self, series_partial: bool) -> Result<(), Stopped> {
        self.close_series(series_partial);
        self.close_result(true, None);
        self.close_document();
        self.hand_on()?;
        self.statement_start = Some(0);
        self.open_result();
        Ok(())
    }

    fn time(&mut self, ns: i64) {
        let out = &mut self.held;
        match self.options.epoch {
            Epoch::Text => {
                let zone = self.series.as_ref().and_then(|series| series.zone.as_ref());
                out.push(b'"');
                self.clock.push(out, ns, zone);
                out.push(b'"');
            }
            Epoch::Divided(unit) => push_integer(out, ns / unit),
        }
    }

    fn cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Time(ns) => self.time(*ns),
            Cell::Strings(strings) => self.array(7, strings),
            Cell::Null
            | Cell::Float(_)
            | Cell::Integer(_)
            | Cell::Unsigned(_)
            | Cell::Boolean(_)
            | Cell::String(_) => push_cell(&mut self.held, cell),
        }
    }

    fn layout(&self, piece: &BatchPiece<'_>) -> Layout {
        let mut before = Vec::from(b",");
        if self.options.pretty {
            before.push(b'\n');
            before.resize(before.len() + 4 * 7, b' ');
        }
        let mut layout = Layout {
            text: Vec::new(),
            columns: Vec::new(),
            end: 0..0,
        };
        let mut start = 0;
        for (number, column) in piece.columns.iter().enumerate() {
            layout.text.extend_from_slice(&before);
            match column {
                BatchColumn::Constant(value) => push_value(&mut layout.text, *value),
                BatchColumn::Full(_) | BatchColumn::Sparse(..) => {
                    layout.columns.push((start..layout.text.len(), number));
                    start = layout.text.len();
                }
            }
        }
        layout.end = start..layout.text.len();
        layout
    }

    /// Writes one row of a piece: nothing is worked out for others.
    fn only_row(&mut self, piece: &BatchPiece<'_>, row: usize) -> Result<(), Stopped> {
        self.open_row()?;
        self.line(7);
        self.time(piece.timestamps[row]);
        for column in &piece.columns {
            self.held.push(b',');
            self.line(7);
            push_value(&mut self.held, column.value(row));
        }
        self.close_row()
    }

    /// Begins a row, and a chunk before it where the last is full.
    fn open_row(&mut self) -> Result<(), Stopped> {
        if self
            .options
            .chunk_rows
            .is_some_and(|max| self.rows_in_series >= max)
        {
            self.next_chunk(true)?;
            if let Some(header) = self.series.take() {
                self.open_series(&header);
                self.series = Some(header);
            }
        }
        if self.rows_in_series == 0 {
            self.key(5, "values", false);
            self.held.push(b'[');
        } else {
            self.held.push(b',');
        }
        self.rows_in_series += 1;
        self.line(6);
        self.held.push(b'[');
        Ok(())
    }

    fn close_row(&mut self) -> Result<(), Stopped> {
        self.line(6);
        self.held.push(b']');
        if !self.chunked() && self.held.len() >= HELD_BYTES {
            self.hand_on()?;
        } else if self.held.len() >= SHORT_BYTES && self.held.capacity() < HELD_BYTES {
            self.held
                .reserve_exact(HELD_BYTES + SHORT_BYTES - self.held.len());
        }
        Ok(())
    }
}

/// What is alike in all rows of a piece: the text between the values that change from row to row.
struct Layout {
    text: Vec<u8>,
    /// For each column that changes the text before it, and its number.
    columns: Vec<(Range<usize>, usize)>,
    /// The text behind the last of them.
    end: Range<usize>,
}

fn push_value(out: &mut Vec<u8>, value: BatchValue<'_>) {
    match value {
        BatchValue::Null => out.extend_from_slice(b"null"),
        BatchValue::Cell(cell) => push_cell(out, cell),
        BatchValue::Float(value) => push_float(out, value),
        BatchValue::Integer(value) => push_integer(out, value),
        BatchValue::Unsigned(value) => push_integer(out, value),
        BatchValue::Boolean(value) => push_boolean(out, value),
        BatchValue::String(bytes) => push_string(out, bytes),
    }
}

/// Appends a cell that does not depend on how the answer is laid out: no time, no list.
fn push_cell(out: &mut Vec<u8>, cell: &Cell) {
    match cell {
        Cell::Float(value) => push_float(out, *value),
        Cell::Null | Cell::Time(_) | Cell::Strings(_) => out.extend_from_slice(b"null"),
        Cell::Integer(value) => push_integer(out, *value),
        Cell::Unsigned(value) => push_integer(out, *value),
        Cell::Boolean(value) => push_boolean(out, *value),
        Cell::String(bytes) => push_string(out, bytes),
    }
}

fn push_float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        push_json_float(out, value);
    } else {
        out.extend_from_slice(b"null");
    }
}

fn push_boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

impl<W: Write> ResultSink for JsonSink<W> {
    fn statement(&mut self, id: usize) -> Result<(), Stopped> {
        if self.held.len() >= HELD_BYTES {
            self.hand_on()?;
        }
        self.statement = id;
        self.statements += 1;
        self.messages.clear();
        self.series = None;
        self.statement_start = Some(self.held.len());
        self.open_result();
        Ok(())
    }

    fn series(&mut self, header: &SeriesHeader) -> Result<(), Stopped> {
        if self.series.is_some() {
            if self.chunked() {
                self.next_chunk(false)?;
            } else {
                self.close_series(false);
            }
        }
        self.open_series(header);
        self.series = Some(if self.chunked() {
            header.clone()
        } else {
            // Nothing else of it is asked for again.
            SeriesHeader {
                zone: header.zone.clone(),
                ..SeriesHeader::default()
            }
        });
        Ok(())
    }

    fn row(&mut self, cells: &[Cell]) -> Result<(), Stopped> {
        self.open_row()?;
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                self.held.push(b',');
            }
            self.line(7);
            self.cell(cell);
        }
        self.close_row()
    }

    fn rows(&mut self, batch: &RowBatch<'_>) -> Result<(), Stopped> {
        if let [(place, row)] = batch.order {
            return self.only_row(&batch.pieces[*place as usize], *row as usize);
        }
        let layouts: Vec<Layout> = (batch.pieces.iter())
            .map(|piece| self.layout(piece))
            .collect();
        for (place, row) in batch.order {
            let (place, row) = (*place as usize, *row as usize);
            let piece = &batch.pieces[place];
            self.open_row()?;
            self.line(7);
            self.time(piece.timestamps[row]);
            let layout = &layouts[place];
            for (text, column) in &layout.columns {
                match &layout.text[text.clone()] {
                    // Between two columns that change: not worth a call to copy it.
                    [only] => self.held.push(*only),
                    text => self.held.extend_from_slice(text),
                }
                push_value(&mut self.held, piece.columns[*column].value(row));
            }
            self.held
                .extend_from_slice(&layout.text[layout.end.clone()]);
            self.close_row()?;
        }
        Ok(())
    }

    fn message(&mut self, level: &str, text: &str) -> Result<(), Stopped> {
        self.messages.push((level.into(), text.into()));
        Ok(())
    }

    fn end(&mut self, error: Option<&str>) -> Result<(), Stopped> {
        // An error stands in place of the rows, as far as they are not out already.
        if let (Some(start), true) = (self.statement_start, error.is_some()) {
            self.held.truncate(start);
            self.document_open = start > 0 || (!self.chunked() && self.statements > 1);
            self.series = None;
            self.open_result();
        }
        if self.series.take().is_some() {
            self.close_series(false);
        }
        self.close_result(false, error);
        if self.chunked() {
            self.close_document();
            self.hand_on()?;
        }
        Ok(())
    }
}

/// The numbers below a thousand as text: three digits from the left, and how many of them count.
#[expect(clippy::cast_possible_truncation, reason = "digits are below ten")]
const SMALL: [[u8; 4]; 1000] = {
    let mut texts = [[b'0'; 4]; 1000];
    let mut value = 0;
    while value < 1000 {
        let digits = [
            b'0' + (value / 100) as u8,
            b'0' + (value / 10 % 10) as u8,
            b'0' + (value % 10) as u8,
        ];
        texts[value] = match value {
            0..10 => [digits[2], b'0', b'0', 1],
            10..100 => [digits[1], digits[2], b'0', 2],
            _ => [digits[0], digits[1], digits[2], 3],
        };
        value += 1;
    }
    texts
};

fn push_integer<N: itoa::Integer + Copy>(out: &mut Vec<u8>, value: N)
where
    usize: TryFrom<N>,
{
    // Most gauges are small: their texts are copied without a call.
    let small = usize::try_from(value).ok().and_then(|at| SMALL.get(at));
    if let Some([one, two, three, len]) = small {
        out.extend_from_slice(&[*one, *two, *three]);
        out.truncate(out.len() - 3 + usize::from(*len));
        return;
    }
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The bytes of ASCII that stand in a string as they are.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        plain[byte] = true;
        byte += 1;
    }
    let mut marks = b"\"\\<>&".as_slice();
    while let [mark, rest @ ..] = marks {
        plain[*mark as usize] = false;
        marks = rest;
    }
    plain
};

/// Whether `bytes` are ASCII that stands in a string as it is.
fn is_plain(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    if !words
        .iter()
        .all(|word| is_plain_word(u64::from_le_bytes(*word)))
    {
        return false;
    }
    // The last eight bytes are looked at as a word, too, whatever of them was looked at before.
    match bytes.last_chunk::<8>() {
        Some(last) => rest.is_empty() || is_plain_word(u64::from_le_bytes(*last)),
        None => rest.iter().all(|byte| PLAIN[usize::from(*byte)]),
    }
}

/// The same of eight bytes at once.
#[inline]
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    // The high bit of a byte that is below `least`, and perhaps of ones above such a byte.
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word;
    // Two signs that differ in one bit are one once it is cleared.
    let is_either = |one: u8, other: u8| {
        let bit = u64::from(one ^ other);
        below((word & !(ONES * bit)) ^ (ONES * u64::from(one & other)), 1)
    };
    let quoted =
        is_either(b'"', b'&') | is_either(b'<', b'>') | below(word ^ (ONES * u64::from(b'\\')), 1);
    (word | below(word, 0x20) | quoted) & HIGH == 0
}

/// Appends `bytes` in quotes as Go's `encoding/json` does: signs of HTML and line separators
/// escaped, what is not UTF-8 replaced.
pub(crate) fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    // Nearly all tags and names need nothing of what follows.
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    for chunk in bytes.utf8_chunks() {
        push_escaped(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let replaced: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            b'<' => b"\\u003c",
            b'>' => b"\\u003e",
            b'&' => b"\\u0026",
            0..0x20 => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(&bytes[plain..index]);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
                plain = index + 1;
                continue;
            }
            // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
            0xa8 | 0xa9 if bytes[..index].ends_with(b"\xe2\x80") => {
                out.extend_from_slice(&bytes[plain..index - 2]);
                out.extend_from_slice(if *byte == 0xa8 {
                    b"\\u2028"
                } else {
                    b"\\u2029"
                });
                plain = index + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..index]);
        out.extend_from_slice(replaced);
        plain = index + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
}

#[cfg(test)]
mod tests;
