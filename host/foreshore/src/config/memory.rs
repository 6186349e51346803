//! From `[memory]` to how memory is searched by meaning.

use std::time::Duration;

use foreshore_control::memory::MeaningConfig;
use foreshore_domain::memory::ModelName;

use super::{Config, ConfigError};
use crate::nearest::nearest;

/// What a person still waits for.
const QUERY_LIMIT: Duration = Duration::from_millis(2_000);

impl Config {
    /// How memory is searched by meaning; `None` where no model embeds it.
    ///
    /// # Errors
    /// A model that `[inference.models]` does not have.
    pub(crate) fn meaning(&self) -> Result<Option<MeaningConfig>, ConfigError> {
        let inference = &self.sections.inference;
        let section = &self.sections.memory;
        let (keys, name): (&[&str], _) = match &section.embedding_model {
            Some(name) => (&["memory", "embedding_model"], Some(name)),
            None => (&["inference", "embedding_model"], inference.embedding_model.as_ref()),
        };
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        if !inference.models.contains_key(name) {
            let near = nearest(name, inference.models.keys().map(String::as_str));
            let hint = near.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
            let message =
                format!("\"{name}\" is not one of [inference.models]: add it there{hint}");
            return Err(self.refused(keys, &message));
        }
        let model = ModelName::parse(name.as_str()).map_err(|error| self.refused(keys, &error))?;
        let limit = section.query_limit_ms.map(|limit| Duration::from_millis(limit.get()));
        Ok(Some(MeaningConfig { model, query_limit: limit.unwrap_or(QUERY_LIMIT) }))
    }
}
