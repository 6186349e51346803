//! Secrets: values go in, and none comes out.

use foreshore_control::store::secrets::SecretEntry;
use serde::{Deserialize, Serialize};

use foreshore_domain::moment::rfc3339;

/// A value for a secret.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretValueSchema {
    /// 8 to 8,192 bytes.
    pub(crate) value: String,
}

/// The secrets there are.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SecretsSchema {
    pub(crate) secrets: Vec<SecretSchema>,
    /// The id of the key that seals; absent before the first secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// A secret, without its value.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SecretSchema {
    name: String,
    set_at: String,
    set_by: String,
    /// How many audiences the grants of components name for it.
    audiences: usize,
}

impl SecretSchema {
    pub(crate) fn new(entry: &SecretEntry, audiences: usize) -> Self {
        Self {
            name: entry.name.to_string(),
            set_at: rfc3339(entry.set_at_unix_ms),
            set_by: entry.set_by.as_str().to_owned(),
            audiences,
        }
    }
}

/// All secrets are sealed anew.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SecretsRekeyedSchema {
    /// The id of the key.
    pub(crate) key: String,
    /// How many were sealed.
    pub(crate) sealed: usize,
}
