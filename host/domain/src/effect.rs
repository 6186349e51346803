//! The effects: the only ways in which a guest can touch the world.
//!
//! `Effect` is closed. A new capability is a new variant here, a WIT interface, a file in
//! `runtime/src/capability/`, and a granted and a denied case under `tests/cases/`.

mod agent;
mod memory;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

use crate::call::{Interruption, Progress};
use crate::denial::Denial;
use crate::grant::Mount;
use crate::outcome::LogLine;
pub use agent::{
    AgentEffect, AgentError, AgentOutcome, AgentTool, Answer, Attenuation, BudgetKind, Delegation,
    OtherAgent, Remaining, ReplyPart, Said, ToolRequest, VariableEntry,
};
pub use memory::{
    MemoryEntry, MemoryHit, MemoryRead, MemoryReadKind, MemoryRecord, MemoryRefusal, MemoryWrite,
    MemoryWriteKind, Recalled, Remembered, SearchMethod, Space,
};

/// One thing a guest wants done.
pub enum Effect {
    /// Send a request and give back the response.
    HttpRequest(HttpRequest),
    /// Change a file or directory of a mount. The runtime performs it, through the directory
    /// handle of the mount, once the door has let it through.
    ChangeFile(FileChange),
    /// Look something up in memory.
    Recall(MemoryRead),
    /// Change memory.
    Remember(MemoryWrite),
    /// Something that only an agent may ask: numbered, recorded, and taken from the record
    /// where the turn runs again.
    Agent(Box<AgentEffect>),
    /// Tell the person more of the reply. Nobody waits for it.
    Reply(ReplyPart),
    /// Tell whoever watches how far the call has come.
    Progress(Progress),
    /// Keep a line for the author and the operator.
    Log(LogLine),
}

impl Effect {
    /// The kinds of a tool's effects, for tests that hold each to a granted and a denied case;
    /// those of an agent are [`AgentEffect::KINDS`].
    pub const KINDS: &[&str] =
        &["http-request", "change-file", "recall", "remember", "progress", "log"];

    /// The name in records and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HttpRequest(_) => "http-request",
            Self::ChangeFile(_) => "change-file",
            Self::Recall(_) => "recall",
            Self::Remember(_) => "remember",
            Self::Agent(effect) => effect.kind(),
            Self::Reply(_) => "reply",
            Self::Progress(_) => "progress",
            Self::Log(_) => "log",
        }
    }
}

/// The body of an HTTP message, streamed.
pub type HttpBody = UnsyncBoxBody<Bytes, HttpBodyError>;

/// A body that broke off.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpBodyError {
    /// Larger than the limit allows.
    #[error("the body is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// Nothing came for too long.
    #[error("no part of the body came for {limit_ms} ms")]
    Stalled {
        /// How long it might take.
        limit_ms: u64,
    },
    /// Policy said no to what came next; already noted in the call's denials.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The other side or the network broke off.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// An outgoing request, as the guest wrote it.
pub struct HttpRequest {
    /// The method.
    pub method: http::Method,
    /// The whole target: scheme, authority, path and query.
    pub uri: http::Uri,
    /// The fields.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: HttpBody,
    /// How long the guest wants to wait for the connection, the first byte, and between bytes;
    /// the call's deadline holds in any case.
    pub timeouts: HttpTimeouts,
}

/// How long a guest wants to wait.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct HttpTimeouts {
    pub connect: Option<std::time::Duration>,
    pub first_byte: Option<std::time::Duration>,
    pub between_bytes: Option<std::time::Duration>,
}

/// The response to an outgoing request.
pub struct HttpResponse {
    /// The status.
    pub status: http::StatusCode,
    /// The fields.
    pub headers: http::HeaderMap,
    /// The body: decompressed, bounded by `http_response_max_bytes`.
    pub body: HttpBody,
}

/// A change to a file or directory.
#[derive(Clone, Debug)]
pub struct FileChange {
    /// Where: the mount.
    pub mount: Mount,
    /// Where: the path within the mount, as the guest wrote it, for the record only.
    pub path: String,
    /// What.
    pub kind: FileChangeKind,
}

/// What is done to a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileChangeKind {
    /// Open for writing.
    Write {
        /// Create it if it is not there.
        create: bool,
        /// Empty it first.
        truncate: bool,
    },
    /// Change its size.
    Resize {
        /// New size in bytes.
        size_bytes: u64,
    },
    /// Make a directory.
    CreateDirectory,
    /// Remove a file.
    RemoveFile,
    /// Remove an empty directory.
    RemoveDirectory,
    /// Move within the mounts.
    Rename {
        /// The new path, in the guest's eyes.
        to: String,
    },
    /// Make a second name for a file.
    Link {
        /// The new path, in the guest's eyes.
        to: String,
    },
    /// Make a symbolic link.
    Symlink {
        /// What it points to.
        target: String,
    },
    /// Set times.
    SetTimes,
}

/// What the door gives back.
pub enum EffectOutcome {
    /// The response to a request.
    HttpResponse(HttpResponse),
    /// What memory holds.
    Recalled(Recalled),
    /// What was changed in memory, which is on disk.
    Remembered(Remembered),
    /// What an agent asked for.
    Agent(Box<AgentOutcome>),
    /// Let through, or done.
    Done,
}

/// Why an effect did not happen.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EffectError {
    /// Policy said no; already noted in the call's denials.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The name does not resolve.
    #[error("{host} does not resolve: {message}")]
    NameNotResolved {
        /// The name.
        host: String,
        /// What the resolver said.
        message: String,
    },
    /// No connection.
    #[error("no connection to {authority}: {message}")]
    ConnectionFailed {
        /// Where to.
        authority: String,
        /// What went wrong.
        message: String,
    },
    /// TLS did not come about.
    #[error("TLS with {authority}: {message}")]
    TlsFailed {
        /// With whom.
        authority: String,
        /// What went wrong.
        message: String,
    },
    /// Took too long.
    #[error("{what} took longer than {limit_ms} ms")]
    TimedOut {
        /// `connecting`, `the first byte`.
        what: &'static str,
        /// How long it might take.
        limit_ms: u64,
    },
    /// The guest's own body is too large, or it broke off.
    #[error("the request was not sent: {0}")]
    RequestBody(#[from] HttpBodyError),
    /// What came back is not HTTP, or too large.
    #[error("the answer of {authority} cannot be used: {message}")]
    BadResponse {
        /// Whose.
        authority: String,
        /// What is wrong with it.
        message: String,
    },
    /// Memory did not do it, for a reason other than policy.
    #[error(transparent)]
    Memory(#[from] MemoryRefusal),
    /// An agent did not get what it asked for, and is told so.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The guest is stopped here: it is told nothing more.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    /// It could not be recorded, so it was not done.
    #[error("not done, because it could not be recorded: {0}")]
    NotRecorded(String),
}
