//! Sorted byte strings in runs of 128, each run front-coded: what the keys of series and the terms
//! of an index are kept in. A string is found by a binary search over the runs' first strings.
//!
//! Layout of a run: length of the first string (varint), the first string, 1 byte that says whether
//! the rest is compressed by zstd, and where it is its true length (varint); then the rest: for each
//! further string how many bytes it shares with the one before (varint), how many it has besides
//! (varint), and those. Where the runs start is an array of the directory.

use crate::codec;
use crate::error::{Error, ErrorKind, Result};
use crate::format::block::Span;
use crate::format::block::array::{self, Array};
use crate::format::block::bytes::{Damage, Taker};
use crate::format::sealed::SealedReader;
use crate::model::{Strings, push_varint};

/// Strings in one run.
pub const RUN_STRINGS: usize = 128;
/// Length of one string at most, bytes.
pub const STRING_BYTES_MAX: usize = 128 * 1024;
/// What a run may decompress to at most, bytes; longer ones are kept plain.
const COMPRESSED_BYTES_MAX: usize = 1024 * 1024;
const ZSTD_LEVEL: i32 = 3;

/// Gathers sorted strings.
#[derive(Debug, Default)]
pub struct KeyListBuilder {
    compress: bool,
    runs: Vec<u8>,
    starts: Vec<u64>,
    rest: Vec<u8>,
    last: Vec<u8>,
    count: usize,
}

