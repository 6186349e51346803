//! Where a text came from.
//!
//! The label stays with every version for ever: text of an untrusted tool never turns into a
//! person's word by being remembered.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{MemoryError, shown};
use super::name::is_text;

/// Where a text came from, written as `person`, `agent:NAME`, `tool:NAME`, `url:HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Origin {
    /// A person wrote it.
    Person,
    /// An agent wrote it.
    Agent(String),
    /// A tool gave it.
    Tool(String),
    /// It was fetched from this host.
    Url(String),
}

impl Origin {
    /// Reads the form that [`fmt::Display`] writes. A name is 1 to 255 bytes without control
    /// characters.
    ///
    /// # Errors
    /// [`MemoryError::Origin`].
    pub fn parse(text: &str) -> Result<Self, MemoryError> {
        let refused = || MemoryError::Origin { text: shown(text, 80) };
        if text == "person" {
            return Ok(Self::Person);
        }
        let (kind, name) = text.split_once(':').ok_or_else(refused)?;
        if !is_text(name, 255) {
            return Err(refused());
        }
        match kind {
            "agent" => Ok(Self::Agent(name.to_owned())),
            "tool" => Ok(Self::Tool(name.to_owned())),
            "url" => Ok(Self::Url(name.to_owned())),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person => f.write_str("person"),
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Tool(name) => write!(f, "tool:{name}"),
            Self::Url(host) => write!(f, "url:{host}"),
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = MemoryError;

    fn try_from(text: String) -> Result<Self, MemoryError> {
        Self::parse(&text)
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}
