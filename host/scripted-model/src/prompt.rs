//! What a model is asked, whichever face it was asked through.
//!
//! A rule sees this and nothing else of a request. Invariant: counts and sizes come from the
//! text alone, so that equal prompts cost equal tokens.

pub(crate) mod ollama;
pub(crate) mod openai;

use regex::Regex;
use serde_json::{Map, Value};

use crate::script::rule::FormatKind;

/// A request for an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    pub(crate) model: String,
    pub(crate) messages: Vec<Said>,
    /// Names of the tools that are offered.
    pub(crate) tools: Vec<String>,
    pub(crate) format: Form,
    pub(crate) stream: bool,
    pub(crate) think: bool,
    pub(crate) limits: Limits,
    /// Cut old messages to make the rest fit; else refuse.
    pub(crate) truncate: bool,
    pub(crate) keep_alive: Option<Value>,
    /// A last chunk with counts; the OpenAI face alone.
    pub(crate) include_usage: bool,
}

/// One message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) role: Role,
    pub(crate) text: String,
    pub(crate) images: usize,
    /// Whose result this is.
    pub(crate) tool: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    System,
    #[default]
    User,
    Assistant,
    Tool,
}

/// The form of the answer.
#[derive(Clone, Debug, Default)]
pub(crate) enum Form {
    #[default]
    Text,
    Json,
    Schema(Value),
}

impl Form {
    pub(crate) fn is(&self, kind: FormatKind) -> bool {
        match kind {
            FormatKind::None => matches!(self, Self::Text),
            FormatKind::Json => matches!(self, Self::Json),
            FormatKind::Schema => matches!(self, Self::Schema(_)),
            FormatKind::Any => !matches!(self, Self::Text),
        }
    }
}

/// What bounds an answer, and how the model is to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) output_tokens: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) context_length: Option<u64>,
    /// Options that a runner is started with: others mean another start.
    pub(crate) runner: Map<String, Value>,
}

/// Tokens of a text: four bytes each, the last one begun counts.
pub(crate) fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
}

impl Prompt {
    pub(crate) fn last_user(&self) -> &str {
        self.messages.iter().rev().find(|it| it.role == Role::User).map_or("", |it| &it.text)
    }

    pub(crate) fn last_message(&self) -> &str {
        self.messages.last().map_or("", |it| &it.text)
    }

    /// All system messages, one per line.
    pub(crate) fn system(&self) -> String {
        let system = self.messages.iter().filter(|it| it.role == Role::System);
        system.map(|it| it.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// What tools answered since the user last spoke: name and content, oldest first.
    pub(crate) fn results(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        let since = self.messages.iter().rposition(|it| it.role == Role::User);
        let since = since.map_or(0, |position| position + 1);
        self.messages[since..]
            .iter()
            .filter(|it| it.role == Role::Tool)
            .map(|it| (it.tool.as_str(), it.text.as_str()))
    }

    pub(crate) fn newest_result(&self) -> Option<(&str, &str)> {
        self.results().next_back()
    }

    /// The first offered tool whose name matches.
    pub(crate) fn offered(&self, regex: &Regex) -> Option<&str> {
        self.tools.iter().map(String::as_str).find(|name| regex.is_match(name))
    }

    pub(crate) fn has_images(&self) -> bool {
        self.messages.iter().any(|it| it.images > 0)
    }

    pub(crate) fn tokens(&self) -> u64 {
        self.messages.iter().map(|it| tokens(it.text.len())).sum()
    }

    /// Cuts the oldest messages that are not the system's, as a model server does by itself, until
    /// the rest fits; the last message stays.
    pub(crate) fn cut_to(&mut self, tokens_max: u64) {
        let mut total = self.tokens();
        let mut index = 0;
        while total > tokens_max && index + 1 < self.messages.len() {
            if self.messages[index].role == Role::System {
                index += 1;
            } else {
                total -= tokens(self.messages.remove(index).text.len());
            }
        }
    }
}
