//! The writer thread: takes what is queued, puts it on disk in one commit, answers everyone.
//!
//! It deliberately does not wait for strangers: what arrives during a commit is the next one's
//! group, joined by the callers that the commit answered if they are back at once. The
//! invariants: an entry is answered only after its commit returned, and after an I/O error
//! nothing is written until the database was closed, opened and verified again. What happens
//! then is in `recovery`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use redb::WriteTransaction;
use tokio::sync::{oneshot, watch};

use crate::caches::Caches;
use crate::db::{Db, Opener};
use crate::error::AppendError;
use crate::facts::Tip;
use crate::group::{self, Also, Fate, Request, Stop, Trouble, Written};
use crate::journal::{EVENT_MAX_BYTES, event_bytes};
use crate::meta;
use crate::queue::{Batch, Entry, Next, Permits, Queue, Reply, Task};
use crate::reserve::Reserve;
use crate::seals::Seals;

/// How long a commit waits for callers that were just answered: this part of what the last one
/// took, which is less than a commit for them alone would cost, and never longer than the bound.
const PATIENCE_DIVISOR: u32 = 8;
const PATIENCE_MAX: Duration = Duration::from_millis(1);

/// What the writer shares with the journal's handles.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    db: Mutex<Option<Arc<Db>>>,
    tip: Mutex<Tip>,
    pub(crate) caches: Caches,
    /// Turns `true` when the writer has ended.
    pub(crate) ended: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(queue: Queue, db: Db, tip: Tip, caches: Caches) -> Self {
        Self {
            queue,
            db: Mutex::new(Some(Arc::new(db))),
            tip: Mutex::new(tip),
            caches,
            ended: watch::Sender::new(false),
        }
    }

    /// The database; `None` while it is being re-opened and after the end.
    pub(crate) fn db(&self) -> Option<Arc<Db>> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn tip(&self) -> Tip {
        *self.tip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put_db(&self, db: Arc<Db>) {
        *self.db.lock().unwrap_or_else(PoisonError::into_inner) = Some(db);
    }

    /// Lets go of the database: it is closed once nobody reads.
    pub(crate) fn clear_db(&self) {
        *self.db.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn set_tip(&self, tip: Tip) {
        *self.tip.lock().unwrap_or_else(PoisonError::into_inner) = tip;
    }
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) open: Opener,
    pub(crate) path: PathBuf,
    pub(crate) group_max: usize,
    pub(crate) reserve: Option<Reserve>,
    /// The reserve is made when there is nothing else to do: nobody waits for it at the start.
    pub(crate) reserve_is_due: bool,
    pub(crate) seals: Option<Seals>,
    /// An event that was signed, and the database does not know it yet.
    pub(crate) sealed: Option<u64>,
    /// The time of the newest event: the journal has no clock of its own.
    pub(crate) newest_at_unix_ms: u64,
}

/// Writing does not work.
pub(crate) struct Failure {
    pub(crate) message: Arc<str>,
    pub(crate) disk_full: bool,
    pub(crate) in_doubt: Option<InDoubt>,
    /// What nobody waits for and is still to be written.
    pub(crate) kept: Vec<NewEvent>,
}

/// A commit that failed and may have gone through all the same.
pub(crate) struct InDoubt {
    /// Where the chain is if it did.
    pub(crate) tip: Tip,
    /// How many of the kept events, from the first, it holds.
    pub(crate) kept: usize,
}

/// Who is told what became of a request.
enum Waiter {
    Nobody,
    Reply(Reply, Permits),
}

