//! `/v1/events`: the journal as it grows; `/v1/audit`: what it says of a time, a component or a
//! code.
//!
//! A follower is told of every event once and in order; its `Last-Event-ID` is where it goes
//! on. Nothing is dropped for a slow client: the journal waits on disk until it reads.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreshore_control::{EventFilter, Page};
use foreshore_domain::identity::Principal;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::auth::principal;
use crate::body::{Body, Events};
use crate::connection::Peer;
use crate::negotiation::{self, Form};
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::query::Query;
use crate::request::{Answer, json, typed};
use crate::wire::{self, EventSchema, EventsSchema, ProblemSchema};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const NEXT_AFTER: HeaderName = HeaderName::from_static("foreshore-next-after");
/// Events of one answer, where the client does not say, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 1_000;
/// Events that wait for a client at once.
const WAITING_MAX: usize = 64;
/// How often a follower at the end looks whether there is more.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a stream says that it is alive, for whoever closes connections that are not.
const BEAT_EVERY: Duration = Duration::from_secs(10);

/// Read the journal, or follow it.
///
/// With `Accept: text/event-stream` the answer is a stream that does not end: each event is
/// named by its kind, its id is its number, and a client that comes back with `Last-Event-ID`
/// goes on behind it. Without `after` or `Last-Event-ID` a stream begins with what comes next.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "readEvents",
    tag = "journal",
    params(
        ("after" = Option<u64>, Query, description = "Only events with a higher number"),
        ("stream" = Option<String>, Query, description = "Only this stream; `memory/*` is every stream that starts so"),
        ("kind" = Option<String>, Query, description = "Only these kinds, separated by commas; `memory.*` is every kind that starts so"),
        ("limit" = Option<usize>, Query, description = "1 to 1,000; 100 if left out; not for a stream"),
        ("Last-Event-ID" = Option<u64>, Header, description = "As `after`"),
    ),
    responses(
        (status = 200, description = "A page of events", content(
            (EventsSchema<'static> = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn events(peer: &Arc<Peer>, head: &Parts) -> Answer {
    let form = negotiation::form(&head.headers)?;
    let query = Query::read(&head.uri, &["after", "stream", "kind", "limit"])?;
    let filter = EventFilter { tenant: principal(head).tenant.clone(), ..filter(&query)? };
    let after = match query.number("after")? {
        Some(after) => Some(after),
        None => last_event_id(head)?,
    };
    match form {
        Form::Json => page(peer, after.unwrap_or(0), filter, query.limit(PAGE, PAGE_MAX)?).await,
        Form::Events => {
            let after = after.unwrap_or_else(|| peer.edge.control.journal().tip().seq);
            Ok(follow(peer, principal(head), after, filter))
        }
    }
}

/// Search the journal.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "audit",
    tag = "journal",
    params(
        ("since" = Option<u64>, Query, description = "Only events of this time or later, in milliseconds since 1970"),
        ("until" = Option<u64>, Query, description = "Only events before this time"),
        ("component" = Option<String>, Query, description = "Only events about this component: `name` or `name@version`"),
        ("code" = Option<String>, Query, description = "Only events with this code or outcome: `http_not_granted`, `fuel_exhausted`"),
        ("principal" = Option<String>, Query, description = "Only what this principal did or asked for: a key's id, `ISSUER:SUBJECT`"),
        ("stream" = Option<String>, Query, description = "As for `/v1/events`"),
        ("kind" = Option<String>, Query, description = "As for `/v1/events`"),
        ("after" = Option<u64>, Query, description = "`next_after` of the page before"),
        ("limit" = Option<usize>, Query, description = "1 to 1,000; 100 if left out"),
    ),
    responses(
        (status = 200, description = "A page of events. A page may be short, or empty, before the end: `at_end` says whether there is more to look at; of CSV, the field `Foreshore-Next-After`, which is absent at the end", content(
            (EventsSchema<'static> = "application/json"),
            (String = "text/csv"),
        )),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn audit(peer: &Arc<Peer>, head: &Parts) -> Answer {
    let is_csv = negotiation::wants_csv(&head.headers)?;
    let known =
        &["since", "until", "component", "code", "principal", "stream", "kind", "after", "limit"];
    let query = Query::read(&head.uri, known)?;
    let text = |name| query.get(name).map(str::to_owned);
    let filter = EventFilter {
        since_unix_ms: query.number("since")?,
        until_unix_ms: query.number("until")?,
        component: text("component"),
        code: text("code"),
        principal: text("principal"),
        tenant: principal(head).tenant.clone(),
        ..filter(&query)?
    };
    let after = query.number("after")?.unwrap_or(0);
    let limit = query.limit(PAGE, PAGE_MAX)?;
    if is_csv {
        csv(peer, after, filter, limit).await
    } else {
        page(peer, after, filter, limit).await
    }
}

async fn csv(peer: &Arc<Peer>, after: u64, filter: EventFilter, limit: usize) -> Answer {
    let Page { events, next_after, at_end } = looked_up(peer, after, filter, limit).await?;
    let text = Bytes::from(wire::csv::events(&events));
    let mut response = typed(text.into(), HeaderValue::from_static("text/csv; charset=utf-8"));
    if !at_end {
        response.headers_mut().insert(NEXT_AFTER, HeaderValue::from(next_after));
    }
    Ok(response)
}

async fn looked_up(
    peer: &Arc<Peer>,
    after: u64,
    filter: EventFilter,
    limit: usize,
) -> Result<Page, Refusal> {
    let control = Arc::clone(&peer.edge.control);
    let read = tokio::task::spawn_blocking(move || control.events(after, &filter, limit));
    Ok(read.await.map_err(|error| Problem::host(&error.to_string()))??)
}

fn filter(query: &Query<'_>) -> Result<EventFilter, Refusal> {
    let kinds = query.get("kind").unwrap_or_default();
    let kinds = kinds.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
    let stream = query.get("stream").map(str::to_owned);
    Ok(EventFilter { stream, kinds, ..EventFilter::default() })
}

pub(crate) fn last_event_id(head: &Parts) -> Result<Option<u64>, Refusal> {
    let Some(id) = head.headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = id.to_str().ok().and_then(|text| text.parse().ok());
    let refused = || Problem::invalid_query("Last-Event-ID is the id of an event: a number");
    number.map(Some).ok_or_else(refused)
}

async fn page(peer: &Arc<Peer>, after: u64, filter: EventFilter, limit: usize) -> Answer {
    let Page { events, next_after, at_end } = looked_up(peer, after, filter, limit).await?;
    let events = events.iter().map(EventSchema::from).collect();
    Ok(json(wire::json(&EventsSchema { events, next_after, at_end }, 16 << 10)))
}

fn follow(
    peer: &Arc<Peer>,
    who: Arc<Principal>,
    after: u64,
    filter: EventFilter,
) -> http::Response<Body> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let reader = tokio::spawn(read_on(Arc::clone(peer), who, after, filter, sender));
    let follower = Follower { peer: Arc::clone(peer), receiver, reader };
    typed(Body::Events(Box::new(follower)), HeaderValue::from_static("text/event-stream"))
}

/// Reads the journal for a follower, until it leaves, its key is revoked or the host goes down.
async fn read_on(
    peer: Arc<Peer>,
    who: Arc<Principal>,
    mut after: u64,
    filter: EventFilter,
    to: mpsc::Sender<Bytes>,
) {
    let filter = Arc::new(filter);
    // An answer that begins at once tells the client that it is listened to.
    let mut beat_due = tokio::time::Instant::now();
    let counts = || peer.edge.control.identities().still_counts(&who);
    while !peer.edge.is_draining() && !to.is_closed() && counts() {
        if tokio::time::Instant::now() >= beat_due {
            beat_due = tokio::time::Instant::now() + BEAT_EVERY;
            if to.send(Bytes::from_static(b": listening\n\n")).await.is_err() {
                return;
            }
        }
        if peer.edge.control.journal().tip().seq <= after {
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let (control, filter) = (Arc::clone(&peer.edge.control), Arc::clone(&filter));
        let read = tokio::task::spawn_blocking(move || control.events(after, &filter, WAITING_MAX));
        match read.await {
            Ok(Ok(page)) => {
                after = page.next_after;
                for event in &page.events {
                    let schema = EventSchema::from(event);
                    let text = wire::numbered_event(event.seq, &event.kind, &schema);
                    if to.send(text).await.is_err() {
                        return;
                    }
                }
            }
            // The journal is being re-opened, or was closed: the client may come back.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(LOOK_EVERY * 10).await,
        }
    }
}

/// The events of one follower.
struct Follower {
    peer: Arc<Peer>,
    receiver: mpsc::Receiver<Bytes>,
    reader: JoinHandle<()>,
}

impl Events for Follower {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let next = self.receiver.poll_recv(cx);
        if matches!(next, Poll::Ready(Some(_))) {
            // Each event, and each beat, starts the time that a request may take anew.
            self.peer.pulse.enter(Phase::Work);
        }
        next
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.reader.abort();
        self.peer.pulse.enter(Phase::Idle);
    }
}
