//! Lines: where one begins and ends, and its sections.

use silverback_storage::model::{KeyRef, TIMESTAMP_MAX, TIMESTAMP_MIN};

use super::columns::{Group, Groups, Room};
use super::key::parse_key;
use super::number::{DIGITS_SURE, Scalar, boolean, digits, number, string};
use super::{LineError, LineErrorKind, ParseOptions};

/// InfluxDB's bound on an escaped series key together with a field name and four bytes.
const KEY_BYTES_MAX: usize = 65_535;

/// What is wrong with a line, and where in the body.
#[derive(Debug)]
struct Fault {
    at: usize,
    kind: LineErrorKind,
    reason: String,
}

impl Fault {
    fn new(at: usize, reason: impl Into<String>) -> Fault {
        Fault {
            at,
            kind: LineErrorKind::Unparsable,
            reason: reason.into(),
        }
    }
}

/// The fields of a line, as they stand in it.
#[derive(Debug)]
struct Fields {
    /// Where they end.
    end: usize,
    /// Where a field named `time` stood, which is left out.
    timed: Option<usize>,
    /// Whether a value is a string, which may have line feeds.
    has_string: bool,
}

/// Reads a body line by line.
#[derive(Debug)]
pub(super) struct Reader<'text> {
    text: &'text [u8],
    options: ParseOptions,
    /// Where reading goes on.
    at: usize,
    /// Line feeds before `counted`, plus 1.
    line: u32,
    counted: usize,
    now: i64,
}

impl<'text> Reader<'text> {
    pub(super) fn new(text: &'text [u8], options: ParseOptions) -> Reader<'text> {
        let unit = options.precision.nanoseconds();
        let now = options.now_ns - options.now_ns.rem_euclid(unit);
        Reader {
            text,
            options,
            at: 0,
            line: 1,
            counted: 0,
            now,
        }
    }

    pub(super) fn read(&mut self, groups: &mut Groups, errors: &mut Vec<LineError>) {
        while let Some(start) = self.next_start() {
            let line = self.line_number(start);
            if let Err(fault) = self.point(start, line, groups, errors) {
                errors.push(self.refuse(start, line, fault));
            }
        }
    }

    /// The first byte of the next line that is neither blank nor a comment.
    fn next_start(&mut self) -> Option<usize> {
        loop {
            match *self.text.get(self.at)? {
                b' ' | b'\t' | 0 | b'\n' => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at..];
                    self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                _ => return Some(self.at),
            }
        }
    }

    /// The number of the line that `start` stands in. Every byte is counted once in a body.
    fn line_number(&mut self, start: usize) -> u32 {
        let passed = &self.text[self.counted..start];
        let feeds = match passed {
            [.., b'\n'] if passed.len() < 2 => 1,
            _ => memchr::memchr_iter(b'\n', passed).count(),
        };
        self.counted = start;
        self.line += u32::try_from(feeds).expect("a body has fewer than 2^31 bytes");
        self.line
    }

    /// Reads the line at `start` into its group and moves behind it.
    fn point(
        &mut self,
        start: usize,
        line: u32,
        groups: &mut Groups,
        errors: &mut Vec<LineError>,
    ) -> Result<(), Fault> {
        let (key_end, mut is_plain) = self.key_end(start)?;
        let key = &self.text[start..key_end];
        if key[0] == b',' {
            return Err(Fault::new(start, "missing measurement"));
        }
        let group = groups.of(key);
        group.begin();
        let result = self.fields(key_end, group, key.len()).and_then(|read| {
            let (timestamp, end) = self.timestamp(read.end)?;
            Ok((timestamp, end, read))
        });
        let (timestamp, end, read) = match result {
            Ok(read) => read,
            Err(fault) => {
                group.abandon();
                // A line with a bad key is reported for its key.
                parse_key(key).map_err(|(at, reason)| Fault::new(start + at, reason))?;
                return Err(fault);
            }
        };
        self.at = end;
        is_plain &= !read.has_string;
        if is_plain {
            self.counted = end;
        }
        if let Some(at) = read.timed {
            let fault = time_field(at, group);
            if fault.kind == LineErrorKind::Dropped {
                group.abandon();
                return Err(fault);
            }
            errors.push(self.refuse(start, line, fault));
        }
        let offset = u32::try_from(start).expect("a body has fewer than 2^31 bytes");
        let len = u32::try_from(key.len()).expect("a key is inside the body");
        let hash = self.options.hasher.hash(key);
        let room = Room {
            text: self.text.len(),
            read: end,
        };
        group.commit(KeyRef { offset, len, hash }, timestamp, line, room);
        Ok(())
    }

