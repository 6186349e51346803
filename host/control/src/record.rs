//! What is written into the journal, and how it is worded. The only place that makes events.
//!
//! Payloads say which component, tool, target and outcome; never arguments, results, headers,
//! bodies or the query of a URL, which may hold what a person would not want kept. Texts that
//! others chose are cut and escaped here, so no event outgrows the journal's limit.

use std::sync::Arc;

use foreshore_domain::call::CallContext;
use foreshore_domain::component::ComponentRef;
use foreshore_domain::denial::Denial;
use foreshore_domain::event::{EventKind, NewEvent, Stream, Tenant};
use foreshore_domain::id::{CallId, Digest, TurnId};
use foreshore_domain::identity::{Principal, Subject};
use foreshore_domain::outcome::Usage;
use foreshore_store::{AppendError, Commit, Journal};
use serde::Serialize;

use crate::approvals::Ticket;
use crate::clock;
use crate::invoke::Caller;
use crate::turns::payload::Entry;

/// The most of a text that others chose that goes into an event.
const TEXT_MAX_CHARS: usize = 1_024;

/// Writes events. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    journal: Journal,
}

/// What names a call in its events: without its observer, which must not outlive the call.
#[derive(Clone)]
pub(crate) struct CallFacts {
    call_id: CallId,
    component: ComponentRef,
    digest: Digest,
    tool: Arc<str>,
    principal: Arc<Principal>,
    caller: Caller,
}

impl CallFacts {
    pub(crate) fn of(context: &CallContext, caller: Caller) -> Self {
        Self {
            call_id: context.call_id,
            component: context.component.clone(),
            digest: context.digest,
            tool: Arc::clone(&context.tool),
            principal: Arc::clone(&context.principal),
            caller,
        }
    }

    /// Who it is for, where that is not the host itself.
    fn principal(&self) -> Option<String> {
        match &self.principal.subject {
            Subject::Host => None,
            subject => Some(subject.to_string()),
        }
    }

    fn agent(&self) -> Option<&str> {
        match &self.caller {
            Caller::Outside => None,
            Caller::Turn { agent, .. } => Some(agent),
        }
    }

    fn turn(&self) -> Option<TurnId> {
        match &self.caller {
            Caller::Outside => None,
            Caller::Turn { turn, .. } => Some(*turn),
        }
    }
}

/// How an outgoing request ended.
pub(crate) enum HttpEnd {
    /// With a response.
    Status(u16),
    /// Without one.
    Error(String),
}

/// The words of an event about a call.
#[derive(Serialize)]
struct CallStarted<'a> {
    component: &'a str,
    digest: &'a str,
    tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<TurnId>,
}

#[derive(Serialize)]
struct CallCompleted<'a> {
    component: &'a str,
    digest: &'a str,
    tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<TurnId>,
    outcome: &'a str,
    fuel: u64,
    peak_memory_bytes: u64,
    wall_us: u64,
    host_us: u64,
    egress_bytes: u64,
}

#[derive(Serialize)]
struct EffectEvent<'a> {
    effect: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct EffectDenied<'a> {
    component: &'a str,
    code: &'a str,
    subject: &'a str,
}

#[derive(Serialize)]
struct ComponentEvent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    digest: &'a str,
    origin: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct HostEvent<'a> {
    version: &'a str,
}

/// What an event about a component says besides which one.
pub(crate) struct ComponentFacts<'a> {
    /// Its name and version; the name `unknown` if that much is not known.
    pub(crate) reference: Option<&'a ComponentRef>,
    /// Which bytes.
    pub(crate) digest: Digest,
    /// `embedded`, `api` or a file name.
    pub(crate) origin: &'a str,
    /// Why not, if it was refused: code and text.
    pub(crate) refusal: Option<(&'a str, &'a str)>,
}

