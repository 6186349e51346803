//! What is left of the turn. The host ends a turn that goes past it; an agent that looks in time
//! can end with what it has.

use super::ask;
use super::bindings::foreshore::budget::budget as wit;

pub use wit::Remaining;

/// What is left.
pub fn left() -> Remaining {
    ask(|host| host.budget())
}

/// Counts one iteration of the agent's loop; what is left after it.
pub fn iteration() -> Remaining {
    ask(|host| host.iteration())
}
