//! Texts of a bounded size.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::ConversationError;

/// Any text of at most `MAX_BYTES` bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Text<const MAX_BYTES: usize>(String);

/// One line: 1 to `MAX_BYTES` bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Line<const MAX_BYTES: usize>(String);

impl<const MAX_BYTES: usize> Text<MAX_BYTES> {
    /// Takes it as it is.
    ///
    /// # Errors
    /// [`ConversationError::TextTooLong`].
    pub fn parse(text: impl Into<String>) -> Result<Self, ConversationError> {
        let text = text.into();
        let bytes = text.len();
        if bytes > MAX_BYTES {
            return Err(ConversationError::TextTooLong { bytes, max_bytes: MAX_BYTES });
        }
        Ok(Self(text))
    }

    /// As much of its start as there is room for.
    pub fn cut(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(MAX_BYTES)].to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<const MAX_BYTES: usize> Line<MAX_BYTES> {
    /// Takes it as it is.
    ///
    /// # Errors
    /// [`ConversationError::Line`].
    pub fn parse(text: impl Into<String>) -> Result<Self, ConversationError> {
        let text = text.into();
        if !(1..=MAX_BYTES).contains(&text.len()) || text.chars().any(char::is_control) {
            let text = text.chars().take(64).collect();
            return Err(ConversationError::Line { text, max_bytes: MAX_BYTES });
        }
        Ok(Self(text))
    }

    /// As much of its first line as there is room for; `None` where nothing is left.
    pub fn cut(text: &str) -> Option<Self> {
        let line = text.trim_start().split(char::is_control).next().unwrap_or_default();
        let line = line[..line.floor_char_boundary(MAX_BYTES)].trim_end();
        (!line.is_empty()).then(|| Self(line.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX_BYTES: usize> TryFrom<String> for Text<MAX_BYTES> {
    type Error = ConversationError;

    fn try_from(text: String) -> Result<Self, ConversationError> {
        Self::parse(text)
    }
}

impl<const MAX_BYTES: usize> TryFrom<String> for Line<MAX_BYTES> {
    type Error = ConversationError;

    fn try_from(text: String) -> Result<Self, ConversationError> {
        Self::parse(text)
    }
}

impl<const MAX_BYTES: usize> fmt::Display for Text<MAX_BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX_BYTES: usize> fmt::Display for Line<MAX_BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
