//! What people say to a request, and what it comes to.

use foreshore_domain::approval::{
    ARGUMENTS_MAX_BYTES, ApprovalClosed, ApprovalState, ApprovalVoted, Binding, Edited, Scope,
    Standing, Vote, canonical, shape,
};
use foreshore_domain::conversation::{MessageText, Name};
use foreshore_domain::event::Tenant;
use foreshore_domain::id::{ApprovalId, Digest, TurnId};
use foreshore_domain::identity::{Permission, Principal};
use foreshore_domain::memory::JsonText;
use foreshore_store::approvals::ApprovalEntry;
use serde_json::Value;

use super::notices::Notice;
use super::{ATTEMPTS, ApprovalFault, Approvals};
use crate::clock;

/// What somebody says to a request.
#[derive(Clone, Debug)]
pub struct NewVote {
    /// Yes or no.
    pub vote: Vote,
    /// What a yes is good for.
    pub scope: Scope,
    /// Other arguments to which it is.
    pub arguments: Option<Value>,
    /// Why.
    pub reason: Option<String>,
    /// The binding that the decider saw; any if none is named.
    pub binding: Option<Digest>,
}

impl NewVote {
    /// Yes to this call, or no to it.
    pub fn of(vote: Vote) -> Self {
        Self { vote, scope: Scope::Once, arguments: None, reason: None, binding: None }
    }
}

impl Approvals {
    /// Says yes or no to what waits. One *no* closes it; as many *yes* of different principals as
    /// its rule asks for do as well.
    ///
    /// # Errors
    /// [`ApprovalFault`].
    pub async fn vote(
        &self,
        approval: ApprovalId,
        new: NewVote,
        by: &Principal,
    ) -> Result<ApprovalEntry, ApprovalFault> {
        if !by.may(Permission::DecideApprovals) {
            return Err(ApprovalFault::not_permitted(approval));
        }
        for _ in 0..ATTEMPTS {
            let entry = self.get(&by.tenant, approval)?;
            let now = clock::now_unix_ms();
            if entry.state != ApprovalState::Pending {
                return Err(ApprovalFault::Closed { approval, state: entry.state });
            }
            if entry.requested.expires_at_unix_ms <= now {
                return Err(ApprovalFault::Closed { approval, state: ApprovalState::Expired });
            }
            check(&entry, &new, by, now)?;
            let voted = voted(&entry, &new, by)?;
            let closed = closed(&entry, &voted);
            let mut events = vec![voted.event(now, by.tenant.clone())];
            events.extend(closed.as_ref().map(|closed| closed.event(now, by.tenant.clone())));
            if self.commit(&by.tenant, approval, entry.seq, events).await? {
                let entry = self.get(&by.tenant, approval)?;
                if closed.is_some() {
                    self.has_changed(&entry);
                    self.0.notices.send(Notice::Closed, &entry);
                }
                return Ok(entry);
            }
        }
        Err(ApprovalFault::Contended { approval })
    }

    /// Closes what waits without anybody's vote: its time is over, or whoever asked is gone.
    pub(super) async fn close(
        &self,
        entry: &ApprovalEntry,
        state: ApprovalState,
    ) -> Result<(), ApprovalFault> {
        let tenant = tenant_of(entry)?;
        let approval = entry.requested.approval;
        let closed = ApprovalClosed { approval, state, standing: None };
        let event = closed.event(clock::now_unix_ms(), tenant.clone());
        // A conflict is somebody who decided at the last moment, and that counts.
        if self.commit(&tenant, approval, entry.seq, vec![event]).await? {
            let entry = self.get(&tenant, approval)?;
            self.has_changed(&entry);
            self.0.notices.send(Notice::Closed, &entry);
        }
        Ok(())
    }

    /// The calls of a turn that is over wait for nobody any more.
    pub(crate) async fn cancel_turn(
        &self,
        tenant: &Tenant,
        turn: TurnId,
    ) -> Result<(), ApprovalFault> {
        let of_turn = self.0.journal.approvals()?.of_turn(tenant.as_str(), turn)?;
        for entry in of_turn.iter().filter(|entry| entry.state == ApprovalState::Pending) {
            self.close(entry, ApprovalState::Cancelled).await?;
        }
        Ok(())
    }
}

pub(super) fn tenant_of(entry: &ApprovalEntry) -> Result<Tenant, ApprovalFault> {
    Tenant::parse(&entry.tenant)
        .map_err(|error| ApprovalFault::Store { message: error.to_string() })
}

