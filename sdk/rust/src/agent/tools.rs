//! Call the tools that were granted. A call that fails is an error of its own, and none stops the
//! others; an error that is [`Error::UnknownOutcome`] is not to be tried again unseen.

use serde::Serialize;

use super::ask;
use super::bindings::foreshore::tools::tools as wit;
use crate::{Error, Outcome};

pub use wit::{Available, Call};

/// The most calls that the host takes at once.
const AT_ONCE: usize = 32;

/// The tools granted to this agent, by name.
pub fn list() -> Vec<Available> {
    ask(|host| host.tools())
}

/// Calls one tool, `component.tool`.
///
/// # Errors
/// The tool's own; [`Error::Denied`], [`Error::Refused`] and [`Error::UnknownOutcome`] of the host.
pub fn call<T: Serialize + ?Sized>(name: &str, arguments: &T) -> Result<Outcome, Error> {
    let calls = [Call::new(name, arguments)?];
    let missing = || Err(Error::failed("the host gave no result"));
    call_all(&calls).pop().unwrap_or_else(missing)
}

/// Calls several tools at once; the results stand in the order of the calls. Calls above the 32
/// that the host takes at once wait for the first.
pub fn call_all(calls: &[Call]) -> Vec<Result<Outcome, Error>> {
    let mut results = Vec::with_capacity(calls.len());
    for calls in calls.chunks(AT_ONCE) {
        results.extend(ask(|host| host.call_tools(calls)));
    }
    results
}

impl Call {
    /// A call with arguments of any type that is a JSON object.
    ///
    /// # Errors
    /// [`Error::Failed`] for a value that JSON cannot hold.
    pub fn new<T: Serialize + ?Sized>(
        name: impl Into<String>,
        arguments: &T,
    ) -> Result<Self, Error> {
        Ok(Self { name: name.into(), arguments: serde_json::to_string(arguments)? })
    }
}
