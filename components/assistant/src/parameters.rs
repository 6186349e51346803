//! What a caller may set.

use foreshore_sdk::Error;
use foreshore_sdk::agent::inference;
use schemars::JsonSchema;
use serde::Deserialize;

/// What the assistant is told where nothing else is said.
pub(crate) const INSTRUCTIONS: &str = "\
You are an assistant. Answer the person's message. Where a tool can find out or do what is needed, \
use it rather than guess; where several calls do not depend on each other, ask for them at once. \
If a call fails, read why and try another way. Say plainly what you could not do. Answer in the \
person's language, briefly unless more is asked for.";

/// What a caller may set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Parameters {
    /// How to behave, instead of the assistant's own instructions.
    pub(crate) instructions: Option<String>,
    /// The model to ask; the operator's default if absent.
    pub(crate) model: Option<String>,
    /// The most tokens of prompt and answer together; the model's context if absent.
    #[schemars(range(min = 1024))]
    pub(crate) context_tokens: Option<u32>,
    /// The most tokens of one answer of the model; a quarter of the context, at most 2,048, if
    /// absent.
    #[schemars(range(min = 16))]
    pub(crate) answer_tokens: Option<u32>,
    /// 0 for the likeliest words, up to 2.
    #[schemars(range(min = 0, max = 2))]
    pub(crate) temperature: Option<f32>,
    /// How much the model thinks before it answers, if it can; as much as it does unasked if
    /// absent.
    pub(crate) thinking: Option<Thinking>,
    /// How tools are offered to the model; by what the model can if absent.
    pub(crate) tool_calling: ToolCalling,
    /// The namespaces of memory to look into; all that are granted by their whole name if absent.
    pub(crate) namespaces: Option<Vec<String>>,
}

/// How much a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Thinking {
    /// Not at all.
    Off,
    /// A little.
    Low,
    /// More.
    Medium,
    /// As much as it can.
    High,
}

impl From<Thinking> for inference::Thinking {
    fn from(thinking: Thinking) -> Self {
        match thinking {
            Thinking::Off => Self::Off,
            Thinking::Low => Self::Low,
            Thinking::Medium => Self::Medium,
            Thinking::High => Self::High,
        }
    }
}

/// How tools are offered to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolCalling {
    /// By what the model can.
    #[default]
    Auto,
    /// As its server takes them.
    Native,
    /// As text, in a block that the assistant reads.
    Text,
}

impl Parameters {
    /// # Errors
    /// [`Error::Invalid`] for numbers that leave no room.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        let at = |name: &str| format!("/parameters/{name}");
        if self.context_tokens.is_some_and(|tokens| tokens < 1024) {
            return Err(Error::invalid(at("context_tokens"), "at least 1024"));
        }
        if self.answer_tokens.is_some_and(|tokens| tokens < 16) {
            return Err(Error::invalid(at("answer_tokens"), "at least 16"));
        }
        Ok(self)
    }

    pub(crate) fn instructions(&self) -> &str {
        self.instructions.as_deref().unwrap_or(INSTRUCTIONS)
    }
}