/// Whether somebody may say this.
fn check(
    entry: &ApprovalEntry,
    new: &NewVote,
    by: &Principal,
    now: u64,
) -> Result<(), ApprovalFault> {
    let approval = entry.requested.approval;
    let terms = &entry.requested.terms;
    let not_permitted = |message| Err(ApprovalFault::NotPermitted { approval, message });
    let is_own = entry.requested.subject == by.subject.to_string();
    if is_own && new.vote == Vote::Deny {
        return Ok(());
    }
    let waited = now.saturating_sub(entry.requested_at_unix_ms);
    if !terms.admits(by, waited) {
        let roles: Vec<&str> = terms.approvers.iter().map(|role| role.as_str()).collect();
        return not_permitted(format!("its rule names the roles {}", roles.join(", ")));
    }
    if is_own && !(terms.own && terms.quorum.get() == 1) {
        return not_permitted(
            "you asked for it yourself; somebody else decides, unless the rule has self = true and no quorum".to_owned(),
        );
    }
    if let Some(seen) = new.binding {
        let binding = entry.binding();
        if binding != Some(seen) {
            let binding = binding.map_or_else(|| "unknown".to_owned(), |now| now.to_string());
            return Err(ApprovalFault::Changed { approval, binding });
        }
    }
    if new.vote == Vote::Deny && (new.arguments.is_some() || new.scope != Scope::Once) {
        let message = "a no has no arguments and no scope".to_owned();
        return Err(ApprovalFault::Invalid { pointer: "/decision", message });
    }
    if new.scope == Scope::Conversation && entry.requested.origin.is_none() {
        let message = "this call is of no conversation: once or always".to_owned();
        return Err(ApprovalFault::Invalid { pointer: "/scope", message });
    }
    Ok(())
}

fn voted(
    entry: &ApprovalEntry,
    new: &NewVote,
    by: &Principal,
) -> Result<ApprovalVoted, ApprovalFault> {
    let edited = match &new.arguments {
        Some(arguments) if canonical(arguments) != entry.arguments().as_str() => {
            Some(edited(entry, arguments)?)
        }
        _ => None,
    };
    Ok(ApprovalVoted {
        approval: entry.requested.approval,
        vote: new.vote,
        by: by.name(),
        scope: new.scope,
        edited,
        reason: new.reason.as_deref().map(MessageText::cut),
    })
}

fn edited(entry: &ApprovalEntry, arguments: &Value) -> Result<Edited, ApprovalFault> {
    let invalid = |message: String| ApprovalFault::Invalid { pointer: "/arguments", message };
    if !arguments.is_object() {
        return Err(invalid("arguments are a JSON object".to_owned()));
    }
    let arguments = canonical(arguments);
    if arguments.len() > ARGUMENTS_MAX_BYTES {
        let bytes = arguments.len();
        return Err(invalid(format!("{bytes} bytes of arguments; at most {ARGUMENTS_MAX_BYTES}")));
    }
    let asked = &entry.requested;
    let binding = Binding {
        tool: &asked.tool,
        component: asked.digest,
        arguments: &arguments,
        policy: asked.policy,
        subject: &asked.subject,
        expires_at_unix_ms: asked.expires_at_unix_ms,
        nonce: &asked.nonce,
    };
    let binding = binding.digest();
    let arguments = JsonText::parse(arguments).map_err(|error| invalid(error.to_string()))?;
    Ok(Edited { arguments, binding })
}

/// What a request comes to by one more vote; `None` while it waits for others.
fn closed(entry: &ApprovalEntry, voted: &ApprovalVoted) -> Option<ApprovalClosed> {
    let approval = entry.requested.approval;
    if voted.vote == Vote::Deny {
        return Some(ApprovalClosed { approval, state: ApprovalState::Denied, standing: None });
    }
    // An edit voids what was said before it, of something else.
    let before = entry.votes.iter().filter(|_| voted.edited.is_none());
    let mut yes: Vec<(&Name, Scope)> =
        before.filter(|vote| vote.by != voted.by).map(|vote| (&vote.by, vote.scope)).collect();
    yes.push((&voted.by, voted.scope));
    if u32::try_from(yes.len()).unwrap_or(u32::MAX) < entry.requested.terms.quorum.get() {
        return None;
    }
    let scope = yes.iter().map(|(_, scope)| *scope).min().unwrap_or_default();
    let arguments = voted.edited.as_ref().map_or(entry.arguments(), |edited| &edited.arguments);
    let standing = (scope != Scope::Once).then(|| {
        let arguments: Value = serde_json::from_str(arguments.as_str()).unwrap_or_default();
        Standing { scope, shape: shape(&arguments, &entry.requested.terms.pinned) }
    });
    Some(ApprovalClosed { approval, state: ApprovalState::Approved, standing })
}
