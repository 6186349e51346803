//! `/v1/turns`: what a turn is at, its events, ending it; `/v1/approvals`: what people are asked.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use foreshore_control::turns::Follow;
use foreshore_domain::conversation::{Conversation, Decision, QuestionKind};
use foreshore_domain::id::{QuestionId, TurnId};
use foreshore_domain::identity::Permission;
use foreshore_domain::memory::JsonText;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::journal::last_event_id;
use crate::auth;
use crate::body::{Body, Events, whole};
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::query::Query;
use crate::request::{Answer, json, typed};
use crate::wire::{
    self, ApprovalSchema, ApprovalsSchema, DecisionSchema, ProblemSchema, TurnSchema,
};

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
    Ok(stream(peer, follow))
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

/// List what people are asked.
#[utoipa::path(
    get,
    path = "/v1/approvals",
    operation_id = "listApprovals",
    tag = "agents",
    params(("state" = Option<String>, Query, description = "`pending`, the only one that is listed")),
    responses(
        (status = 200, description = "What waits for a person, oldest first", body = ApprovalsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn approvals(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["state"])?;
    if query.get("state").is_some_and(|state| state != "pending") {
        return Err(Problem::invalid_query("state is pending: what was decided is in /v1/events"));
    }
    let questions = auth::turns(peer, head).questions()?;
    let approvals = questions.iter().map(|one| ApprovalSchema::new(&one.asked, None)).collect();
    Ok(json(wire::json(&ApprovalsSchema { approvals }, 1 << 10)))
}

/// What records call whoever asks.
fn by(head: &Parts) -> String {
    auth::principal(head).subject.to_string()
}

/// `GET` and `POST` of one question.
pub(crate) async fn approval(peer: &Peer, head: &Parts, body: Incoming, id: &str) -> Answer {
    let question = QuestionId::parse(id)
        .ok_or_else(|| Problem::not_found("an approval's id is ask_ and 32 hex digits"))?;
    if head.method == Method::POST {
        // Who may ask an agent may answer what it asks; saying yes to it is another matter.
        let asked = auth::turns(peer, head).question(question)?.asked;
        if matches!(asked.kind, QuestionKind::Approve { .. }) {
            auth::may(&auth::principal(head), Permission::DecideApprovals)?;
        }
        decide(peer, head, body, question).await?;
    }
    show_approval(peer, head, question)
}

/// Read a question, and what became of it.
#[utoipa::path(
    get,
    path = "/v1/approvals/{id}",
    operation_id = "showApproval",
    tag = "agents",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The question", body = ApprovalSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn show_approval(peer: &Peer, head: &Parts, id: QuestionId) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let question = auth::turns(peer, head).question(id)?;
    let decided = question.answered.as_ref().map(|one| (&one.decision, one.by.as_str()));
    Ok(json(wire::json(&ApprovalSchema::new(&question.asked, decided), 1 << 10)))
}

/// Decide.
///
/// Once: whoever is second is told so. The turn that asked goes on.
#[utoipa::path(
    post,
    path = "/v1/approvals/{id}",
    operation_id = "decideApproval",
    tag = "agents",
    params(("id" = String, Path)),
    request_body = DecisionSchema,
    responses(
        (status = 200, description = "The question, decided", body = ApprovalSchema<'static>),
        (status = 409, description = "It was decided before, or its time is over", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn decide(
    peer: &Peer,
    head: &Parts,
    body: Incoming,
    id: QuestionId,
) -> Result<(), Refusal> {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let asked: DecisionSchema = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    let decision = match (asked.decision.as_str(), asked.answer) {
        ("approve", None) => Decision::Approved,
        ("deny", None) => Decision::Denied,
        ("decline", None) => Decision::Declined,
        ("answer", Some(answer)) => Decision::Accepted(
            JsonText::parse(answer.get())
                .map_err(|error| Problem::invalid_body("/answer", error.to_string()))?,
        ),
        _ => {
            let text = "decision is approve, deny or decline, or answer with an \"answer\"";
            return Err(Problem::invalid_body("/decision", text));
        }
    };
    auth::turns(peer, head).answer(id, decision, &by(head)).await?;
    Ok(())
}

/// Answers with the events of what is followed.
pub(crate) fn stream(peer: &Arc<Peer>, follow: Follow) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let reader = tokio::spawn(tell(Arc::clone(peer), follow, sender));
    let events = Told { peer: Arc::clone(peer), receiver, reader };
    typed(Body::Events(Box::new(events)), HeaderValue::from_static("text/event-stream"))
}

async fn tell(peer: Arc<Peer>, mut follow: Follow, to: mpsc::Sender<Bytes>) {
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
        if to.send(text).await.is_err() {
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
