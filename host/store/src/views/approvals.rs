//! Approvals by rule: what waits, what was decided, what was used, and what lasts.
//!
//! ```text
//! a tenant approval              -> ApprovalEntry, as JSON
//! s tenant approval              -> nothing: it lasts, and was not revoked
//! t tenant turn approval         -> nothing: a call of that turn
//! x expires_at a tenant approval -> nothing: it is pending
//! ```
//!
//! Deliberately absent: clocks (what is past its time is pending until an event says otherwise) and
//! who may decide. The invariants: a request is closed once, **and used at most once**; an event
//! that would break either is refused, whatever its writer believed.

use foreshore_domain::approval::{
    ApprovalClosed, ApprovalRequested, ApprovalRevoked, ApprovalState, ApprovalUsed, ApprovalVoted,
    Scope, Standing, Vote, kind,
};
use foreshore_domain::conversation::{MessageText, Name};
use foreshore_domain::id::{ApprovalId, CallId, Digest, TurnId};
use foreshore_domain::memory::JsonText;
use serde::{Deserialize, Serialize};

use super::codec::{self, Definition, ReadRows, Readable, after, put_part};
use super::{EventRef, Receipt, ViewError, payload, storage};

const TABLE: Definition = Definition::new("approvals_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "approvals" };

/// A request, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalEntry {
    /// Whose.
    pub tenant: String,
    /// As it was asked.
    pub requested: ApprovalRequested,
    /// When, in milliseconds since 1970.
    pub requested_at_unix_ms: u64,
    /// What it has come to.
    pub state: ApprovalState,
    /// Who put other arguments in place, and what they are.
    pub edited: Option<EditedEntry>,
    /// What was said to it as it stands.
    pub votes: Vec<VoteEntry>,
    /// What it lasts for.
    pub standing: Option<Standing>,
    /// When it was closed, in milliseconds since 1970.
    pub closed_at_unix_ms: Option<u64>,
    /// Where the journal has its end.
    pub closed_seq: Option<u64>,
    /// The call it was used by.
    pub used_by: Option<CallId>,
    /// Who took it back.
    pub revoked_by: Option<Name>,
    /// The last event of its stream.
    pub seq: u64,
}

