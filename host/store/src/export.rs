//! Writing events out for other programs, `foreshore-verify` first of all, and for archives.
//!
//! ```text
//! export = "FORESHORE JOURNAL EXPORT 1\n" | journal_id:16 | first_seq:u64 | previous_hash:32
//!          | event* | 0xffffffff:u32 | count:u64 | tip_hash:32
//! event  = length:u32 | body | hash:32           (integers are little-endian)
//! ```
//!
//! `body` and `hash` are those of `frame`. The hash of each event is written so that a damaged
//! event can be named; commits and blobs are not part of an export.
//! The invariant: nothing is written that is not held to the chain.

use std::io::Write;

use redb::ReadTransaction;

use crate::error::ReadError;
use crate::facts::Tip;
use crate::frame::Hash;
use crate::frames::Frames;
use crate::journal::Journal;
use crate::meta::Meta;

pub(crate) const MAGIC: &[u8; 27] = b"FORESHORE JOURNAL EXPORT 1\n";
pub(crate) const END: u32 = u32::MAX;

/// What an export holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Its first event's number.
    pub first_seq: u64,
    /// How many events.
    pub events: u64,
    /// The end of the chain.
    pub tip: Tip,
}

/// An export was not written to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The journal could not be read, or does not verify.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What takes the bytes failed.
    #[error("the export could not be written: {message}")]
    Write {
        /// What the system said.
        message: String,
    },
}

impl From<std::io::Error> for ExportError {
    fn from(error: std::io::Error) -> Self {
        Self::Write { message: error.to_string() }
    }
}

impl Journal {
    /// Writes every event that is in the database, as of now, and flushes. Blocks.
    ///
    /// # Errors
    /// [`ExportError`]; what was written is then of no use.
    pub fn export(&self, to: &mut dyn Write) -> Result<Exported, ExportError> {
        self.reading(|read| export(read, u64::MAX, to))
    }
}

/// Writes whole frames, up to the last that ends at `to_seq` or before.
pub(crate) fn export(
    read: &ReadTransaction,
    to_seq: u64,
    to: &mut dyn Write,
) -> Result<Exported, ExportError> {
    let meta = Meta::read(read)?;
    let journal_id = meta.identity.map_or([0; 16], |identity| identity.journal_id);
    let first_seq = meta.base.seq + 1;
    to.write_all(&header(&journal_id, first_seq, &meta.base.hash))?;
    let mut tip = meta.base;
    Frames::new(read, meta.base)?.walk(0, |frame| {
        if frame.tip().seq > to_seq {
            return Ok(false);
        }
        for (_, body, hash) in frame.links() {
            let length = u32::try_from(body.len()).unwrap_or(END);
            to.write_all(&length.to_le_bytes())?;
            to.write_all(body)?;
            to.write_all(&hash)?;
        }
        tip = frame.tip();
        Ok::<_, ExportError>(true)
    })?;
    let events = tip.seq - meta.base.seq;
    to.write_all(&END.to_le_bytes())?;
    to.write_all(&events.to_le_bytes())?;
    to.write_all(&tip.hash)?;
    to.flush()?;
    Ok(Exported { first_seq, events, tip })
}

fn header(journal_id: &[u8; 16], first_seq: u64, previous: &Hash) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(journal_id);
    bytes.extend_from_slice(&first_seq.to_le_bytes());
    bytes.extend_from_slice(previous);
    bytes
}
