//! Why a tool did not do what it was asked.
//!
//! Each variant has one mapping to HTTP, to MCP and to an exit code, so the choice of variant
//! decides what the caller can do about it. The host checks a denial against the component's
//! own grants and writes the text of the grant itself: a guest cannot forge that.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::bindings::foreshore::types::types as wit;

/// Why a tool did not do what it was asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// Policy says no.
    Denied {
        /// Stable code, such as `mount_not_granted`.
        code: Cow<'static, str>,
        /// What was asked for: a path, a method and a URL.
        subject: String,
    },
    /// A person said no, or nobody answered in time.
    Refused(String),
    /// The caller's input is at fault.
    Invalid {
        /// JSON Pointer (RFC 6901) to the part at fault; empty for the whole.
        pointer: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The named thing does not exist.
    NotFound(String),
    /// A budget is used up.
    Exhausted(wit::Budget),
    /// Try again later.
    Unavailable {
        /// How much later, where that is known.
        retry_after: Option<Duration>,
    },
    /// A side effect may or may not have happened.
    UnknownOutcome(String),
    /// The tool's own failure.
    Failed(String),
}

impl Error {
    /// The argument at `pointer` (RFC 6901, such as `/path` or `/edits/0/old`; empty for the
    /// whole) is at fault.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { pointer: pointer.into(), message: message.into() }
    }

    /// The named thing does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound(message.into())
    }

    /// The tool tried and failed; the message is for the caller.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Policy says no to `subject`. With a code that the host does not know, the caller sees
    /// `denied_by_tool`.
    pub fn denied(code: impl Into<Cow<'static, str>>, subject: impl Into<String>) -> Self {
        Self::Denied { code: code.into(), subject: subject.into() }
    }

    /// No mount covers the path.
    pub fn denied_path(path: impl AsRef<Path>) -> Self {
        Self::denied("mount_not_granted", path.as_ref().to_string_lossy())
    }

    /// The mount that covers the path is read-only.
    pub fn denied_write(path: impl AsRef<Path>) -> Self {
        Self::denied("mount_read_only", path.as_ref().to_string_lossy())
    }

    /// What is needed cannot be had now; `retry_after` says when it may be, where that is known.
    pub fn unavailable(retry_after: Option<Duration>) -> Self {
        Self::Unavailable { retry_after }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { code, subject } => write!(f, "denied ({code}): {subject}"),
            Self::Refused(message) => write!(f, "refused: {message}"),
            Self::Invalid { pointer, message } if pointer.is_empty() => f.write_str(message),
            Self::Invalid { pointer, message } => write!(f, "{pointer}: {message}"),
            Self::NotFound(message) | Self::UnknownOutcome(message) | Self::Failed(message) => {
                f.write_str(message)
            }
            Self::Exhausted(budget) => write!(f, "used up: {}", budget_name(*budget)),
            Self::Unavailable { retry_after: None } => f.write_str("unavailable"),
            Self::Unavailable { retry_after: Some(after) } => {
                write!(f, "unavailable; try again in {} ms", after.as_millis())
            }
        }
    }
}

impl std::error::Error for Error {}

fn budget_name(budget: wit::Budget) -> &'static str {
    match budget {
        wit::Budget::Fuel => "fuel",
        wit::Budget::Time => "time",
        wit::Budget::Memory => "memory",
        wit::Budget::Bytes => "bytes",
        wit::Budget::Tokens => "tokens",
        wit::Budget::Calls => "calls",
        wit::Budget::Cost => "cost",
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Denied { code, subject } => {
                Self::Denied(wit::Denial { code: code.into_owned(), subject })
            }
            Error::Refused(message) => Self::Refused(message),
            Error::Invalid { pointer, message } => {
                Self::Invalid(wit::InvalidInput { pointer, message })
            }
            Error::NotFound(message) => Self::NotFound(message),
            Error::Exhausted(budget) => Self::Exhausted(budget),
            Error::Unavailable { retry_after } => Self::Unavailable(
                // Longer than 49 days is as good as 49 days.
                retry_after.map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
            ),
            Error::UnknownOutcome(message) => Self::UnknownOutcome(message),
            Error::Failed(message) => Self::Failed(message),
        }
    }
}

/// What the host answered, to be passed on or looked at.
impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Denied(denial) => Self::denied(denial.code, denial.subject),
            wit::Error::Refused(message) => Self::Refused(message),
            wit::Error::Invalid(input) => {
                Self::Invalid { pointer: input.pointer, message: input.message }
            }
            wit::Error::NotFound(message) => Self::NotFound(message),
            wit::Error::Exhausted(budget) => Self::Exhausted(budget),
            wit::Error::Unavailable(after_ms) => Self::Unavailable {
                retry_after: after_ms.map(|after_ms| Duration::from_millis(after_ms.into())),
            },
            wit::Error::UnknownOutcome(message) => Self::UnknownOutcome(message),
            wit::Error::Failed(message) => Self::Failed(message),
        }
    }
}

/// Without the path at hand a refusal cannot be told from a fault, so it becomes
/// [`Error::Failed`]; the `fs` feature has `fs::explain`, which knows the path.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

macro_rules! failed_from {
    ($($source:ty),+) => {
        $(impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Self::Failed(error.to_string())
            }
        })+
    };
}

failed_from!(
    &str,
    Box<dyn std::error::Error>,
    Box<dyn std::error::Error + Send + Sync>,
    serde_json::Error,
    std::fmt::Error,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::num::ParseIntError,
    std::num::ParseFloatError
);

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_arrives_as_its_own_case() {
        let denied = wit::Error::from(Error::denied_path("/etc/passwd"));
        let expected =
            wit::Denial { code: "mount_not_granted".into(), subject: "/etc/passwd".into() };
        assert_eq!(denied, wit::Error::Denied(expected));
        let unavailable = Error::unavailable(Some(Duration::from_secs(2)));
        assert_eq!(wit::Error::from(unavailable), wit::Error::Unavailable(Some(2_000)));
        let forever = Error::unavailable(Some(Duration::MAX));
        assert_eq!(wit::Error::from(forever), wit::Error::Unavailable(Some(u32::MAX)));
        assert_eq!(
            wit::Error::from(Error::invalid("/n", "too small")),
            wit::Error::Invalid(wit::InvalidInput {
                pointer: "/n".into(),
                message: "too small".into()
            })
        );
    }

    #[test]
    fn an_io_error_keeps_what_the_caller_can_act_on() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert!(matches!(Error::from(missing), Error::NotFound(_)));
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(matches!(Error::from(denied), Error::Failed(_)));
    }

    #[test]
    fn the_text_names_the_place() {
        assert_eq!(Error::invalid("/n", "too small").to_string(), "/n: too small");
        assert_eq!(Error::invalid("", "no").to_string(), "no");
        assert_eq!(Error::denied_write("/data/x").to_string(), "denied (mount_read_only): /data/x");
    }
}
