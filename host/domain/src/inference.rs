//! Models: what is asked of them, what they answer, and why they did not.
//!
//! Names follow `foreshore:inference` (which follows `golem:llm` 1.0). All of it serializes,
//! since what an agent asked and was told is kept in the journal. Deliberately absent: wire
//! formats of model servers, backends, breakers and budgets, which are the broker's.

mod budget;
mod error;
mod model;

use serde::{Deserialize, Serialize};

pub use budget::BudgetExhausted;
pub use error::{InferenceError, TimedOut};
pub use model::{Model, ModelDetails, RunningModel};

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Whose.
    pub role: Role,
    /// What is said, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<Part>,
    /// What the model thought; only on messages of the assistant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// The tools it asks for; only on messages of the assistant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Only on messages of a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_result: Option<ToolResultMessage>,
}

impl Message {
    /// A message that is plain text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: vec![Part::Text(text.into())],
            thinking: None,
            tool_calls: Vec::new(),
            tool_result: None,
        }
    }

    /// All of its text, in order, without the pictures.
    pub fn plain_text(&self) -> String {
        let texts = self.content.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image(_) => None,
        });
        texts.collect()
    }
}

/// One part of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Text.
    Text(String),
    /// A picture.
    Image(Image),
}

/// A picture: the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The bytes; base64 where they are written as JSON.
    #[serde(with = "crate::base64_text")]
    pub data: bytes::Bytes,
    /// RFC 6838.
    pub mime_type: String,
}

/// A tool that the model asks to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Unique within the conversation.
    pub id: String,
    /// Which tool, as the request named it.
    pub name: String,
    /// A JSON object, as text. A model may write anything: whoever reads it checks it.
    pub arguments_json: String,
}

/// What a tool gave, for the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolResultMessage {
    /// The `id` of the call.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// What the model is shown.
    pub content: String,
    /// The tool failed.
    #[serde(default)]
    pub is_error: bool,
}

/// A tool that a model may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its arguments, as text.
    pub parameters_schema: String,
}

/// Which tools a model has to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolChoice {
    /// It decides.
    Auto,
    /// None.
    None,
    /// Some tool.
    Required,
    /// This one.
    Named(String),
}

/// How much a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Thinking {
    Off,
    Low,
    Medium,
    High,
}

/// What is asked of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// The name of a configured model, or of one that a backend has; none for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was said, oldest first.
    pub messages: Vec<Message>,
    /// The tools it may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSpec>,
    /// Which of them it has to; none means [`ToolChoice::Auto`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice>,
    /// What the answer must look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// How much it thinks; none leaves it to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    /// How it picks its words.
    #[serde(default)]
    pub sampling: Sampling,
}

impl ChatRequest {
    /// A request for a model with nothing but messages.
    pub fn new(model: Option<String>, messages: Vec<Message>) -> Self {
        Self {
            model,
            messages,
            tools: Vec::new(),
            tool_choice: None,
            format: None,
            thinking: None,
            sampling: Sampling::default(),
        }
    }
}

/// What an answer must look like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Some JSON.
    Json,
    /// JSON that matches this JSON Schema, given as text. The broker checks it.
    Schema(String),
}

/// How a model picks its words. What is `None` is the model's own default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// 0.0 to 2.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// 0.0 to 1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Equal seeds give equal answers where the model can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Most tokens of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts that end the answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

/// A model's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completion {
    /// What it said.
    pub message: Message,
    /// Why it stopped.
    pub finish: FinishReason,
    /// What it cost.
    pub usage: TokenUsage,
    /// Who answered.
    pub served_by: ServedBy,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// It had said all.
    Stop,
    /// It ran into the limit of tokens.
    Length,
    /// It asks for tools.
    ToolCalls,
    /// Its server withheld something.
    ContentFilter,
}

/// What an answer cost. Zero where the backend does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenUsage {
    /// Tokens of the request.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Time in the model, in milliseconds.
    pub duration_ms: u64,
    /// In millionths of the operator's currency, by the prices in the configuration.
    pub cost_micros: u64,
}

impl TokenUsage {
    /// Tokens in and out.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl std::ops::AddAssign for TokenUsage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
    }
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedBy {
    /// The backend's name in the configuration; `local` for the configured answer.
    pub backend: String,
    /// The model, as the backend names it.
    pub model: String,
    /// Which step of the fallback chain.
    pub step: Step,
}

/// A step of the fallback chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The first choice.
    Primary,
    /// Another backend or model.
    Fallback,
    /// An equal request before.
    Cache,
    /// The operator's configured answer; not a model.
    Local,
}

impl Step {
    /// The name in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Fallback => "fallback",
            Self::Cache => "cache",
            Self::Local => "local",
        }
    }
}

/// A piece of an answer, as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delta<'a> {
    /// More of the text.
    Text(&'a str),
    /// More of the thinking.
    Thinking(&'a str),
    /// A whole call of a tool.
    ToolCall(&'a ToolCall),
}

/// Whoever wants the pieces of an answer as they come. Must not block.
pub trait DeltaSink: Send + Sync {
    /// A piece came.
    fn delta(&self, delta: Delta<'_>);
}

/// Texts whose meaning is asked for as vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedRequest {
    /// As in [`ChatRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The texts.
    pub texts: Vec<String>,
    /// Shorter vectors, where the model can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
}

/// Vectors, in the order of the texts, all of one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embeddings {
    /// One for each text.
    pub vectors: Vec<Vec<f32>>,
    /// Who answered.
    pub served_by: ServedBy,
    /// What it cost.
    pub usage: TokenUsage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_and_answered_survives_the_journal() {
        let mut message = Message::text(Role::Assistant, "let me look");
        message.thinking = Some("hm".to_owned());
        message.content.push(Part::Image(Image {
            data: vec![0, 255, 7].into(),
            mime_type: "image/png".to_owned(),
        }));
        message.tool_calls.push(ToolCall {
            id: "call_1".to_owned(),
            name: "files.read".to_owned(),
            arguments_json: r#"{"path":"/a"}"#.to_owned(),
        });
        let mut request = ChatRequest::new(Some("small".to_owned()), vec![message.clone()]);
        request.format = Some(Format::Schema("{}".to_owned()));
        request.tool_choice = Some(ToolChoice::Named("files.read".to_owned()));
        request.sampling =
            Sampling { temperature: Some(0.5), seed: Some(7), ..Sampling::default() };
        let text = serde_json::to_string(&request).expect("it serializes");
        assert_eq!(serde_json::from_str::<ChatRequest>(&text).expect("it deserializes"), request);
        assert_eq!(message.plain_text(), "let me look");
    }

    #[test]
    fn usage_adds_up_without_wrapping() {
        let mut usage =
            TokenUsage { input_tokens: u64::MAX, output_tokens: 1, ..TokenUsage::default() };
        usage += TokenUsage { input_tokens: 5, output_tokens: 2, duration_ms: 3, cost_micros: 4 };
        assert_eq!(usage.input_tokens, u64::MAX);
        assert_eq!((usage.output_tokens, usage.duration_ms, usage.cost_micros), (3, 3, 4));
        assert_eq!(usage.tokens(), u64::MAX);
    }
}
