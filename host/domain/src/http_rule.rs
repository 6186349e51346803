//! One line of an egress allow-list.

use std::fmt;
use std::str::FromStr;

/// `METHOD SCHEME://HOST[:PORT]/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    text: String,
}

impl HttpRule {
    /// Whether this rule allows a request.
    pub fn allows(&self, _method: &http::Method, _url: &url::Url) -> bool {
        false
    }
}

impl FromStr for HttpRule {
    type Err = HttpRuleError;

    fn from_str(text: &str) -> Result<Self, HttpRuleError> {
        Ok(Self { text: text.to_owned() })
    }
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is refused: {message}; write a rule as \"GET https://api.example.org/v2/*\"")]
pub struct HttpRuleError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub message: String,
}
