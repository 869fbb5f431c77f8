//! The manifest's file: read at open, appended to, and written anew when it has grown.
//!
//! A file is `manifest/<16 hex>.man`; `CURRENT` holds the 64-byte header of the one that counts
//! and is swapped by a rename. A file is never appended to by a process that did not make it, nor
//! after an append failed: the next edit goes to a new file, so what a torn or failed append left
//! behind is never built upon. Page: `docs/format/manifest.md`.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{Env, ReadFile, WriteFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{FileHeader, FileKind, HEADER_BYTES};
use crate::format::manifest::{
    Edit, FRAME_BYTES, RecordPlace, decode_payload, encode_record, find_record,
};
use crate::manifest::state::State;
use crate::sabotage::{self, Fault};

/// The file that names the manifest that counts.
pub const CURRENT: &str = "CURRENT";
/// The folder of the manifests.
pub const FOLDER: &str = "manifest";

const CURRENT_TEMPORARY: &str = "CURRENT.tmp";
/// A manifest is written anew when its edits pass this and what its snapshot takes, bytes.
const EDITS_BYTES_MAX: u64 = 1 << 20;

/// The manifest of an open directory.
#[derive(Debug)]
pub struct Manifest {
    env: Arc<dyn Env>,
    state: State,
    /// The file edits are appended to; `None` until this process has made one.
    writing: Option<Writing>,
    /// The id of the file that CURRENT names.
    counts: u64,
    /// Where what counts ends in it.
    end: u64,
    /// The highest number that a manifest file has.
    last: u64,
    /// Whether an edit was refused that a crash might yet bring to light.
    uncertain: bool,
    torn_bytes: u64,
}

#[derive(Debug)]
struct Writing {
    file: Box<dyn WriteFile>,
    id: u64,
    end: u64,
    records: u64,
    /// Where the snapshot ends.
    snapshot: u64,
}

/// What a manifest file holds.
struct Loaded {
    state: State,
    /// Where what counts ends.
    end: u64,
    torn_bytes: u64,
}

impl Manifest {
    /// Reads the directory's manifest. `None` where the directory has none: nothing was ever
    /// acknowledged there. Writes nothing.
    ///
    /// # Errors
    /// `Corrupt` where it is damaged, naming file and offset; `Conflict` where a newer build wrote
    /// it; `Io`.
    pub fn open(env: Arc<dyn Env>) -> Result<Option<Manifest>> {
        let last = last_manifest(&*env)?;
        let Some(header) = read_current(&*env)? else {
            return Ok(None);
        };
        let loaded = load(&*env, &header)?;
        Ok(Some(Manifest {
            env,
            state: loaded.state,
            writing: None,
            counts: header.file_id,
            end: loaded.end,
            last: last.max(header.file_id),
            uncertain: false,
            torn_bytes: loaded.torn_bytes,
        }))
    }

    /// Makes the first manifest of an empty directory, with an id and a secret from `env`.
    ///
    /// # Errors
    /// `Io` or `NoSpace`.
    pub fn create(env: Arc<dyn Env>) -> Result<Manifest> {
        let folder = Path::new(FOLDER);
        env.create_dir(folder)
            .map_err(|source| Error::io("make folder", folder, source))?;
        let root = Path::new("");
        env.sync_dir(root)
            .map_err(|source| Error::io("sync folder", root, source))?;
        let [low, high, ..] = env.random();
        let state = State {
            // Zero means none.
            directory_id: (u128::from(high) << 64 | u128::from(low)).max(1),
            secret: env.random(),
            ..State::default()
        };
        let mut manifest = Manifest {
            last: last_manifest(&*env)?,
            env,
            state,
            writing: None,
            counts: 0,
            end: 0,
            uncertain: false,
            torn_bytes: 0,
        };
        manifest.rewrite()?;
        Ok(manifest)
    }

    /// What exists.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The id of the file that counts on disk; 0 before there is one.
    pub fn file(&self) -> u64 {
        self.counts
    }

    /// What must be found on the disk as of now; `None` while the outcome of an edit is not known.
    pub fn standing(&self) -> Option<Standing> {
        (!self.uncertain).then_some(Standing {
            directory_id: self.state.directory_id,
            file: self.counts,
            end: self.end,
        })
    }

