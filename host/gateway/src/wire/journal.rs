//! Events of the journal.

use foreshore_control::store::Event;
use serde_json::value::RawValue;

/// A recorded fact.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventSchema<'a> {
    /// Its place in the journal, from 1, without gaps.
    seq: u64,
    /// Milliseconds since 1970.
    at: u64,
    /// One aggregate: `call/<id>`, `memory/<namespace>`.
    #[schema(example = "memory/notes")]
    stream: &'a str,
    /// What happened.
    #[schema(example = "memory.put")]
    kind: &'a str,
    /// What its kind says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    payload: Option<&'a RawValue>,
    /// The chain's value with this event: 64 hex digits of BLAKE3.
    hash: String,
}

impl<'a> From<&'a Event> for EventSchema<'a> {
    fn from(event: &'a Event) -> Self {
        use std::fmt::Write as _;
        let hash = event.hash.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self {
            seq: event.seq,
            at: event.at_unix_ms,
            stream: &event.stream,
            kind: &event.kind,
            payload: serde_json::from_slice(&event.payload).ok(),
            hash,
        }
    }
}

/// A page of events, in order.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Events)]
pub(crate) struct EventsSchema<'a> {
    pub(crate) events: Vec<EventSchema<'a>>,
    /// What to ask for the next page with (`after`): the last event that was looked at.
    pub(crate) next_after: u64,
    /// Whether every event there is was looked at.
    pub(crate) at_end: bool,
}
