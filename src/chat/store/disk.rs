//! A disk in memory for tests: its power can be cut, it can be full.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// The same disk, however often it is cloned.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a power cut leaves for certain.
    synced: Vec<u8>,
    /// What is read.
    seen: Vec<u8>,
    /// What was done since the last sync.
    unsynced: Vec<Step>,
    /// Goes up with each power cut: who had the disk open before writes to it no more.
    life: u64,
    syncs: u64,
    is_full: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLength(u64),
}

/// The disk as one database sees it.
#[derive(Debug)]
struct Handle {
    disk: Disk,
    life: u64,
}

impl Disk {
    pub(super) fn open(&self) -> Result<redb::Database, redb::Error> {
        let life = self.lock().life;
        let handle = Handle { disk: self.clone(), life };
        Ok(redb::Database::builder().set_cache_size(1 << 20).create_with_backend(handle)?)
    }

    /// Loses what wasn't synced, except for the steps that are chosen: a disk writes in any order it likes.
    pub(super) fn cut_power(&self, mut is_kept: impl FnMut() -> bool) {
        let mut state = self.lock();
        let mut left = state.synced.clone();
        for step in std::mem::take(&mut state.unsynced) {
            if is_kept() {
                step.apply(&mut left);
            }
        }
        state.synced.clone_from(&left);
        state.seen = left;
        state.life += 1;
    }

    pub(super) fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    pub(super) fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Step {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => {
                let at = *at as usize;
                bytes.resize(bytes.len().max(at + data.len()), 0);
                bytes[at..at + data.len()].copy_from_slice(data);
            }
            Self::SetLength(length) => bytes.resize(*length as usize, 0),
        }
    }
}

impl Handle {
    fn step(&self, step: Step) -> io::Result<()> {
        let mut state = self.alive()?;
        if state.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        step.apply(&mut state.seen);
        state.unsynced.push(step);
        Ok(())
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        if state.life == self.life { Ok(state) } else { Err(io::Error::other("the power is off")) }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.alive()?;
        let end = offset as usize + out.len();
        let read = state.seen.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(read);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Step::SetLength(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        if state.is_full && !state.unsynced.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.synced = state.seen.clone();
        state.unsynced.clear();
        state.syncs += 1;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(offset, data.to_vec()))
    }
}