    /// The first space behind `start` without a backslash right before it, and whether there is no
    /// escaped byte before it, and so no line feed.
    #[inline]
    fn key_end(&self, start: usize) -> Result<(usize, bool), Fault> {
        let mut at = start;
        let mut is_plain = true;
        while let Some(found) = memchr::memchr2(b' ', b'\n', &self.text[at..]) {
            at += found;
            let escaped = at > start && self.text[at - 1] == b'\\';
            if !escaped {
                if self.text[at] == b' ' {
                    return Ok((at, is_plain));
                }
                break;
            }
            is_plain = false;
            at += 1;
        }
        let end = line_end(self.text, start);
        parse_key(&self.text[start..end]).map_err(|(at, why)| Fault::new(start + at, why))?;
        Err(Fault::new(end, "missing fields"))
    }

    /// Reads the fields behind the key into `group`.
    #[inline]
    fn fields(&self, key_end: usize, group: &mut Group, key_len: usize) -> Result<Fields, Fault> {
        let text = self.text;
        let mut at = key_end;
        while text.get(at) == Some(&b' ') {
            at += 1;
        }
        let (mut timed, mut has_string) = (None, false);
        loop {
            let name_start = at;
            let expected = group.expected(&text[at..]);
            let name_len = match expected {
                Some(len) => len,
                None => name_len(text, at)?,
            };
            let name = &text[name_start..name_start + name_len];
            if key_len + 4 + name_len > KEY_BYTES_MAX {
                let len = key_len + 4 + name_len;
                let reason = format!("max key length exceeded: {len} > {KEY_BYTES_MAX}");
                return Err(Fault::new(name_start, reason));
            }
            at += name_len + 1;
            let (value, len) = value(&text[at..]).map_err(|reason| Fault::new(at, reason))?;
            has_string |= matches!(value, Scalar::String(_));
            let room = Room {
                text: text.len(),
                read: at,
            };
            if expected.is_some() {
                group.put_expected(name, value, room);
            } else if name == b"time" {
                timed = Some(name_start);
            } else {
                group.put(name, value, room);
            }
            at += len;
            if text.get(at) != Some(&b',') {
                let end = at;
                return Ok(Fields {
                    end,
                    timed,
                    has_string,
                });
            }
            at += 1;
        }
    }

