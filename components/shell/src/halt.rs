//! Why a command did not simply end with a status.
//!
//! Some of these are the command's own failure, which its caller reports; some carry control to a
//! loop, a function or the end of the script; and `Stop` ends everything, because a bound is used
//! up: no script can catch it.

use crate::fault::Fault;
use crate::stream::StreamError;

/// How a command ended that did not fail to run: with its status.
pub(crate) type Ran = Result<i32, Halt>;

/// Why a command did not simply end with a status.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The command failed; the message goes to its standard error, behind its name.
    Fail {
        status: i32,
        message: String,
    },
    /// A path was in the way.
    Fault(Fault),
    /// `exit`, and a failure under `set -e`.
    Exit(i32),
    /// `return`
    Return(i32),
    /// `break`, out of so many loops.
    Break(u32),
    /// `continue`, of the so-manieth loop.
    Continue(u32),
    Stop(Stop),
}

/// Why the whole script was ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("stopped after {0} commands: the step limit; let one command do more of the work")]
    Steps(u32),
    #[error("stopped at {0} levels of nested commands and functions: the depth limit")]
    Depth(usize),
    #[error("stopped: {0}")]
    Held(&'static str),
    #[error("stopped: a command or a list has more than {0} words; use a pipe and xargs or read")]
    Words(usize),
    #[error("stopped: a variable or a word has more than {0} bytes; use a pipe or a file")]
    Text(usize),
    /// A script that may only look wanted to change something.
    #[error("{command} would change {path}, and `look` changes nothing: use `run`")]
    Looks { command: String, path: String },
}

impl Halt {
    /// The usual failure: status 1.
    pub(crate) fn fail(message: impl Into<String>) -> Self {
        Self::Fail { status: 1, message: message.into() }
    }

    /// The command was not called as it must be: status 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Fail { status: 2, message: message.into() }
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StreamError> for Halt {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::TooMuch(what) => Self::Stop(Stop::Held(what)),
            StreamError::Fault(fault) => Self::Fault(fault),
            StreamError::Io(error) => Self::fail(error.to_string()),
        }
    }
}
