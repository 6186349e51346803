//! One transaction's worth of entries: conditions checked, numbers given, views kept.
//!
//! An entry whose condition does not hold leaves the others alone. One that a view refuses may
//! have been applied in part: the transaction is given up, and written again without it. The
//! invariant: **an entry is in the journal, in its views and in the blobs, or in none of them.**

use std::panic::{AssertUnwindSafe, catch_unwind};

use foreshore_domain::event::NewEvent;
use redb::WriteTransaction;

use crate::blobs;
use crate::caches::Caches;
use crate::commit::{Committed, Condition, Conflict, Prepared};
use crate::db::Db;
use crate::error::AppendError;
use crate::facts::Tip;
use crate::frame::FrameWriter;
use crate::frames;
use crate::views::{Receipt, ViewError, Views};

/// What somebody wants recorded.
pub(crate) enum Request {
    Event(NewEvent),
    Entry(Box<Prepared>),
}

/// What became of a request.
pub(crate) type Fate = Result<Committed, AppendError>;

/// Requests that were written, in a frame unless all were refused.
pub(crate) struct Written {
    pub(crate) fates: Vec<Fate>,
    pub(crate) tip: Tip,
}

/// Work on the tables that belongs to a commit.
pub(crate) type Also<'a> = &'a dyn Fn(&WriteTransaction) -> Result<(), redb::Error>;

/// Nothing of the group was written.
pub(crate) enum Stop {
    /// It can be without this request.
    Refused { index: usize, error: AppendError },
    /// The disk, or redb, failed before the commit.
    Storage(Trouble),
    /// They failed in the commit: the chain may or may not end here.
    InDoubt { tip: Tip, trouble: Trouble },
}

/// What redb or the system said.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) message: String,
    pub(crate) disk_full: bool,
}

impl Trouble {
    pub(crate) fn new(message: &str) -> Self {
        Self { message: message.to_owned(), disk_full: false }
    }
}

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        Self { message: error.to_string(), disk_full: is_disk_full(&error) }
    }
}

pub(crate) fn is_disk_full(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, redb::Error::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded))
}

impl From<redb::Error> for Stop {
    fn from(error: redb::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// Writes requests after `before`, in one transaction.
/// `also` is done in it too, if anything is written.
pub(crate) fn write(
    db: &Db,
    before: Tip,
    requests: &[Request],
    also: Also<'_>,
    caches: &Caches,
) -> Result<Written, Stop> {
    let txn = db.begin_write()?;
    let (fates, frame) = fill(&txn, before, requests, caches)?;
    if frame.is_empty() {
        txn.abort().map_err(redb::Error::from)?;
        return Ok(Written { fates, tip: before });
    }
    let seq = frame.last_seq();
    let (bytes, hash) = frame.finish();
    frames::insert(&txn, before.seq + 1, &bytes)?;
    also(&txn)?;
    let tip = Tip { seq, hash };
    // redb panics on some states of a broken file; that ends this commit, not the host.
    match catch_unwind(AssertUnwindSafe(|| txn.commit())) {
        Ok(Ok(())) => Ok(Written { fates, tip }),
        Ok(Err(error)) => Err(Stop::InDoubt { tip, trouble: redb::Error::from(error).into() }),
        Err(_) => Err(Stop::InDoubt { tip, trouble: Trouble::new("the commit panicked") }),
    }
}

fn fill(
    txn: &WriteTransaction,
    before: Tip,
    requests: &[Request],
    caches: &Caches,
) -> Result<(Vec<Fate>, FrameWriter), Stop> {
    let mut frame = FrameWriter::new(before.seq + 1, before.hash);
    let mut group = Group { txn, views: Views::new(txn), caches };
    let mut fates = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let refused = |error| Stop::Refused { index, error };
        let fate = match request {
            Request::Event(event) => {
                let (seq, receipt) = group.push(&mut frame, event, &refused)?;
                // Nothing to say is the rule, and takes no memory.
                let receipts = if receipt == Receipt::NONE { Vec::new() } else { vec![receipt] };
                Ok(Committed { first_seq: seq, last_seq: seq, receipts })
            }
            Request::Entry(entry) => match group.conflict(&entry.conditions)? {
                Some(conflict) => Err(AppendError::Conflict(Box::new(conflict))),
                None => Ok(group.push_entry(&mut frame, entry, &refused)?),
            },
        };
        fates.push(fate);
    }
    let unneeded = group.views.finish()?;
    if !unneeded.is_empty() {
        let mut table = txn.open_table(blobs::BLOBS).map_err(redb::Error::from)?;
        for digest in unneeded {
            table.remove(&digest).map_err(redb::Error::from)?;
        }
    }
    Ok((fates, frame))
}

/// What every entry of a transaction meets.
struct Group<'t> {
    txn: &'t WriteTransaction,
    views: Views<'t>,
    caches: &'t Caches,
}