/// Arguments that somebody put in place of those that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditedEntry {
    /// The arguments.
    pub arguments: JsonText,
    /// The digest of the binding.
    pub binding: String,
    /// Who.
    pub by: Name,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteEntry {
    /// Yes or no.
    pub vote: Vote,
    /// Who.
    pub by: Name,
    /// What a yes is good for.
    pub scope: Scope,
    /// Why.
    pub reason: Option<MessageText>,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

impl ApprovalEntry {
    /// The arguments that it is for now.
    pub fn arguments(&self) -> &JsonText {
        self.edited.as_ref().map_or(&self.requested.arguments, |edited| &edited.arguments)
    }

    /// The binding as it is now; `None` if a row does not hold one.
    pub fn binding(&self) -> Option<Digest> {
        match &self.edited {
            None => Some(self.requested.binding),
            Some(edited) => Digest::parse(&edited.binding),
        }
    }

    /// Whether it lasts beyond its call.
    pub fn stands(&self) -> bool {
        self.standing.is_some() && self.revoked_by.is_none()
    }
}

/// Whether [`apply`] follows events of a kind.
pub(crate) fn follows(kind: &str) -> bool {
    kind::ALL.iter().any(|known| known.as_str() == kind)
}

/// Follows the events of approvals.
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
) -> Result<Receipt, ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let refused = |message: &str| Err(ViewError::payload(event, &message));
    let known = |rows: &_, approval: ApprovalId| {
        read(rows, event.tenant, approval)?
            .ok_or_else(|| ViewError::payload(event, &"there is no such approval"))
    };
    let mut entry = match event.kind {
        kind::REQUESTED => {
            let requested: ApprovalRequested = payload(event)?;
            if read(&rows, event.tenant, requested.approval)?.is_some() {
                return refused("it was requested before");
            }
            let pending = pending_key(event.tenant, &requested);
            rows.insert(&*pending, &[][..]).map_err(storage)?;
            if let Some(origin) = &requested.origin {
                let key = turn_key(event.tenant, origin.turn, Some(requested.approval));
                rows.insert(&*key, &[][..]).map_err(storage)?;
            }
            ApprovalEntry {
                tenant: event.tenant.to_owned(),
                requested,
                requested_at_unix_ms: event.at_unix_ms,
                state: ApprovalState::Pending,
                edited: None,
                votes: Vec::new(),
                standing: None,
                closed_at_unix_ms: None,
                closed_seq: None,
                used_by: None,
                revoked_by: None,
                seq: event.seq,
            }
        }
        kind::VOTED => {
            let voted: ApprovalVoted = payload(event)?;
            let mut entry = known(&rows, voted.approval)?;
            if entry.state != ApprovalState::Pending {
                return refused("it was decided before");
            }
            let ApprovalVoted { vote, by, scope, edited, reason, .. } = voted;
            if let Some(edited) = edited {
                // What was said before was said of something else.
                entry.votes.clear();
                let (arguments, binding) = (edited.arguments, edited.binding.to_string());
                entry.edited = Some(EditedEntry { arguments, binding, by: by.clone() });
            }
            entry.votes.retain(|other| other.by != by);
            let at_unix_ms = event.at_unix_ms;
            entry.votes.push(VoteEntry { vote, by, scope, reason, at_unix_ms });
            entry
        }
        kind::CLOSED => {
            let closed: ApprovalClosed = payload(event)?;
            let mut entry = known(&rows, closed.approval)?;
            if entry.state != ApprovalState::Pending {
                return refused("it was decided before");
            }
            rows.remove(&*pending_key(event.tenant, &entry.requested)).map_err(storage)?;
            if closed.standing.is_some() {
                let key = of(b's', event.tenant, Some(closed.approval));
                rows.insert(&*key, &[][..]).map_err(storage)?;
            }
            entry.state = closed.state;
            entry.standing = closed.standing;
            entry.closed_at_unix_ms = Some(event.at_unix_ms);
            entry.closed_seq = Some(event.seq);
            entry
        }
        kind::USED => {
            let used: ApprovalUsed = payload(event)?;
            let mut entry = known(&rows, used.approval)?;
            if entry.state != ApprovalState::Approved {
                return refused("it is not approved, or was used before");
            }
            entry.state = ApprovalState::Used;
            entry.used_by = Some(used.call);
            entry
        }
        kind::REVOKED => {
            let revoked: ApprovalRevoked = payload(event)?;
            let mut entry = known(&rows, revoked.approval)?;
            match entry.state {
                ApprovalState::Approved => entry.state = ApprovalState::Revoked,
                _ if entry.stands() => {}
                _ => return refused("there is nothing to take back"),
            }
            let key = of(b's', event.tenant, Some(revoked.approval));
            rows.remove(&*key).map_err(storage)?;
            entry.revoked_by = Some(revoked.by);
            entry
        }
        _ => return Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() }),
    };
    entry.seq = event.seq;
    let row = serde_json::to_vec(&entry).map_err(|_| MALFORMED)?;
    let key = of(b'a', event.tenant, Some(entry.requested.approval));
    rows.insert(&*key, &*row).map_err(storage)?;
    Ok(Receipt::NONE)
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    transaction.delete_table(TABLE).map(drop).map_err(storage)
}

/// Every row, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    codec::dump(transaction, TABLE, None)
}

/// Reads approvals as they stood at one moment. Every function can fail with
/// [`ViewError::Storage`] and [`ViewError::Malformed`].
pub struct ApprovalsReader {
    rows: Option<ReadRows>,
}

