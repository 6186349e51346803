//! Which models there are, and managing them: for people, not for agents.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::inference::{InferenceError, Model, RunningModel};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::backend::ollama::{Ollama, Progress, is_same_model};
use crate::backend::{Backend, Facts, Wire};
use crate::broker::{Broker, Inner};
use crate::config::RunnerOptions;
use crate::failure::Failure;
use crate::lane::Lane;

/// How many models are looked at beside those that are configured.
const LOOKED_AT_MAX: usize = 32;

impl Broker {
    /// The models that can be asked, by name: those that are configured, and those that backends
    /// have. A backend that does not answer adds nothing. The context is that which a model is
    /// run with, and a request has to fit in it, whatever its weights would take.
    ///
    /// What a model can do is asked of its backend once in a while, for those that are
    /// configured and the first few others: many servers do not say it in their lists.
    pub async fn models(&self) -> Vec<Model> {
        let mut models: BTreeMap<String, Model> = BTreeMap::new();
        for (name, config) in &self.inner.config.models {
            let mut model = blank(name.clone());
            model.embedding = config.embedding;
            models.insert(name.clone(), model);
        }
        let listed = self.listed().await;
        let mut looked_at: Vec<Arc<Lane>> = self.inner.configured_lanes();
        for (backend, name, facts) in &listed {
            if facts.capabilities.is_none() && looked_at.len() < LOOKED_AT_MAX {
                looked_at.extend(self.inner.listed_lane(backend, name));
            }
        }
        let looked = looked_up(looked_at).await;
        for (backend, name, facts) in listed.into_iter().chain(looked) {
            let names = self.inner.names_of(&backend, &name);
            let names = if names.is_empty() { vec![name] } else { names };
            for name in names {
                let model = models.entry(name.clone()).or_insert_with(|| blank(name));
                if !model.backends.contains(&backend) {
                    model.backends.push(backend.clone());
                }
                let context = self.inner.context(&backend, &model.name, &facts);
                // Whichever of them answers: no more than the shortest takes.
                model.context_length = [model.context_length, context].into_iter().flatten().min();
                merge(model, &facts);
            }
        }
        models.into_values().collect()
    }

    /// What the backends list, asked all at once.
    async fn listed(&self) -> Vec<(String, String, Facts)> {
        let mut asked = JoinSet::new();
        for (at, backend) in self.inner.backends.iter().enumerate() {
            let backend = std::sync::Arc::clone(backend);
            asked.spawn(async move { (at, backend.name.clone(), backend.list().await) });
        }
        let mut lists = asked.join_all().await;
        lists.sort_by_key(|(at, ..)| *at);
        let mut all = Vec::new();
        for (_, backend, list) in lists {
            match list {
                Ok(list) => {
                    all.extend(
                        list.into_iter().map(|(name, facts)| (backend.clone(), name, facts)),
                    );
                }
                Err(failure) => tracing::debug!(backend, ?failure, "lists no models"),
            }
        }
        all
    }

    /// What is known of one model, asked of the first backend that has it.
    ///
    /// # Errors
    /// [`InferenceError::ModelNotFound`], or what went wrong.
    pub async fn show(&self, model: &str) -> Result<Model, InferenceError> {
        let plan = self.inner.plan(Some(model), crate::plan::Purpose::Chat)?;
        let mut last = None;
        for lane in plan.candidates.iter().take(1).flat_map(|candidate| &candidate.lanes) {
            let found = match &lane.backend.wire {
                Wire::Ollama(_) => lane.backend.facts(&lane.model).await,
                Wire::OpenAi(_) => lane.backend.listed_facts(&lane.model).await,
            };
            match found {
                Ok(facts) => {
                    let mut shown = named(model.to_owned(), &facts);
                    shown.backends.push(lane.backend.name.clone());
                    return Ok(shown);
                }
                Err(Failure::NotFound) => {}
                Err(failure) => last = Some(failure.into_error(&lane.backend.name, &lane.model)),
            }
        }
        Err(last.unwrap_or_else(|| self.inner.unknown(model)))
    }

