//! `/v1/approvals`: what people are asked, by agents and by rules, and what they say to it.

use foreshore_control::approvals::{ApprovalFault, NewVote};
use foreshore_domain::approval::{Scope, Vote};
use foreshore_domain::conversation::{Decision, QuestionKind};
use foreshore_domain::id::{ApprovalId, Digest, QuestionId};
use foreshore_domain::identity::Permission;
use foreshore_domain::memory::JsonText;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;

use crate::auth::{self, principal};
use crate::body::{Body, whole};
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::{Problem, Refusal};
use crate::query::Query;
use crate::request::{Answer, json};
use crate::wire::{self, ApprovalSchema, ApprovalsSchema, DecisionSchema, ProblemSchema};

/// Which of two things an id names.
enum Named {
    Question(QuestionId),
    Call(ApprovalId),
}

fn named(id: &str) -> Result<Named, Refusal> {
    let question = QuestionId::parse(id).map(Named::Question);
    question
        .or_else(|| ApprovalId::parse(id).map(Named::Call))
        .ok_or_else(|| Problem::not_found("an approval's id is apr_ or ask_ and 32 hex digits"))
}

/// List what people are asked.
///
/// By agents (`approve`, `ask`) and by rules (`call`).
#[utoipa::path(
    get,
    path = "/v1/approvals",
    operation_id = "listApprovals",
    tag = "approvals",
    params(("state" = Option<String>, Query, description = "`pending` (the default); `all` for the newest 1,000 calls too, whatever became of them")),
    responses(
        (status = 200, description = "What agents ask, oldest first, then the calls that rules ask about: pending ones by their end, all with the newest first", body = ApprovalsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let query = Query::read(&head.uri, &["state"])?;
    let by = principal(head);
    let control = &peer.edge.control;
    let calls = match query.get("state") {
        None | Some("pending") => control.approvals().pending(&by.tenant)?,
        Some("all") => control.approvals().newest(&by.tenant)?,
        Some(_) => return Err(Problem::invalid_query("state is pending or all")),
    };
    let questions = auth::turns(peer, head).questions()?;
    let questions = questions.iter().map(|one| ApprovalSchema::new(&one.asked, None));
    let approvals = questions.chain(calls.iter().map(ApprovalSchema::entry)).collect();
    Ok(json(wire::json(&ApprovalsSchema { approvals }, 4 << 10)))
}

/// List approvals that last.
///
/// Those that were given for a conversation or for always, and not revoked.
#[utoipa::path(
    get,
    path = "/v1/approvals/standing",
    operation_id = "listStandingApprovals",
    tag = "approvals",
    responses(
        (status = 200, description = "The approvals, the oldest first", body = ApprovalsSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn standing(peer: &Peer, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let standing = peer.edge.control.approvals().standing(&principal(head).tenant)?;
    let approvals = standing.iter().map(ApprovalSchema::entry).collect();
    Ok(json(wire::json(&ApprovalsSchema { approvals }, 4 << 10)))
}

/// `GET`, `POST` and `DELETE` of one.
pub(crate) async fn one(peer: &Peer, head: &Parts, body: Incoming, id: &str) -> Answer {
    let named = named(id)?;
    match head.method {
        Method::POST => decide(peer, head, body, &named).await?,
        Method::DELETE => return revoke(peer, head, &named).await,
        _ => {}
    }
    show(peer, head, &named)
}

/// Read what people are asked, and what became of it.
#[utoipa::path(
    get,
    path = "/v1/approvals/{id}",
    operation_id = "showApproval",
    tag = "approvals",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "What is asked", body = ApprovalSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
fn show(peer: &Peer, head: &Parts, named: &Named) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let text = match named {
        Named::Question(id) => {
            let question = auth::turns(peer, head).question(*id)?;
            let decided = question.answered.as_ref().map(|one| (&one.decision, one.by.as_str()));
            wire::json(&ApprovalSchema::new(&question.asked, decided), 1 << 10)
        }
        Named::Call(id) => {
            let entry = peer.edge.control.approvals().get(&principal(head).tenant, *id)?;
            wire::json(&ApprovalSchema::entry(&entry), 2 << 10)
        }
    };
    Ok(json(text))
}

/// Decide.
///
/// Once: whoever is second is told so. What asked goes on. A call may take the agreement of
/// several; then it is pending until the last of them.
#[utoipa::path(
    post,
    path = "/v1/approvals/{id}",
    operation_id = "decideApproval",
    tag = "approvals",
    params(("id" = String, Path)),
    request_body = DecisionSchema,
    responses(
        (status = 200, description = "What was asked, decided", body = ApprovalSchema<'static>),
        (status = 403, description = "It is not the caller's to decide", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = 409, description = "It was decided before, its time is over, or it has changed", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn decide(peer: &Peer, head: &Parts, body: Incoming, named: &Named) -> Result<(), Refusal> {
    negotiation::require_json(&head.headers)?;
    let body = whole(peer, body).await?;
    let asked: DecisionSchema = serde_json::from_slice(&body)
        .map_err(|error| Problem::invalid_body("", error.to_string()))?;
    let by = principal(head);
    match named {
        Named::Question(id) => {
            let turns = auth::turns(peer, head);
            // Who may ask an agent may answer what it asks; saying yes to it is another matter.
            if matches!(turns.question(*id)?.asked.kind, QuestionKind::Approve { .. }) {
                auth::may(&by, Permission::DecideApprovals)?;
            }
            turns.answer(*id, answer(asked)?, &by.subject.to_string()).await?;
        }
        Named::Call(id) => {
            auth::may(&by, Permission::DecideApprovals)?;
            peer.edge.control.approvals().vote(*id, vote(asked)?, &by).await?;
        }
    }
    Ok(())
}

fn answer(asked: DecisionSchema) -> Result<Decision, Refusal> {
    if asked.is_of_a_call() {
        let text = "a question has no scope, arguments, reason and binding: those are of calls";
        return Err(Problem::invalid_body("", text));
    }
    Ok(match (asked.decision.as_str(), asked.answer) {
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
    })
}

fn vote(asked: DecisionSchema) -> Result<NewVote, Refusal> {
    let vote = match (asked.decision.as_str(), &asked.answer) {
        ("approve", None) => Vote::Approve,
        ("deny", None) => Vote::Deny,
        _ => return Err(Problem::invalid_body("/decision", "decision is approve or deny")),
    };
    let binding = asked.binding.map(|text| {
        let read = Digest::parse(&text);
        read.ok_or_else(|| Problem::invalid_body("/binding", "it is sha256: and 64 hex digits"))
    });
    Ok(NewVote {
        vote,
        scope: asked.scope.map_or(Scope::Once, Scope::from),
        arguments: asked.arguments,
        reason: asked.reason,
        binding: binding.transpose()?,
    })
}

/// Revoke.
///
/// An approval that lasts, or one that was not used yet. It counts for no call that begins after
/// the answer.
#[utoipa::path(
    delete,
    path = "/v1/approvals/{id}",
    operation_id = "revokeApproval",
    tag = "approvals",
    params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is over"),
        (status = 409, description = "There is nothing to take back", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
async fn revoke(peer: &Peer, head: &Parts, named: &Named) -> Answer {
    let Named::Call(id) = named else {
        return Err(Problem::not_found("a question is answered, and not revoked"));
    };
    peer.edge.control.approvals().revoke(*id, &principal(head)).await?;
    let mut response = Response::new(Body::from(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

impl From<ApprovalFault> for Refusal {
    fn from(fault: ApprovalFault) -> Self {
        let (code, detail) = (fault.code(), fault.to_string());
        let status = match &fault {
            ApprovalFault::NotFound { .. } => return Problem::not_found(&detail),
            ApprovalFault::Invalid { pointer, .. } => {
                return Problem::invalid_body(pointer, detail);
            }
            ApprovalFault::ReadOnly { .. } => return Problem::store_read_only(detail),
            ApprovalFault::NotPermitted { .. } => StatusCode::FORBIDDEN,
            ApprovalFault::Closed { .. }
            | ApprovalFault::Changed { .. }
            | ApprovalFault::Contended { .. } => StatusCode::CONFLICT,
            _ => return Problem::host(&detail),
        };
        Problem::new(status, code, "The approval was not changed", detail)
    }
}
