//! One call: a fresh store with every limit set, one function, and what became of it.
//!
//! The invariant: a store runs one call and is then dropped, whatever happened. One timeout
//! around it all stops a guest that spins and one asleep in the host alike; a panic in a host
//! function ends the call, not the host. What a disconnect does: dropping the future stops
//! the guest where it is.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use foreshore_domain::call::{CallError, FiredLimit};
use foreshore_domain::effect::Effect;
use foreshore_domain::limits::Limits;
use foreshore_domain::outcome::{Logs, ToolResult, Usage};
use wasmtime::{Engine, Store};

use crate::capability::filesystem::{Files, Mounts};
use crate::ending;
use crate::limiter::size;
use crate::scheduler::{Scheduler, Turns};
use crate::state::{CallScope, State};

/// What happened in a call. Facts only: whoever asked for the call records them.
#[derive(Debug)]
pub struct CallReport {
    /// How it ended.
    pub result: Result<ToolResult, CallError>,
    /// What it used.
    pub usage: Usage,
    /// What it logged.
    pub logs: Logs,
}

/// What a function of a guest came to, before its result is looked at.
pub(crate) struct Run<R> {
    pub(crate) returned: Result<R, CallError>,
    pub(crate) usage: Usage,
    pub(crate) logs: Logs,
}

/// Runs `function` in a fresh store of its own; `pre` is what it instantiates.
pub(crate) async fn run<P, R>(
    engine: &Engine,
    pre: &P,
    scheduler: &Scheduler,
    fuel_yield_interval: u64,
    scope: Arc<CallScope>,
    mounts: Mounts,
    function: impl AsyncFnOnce(&P, &mut Store<State>) -> wasmtime::Result<R>,
) -> Run<R> {
    let context = Arc::clone(&scope.context);
    let mut store = match new_store(engine, fuel_yield_interval, &scope, mounts) {
        Ok(store) => store,
        Err(error) => return Run::not_started(&error),
    };
    let mut turns = Turns::default();
    let ended = {
        let guest = pin!(function(pre, &mut store));
        let in_turns = scheduler.run(guest, &mut turns);
        tokio::time::timeout(scope.deadline, catching_panics(in_turns)).await
    };
    let usage = usage(&mut store, &turns);
    if let Some(report) = store.data_mut().progress.last() {
        scope.note(Effect::Progress(report));
    }
    // The last words of a guest may still sit in its streams, which end with the store.
    drop(store);
    // So do its open files: what it wrote to them is recorded before anybody hears of its end.
    scope.finished().await;
    let returned = match ended {
        Ok(Ok(Ok(returned))) => Ok(returned),
        Ok(Ok(Err(error))) => Err(ending::cause(&context, &error, &scope.transcript.last_words())),
        Ok(Err(Panicked)) => {
            Err(CallError::Host { message: "a host function panicked; see the log".to_owned() })
        }
        Err(_) => Err(CallError::Limit {
            component: context.component.clone(),
            limit: FiredLimit::Deadline,
            allowed: scope.deadline_ms(),
        }),
    };
    Run { returned, usage, logs: scope.transcript.take() }
}

impl CallReport {
    /// The guest was not started.
    pub(crate) fn not_started(message: String) -> Self {
        Self {
            result: Err(CallError::Host { message }),
            usage: Usage::default(),
            logs: Logs::default(),
        }
    }
}

impl<R> Run<R> {
    fn not_started(error: &wasmtime::Error) -> Self {
        let message = format!("no store could be made: {error:#}");
        Self {
            returned: Err(CallError::Host { message }),
            usage: Usage::default(),
            logs: Logs::default(),
        }
    }
}

fn new_store(
    engine: &Engine,
    fuel_yield_interval: u64,
    scope: &Arc<CallScope>,
    mounts: Mounts,
) -> wasmtime::Result<Store<State>> {
    let limits = &scope.context.limits;
    let mut store = Store::new(engine, State::new(Arc::clone(scope), Files::new(mounts)));
    store.limiter(|state| &mut state.limiter);
    store.set_fuel(limits.fuel.get())?;
    store.fuel_async_yield_interval(Some(fuel_yield_interval))?;
    store.set_hostcall_fuel(size(hostcall_bytes(limits)));
    store.set_max_component_handles(size(limits.handles_max.get()));
    Ok(store)
}

/// wasmtime bounds a result by the same number as the arguments of a host call, so where an
/// operator allows larger results it has to be the larger of the two. Host functions that
/// keep what they are given hold to `hostcall_max_bytes` themselves.
fn hostcall_bytes(limits: &Limits) -> u64 {
    limits.hostcall_max_bytes.max(limits.result_max_bytes).get()
}

fn usage(store: &mut Store<State>, turns: &Turns) -> Usage {
    let state = store.data();
    let scope = &state.scope;
    let limits = &scope.context.limits;
    let wall = scope.started.elapsed();
    let guest = (turns.polled + turns.queued).saturating_sub(scope.host_time());
    Usage {
        fuel: limits.fuel.get().saturating_sub(store.get_fuel().unwrap_or(0)),
        peak_memory_bytes: state.limiter.memory_peak_bytes(),
        wall_us: microseconds(wall),
        host_us: microseconds(wall.saturating_sub(guest)),
        egress_bytes: scope.context.meter.egress_bytes(),
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

struct Panicked;

/// A panic in a host function ends the call. Nothing of it is looked at again: the store is
/// dropped, and what calls share is only counters behind locks that survive a panic.
async fn catching_panics<F: Future + Unpin>(mut future: F) -> Result<F::Output, Panicked> {
    std::future::poll_fn(move |context| {
        let poll = AssertUnwindSafe(|| std::pin::Pin::new(&mut future).poll(context));
        match std::panic::catch_unwind(poll) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}
