//! As much of gRPC as the verifier needs, of its own: one query on one connection of HTTP/2, whose
//! windows are as wide as they can be, so that nothing but frames is to be read.
//!
//! # Source
//! RFC 9113, 3.4, 4.1 and 6; RFC 7541, 6; gRPC over HTTP2; `protos/proto`, read by the numbers.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags: no frame of the stream follows; no header of this message does.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What a window can be at most, and is before it is widened.
const WINDOW_MAX: u32 = 0x7fff_ffff;
const WINDOW: u32 = 65_535;

/// Rows of a series, in the columns that were asked for.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// The tags it was grouped by.
    pub(super) tags: Vec<(String, String)>,
    pub(super) columns: Vec<Column>,
}

/// Values without gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Column {
    /// Times, integers, and floats by their bits.
    pub(super) words: Vec<u64>,
    pub(super) texts: Vec<String>,
}

/// What a query answers.
pub(super) fn query(address: SocketAddr, text: &str) -> Result<Vec<Series>, String> {
    let bytes = call(address, text).map_err(|error| format!("gRPC, {text}: {error}"))?;
    read(&bytes).ok_or_else(|| format!("gRPC, {text}: the answer is no whole answer"))
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A number of the wire in `count` bytes, its highest byte first.
fn wide(number: usize, count: usize) -> Vec<u8> {
    let bytes = (number as u64).to_le_bytes();
    bytes[..count].iter().rev().copied().collect()
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn frame(kind: u8, flags: u8, stream: usize, payload: &[u8], out: &mut Vec<u8>) {
    out.extend(wide(payload.len(), 3));
    out.extend([kind, flags]);
    out.extend(wide(stream, 4));
    out.extend_from_slice(payload);
}

/// The request, from the first byte of the connection on.
fn request(address: SocketAddr, text: &str) -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let window = wide(WINDOW_MAX as usize, 4);
    // INITIAL_WINDOW_SIZE is setting 4.
    frame(SETTINGS, 0, 0, &[&[0, 4], &window[..]].concat(), &mut out);
    let more = wide((WINDOW_MAX - WINDOW) as usize, 4);
    frame(WINDOW_UPDATE, 0, 0, &more, &mut out);
    // POST, http; then names of the static table, and one that it has not, with values as they are.
    let mut headers = vec![0x83, 0x86];
    let mut header = |name: &[u8], value: &str| {
        headers.extend_from_slice(name);
        varint(value.len() as u64, &mut headers);
        headers.extend_from_slice(value.as_bytes());
    };
    header(&[0x04], "/silverback.v1.Silverback/Query");
    header(&[0x01], &address.to_string());
    header(&[0x0f, 0x10], "application/grpc");
    header(b"\x00\x02te", "trailers");
    frame(HEADERS, END_HEADERS, 1, &headers, &mut out);
    let mut message = Vec::new();
    field(1, text.as_bytes(), &mut message);
    field(2, b"k", &mut message);
    // Not compressed, and so long.
    let body = [&[0], &wide(message.len(), 4)[..], &message].concat();
    frame(DATA, END_STREAM, 1, &body, &mut out);
    out
}

/// All messages of the answer, each with its five bytes.
fn call(address: SocketAddr, text: &str) -> std::io::Result<Vec<u8>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(&request(address, text))?;
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; number(&head[..3])];
        stream.read_exact(&mut payload)?;
        let (kind, flags) = (head[3], head[4]);
        match kind {
            DATA => body.extend(payload),
            RST_STREAM | GOAWAY => return Err(std::io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return Ok(body);
        }
    }
}

/// What is left of a message.
struct Message<'bytes>(&'bytes [u8]);

impl<'bytes> Message<'bytes> {
    fn take(&mut self, count: usize) -> Option<&'bytes [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The fields that hold bytes, by their numbers; `None` where the message is cut.
    fn parts(mut self) -> Option<Vec<(u64, &'bytes [u8])>> {
        let mut parts = Vec::new();
        while !self.0.is_empty() {
            let tag = self.varint()?;
            match tag & 7 {
                0 => {
                    self.varint()?;
                }
                2 => {
                    let len = usize::try_from(self.varint()?).ok()?;
                    parts.push((tag >> 3, self.take(len)?));
                }
                _ => return None,
            }
        }
        Some(parts)
    }
}

/// The series of an answer; `None` where it is broken, or its statement has failed or not ended.
fn read(bytes: &[u8]) -> Option<Vec<Series>> {
    let mut all: Vec<Series> = Vec::new();
    let mut rest = Message(bytes);
    let mut has_ended = false;
    while !rest.0.is_empty() {
        let len = number(&rest.take(5)?[1..]);
        for (kind, piece) in Message(rest.take(len)?).parts()? {
            match kind {
                2 => all.push(series(piece)?),
                3 => {
                    let parts = Message(piece).parts()?;
                    let own = all.last_mut()?;
                    let columns = parts.iter().filter(|(number, _)| *number == 2);
                    own.columns
                        .resize(columns.clone().count(), Column::default());
                    for (own, (_, column)) in own.columns.iter_mut().zip(columns) {
                        values(column, own)?;
                    }
                }
                // An error is its first field.
                4 => {
                    let parts = Message(piece).parts()?;
                    has_ended = parts.iter().all(|(number, _)| *number != 1);
                }
                _ => return None,
            }
        }
    }
    has_ended.then_some(all)
}

fn series(header: &[u8]) -> Option<Series> {
    let mut own = Series::default();
    for (number, tag) in Message(header).parts()? {
        if number == 2 {
            let pair = Message(tag).parts()?;
            let at = |number: u64| {
                let found = pair.iter().find(|(own, _)| *own == number);
                String::from_utf8(found?.1.to_vec()).ok()
            };
            own.tags.push((at(1)?, at(2)?));
        }
    }
    Some(own)
}

/// Appends the values of a column.
fn values(column: &[u8], own: &mut Column) -> Option<()> {
    for (kind, values) in Message(column).parts()? {
        for (_, packed) in Message(values).parts()? {
            match kind {
                // Times and floats take eight bytes each.
                2 | 3 => {
                    let (words, rest) = packed.as_chunks::<8>();
                    own.words
                        .extend(words.iter().map(|word| u64::from_le_bytes(*word)));
                    if !rest.is_empty() {
                        return None;
                    }
                }
                4 => {
                    let mut rest = Message(packed);
                    while !rest.0.is_empty() {
                        let number = rest.varint()?;
                        own.words.push(number >> 1 ^ 0_u64.wrapping_sub(number & 1));
                    }
                }
                7 => own.texts.push(String::from_utf8(packed.to_vec()).ok()?),
                _ => return None,
            }
        }
    }
    Some(())
}
