//! Ask models. Which server answers, what it costs and what happens when none does is the host's
//! business; an agent that names no model gets the operator's default.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::ask;
use super::bindings::foreshore::inference::inference as wit;
use crate::{Error, Media, schema};

pub use wit::{
    Completion, Config, ContentPart, FinishReason, Message, Model, Request, Role, Source, Thinking,
    ToolCall, ToolChoice, ToolDefinition, ToolResult, Usage,
};

/// A question to a model, built up step by step.
///
/// ```no_run
/// # use foreshore_sdk::agent::Chat;
/// # fn main() -> Result<(), foreshore_sdk::Error> {
/// let answer = Chat::new().system("Answer briefly.").user("What is a foreshore?").ask()?;
/// println!("{}", answer.message.text());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    request: Request,
}

impl Default for Chat {
    fn default() -> Self {
        Self::new()
    }
}

impl Chat {
    /// A question without messages, to the operator's default model.
    pub fn new() -> Self {
        Self { request: Request { messages: Vec::new(), config: Config::default() } }
    }

    /// Asks this model; with `None` the operator's default.
    #[must_use]
    pub fn model(mut self, name: impl Into<Option<String>>) -> Self {
        self.request.config.model = name.into();
        self
    }

    /// Adds instructions.
    #[must_use]
    pub fn system(self, text: impl Into<String>) -> Self {
        self.message(Message::system(text))
    }

    /// Adds what a person says.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(Message::user(text))
    }

    /// Adds a message.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.request.messages.push(message);
        self
    }

    /// Adds messages, oldest first.
    #[must_use]
    pub fn messages(mut self, messages: impl IntoIterator<Item = Message>) -> Self {
        self.request.messages.extend(messages);
        self
    }

    /// Offers tools.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = ToolDefinition>) -> Self {
        self.request.config.tools.extend(tools);
        self
    }

    /// Says whether the model has to use a tool, and which.
    #[must_use]
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.request.config.tool_choice = Some(choice);
        self
    }

    /// Wants JSON that matches a JSON Schema, given as text; the host checks it.
    #[must_use]
    pub fn format(mut self, schema: impl Into<String>) -> Self {
        self.request.config.format = Some(schema.into());
        self
    }

    /// How much the model thinks before it answers.
    #[must_use]
    pub fn thinking(mut self, thinking: Thinking) -> Self {
        self.request.config.thinking = Some(thinking);
        self
    }

    /// 0.0 for the likeliest words, up to 2.0.
    #[must_use]
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.request.config.temperature = Some(temperature);
        self
    }

    /// The most tokens of the answer.
    #[must_use]
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.request.config.max_tokens = Some(tokens);
        self
    }

    /// Equal seeds give equal answers, where the model can.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.request.config.seed = Some(seed);
        self
    }

    /// Has the host pass the answer to the person as it comes.
    #[must_use]
    pub fn stream_to_reply(mut self) -> Self {
        self.request.config.stream_to_reply = true;
        self
    }

    /// The question as the contract has it, for what this builder has no words for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The question as the contract has it, to be changed.
    pub fn request_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// Asks.
    ///
    /// # Errors
    /// - [`Error::Unavailable`]: no backend answers.
    /// - [`Error::Exhausted`]: tokens, cost or time.
    /// - [`Error::Invalid`]: the request; see [`takes_no_tools`] and [`is_too_long`].
    /// - [`Error::NotFound`], [`Error::Denied`]: the model.
    pub fn ask(&self) -> Result<Completion, Error> {
        ask(|host| host.chat(&self.request))
    }

    /// Asks for a value: the answer has to match the type's JSON Schema.
    ///
    /// # Errors
    /// As [`Chat::ask`], and [`Error::Failed`] for an answer that is no `T`.
    pub fn ask_for<T: DeserializeOwned + JsonSchema>(&self) -> Result<(T, Completion), Error> {
        let completion = self.clone().format(format_of::<T>()).ask()?;
        let value = completion.value()?;
        Ok((value, completion))
    }
}

impl From<Request> for Chat {
    fn from(request: Request) -> Self {
        Self { request }
    }
}

/// The JSON Schema of a type, for [`Chat::format`].
pub fn format_of<T: JsonSchema>() -> String {
    schema::format_schema::<T>()
}

