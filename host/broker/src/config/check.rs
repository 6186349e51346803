//! Whether a configuration makes sense: before anything starts, with the name of what does not.

use std::collections::{BTreeMap, BTreeSet};

use super::{BrokerConfig, ModelConfig, RunnerOptions};

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Two backends have one name, or a backend has none.
    #[error("two backends are called \"{name}\", or it is empty; each needs a name of its own")]
    BackendName {
        /// The name.
        name: String,
    },
    /// An address that cannot be asked.
    #[error(
        "the url of backend \"{backend}\" is \"{url}\"; it has to be http:// or https:// with a host and without user, password, query or fragment"
    )]
    Url {
        /// Whose.
        backend: String,
        /// What it says.
        url: String,
    },
    /// A key that cannot be sent.
    #[error("the api_key of backend \"{backend}\" holds characters that no HTTP header can carry")]
    ApiKey {
        /// Whose.
        backend: String,
    },
    /// A model names a backend that there is not.
    #[error("model \"{model}\" names the backend \"{backend}\", which is not configured")]
    UnknownBackend {
        /// Which model.
        model: String,
        /// What it names.
        backend: String,
    },
    /// Something names a model that there is not.
    #[error(
        "{what} names the model \"{model}\", which is not configured; add [inference.models.{model}]"
    )]
    UnknownModel {
        /// What names it.
        what: String,
        /// What it names.
        model: String,
    },
    /// Two names stand for one model of one backend, and run it differently.
    #[error(
        "models \"{first}\" and \"{second}\" both are \"{model}\" of backend \"{backend}\", with other runner options: each request would load it again; give both the same"
    )]
    RunnersDiffer {
        /// One of the names.
        first: String,
        /// The other.
        second: String,
        /// The name at the backend.
        model: String,
        /// Which backend.
        backend: String,
    },
    /// More context than a model may take.
    #[error(
        "num_ctx of model \"{model}\" is {num_ctx}, above num_ctx_max ({max}); memory grows with it: lower the one or raise the other"
    )]
    NumCtx {
        /// Which model.
        model: String,
        /// What it says.
        num_ctx: u32,
        /// What it may be.
        max: u32,
    },
    /// A number that no model takes.
    #[error("temperature of model \"{model}\" has to be from 0.0 to 2.0")]
    Temperature {
        /// Which model.
        model: String,
    },
    /// A limit that is zero would let nothing through.
    #[error("{what} is 0; a limit has to be at least 1")]
    Zero {
        /// Which limit.
        what: String,
    },
}

