//! How the host's own operations fail, one enum per operation. How a call fails is
//! `foreshore_domain::call::CallError`.

use std::io;
use std::path::PathBuf;

use foreshore_domain::component::ComponentRef;
use foreshore_runtime::{EngineError, LoadFailure, LoaderError};
use foreshore_store::{AppendError, OpenError, ReadError};
use semver::Version;

use crate::conversations::ConversationFault;
use crate::egress::EgressError;
use crate::identities::IdentityFault;
use crate::secrets::SecretFault;

/// The host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The start could not be recorded.
    #[error("the start could not be recorded: {0}")]
    Record(#[from] AppendError),
    /// The way out.
    #[error(transparent)]
    Egress(#[from] EgressError),
    /// The sandbox.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The loader.
    #[error(transparent)]
    Loader(#[from] LoaderError),
    /// The components directory.
    #[error("the components directory {directory:?} cannot be used: {source}")]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Watching the components directory.
    #[error("the components directory {directory:?} cannot be watched: {message}")]
    Watch {
        /// Which.
        directory: PathBuf,
        /// Why.
        message: String,
    },
    /// A directory to be watched.
    #[error("a directory cannot be watched: {0}")]
    Root(#[from] foreshore_integrity::OpenError),
    /// The turns that had not ended could not be read.
    #[error("the open turns cannot be read: {0}")]
    Turns(#[from] ConversationFault),
    /// The credentials could not be read.
    #[error("the credentials cannot be read: {0}")]
    Identities(#[from] IdentityFault),
    /// The secrets could not be read or opened: nothing runs without what is to be kept from it.
    #[error("the secrets cannot be used: {0}")]
    Secrets(#[from] SecretFault),
    /// What was spent today could not be read: nobody is given a fresh budget for that.
    #[error("what was spent today cannot be read: {0}")]
    Budgets(#[from] ReadError),
    /// A number of calls or a time of zero.
    #[error("{setting} = 0 is refused: it is at least 1")]
    Zero {
        /// The setting of `ConcurrencyConfig`.
        setting: &'static str,
    },
}

/// A component was not put in place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// There is nowhere to keep it.
    #[error("this host keeps no components: give it a components directory (--components DIR)")]
    NoDirectory,
    /// It does not load.
    #[error(transparent)]
    Refused(#[from] LoadFailure),
    /// The directory cannot be written.
    #[error("{file:?} could not be written: {source}")]
    Write {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host is going down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

/// A component was not removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is none.
    #[error("there is no component \"{name}{}\"", at(.version))]
    NotFound {
        /// What was asked for.
        name: String,
        /// In which version.
        version: Option<Version>,
    },
    /// It is part of the binary.
    #[error(
        "{reference} is built into this host and cannot be removed; a file of the same name and version in the components directory takes its place"
    )]
    Embedded {
        /// Which.
        reference: ComponentRef,
    },
    /// The file stays.
    #[error("{file:?} could not be removed: {source}")]
    Remove {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host is going down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

fn at(version: &Option<Version>) -> String {
    version.as_ref().map(|version| format!("@{version}")).unwrap_or_default()
}
