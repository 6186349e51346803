//! The facts that the journal keeps.

use std::fmt;

/// A fact to be recorded. The journal gives it a sequence number and a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// Whose; `default` until there are tenants.
    pub tenant: &'static str,
    /// One aggregate: `call/<id>`, `component/<name>`.
    pub stream: Stream,
    /// What happened: `call.completed`.
    pub kind: EventKind,
    /// JSON.
    pub payload: Vec<u8>,
}

/// Which aggregate an event belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    /// One call.
    Call(crate::id::CallId),
    /// One component, over all of its versions.
    Component(String),
    /// The host itself.
    Host,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(id) => write!(f, "call/{id}"),
            Self::Component(name) => write!(f, "component/{name}"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A call with side effects is about to run.
    CallStarted,
    /// A call ran to its end, well or not.
    CallCompleted,
    /// A side effect is about to happen.
    EffectIntended,
    /// A side effect happened, or failed.
    EffectPerformed,
    /// Policy said no.
    EffectDenied,
    /// A component can be called.
    ComponentLoaded,
    /// A component cannot be called, and why.
    ComponentRefused,
    /// A component is gone.
    ComponentRemoved,
    /// The host is up.
    HostStarted,
    /// The host went down in order.
    HostStopped,
    /// Events were lost that nobody waited for; the payload says how many.
    EventsDropped,
}

impl EventKind {
    /// The name in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CallStarted => "call.started",
            Self::CallCompleted => "call.completed",
            Self::EffectIntended => "effect.intended",
            Self::EffectPerformed => "effect.performed",
            Self::EffectDenied => "effect.denied",
            Self::ComponentLoaded => "component.loaded",
            Self::ComponentRefused => "component.refused",
            Self::ComponentRemoved => "component.removed",
            Self::HostStarted => "host.started",
            Self::HostStopped => "host.stopped",
            Self::EventsDropped => "journal.dropped",
        }
    }
}
