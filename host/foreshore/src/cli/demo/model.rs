//! Which model the agent of the demonstration asks: one of an Ollama on this machine, or rules.
//!
//! Deliberately absent: pulling a model. What is not there is not waited for.

use std::time::Duration;

use anyhow::Context as _;
use foreshore_broker::{BackendConfig, BackendKind, Broker, BrokerConfig};
use foreshore_domain::inference::Model;
use foreshore_scripted_model::{Format, Script, ScriptedServer};
use url::Url;

use crate::config::inference::OLLAMA;

/// How long an Ollama has to say that it is there.
const CONNECT_MS: u64 = 500;
/// The name of the model that answers by rules.
const RULES: &str = "rules";

/// A model and its server.
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) url: String,
    /// How long a turn may take.
    pub(super) patience: Duration,
    /// Of this process: it outlives the host that is killed.
    rules: Option<ScriptedServer>,
}

impl Chosen {
    /// The smallest model with tools of the Ollama at its usual address.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn of_ollama() -> anyhow::Result<Self> {
        let url = Url::parse(OLLAMA).context("its address")?;
        let mut config = BrokerConfig {
            backends: vec![BackendConfig::new("ollama", BackendKind::Ollama, url)],
            ..BrokerConfig::default()
        };
        config.timeouts.connect_ms = CONNECT_MS;
        let models = Broker::new(config)?.models().await;
        let of_use = |model: &&Model| model.tools && model.details.remote_host.is_none();
        let smallest = models.iter().filter(of_use).min_by_key(|model| model.details.size_bytes);
        let smallest = smallest
            .with_context(|| format!("no Ollama with a model for tools answers at {OLLAMA}"))?;
        let (name, url) = (smallest.name.clone(), OLLAMA.to_owned());
        Ok(Self { name, url, patience: Duration::from_secs(90), rules: None })
    }

    /// The model that answers by rules.
    ///
    /// # Errors
    /// No port is free.
    pub(super) fn rules() -> anyhow::Result<Self> {
        let script = Script::parse(include_str!("light-planets.toml"), Format::Toml)?;
        let server = ScriptedServer::start(script, ([127, 0, 0, 1], 0).into())?;
        let (name, url) = (RULES.to_owned(), server.url());
        Ok(Self { name, url, patience: Duration::from_secs(30), rules: Some(server) })
    }

    /// It comes out the same each time, and is held to it.
    pub(super) fn is_scripted(&self) -> bool {
        self.rules.is_some()
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        if self.is_scripted() {
            "a scripted model, which answers by rules".to_owned()
        } else {
            format!("{} of the Ollama at {}", self.name, self.url)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_can_be_played() {
        let chosen = Chosen::rules().expect("the script is sound");
        assert!(chosen.is_scripted() && chosen.url.starts_with("http://127.0.0.1:"));
    }
}