/// Asks several questions at once. The answers stand in the order of the questions; one that fails
/// does not stop the others. Questions above the 8 that the host takes at once wait for the first.
pub fn chat_all(chats: &[Chat]) -> Vec<Result<Completion, Error>> {
    let mut answers = Vec::with_capacity(chats.len());
    for chats in chats.chunks(8) {
        let requests: Vec<Request> = chats.iter().map(|chat| chat.request.clone()).collect();
        answers.extend(ask(|host| host.chat_all(&requests)));
    }
    answers
}

/// The vectors of texts, in their order; all of one length.
///
/// # Errors
/// As [`Chat::ask`].
pub fn embed(model: Option<&str>, texts: &[String]) -> Result<Vec<Vec<f32>>, Error> {
    ask(|host| host.embed(model, texts))
}

/// The models that the agent may use. The first answers where a question names none.
///
/// # Errors
/// [`Error::Unavailable`].
pub fn models() -> Result<Vec<Model>, Error> {
    ask(|host| host.models())
}

/// Whether a model refused a question because it calls no tools: by what the host says of it, or
/// by the words of the servers that refuse it themselves (Ollama, vLLM, llama.cpp).
pub fn takes_no_tools(error: &Error) -> bool {
    const WORDS: [&str; 3] = ["support tool", "tool choice requires", "tools param requires"];

    let Error::Invalid { pointer, message } = error else { return false };
    let says_so = || WORDS.iter().any(|words| message.to_lowercase().contains(words));
    pointer == "/config/tools" || pointer.is_empty() && says_so()
}

/// Whether a model refused a question because the messages do not fit its context.
pub fn is_too_long(error: &Error) -> bool {
    matches!(error, Error::Invalid { pointer, .. } if pointer == "/messages")
}

impl Completion {
    /// The text as a value.
    ///
    /// # Errors
    /// [`Error::Failed`] for a text that is no `T`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.message.text().trim())
            .map_err(|error| Error::failed(format!("{} answered otherwise: {error}", self.model)))
    }
}

/// An answer of text, as a model gives it that says nothing of its cost: for tests.
impl From<String> for Completion {
    fn from(text: String) -> Self {
        Self {
            message: Message::assistant(text),
            finish_reason: FinishReason::Stop,
            usage: Usage { input_tokens: 0, output_tokens: 0, duration_ms: 0 },
            model: "scripted".to_owned(),
            source: Source::Primary,
        }
    }
}

/// As for `String`.
impl From<&str> for Completion {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// An answer that asks for tools.
impl From<Vec<ToolCall>> for Completion {
    fn from(tool_calls: Vec<ToolCall>) -> Self {
        let mut completion = Self::from(String::new());
        completion.message.content.clear();
        completion.message.tool_calls = tool_calls;
        completion.finish_reason = FinishReason::ToolCalls;
        completion
    }
}

impl Message {
    /// A message of one role that is plain text.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            content: vec![ContentPart::Text(text.into())],
            thinking: None,
            tool_calls: Vec::new(),
            tool_result: None,
        }
    }

    /// Instructions.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, text)
    }

    /// What a person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, text)
    }

    /// What the model said.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// What a tool gave.
    pub fn tool(result: ToolResult) -> Self {
        Self {
            role: Role::Tool,
            content: Vec::new(),
            thinking: None,
            tool_calls: Vec::new(),
            tool_result: Some(result),
        }
    }

    /// The texts, one after another; of a tool, what it gave.
    pub fn text(&self) -> String {
        if let Some(result) = &self.tool_result {
            return result.content.clone();
        }
        let texts = self.content.iter().filter_map(|part| match part {
            ContentPart::Text(text) => Some(text.as_str()),
            ContentPart::Image(_) => None,
        });
        texts.collect()
    }

    /// Adds a picture.
    #[must_use]
    pub fn with_image(mut self, data: Vec<u8>, mime_type: impl Into<String>) -> Self {
        self.content.push(ContentPart::Image(Media { data, mime_type: mime_type.into() }));
        self
    }
}

impl Request {
    /// The text of the last message; empty where there is none.
    pub fn last_text(&self) -> String {
        self.messages.last().map(Message::text).unwrap_or_default()
    }
}

#[allow(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Config {
    fn default() -> Self {
        Self {
            model: None,
            tools: Vec::new(),
            tool_choice: None,
            format: None,
            thinking: None,
            temperature: None,
            top_p: None,
            seed: None,
            max_tokens: None,
            stop_sequences: Vec::new(),
            stream_to_reply: false,
        }
    }
}
