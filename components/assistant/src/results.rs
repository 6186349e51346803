//! What a model is shown of a tool's result.
//!
//! A big result goes to a variable of the conversation: the model sees its start and the name, and
//! can read on. An error says what the model can do about it, and what it must not do.

use std::collections::BTreeMap;

use foreshore_sdk::agent::variables;
use foreshore_sdk::{Error, Outcome};
use serde_json::Value;

use crate::text::head;

/// What a model is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) content: String,
    pub(crate) is_error: bool,
}

impl Shown {
    pub(crate) fn result(content: impl Into<String>) -> Self {
        Self { content: content.into(), is_error: false }
    }

    pub(crate) fn error(content: impl Into<String>) -> Self {
        Self { content: content.into(), is_error: true }
    }
}

/// Shows results, and keeps those that are too big to show.
#[derive(Debug)]
pub(crate) struct Showcase {
    turn: u64,
    max_bytes: usize,
    /// The variables of this turn, by what is in them: the same result is kept once.
    kept: BTreeMap<String, String>,
}

impl Showcase {
    /// Shows results of a turn, each with at most so many bytes.
    pub(crate) fn new(turn: u64, max_bytes: usize) -> Self {
        Self { turn, max_bytes, kept: BTreeMap::new() }
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// How many results were kept in variables.
    pub(crate) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// What came of a call.
    pub(crate) fn show(&mut self, result: Result<Outcome, Error>) -> Shown {
        match result {
            Ok(outcome) => {
                let text = outcome.to_text();
                let content = self.fitting(text, outcome.structured.as_deref());
                Shown { content, is_error: outcome.is_error }
            }
            Err(error) => Shown::error(self.fitting(explain(&error), None)),
        }
    }

    /// The text, or its start and the name of the variable that has it all.
    fn fitting(&mut self, text: String, structured: Option<&str>) -> String {
        if text.len() <= self.max_bytes {
            return if text.is_empty() { "(nothing)".to_owned() } else { text };
        }
        let shown = head(&text, self.max_bytes / 2);
        let bytes = text.len();
        match self.keep(&text, structured) {
            Ok(name) => format!(
                "{shown}\n[cut: {bytes} bytes in all; they are in the variable \"{name}\": read on \
                 with variable_get]"
            ),
            Err(error) => {
                format!("{shown}\n[cut: {bytes} bytes in all, which were not kept: {error}]")
            }
        }
    }

    fn keep(&mut self, text: &str, structured: Option<&str>) -> Result<String, Error> {
        if let Some(name) = self.kept.get(text) {
            return Ok(name.clone());
        }
        let name = format!("result-{}-{}", self.turn, self.kept.len() + 1);
        // For programs where there is such a form: a part of it can then be asked for.
        match structured.and_then(|json| serde_json::from_str::<Value>(json).ok()) {
            Some(value) => variables::set(&name, &value)?,
            None => variables::set(&name, text)?,
        };
        self.kept.insert(text.to_owned(), name.clone());
        Ok(name)
    }
}

/// Whether a call that ended so must not be made again in the same turn.
pub(crate) fn is_final(error: &Error) -> bool {
    matches!(error, Error::Denied { .. } | Error::Refused(_) | Error::UnknownOutcome(_))
}

/// An error in words that a model can act on.
pub(crate) fn explain(error: &Error) -> String {
    match error {
        Error::Denied { code, subject } => format!(
            "Denied by policy ({code}: {subject}). It was not done, and asking again changes \
             nothing. Do without it, or tell the person what would have to be granted."
        ),
        Error::Refused(message) => format!(
            "Refused by a person: {message}. It was not done. Do not ask for it again; go on \
             without it, or say what it was needed for."
        ),
        Error::UnknownOutcome(message) => format!(
            "It is not known whether this was done: {message}. Do not do it again unseen: look \
             whether it was done, or tell the person."
        ),
        Error::Invalid { pointer, message } => {
            let at = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
            format!("The arguments are at fault{at}: {message}. Correct them and try again.")
        }
        Error::NotFound(message) => format!("Not found: {message}"),
        Error::Unavailable { .. } => {
            format!("{error}. Try another way, or try again later in this turn.")
        }
        Error::Exhausted(_) => format!("A limit was reached: {error}. Ask for less at once."),
        other => format!("It failed: {other}"),
    }
}