    /// The models that backends have in memory. A backend that does not answer adds nothing.
    pub async fn running(&self) -> Vec<RunningModel> {
        let mut all = Vec::new();
        for backend in &self.inner.backends {
            if let Wire::Ollama(ollama) = &backend.wire
                && let Ok(running) = backend.quickly(ollama.running()).await
            {
                all.extend(running);
            }
        }
        all
    }

    /// The version of a backend, where it has one.
    ///
    /// # Errors
    /// No such backend, one of another kind, or what went wrong.
    pub async fn version(&self, backend: Option<&str>) -> Result<String, InferenceError> {
        let (backend, ollama) = self.inner.manageable(backend)?;
        backend.quickly(ollama.version()).await.map_err(|failure| told(backend, "", failure))
    }

    /// Gets a model from the registry that the backend uses. `backend` is the first that can,
    /// if it is not named. Dropping the future stops it; what was got is kept by the backend.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn pull(
        &self,
        backend: Option<&str>,
        model: &str,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<(), InferenceError> {
        let (backend, ollama) = self.inner.manageable(backend)?;
        self.inner.may_be_here(model)?;
        let pulled = ollama.pull(model, silence(backend), &mut progress).await;
        pulled.map_err(|failure| told(backend, model, failure))
    }

    /// Makes a model. `definition` is the body that Ollama's `/api/create` takes.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn create(
        &self,
        backend: Option<&str>,
        definition: &Value,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<(), InferenceError> {
        let (backend, ollama) = self.inner.manageable(backend)?;
        if let Some(from) = definition.get("from").and_then(Value::as_str) {
            self.inner.may_be_here(from)?;
        }
        let model = definition.get("model").and_then(Value::as_str).unwrap_or_default();
        let created = ollama.create(definition, silence(backend), &mut progress).await;
        created.map_err(|failure| told(backend, model, failure))
    }

    /// Gives a model a second name.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn copy(
        &self,
        backend: Option<&str>,
        source: &str,
        destination: &str,
    ) -> Result<(), InferenceError> {
        let (backend, ollama) = self.inner.manageable(backend)?;
        let copied = backend.quickly(ollama.copy(source, destination)).await;
        copied.map_err(|failure| told(backend, source, failure))
    }

    /// Deletes a model.
    ///
    /// # Errors
    /// [`InferenceError`].
    pub async fn delete(&self, backend: Option<&str>, model: &str) -> Result<(), InferenceError> {
        let (backend, ollama) = self.inner.manageable(backend)?;
        let deleted = backend.quickly(ollama.delete(model)).await;
        deleted.map_err(|failure| told(backend, model, failure))
    }
}

impl Inner {
    fn configured_lanes(&self) -> Vec<Arc<Lane>> {
        let all = self.all_lanes().into_iter();
        let is_configured =
            |lane: &Lane| !self.names_of(&lane.backend.name, &lane.model).is_empty();
        all.filter(|lane| is_configured(lane)).collect()
    }

    fn listed_lane(&self, backend: &str, model: &str) -> Option<Arc<Lane>> {
        let backend = self.backends.iter().find(|one| one.name == backend)?;
        Some(self.lane(backend, model, &Default::default()))
    }

    /// The names that callers use for a model of a backend.
    fn names_of(&self, backend: &str, at_backend: &str) -> Vec<String> {
        let all = self.config.models.iter().filter(|(name, model)| {
            is_same_model(model.model.as_deref().unwrap_or(name), at_backend)
                && (model.backends.is_empty() || model.backends.iter().any(|b| b == backend))
        });
        all.map(|(name, _)| name.clone()).collect()
    }

    /// Tokens of context that a model of a backend has, by the name that callers use.
    fn context(&self, backend: &str, name: &str, facts: &Facts) -> Option<u32> {
        let backend = self.backends.iter().find(|one| one.name == backend)?;
        match &backend.wire {
            Wire::OpenAi(_) => facts.context_length,
            Wire::Ollama(_) => {
                let options = self.config.models.get(name).map(|model| &model.runner);
                let config = &self.lane_config;
                Some(config.num_ctx(options.unwrap_or(&RunnerOptions::default()), facts))
            }
        }
    }

