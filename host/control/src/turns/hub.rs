//! Who watches which conversation. A turn never waits for whoever watches: what they do not
//! take in time is counted, and they catch up from the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreshore_domain::conversation::Conversation;
use tokio::sync::broadcast;

use super::update::TurnUpdate;

/// How many updates a slow watcher may be behind.
const BEHIND_MAX: usize = 256;

/// The channels of the conversations that somebody watches.
#[derive(Default)]
pub(crate) struct Hub {
    channels: Mutex<HashMap<Conversation, broadcast::Sender<Arc<TurnUpdate>>>>,
}

impl Hub {
    /// Tells those who watch. Costs a look-up where nobody does.
    pub(crate) fn publish(&self, conversation: &Conversation, update: TurnUpdate) {
        let mut channels = self.lock();
        if let Some(channel) = channels.get(conversation)
            && channel.send(Arc::new(update)).is_err()
        {
            channels.remove(conversation);
        }
    }

    /// Whether anybody watches.
    pub(crate) fn is_watched(&self, conversation: &Conversation) -> bool {
        self.lock().get(conversation).is_some_and(|channel| channel.receiver_count() > 0)
    }

    pub(crate) fn subscribe(
        &self,
        conversation: &Conversation,
    ) -> broadcast::Receiver<Arc<TurnUpdate>> {
        let mut channels = self.lock();
        channels.retain(|_, channel| channel.receiver_count() > 0);
        channels
            .entry(conversation.clone())
            .or_insert_with(|| broadcast::channel(BEHIND_MAX).0)
            .subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Conversation, broadcast::Sender<Arc<TurnUpdate>>>> {
        // A std mutex: nothing awaits while it is held, and sending never blocks.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
