//! A model server that answers by rules from a file: for tests, demonstrations, and machines
//! without a model.
//!
//! [`ScriptedServer`] speaks the native API of Ollama and the part of OpenAI's that compatible
//! servers have. A [`Script`] says which models there are, what they answer, and how they fail.
//! It is a server of its own and knows nothing of the host. Deliberately absent: chance. The same
//! requests in the same order get the same answers, but for dates and durations.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use foreshore_scripted_model::{Format, Outcome, Script, ScriptedServer};
//!
//! let script = Script::parse(include_str!("../scripts/example.toml"), Format::Toml)?;
//! let server = ScriptedServer::start(script, ([127, 0, 0, 1], 0).into())?;
//!
//! let body = r#"{"model":"qwen3:4b","stream":false,
//!     "messages":[{"role":"user","content":"What is the weather in Oslo?"}],
//!     "tools":[{"type":"function","function":{"name":"weather"}}]}"#;
//! let mut connection = std::net::TcpStream::connect(server.address())?;
//! let length = body.len();
//! let head = format!("POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
//! write!(connection, "{head}Connection: close\r\n\r\n{body}")?;
//! let mut answer = String::new();
//! connection.read_to_string(&mut answer)?;
//!
//! assert!(answer.contains(r#""arguments":{"city":"Oslo"}"#));
//! assert_eq!(server.loads("qwen3:4b"), 1);
//! assert_eq!(server.requests()[0].outcome, Outcome::Answered(200));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Scripts
//!
//! A script is TOML, YAML or JSON. The one above:
//!
//! ```toml
#![doc = include_str!("../scripts/example.toml")]
//! ```
//!
//! ## Rules
//!
//! The first rule of `[[rules]]` that fits answers; when none does, the request gets a 500 that
//! says so. A rule has a `name`, a `when`, a `capture`, and an `answer` or several `answers`, one
//! per use; `then` says what comes after the last of them (`"repeat"` it, `"restart"`, or `"pass"`
//! the request on), and `times` how often the rule is used before the rules after it get their
//! turn.
//!
//! All that `when` says must hold:
//!
//! | field | holds if |
//! |---|---|
//! | `model` | the glob matches the model's name |
//! | `last_user`, `any_message`, `system` | the text matches |
//! | `tool_result` | tools have (`true`) or have not answered since the user last spoke |
//! | `tool_name`, `tool_content` | such an answer has this name, this content |
//! | `tools`, `tool_offered` | any tool is offered; one whose name matches is |
//! | `format` | `"none"`, `"json"`, `"schema"`, or `"any"` of the last two is asked for |
//! | `images`, `think`, `stream` | the request has or asks for them |
//! | `path` | the glob matches the path. Without it, a rule is for requests that ask for text; with it, for any, `/api/tags` and empty ones that load a model included: then its `delay_ms`, its `status` and a `break` before the headers count |
//!
//! A text matches when it contains `"this"`, in whatever case, or `{ regex = "this" }`.
//!
//! ## Answers
//!
//! | field | is |
//! |---|---|
//! | `text`, `chunk_list`, `json`, `from_schema` | what is said: a text, a list of chunks, a JSON value, or (`true`) the smallest document for the requested schema |
//! | `thinking` | what is thought, if the request asks for thought |
//! | `tool_calls` | a list of `{ name, arguments }` |
//! | `chunks` | `"whole"`, `{ words = 1 }` or `{ characters = 8 }` |
//! | `done_reason`, `prompt_tokens`, `output_tokens` | instead of what is found out: a token is four bytes |
//! | `delay_ms`, `first_chunk_delay_ms`, `chunk_delay_ms` | waits: before the headers, after them, between chunks |
//! | `write_bytes`, `padding_bytes` | bytes per write to the socket; bytes that make the first line longer |
//! | `status` with `error` or `body` | a refusal instead |
//! | `headers` | more headers |
//! | `break` | `{ after, with, message }`: after so many chunks (without `after`: before the headers) `"stall"`, `"error"`, `"garbage"`, `"truncate"` (an orderly end without the last line), `"cut"` or `"reset"` the connection |
//!
//! Texts are templates: `{{last_user}}`, `{{last_message}}`, `{{system}}`, `{{model}}`, `{{call}}`
//! (the number of this use of the rule), `{{tool_name}}` and `{{tool_result}}` (of the newest
//! result), `{{tool_result /a/0}}` (what a JSON pointer finds in it), `{{tool REGEX}}` (the first
//! offered tool whose name matches), `{{1}}` (a group of the first regex of `when` that has some,
//! in the order `last_user`, `any_message`, `system`, `tool_content`, `tool_name`,
//! `tool_offered`), `{{variable NAME}}` (what the regex `NAME` of `capture` finds in the newest
//! message that has it), `{{repeat 1000 x}}`, `{{first 80 last_user}}`
//! (the first characters of any of these). Two literal braces are `\{{`.
//!
//! ## Models and server
//!
//! Without `[[models]]` every model exists. With them, a model has a `name` and may have
//! `family`, `parameter_size`, `quantization`, `size_bytes`, `context_length`,
//! `embedding_dimensions`, `capabilities` (`completion`, `tools`, `thinking`, `vision`,
//! `embedding`, `insert`), `synonyms` (lists of words that have one vector), `remote_host`, `remote_model`, `load_ms`, `loaded`, `keep_alive_ms`,
//! `on_cancel` (`"keep-load"`, or `"stop-load"`: who goes away during a load that he began ends it
//! for all) and `pull` (`{ steps, step_ms, error }`: it is not there until it is pulled). `[server]`
//! has `parallel` (1), `queue` (512), `version`, and `api_key` for the OpenAI face.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod api;
mod body;
mod clock;
mod document;
mod embedding;
mod playing;
mod prompt;
mod record;
mod reply;
mod script;
mod server;
mod shelf;

pub use embedding::embed;
pub use record::{Outcome, Recorded};
pub use script::{Format, Script, ScriptError};
pub use server::ScriptedServer;
