//! A call at the door: what the rules say of it, whether somebody agreed to it, and asking.

use std::sync::Arc;

use foreshore_domain::approval::{
    ARGUMENTS_MAX_BYTES, ApprovalRequested, ApprovalState, ApprovalUsed, Asking, Binding, Nonce,
    Origin, Ruling, Scope, Terms, Vote, canonical, shape,
};
use foreshore_domain::call::{CallContext, CallError};
use foreshore_domain::component::{ComponentRef, ToolHints};
use foreshore_domain::conversation::Conversation;
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::event::{NewEvent, Tenant};
use foreshore_domain::grant::Grant;
use foreshore_domain::id::{ApprovalId, CallId, Digest, TurnId};
use foreshore_domain::identity::Principal;
use foreshore_domain::memory::JsonText;
use foreshore_store::approvals::ApprovalEntry;
use foreshore_store::{AppendError, Condition};
use serde_json::Value;

use super::notices::Notice;
use super::{ApprovalFault, Approvals, Asks, PENDING_MAX, unmoved};
use crate::clock;

/// A call that may have to wait.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) component: ComponentRef,
    pub(crate) digest: Digest,
    pub(crate) tool: Arc<str>,
    pub(crate) hints: ToolHints,
    pub(crate) grant: Arc<Grant>,
    pub(crate) arguments: Value,
    pub(crate) principal: Arc<Principal>,
    /// The agent, and the conversation it is in.
    pub(crate) agent: Option<(Arc<str>, Conversation)>,
}

/// What becomes of a call.
#[derive(Debug)]
pub(crate) enum Weighed {
    /// It runs.
    Free,
    /// It runs by an approval that lasts.
    Standing(Ticket),
    /// It does not run.
    Denied(Denial),
    /// A person decides.
    Asks(Terms),
}

/// Lets one call begin: to be used in the commit of its beginning.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    approval: ApprovalId,
    tenant: Tenant,
    seq: u64,
    /// Whether it is used up.
    once: bool,
    /// What the guest gets: what was shown to whoever agreed.
    pub(crate) arguments: String,
}

impl Ticket {
    /// What the commit of the call's beginning holds besides, and what must hold for it.
    pub(crate) fn used_by(&self, call: CallId, now: u64) -> (Option<NewEvent>, Condition) {
        let used = ApprovalUsed { approval: self.approval, call };
        let event = self.once.then(|| used.event(now, self.tenant.clone()));
        (event, unmoved(&self.tenant, self.approval, self.seq))
    }

    /// Why a call does not begin whose approval has moved: it was used, or taken back.
    pub(crate) fn moved(&self) -> CallError {
        let message = "it was used or revoked at the same time; call again without it".to_owned();
        CallError::ApprovalStale { approval: self.approval, message }
    }
}

impl Candidate {
    pub(crate) fn of(
        context: &CallContext,
        arguments: Value,
        agent: Option<(Arc<str>, Conversation)>,
    ) -> Self {
        Self {
            component: context.component.clone(),
            digest: context.digest,
            tool: Arc::clone(&context.tool),
            hints: context.hints,
            grant: Arc::clone(&context.grant),
            arguments,
            principal: Arc::clone(&context.principal),
            agent,
        }
    }

    /// `files.write`, whatever the version.
    fn name(&self) -> String {
        format!("{}.{}", self.component.name, self.tool)
    }

    /// What records call whoever asks.
    fn subject(&self) -> String {
        match &self.agent {
            // Whoever asked the agent may decide what it does: it is the agent that asks here.
            Some((agent, _)) => format!("agent:{agent} for {}", self.principal.subject),
            None => self.principal.subject.to_string(),
        }
    }
}

