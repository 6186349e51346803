//! Why a guest ended: from wasmtime's errors to the one [`CallError`] that names the cause.

use std::time::Duration;

use foreshore_domain::call::{CallContext, CallError, FiredLimit, Interruption};
use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::limiter::LimitFired;
use crate::result::too_large;

/// How long a caller waits for a slot of the pool to become free.
const SLOT_RETRY: Duration = Duration::from_millis(100);

/// What wasmtime says, in words of its own, when it has no type for it. Pinned by the version
/// of wasmtime, and by the tests of each limit.
const HANDLES_EXCEEDED: &str = "store handle limit exceeded";
const HOSTCALL_EXCEEDED: &str = "fuel allocated for hostcalls has been exhausted";
const INSTANCES_EXCEEDED: &str = "resource limit exceeded: instance count";
const MEMORIES_EXCEEDED: &str = "resource limit exceeded: memory count";
const TABLES_EXCEEDED: &str = "resource limit exceeded: table count";

/// The door gave an agent something else than what it asked for, or failed where the contract
/// has no word for it: a fault of the host's own, which ends the call.
#[derive(Debug, thiserror::Error)]
#[error("the effect {effect} of an agent failed in the host: {message}")]
pub(crate) struct HostFault {
    /// Its kind.
    pub(crate) effect: &'static str,
    /// What went wrong.
    pub(crate) message: String,
}

/// The cause of an ending; what it said last makes the message of a crash.
pub(crate) fn cause(context: &CallContext, error: &Error, last_words: &str) -> CallError {
    if let Some(fired) = fired_limit(context, error) {
        return CallError::Limit {
            component: context.component.clone(),
            limit: fired.limit,
            allowed: fired.allowed,
        };
    }
    if is_result_too_large(error) {
        return too_large(context);
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::Overloaded {
            reason: "all instances are in use",
            retry_after: SLOT_RETRY,
        };
    }
    if let Some(interruption) = error.downcast_ref::<Interruption>() {
        return CallError::Interrupted(interruption.clone());
    }
    if let Some(fault) = error.downcast_ref::<HostFault>() {
        return CallError::Host { message: fault.to_string() };
    }
    let message =
        if last_words.is_empty() { error.root_cause().to_string() } else { last_words.to_owned() };
    CallError::Trap { component: context.component.clone(), message }
}

fn fired_limit(context: &CallContext, error: &Error) -> Option<LimitFired> {
    let limits = &context.limits;
    let fired = |limit, allowed: u64| Some(LimitFired { limit, allowed });
    if let Some(own) = error.downcast_ref::<LimitFired>() {
        return Some(*own);
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return fired(FiredLimit::Fuel, limits.fuel.get()),
        Some(Trap::StackOverflow) => return fired(FiredLimit::Stack, 0),
        _ => {}
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return fired(FiredLimit::Handles, limits.resources_max.get());
    }
    let message = error.root_cause().to_string();
    let says = |text| message.contains(text);
    if says(HANDLES_EXCEEDED) {
        fired(FiredLimit::Handles, limits.handles_max.get())
    } else if says(HOSTCALL_EXCEEDED) && in_guest(error) {
        fired(FiredLimit::HostCall, limits.hostcall_max_bytes.get())
    } else if says(INSTANCES_EXCEEDED) {
        fired(FiredLimit::Instances, limits.instances_max.get())
    } else if says(MEMORIES_EXCEEDED) {
        // All of its memories at their full size: what it was allowed in bytes.
        let all = limits.memories_max.get().saturating_mul(limits.memory_max_bytes.get());
        fired(FiredLimit::Memory, all)
    } else if says(TABLES_EXCEEDED) {
        let all = limits.tables_max.get().saturating_mul(limits.table_elements_max.get());
        fired(FiredLimit::Table, all)
    } else {
        None
    }
}

/// Copying data out of a guest failed after the guest had returned: it was copying the result.
fn is_result_too_large(error: &Error) -> bool {
    !in_guest(error) && error.root_cause().to_string().contains(HOSTCALL_EXCEEDED)
}

/// Whether guest code was running when the error arose.
fn in_guest(error: &Error) -> bool {
    error.downcast_ref::<WasmBacktrace>().is_some_and(|trace| !trace.frames().is_empty())
}