impl BrokerConfig {
    /// Checks it all. The first thing that is wrong is told.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_limits()?;
        self.check_backends()?;
        for (name, model) in &self.models {
            self.check_model(name, model)?;
        }
        self.check_runners()
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let Self { timeouts, breaker, retries, .. } = self;
        let limits = [
            ("connect_ms", timeouts.connect_ms),
            ("queue_ms", timeouts.queue_ms),
            ("load_ms", timeouts.load_ms),
            ("first_token_ms", timeouts.first_token_ms),
            ("gap_ms", timeouts.gap_ms),
            ("total_ms", timeouts.total_ms),
            ("breaker.failures", u64::from(breaker.failures)),
            ("breaker.window_ms", breaker.window_ms),
            ("breaker.open_ms", breaker.open_ms),
            ("breaker.probe_lease_ms", breaker.probe_lease_ms),
            ("retries.base_ms", retries.base_ms),
            ("retries.cap_ms", retries.cap_ms),
            ("queue.max", size(self.queue.max)),
            ("queue.max_per_tenant", size(self.queue.max_per_tenant)),
            ("probe_every_ms", self.probe_every_ms),
            ("line_max_bytes", size(self.line_max_bytes)),
            ("answer_max_bytes", size(self.answer_max_bytes)),
            ("num_ctx_default", u64::from(self.num_ctx_default)),
            ("num_ctx_max", u64::from(self.num_ctx_max)),
        ];
        match limits.iter().find(|(_, value)| *value == 0) {
            Some((what, _)) => Err(ConfigError::Zero { what: (*what).to_owned() }),
            None => Ok(()),
        }
    }

    fn check_backends(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for backend in &self.backends {
            let name = backend.name.clone();
            if name.is_empty() || !names.insert(name.clone()) {
                return Err(ConfigError::BackendName { name });
            }
            let url = &backend.url;
            let is_plain = url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none();
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_plain {
                // A password in it stays out of the message.
                let mut url = url.clone();
                let _ = url.set_password(None);
                return Err(ConfigError::Url { backend: name, url: url.to_string() });
            }
            let sendable = |key: &super::ApiKey| {
                http::HeaderValue::from_str(&format!("Bearer {}", key.expose())).is_ok()
            };
            if !backend.api_key.as_ref().is_none_or(sendable) {
                return Err(ConfigError::ApiKey { backend: name });
            }
            let limits = backend.timeouts;
            let limits = [
                ("concurrency", backend.concurrency.map(u64::from)),
                ("connect_ms", limits.connect_ms),
                ("queue_ms", limits.queue_ms),
                ("load_ms", limits.load_ms),
                ("first_token_ms", limits.first_token_ms),
                ("gap_ms", limits.gap_ms),
            ];
            if let Some((what, _)) = limits.iter().find(|(_, value)| *value == Some(0)) {
                return Err(ConfigError::Zero { what: format!("{what} of backend \"{name}\"") });
            }
        }
        Ok(())
    }

    fn check_model(&self, name: &str, model: &ModelConfig) -> Result<(), ConfigError> {
        for backend in &model.backends {
            if !self.backends.iter().any(|known| known.name == *backend) {
                let (model, backend) = (name.to_owned(), backend.clone());
                return Err(ConfigError::UnknownBackend { model, backend });
            }
        }
        if let Some(unknown) = model.fallback.iter().find(|next| !self.models.contains_key(*next)) {
            let what = format!("fallback of model \"{name}\"");
            return Err(ConfigError::UnknownModel { what, model: unknown.clone() });
        }
        let zero = |what: &str| ConfigError::Zero { what: format!("{what} of model \"{name}\"") };
        match model.runner.num_ctx {
            Some(0) => return Err(zero("num_ctx")),
            Some(num_ctx) if num_ctx > self.num_ctx_max => {
                let (model, max) = (name.to_owned(), self.num_ctx_max);
                return Err(ConfigError::NumCtx { model, num_ctx, max });
            }
            _ => {}
        }
        if model.max_tokens == Some(0) {
            return Err(zero("max_tokens"));
        }
        if model.temperature.is_some_and(|value| !(0.0..=2.0).contains(&value)) {
            return Err(ConfigError::Temperature { model: name.to_owned() });
        }
        Ok(())
    }

    /// One model of one backend is run in one way.
    fn check_runners(&self) -> Result<(), ConfigError> {
        let mut seen: BTreeMap<(&str, &str), (&str, &RunnerOptions)> = BTreeMap::new();
        for (name, config) in &self.models {
            let at_backend = config.model.as_deref().unwrap_or(name);
            for backend in self.backends_of(config) {
                let (first, runner) =
                    *seen.entry((backend, at_backend)).or_insert((name, &config.runner));
                if *runner != config.runner {
                    return Err(ConfigError::RunnersDiffer {
                        first: first.to_owned(),
                        second: name.clone(),
                        model: at_backend.to_owned(),
                        backend: backend.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn backends_of<'a>(&'a self, model: &'a ModelConfig) -> impl Iterator<Item = &'a str> {
        let all = self.backends.iter().map(|backend| backend.name.as_str());
        all.filter(|name| model.backends.is_empty() || model.backends.iter().any(|b| b == name))
    }
}

#[cfg(test)]
mod tests;