    /// A backend whose models can be managed.
    fn manageable(&self, name: Option<&str>) -> Result<(&Backend, &Ollama), InferenceError> {
        for backend in &self.backends {
            if name.is_some_and(|name| name != backend.name) {
                continue;
            }
            match &backend.wire {
                Wire::Ollama(ollama) => return Ok((backend, ollama)),
                Wire::OpenAi(_) if name.is_some() => {
                    let message = format!("the models of {} cannot be managed", backend.name);
                    return Err(InferenceError::Invalid { message });
                }
                Wire::OpenAi(_) => {}
            }
        }
        let message = match name {
            Some(name) => format!("no backend is called \"{name}\""),
            None => "no backend has models that can be managed".to_owned(),
        };
        Err(InferenceError::Invalid { message })
    }

    fn may_be_here(&self, model: &str) -> Result<(), InferenceError> {
        if self.config.allow_remote_models || !crate::backend::ollama::is_cloud_name(model) {
            return Ok(());
        }
        let (model, host) = (model.to_owned(), "a cloud".to_owned());
        Err(InferenceError::RemoteModel { model, host })
    }

    fn unknown(&self, model: &str) -> InferenceError {
        let known = self.known_names(model);
        InferenceError::ModelNotFound { model: model.to_owned(), known }
    }
}

impl Backend {
    async fn list(&self) -> Result<Vec<(String, Facts)>, Failure> {
        match &self.wire {
            Wire::Ollama(ollama) => {
                let models = self.quickly(ollama.models()).await?;
                Ok(models.into_iter().map(|model| (model.name, model.facts)).collect())
            }
            Wire::OpenAi(openai) => {
                let names = self.quickly(openai.models()).await?;
                Ok(names.into_iter().map(|name| (name, Facts::default())).collect())
            }
        }
    }

    async fn listed_facts(&self, model: &str) -> Result<Facts, Failure> {
        let found = self.list().await?.into_iter().find(|(name, _)| name == model);
        found.map(|(_, facts)| facts).ok_or(Failure::NotFound)
    }
}

/// Asks what models can do, all at once. One that nobody has, or whose backend does not answer,
/// is left out.
async fn looked_up(lanes: Vec<Arc<Lane>>) -> Vec<(String, String, Facts)> {
    let mut asked = JoinSet::new();
    let mut seen = HashSet::new();
    for lane in lanes {
        if seen.insert((lane.backend.name.clone(), lane.model.clone())) {
            asked.spawn(async move {
                let facts = lane.looked_up().await.ok()?;
                Some((lane.backend.name.clone(), lane.model.clone(), Facts::clone(&facts)))
            });
        }
    }
    let mut found: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    found
}

/// A model of which nothing is known yet.
fn blank(name: String) -> Model {
    Model {
        name,
        backends: Vec::new(),
        context_length: None,
        tools: false,
        vision: false,
        thinking: false,
        embedding: false,
        details: Default::default(),
    }
}

fn named(name: String, facts: &Facts) -> Model {
    let mut model = blank(name);
    model.context_length = facts.context_length;
    merge(&mut model, facts);
    model
}

/// Adds what a backend says. What the first one said of the weights stays.
fn merge(model: &mut Model, facts: &Facts) {
    // A server that does not say what a model can do is asked with tools, and says then.
    let is_unsaid = facts.capabilities.is_none();
    model.tools |= is_unsaid || facts.can("tools");
    model.vision |= facts.can("vision");
    model.thinking |= facts.can("thinking");
    model.embedding |= facts.can("embedding");
    if model.details == Default::default() {
        model.details = facts.details.clone();
    }
}

/// How long the work of a backend may go on without a word.
fn silence(backend: &Backend) -> Duration {
    Duration::from_millis(backend.timeouts.load_ms)
}

fn told(backend: &Backend, model: &str, failure: Failure) -> InferenceError {
    failure.into_error(&backend.name, model)
}
