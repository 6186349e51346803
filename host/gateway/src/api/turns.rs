//! `/v1/turns`: what a turn is at, its events, ending it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreshore_control::turns::Follow;
use foreshore_domain::conversation::Conversation;
use foreshore_domain::id::TurnId;
use foreshore_domain::identity::Principal;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::journal::last_event_id;
use crate::auth;
use crate::body::{Body, Events};
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::query::Query;
use crate::request::{Answer, json, typed};
use crate::wire::{self, ProblemSchema, TurnSchema};

/// Events that wait for a client at once.
const WAITING_MAX: usize = 64;
/// How often a stream says that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(10);

/// Read a turn.
#[utoipa::path(
    get,
    path = "/v1/turns/{turn}",
    operation_id = "showTurn",
    tag = "agents",
    params(("turn" = String, Path)),
    responses(
        (status = 200, description = "What was said, and what the turn is at", body = TurnSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn show(peer: &Peer, head: &Parts, id: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let turn = turn(id)?;
    let said = auth::conversations(peer, head).said_turn(turn)?;
    let said = said.ok_or_else(|| no_turn(id))?;
    Ok(json(wire::json(&TurnSchema::from(&said), 4 << 10)))
}

/// Follow a turn.
///
/// The events that are on record come first, from `Last-Event-ID` on or from the beginning, then
/// what happens as it happens, up to the end of the turn.
#[utoipa::path(
    get,
    path = "/v1/turns/{turn}/events",
    operation_id = "followTurn",
    tag = "agents",
    params(
        ("turn" = String, Path),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event that the client has"),
    ),
    responses(
        (status = 200, description = "The events of the turn", body = String, content_type = "text/event-stream"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn events(peer: &Arc<Peer>, head: &Parts, id: &str) -> Answer {
    Query::read(&head.uri, &[])?;
    let after = last_event_id(head)?;
    let follow = auth::turns(peer, head).follow(turn(id)?, after)?;
    Ok(stream(peer, auth::principal(head), follow))
}

/// Cancel a turn.
///
/// One that runs stops at its next effect; any other is over at once.
#[utoipa::path(
    post,
    path = "/v1/turns/{turn}/cancel",
    operation_id = "cancelTurn",
    tag = "agents",
    params(("turn" = String, Path)),
    responses(
        (status = 202, description = "It is over, or about to be", body = TurnSchema<'static>),
        (status = 409, description = "It has ended", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn cancel(peer: &Peer, head: &Parts, id: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let turn = turn(id)?;
    auth::turns(peer, head).cancel(turn, &by(head)).await?;
    let said = auth::conversations(peer, head).said_turn(turn)?;
    let said = said.ok_or_else(|| no_turn(id))?;
    let mut response = json(wire::json(&TurnSchema::from(&said), 4 << 10));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// What records call whoever asks.
fn by(head: &Parts) -> String {
    auth::principal(head).subject.to_string()
}

/// Answers with the events of what is followed.
pub(crate) fn stream(peer: &Arc<Peer>, who: Arc<Principal>, follow: Follow) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let reader = tokio::spawn(tell(Arc::clone(peer), who, follow, sender));
    let events = Told { peer: Arc::clone(peer), receiver, reader };
    typed(Body::Events(Box::new(events)), HeaderValue::from_static("text/event-stream"))
}

async fn tell(peer: Arc<Peer>, who: Arc<Principal>, mut follow: Follow, to: mpsc::Sender<Bytes>) {
    while !peer.edge.is_draining() {
        let text = match tokio::time::timeout(BEAT_EVERY, follow.next()).await {
            Err(_) => Bytes::from_static(b": listening\n\n"),
            Ok(None) => return,
            Ok(Some(update)) => {
                let (name, data) = wire::update(&update);
                match update.id {
                    Some(id) => wire::numbered_event(id, name, &data),
                    None => wire::event(name, &data),
                }
            }
        };
        // Whoever's key was revoked is told nothing more.
        let counts = peer.edge.control.identities().still_counts(&who);
        if !counts || to.send(text).await.is_err() {
            return;
        }
    }
}

/// What one client is told.
struct Told {
    peer: Arc<Peer>,
    receiver: mpsc::Receiver<Bytes>,
    reader: JoinHandle<()>,
}

impl Events for Told {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let next = self.receiver.poll_recv(cx);
        if matches!(next, Poll::Ready(Some(_))) {
            // Each event, and each beat, starts the time that a request may take anew.
            self.peer.pulse.enter(Phase::Work);
        }
        next
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.reader.abort();
        self.peer.pulse.enter(Phase::Idle);
    }
}

/// A turn's id from a path.
pub(crate) fn turn(id: &str) -> Result<TurnId, Refusal> {
    TurnId::parse(id).ok_or_else(|| Problem::not_found("a turn's id is turn_ and 32 hex digits"))
}

/// A conversation's id from a path or a body.
pub(crate) fn conversation(id: &str) -> Result<Conversation, Refusal> {
    Conversation::parse(id).map_err(|error| Problem::not_found(&error.to_string()))
}

pub(crate) fn no_turn(id: &str) -> Refusal {
    Problem::not_found(&format!("there is no turn {id}"))
}