    /// Writes a manifest that says what is known to count, whatever became of the one on the disk.
    ///
    /// # Errors
    /// `Io` or `NoSpace`: try again later.
    pub fn renew(&mut self) -> Result<()> {
        self.rewrite()
    }

    /// Bytes of an edit that a crash cut off, found at open.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Whether an edit failed in such a way that it may or may not be found after a crash. Ends
    /// with the next edit that succeeds.
    pub fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// Makes edits durable and happen, all of them or none. Cost: a write and a sync; now and then
    /// the whole manifest is written anew.
    ///
    /// # Errors
    /// `Io` or `NoSpace`: the state is as before; but see [`Manifest::is_uncertain`].
    ///
    /// # Panics
    /// If the edits contradict the state: they are ours.
    pub fn commit(&mut self, edits: &[Edit]) -> Result<()> {
        let mut next = self.state.clone();
        for edit in edits {
            next.apply(edit).expect("our own edits fit our own state");
        }
        let grown = self.writing.as_ref().is_none_or(|writing| {
            writing.end - writing.snapshot > EDITS_BYTES_MAX.max(writing.snapshot)
        });
        if grown {
            // What counts so far goes to a new file first, then the edit: where the disk is full
            // the old file stays as it is.
            self.rewrite()?;
        }
        let writing = self.writing.as_mut().expect("a rewrite leaves a file");
        let place = RecordPlace {
            file: writing.id,
            offset: writing.end,
            number: writing.records + 1,
        };
        let record = encode_record(edits, place)?;
        if let Err(error) = writing.append(&record) {
            // The bytes may reach the disk after all. A new file without them settles it.
            self.writing = None;
            self.uncertain = true;
            return Err(error);
        }
        self.end = writing.end;
        self.state = next;
        Ok(())
    }

    /// Writes a manifest that says what is known to count, so that an edit that failed is undone
    /// for good.
    ///
    /// # Errors
    /// `Io` or `NoSpace`: try again later.
    pub fn settle(&mut self) -> Result<()> {
        if self.uncertain {
            self.rewrite()
        } else {
            Ok(())
        }
    }

    fn rewrite(&mut self) -> Result<()> {
        let id = self.last + 1;
        // Taken even where the rest fails: a name is never used twice.
        self.last = id;
        let path = manifest_path(id);
        let header = FileHeader::new(FileKind::Manifest, self.state.directory_id, id);
        let file = self
            .env
            .create(&path)
            .map_err(|source| Error::io("make manifest", &path, source))?;
        let written = self.write_snapshot(file, header);
        if written.is_err() {
            // Nothing names it; on a full disk what it takes is missed.
            self.env.remove(&path).ok();
        }
        let swapped = written.and_then(|writing| {
            swap_current(&*self.env, &header)?;
            Ok(writing)
        });
        let writing = match swapped {
            Ok(writing) => writing,
            Err(error) => {
                self.writing = None;
                return Err(error);
            }
        };
        (self.counts, self.end) = (id, writing.end);
        self.writing = Some(writing);
        self.uncertain = false;
        self.remove_others(id);
        Ok(())
    }

    fn write_snapshot(&self, file: Box<dyn WriteFile>, header: FileHeader) -> Result<Writing> {
        let (bytes, records) = encode_snapshot(&self.state, &header)?;
        let mut writing = Writing {
            file,
            id: header.file_id,
            end: 0,
            records: 0,
            snapshot: bytes.len() as u64,
        };
        writing.append(&bytes)?;
        writing.records = records;
        let folder = Path::new(FOLDER);
        self.env
            .sync_dir(folder)
            .map_err(|source| Error::io("sync folder", folder, source))?;
        Ok(writing)
    }

    /// Older manifests do not count any more. One that stays is removed another time.
    fn remove_others(&self, id: u64) {
        let names = self.env.list(Path::new(FOLDER)).unwrap_or_default();
        for entry in names {
            if manifest_id(&entry.name).is_none_or(|other| other < id) && !entry.is_dir {
                drop(self.env.remove(&Path::new(FOLDER).join(&entry.name)));
            }
        }
    }
}

/// What must be found on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    directory_id: u128,
    file: u64,
    /// Where what counts ends in the manifest, bytes.
    pub end: u64,
}