impl ApprovalsReader {
    /// The approvals of all tenants.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(transaction: &redb::ReadTransaction) -> Result<Self, ViewError> {
        Ok(Self { rows: codec::open(transaction, TABLE)? })
    }

    /// One of a tenant's.
    ///
    /// # Errors
    /// See [`ApprovalsReader`].
    pub fn get(
        &self,
        tenant: &str,
        approval: ApprovalId,
    ) -> Result<Option<ApprovalEntry>, ViewError> {
        self.rows.as_ref().map_or(Ok(None), |rows| read(rows, tenant, approval))
    }

    /// At most `limit` of a tenant's, the newest first, whatever became of them.
    ///
    /// # Errors
    /// See [`ApprovalsReader`].
    pub fn newest(&self, tenant: &str, limit: usize) -> Result<Vec<ApprovalEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let start = of(b'a', tenant, None);
        let range = rows.range::<&[u8]>(&*start..&*after(&start)).map_err(storage)?;
        range.rev().take(limit).map(|row| parse(row.map_err(storage)?.1.value())).collect()
    }

    /// At most `limit` that are pending, of all tenants, those first that expire first.
    ///
    /// # Errors
    /// See [`ApprovalsReader`].
    pub fn pending(&self, limit: usize) -> Result<Vec<ApprovalEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let range = rows.range::<&[u8]>(&b"x"[..]..&b"y"[..]).map_err(storage)?;
        range
            .take(limit)
            .map(|row| {
                let row = row.map_err(storage)?;
                // The letter and the time come before what names the entry's own row.
                let named = row.0.value().get(9..).ok_or(MALFORMED)?;
                let entry = rows.get(named).map_err(storage)?.ok_or(MALFORMED)?;
                parse(entry.value())
            })
            .collect()
    }

    /// A tenant's that last beyond their calls, the oldest first.
    ///
    /// # Errors
    /// See [`ApprovalsReader`].
    pub fn standing(&self, tenant: &str) -> Result<Vec<ApprovalEntry>, ViewError> {
        self.named(tenant, &of(b's', tenant, None))
    }

    /// Those of a turn's calls, the oldest first.
    ///
    /// # Errors
    /// See [`ApprovalsReader`].
    pub fn of_turn(&self, tenant: &str, turn: TurnId) -> Result<Vec<ApprovalEntry>, ViewError> {
        self.named(tenant, &turn_key(tenant, turn, None))
    }

    /// The entries whose ids follow a key.
    fn named(&self, tenant: &str, start: &[u8]) -> Result<Vec<ApprovalEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let range = rows.range::<&[u8]>(start..&*after(start)).map_err(storage)?;
        range
            .map(|row| {
                let row = row.map_err(storage)?;
                let id = row.0.value().get(start.len()..).ok_or(MALFORMED)?;
                let key = [&*of(b'a', tenant, None), id].concat();
                let entry = rows.get(&*key).map_err(storage)?.ok_or(MALFORMED)?;
                parse(entry.value())
            })
            .collect()
    }
}

fn read(
    rows: &impl Readable,
    tenant: &str,
    approval: ApprovalId,
) -> Result<Option<ApprovalEntry>, ViewError> {
    let row = rows.get(&*of(b'a', tenant, Some(approval))).map_err(storage)?;
    row.map(|row| parse(row.value())).transpose()
}

fn parse(row: &[u8]) -> Result<ApprovalEntry, ViewError> {
    serde_json::from_slice(row).map_err(|_| MALFORMED)
}

fn of(letter: u8, tenant: &str, approval: Option<ApprovalId>) -> Vec<u8> {
    let mut key = vec![letter];
    put_part(&mut key, tenant.as_bytes());
    if let Some(approval) = approval {
        key.extend_from_slice(approval.to_string().as_bytes());
    }
    key
}

fn turn_key(tenant: &str, turn: TurnId, approval: Option<ApprovalId>) -> Vec<u8> {
    let mut key = of(b't', tenant, None);
    put_part(&mut key, turn.to_string().as_bytes());
    if let Some(approval) = approval {
        key.extend_from_slice(approval.to_string().as_bytes());
    }
    key
}

fn pending_key(tenant: &str, requested: &ApprovalRequested) -> Vec<u8> {
    let expires_at = requested.expires_at_unix_ms.to_be_bytes();
    [b"x", &expires_at[..], &of(b'a', tenant, Some(requested.approval))].concat()
}

#[cfg(test)]
mod tests {
    use foreshore_domain::approval::{Nonce, Origin, Terms};
    use foreshore_domain::conversation::Conversation;
    use foreshore_domain::event::Tenant;

    use crate::facts::JournalConfig;
    use crate::journal::Journal;

    use super::*;

