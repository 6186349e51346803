//! Approvals by rule: which calls wait for a person, what people say to them, and that a call
//! which was approved runs once.
//!
//! > weigh -> ask (on record) -> votes -> closed -> used, in one commit with `call.started`
//!
//! A call is weighed twice: where it is asked for, and at the door with all that the approval is
//! bound to. Deliberately absent: who waits how (`invoke` for people, `effects/agent/tools.rs` for
//! agents). The invariants: **an approval is used in the commit of the call's beginning or not at
//! all; what differs from what was approved is refused; nothing that a guest can reach decides**
//! ([`Approvals::vote`] takes a principal, and the edge alone has those).

mod decide;
mod door;
mod fault;
mod keep;
mod notices;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foreshore_domain::approval::{ApprovalPolicy, ApprovalState};
use foreshore_domain::event::{NewEvent, Stream, Tenant};
use foreshore_domain::id::ApprovalId;
use foreshore_domain::identity::{Permission, Principal};
use foreshore_store::approvals::ApprovalEntry;
use foreshore_store::{AppendError, Commit, Condition, Journal};
use tokio::sync::{Notify, mpsc, watch};

pub use self::decide::NewVote;
pub(crate) use self::door::{Candidate, Ticket, Weighed, no, unreadable};
pub use self::fault::ApprovalFault;
pub(crate) use self::notices::Outbox;
pub use self::notices::{ApprovalWebhook, WebhookKey};

/// How many may wait for a decision at once, in all tenants together.
pub const PENDING_MAX: usize = 1_000;
/// Attempts at a change of a stream that others change too.
const ATTEMPTS: usize = 16;
/// The most that a list has.
const LISTED_MAX: usize = 1_000;

/// How approvals are handled.
#[derive(Default)]
pub struct ApprovalsConfig {
    /// The rules.
    pub policy: ApprovalPolicy,
    /// Who is there to be asked.
    pub asks: Asks,
    /// Who is told of what waits.
    pub webhook: Option<ApprovalWebhook>,
}

/// Who is there to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asks {
    /// Whoever may decide: what waits is kept.
    #[default]
    People,
    /// Only whoever runs this command, who has decided by running it. Rules that deny hold.
    Nobody,
}

/// The approvals of a host. Cheap to clone.
#[derive(Clone)]
pub struct Approvals(Arc<Inner>);

struct Inner {
    journal: Journal,
    policy: ApprovalPolicy,
    asks: Asks,
    /// Grows with each change.
    changed: watch::Sender<u64>,
    /// Something new may end before what the keeper waits for.
    earlier: Notify,
    /// What was decided of turns' calls.
    woken: mpsc::UnboundedSender<ApprovalEntry>,
    notices: notices::Notices,
    /// Held while a request is made, so that the same call is not asked for twice at once.
    requesting: tokio::sync::Mutex<()>,
}

/// What was decided of turns' calls, for whoever runs turns.
pub(crate) type Woken = mpsc::UnboundedReceiver<ApprovalEntry>;

impl Approvals {
    pub(crate) fn new(
        journal: Journal,
        policy: ApprovalPolicy,
        asks: Asks,
    ) -> (Self, Woken, Outbox) {
        let (woken, turns) = mpsc::unbounded_channel();
        let (notices, outbox) = notices::channel();
        let inner = Inner {
            journal,
            policy,
            asks,
            changed: watch::Sender::new(0),
            earlier: Notify::new(),
            woken,
            notices,
            requesting: tokio::sync::Mutex::default(),
        };
        (Self(Arc::new(inner)), turns, outbox)
    }

    /// What waits for a decision in a tenant, those first that expire first.
    ///
    /// # Errors
    /// [`ApprovalFault`]: the journal cannot be read.
    pub fn pending(&self, tenant: &Tenant) -> Result<Vec<ApprovalEntry>, ApprovalFault> {
        let mut pending = self.0.journal.approvals()?.pending(PENDING_MAX)?;
        pending.retain(|entry| entry.tenant == tenant.as_str());
        Ok(pending)
    }

