//! The framing of a finished file: every 16 KiB of it lies under a checksum that is checked when
//! it is first touched. Knows nothing of the contents, which stay contiguous, so that a mapped file
//! is read in place.
//!
//! Layout (docs/format/file-header.md, "Sealed files"): the contents, which open with the 64-byte
//! header; then the checksum section, one CRC32 (u32, little endian) for each piece of
//! [`PIECE_BYTES`] of the contents, the last piece shorter; then the trailer:
//!
//! | offset | bytes | what |
//! |-------:|------:|------|
//! |      0 |     8 | length of the contents = offset of the checksum section |
//! |      8 |     4 | piece size, 16384 |
//! |     12 |     4 | CRC32 of the checksum section: the root checksum |
//! |     16 |     4 | reserved, zero |
//! |     20 |     4 | CRC32 of trailer bytes 0 to 19 |
//! |     24 |     8 | magic `SLVREND` and a line feed |
//!
//! Invariants: each CRC is seeded with file id and offset of what it covers, so that a piece that
//! lands in another place or file is damage; no byte of the file lies outside a check.

mod pieces;

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::env::{Env, ReadFile, WriteFile};
use crate::error::{Error, Result};
use crate::format::header::{FileHeader, HEADER_BYTES};
use crate::sabotage::{self, Fault};

use pieces::Pieces;

/// Bytes under one checksum.
pub const PIECE_BYTES: usize = 16 * 1024;
/// Size of the trailer, bytes.
pub const TRAILER_BYTES: usize = 32;
/// The last eight bytes of a sealed file.
pub const TRAILER_MAGIC: [u8; 8] = *b"SLVREND\n";

const PIECE: u64 = PIECE_BYTES as u64;
/// Damaged places of one file that are remembered one by one.
const FOUND_MAX: usize = 16;
/// What a writer gathers before it asks the disk; whole pieces.
const BUFFER_BYTES: usize = 16 * PIECE_BYTES;

/// CRC32 of `bytes` that stand at `offset` of file `file_id`.
pub fn checksum(file_id: u64, offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    if !sabotage::is(Fault::ChecksumWithoutPlace) {
        hasher.update(&file_id.to_le_bytes());
        hasher.update(&offset.to_le_bytes());
    }
    hasher.update(bytes);
    hasher.finalize()
}

/// Writes a sealed file front to back. Memory: one buffer of 256 KiB and 4 bytes per 16 KiB
/// written.
#[derive(Debug)]
pub struct SealedWriter {
    file: Box<dyn WriteFile>,
    path: PathBuf,
    file_id: u64,
    buffer: Vec<u8>,
    /// Where the buffer's first byte belongs; a whole number of pieces.
    flushed: u64,
    checksums: Vec<u8>,
}

impl SealedWriter {
    /// Starts `file`, new and empty, with its header; `path` names it in errors.
    pub fn new(file: Box<dyn WriteFile>, path: &Path, header: &FileHeader) -> SealedWriter {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(&header.encode());
        SealedWriter {
            file,
            path: path.into(),
            file_id: header.file_id,
            buffer,
            flushed: 0,
            checksums: Vec::new(),
        }
    }

    /// Offset in the file of the next byte written.
    pub fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Appends `bytes` to the contents.
    ///
    /// # Errors
    /// `Io` or `NoSpace`; the file is worth nothing then.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Appends zeros until the position is a multiple of `alignment`.
    ///
    /// # Errors
    /// As [`SealedWriter::write`].
    pub fn pad_to(&mut self, alignment: u64) -> Result<()> {
        let missing = self.position().next_multiple_of(alignment) - self.position();
        for _ in 0..missing {
            self.write(&[0])?;
        }
        Ok(())
    }

