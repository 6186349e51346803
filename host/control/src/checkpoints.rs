//! Each signed checkpoint goes outside of the database: into the log, and to a webhook if there
//! is one.
//!
//! Whoever holds a checkpoint notices a journal that was cut, rewritten or put back. Deliberately
//! absent: a queue. A newer checkpoint says all that an older one does, so only the newest is
//! sent. The invariant: **nothing here is waited for**, by the writer of the journal or by a
//! drain.

mod webhook;

use foreshore_store::Checkpoint;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use webhook::{Patience, Webhook};
pub use webhook::{WebhookUrl, WebhookUrlError};

/// The newest checkpoint, now and whenever there is another.
type Newest = watch::Receiver<Option<Checkpoint>>;

/// Writes each checkpoint to the log, which is often kept on another machine.
pub(crate) async fn log(mut newest: Newest, stop: CancellationToken) {
    newest.mark_unchanged();
    while next(&mut newest, &stop).await {
        if let Some(checkpoint) = line(&mut newest) {
            tracing::info!(%checkpoint, "the journal is signed up to here");
        }
    }
}

/// Sends each checkpoint to a webhook: first that which is there, since nobody was told of the
/// one of the last close.
pub(crate) async fn send(mut newest: Newest, webhook: Webhook, stop: CancellationToken) {
    newest.mark_changed();
    while next(&mut newest, &stop).await {
        let Some(line) = line(&mut newest) else { continue };
        let mut failures = 0;
        while let Err(error) = webhook.post(&line).await {
            failures += 1;
            let Some(pause) = webhook.pause_after(failures) else {
                tracing::error!(%webhook, %error, tries = failures, "a checkpoint was not sent; the next one will be tried");
                break;
            };
            tracing::warn!(%webhook, %error, again_in = ?pause, "a checkpoint was not sent");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                // A newer one is sent instead, with all its tries.
                changed = newest.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    newest.mark_changed();
                    break;
                }
            }
        }
    }
}

/// Waits for another checkpoint; `false` at the end.
async fn next(newest: &mut Newest, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        changed = newest.changed() => changed.is_ok(),
    }
}

fn line(newest: &mut Newest) -> Option<String> {
    newest.borrow_and_update().as_ref().map(Checkpoint::to_line)
}

#[cfg(test)]
mod tests;