impl Recorder {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal }
    }

    /// On disk when this returns: the call may run. What lets it run, where it needed somebody's
    /// approval, is used up in the same commit; a conflict is one that was used or taken back.
    pub(crate) async fn call_started(
        &self,
        facts: &CallFacts,
        ticket: Option<&Ticket>,
    ) -> Result<(), AppendError> {
        let payload = json(&CallStarted {
            component: &facts.component.to_string(),
            digest: &facts.digest.to_string(),
            tool: &facts.tool,
            principal: facts.principal(),
            agent: facts.agent(),
            turn: facts.turn(),
        });
        let (stream, tenant) = (Stream::Call(facts.call_id), facts.principal.tenant.clone());
        let Some(ticket) = ticket else {
            return self.append(stream, tenant, EventKind::CallStarted, payload).await;
        };
        let at_unix_ms = clock::now_unix_ms();
        let (used, condition) = ticket.used_by(facts.call_id, at_unix_ms);
        let started =
            NewEvent { at_unix_ms, tenant, stream, kind: EventKind::CallStarted, payload };
        let events = used.into_iter().chain([started]).collect();
        let commit = Commit { events, conditions: vec![condition], blobs: Vec::new() };
        self.journal.commit(commit).await.map(|_| ())
    }

    /// Soon on disk: for a call that changed nothing.
    pub(crate) fn call_completed_soon(
        &self,
        facts: CallFacts,
        outcome: &'static str,
        usage: Usage,
    ) {
        let at_unix_ms = clock::now_unix_ms();
        self.journal.append_soon_with(move || call_completed(at_unix_ms, &facts, outcome, usage));
    }

    /// On disk when this returns, with what is recorded beside it: the result may be handed out.
    pub(crate) async fn call_completed(
        &self,
        facts: &CallFacts,
        outcome: &'static str,
        usage: Usage,
        beside: Entry,
    ) -> Result<(), AppendError> {
        let event = call_completed(clock::now_unix_ms(), facts, outcome, usage);
        if beside.events.is_empty() {
            return self.journal.append(event).await.map(|_| ());
        }
        let Entry { mut events, blobs } = beside;
        events.insert(0, event.clone());
        let commit = Commit { events, conditions: Vec::new(), blobs };
        match self.journal.commit(commit).await {
            Ok(_) => Ok(()),
            // Who wanted it beside is gone, such as a turn that was cancelled and deleted. That
            // the call ended is recorded all the same.
            Err(AppendError::Invalid { .. }) => self.journal.append(event).await.map(|_| ()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn denied(
        &self,
        call_id: CallId,
        component: &ComponentRef,
        denial: Denial,
        principal: &Principal,
    ) {
        let tenant = principal.tenant.clone();
        let (at_unix_ms, component) = (clock::now_unix_ms(), component.clone());
        self.journal.append_soon_with(move || NewEvent {
            at_unix_ms,
            tenant,
            stream: Stream::Call(call_id),
            kind: EventKind::EffectDenied,
            payload: json(&EffectDenied {
                component: &component.to_string(),
                code: denial.code.as_str(),
                subject: &shortened(&denial.subject, TEXT_MAX_CHARS),
            }),
        });
    }

    /// On disk when this returns: the effect may be performed.
    pub(crate) async fn intended(
        &self,
        call: &CallContext,
        effect: &'static str,
        subject: &str,
        detail: Option<&str>,
    ) -> Result<(), AppendError> {
        let payload = json(&EffectEvent {
            effect,
            subject: &shortened(subject, TEXT_MAX_CHARS),
            detail: detail.map(|text| shortened(text, TEXT_MAX_CHARS)).as_deref(),
            status: None,
            error: None,
        });
        let (stream, tenant) = (Stream::Call(call.call_id), call.principal.tenant.clone());
        self.append(stream, tenant, EventKind::EffectIntended, payload).await
    }

    /// Soon on disk, and in any case before a completion of the same call that is.
    pub(crate) fn http_performed(&self, call: &CallContext, subject: String, end: HttpEnd) {
        let (call_id, tenant) = (call.call_id, call.principal.tenant.clone());
        let at_unix_ms = clock::now_unix_ms();
        self.journal.append_soon_with(move || {
            let (status, error) = match end {
                HttpEnd::Status(status) => (Some(status), None),
                HttpEnd::Error(error) => (None, Some(shortened(&error, TEXT_MAX_CHARS))),
            };
            NewEvent {
                at_unix_ms,
                tenant,
                stream: Stream::Call(call_id),
                kind: EventKind::EffectPerformed,
                payload: json(&EffectEvent {
                    effect: "http-request",
                    subject: &shortened(&subject, TEXT_MAX_CHARS),
                    detail: None,
                    status,
                    error: error.as_deref(),
                }),
            }
        });
    }

    /// What goes into the commit of a change of memory, so that neither is there without the
    /// other.
    pub(crate) fn remembered(call_id: CallId, subject: &str, tenant: Tenant) -> NewEvent {
        NewEvent {
            at_unix_ms: clock::now_unix_ms(),
            tenant,
            stream: Stream::Call(call_id),
            kind: EventKind::EffectPerformed,
            payload: json(&EffectEvent {
                effect: "remember",
                subject: &shortened(subject, TEXT_MAX_CHARS),
                detail: None,
                status: None,
                error: None,
            }),
        }
    }

    /// On disk when this returns, if the journal works at all: what is loaded is served even
    /// when it cannot be recorded, as reads are.
    pub(crate) async fn component(&self, kind: EventKind, facts: ComponentFacts<'_>) {
        let name = facts.reference.map_or("unknown", |reference| &*reference.name).to_owned();
        let error = facts.refusal.map(|(_, text)| shortened(text, TEXT_MAX_CHARS));
        let payload = json(&ComponentEvent {
            version: facts.reference.map(|r| r.version.to_string()).as_deref(),
            digest: &facts.digest.to_string(),
            origin: &shortened(facts.origin, TEXT_MAX_CHARS),
            code: facts.refusal.map(|(code, _)| code),
            error: error.as_deref(),
        });
        if let Err(error) =
            self.append(Stream::Component(name), Tenant::DEFAULT, kind, payload).await
        {
            tracing::error!(%error, event = kind.as_str(), "a change of components was not recorded");
        }
    }

    pub(crate) async fn host(&self, kind: EventKind) -> Result<(), AppendError> {
        let payload = json(&HostEvent { version: env!("CARGO_PKG_VERSION") });
        self.append(Stream::Host, Tenant::DEFAULT, kind, payload).await
    }

    async fn append(
        &self,
        stream: Stream,
        tenant: Tenant,
        kind: EventKind,
        payload: Vec<u8>,
    ) -> Result<(), AppendError> {
        let at_unix_ms = clock::now_unix_ms();
        let event = NewEvent { at_unix_ms, tenant, stream, kind, payload };
        self.journal.append(event).await.map(|_| ())
    }
}

fn call_completed(
    at_unix_ms: u64,
    facts: &CallFacts,
    outcome: &'static str,
    usage: Usage,
) -> NewEvent {
    let payload = json(&CallCompleted {
        component: &facts.component.to_string(),
        digest: &facts.digest.to_string(),
        tool: &facts.tool,
        principal: facts.principal(),
        agent: facts.agent(),
        turn: facts.turn(),
        outcome,
        fuel: usage.fuel,
        peak_memory_bytes: usage.peak_memory_bytes,
        wall_us: usage.wall_us,
        host_us: usage.host_us,
        egress_bytes: usage.egress_bytes,
    });
    let (stream, kind) = (Stream::Call(facts.call_id), EventKind::CallCompleted);
    let tenant = facts.principal.tenant.clone();
    NewEvent { at_unix_ms, tenant, stream, kind, payload }
}

fn json(payload: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(payload).expect("invariant: these structs hold only strings and numbers")
}

/// At most `max` characters, control characters escaped: fit for a record, a log or a message.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    let mut short = String::with_capacity(text.len().min(max));
    for (index, character) in text.chars().enumerate() {
        if index == max {
            short.push('…');
            break;
        }
        if character.is_control() {
            short.extend(character.escape_default());
        } else {
            short.push(character);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_is_cut_and_escaped() {
        assert_eq!(shortened("plain", 10), "plain");
        assert_eq!(shortened("é\u{1b}[31m\n", 10), "é\\u{1b}[31m\\n");
        assert_eq!(shortened("abcdef", 3), "abc…");
    }
}
