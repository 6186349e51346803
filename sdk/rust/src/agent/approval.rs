//! Ask a person to allow something.

use serde::Serialize;

use super::ask;
use crate::Error;

/// Asks, and waits for the answer; waiting costs the host nothing. `action` is what is to be done,
/// in one line; `details` are what a person needs to decide.
///
/// # Errors
/// [`Error::Refused`]: they said no, or nobody answered in time.
pub fn ask_for<T: Serialize + ?Sized>(action: &str, details: &T) -> Result<(), Error> {
    let details = serde_json::to_string(details)?;
    ask(|host| host.approve(action, &details))
}
