//! What the person sees while the agent works. What is kept is the reply that the turn returns.

use super::ask;

/// More of the answer.
pub fn text(delta: impl AsRef<str>) {
    ask(|host| host.reply_text(delta.as_ref()));
}

/// More of what the agent thinks, for those who want to see it.
pub fn thinking(delta: impl AsRef<str>) {
    ask(|host| host.reply_thinking(delta.as_ref()));
}

/// What the agent does now: a word such as `planning`, and one line about it.
pub fn phase(name: &str, message: Option<&str>) {
    ask(|host| host.reply_phase(name, message));
}