#[derive(Default)]
struct Work {
    requests: Vec<Request>,
    waiters: Vec<Waiter>,
    barriers: Vec<oneshot::Sender<()>>,
    task: Option<Task>,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        loop {
            let due = match self.reserve_is_due {
                true => Some(Instant::now()),
                false => self.seals.as_ref().and_then(Seals::due),
            };
            match self.shared.queue.take(self.group_max, due) {
                Next::Write(batch) => {
                    if let Err(failure) = self.write(batch)
                        && !self.recover(failure)
                    {
                        break;
                    }
                }
                Next::Due => self.make_reserve(),
                Next::End => {
                    self.seal_at_the_end();
                    break;
                }
            }
            self.seal_if_due();
        }
        let lost = self.shared.queue.end();
        if lost > 0 {
            tracing::error!(lost, "events that nobody waited for were lost with the journal's end");
        }
        // Dropping the database is what closes it in order; only then may others open it.
        self.shared.clear_db();
        self.shared.ended.send_replace(true);
    }

    fn make_reserve(&mut self) {
        if std::mem::take(&mut self.reserve_is_due)
            && let Some(Err(error)) = self.reserve.as_ref().map(Reserve::ensure)
        {
            tracing::warn!(%error, "the journal's reserve cannot be made");
        }
    }

    fn seal_if_due(&mut self) {
        let tip = self.shared.tip();
        let Some(seals) = &mut self.seals else { return };
        seals.note(tip);
        if seals.due().is_some_and(|due| due <= Instant::now()) {
            self.seal(tip);
        }
    }

    pub(crate) fn seal(&mut self, tip: Tip) {
        if let Some(seals) = &mut self.seals
            && seals.seal(tip, self.newest_at_unix_ms)
        {
            self.sealed = Some(tip.seq);
        }
    }

    fn seal_at_the_end(&mut self) {
        self.seal(self.shared.tip());
        if let (Some(sealed), Some(db)) = (self.sealed.take(), self.shared.db()) {
            let write = || {
                let txn = db.begin_write()?;
                meta::set_sealed(&txn, sealed)?;
                txn.commit().map_err(redb::Error::from)
            };
            if let Err(error) = write() {
                tracing::warn!(%error, "the database was not told of its last checkpoint");
            }
        }
    }

    fn write(&mut self, batch: Batch) -> Result<(), Failure> {
        let mut work = self.work(batch);
        let written = self.write_requests(work.requests, work.waiters);
        // After a failure too, all that came before is on disk or is known not to be.
        for barrier in work.barriers {
            let _ = barrier.send(());
        }
        written?;
        if let Some(task) = work.task.take()
            && catch_unwind(AssertUnwindSafe(|| task(self))).is_err()
        {
            tracing::error!("a task of the journal panicked");
        }
        Ok(())
    }

    /// Makes what is still to be made, and tells it from who waits for it.
    fn work(&mut self, batch: Batch) -> Work {
        let mut work = Work::default();
        let mut dropped = batch.dropped;
        for entry in batch.entries {
            let (request, waiter) = match entry {
                Entry::Durable(event, reply, permit) => {
                    (Request::Event(event), Waiter::Reply(reply, (permit, None)))
                }
                Entry::Commit(entry, reply, permits) => {
                    (Request::Entry(entry), Waiter::Reply(reply, permits))
                }
                Entry::Made(event) => (Request::Event(event), Waiter::Nobody),
                Entry::Soon(make) => match catch_unwind(AssertUnwindSafe(make)) {
                    Ok(event) if event_bytes(&event) <= EVENT_MAX_BYTES => {
                        (Request::Event(event), Waiter::Nobody)
                    }
                    Ok(_) | Err(_) => {
                        dropped += 1;
                        continue;
                    }
                },
                Entry::Barrier(reply) => {
                    work.barriers.push(reply);
                    continue;
                }
                Entry::Task(task) => {
                    work.task = Some(task);
                    continue;
                }
            };
            let newest = match &request {
                Request::Event(event) => event.at_unix_ms,
                Request::Entry(entry) => {
                    entry.events.iter().map(|event| event.at_unix_ms).max().unwrap_or(0)
                }
            };
            self.newest_at_unix_ms = self.newest_at_unix_ms.max(newest);
            work.requests.push(request);
            work.waiters.push(waiter);
        }
        if dropped > 0 {
            tracing::warn!(dropped, "events were dropped because the journal could not keep up");
            let payload = format!("{{\"dropped\":{dropped}}}");
            let event =
                host_event(self.newest_at_unix_ms, EventKind::EventsDropped, payload.into());
            work.requests.push(Request::Event(event));
            work.waiters.push(Waiter::Nobody);
        }
        work
    }

    /// Writes requests in one transaction, or in as many as it takes to leave out those that a
    /// view refuses, and answers.
    fn write_requests(
        &mut self,
        mut requests: Vec<Request>,
        mut waiters: Vec<Waiter>,
    ) -> Result<(), Failure> {
        while !requests.is_empty() {
            let began = Instant::now();
            let (trouble, in_doubt) = match self.write_group(&requests) {
                Ok(written) => {
                    self.shared.set_tip(written.tip);
                    self.sealed = None;
                    let is_waiting = |waiter: &&Waiter| matches!(waiter, Waiter::Reply(..));
                    let answered = waiters.iter().filter(is_waiting).count();
                    let patience = (began.elapsed() / PATIENCE_DIVISOR).min(PATIENCE_MAX);
                    // Before they are answered: some are back before the last one is.
                    self.shared.queue.expect(answered, patience);
                    answer(waiters, written.fates);
                    return Ok(());
                }
                Err(Stop::Refused { index, error }) => {
                    // What came before it goes first, in a commit of its own, then what follows.
                    let after = requests.split_off(index + 1);
                    let waiting_after = waiters.split_off(index + 1);
                    requests.truncate(index);
                    let refused = waiters.pop();
                    let before = self.write_requests(requests, waiters);
                    answer(refused.into_iter().collect(), vec![Err(error)]);
                    (requests, waiters) = (after, waiting_after);
                    let Err(mut failure) = before else { continue };
                    failure.kept.extend(refuse(
                        requests,
                        waiters,
                        |message| AppendError::Failed { message },
                        &failure.message,
                    ));
                    return Err(failure);
                }
                Err(Stop::Storage(trouble)) => (trouble, None),
                Err(Stop::InDoubt { tip, trouble }) => (trouble, Some(tip)),
            };
            let message: Arc<str> = trouble.message.into();
            let kept =
                refuse(requests, waiters, |message| AppendError::Write { message }, &message);
            let in_doubt = in_doubt.map(|tip| InDoubt { tip, kept: kept.len() });
            return Err(Failure { message, disk_full: trouble.disk_full, in_doubt, kept });
        }
        Ok(())
    }

    pub(crate) fn write_group(&self, requests: &[Request]) -> Result<Written, Stop> {
        self.write_group_and(requests, &|_| Ok(()))
    }

    pub(crate) fn write_group_and(
        &self,
        requests: &[Request],
        also: Also<'_>,
    ) -> Result<Written, Stop> {
        let Some(db) = self.shared.db() else {
            return Err(Stop::Storage(Trouble::new("the journal is not open")));
        };
        let before = self.shared.tip();
        let also = |txn: &WriteTransaction| {
            if let Some(sealed) = self.sealed {
                meta::set_sealed(txn, sealed)?;
            }
            also(txn)
        };
        // redb panics on some states of a broken file; that ends this commit, not the host.
        catch_unwind(AssertUnwindSafe(|| {
            group::write(&db, before, requests, &also, &self.shared.caches)
        }))
        .unwrap_or_else(|_| Err(Stop::Storage(Trouble::new("a commit panicked"))))
    }
}