    /// A tenant's newest, whatever became of them, the newest first.
    ///
    /// # Errors
    /// [`ApprovalFault`]: the journal cannot be read.
    pub fn newest(&self, tenant: &Tenant) -> Result<Vec<ApprovalEntry>, ApprovalFault> {
        Ok(self.0.journal.approvals()?.newest(tenant.as_str(), LISTED_MAX)?)
    }

    /// A tenant's that last beyond their calls, the oldest first.
    ///
    /// # Errors
    /// [`ApprovalFault`]: the journal cannot be read.
    pub fn standing(&self, tenant: &Tenant) -> Result<Vec<ApprovalEntry>, ApprovalFault> {
        Ok(self.0.journal.approvals()?.standing(tenant.as_str())?)
    }

    /// One of a tenant's.
    ///
    /// # Errors
    /// [`ApprovalFault::NotFound`]; the journal cannot be read.
    pub fn get(
        &self,
        tenant: &Tenant,
        approval: ApprovalId,
    ) -> Result<ApprovalEntry, ApprovalFault> {
        let found = self.0.journal.approvals()?.get(tenant.as_str(), approval)?;
        found.ok_or(ApprovalFault::NotFound { approval })
    }

    /// Takes back a lasting approval, or one that was not used yet.
    ///
    /// # Errors
    /// [`ApprovalFault`].
    pub async fn revoke(&self, approval: ApprovalId, by: &Principal) -> Result<(), ApprovalFault> {
        if !by.may(Permission::DecideApprovals) {
            return Err(ApprovalFault::not_permitted(approval));
        }
        for _ in 0..ATTEMPTS {
            let entry = self.get(&by.tenant, approval)?;
            if !entry.stands() && entry.state != ApprovalState::Approved {
                return Err(ApprovalFault::Closed { approval, state: entry.state });
            }
            let revoked = foreshore_domain::approval::ApprovalRevoked { approval, by: by.name() };
            let event = revoked.event(crate::clock::now_unix_ms(), by.tenant.clone());
            if self.commit(&by.tenant, approval, entry.seq, vec![event]).await? {
                self.has_changed(&entry);
                return Ok(());
            }
        }
        Err(ApprovalFault::Contended { approval })
    }

    /// Waits until one is decided, at most as long as the future is held.
    ///
    /// # Errors
    /// [`ApprovalFault`].
    pub async fn decided(
        &self,
        tenant: &Tenant,
        approval: ApprovalId,
    ) -> Result<ApprovalEntry, ApprovalFault> {
        let mut changed = self.0.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let entry = self.get(tenant, approval)?;
            if entry.state != ApprovalState::Pending || changed.changed().await.is_err() {
                return Ok(entry);
            }
        }
    }

    /// Commits events of one approval if its stream still ends at a number; `false` if it does
    /// not.
    async fn commit(
        &self,
        tenant: &Tenant,
        approval: ApprovalId,
        seq: u64,
        events: Vec<NewEvent>,
    ) -> Result<bool, ApprovalFault> {
        let conditions = vec![unmoved(tenant, approval, seq)];
        match self.0.journal.commit(Commit { events, conditions, blobs: Vec::new() }).await {
            Ok(_) => Ok(true),
            Err(AppendError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Those who wait look again.
    fn has_changed(&self, entry: &ApprovalEntry) {
        if entry.requested.origin.is_some() && entry.closed_seq == Some(entry.seq) {
            // Nobody listens on a host that goes down; the turn looks for itself at its start.
            let _ = self.0.woken.send(entry.clone());
        }
        self.0.changed.send_modify(|changes| *changes += 1);
        self.0.earlier.notify_one();
    }
}

/// That nothing was added to an approval's stream.
pub(crate) fn unmoved(tenant: &Tenant, approval: ApprovalId, seq: u64) -> Condition {
    Condition::StreamAt { tenant: tenant.clone(), stream: Stream::Approval(approval), seq }
}
