//! The writer thread: takes what is queued, puts it on disk in one commit, answers everyone.
//!
//! It deliberately does not wait for more to come: what arrives during a commit is the next
//! one's group. The invariants: an append is answered only after its commit returned, and after
//! an I/O error nothing is written until the database was closed, opened and verified again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foreshore_domain::event::{EventKind, NewEvent, Stream};
use tokio::sync::{oneshot, watch};

use crate::error::AppendError;
use crate::frame::FrameWriter;
use crate::journal::{Appended, EVENT_MAX_BYTES, Tip, event_bytes};
use crate::queue::{Batch, Entry, Queue, Reply};
use crate::table::{FrameTable, Opener};

/// What the writer shares with the journal's handles.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    table: Mutex<Option<Arc<FrameTable>>>,
    tip: Mutex<Tip>,
    /// Turns `true` when the writer has ended.
    pub(crate) ended: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(queue: Queue, table: FrameTable, tip: Tip) -> Self {
        Self {
            queue,
            table: Mutex::new(Some(Arc::new(table))),
            tip: Mutex::new(tip),
            ended: watch::Sender::new(false),
        }
    }

    /// The table; `None` while it is being re-opened and after the end.
    pub(crate) fn table(&self) -> Option<Arc<FrameTable>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn tip(&self) -> Tip {
        *self.tip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_table(&self, table: Option<FrameTable>) {
        *self.table.lock().unwrap_or_else(PoisonError::into_inner) = table.map(Arc::new);
    }

    fn set_tip(&self, tip: Tip) {
        *self.tip.lock().unwrap_or_else(PoisonError::into_inner) = tip;
    }
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) open: Opener,
    pub(crate) group_max: usize,
}

/// A commit that failed: where the chain would be had it gone through, and what was in it that
/// nobody waited for.
struct InDoubt {
    tip: Tip,
    soon: u64,
}

/// Whoever is answered after the commit.
#[derive(Default)]
struct Waiters {
    appends: Vec<(Reply, u64)>,
    barriers: Vec<oneshot::Sender<()>>,
}

impl Writer {
    const BACKOFF_MIN: Duration = Duration::from_millis(20);
    const BACKOFF_MAX: Duration = Duration::from_secs(2);

    /// Writes until the queue is closed and empty.
    pub(crate) fn run(self) {
        while let Some(batch) = self.shared.queue.take(self.group_max) {
            if let Err((message, in_doubt)) = self.write(batch)
                && !self.recover(&message.into(), &in_doubt)
            {
                break;
            }
        }
        self.shared.queue.end();
        // Dropping the database is what closes it in order; only then may others open it.
        self.shared.set_table(None);
        self.shared.ended.send_replace(true);
    }

    fn write(&self, batch: Batch) -> Result<(), (String, InDoubt)> {
        let before = self.shared.tip();
        let mut frame = FrameWriter::new(before.seq + 1, before.hash);
        let mut waiters = Waiters::default();
        let soon = fill(&mut frame, batch, &mut waiters);
        if frame.is_empty() {
            waiters.answer();
            return Ok(());
        }
        let (seq, (bytes, hash)) = (frame.last_seq(), frame.finish());
        let tip = Tip { seq, hash };
        // redb panics on some states of a broken file; that ends this commit, not the host.
        let committed = catch_unwind(AssertUnwindSafe(|| match self.shared.table() {
            Some(table) => table.commit(before.seq + 1, &bytes).map_err(|e| e.to_string()),
            None => Err("the journal is not open".to_owned()),
        }))
        .unwrap_or_else(|_| Err("the commit panicked".to_owned()));
        match committed {
            Ok(()) => {
                self.shared.set_tip(tip);
                waiters.answer();
                Ok(())
            }
            Err(message) => {
                waiters.refuse(&AppendError::Write { message: message.clone() });
                Err((message, InDoubt { tip, soon }))
            }
        }
    }

