//! The data of one store: what a call's host functions work with.
//!
//! Made for each call, so it holds nothing that can be made at load, and makes what most
//! guests never ask for (mounts, sockets, configuration) when it is first asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use foreshore_domain::call::{CallContext, FiredLimit};
use foreshore_domain::effect::Effect;
use foreshore_domain::integrity::Author;
use foreshore_domain::ports::Effects;
use tokio::sync::watch;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::sockets::WasiSocketsCtx;
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::WasiHttpCtx;

use crate::capability::filesystem::Files;
use crate::capability::http::HttpDoor;
use crate::capability::log::Transcript;
use crate::capability::progress::Reporter;
use crate::limiter::{LimitFired, Limiter, count, size};

/// The data of one store.
pub(crate) struct State {
    pub(crate) scope: Arc<CallScope>,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    pub(crate) files: Files,
    pub(crate) progress: Reporter,
    pub(crate) http: WasiHttpCtx,
    pub(crate) http_door: HttpDoor,
    pub(crate) config: Option<WasiConfigVariables>,
    pub(crate) sockets: Option<WasiSocketsCtx>,
    /// The random numbers of a turn.
    pub(crate) random: Option<Box<blake3::OutputReader>>,
}

impl State {
    pub(crate) fn new(scope: Arc<CallScope>, files: Files) -> Self {
        let limits = &scope.context.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(size(limits.resources_max.get()));
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(size(limits.http_fields_max_bytes.get()));
        Self {
            limiter: Limiter::new(limits),
            table,
            files,
            progress: Reporter::default(),
            http,
            http_door: HttpDoor::new(Arc::clone(&scope)),
            config: None,
            sockets: None,
            random: None,
            scope,
        }
    }
}

/// What a call's streams and requests share with its store: the way to the door, and what
/// the host side of the call has used.
pub(crate) struct CallScope {
    pub(crate) context: Arc<CallContext>,
    pub(crate) effects: Arc<dyn Effects>,
    pub(crate) transcript: Transcript,
    pub(crate) started: Instant,
    /// How long it may take: `deadline_ms`, and for an agent what is left of its turn.
    pub(crate) deadline: Duration,
    operations: AtomicU64,
    host_time_ns: AtomicU64,
    /// Of that, what came since the guest last gave its thread to others.
    unyielded_ns: AtomicU64,
    /// Made when something of the call first goes to a thread of its own.
    unfinished: OnceLock<watch::Sender<()>>,
    author: OnceLock<Author>,
}

/// Something of a call that is not done yet: until it is dropped, the call does not end.
#[derive(Clone)]
pub(crate) struct Unfinished(
    #[allow(dead_code, reason = "it counts as long as it is there")] watch::Receiver<()>,
);

impl CallScope {
    /// A millisecond.
    const BREATH_NS: u64 = 1_000_000;

    pub(crate) fn new(context: Arc<CallContext>, effects: Arc<dyn Effects>) -> Self {
        Self {
            transcript: Transcript::new(&context.limits),
            deadline: context.turn.as_ref().map_or(context.limits.deadline(), |turn| turn.wall),
            context,
            effects,
            started: Instant::now(),
            operations: AtomicU64::new(0),
            host_time_ns: AtomicU64::new(0),
            unyielded_ns: AtomicU64::new(0),
            unfinished: OnceLock::new(),
            author: OnceLock::new(),
        }
    }

    /// Counts one operation on a stream or file.
    ///
    /// # Errors
    /// `host_operations_max` is used up, or the deadline has passed: a guest that only calls
    /// the host uses so little fuel that it would find out late.
    pub(crate) fn count_operation(&self) -> Result<(), LimitFired> {
        self.count_operations(1)
    }

    /// Counts work that is worth several operations.
    ///
    /// # Errors
    /// As [`CallScope::count_operation`].
    pub(crate) fn count_operations(&self, operations: u64) -> Result<(), LimitFired> {
        let limits = &self.context.limits;
        let allowed = limits.host_operations_max.get();
        let before = self.operations.fetch_add(operations, Ordering::Relaxed);
        if before.saturating_add(operations) > allowed {
            return Err(LimitFired { limit: FiredLimit::HostOperations, allowed });
        }
        if self.started.elapsed() > self.deadline {
            let allowed = self.deadline_ms();
            return Err(LimitFired { limit: FiredLimit::Deadline, allowed });
        }
        Ok(())
    }

    /// How long the call may take, in milliseconds.
    pub(crate) fn deadline_ms(&self) -> u64 {
        u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs work that the host does on the guest's own thread, and counts its time as the host's.
    pub(crate) fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let value = work();
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.host_time_ns.fetch_add(took, Ordering::Relaxed);
        self.unyielded_ns.fetch_add(took, Ordering::Relaxed);
        value
    }

    /// Counts the time that wasmtime took to copy bytes to or from the guest, before or after
    /// the host function itself: about a nanosecond for four bytes.
    pub(crate) fn copied(&self, bytes: usize) {
        self.unyielded_ns.fetch_add(count(bytes) / 4, Ordering::Relaxed);
    }

    /// Gives the thread to others once the host's work has kept it for a while. A guest that
    /// only calls the host uses little fuel, so fuel alone would rarely make it.
    pub(crate) async fn breathe(&self) {
        if self.unyielded_ns.load(Ordering::Relaxed) > Self::BREATH_NS {
            self.unyielded_ns.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    /// Time of [`CallScope::timed`] work so far.
    pub(crate) fn host_time(&self) -> Duration {
        Duration::from_nanos(self.host_time_ns.load(Ordering::Relaxed))
    }

    /// Notes that something of the call is not done yet.
    pub(crate) fn unfinished(&self) -> Unfinished {
        Unfinished(self.unfinished.get_or_init(|| watch::Sender::new(())).subscribe())
    }

    /// Waits until everything of the call is done that was under way.
    pub(crate) async fn finished(&self) {
        if let Some(unfinished) = self.unfinished.get() {
            unfinished.closed().await;
        }
    }

    /// Under whose name the call changes files.
    pub(crate) fn author(&self) -> &Author {
        self.author.get_or_init(|| Author::Component {
            component: self.context.component.to_string().into(),
            call_id: self.context.call_id,
        })
    }

    /// Tells the door something that nobody waits for.
    pub(crate) fn note(&self, effect: Effect) {
        self.effects.note(&self.context, effect);
    }
}
