//! The simulated machine as an `Env`: each call counts, may fail, and then changes the disk.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::faults::{Failure, Faults, OpKind};
use super::{Random, SimEnv};
use crate::env::{DirEntry, DirLock, Env, ReadFile, StepHandle, StepOutcome, WriteFile};

/// What an unbounded disk says it has free.
const FREE_BYTES_UNBOUNDED: u64 = 1 << 40;

#[derive(Debug)]
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) disk: Disk,
    pub(super) faults: Faults,
    pub(super) short_writes: Option<usize>,
    pub(super) lies: bool,
    pub(super) capacity: Option<u64>,
    pub(super) now_ns: i64,
    pub(super) monotonic: Duration,
    random: Random,
    locked: bool,
}

impl State {
    pub(super) fn new(seed: u64, disk: Disk) -> State {
        State {
            seed,
            disk,
            faults: Faults::default(),
            short_writes: None,
            lies: false,
            capacity: None,
            now_ns: 1_600_000_000_000_000_000,
            monotonic: Duration::from_secs(1),
            random: Random(seed),
            locked: false,
        }
    }

    fn enter(&mut self, kind: OpKind, path: &Path) -> io::Result<()> {
        let failure = self.faults.enter(kind, path)?;
        failure.map_or(Ok(()), |failure| Err(failure.error()))
    }

    fn free_bytes(&self) -> u64 {
        self.capacity.map_or(FREE_BYTES_UNBOUNDED, |capacity| {
            capacity.saturating_sub(self.disk.used_bytes())
        })
    }

    /// Writes one piece; where it fails, a part of it may be there all the same.
    fn write(&mut self, file: &Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let failure = self.faults.enter(OpKind::Write, &file.path)?;
        let end = offset + bytes.len() as u64;
        let growth = end.saturating_sub(self.disk.inode(file.inode).now.size);
        let failure = failure.or((growth > self.free_bytes()).then_some(Failure::Full));
        let Some(failure) = failure else {
            self.disk.write(file.inode, offset, bytes);
            return Ok(());
        };
        let missing = growth.saturating_sub(self.free_bytes());
        let length = bytes.len() as u64;
        let taken = self.random.below(length + 1).min(length - missing);
        let taken = usize::try_from(taken).expect("at most the length of the write");
        if taken > 0 {
            self.disk.write(file.inode, offset, &bytes[..taken]);
        }
        Err(failure.error())
    }

    fn grow(&mut self, file: &Handle, size: u64) -> io::Result<()> {
        self.enter(OpKind::Allocate, &file.path)?;
        let growth = size.saturating_sub(self.disk.inode(file.inode).now.size);
        if growth > self.free_bytes() {
            return Err(Failure::Full.error());
        }
        if growth > 0 {
            self.disk.resize(file.inode, size);
        }
        Ok(())
    }
}

/// An open file; holding `_open` keeps its bytes after its name is gone.
#[derive(Debug)]
struct Handle {
    env: SimEnv,
    path: PathBuf,
    inode: u64,
    _open: Arc<()>,
}

impl Handle {
    fn new(env: &SimEnv, state: &State, path: &Path, inode: u64) -> Handle {
        Handle {
            env: env.clone(),
            path: path.to_owned(),
            inode,
            _open: Arc::clone(&state.disk.inode(inode).handles),
        }
    }
}

#[derive(Debug)]
struct SimWriteFile(Handle);

impl WriteFile for SimWriteFile {
    fn write_at(&mut self, mut offset: u64, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.0.env.state();
        let bytes: Vec<u8> = buffers
            .iter()
            .flat_map(|buffer| &buffer[..])
            .copied()
            .collect();
        let piece = state.short_writes.unwrap_or(bytes.len()).max(1);
        for bytes in bytes.chunks(piece) {
            state.write(&self.0, offset, bytes)?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    fn allocate(&mut self, size: u64) -> io::Result<()> {
        self.0.env.state().grow(&self.0, size)
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.0.env.state();
        state.enter(OpKind::Truncate, &self.0.path)?;
        state.disk.resize(self.0.inode, size);
        Ok(())
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.0.env.state();
        let state = &mut *state;
        let failure = state.faults.enter(OpKind::SyncData, &self.0.path)?;
        if let Some(failure) = failure {
            state
                .disk
                .sync_data_in_part(self.0.inode, &mut state.random);
            return Err(failure.error());
        }
        if state.lies {
            state
                .disk
                .sync_data_in_part(self.0.inode, &mut state.random);
        } else {
            state.disk.sync_data(self.0.inode);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimReadFile {
    handle: Handle,
    size_bytes: u64,
}

impl ReadFile for SimReadFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.handle.env.state();
        state.enter(OpKind::Read, &self.handle.path)?;
        let content = &state.disk.inode(self.handle.inode).now;
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > content.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.read(offset, buffer);
        Ok(())
    }

    fn bytes(&self) -> Option<&[u8]> {
        None
    }
}

#[derive(Debug)]
struct SimLock(SimEnv);

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl Env for SimEnv {
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut state = self.state();
        if state.faults.is_off() {
            return Err(io::Error::other("the machine is off"));
        }
        if state.locked {
            let message = "process 1 has the data directory open";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
        }
        state.locked = true;
        state.disk.poke(path, b"1\n");
        drop(state);
        Ok(Box::new(SimLock(self.clone())))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        state.enter(OpKind::Create, path)?;
        let inode = state.disk.create(path)?;
        let handle = Handle::new(self, &state, path, inode);
        Ok(Box::new(SimWriteFile(handle)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.state();
        state.enter(OpKind::Open, path)?;
        let inode = state.disk.find(path)?;
        let handle = Handle::new(self, &state, path, inode);
        Ok(Box::new(SimWriteFile(handle)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let mut state = self.state();
        state.enter(OpKind::Open, path)?;
        let inode = state.disk.find(path)?;
        let size_bytes = state.disk.inode(inode).now.size;
        let handle = Handle::new(self, &state, path, inode);
        Ok(Arc::new(SimReadFile { handle, size_bytes }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.enter(OpKind::Rename, from)?;
        state.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.enter(OpKind::Remove, path)?;
        state.disk.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.enter(OpKind::CreateDir, path)?;
        state.disk.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state();
        state.enter(OpKind::List, path)?;
        state.disk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.enter(OpKind::SyncDir, path)?;
        state.disk.sync_dir(path)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state().free_bytes())
    }

    fn now_ns(&self) -> i64 {
        self.state().now_ns
    }

    fn monotonic(&self) -> Duration {
        self.state().monotonic
    }

    fn random(&self) -> [u64; 4] {
        let mut state = self.state();
        std::array::from_fn(|_| state.random.next())
    }

    fn every(
        &self,
        _name: &str,
        _interval: Duration,
        step: Box<dyn FnMut() -> StepOutcome + Send>,
    ) -> io::Result<Box<dyn StepHandle>> {
        Ok(self.steps.add(step))
    }
}