    /// Writes what is left, the checksums and the trailer, and makes the file durable; its name is
    /// not: see [`publish`]. Returns the file's size in bytes.
    ///
    /// # Errors
    /// As [`SealedWriter::write`].
    pub fn finish(mut self) -> Result<u64> {
        let contents = self.position();
        self.flush()?;
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..8].copy_from_slice(&contents.to_le_bytes());
        trailer[8..12].copy_from_slice(&piece_size().to_le_bytes());
        let root = checksum(self.file_id, contents, &self.checksums);
        trailer[12..16].copy_from_slice(&root.to_le_bytes());
        let offset = contents + self.checksums.len() as u64;
        let own = checksum(self.file_id, offset, &trailer[..20]);
        trailer[20..24].copy_from_slice(&own.to_le_bytes());
        trailer[24..].copy_from_slice(&TRAILER_MAGIC);
        let buffers = [IoSlice::new(&self.checksums), IoSlice::new(&trailer)];
        self.file
            .write_at(contents, &buffers)
            .map_err(|source| Error::io("write file", &self.path, source))?;
        if !sabotage::is(Fault::BlockNotSynced) {
            self.file
                .sync_data()
                .map_err(|source| Error::io("sync file", &self.path, source))?;
        }
        Ok(offset + TRAILER_BYTES as u64)
    }

    fn flush(&mut self) -> Result<()> {
        for (index, piece) in self.buffer.chunks(PIECE_BYTES).enumerate() {
            let offset = self.flushed + index as u64 * PIECE;
            let sum = checksum(self.file_id, offset, piece);
            self.checksums.extend_from_slice(&sum.to_le_bytes());
        }
        self.file
            .write_at(self.flushed, &[IoSlice::new(&self.buffer)])
            .map_err(|source| Error::io("write file", &self.path, source))?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Gives a finished file its name in place of a temporary one, durably. Both in one folder.
///
/// # Errors
/// `Io` or `NoSpace`: the file may then be found under either name.
pub fn publish(env: &dyn Env, temporary: &Path, name: &Path) -> Result<()> {
    env.rename(temporary, name)
        .map_err(|source| Error::io("name file", name, source))?;
    let folder = name.parent().unwrap_or(Path::new(""));
    if sabotage::is(Fault::BlockNameNotDurable) {
        return Ok(());
    }
    env.sync_dir(folder)
        .map_err(|source| Error::io("sync folder", folder, source))
}

/// Reads a sealed file, mapped or not. Memory: two bits per 16 KiB, and where the file is not
/// mapped its checksums.
#[derive(Debug)]
pub struct SealedReader {
    file: Arc<dyn ReadFile>,
    path: PathBuf,
    header: FileHeader,
    frame: Frame,
    /// The checksum section, where it cannot be read in place.
    checksums: Option<Box<[u8]>>,
    pieces: Pieces,
    /// From where on the file was lost while it was open.
    lost: OnceLock<u64>,
    /// What readers met, the first [`FOUND_MAX`] places.
    found: Mutex<Vec<Error>>,
}

impl SealedReader {
    /// Checks header, trailer and checksum section. Cost: O(size / 4096), 30 us for 1 GiB; the
    /// contents are checked as they are read.
    ///
    /// # Errors
    /// `Conflict` where another file is found than the one of `expected`'s kind, directory and
    /// id, or a newer version; `Corrupt` where the file is cut or damaged; `Io` where it cannot be
    /// read.
    pub fn open(
        file: Arc<dyn ReadFile>,
        path: &Path,
        expected: &FileHeader,
    ) -> Result<SealedReader> {
        let size = file.size_bytes();
        let head = fetch(&*file, path, &(0..size.min(HEADER_BYTES as u64)))?;
        let header = FileHeader::check(path, &head, expected)?;
        let frame = check_trailer(&*file, path, header.file_id)?;
        let section = frame.contents..size - TRAILER_BYTES as u64;
        let checksums = match file.bytes() {
            Some(_) => None,
            None => Some(
                fetch(&*file, path, &section)?
                    .into_owned()
                    .into_boxed_slice(),
            ),
        };
        drop(head);
        Ok(SealedReader {
            path: path.into(),
            header,
            frame,
            checksums,
            pieces: Pieces::new(index(frame.contents.div_ceil(PIECE))),
            lost: OnceLock::new(),
            found: Mutex::default(),
            file,
        })
    }

    /// The file's header.
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The file's path, as errors name it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the contents from the start of the file, header included, bytes.
    pub fn contents_bytes(&self) -> u64 {
        self.frame.contents
    }

    /// CRC32 of the checksum section, as the trailer has it: what tells the file from others of its id and size,
    /// every one of them sound. The CRC32 of all bytes does not: what a change of contents adds to it, the change
    /// of the checksums behind them may take away.
    pub fn root_checksum(&self) -> u32 {
        self.frame.root_checksum
    }

    /// Length of the whole file, bytes.
    pub fn size_bytes(&self) -> u64 {
        self.file.size_bytes()
    }

    /// How many pieces have been found damaged so far.
    pub fn damaged_count(&self) -> u64 {
        self.pieces.wrong_count()
    }

    /// What is wrong with the file as far as readers have met it since it was opened, the first of
    /// it. Cost: a lock.
    pub fn problems(&self) -> Vec<Error> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().map(Error::duplicate).collect()
    }

    /// The damage at `offset` that a reader of the contents met, remembered for
    /// [`SealedReader::problems`].
    pub fn corrupt(&self, offset: u64, message: impl Into<String>) -> Error {
        self.note(Error::corrupt(&self.path, offset, message))
    }

    /// Remembers an error, which is the reader's. A file that was lost is to blame for all others.
    fn note(&self, error: Error) -> Error {
        let error = self.check_mapped().err().unwrap_or(error);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known =
            |known: &Error| (known.place(), known.message()) == (error.place(), error.message());
        if found.len() < FOUND_MAX && !found.iter().any(is_known) {
            found.push(error.duplicate());
        }
        error
    }

    /// Whether what was read so far was the file: to be asked behind the last use of what
    /// [`SealedReader::read`] gave, before anything is made of it that stays. Cost: where the file is
    /// mapped, a call of the system.
    ///
    /// # Errors
    /// `Corrupt` where the file was cut, or its disk failed, while it was mapped; now and at every
    /// later read. `Io`.
    pub fn check_intact(&self) -> Result<()> {
        let size = self.file.size_now();
        let size = size.map_err(|error| self.note(Error::io("read file", &self.path, error)))?;
        if size < self.file.size_bytes() {
            self.lost.get_or_init(|| size);
        }
        self.check_mapped().map_err(|error| self.note(error))
    }

    /// As [`SealedReader::check_intact`], but a cut within the last page is not seen. Costs a load.
    fn check_mapped(&self) -> Result<()> {
        if let Some(at) = self.file.fault() {
            self.lost.get_or_init(|| at);
        }
        self.lost.get().map_or(Ok(()), |at| {
            let message = "the file was cut, or its disk failed, while it was open";
            Err(Error::corrupt(&self.path, *at, message))
        })
    }

    /// The contents from `range.start` to `range.end`, offsets in the file, checked. Borrowed where
    /// the file is mapped; see [`SealedReader::check_intact`] then. Cost: at first touch the checksum
    /// of each 16 KiB touched.
    ///
    /// # Errors
    /// `Corrupt` where a piece is damaged, now and at every later call, or where the range is not
    /// inside the contents; `Io`.
    pub fn read(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>> {
        if range.start > range.end || range.end > self.frame.contents {
            let message = format!(
                "bytes {} to {} are asked for and the contents end at {}",
                range.start, range.end, self.frame.contents
            );
            return Err(self.corrupt(range.start, message));
        }
        self.check_mapped().map_err(|error| self.note(error))?;
        let pieces = range.start / PIECE..range.end.div_ceil(PIECE);
        if range.is_empty() || pieces.clone().all(|piece| self.is_verified(piece)) {
            return self.fetch(&range);
        }
        let outer = pieces.start * PIECE..(pieces.end * PIECE).min(self.frame.contents);
        let bytes = self.fetch(&outer)?;
        for (piece, bytes) in pieces.zip(bytes.chunks(PIECE_BYTES)) {
            if !self.is_verified(piece) {
                self.verify(piece, bytes)?;
            }
        }
        let inner = index(range.start - outer.start)..index(range.end - outer.start);
        Ok(match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[inner]),
            Cow::Owned(mut bytes) => {
                bytes.truncate(inner.end);
                bytes.drain(..inner.start);
                Cow::Owned(bytes)
            }
        })
    }

    /// How many pieces the contents have.
    pub fn piece_count(&self) -> u64 {
        self.frame.contents.div_ceil(PIECE)
    }

    /// Checks piece `piece` against its checksum, whether or not it was checked before.
    ///
    /// # Errors
    /// As [`SealedReader::read`].
    ///
    /// # Panics
    /// If there are not that many.
    pub fn verify_piece(&self, piece: u64) -> Result<()> {
        assert!(piece < self.piece_count(), "piece {piece} is none");
        let range = piece * PIECE..((piece + 1) * PIECE).min(self.frame.contents);
        let bytes = self.fetch(&range)?;
        self.verify(piece, &bytes)
    }

    fn fetch(&self, range: &Range<u64>) -> Result<Cow<'_, [u8]>> {
        fetch(&*self.file, &self.path, range).map_err(|error| self.note(error))
    }

    /// Checks piece `piece` as it lies on the disk, whatever is mapped or was checked before.
    ///
    /// # Errors
    /// As [`SealedReader::read`].
    ///
    /// # Panics
    /// If there are not that many.
    pub fn scrub_piece(&self, piece: u64) -> Result<()> {
        assert!(piece < self.piece_count(), "piece {piece} is none");
        let range = piece * PIECE..((piece + 1) * PIECE).min(self.frame.contents);
        let file = Unmapped(&*self.file);
        let bytes = fetch(&file, &self.path, &range).map_err(|error| self.note(error))?;
        self.verify(piece, &bytes)
    }

    /// Checks header, trailer and checksum section as they lie on the disk, and has the system forget
    /// what it keeps of the file: what is read next comes from the disk.
    ///
    /// # Errors
    /// As [`SealedReader::open`].
    pub fn scrub_frame(&self) -> Result<()> {
        self.file.forget_cached();
        let file = Unmapped(&*self.file);
        let check = || {
            let head = fetch(&file, &self.path, &(0..HEADER_BYTES as u64))?;
            FileHeader::check(&self.path, &head, &self.header)?;
            check_trailer(&file, &self.path, self.header.file_id)
        };
        check().map(drop).map_err(|error| self.note(error))
    }

    /// Checks every piece anew; returns all that is wrong, in the order of the file.
    pub fn verify_all(&self) -> Vec<Error> {
        (0..self.piece_count())
            .filter_map(|piece| self.verify_piece(piece).err())
            .collect()
    }

    fn is_verified(&self, piece: u64) -> bool {
        self.pieces.is_right(index(piece))
    }

    fn verify(&self, piece: u64, bytes: &[u8]) -> Result<()> {
        let at = index(piece) * 4;
        let section = match (&self.checksums, self.file.bytes()) {
            (Some(checksums), _) => checksums,
            (None, Some(bytes)) => &bytes[index(self.frame.contents)..],
            (None, None) => &[],
        };
        let stored = section.get(at..at + 4).map_or(0, |sum| {
            u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]])
        });
        let computed = checksum(self.header.file_id, piece * PIECE, bytes);
        let fits = stored == computed || sabotage::is(Fault::PieceChecksumIgnored);
        if self.pieces.note(index(piece), fits) {
            return Ok(());
        }
        let message = format!("checksum is {stored:08x}, the bytes give {computed:08x}");
        Err(self.corrupt(piece * PIECE, message))
    }
}