    /// Opens the database again, with growing patience; `false` if the journal was closed
    /// before that worked.
    fn recover(&self, message: &Arc<str>, in_doubt: &InDoubt) -> bool {
        tracing::error!(error = %message, "the journal failed; it takes nothing until it is re-opened");
        let queued = self.shared.queue.fail(message);
        let refusal = AppendError::Failed { message: message.to_string() };
        Waiters::of(queued).refuse(&refusal);
        let mut backoff = Self::BACKOFF_MIN;
        loop {
            let closing = self.shared.queue.pause(backoff);
            match self.reopen() {
                Ok(tip) => {
                    let lost = if tip == in_doubt.tip { 0 } else { in_doubt.soon };
                    self.shared.set_tip(tip);
                    self.shared.queue.recover(lost);
                    tracing::info!(seq = tip.seq, "the journal is open again");
                    return true;
                }
                Err(error) if closing => {
                    tracing::error!(%error, "the journal could not be re-opened before the end");
                    return false;
                }
                Err(error) => tracing::warn!(%error, "the journal could not be re-opened yet"),
            }
            backoff = (backoff * 2).min(Self::BACKOFF_MAX);
        }
    }

    fn reopen(&self) -> Result<Tip, String> {
        // A handle that saw an I/O error answers nothing else any more, and holds the lock.
        self.shared.set_table(None);
        catch_unwind(AssertUnwindSafe(|| {
            let table = FrameTable::new((self.open)().map_err(|e| e.to_string())?);
            let tip = table.tip().map_err(|e| e.to_string())?;
            self.shared.set_table(Some(table));
            Ok(tip)
        }))
        .unwrap_or_else(|_| Err("opening it panicked".to_owned()))
    }
}

/// Puts a batch into a frame; how many of its events nobody waits for.
fn fill(frame: &mut FrameWriter, batch: Batch, waiters: &mut Waiters) -> u64 {
    let mut dropped = batch.dropped;
    let mut soon = 0;
    let mut newest_at = 0;
    for entry in batch.entries {
        match entry {
            Entry::Durable(event, reply, _permit) => {
                newest_at = newest_at.max(event.at_unix_ms);
                waiters.appends.push((reply, frame.push(&event)));
            }
            Entry::Soon(make) => match catch_unwind(AssertUnwindSafe(make)) {
                Ok(event) if event_bytes(&event) <= EVENT_MAX_BYTES => {
                    newest_at = newest_at.max(event.at_unix_ms);
                    frame.push(&event);
                    soon += 1;
                }
                Ok(_) | Err(_) => dropped += 1,
            },
            Entry::Barrier(reply) => waiters.barriers.push(reply),
        }
    }
    if dropped > 0 {
        tracing::warn!(dropped, "events were dropped because the journal could not keep up");
        frame.push(&drop_event(newest_at, dropped));
    }
    soon
}

/// The record of what is not in the record. The journal has no clock: its time is that of the
/// newest event beside it.
fn drop_event(at_unix_ms: u64, dropped: u64) -> NewEvent {
    NewEvent {
        at_unix_ms,
        tenant: "default",
        stream: Stream::Host,
        kind: EventKind::EventsDropped,
        payload: format!("{{\"dropped\":{dropped}}}").into_bytes(),
    }
}

impl Waiters {
    fn of(entries: Vec<Entry>) -> Self {
        let mut waiters = Self::default();
        for entry in entries {
            match entry {
                Entry::Durable(_, reply, _) => waiters.appends.push((reply, 0)),
                Entry::Barrier(reply) => waiters.barriers.push(reply),
                Entry::Soon(_) => {}
            }
        }
        waiters
    }

    // A waiter may have gone away: sending is all that is owed.
    fn answer(self) {
        for (reply, seq) in self.appends {
            let _ = reply.send(Ok(Appended { seq }));
        }
        for barrier in self.barriers {
            let _ = barrier.send(());
        }
    }

    fn refuse(self, error: &AppendError) {
        for (reply, _) in self.appends {
            let _ = reply.send(Err(error.clone()));
        }
        for barrier in self.barriers {
            let _ = barrier.send(());
        }
    }
}