impl Standing {
    /// Reads `CURRENT` and the manifest from the disk again. Memory: the manifest and what it says.
    ///
    /// # Errors
    /// `Corrupt` where they are damaged, `Io`, `Busy`; also where the manifest was written anew meanwhile.
    pub fn verify(&self, env: &dyn Env) -> Result<()> {
        let path = manifest_path(self.file);
        for path in [Path::new(CURRENT), &path] {
            if let Ok(file) = env.open_unmapped(path) {
                file.forget_cached();
            }
        }
        let expected = FileHeader::new(FileKind::Manifest, self.directory_id, self.file);
        if read_current(env)? != Some(expected) {
            let message = "the file does not name the manifest that counts";
            return Err(Error::corrupt(CURRENT, 0, message));
        }
        let loaded = load(env, &expected)?;
        if loaded.end < self.end {
            let message = "edits of the manifest are damaged";
            return Err(Error::corrupt(path, loaded.end, message));
        }
        Ok(())
    }
}

/// A whole manifest that says `state`, and how many records it has.
fn encode_snapshot(state: &State, header: &FileHeader) -> Result<(Vec<u8>, u64)> {
    let mut bytes = header.encode().to_vec();
    let mut records = 0;
    let mut groups = state.snapshot();
    groups.push(vec![Edit::SnapshotEnd]);
    for edits in groups {
        records += 1;
        let place = RecordPlace {
            file: header.file_id,
            offset: bytes.len() as u64,
            number: records,
        };
        bytes.extend_from_slice(&encode_record(&edits, place)?);
    }
    Ok((bytes, records))
}

/// Writes a manifest that says `state` into another directory, whose folder is there, as number
/// `id`, durable but for its name; nothing refers to it. Its size, bytes.
///
/// # Errors
/// `Io` or `NoSpace`.
pub fn export(env: &dyn Env, state: &State, id: u64) -> Result<u64> {
    let path = manifest_path(id);
    let header = FileHeader::new(FileKind::Manifest, state.directory_id, id);
    let (bytes, _) = encode_snapshot(state, &header)?;
    let io = |source| Error::io("write manifest", &path, source);
    let mut file = env.create(&path).map_err(io)?;
    file.write_at(0, &[IoSlice::new(&bytes)]).map_err(io)?;
    file.sync_data().map_err(io)?;
    Ok(bytes.len() as u64)
}

/// What a manifest says that [`export`] wrote.
///
/// # Errors
/// `Corrupt` where it is damaged; `Conflict` where it is another or a newer one; `Io`.
pub fn import(env: &dyn Env, header: &FileHeader) -> Result<State> {
    let loaded = load(env, header)?;
    if loaded.torn_bytes > 0 {
        let message = "bytes follow the end of the manifest";
        return Err(Error::corrupt(manifest_path(header.file_id), 0, message));
    }
    Ok(loaded.state)
}

/// Makes the manifest with this header the one that counts in its directory, durably.
///
/// # Errors
/// `Io` or `NoSpace`.
pub fn make_current(env: &dyn Env, header: &FileHeader) -> Result<()> {
    swap_current(env, header)
}

impl Writing {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let path = manifest_path(self.id);
        self.file
            .write_at(self.end, &[IoSlice::new(bytes)])
            .map_err(|source| Error::io("write manifest", &path, source))?;
        if !sabotage::is(Fault::ManifestNotSynced) {
            self.file
                .sync_data()
                .map_err(|source| Error::io("sync manifest", &path, source))?;
        }
        self.end += bytes.len() as u64;
        self.records += 1;
        Ok(())
    }
}

/// Where manifest `id` lies.
pub fn manifest_path(id: u64) -> PathBuf {
    Path::new(FOLDER).join(format!("{id:016x}.man"))
}

fn manifest_id(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".man")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// The highest number that a manifest file has, 0 where there is none.
fn last_manifest(env: &dyn Env) -> Result<u64> {
    let folder = Path::new(FOLDER);
    let entries = match env.list(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("list folder", folder, error)),
    };
    let ids = entries.iter().filter_map(|entry| manifest_id(&entry.name));
    Ok(ids.max().unwrap_or(0))
}

fn read_current(env: &dyn Env) -> Result<Option<FileHeader>> {
    let path = Path::new(CURRENT);
    let file = match env.open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open file", path, error)),
    };
    let bytes = read_whole(&*file, path)?;
    let header = FileHeader::decode(&bytes).map_err(|error| error.into_error(path))?;
    if header.kind != FileKind::Manifest {
        return Err(Error::corrupt(path, 7, "the file names no manifest"));
    }
    if bytes.len() != HEADER_BYTES {
        let message = "bytes follow the name of the manifest";
        return Err(Error::corrupt(path, HEADER_BYTES as u64, message));
    }
    Ok(Some(header))
}

