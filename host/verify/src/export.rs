//! Reads an export, an event at a time.

use std::io::{ErrorKind, Read};

use crate::{Failure, Finding};

const MAGIC: &[u8; 27] = b"FORESHORE JOURNAL EXPORT 1\n";
const END: u32 = u32::MAX;
/// More than any event has: a length that was changed must not take memory.
const BODY_MAX_BYTES: u32 = 1 << 20;

pub(crate) struct Export<R> {
    source: R,
    pub(crate) journal_id: [u8; 16],
    pub(crate) first_seq: u64,
    pub(crate) previous_hash: [u8; 32],
    next_seq: u64,
    body: Vec<u8>,
}

/// What comes next.
pub(crate) enum Item<'a> {
    Event { seq: u64, body: &'a [u8], hash: [u8; 32] },
    End { tip_hash: [u8; 32] },
}

impl<R: Read> Export<R> {
    pub(crate) fn new(mut source: R) -> Result<Self, Failure> {
        let magic: [u8; 27] = bytes(&mut source, 0)?;
        if magic != *MAGIC {
            return Err(Finding::new(0, "this is not an export of a journal").into());
        }
        let journal_id = bytes(&mut source, 0)?;
        let first_seq = u64::from_le_bytes(bytes(&mut source, 0)?);
        let previous_hash = bytes(&mut source, 0)?;
        if first_seq == 0 {
            return Err(Finding::new(0, "events are numbered from 1").into());
        }
        let (next_seq, body) = (first_seq, Vec::new());
        Ok(Self { source, journal_id, first_seq, previous_hash, next_seq, body })
    }

    pub(crate) fn next(&mut self) -> Result<Item<'_>, Failure> {
        let seq = self.next_seq;
        let length = u32::from_le_bytes(bytes(&mut self.source, seq)?);
        if length == END {
            return self.end();
        }
        let body_bytes = match usize::try_from(length) {
            Ok(body_bytes) if length <= BODY_MAX_BYTES => body_bytes,
            _ => return Err(Finding::new(seq, "it is longer than an event can be").into()),
        };
        self.body.resize(body_bytes, 0);
        fill(&mut self.source, &mut self.body, seq)?;
        if !is_event(&self.body) {
            return Err(Finding::new(seq, "it is not of the form of an event").into());
        }
        let hash = bytes(&mut self.source, seq)?;
        self.next_seq += 1;
        Ok(Item::Event { seq, body: &self.body, hash })
    }

    fn end(&mut self) -> Result<Item<'static>, Failure> {
        let seq = self.next_seq;
        let count = u64::from_le_bytes(bytes(&mut self.source, seq)?);
        let tip_hash = bytes(&mut self.source, seq)?;
        if count != seq - self.first_seq {
            let what = format!(
                "the export says that it holds {count} events, and holds {}",
                seq - self.first_seq
            );
            return Err(Finding::new(seq, what).into());
        }
        let mut more = [0];
        match self.source.read(&mut more) {
            Ok(0) => Ok(Item::End { tip_hash }),
            Ok(_) => Err(Finding::new(seq, "there is something after the end").into()),
            Err(error) => Err(Failure::Io(error)),
        }
    }
}

/// Whether the parts of a body fill it.
fn is_event(body: &[u8]) -> bool {
    let Some((_, mut rest)) = body.split_first_chunk::<8>() else { return false };
    for part in 0..4 {
        let Some((length, after)) = rest.split_first_chunk::<4>() else { return false };
        let Ok(length) = usize::try_from(u32::from_le_bytes(*length)) else { return false };
        let Some((text, after)) = after.split_at_checked(length) else { return false };
        // Tenant, stream and kind are text; the payload is what it is.
        if part < 3 && std::str::from_utf8(text).is_err() {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn bytes<const N: usize>(source: &mut impl Read, seq: u64) -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    fill(source, &mut bytes, seq)?;
    Ok(bytes)
}

fn fill(source: &mut impl Read, to: &mut [u8], seq: u64) -> Result<(), Failure> {
    source.read_exact(to).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => Finding::new(seq, "the export is cut short here").into(),
        _ => Failure::Io(error),
    })
}
