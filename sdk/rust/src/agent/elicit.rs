//! Ask the person on whose behalf the turn runs.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::ask;
use super::bindings::foreshore::elicit::elicit as wit;
use crate::{Error, schema};

/// What the person did, with JSON as text.
pub use wit::Answer as Raw;

/// What the person did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// They answered.
    Accepted(T),
    /// They said no.
    Declined,
    /// They went away without an answer.
    Cancelled,
}

/// Asks for a value and waits for it. The type is a struct of strings, numbers, booleans and enums;
/// `message` says what is asked, and why.
///
/// # Errors
/// [`Error::Unavailable`] where nobody can be asked, [`Error::Refused`] where nobody answered in
/// time, [`Error::Failed`] for an answer that is no `T`.
pub fn ask_for<T: DeserializeOwned + JsonSchema>(message: &str) -> Result<Answer<T>, Error> {
    let schema = schema::format_schema::<T>();
    Ok(match ask(|host| host.elicit(message, &schema))? {
        Raw::Accepted(value) => Answer::Accepted(serde_json::from_str(&value)?),
        Raw::Declined => Answer::Declined,
        Raw::Cancelled => Answer::Cancelled,
    })
}