impl Approvals {
    /// What the rules and what lasts say of a call.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) fn weigh(&self, call: &Candidate) -> Result<Weighed, CallError> {
        if self.0.policy.is_open() {
            return Ok(Weighed::Free);
        }
        let asking = Asking {
            component: &call.component.name,
            tool: &call.tool,
            hints: call.hints,
            arguments: &call.arguments,
            agent: call.agent.as_ref().map(|(agent, _)| &**agent),
            principal: &call.principal,
            now_unix_ms: clock::now_unix_ms(),
        };
        match self.0.policy.ruling(&asking) {
            Ruling::Allow => Ok(Weighed::Free),
            Ruling::Deny { rule, reason } => {
                let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                Ok(Weighed::Denied(Denial {
                    code: DenialCode::DeniedByRule,
                    subject: format!("{}{because}", call.name()),
                    grant: format!("rule {} of [[approvals.rules]] otherwise", rule + 1),
                }))
            }
            Ruling::Ask(_) if self.0.asks == Asks::Nobody => Ok(Weighed::Free),
            Ruling::Ask(terms) => Ok(match self.lasting(call, &terms).map_err(unreadable)? {
                Some(ticket) => Weighed::Standing(ticket),
                None => Weighed::Asks(terms),
            }),
        }
    }

    /// An approval that lasts and is for calls such as this.
    fn lasting(&self, call: &Candidate, terms: &Terms) -> Result<Option<Ticket>, ApprovalFault> {
        let tenant = &call.principal.tenant;
        let standing = self.standing(tenant)?;
        if standing.is_empty() {
            return Ok(None);
        }
        let (name, subject, policy) = (call.name(), call.subject(), self.policy_of(&call.grant));
        let shape = shape(&call.arguments, &terms.pinned);
        let is_for = |entry: &ApprovalEntry| {
            let asked = &entry.requested;
            let Some(standing) = &entry.standing else { return false };
            let conversation = asked.origin.as_ref().map(|origin| &origin.conversation);
            asked.tool == name
                && asked.subject == subject
                && asked.digest == call.digest
                && asked.policy == policy
                && standing.shape == shape
                && match standing.scope {
                    Scope::Always => true,
                    Scope::Conversation => {
                        conversation.is_some()
                            && conversation == call.agent.as_ref().map(|(_, within)| within)
                    }
                    Scope::Once => false,
                }
        };
        Ok(standing.iter().find(|entry| is_for(entry)).map(|entry| Ticket {
            approval: entry.requested.approval,
            tenant: tenant.clone(),
            seq: entry.seq,
            once: false,
            arguments: canonical(&call.arguments),
        }))
    }

    /// Whether an approval that is shown is for this call, with the right to begin it.
    ///
    /// # Errors
    /// [`CallError::ApprovalStale`], [`CallError::ApprovalRequired`] while it waits,
    /// [`CallError::Refused`] where somebody said no.
    pub(crate) fn show(&self, call: &Candidate, approval: ApprovalId) -> Result<Ticket, CallError> {
        let stale = |message: &str| CallError::ApprovalStale {
            approval,
            message: format!("{message}; call again without it"),
        };
        let tenant = &call.principal.tenant;
        let entry = match self.get(tenant, approval) {
            Ok(entry) => entry,
            Err(ApprovalFault::NotFound { .. }) => return Err(stale("there is none of this id")),
            Err(fault) => return Err(unreadable(fault)),
        };
        let asked = &entry.requested;
        if asked.subject != call.subject() {
            // No word of what it is for: whoever shows it did not ask for it.
            return Err(stale("there is none of this id"));
        }
        let expires_at_unix_ms = asked.expires_at_unix_ms;
        let is_over = expires_at_unix_ms <= clock::now_unix_ms();
        match entry.state {
            ApprovalState::Approved if is_over => return Err(stale("its time is over")),
            ApprovalState::Approved => {}
            ApprovalState::Pending if !is_over => {
                return Err(CallError::ApprovalRequired { approval, expires_at_unix_ms });
            }
            ApprovalState::Pending | ApprovalState::Expired => {
                return Err(CallError::Refused { message: "nobody decided in time".to_owned() });
            }
            ApprovalState::Denied => return Err(CallError::Refused { message: no(&entry) }),
            ApprovalState::Used => return Err(stale("it was used")),
            ApprovalState::Cancelled | ApprovalState::Revoked => {
                return Err(stale("it was taken back"));
            }
        }
        let (tool, subject, arguments) = (call.name(), call.subject(), canonical(&call.arguments));
        let binding = Binding {
            tool: &tool,
            component: call.digest,
            arguments: &arguments,
            policy: self.policy_of(&call.grant),
            subject: &subject,
            expires_at_unix_ms,
            nonce: &asked.nonce,
        };
        if entry.binding() != Some(binding.digest()) {
            return Err(stale(if tool != asked.tool {
                "it is for another tool"
            } else if binding.component != asked.digest {
                "the component was replaced since"
            } else if binding.policy != asked.policy {
                "the rules or the component's grant have changed since"
            } else if arguments != entry.arguments().as_str() {
                "the arguments are not those that were approved"
            } else {
                "it is for something else"
            }));
        }
        let (tenant, seq) = (tenant.clone(), entry.seq);
        Ok(Ticket { approval, tenant, seq, once: true, arguments })
    }

    /// A request for a call, that nobody has put on record yet.
    ///
    /// # Errors
    /// The arguments are more than anybody would read; no random numbers.
    pub(crate) fn request(
        &self,
        call: &Candidate,
        terms: Terms,
        origin: Option<Origin>,
    ) -> Result<ApprovalRequested, CallError> {
        let now = clock::now_unix_ms();
        let tool = call.name();
        let invalid = |message: String| CallError::InvalidArguments {
            tool: tool.clone(),
            pointer: String::new(),
            message,
        };
        let text = canonical(&call.arguments);
        if text.len() > ARGUMENTS_MAX_BYTES {
            return Err(invalid(format!(
                "a person has to approve this call, and is shown at most {ARGUMENTS_MAX_BYTES} bytes of arguments; these have {}",
                text.len()
            )));
        }
        let arguments = JsonText::parse(text).map_err(|error| invalid(error.to_string()))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| CallError::Host { message: format!("no random bytes: {error}") })?;
        let (nonce, subject) = (Nonce::new(random), call.subject());
        let expires_at_unix_ms = now.saturating_add(terms.ttl_ms);
        let policy = self.policy_of(&call.grant);
        let binding = Binding {
            tool: &tool,
            component: call.digest,
            arguments: arguments.as_str(),
            policy,
            subject: &subject,
            expires_at_unix_ms,
            nonce: &nonce,
        };
        let binding = binding.digest();
        Ok(ApprovalRequested {
            approval: ApprovalId::new(now),
            binding,
            tool,
            component: call.component.to_string(),
            digest: call.digest,
            arguments,
            policy,
            subject,
            expires_at_unix_ms,
            nonce,
            terms,
            origin,
        })
    }

    /// Asks for a call from outside. The same call that waits already is not asked for again.
    ///
    /// # Errors
    /// As [`Self::request`]; too much waits already; it cannot be recorded.
    pub(crate) async fn ask(&self, call: &Candidate, terms: Terms) -> Result<CallError, CallError> {
        let _one_at_a_time = self.0.requesting.lock().await;
        let requested = self.request(call, terms, None)?;
        let waits = |requested: &ApprovalRequested| CallError::ApprovalRequired {
            approval: requested.approval,
            expires_at_unix_ms: requested.expires_at_unix_ms,
        };
        let now = clock::now_unix_ms();
        let pending = self.has_room().map_err(unreadable)?;
        let tenant = &call.principal.tenant;
        let same = pending.iter().find(|entry| {
            let asked = &entry.requested;
            entry.tenant == tenant.as_str()
                && asked.origin.is_none()
                && asked.expires_at_unix_ms > now
                && asked.subject == requested.subject
                && asked.tool == requested.tool
                && asked.digest == requested.digest
                && asked.policy == requested.policy
                && asked.arguments == requested.arguments
        });
        if let Some(entry) = same {
            return Ok(waits(&entry.requested));
        }
        if pending.len() >= PENDING_MAX {
            return Err(CallError::Overloaded {
                reason: "too many calls wait for a person",
                retry_after: std::time::Duration::from_secs(60),
            });
        }
        self.0.journal.append(requested.event(now, tenant.clone())).await.map_err(|error| {
            match error {
                AppendError::Failed { message } | AppendError::Write { message } => {
                    CallError::StoreReadOnly { message }
                }
                error => CallError::Host { message: error.to_string() },
            }
        })?;
        self.was_asked(tenant, &requested);
        Ok(waits(&requested))
    }

    /// What waits, to be counted.
    pub(crate) fn has_room(&self) -> Result<Vec<ApprovalEntry>, ApprovalFault> {
        Ok(self.0.journal.approvals()?.pending(PENDING_MAX)?)
    }

    /// A request is on record: those who may decide are told, and its time runs.
    pub(crate) fn was_asked(&self, tenant: &Tenant, requested: &ApprovalRequested) {
        match self.get(tenant, requested.approval) {
            Ok(entry) => self.0.notices.send(Notice::Requested, &entry),
            Err(fault) => tracing::warn!(%fault, "nobody was told of what waits"),
        }
        self.0.earlier.notify_one();
        self.0.changed.send_modify(|changes| *changes += 1);
    }

    /// Whether somebody said no to the same call in the same turn.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) fn denied_before(
        &self,
        call: &Candidate,
        turn: TurnId,
    ) -> Result<Option<String>, CallError> {
        let read = || -> Result<Vec<ApprovalEntry>, ApprovalFault> {
            let reader = self.0.journal.approvals()?;
            Ok(reader.of_turn(call.principal.tenant.as_str(), turn)?)
        };
        let (name, arguments) = (call.name(), canonical(&call.arguments));
        let of_turn = read().map_err(unreadable)?;
        let denied = of_turn.iter().find(|entry| {
            matches!(entry.state, ApprovalState::Denied | ApprovalState::Expired)
                && entry.requested.tool == name
                && entry.requested.arguments.as_str() == arguments
        });
        Ok(denied.map(no))
    }

    /// The rules and a component's grant, in one digest.
    fn policy_of(&self, grant: &Grant) -> Digest {
        // As it is written out in memory; see `ApprovalPolicy::new`.
        Digest::of(format!("{} {grant:?}", self.0.policy.digest()).as_bytes())
    }
}

/// Why not, in words for whoever asked.
pub(crate) fn no(entry: &ApprovalEntry) -> String {
    if entry.state == ApprovalState::Expired {
        return "nobody decided in time".to_owned();
    }
    let said = entry.votes.iter().rev().find(|vote| vote.vote == Vote::Deny);
    match said.and_then(|vote| vote.reason.as_ref()) {
        Some(reason) => format!("a person said no: {}", reason.as_str()),
        None => "a person said no".to_owned(),
    }
}

pub(crate) fn unreadable(fault: ApprovalFault) -> CallError {
    CallError::Host { message: format!("approvals cannot be read: {fault}") }
}