/// A file past its mapping.
#[derive(Debug)]
struct Unmapped<'file>(&'file dyn ReadFile);

impl ReadFile for Unmapped<'_> {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }
}

/// What a trailer says.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Length of the contents, bytes.
    contents: u64,
    root_checksum: u32,
}

/// Checks trailer and checksum section.
fn check_trailer(file: &dyn ReadFile, path: &Path, file_id: u64) -> Result<Frame> {
    let size = file.size_bytes();
    let Some(offset) = size.checked_sub(TRAILER_BYTES as u64) else {
        return Err(Error::corrupt(
            path,
            size,
            "the file ends before its trailer",
        ));
    };
    let trailer = fetch(file, path, &(offset..size))?;
    let corrupt = |at: u64, message: &str| Err(Error::corrupt(path, offset + at, message));
    if trailer[24..] != TRAILER_MAGIC {
        return corrupt(
            24,
            "the file does not end with a trailer: it is cut or not finished",
        );
    }
    let u32_at = |at: usize| {
        let bytes = trailer[at..at + 4].try_into();
        u32::from_le_bytes(bytes.expect("four bytes are asked for"))
    };
    if u32_at(20) != checksum(file_id, offset, &trailer[..20]) {
        return corrupt(20, "the trailer's checksum differs");
    }
    if u32_at(8) != piece_size() || u32_at(16) != 0 {
        return corrupt(
            8,
            "the trailer has another piece size or a reserved byte that is set",
        );
    }
    let contents = trailer[..8].try_into().expect("eight bytes are asked for");
    let contents = u64::from_le_bytes(contents);
    let section = contents.div_ceil(PIECE).checked_mul(4);
    if contents < HEADER_BYTES as u64
        || section.and_then(|section| section.checked_add(contents)) != Some(offset)
    {
        return corrupt(
            0,
            "the lengths that the trailer states do not give the file's size",
        );
    }
    let section = fetch(file, path, &(contents..offset))?;
    let root_checksum = u32_at(12);
    if root_checksum != checksum(file_id, contents, &section) {
        let message = "the checksum section's checksum differs";
        return Err(Error::corrupt(path, contents, message));
    }
    Ok(Frame {
        contents,
        root_checksum,
    })
}

/// Bytes of `file`, unchecked; `range` lies inside the size it had when it was opened.
fn fetch<'file>(
    file: &'file dyn ReadFile,
    path: &Path,
    range: &Range<u64>,
) -> Result<Cow<'file, [u8]>> {
    if let Some(bytes) = file.bytes() {
        return match bytes.get(index(range.start)..index(range.end)) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => Err(Error::corrupt(
                path,
                bytes.len() as u64,
                "the file ends early",
            )),
        };
    }
    let mut bytes = vec![0; index(range.end - range.start)];
    match file.read_at(range.start, &mut bytes) {
        Ok(()) => Ok(Cow::Owned(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Error::corrupt(path, range.start, "the file ends early"))
        }
        Err(error) => Err(Error::io("read file", path, error)),
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("offsets of a file that is open fit into memory addresses")
}

fn piece_size() -> u32 {
    const { assert!(PIECE_BYTES == 16_384) };
    16_384
}

#[cfg(test)]
pub(crate) mod tests;