fn swap_current(env: &dyn Env, header: &FileHeader) -> Result<()> {
    let (temporary, current) = (Path::new(CURRENT_TEMPORARY), Path::new(CURRENT));
    match env.remove(temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("remove file", temporary, error)),
    }
    let failed = |doing: &str, source| Error::io(doing, temporary, source);
    let mut file = env
        .create(temporary)
        .map_err(|source| failed("make file", source))?;
    file.write_at(0, &[IoSlice::new(&header.encode())])
        .map_err(|source| failed("write file", source))?;
    file.sync_data()
        .map_err(|source| failed("sync file", source))?;
    drop(file);
    env.rename(temporary, current)
        .map_err(|source| failed("rename file", source))?;
    if sabotage::is(Fault::CurrentNotDurable) {
        return Ok(());
    }
    env.sync_dir(Path::new(""))
        .map_err(|source| failed("sync folder", source))
}

fn load(env: &dyn Env, header: &FileHeader) -> Result<Loaded> {
    let path = manifest_path(header.file_id);
    let file = match env.open_read(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = "the manifest that CURRENT names is missing";
            return Err(Error::corrupt(&path, 0, message));
        }
        Err(error) => return Err(Error::io("open manifest", &path, error)),
    };
    let bytes = read_whole(&*file, &path)?;
    FileHeader::check(&path, &bytes, header)?;
    let mut place = RecordPlace {
        file: header.file_id,
        offset: HEADER_BYTES as u64,
        number: 1,
    };
    let mut rest = &bytes[HEADER_BYTES..];
    let mut state = State::default();
    let mut whole = false;
    while let Some(payload) = find_record(rest, place) {
        let placed = |error: Error| error.at(&path, place.offset);
        for edit in decode_payload(payload).map_err(placed)? {
            whole |= edit == Edit::SnapshotEnd;
            state.apply(&edit).map_err(placed)?;
        }
        let size = FRAME_BYTES + payload.len();
        rest = &rest[size..];
        place.offset += size as u64;
        place.number += 1;
    }
    if !whole {
        // Only a whole snapshot is ever named by CURRENT.
        let message = "the manifest is damaged before its snapshot ends";
        return Err(Error::corrupt(&path, place.offset, message));
    }
    if let Some(distance) = record_behind(rest, place) {
        let message = format!("an edit is damaged and a whole one follows {distance} bytes later");
        return Err(Error::corrupt(&path, place.offset, message));
    }
    if state.directory_id != header.directory_id {
        let message = "the manifest is of another data directory than its header says";
        return Err(Error::corrupt(&path, HEADER_BYTES as u64, message));
    }
    Ok(Loaded {
        state,
        end: place.offset,
        torn_bytes: rest.len() as u64,
    })
}

/// How far behind `place` the next whole record stands, if one does: then what stands at `place`
/// is no torn end.
fn record_behind(bytes: &[u8], place: RecordPlace) -> Option<usize> {
    (1..bytes.len()).find(|distance| {
        // The number stands in the frame: all but a few places are ruled out by it.
        let number = bytes.get(distance + 8..distance + FRAME_BYTES);
        let number = number.and_then(|bytes| bytes.first_chunk::<8>());
        let ahead = number.map(|bytes| u64::from_le_bytes(*bytes).wrapping_sub(place.number));
        ahead.is_some_and(|ahead| ahead < bytes.len() as u64)
            && ahead.is_some_and(|ahead| {
                let there = RecordPlace {
                    offset: place.offset + *distance as u64,
                    number: place.number + ahead,
                    ..place
                };
                find_record(&bytes[*distance..], there).is_some()
            })
    })
}

fn read_whole(file: &dyn ReadFile, path: &Path) -> Result<Vec<u8>> {
    let size = usize::try_from(file.size_bytes())
        .map_err(|_| Error::new(ErrorKind::Corrupt, "the file passes the address space"))?;
    let mut bytes = vec![0; size];
    file.read_at(0, &mut bytes)
        .map_err(|source| Error::io("read file", path, source))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
