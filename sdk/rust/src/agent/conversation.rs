//! What was said before this turn, and a summary of what was said long before.

use super::ask;
use super::bindings::foreshore::conversation::conversation as wit;
use crate::Error;

pub use wit::Said;

/// A summary of all that was said up to a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The summary.
    pub text: String,
    /// The number of the last turn in it.
    pub through_turn: u64,
}

/// The last messages before this turn, oldest first: at most `limit`, and at most 200. Of each turn
/// what the person wrote and the reply.
pub fn recent(limit: u32) -> Vec<Said> {
    ask(|host| host.recent(limit))
}

/// The rolling summary, if there is one.
pub fn summary() -> Option<Summary> {
    ask(|host| host.summary()).map(|(text, through_turn)| Summary { text, through_turn })
}

/// Replaces the rolling summary.
///
/// # Errors
/// [`Error::Invalid`] for a turn that has not been, or one before what is covered.
pub fn set_summary(text: &str, through_turn: u64) -> Result<(), Error> {
    ask(|host| host.set_summary(text, through_turn))
}
