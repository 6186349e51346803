//! The arguments of the tools. What memory takes beyond their schemas, the host says.

use foreshore_sdk::Error;
use schemars::JsonSchema;
use serde::Deserialize;

/// The namespace where none is named.
pub(crate) fn notes() -> String {
    "notes".to_owned()
}

/// Arguments of `remember`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remember {
    /// What to find it by: up to 512 bytes.
    #[schemars(length(min = 1, max = 512))]
    pub(crate) key: String,
    /// Any JSON value of up to 1 MiB. Over 48 KiB, a search reads only the start of it.
    pub(crate) value: serde_json::Value,
    /// Words to filter by when recalling.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub(crate) tags: Vec<String>,
    /// How much it matters, from 0 to 1.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub(crate) importance: f32,
    /// Forget it by itself after so many seconds.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub(crate) ttl_s: Option<u64>,
    /// Write only if this version stands there now; 0 for none.
    #[serde(default)]
    pub(crate) expected_version: Option<u64>,
    /// Which namespace, of those the operator granted.
    #[serde(default = "notes")]
    pub(crate) namespace: String,
}

/// Arguments of `recall`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recall {
    /// The key of one entry.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    pub(crate) key: Option<String>,
    /// Words to look for, any of which a match has.
    #[serde(default)]
    pub(crate) query: Option<String>,
    /// A match has all of these tags.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub(crate) tags: Vec<String>,
    /// A match was written then or later, in milliseconds since 1970.
    #[serde(default)]
    pub(crate) since_unix_ms: Option<u64>,
    /// At most so many matches; for a key, so many of its versions, newest first (1 unless said).
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
    /// Which namespace, of those the operator granted.
    #[serde(default = "notes")]
    pub(crate) namespace: String,
}

impl Recall {
    pub(crate) fn hits(&self) -> u32 {
        self.limit.unwrap_or(10)
    }
}

/// Arguments of `relate`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Relate {
    /// The key that the relation starts from.
    #[schemars(length(min = 1, max = 512))]
    pub(crate) subject: String,
    /// How they are related, in a word or a few.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) predicate: String,
    /// The key that it leads to.
    #[schemars(length(min = 1, max = 512))]
    pub(crate) object: String,
    /// Which namespace, of those the operator granted.
    #[serde(default = "notes")]
    pub(crate) namespace: String,
}

/// Arguments of `related`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Related {
    /// The key to start from.
    #[schemars(length(min = 1, max = 512))]
    pub(crate) key: String,
    /// Give the paths to this key instead.
    #[serde(default)]
    #[schemars(length(min = 1, max = 512))]
    pub(crate) to: Option<String>,
    /// At most so many relations.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) limit: u32,
    /// Which namespace, of those the operator granted.
    #[serde(default = "notes")]
    pub(crate) namespace: String,
}

fn hundred() -> u32 {
    100
}

/// Arguments of `forget`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Forget {
    /// The key to forget.
    #[schemars(length(min = 1, max = 512))]
    pub(crate) key: String,
    /// Which namespace, of those the operator granted.
    #[serde(default = "notes")]
    pub(crate) namespace: String,
}

/// An error at the argument it is about: memory's own fields are spelled with hyphens.
pub(crate) fn located(error: Error) -> Error {
    match error {
        Error::Invalid { pointer, message } => {
            Error::Invalid { pointer: pointer.replace('-', "_"), message }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_notes_unless_another_is_named() {
        let forget: Forget = serde_json::from_str(r#"{"key": "a"}"#).expect("arguments");
        assert_eq!(forget.namespace, "notes");
        let forget: Forget =
            serde_json::from_str(r#"{"key": "a", "namespace": "team"}"#).expect("arguments");
        assert_eq!(forget.namespace, "team");
        let unknown = serde_json::from_str::<Forget>(r#"{"key": "a", "name_space": "team"}"#);
        assert!(unknown.is_err());
    }

    #[test]
    fn an_error_points_at_the_argument_it_is_about() {
        let error = located(Error::invalid("/expected-version", "it has version 2"));
        assert_eq!(error, Error::invalid("/expected_version", "it has version 2"));
    }
}