    fn requested(approval: ApprovalId, expires_at_unix_ms: u64) -> ApprovalRequested {
        ApprovalRequested {
            approval,
            binding: Digest::of(b"binding"),
            tool: "files.write".to_owned(),
            component: "files@1.0.0".to_owned(),
            digest: Digest::of(b"files"),
            arguments: JsonText::parse("{}").expect("JSON"),
            policy: Digest::of(b"policy"),
            subject: "agent:assistant".to_owned(),
            expires_at_unix_ms,
            nonce: Nonce::new([0; 16]),
            terms: Terms::usual("a test"),
            origin: Some(Origin {
                agent: "assistant".to_owned(),
                turn: TurnId::parse("turn_00000000000000000000000000000001").expect("an id"),
                conversation: Conversation::parse("c").expect("a conversation"),
                number: 3,
            }),
        }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    #[tokio::test]
    async fn a_request_is_closed_once_and_used_once_and_what_lasts_until_it_is_revoked() {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        let tenant = || Tenant::DEFAULT;
        let [late, soon] = [1, 2].map(ApprovalId::new);
        for (approval, expires) in [(late, 900), (soon, 300)] {
            let event = requested(approval, expires).event(5, tenant());
            journal.append(event).await.expect("recorded");
        }
        let reader = || journal.approvals().expect("readable");
        let ids = |entries: Vec<ApprovalEntry>| -> Vec<ApprovalId> {
            entries.iter().map(|entry| entry.requested.approval).collect()
        };
        assert_eq!(ids(reader().pending(9).expect("readable")), [soon, late]);
        let turn = entry_turn(&reader().newest("default", 1).expect("readable")[0]);
        let mut of_turn = ids(reader().of_turn("default", turn).expect("readable"));
        of_turn.sort();
        assert_eq!(of_turn, [late, soon]);

        let call = CallId::new(1);
        let used = ApprovalUsed { approval: soon, call };
        assert!(journal.append(used.event(6, tenant())).await.is_err(), "not approved yet");
        let vote = |vote, by: &str| ApprovalVoted {
            approval: soon,
            vote,
            by: name(by),
            scope: Scope::Always,
            edited: None,
            reason: None,
        };
        for voted in [vote(Vote::Approve, "ann"), vote(Vote::Approve, "ann")] {
            journal.append(voted.event(6, tenant())).await.expect("recorded");
        }
        let entry = reader().get("default", soon).expect("readable").expect("there");
        assert_eq!(entry.votes.len(), 1, "one who says yes twice is one");
        let standing = Some(Standing { scope: Scope::Always, shape: Digest::of(b"shape") });
        let closed = ApprovalClosed { approval: soon, state: ApprovalState::Approved, standing };
        journal.append(closed.event(7, tenant())).await.expect("recorded");
        assert!(journal.append(closed.event(7, tenant())).await.is_err(), "closed once");
        assert!(journal.append(vote(Vote::Deny, "bob").event(7, tenant())).await.is_err());
        assert_eq!(ids(reader().pending(9).expect("readable")), [late]);
        journal.append(used.event(8, tenant())).await.expect("recorded");
        assert!(journal.append(used.event(8, tenant())).await.is_err(), "used once");
        assert_eq!(ids(reader().standing("default").expect("readable")), [soon]);
        let revoked = ApprovalRevoked { approval: soon, by: name("ann") };
        journal.append(revoked.event(9, tenant())).await.expect("recorded");
        assert!(journal.append(revoked.event(9, tenant())).await.is_err(), "revoked once");
        assert!(reader().standing("default").expect("readable").is_empty());
        let other = Tenant::parse("other").expect("a tenant");
        assert!(journal.append(revoked.event(9, other)).await.is_err());
        assert_eq!(reader().get("other", soon).expect("readable"), None);
        let entry = reader().get("default", soon).expect("readable").expect("there");
        assert_eq!((entry.state, entry.used_by), (ApprovalState::Used, Some(call)));
    }

    fn entry_turn(entry: &ApprovalEntry) -> TurnId {
        entry.requested.origin.as_ref().expect("of a turn").turn
    }

    #[tokio::test]
    async fn other_arguments_make_another_binding_and_void_what_was_said() {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        let approval = ApprovalId::new(1);
        let request = requested(approval, 900).event(1, Tenant::DEFAULT);
        journal.append(request).await.expect("recorded");
        let vote = |by: &str, edited| ApprovalVoted {
            approval,
            vote: Vote::Approve,
            by: name(by),
            scope: Scope::Once,
            edited,
            reason: None,
        };
        let arguments = JsonText::parse(r#"{"a":1}"#).expect("JSON");
        let edited = foreshore_domain::approval::Edited {
            arguments: arguments.clone(),
            binding: Digest::of(b"another"),
        };
        for voted in [vote("ann", None), vote("bob", Some(edited))] {
            journal.append(voted.event(2, Tenant::DEFAULT)).await.expect("recorded");
        }
        let reader = journal.approvals().expect("readable");
        let entry = reader.get("default", approval).expect("readable").expect("there");
        let by: Vec<&str> = entry.votes.iter().map(|vote| vote.by.as_str()).collect();
        assert_eq!(by, ["bob"]);
        assert_eq!(entry.arguments(), &arguments);
        assert_eq!(entry.binding(), Some(Digest::of(b"another")));
    }
}
