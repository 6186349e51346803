//! Scripts: models, and rules for what they answer.
//!
//! Invariant: a script that parses can be served. Its expressions are compiled, its templates
//! name only what exists, its waits and sizes are bounded.

pub(crate) mod answer;
pub(crate) mod pattern;
pub(crate) mod rule;
pub(crate) mod settings;
pub(crate) mod template;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Deserialize;

use self::rule::Rule;
use self::settings::{ModelSettings, ServerSettings};

/// What a server plays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    pub(crate) server: ServerSettings,
    /// None: whatever model is asked for exists.
    pub(crate) models: Vec<ModelSettings>,
    /// The first that fits answers.
    pub(crate) rules: Vec<Rule>,
}

/// How a script is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    /// By the end of a file's name: `.toml`, `.yaml`, `.yml` or `.json`.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Why a text is no script.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// It is longer than any script.
    #[error("the script has {bytes} bytes, more than {limit}: leave out what no rule needs")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// It cannot be read, or says what cannot be; with the line and the way on.
    #[error("the script cannot be used: {0}")]
    Unusable(String),
    /// Two models have one name.
    #[error("the script has the model {0:?} twice: keep one `[[models]]` of that name")]
    SameModel(String),
}

/// The longest script, in bytes.
const SCRIPT_MAX_BYTES: usize = 4 * 1024 * 1024;

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// What is wrong, at which line, and the way on.
    pub fn parse(text: &str, format: Format) -> Result<Self, ScriptError> {
        if text.len() > SCRIPT_MAX_BYTES {
            return Err(ScriptError::TooLarge { bytes: text.len(), limit: SCRIPT_MAX_BYTES });
        }
        let parsed: Result<Self, String> = match format {
            Format::Toml => toml::from_str(text).map_err(|error| error.to_string()),
            Format::Yaml if text.trim().is_empty() => Ok(Self::default()),
            Format::Yaml => serde_saphyr::from_str(text).map_err(|error| error.to_string()),
            Format::Json => serde_json::from_str(text).map_err(|error| error.to_string()),
        };
        let script = parsed.map_err(|problem| ScriptError::Unusable(problem.trim().to_owned()))?;
        script.models_differ()?;
        Ok(script)
    }

    fn models_differ(&self) -> Result<(), ScriptError> {
        let mut names: Vec<_> = self.models.iter().map(|it| full_name(&it.name)).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ScriptError::SameModel(pair[0].clone())),
            None => Ok(()),
        }
    }

    /// Any model answers with what the user said last.
    pub fn echo() -> Self {
        Self::saying("{{last_user}}").expect("invariant: the template is sound")
    }

    /// A small model that drives an agent over the tools `files`, `query` and `memory`: what
    /// `foreshore demo` runs where there is no other. Its rules are in `scripts/demo.toml`.
    pub fn demo() -> Self {
        let script = Self::parse(include_str!("../scripts/demo.toml"), Format::Toml);
        script.expect("invariant: a test parses it")
    }

    /// Any model answers with `text`, which may be a template.
    ///
    /// # Errors
    /// A template with an unknown place.
    pub fn saying(text: &str) -> Result<Self, ScriptError> {
        Self::of_answer(&serde_json::json!({ "text": text }))
    }

    /// Whatever asks for text is answered with `status` and an error.
    ///
    /// # Errors
    /// A status that is none.
    pub fn refusing(status: u16, error: &str) -> Result<Self, ScriptError> {
        let error = error.replace("{{", "\\{{");
        Self::of_answer(&serde_json::json!({ "status": status, "error": error }))
    }

    fn of_answer(answer: &serde_json::Value) -> Result<Self, ScriptError> {
        let script = serde_json::json!({ "rules": [{ "answer": answer }] });
        Self::parse(&script.to_string(), Format::Json)
    }
}

/// A model's name with its tag, as servers list it: `qwen3` is `qwen3:latest`.
pub(crate) fn full_name(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}
