//! A disk that fails when told to, and that forgets what was not synced when the power goes.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What a crash may tear a write at.
const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the running process sees.
    seen: Vec<u8>,
    /// What a crash surely leaves.
    synced: Vec<u8>,
    /// What was written since.
    unsynced: VecDeque<Change>,
    /// Operations that still work; `None` is all.
    working: Option<u64>,
    /// Operations that fail after that.
    failing: u64,
    operations: u64,
    /// The most bytes there may be; `None` is any number.
    room: Option<usize>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Disk {
    /// After `working` more changes or syncs, `failing` of them fail.
    pub(super) fn fail_after(&self, working: u64, failing: u64) {
        let mut state = self.lock();
        state.working = Some(working);
        state.failing = failing;
    }

    /// From now on there is room for this much more.
    pub(super) fn leave_room(&self, bytes: usize) {
        let mut state = self.lock();
        state.room = Some(state.seen.len() + bytes);
    }

    pub(super) fn is_full(&self) -> bool {
        self.lock().room.is_some()
    }

    pub(super) fn make_room(&self) {
        self.lock().room = None;
    }

    /// What the running process sees.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lock().seen.clone()
    }

    /// A disk that holds these bytes.
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        let state = State { seen: bytes.clone(), synced: bytes, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Changes and syncs so far.
    pub(super) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// What a crash now could leave: all that was synced, and of the rest any part, in any
    /// order, torn at sectors. `random` decides.
    pub(super) fn crashed(&self, random: &mut impl FnMut() -> u64) -> Self {
        let state = self.lock();
        let mut left = state.synced.clone();
        let mut changes: Vec<Change> = state.unsynced.iter().cloned().collect();
        for at in (1..changes.len()).rev() {
            let other = usize::try_from(random()).expect("64 bits") % (at + 1);
            changes.swap(at, other);
        }
        for change in changes {
            match change {
                Change::Length(length) if random().is_multiple_of(2) => left.resize(length, 0),
                Change::Length(_) => {}
                Change::Write(offset, data) => tear(&mut left, offset, &data, random),
            }
        }
        Self::holding(left)
    }

    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        state.operations += 1;
        match state.working {
            Some(0) if state.failing > 0 => {
                state.failing -= 1;
                return Err(io::Error::other("the disk was told to fail"));
            }
            Some(0) => state.working = None,
            Some(left) => state.working = Some(left - 1),
            None => {}
        }
        Ok(state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics under this lock")
    }
}

fn tear(left: &mut Vec<u8>, offset: usize, data: &[u8], random: &mut impl FnMut() -> u64) {
    for (index, sector) in data.chunks(SECTOR_BYTES).enumerate() {
        if random().is_multiple_of(2) {
            continue;
        }
        let at = offset + index * SECTOR_BYTES;
        if left.len() < at + sector.len() {
            left.resize(at + sector.len(), 0);
        }
        left[at..at + sector.len()].copy_from_slice(sector);
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("64 bits")
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.lock().seen.len()).expect("64 bits"))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let offset = index(offset);
        let bytes = state.seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operate()?;
        if state.room.is_some_and(|room| index(len) > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.seen.resize(index(len), 0);
        state.unsynced.push_back(Change::Length(index(len)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.operate()?;
        state.synced = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operate()?;
        let offset = index(offset);
        let end = offset + data.len();
        if state.seen.len() < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.seen[offset..end].copy_from_slice(data);
        state.unsynced.push_back(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}
