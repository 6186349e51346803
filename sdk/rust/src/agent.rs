//! Write agents: a function from a turn to a reply, which asks everything of the host.
//!
//! An agent runs once per turn, from its first line. The host records its effects; after a crash
//! the same turn runs again and is given what was recorded. So an agent keeps nothing between
//! turns but variables and memory, and it reaches nothing but what the modules here ask for: its
//! component links no files, no sockets and no HTTP, and its clocks and random numbers are the
//! host's, the same in each run of a turn.
//!
//! ```
//! use foreshore_sdk::agent::{Chat, Reply, Turn, conversation};
//! use foreshore_sdk::{Error, JsonSchema, agent};
//!
//! #[derive(serde::Deserialize, JsonSchema)]
//! struct Parameters {
//!     /// How to answer.
//!     #[serde(default)]
//!     tone: Option<String>,
//! }
//!
//! /// Answer in one sentence. It knows the last messages of the conversation.
//! #[agent]
//! fn brief(turn: Turn, parameters: Parameters) -> Result<Reply, Error> {
//!     let tone = parameters.tone.unwrap_or_else(|| "friendly".into());
//!     let answer = Chat::new()
//!         .system(format!("Answer in one {tone} sentence."))
//!         .messages(conversation::recent(10).into_iter().map(|said| said.message))
//!         .user(turn.text())
//!         .stream_to_reply()
//!         .ask()?;
//!     Ok(answer.message.text().into())
//! }
//!
//! foreshore_sdk::export_agent!(brief);
//!
//! # fn main() {
//! use foreshore_sdk::agent::testing::Scripted;
//!
//! let mut host = Scripted::new();
//! host.model(|request| Ok(format!("You said: {}", request.last_text()).into()));
//! let reply = host.turn::<brief>("Hello.").expect("a reply");
//! assert_eq!(reply.text(), "You said: Hello.");
//! # }
//! ```
//!
//! In `cargo test` the same functions ask a [`testing::Scripted`] host, so that an agent's logic
//! is tested with a model and tools that do what the test says.
//!
//! Deliberately absent: anything that changes what an agent may do. It asks
//! ([`approval::ask`]), and a person answers.

#[doc(hidden)]
pub mod bindings;

pub mod agents;
pub mod approval;
pub mod budget;
pub mod conversation;
pub mod elicit;
pub mod events;
mod export;
mod host;
pub mod inference;
pub mod reply;
pub mod secrets;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod text;
pub mod tools;
pub mod variables;

pub use bindings::exports::foreshore::agent::agent::{Definition, Turn};
pub use host::Host;
pub(crate) use host::ask;
pub use inference::{Chat, Completion, Message, ToolCall};

use serde::de::DeserializeOwned;

use crate::bindings::foreshore::types::types::{Content, ContentBody};
use crate::{Error, Outcome};

pub use crate::bindings::foreshore::types::types::{Finish, Reply};

/// A function as an agent. Implemented by `#[agent]`, on a type of the function's own name.
pub trait Agent {
    /// What the agent is called.
    const NAME: &'static str;

    /// Name, texts and the schema of the parameters. Only called when a component is loaded.
    fn definition() -> Definition;

    /// Takes one turn.
    ///
    /// # Errors
    /// What the function returns, and [`Error::Invalid`] for parameters that do not match.
    fn run(turn: Turn) -> Result<Reply, Error>;
}

impl Turn {
    /// The texts of the message, one after another. What is no text (a picture, a link) is left
    /// out.
    pub fn text(&self) -> String {
        texts(&self.message)
    }

    /// The parameters; those of an empty object where the caller gave none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for parameters that are no `T`.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.parameters.as_deref().unwrap_or("{}"))
            .map_err(|error| Error::invalid("/parameters", error.to_string()))
    }
}

impl Reply {
    /// An answer of text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { message: vec![Content::text(text)], finish: Finish::Stop }
    }

    /// Says why the turn ended, where it is not that the agent answered.
    #[must_use]
    pub fn finished(mut self, finish: Finish) -> Self {
        self.finish = finish;
        self
    }

    /// The texts of the message, one after another.
    pub fn text(&self) -> String {
        texts(&self.message)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl Outcome {
    /// The parts as one text, as a model can read them: what is no text is named with its type
    /// and size.
    pub fn to_text(&self) -> String {
        self.content.iter().map(Content::to_text).collect::<Vec<_>>().join("\n")
    }
}

impl Content {
    /// The part as text; what is no text is named with its type and size.
    pub fn to_text(&self) -> String {
        use crate::ResourceBody;

        let bytes =
            |what: &str, kind: &str, bytes: usize| format!("[{what}: {kind}, {bytes} bytes]");
        match &self.body {
            ContentBody::Text(text) => text.clone(),
            ContentBody::Json(json) => json.clone(),
            ContentBody::Image(image) => bytes("image", &image.mime_type, image.data.len()),
            ContentBody::Audio(audio) => bytes("audio", &audio.mime_type, audio.data.len()),
            ContentBody::Resource(resource) => match &resource.body {
                ResourceBody::Text(text) => text.clone(),
                ResourceBody::Blob(blob) => bytes("resource", &resource.uri, blob.len()),
                ResourceBody::Link => format!("[link: {}]", resource.uri),
            },
        }
    }
}

fn texts(content: &[Content]) -> String {
    let texts = content.iter().filter_map(|part| match &part.body {
        ContentBody::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// What `#[agent]` knows when the agent is compiled, and the schema of its parameters.
#[doc(hidden)]
pub fn definition(
    name: &str,
    title: &str,
    description: &str,
    parameters_schema: Option<String>,
) -> Definition {
    Definition {
        name: name.to_owned(),
        title: Some(title.to_owned()),
        description: description.to_owned(),
        parameters_schema,
    }
}
