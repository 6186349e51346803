//! Safe mode: what the writer does after the disk failed.
//!
//! Appends and commits are refused at once; what nobody waits for is held in the queue, which
//! is bounded, and reads go on as soon as the file is open again. The way out is a commit that
//! worked: first the event that the journal was read-only, then what the failing commit held,
//! unless that turns out to be on disk. After a full disk the reserve must be there again too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshore_domain::event::{EventKind, NewEvent};

use crate::error::OpenError;
use crate::facts::Tip;
use crate::group::{Request, Stop};
use crate::start::{self, Medium};
use crate::writer::{Failure, Writer, elapsed_ms, host_event, refuse_entries};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// What is to be written once the file is open again.
struct Left {
    /// That the journal was read-only.
    note: Option<NewEvent>,
    /// What the failing commit held and nobody waits for.
    kept: Vec<NewEvent>,
    /// A commit that may have gone through: where the chain is if it did, and what it held.
    doubt: Option<(Tip, Part)>,
}

enum Part {
    Note,
    /// So many of those that are kept, from the first.
    Kept(usize),
}

impl Writer {
    /// Opens the database again, with growing patience; `false` if the journal was closed
    /// before that worked.
    pub(crate) fn recover(&mut self, failure: Failure) -> bool {
        let Failure { message, disk_full, in_doubt, kept } = failure;
        tracing::error!(error = %message, "the journal failed and takes nothing until it can write again");
        let (since, since_unix_ms) = (Instant::now(), self.newest_at_unix_ms);
        refuse_entries(self.shared.queue.fail(&message, since), &message);
        // Reads go on from what is open; a handle that saw an error answers none of them.
        if disk_full && let Some(reserve) = &self.reserve {
            reserve.give_up();
        }
        let note = Some(read_only(since_unix_ms, &message));
        let doubt = in_doubt.map(|doubt| (doubt.tip, Part::Kept(doubt.kept)));
        let mut left = Left { note, kept, doubt };
        let mut backoff = BACKOFF_MIN;
        loop {
            let closing = self.shared.queue.pause(backoff);
            match self.come_back(&mut left) {
                Ok(()) => break,
                Err(error) if closing => {
                    tracing::error!(%error, "the journal could not be re-opened before the end");
                    return false;
                }
                Err(error) => tracing::warn!(%error, "the journal cannot write yet"),
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        while let Some(reserve) = &self.reserve
            && let Err(error) = reserve.ensure()
        {
            tracing::warn!(%error, "the journal's reserve cannot be made again yet");
            if self.shared.queue.pause(backoff) {
                // What is held is still written if it fits: the file is open.
                break;
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        let lasted_ms = elapsed_ms(since);
        let payload = format!("{{\"lasted_ms\":{lasted_ms}}}").into_bytes();
        let at_unix_ms = since_unix_ms.saturating_add(lasted_ms);
        self.shared.queue.recover(host_event(at_unix_ms, EventKind::JournalRecovered, payload));
        tracing::info!(seq = self.shared.tip().seq, lasted_ms, "the journal can write again");
        true
    }

    /// Opens the file and writes what the failure left: the record of it first, since that alone
    /// fits into what the reserve gave up.
    fn come_back(&mut self, left: &mut Left) -> Result<(), String> {
        let tip = self.reopen()?;
        self.shared.set_tip(tip);
        match left.doubt.take() {
            // That commit went through after all.
            Some((in_doubt, Part::Note)) if in_doubt == tip => left.note = None,
            Some((in_doubt, Part::Kept(count))) if in_doubt == tip => {
                left.kept.drain(..count);
            }
            _ => {}
        }
        if let Some(note) = &left.note {
            self.write_left(std::slice::from_ref(note), Part::Note, &mut left.doubt)?;
            left.note = None;
        }
        while !left.kept.is_empty() {
            let part = Part::Kept(left.kept.len());
            match self.write_left(&left.kept, part, &mut left.doubt)? {
                None => left.kept.clear(),
                Some(refused) => drop(left.kept.remove(refused)),
            }
        }
        Ok(())
    }

    /// Writes events, or says which of them a view refuses.
    fn write_left(
        &self,
        events: &[NewEvent],
        part: Part,
        doubt: &mut Option<(Tip, Part)>,
    ) -> Result<Option<usize>, String> {
        let requests: Vec<Request> = events.iter().cloned().map(Request::Event).collect();
        match self.write_group(&requests) {
            Ok(written) => {
                self.shared.set_tip(written.tip);
                Ok(None)
            }
            Err(Stop::Refused { index, error }) => {
                tracing::error!(%error, "an event that nobody waited for was refused");
                Ok(Some(index))
            }
            Err(Stop::InDoubt { tip, trouble }) => {
                *doubt = Some((tip, part));
                Err(trouble.message)
            }
            Err(Stop::Storage(trouble)) => Err(trouble.message),
        }
    }

    fn reopen(&self) -> Result<Tip, String> {
        // A handle that saw an I/O error answers nothing else any more, and holds the lock.
        self.shared.clear_db();
        catch_unwind(AssertUnwindSafe(|| {
            let (db, tip) = start::open(&self.path, &self.open, Medium::Other, &mut |_| {})
                .map_err(|error: OpenError| error.to_string())?;
            if let Some(seals) = &self.seals {
                seals.hold_again(&db, tip).map_err(|error| error.to_string())?;
            }
            self.shared.put_db(db.into());
            Ok(tip)
        }))
        .unwrap_or_else(|_| Err("opening it panicked".to_owned()))
    }
}

fn read_only(at_unix_ms: u64, message: &Arc<str>) -> NewEvent {
    let text: String = message.chars().take(1_024).collect();
    let payload = serde_json::json!({ "error": text }).to_string().into_bytes();
    host_event(at_unix_ms, EventKind::JournalReadOnly, payload)
}
