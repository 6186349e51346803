//! Safe mode: what the writer does after the disk failed.
//!
//! Appends and commits are refused at once; what nobody waits for is held in the queue, which
//! is bounded, and reads go on as soon as the file is open again. The way out is a commit that
//! worked: it holds what the failing one held, unless that turns out to be on disk, and says
//! that the journal was read-only. After a full disk the reserve must be there again as well.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshore_domain::event::{EventKind, NewEvent};

use crate::error::OpenError;
use crate::facts::Tip;
use crate::group::{Request, Stop};
use crate::start;
use crate::writer::{Failure, InDoubt, Writer, elapsed_ms, host_event, refuse_entries};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

impl Writer {
    /// Opens the database again, with growing patience; `false` if the journal was closed
    /// before that worked.
    pub(crate) fn recover(&mut self, failure: Failure) -> bool {
        let Failure { message, disk_full, mut in_doubt, mut kept } = failure;
        tracing::error!(error = %message, "the journal failed and takes nothing until it can write again");
        let (since, since_unix_ms) = (Instant::now(), self.newest_at_unix_ms);
        refuse_entries(self.shared.queue.fail(&message, since), &message);
        // Reads go on from what is open; a handle that saw an error answers none of them.
        if disk_full && let Some(reserve) = &self.reserve {
            reserve.give_up();
        }
        kept.push(read_only(since_unix_ms, &message));
        let mut backoff = BACKOFF_MIN;
        loop {
            let closing = self.shared.queue.pause(backoff);
            match self.come_back(&mut in_doubt, &mut kept) {
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

    /// Opens the file and writes what the failure left.
    fn come_back(
        &mut self,
        in_doubt: &mut Option<InDoubt>,
        kept: &mut Vec<NewEvent>,
    ) -> Result<(), String> {
        let tip = self.reopen()?;
        self.shared.set_tip(tip);
        if let Some(doubt) = in_doubt.take()
            && doubt.tip == tip
        {
            // That commit went through: only what came after it is left to say.
            kept.drain(..doubt.kept);
        }
        let requests: Vec<Request> = kept.iter().cloned().map(Request::Event).collect();
        match self.write_group(&requests) {
            Ok(written) => {
                self.shared.set_tip(written.tip);
                kept.clear();
                Ok(())
            }
            Err(Stop::InDoubt { tip, trouble }) => {
                *in_doubt = Some(InDoubt { tip, kept: kept.len() });
                Err(trouble.message)
            }
            Err(Stop::Storage(trouble)) => Err(trouble.message),
            Err(Stop::Refused { index, error }) => {
                tracing::error!(%error, "an event that nobody waited for was refused");
                kept.remove(index);
                Err(error.to_string())
            }
        }
    }

    fn reopen(&self) -> Result<Tip, String> {
        // A handle that saw an I/O error answers nothing else any more, and holds the lock.
        self.shared.clear_db();
        catch_unwind(AssertUnwindSafe(|| {
            let (db, tip) = start::open(&self.path, &self.open, &mut |_| {})
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
