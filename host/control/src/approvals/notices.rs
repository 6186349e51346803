//! Who is told of what waits: one webhook of the operator's, with signed notices.
//!
//! A notice says that there is something to decide, and what about; never the arguments, which are
//! for those who may read approvals. Deliberately absent: an answer by webhook. Notices are tried a
//! few times and then given up: what waits is on record, and is told again when the host starts.

use std::fmt;

use foreshore_domain::id::Digest;
use foreshore_store::approvals::ApprovalEntry;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::checkpoints::{Patience, Webhook, WebhookUrl};
use crate::egress::TlsClient;

/// How many notices wait to be sent.
const WAITING_MAX: usize = 1_024;
/// The field with the signature: `sha256=` and the HMAC-SHA256 of the body in hex digits.
const SIGNATURE: &str = "foreshore-signature";

/// Where notices go.
#[derive(Clone, Debug)]
pub struct ApprovalWebhook {
    /// To whom.
    pub url: WebhookUrl,
    /// What they are signed with.
    pub key: WebhookKey,
}

/// A key that notices are signed with. Shown nowhere.
#[derive(Clone)]
pub struct WebhookKey(Vec<u8>);

impl WebhookKey {
    /// Of any bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// HMAC-SHA256 (RFC 2104).
    fn sign(&self, message: &[u8]) -> [u8; 32] {
        const BLOCK: usize = 64;
        let mut key = [0; BLOCK];
        if self.0.len() > BLOCK {
            key[..32].copy_from_slice(Digest::of(&self.0).as_bytes());
        } else {
            key[..self.0.len()].copy_from_slice(&self.0);
        }
        let inner = Sha256::new().chain_update(key.map(|byte| byte ^ 0x36)).chain_update(message);
        let outer = Sha256::new().chain_update(key.map(|byte| byte ^ 0x5c));
        outer.chain_update(inner.finalize()).finalize().into()
    }

    fn signature(&self, body: &str) -> String {
        use fmt::Write as _;
        let signed = self.sign(body.as_bytes());
        signed.iter().fold("sha256=".to_owned(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey(..)")
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Requested,
    Escalated,
    Closed,
}

/// Takes notices.
pub(super) struct Notices(mpsc::Sender<String>);

/// Notices on their way.
pub(crate) struct Outbox(mpsc::Receiver<String>);

pub(super) fn channel() -> (Notices, Outbox) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Notices(sender), Outbox(receiver))
}

impl Notices {
    /// Never waits: where nobody sends, or too slowly, a notice is left out.
    pub(super) fn send(&self, notice: Notice, entry: &ApprovalEntry) {
        let event = match notice {
            Notice::Requested => "approval.requested",
            Notice::Escalated => "approval.escalated",
            Notice::Closed => "approval.closed",
        };
        let asked = &entry.requested;
        let roles = match (&asked.terms.escalation, notice) {
            (Some(later), Notice::Escalated) => &later.to,
            _ => &asked.terms.approvers,
        };
        let roles: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        let body = json!({
            "event": event,
            "approval_id": asked.approval.to_string(),
            "tenant": entry.tenant,
            "tool": asked.tool,
            "component": asked.component,
            "subject": asked.subject,
            "risk": asked.terms.risk.as_str(),
            "reason": asked.terms.reason,
            "approvers": roles,
            "state": entry.state.as_str(),
            "expires_at_unix_ms": asked.expires_at_unix_ms,
        });
        let _ = self.0.try_send(body.to_string());
    }
}

impl Outbox {
    /// Sends notices in their order, until the host goes down.
    pub(crate) async fn send(mut self, to: ApprovalWebhook, stop: CancellationToken) {
        let webhook = Webhook::new(to.url, TlsClient::new(Vec::new()), Patience::default());
        loop {
            let body = tokio::select! {
                () = stop.cancelled() => return,
                body = self.0.recv() => match body {
                    Some(body) => body,
                    None => return,
                },
            };
            let signature = to.key.signature(&body);
            let mut failures = 0;
            while let Err(error) = webhook.post_with(&body, Some((SIGNATURE, &signature))).await {
                failures += 1;
                let Some(pause) = webhook.pause_after(failures) else {
                    tracing::error!(%webhook, %error, tries = failures, "a notice of an approval was not sent");
                    break;
                };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_signed_as_rfc_4231_has_it() {
        // Test cases 2 and 6.
        for (key, message, signature) in [
            (
                b"Jefe".to_vec(),
                "what do ya want for nothing?",
                "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "sha256=60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(WebhookKey::new(key).signature(message), signature);
        }
        assert_eq!(format!("{:?}", WebhookKey::new(*b"Jefe")), "WebhookKey(..)");
    }
}
