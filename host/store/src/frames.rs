//! The table of frames: the first event's number to the frame's bytes.
//!
//! Deliberately absent: queueing and retries (see `writer`) and what follows from events (see
//! `views`). The invariant: nothing is given out that is not held to the chain.

use redb::{ReadTransaction, TableDefinition, TableError, WriteTransaction};

use crate::db::storage;
use crate::error::{CorruptError, ReadError};
use crate::facts::{Tip, Verified};
use crate::frame::{Event, FrameRef, Hash, owned_events};

pub(crate) const FRAMES: TableDefinition<'_, u64, &[u8]> =
    TableDefinition::new("journal_frames_v1");

/// Adds a frame.
pub(crate) fn insert(
    txn: &WriteTransaction,
    first_seq: u64,
    frame: &[u8],
) -> Result<(), redb::Error> {
    txn.open_table(FRAMES)?.insert(first_seq, frame)?;
    Ok(())
}

/// The frames of one state of the journal.
pub(crate) struct Frames {
    /// `None` before the first commit.
    table: Option<redb::ReadOnlyTable<u64, &'static [u8]>>,
    /// What the first frame continues.
    base: Tip,
}

impl Frames {
    pub(crate) fn new(txn: &ReadTransaction, base: Tip) -> Result<Self, ReadError> {
        match txn.open_table(FRAMES) {
            Ok(table) => Ok(Self { table: Some(table), base }),
            Err(TableError::TableDoesNotExist(_)) => Ok(Self { table: None, base }),
            Err(error) => Err(storage(error)),
        }
    }

    /// What the first frame continues: nothing, or what is in an archive.
    pub(crate) fn base(&self) -> Tip {
        self.base
    }

    /// The end of the chain, after its last two frames were held to their hashes.
    pub(crate) fn tip(&self) -> Result<Tip, ReadError> {
        let Some(table) = &self.table else { return Ok(self.base) };
        let mut range = table.range::<u64>(..).map_err(storage)?;
        let Some(last) = range.next_back() else { return Ok(self.base) };
        let (seq, bytes) = last.map_err(storage)?;
        let last = FrameRef::parse(seq.value(), bytes.value())?;
        let before = match range.next_back() {
            Some(entry) => {
                let (seq, bytes) = entry.map_err(storage)?;
                FrameRef::parse(seq.value(), bytes.value())?.tip()
            }
            None => self.base,
        };
        check_link(before, seq.value(), &last)?;
        Ok(last.tip())
    }

    /// At most `max` events from `from_seq` on.
    pub(crate) fn read(&self, from_seq: u64, max: usize) -> Result<Vec<Event>, ReadError> {
        let mut events: Vec<Event> = Vec::new();
        let Some(table) = &self.table else { return Ok(events) };
        if from_seq <= self.base.seq && self.base.seq > 0 {
            return Err(ReadError::Archived { to: self.base.seq });
        }
        let mut before: Option<Hash> = None;
        for entry in table.range(self.start_of(from_seq)?..).map_err(storage)? {
            if events.len() >= max {
                break;
            }
            let (seq, bytes) = entry.map_err(storage)?;
            let seq = seq.value();
            let of_frame = owned_events(seq, bytes.value())?;
            if let (Some(before), Some(first)) = (before, of_frame.first())
                && first.previous_hash != before
            {
                return Err(CorruptError::Unlinked { seq }.into());
            }
            before = of_frame.last().map(|event| event.hash);
            let room = max - events.len();
            events.extend(of_frame.into_iter().filter(|e| e.seq >= from_seq).take(room));
        }
        Ok(events)
    }

    /// The number under which the frame is that holds `seq`.
    fn start_of(&self, seq: u64) -> Result<u64, ReadError> {
        let Some(table) = &self.table else { return Ok(seq) };
        match table.range(..=seq).map_err(storage)?.next_back() {
            Some(entry) => Ok(entry.map_err(storage)?.0.value()),
            None => Ok(seq),
        }
    }

    /// The chain's value after event `seq`; `None` past the end and before what is kept here.
    pub(crate) fn hash_at(&self, seq: u64) -> Result<Option<Hash>, ReadError> {
        if seq == self.base.seq {
            return Ok(Some(self.base.hash));
        }
        let Some(table) = &self.table else { return Ok(None) };
        let Some(entry) = table.range(..=seq).map_err(storage)?.next_back() else {
            return Ok(None);
        };
        let (first_seq, bytes) = entry.map_err(storage)?;
        Ok(FrameRef::parse(first_seq.value(), bytes.value())?.hash_at(seq))
    }

    /// Shows every frame from the one that holds `from_seq` on, each held to the chain, until
    /// `visit` says `false`.
    pub(crate) fn walk<E: From<ReadError>>(
        &self,
        from_seq: u64,
        mut visit: impl FnMut(&FrameRef<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let Some(table) = &self.table else { return Ok(()) };
        let from_start = from_seq <= self.base.seq + 1;
        let start = if from_start { 0 } else { self.start_of(from_seq)? };
        let mut before = from_start.then_some(self.base);
        for entry in table.range(start..).map_err(storage)? {
            let (seq, bytes) = entry.map_err(storage)?;
            let frame = FrameRef::parse(seq.value(), bytes.value()).map_err(ReadError::from)?;
            if let Some(before) = before {
                check_link(before, seq.value(), &frame).map_err(ReadError::from)?;
            }
            before = Some(frame.tip());
            if !visit(&frame)? {
                break;
            }
        }
        Ok(())
    }

    /// Holds every event to the chain.
    pub(crate) fn verify(
        &self,
        mut visit: impl FnMut(&FrameRef<'_>) -> Result<(), ReadError>,
    ) -> Result<Verified, ReadError> {
        let mut verified = Verified { tip: self.base, ..Verified::default() };
        self.walk(0, |frame| {
            visit(frame)?;
            verified.tip = frame.tip();
            verified.frames += 1;
            Ok::<_, ReadError>(true)
        })?;
        verified.events = verified.tip.seq - self.base.seq;
        Ok(verified)
    }
}

fn check_link(before: Tip, seq: u64, frame: &FrameRef<'_>) -> Result<(), CorruptError> {
    if seq > before.seq + 1 {
        return Err(CorruptError::Missing { from: before.seq + 1, to: seq - 1 });
    }
    if seq <= before.seq || frame.previous_hash != before.hash {
        return Err(CorruptError::Unlinked { seq });
    }
    Ok(())
}