/// An event about the journal. It has no clock: the time is that of the newest event, and what
/// has passed since.
pub(crate) fn host_event(at_unix_ms: u64, kind: EventKind, payload: Vec<u8>) -> NewEvent {
    NewEvent { at_unix_ms, tenant: Tenant::DEFAULT, stream: Stream::Host, kind, payload }
}

// A waiter may have gone away: sending is all that is owed.
fn answer(waiters: Vec<Waiter>, fates: Vec<Fate>) {
    for (waiter, fate) in waiters.into_iter().zip(fates) {
        match waiter {
            Waiter::Reply(reply, _permits) => {
                let _ = reply.send(fate);
            }
            Waiter::Nobody => {
                if let Err(error) = fate {
                    tracing::error!(%error, "an event that nobody waited for was refused");
                }
            }
        }
    }
}

/// Answers who waits; gives back the events that nobody waits for.
fn refuse(
    requests: Vec<Request>,
    waiters: Vec<Waiter>,
    error: impl Fn(String) -> AppendError,
    message: &str,
) -> Vec<NewEvent> {
    let mut kept = Vec::new();
    for (request, waiter) in requests.into_iter().zip(waiters) {
        match (waiter, request) {
            (Waiter::Reply(reply, _permits), _) => {
                let _ = reply.send(Err(error(message.to_owned())));
            }
            (Waiter::Nobody, Request::Event(event)) => kept.push(event),
            (Waiter::Nobody, Request::Entry(_)) => {}
        }
    }
    kept
}

pub(crate) fn refuse_entries(entries: Vec<Entry>, message: &str) {
    let refusal = || AppendError::Failed { message: message.to_owned() };
    for entry in entries {
        match entry {
            Entry::Durable(_, reply, _) | Entry::Commit(_, reply, _) => {
                let _ = reply.send(Err(refusal()));
            }
            Entry::Barrier(reply) => {
                let _ = reply.send(());
            }
            Entry::Task(_) | Entry::Soon(_) | Entry::Made(_) => {}
        }
    }
}

/// How long something has lasted, in milliseconds.
pub(crate) fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
