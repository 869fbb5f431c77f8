//! Sealed files over memory: what is written is read, what is damaged is found.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::*;
use crate::error::ErrorKind;
use crate::format::header::FileKind;

/// A file in memory that can be written and then opened, mapped or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemFile(pub(crate) Arc<Mutex<Vec<u8>>>);

impl MemFile {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl WriteFile for MemFile {
    fn write_at(&mut self, offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        let mut at = usize::try_from(offset).unwrap();
        for buffer in buffers {
            let end = at + buffer.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(buffer);
            at = end;
        }
        Ok(())
    }

    fn allocate(&mut self, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.0
            .lock()
            .unwrap()
            .truncate(usize::try_from(size).unwrap());
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes as a finished file.
#[derive(Debug)]
pub(crate) struct MemRead {
    pub(crate) bytes: Vec<u8>,
    pub(crate) mapped: bool,
}

impl ReadFile for MemRead {
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        match self.bytes.get(start..start + buffer.len()) {
            Some(bytes) => {
                buffer.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        self.mapped.then_some(&self.bytes[..])
    }
}

fn header() -> FileHeader {
    FileHeader::new(FileKind::Registry, 99, 7)
}

/// Bytes that do not repeat within a piece.
fn contents(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

fn sealed(contents: &[u8]) -> Vec<u8> {
    let file = MemFile::default();
    let mut writer = SealedWriter::new(Box::new(file.clone()), Path::new("f"), &header());
    for part in contents.chunks(10_007) {
        writer.write(part).unwrap();
    }
    let size = writer.finish().unwrap();
    let bytes = file.bytes();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

fn open(bytes: Vec<u8>, mapped: bool) -> Result<SealedReader> {
    let file = Arc::new(MemRead { bytes, mapped });
    SealedReader::open(file, Path::new("registry/7.reg"), &header())
}

#[test]
fn what_is_written_is_read_at_every_size_around_pieces_and_buffers() {
    let edges = [0, 1, PIECE_BYTES, BUFFER_BYTES, BUFFER_BYTES + PIECE_BYTES];
    for edge in edges {
        for len in [edge.saturating_sub(HEADER_BYTES), edge, edge + 1] {
            let written = contents(len);
            let bytes = sealed(&written);
            for mapped in [false, true] {
                let reader = open(bytes.clone(), mapped).unwrap();
                let end = reader.contents_bytes();
                assert_eq!(end, (HEADER_BYTES + len) as u64);
                assert_eq!(&*reader.read(64..end).unwrap(), &written[..]);
                let middle = 64 + len as u64 / 3..64 + len as u64 / 2;
                let expected = &written[len / 3..len / 2];
                assert_eq!(&*reader.read(middle.clone()).unwrap(), expected);
                let fresh = open(bytes.clone(), mapped).unwrap();
                assert_eq!(&*fresh.read(middle).unwrap(), expected, "at first touch");
                assert!(fresh.verify_all().is_empty());
            }
        }
    }
}

#[test]
fn a_range_behind_the_contents_is_refused() {
    let reader = open(sealed(&contents(100)), true).unwrap();
    let error = reader.read(100..165).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let reversed = reader.read(90..80);
    assert!(reversed.is_err());
}

#[test]
fn every_flipped_byte_is_found_and_nothing_else_is_lost() {
    let written = contents(3 * PIECE_BYTES);
    let bytes = sealed(&written);
    for at in (0..bytes.len())
        .step_by(97)
        .chain(bytes.len() - 60..bytes.len())
    {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let reader = match open(damaged, at % 2 == 0) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(
                    !(HEADER_BYTES..written.len()).contains(&at),
                    "{at}: {error}"
                );
                continue;
            }
        };
        let errors = reader.verify_all();
        assert_eq!(errors.len(), 1, "byte {at}");
        let place = errors[0].place().unwrap();
        assert_eq!(place.offset, (at / PIECE_BYTES * PIECE_BYTES) as u64);
        let own = at as u64;
        assert!(reader.read(own..own + 1).is_err(), "sticky");
        assert_eq!(reader.damaged_count(), 1, "counted once");
        let other = (at as u64 + PIECE) % (3 * PIECE);
        assert!(reader.read(other..other + 1).is_ok());
    }
}

/// A file whose byte 100 is wrong until it is mended.
#[derive(Debug)]
struct Healing(Vec<u8>, std::sync::atomic::AtomicBool);

impl ReadFile for Healing {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        let wrong = !self.1.load(Ordering::Relaxed);
        if wrong && (start..start + buffer.len()).contains(&100) {
            buffer[100 - start] ^= 1;
        }
        Ok(())
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }
}

#[test]
fn damage_that_was_seen_once_is_not_served_when_it_seems_gone() {
    let file = Arc::new(Healing(sealed(&contents(100)), false.into()));
    let reader = SealedReader::open(Arc::clone(&file) as _, Path::new("f"), &header()).unwrap();
    assert!(reader.read(90..110).is_err());
    file.1.store(true, Ordering::Relaxed);
    assert!(reader.read(90..110).is_err());
    assert_eq!(reader.damaged_count(), 1);
    let anew = SealedReader::open(file, Path::new("f"), &header()).unwrap();
    assert!(anew.read(90..110).is_ok());
}

#[test]
fn every_cut_is_found_at_open() {
    let bytes = sealed(&contents(PIECE_BYTES + 10));
    for len in (0..bytes.len())
        .step_by(61)
        .chain(bytes.len() - 50..bytes.len())
    {
        let error = open(bytes[..len].to_vec(), len % 2 == 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "cut at {len}: {error}");
    }
}

#[test]
fn another_file_is_not_taken_for_damage() {
    let file = Arc::new(MemRead {
        bytes: sealed(&contents(10)),
        mapped: true,
    });
    let other = FileHeader::new(FileKind::Registry, 99, 8);
    let error = SealedReader::open(file, Path::new("f"), &other).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn the_page_states_the_trailer_of_the_code() {
    let page = include_str!("../../../../../docs/format/file-header.md");
    let source = include_str!("../sealed.rs");
    let rows: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! "))
        .filter(|line| line.starts_with("| "))
        .collect();
    assert_eq!(rows.len(), 7);
    for row in rows {
        assert!(page.contains(row), "the page lacks: {row}");
    }
}