    /// Reads the timestamp behind the fields, which end at `at`. Gives it and where the line ends.
    #[inline]
    fn timestamp(&self, mut at: usize) -> Result<(i64, usize), Fault> {
        let text = self.text;
        while text.get(at) == Some(&b' ') {
            at += 1;
        }
        let start = at;
        let negative = text.get(at) == Some(&b'-');
        at += usize::from(negative);
        let first = at;
        let (number, end) = digits(text, first, 0);
        at = end;
        while text.get(at) == Some(&b' ') {
            at += 1;
        }
        if !matches!(text.get(at), None | Some(b'\n')) {
            let reason = if at == end {
                "bad timestamp"
            } else {
                "point is invalid"
            };
            return Err(Fault::new(at, reason));
        }
        if end == start {
            return Ok((self.now, at));
        }
        let out_of = |what: &str| {
            let number = String::from_utf8_lossy(&text[start..end]);
            Fault::new(
                start,
                format!("strconv.ParseInt: parsing \"{number}\": {what}"),
            )
        };
        if end == first {
            return Err(out_of("invalid syntax"));
        }
        let value = if end - first > DIGITS_SURE {
            // Zeros may stand in front.
            let number = String::from_utf8_lossy(&text[start..end]);
            number.parse().ok()
        } else if negative {
            0_i64.checked_sub_unsigned(number)
        } else {
            i64::try_from(number).ok()
        };
        let value = value.ok_or_else(|| out_of("value out of range"))?;
        let scaled = value.checked_mul(self.options.precision.nanoseconds());
        match scaled {
            Some(scaled) if (TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(&scaled) => Ok((scaled, at)),
            _ => {
                let reason = format!("time outside range {TIMESTAMP_MIN} - {TIMESTAMP_MAX}");
                Err(Fault::new(start, reason))
            }
        }
    }

    /// The report of a bad line; reading goes on behind it.
    fn refuse(&mut self, start: usize, line: u32, fault: Fault) -> LineError {
        let mut text = Box::default();
        if fault.kind == LineErrorKind::Unparsable {
            let end = line_end(self.text, start);
            self.at = end;
            text = self.text[start..end].into();
        }
        let begin = memchr::memrchr(b'\n', &self.text[..start]).map_or(0, |feed| feed + 1);
        let column = u32::try_from(fault.at.max(begin) - begin + 1).unwrap_or(u32::MAX);
        LineError {
            kind: fault.kind,
            line,
            column,
            text,
            reason: fault.reason,
        }
    }
}

/// The length of the field name at `at`, which an equals sign follows.
fn name_len(text: &[u8], at: usize) -> Result<usize, Fault> {
    let mut end = at;
    loop {
        match text.get(end) {
            Some(b'=') if end == at => return Err(Fault::new(at, "missing field key")),
            Some(b'=') => return Ok(end - at),
            // Only what can end a section is escaped; other backslashes are part of the name.
            Some(b'\\') if matches!(text.get(end + 1), Some(b',' | b'=' | b' ')) => end += 2,
            None | Some(b',' | b' ' | b'\n') => return Err(Fault::new(at, "invalid field format")),
            Some(_) => end += 1,
        }
    }
}

/// The value at the start of `text` and its length.
#[inline]
fn value(text: &[u8]) -> Result<(Scalar<'_>, usize), String> {
    match text.first() {
        None | Some(b',' | b' ' | b'\n') => Err("missing field value".into()),
        Some(b'0'..=b'9' | b'-' | b'.') => number(text),
        Some(b'"') => string(text),
        // What InfluxDB takes for the beginning of "NaN" or "null".
        Some(b'N' | b'n') => Err("invalid number".into()),
        Some(_) => boolean(text),
    }
}

/// A field named `time` at `at`: alone it makes the point empty, else it is left out.
fn time_field(at: usize, group: &Group) -> Fault {
    let name = String::from_utf8_lossy(group.measurement());
    let mut reason =
        format!("invalid field name: input field \"time\" on measurement \"{name}\" is invalid");
    let kind = if group.filled() == 0 {
        LineErrorKind::Dropped
    } else {
        reason.push_str(". Field \"time\" has been stripped from point.");
        LineErrorKind::Stripped
    };
    Fault { at, kind, reason }
}

/// Where the line that begins at `start` ends: its line feed or the end of the body. A backslash
/// takes the next byte along; a line feed in a quoted field value belongs to the value.
pub(super) fn line_end(text: &[u8], start: usize) -> usize {
    let (mut fields, mut quoted) = (false, false);
    let (mut equals, mut commas) = (0_usize, 0_usize);
    let mut at = start;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' if !quoted => return at,
            b' ' if !quoted => fields = true,
            b'=' if fields && !quoted => equals += 1,
            b',' if fields && !quoted => commas += 1,
            b'"' if fields && equals > commas => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The text of the line whose key begins at `start`, without its line feed.
pub fn line_text(text: &[u8], start: usize) -> &[u8] {
    &text[start..line_end(text, start)]
}