impl KeyListBuilder {
    /// An empty list, whose runs are compressed where asked and where it helps.
    pub fn new(compress: bool) -> KeyListBuilder {
        KeyListBuilder {
            compress,
            ..KeyListBuilder::default()
        }
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What they take in memory, bytes.
    pub fn size_bytes(&self) -> usize {
        let starts = self.starts.capacity() * size_of::<u64>();
        self.runs.capacity() + self.rest.capacity() + starts
    }

    /// Appends a string.
    ///
    /// # Errors
    /// `Limit` where it is longer than [`STRING_BYTES_MAX`].
    ///
    /// # Panics
    /// If it does not come behind the last in order.
    pub fn push(&mut self, string: &[u8]) -> Result<()> {
        if string.len() > STRING_BYTES_MAX {
            let message = format!(
                "a key has {} bytes and at most {STRING_BYTES_MAX} are kept",
                string.len()
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        assert!(
            self.count == 0 || *self.last < *string,
            "keys come sorted, each once"
        );
        if self.count.is_multiple_of(RUN_STRINGS) {
            self.close_run();
            self.starts.push(self.runs.len() as u64);
            push_varint(&mut self.runs, string.len() as u64);
            self.runs.extend_from_slice(string);
        } else {
            let shared = string
                .iter()
                .zip(&self.last)
                .take_while(|(a, b)| a == b)
                .count();
            push_varint(&mut self.rest, shared as u64);
            push_varint(&mut self.rest, (string.len() - shared) as u64);
            self.rest.extend_from_slice(&string[shared..]);
        }
        self.last.clear();
        self.last.extend_from_slice(string);
        self.count += 1;
        Ok(())
    }

    fn close_run(&mut self) {
        if self.count == 0 {
            return;
        }
        let packed = if self.compress && self.rest.len() <= COMPRESSED_BYTES_MAX {
            zstd::bulk::compress(&self.rest, ZSTD_LEVEL).ok()
        } else {
            None
        };
        match packed {
            Some(packed) if packed.len() + 8 < self.rest.len() => {
                self.runs.push(1);
                push_varint(&mut self.runs, self.rest.len() as u64);
                self.runs.extend_from_slice(&packed);
            }
            _ => {
                self.runs.push(0);
                self.runs.extend_from_slice(&self.rest);
            }
        }
        self.rest.clear();
    }

    /// The runs, to be written in one piece, and the array of their starts, appended to `starts`.
    pub fn finish(mut self, starts: &mut Vec<u8>) -> Vec<u8> {
        self.close_run();
        array::encode(&self.starts, starts);
        self.runs
    }
}

/// Sorted strings of a block.
#[derive(Clone, Copy, Debug)]
pub struct KeyList<'block> {
    file: &'block SealedReader,
    /// The runs.
    span: Span,
    count: usize,
    starts: Array,
    /// What `starts` was found in.
    directory: &'block [u8],
}

/// How many runs `count` strings make.
pub fn run_count(count: usize) -> usize {
    count.div_ceil(RUN_STRINGS)
}

impl<'block> KeyList<'block> {
    /// The list of `count` strings whose runs lie at `span` of `file` and start at `starts`, an array of
    /// `directory`.
    pub fn new(
        file: &'block SealedReader,
        span: Span,
        count: usize,
        (starts, directory): (Array, &'block [u8]),
    ) -> KeyList<'block> {
        KeyList {
            file,
            span,
            count,
            starts,
            directory,
        }
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All strings of run `run`. Cost: 10 us.
    ///
    /// # Errors
    /// `Corrupt` where there is no such run or its bytes are none; `Io`.
    pub fn run(&self, run: usize) -> Result<Strings> {
        let span = self.run_span(run)?;
        let bytes = self.file.read(span.offset..span.end())?;
        let strings = (self.count - run * RUN_STRINGS).min(RUN_STRINGS);
        decode_run(&bytes, strings).map_err(|damage| self.corrupt(span.offset, damage))
    }

    /// Of the strings, how many come before `string`; and whether the one behind those is it.
    ///
    /// # Errors
    /// As [`KeyList::run`].
    pub fn search(&self, string: &[u8]) -> Result<(usize, bool)> {
        let (mut low, mut high) = (0, run_count(self.count));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.head_is_at_most(middle, string)? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(run) = low.checked_sub(1) else {
            return Ok((0, false));
        };
        let strings = self.run(run)?;
        let (mut low, mut high) = (0, strings.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if strings.get(middle) < string {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let found = low < strings.len() && strings.get(low) == string;
        Ok((run * RUN_STRINGS + low, found))
    }

    fn head_is_at_most(&self, run: usize, string: &[u8]) -> Result<bool> {
        let span = self.run_span(run)?;
        let bytes = self.file.read(span.offset..span.end())?;
        let mut taker = Taker::new(&bytes);
        match taker.prefixed() {
            Ok(head) => Ok(head <= string),
            Err(damage) => Err(self.corrupt(span.offset, damage)),
        }
    }

    fn run_span(&self, run: usize) -> Result<Span> {
        let start = self.start(run)?;
        let end = if run + 1 < self.starts.len() {
            self.start(run + 1)?
        } else {
            self.span.len
        };
        match end.checked_sub(start) {
            Some(len) if end <= self.span.len => Ok(Span {
                offset: self.span.offset.saturating_add(start),
                len,
            }),
            _ => {
                let damage = Damage("a run of keys lies outside its list");
                Err(self.corrupt(self.span.offset, damage))
            }
        }
    }

    fn start(&self, run: usize) -> Result<u64> {
        self.starts
            .get(self.directory, run)
            .map_err(|damage| self.corrupt(self.span.offset, damage))
    }

    fn corrupt(&self, offset: u64, damage: Damage) -> Error {
        self.file.corrupt(offset, damage.0)
    }
}

fn decode_run(bytes: &[u8], count: usize) -> std::result::Result<Strings, Damage> {
    const UNSORTED: Damage = Damage("a key shares more than the one before has");
    let mut taker = Taker::new(bytes);
    let head = taker.prefixed()?;
    let mut unpacked = Vec::new();
    let mut rest = match taker.byte()? {
        0 => taker,
        1 => {
            let len = taker.count(COMPRESSED_BYTES_MAX)?;
            let packed = taker.take(taker.remaining())?;
            codec::decompress(packed, len, &mut unpacked)
                .map_err(|_| Damage("a run of keys does not decompress"))?;
            Taker::new(&unpacked)
        }
        _ => return Err(Damage("a run of keys is packed in an unknown way")),
    };
    if head.len() > STRING_BYTES_MAX {
        return Err(Damage("a key passes its bound"));
    }
    let mut strings = Strings::default();
    strings.push(head);
    for index in 1..count {
        let before = if index == 1 {
            0
        } else {
            strings.ends[index - 2] as usize
        };
        let before = before..strings.bytes.len();
        let shared = rest.count(before.len()).map_err(|_| UNSORTED)?;
        let own = rest.prefixed()?;
        if shared + own.len() > STRING_BYTES_MAX {
            return Err(Damage("a key passes its bound"));
        }
        strings
            .bytes
            .extend_from_within(before.start..before.start + shared);
        strings.push(own);
    }
    if rest.remaining() == 0 {
        Ok(strings)
    } else {
        Err(Damage("bytes follow a run of keys"))
    }
}

/// Walks a list from one string on, each run decoded once.
#[derive(Debug)]
pub struct KeyWalk<'block> {
    list: KeyList<'block>,
    next: usize,
    run: Option<(usize, Strings)>,
}

impl<'block> KeyWalk<'block> {
    /// Starts before string `from`.
    pub fn new(list: KeyList<'block>, from: usize) -> KeyWalk<'block> {
        KeyWalk {
            list,
            next: from,
            run: None,
        }
    }

    /// String `index`; cheap where it lies in the run of the last one asked for.
    ///
    /// # Errors
    /// As [`KeyList::run`].
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get(&mut self, index: usize) -> Result<&[u8]> {
        assert!(index < self.list.len(), "string {index} is none");
        let run = index / RUN_STRINGS;
        if self.run.as_ref().is_none_or(|(own, _)| *own != run) {
            self.run = Some((run, self.list.run(run)?));
        }
        let (_, strings) = self.run.as_ref().expect("it has just been set");
        Ok(strings.get(index % RUN_STRINGS))
    }

    /// The next string and its number, or `None` behind the last.
    ///
    /// # Errors
    /// As [`KeyList::run`].
    pub fn advance(&mut self) -> Result<Option<(usize, &[u8])>> {
        let index = self.next;
        if index >= self.list.len() {
            return Ok(None);
        }
        self.next += 1;
        Ok(Some((index, self.get(index)?)))
    }
}
