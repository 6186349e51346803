//! The names of memory and variables. Each is a newtype that can only hold a well-formed one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{MemoryError, shown};

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident: $what:literal, $rule:literal, $holds:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
            #[serde(try_from = "String")]
            pub struct $name(String);

            impl $name {
                /// Reads it.
                ///
                /// # Errors
                /// [`MemoryError::Name`], which says what it must be.
                pub fn parse(text: impl Into<String>) -> Result<Self, MemoryError> {
                    let text = text.into();
                    let holds: fn(&str) -> bool = $holds;
                    if holds(&text) {
                        return Ok(Self(text));
                    }
                    Err(MemoryError::Name { what: $what, text: shown(&text, 64), rule: $rule })
                }

                /// The text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl TryFrom<String> for $name {
                type Error = MemoryError;

                fn try_from(text: String) -> Result<Self, MemoryError> {
                    Self::parse(text)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

names! {
    /// What records and relations are grouped and granted by: `[a-z0-9][a-z0-9._-]{0,63}`.
    Namespace: "namespace",
        "1 to 64 of a-z, 0-9, \".\", \"_\" and \"-\", and starts with a letter or digit",
        |text| is_label(text, b"._-");
    /// The name of a record and of a node of the graph: 1 to 512 bytes without control
    /// characters.
    Key: "key", "1 to 512 bytes of text without control characters", |text| is_text(text, 512);
    /// A word to filter by: 1 to 64 bytes without control characters.
    Tag: "tag", "1 to 64 bytes of text without control characters", |text| is_text(text, 64);
    /// How one key relates to another: 1 to 64 bytes without control characters.
    Predicate: "predicate", "1 to 64 bytes of text without control characters",
        |text| is_text(text, 64);
    /// The model that made an embedding: 1 to 128 bytes without control characters.
    ModelName: "model", "1 to 128 bytes of text without control characters",
        |text| is_text(text, 128);
    /// The id of a conversation: 1 to 128 bytes without control characters.
    Conversation: "conversation", "1 to 128 bytes of text without control characters",
        |text| is_text(text, 128);
    /// The name of a variable: `[a-z0-9][a-z0-9_-]{0,63}`.
    VariableName: "variable",
        "1 to 64 of a-z, 0-9, \"_\" and \"-\", and starts with a letter or digit",
        |text| is_label(text, b"_-");
}

/// Whether it is `[a-z0-9][a-z0-9<also>]{0,63}`.
fn is_label(text: &str, also: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 64
        && text.as_bytes().first().is_some_and(plain)
        && text.bytes().all(|byte| plain(&byte) || also.contains(&byte))
}

/// Whether it has 1 to `max_bytes` bytes and no control characters.
pub(super) fn is_text(text: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&text.len()) && !text.chars().any(char::is_control)
}
