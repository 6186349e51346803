//! What comes back from a call.

use serde::{Deserialize, Serialize};

use crate::call::CallError;
use crate::component::ComponentRef;
use crate::denial::Denial;
use crate::id::CallId;

/// A call that ran to its end. The tool itself may still have failed: see
/// [`ToolResult::is_error`].
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The call.
    pub call_id: CallId,
    /// The component that ran.
    pub component: ComponentRef,
    /// What the tool gave back.
    pub result: ToolResult,
    /// What the call used.
    pub usage: Usage,
    /// What was denied on the way and the tool coped with.
    pub denials: Vec<Denial>,
    /// What it logged.
    pub logs: Logs,
}

/// A call that did not run to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct CallFailure {
    /// The call.
    pub call_id: CallId,
    /// Why.
    pub error: CallError,
    /// What it used until then; all zero if no guest ran.
    pub usage: Usage,
    /// What it logged until then.
    pub logs: Logs,
}

/// What a tool gives back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ToolResult {
    /// The tool ran and failed.
    pub is_error: bool,
    /// For people and models.
    pub content: Vec<Content>,
    /// For programs: a JSON text, as the guest wrote it, checked to be JSON.
    pub structured: Option<Box<serde_json::value::RawValue>>,
}

/// One part of a result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Content {
    /// The substance.
    pub body: ContentBody,
    /// Hints for whoever shows it.
    pub annotations: Option<ContentAnnotations>,
}

impl Content {
    /// A part that is plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { body: ContentBody::Text(text.into()), annotations: None }
    }
}

/// The substance of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ContentBody {
    /// Text.
    Text(String),
    /// A JSON text, as the guest wrote it, checked to be JSON.
    Json(Box<serde_json::value::RawValue>),
    /// A picture.
    Image(Media),
    /// A sound.
    Audio(Media),
    /// A thing with a URI.
    Resource(Resource),
}

/// Bytes with their media type.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Media {
    /// The bytes.
    #[serde(with = "crate::base64_text")]
    pub data: Vec<u8>,
    /// RFC 6838.
    pub mime_type: String,
}

/// A thing with a URI.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resource {
    /// Where it is.
    pub uri: String,
    /// What to call it.
    pub name: String,
    /// What it is.
    pub description: Option<String>,
    /// RFC 6838.
    pub mime_type: Option<String>,
    /// What it holds.
    pub body: ResourceBody,
}

/// What a resource holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ResourceBody {
    /// Nothing but the link.
    Link,
    /// Text.
    Text(String),
    /// Bytes.
    Blob(#[serde(with = "crate::base64_text")] Vec<u8>),
}

/// Hints on a part of a result, as in MCP.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContentAnnotations {
    /// For people.
    pub user: bool,
    /// For models.
    pub assistant: bool,
    /// 0.0 to 1.0.
    pub priority: Option<f64>,
    /// ISO 8601.
    pub last_modified: Option<String>,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// wasmtime's fuel.
    pub fuel: u64,
    /// The most linear memory held at once, over all memories.
    pub peak_memory_bytes: u64,
    /// From the start of the call to its end, in microseconds.
    pub wall_us: u64,
    /// Of that, the time the guest was suspended while the host worked or waited for it.
    pub host_us: u64,
    /// Bytes of request lines, headers and bodies sent out.
    pub egress_bytes: u64,
}

/// What a call logged, bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// The lines kept.
    pub lines: Vec<LogLine>,
    /// How many lines were dropped for being too many.
    pub dropped: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// Control characters escaped, cut at the limit.
    pub message: String,
}

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