impl Group<'_> {
    fn push_entry(
        &mut self,
        frame: &mut FrameWriter,
        entry: &Prepared,
        refused: &impl Fn(AppendError) -> Stop,
    ) -> Result<Committed, Stop> {
        for blob in &entry.blobs {
            blobs::put(self.txn, blob)?;
        }
        let first_seq = frame.next_seq();
        let mut receipts = Vec::with_capacity(entry.events.len());
        for event in &entry.events {
            receipts.push(self.push(frame, event, refused)?.1);
        }
        Ok(Committed { first_seq, last_seq: frame.last_seq(), receipts })
    }

    /// Adds one event to the frame, and shows it to the views that it concerns.
    fn push(
        &mut self,
        frame: &mut FrameWriter,
        event: &NewEvent,
        refused: &impl Fn(AppendError) -> Stop,
    ) -> Result<(u64, Receipt), Stop> {
        let kind = event.kind.as_str();
        for digest in blobs::named(kind, &event.payload) {
            if !blobs::is_stored(self.txn, &digest)? {
                return Err(refused(AppendError::BlobUnknown { digest }));
            }
        }
        let (seq, body) = frame.push(event);
        if !Views::concerns(event.stream.is_guarded(), kind) {
            return Ok((seq, Receipt::NONE));
        }
        match self.views.apply(&frame.event(seq, body)) {
            Ok(receipt) => {
                // Before the commit: whoever sees the event must find the note of it.
                if let Some(touched) = receipt.touched {
                    self.caches.records.changed(touched, seq);
                }
                Ok((seq, receipt))
            }
            Err(ViewError::Storage { message, disk_full }) => {
                Err(Stop::Storage(Trouble { message, disk_full }))
            }
            Err(error) => Err(refused(AppendError::Invalid { kind, message: error.to_string() })),
        }
    }

    /// The first condition that does not hold.
    fn conflict(&self, conditions: &[Condition]) -> Result<Option<Conflict>, Stop> {
        for condition in conditions {
            let (expected, actual) = match condition {
                Condition::StreamAt { tenant, stream, seq } => {
                    (*seq, self.views.stream_head(tenant.as_str(), &stream.to_string())?)
                }
                Condition::RecordVersion { tenant, namespace, key, now_unix_ms, version } => {
                    let (tenant, key) = (tenant.as_str(), key.as_str());
                    let actual = self
                        .views
                        .record_version(tenant, namespace.as_str(), key, *now_unix_ms)
                        .map_err(|error| match error {
                            ViewError::Storage { message, disk_full } => {
                                Stop::Storage(Trouble { message, disk_full })
                            }
                            error => Stop::Storage(Trouble::new(&error.to_string())),
                        })?;
                    (*version, actual)
                }
            };
            if actual != expected {
                return Ok(Some(Conflict { condition: condition.clone(), expected, actual }));
            }
        }
        Ok(None)
    }
}
