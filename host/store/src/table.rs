//! The one table, in redb: the first event's number to the frame's bytes.
//!
//! Deliberately absent: queueing and retries (see `writer`). Every commit is two-phase with
//! quick-repair, because guests have a say in what is written and redb's one-phase commit
//! trusts a checksum that is not cryptographic; it also makes opening after a crash instant.

use std::sync::Arc;

use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition, TableError};

use crate::error::{CorruptError, ReadError};
use crate::frame::{Event, Frame, GENESIS};
use crate::journal::{Tip, Verified};

const FRAMES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal_frames_v1");

/// Opens the database, again after each failure.
pub(crate) type Opener = Arc<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

pub(crate) struct FrameTable(Database);

impl FrameTable {
    pub(crate) fn new(database: Database) -> Self {
        Self(database)
    }

    /// Puts a frame on disk.
    pub(crate) fn commit(&self, first_seq: u64, frame: &[u8]) -> Result<(), redb::Error> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        transaction.open_table(FRAMES)?.insert(first_seq, frame)?;
        transaction.commit()?;
        Ok(())
    }

    /// The end of the chain, after its last two frames were held to their hashes.
    pub(crate) fn tip(&self) -> Result<Tip, ReadError> {
        let Some(table) = self.frames()? else { return Ok(Tip::default()) };
        let mut range = table.range::<u64>(..).map_err(storage)?;
        let Some(last) = range.next_back() else { return Ok(Tip::default()) };
        let (last_seq, last) = parse(last)?;
        let before = match range.next_back() {
            Some(entry) => end_of(&parse(entry)?.1),
            None => Tip::default(),
        };
        check_link(before, last_seq, &last)?;
        Ok(end_of(&last))
    }

    /// At most `max` events from `from_seq` on.
    pub(crate) fn read(&self, from_seq: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        let Some(table) = self.frames()? else { return Ok(Vec::new()) };
        let start = match table.range(..=from_seq).map_err(storage)?.next_back() {
            Some(entry) => entry.map_err(storage)?.0.value(),
            None => from_seq,
        };
        let mut events = Vec::new();
        let mut before: Option<Tip> = None;
        for entry in table.range(start..).map_err(storage)? {
            if events.len() >= max {
                break;
            }
            let (seq, frame) = parse(entry)?;
            if let Some(before) = before {
                check_link(before, seq, &frame)?;
            }
            before = Some(end_of(&frame));
            let room = max - events.len();
            events.extend(frame.events.into_iter().filter(|e| e.seq >= from_seq).take(room));
        }
        Ok(events)
    }

    /// Holds every event to the chain.
    pub(crate) fn verify(&self) -> Result<Verified, ReadError> {
        let mut verified = Verified::default();
        let Some(table) = self.frames()? else { return Ok(verified) };
        for entry in table.range::<u64>(..).map_err(storage)? {
            let (seq, frame) = parse(entry)?;
            check_link(verified.tip, seq, &frame)?;
            verified.tip = end_of(&frame);
            verified.frames += 1;
        }
        verified.events = verified.tip.seq;
        Ok(verified)
    }

    /// `None` before the first commit.
    fn frames(&self) -> Result<Option<redb::ReadOnlyTable<u64, &'static [u8]>>, ReadError> {
        let transaction = self.0.begin_read().map_err(storage)?;
        match transaction.open_table(FRAMES) {
            Ok(table) => Ok(Some(table)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(storage(error)),
        }
    }
}

type Entry<'a> = (redb::AccessGuard<'a, u64>, redb::AccessGuard<'a, &'static [u8]>);

fn parse(entry: Result<Entry<'_>, redb::StorageError>) -> Result<(u64, Frame), ReadError> {
    let (seq, bytes) = entry.map_err(storage)?;
    let seq = seq.value();
    Ok((seq, Frame::parse(seq, bytes.value())?))
}

fn end_of(frame: &Frame) -> Tip {
    let seq = frame.events.last().map_or(0, |event| event.seq);
    Tip { seq, hash: frame.tip_hash }
}

fn check_link(before: Tip, seq: u64, frame: &Frame) -> Result<(), CorruptError> {
    if seq > before.seq + 1 {
        return Err(CorruptError::Missing { from: before.seq + 1, to: seq - 1 });
    }
    if seq <= before.seq || frame.previous_hash != before.hash {
        return Err(CorruptError::Unlinked { seq });
    }
    Ok(())
}

fn storage(error: impl Into<redb::Error>) -> ReadError {
    ReadError::Storage { message: error.into().to_string() }
}

impl Default for Tip {
    fn default() -> Self {
        Self { seq: 0, hash: GENESIS }
    }
}
