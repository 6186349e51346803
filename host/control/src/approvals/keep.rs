//! Time: what nobody decided is denied, and whoever may decide later is told when that is.

use std::collections::HashSet;
use std::time::Duration;

use foreshore_domain::approval::ApprovalState;
use foreshore_domain::id::ApprovalId;
use tokio_util::sync::CancellationToken;

use super::notices::Notice;
use super::{ApprovalFault, Approvals, PENDING_MAX};
use crate::clock;

/// The longest that it sleeps: a clock that was set is noticed by then.
const SLEEP_MAX_MS: u64 = 60_000;
/// How long it waits where the journal takes nothing.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Approvals {
    /// Closes what expires, until the host goes down. First those who may decide are told of
    /// everything that waits, since nobody knows whether they were told before.
    pub(crate) async fn keep_time(self, stop: CancellationToken) {
        match self.has_room() {
            Ok(pending) => pending.iter().for_each(|e| self.0.notices.send(Notice::Requested, e)),
            Err(fault) => tracing::error!(%fault, "what waits for approval cannot be read"),
        }
        let mut escalated = HashSet::new();
        loop {
            let sleep = match self.look(&mut escalated).await {
                Ok(ms) => Duration::from_millis(ms),
                Err(fault) => {
                    tracing::warn!(%fault, "what expired was not recorded");
                    RETRY_AFTER
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(sleep) => {}
                () = self.0.earlier.notified() => {}
            }
        }
    }

    /// Closes what is over; says how long nothing more is due.
    async fn look(&self, escalated: &mut HashSet<ApprovalId>) -> Result<u64, ApprovalFault> {
        let now = clock::now_unix_ms();
        let pending = self.0.journal.approvals()?.pending(PENDING_MAX)?;
        escalated.retain(|id| pending.iter().any(|entry| entry.requested.approval == *id));
        let mut next = now.saturating_add(SLEEP_MAX_MS);
        for entry in &pending {
            let asked = &entry.requested;
            if asked.expires_at_unix_ms <= now {
                self.close(entry, ApprovalState::Expired).await?;
                continue;
            }
            next = next.min(asked.expires_at_unix_ms);
            if let Some(later) = &asked.terms.escalation
                && !escalated.contains(&asked.approval)
            {
                let due = entry.requested_at_unix_ms.saturating_add(later.after_ms);
                if due <= now {
                    escalated.insert(asked.approval);
                    self.0.notices.send(Notice::Escalated, entry);
                } else {
                    next = next.min(due);
                }
            }
        }
        Ok(next.saturating_sub(now))
    }
}
