//! Why a turn that runs has to stop: somebody cancelled it, or the host goes down.

use foreshore_domain::call::Interruption;
use tokio_util::sync::CancellationToken;

/// The two signs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    cancel: CancellationToken,
    drain: CancellationToken,
}

impl Stop {
    /// A turn that can be cancelled by `cancel`, and that a drain interrupts.
    pub(crate) fn new(cancel: CancellationToken, drain: CancellationToken) -> Self {
        Self { cancel, drain }
    }

    /// # Errors
    /// Why it has to stop.
    pub(crate) fn check(&self) -> Result<(), Interruption> {
        if self.cancel.is_cancelled() {
            Err(Interruption::Cancelled)
        } else if self.drain.is_cancelled() {
            Err(Interruption::ShuttingDown)
        } else {
            Ok(())
        }
    }

    /// Waits until it has to stop, and says why.
    pub(crate) async fn wait(&self) -> Interruption {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Interruption::Cancelled,
            () = self.drain.cancelled() => Interruption::ShuttingDown,
        }
    }
}
