//! What has to be known, and done, before a model can be asked: may it be asked at all, and is
//! it in memory.
//!
//! One task does it for all who wait, so that a model is loaded once, and a caller who goes away
//! while it loads takes nobody's load with them: Ollama would otherwise cancel the load of all.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::inference::TimedOut;
use tokio::time::Instant;

use super::{FACTS_FOR, Lane};
use crate::backend::Facts;
use crate::backend::ollama::is_cloud_name;
use crate::failure::Failure;
use crate::flight::Part;

/// Whether the model has to be in memory before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Loading {
    /// Yes: it is loaded by a request that asks nothing.
    First,
    /// The request itself will load it.
    Along,
}

/// Preparing failed.
pub(crate) struct PrepareError {
    pub(crate) failure: Failure,
    /// Who started the task tells the breaker; for the others it would count twice.
    pub(crate) part: Part,
}

impl Lane {
    /// Makes sure that the model may be asked, and is in memory.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub(crate) async fn prepared(
        self: &Arc<Self>,
        loading: Loading,
    ) -> Result<Arc<Facts>, PrepareError> {
        if let Some(facts) = self.ready(loading) {
            return Ok(facts);
        }
        let lane = Arc::clone(self);
        let joined = self.preparing.join(loading, || async move { lane.prepare(loading).await });
        let part = joined.part;
        match joined.wait().await {
            Some(Ok(facts)) => Ok(facts),
            Some(Err(failure)) => Err(PrepareError { failure, part }),
            None => {
                let message = "preparing it ended without a result".to_owned();
                Err(PrepareError { failure: Failure::Answer { message }, part })
            }
        }
    }

    /// What is known, if nothing has to be asked.
    fn ready(&self, loading: Loading) -> Option<Arc<Facts>> {
        let now = Instant::now();
        let known = self.known();
        let (at, facts) = known.facts.as_ref()?;
        let is_warm = known.warm_until.is_some_and(|until| now < until);
        let is_fresh = now < *at + FACTS_FOR;
        (is_fresh && (is_warm || loading == Loading::Along)).then(|| Arc::clone(facts))
    }

    async fn prepare(&self, loading: Loading) -> Result<Arc<Facts>, Failure> {
        let facts = self.looked_up().await?;
        if loading == Loading::First {
            if self.backend.has_loaded(&self.model).await? == Some(false) {
                self.load(&facts).await?;
            }
            self.is_warm_now();
        }
        Ok(facts)
    }

    /// What the server says of the model; asked again once it is old.
    pub(crate) async fn looked_up(&self) -> Result<Arc<Facts>, Failure> {
        if !self.config.allow_remote && is_cloud_name(&self.model) {
            return Err(Failure::Remote { host: "a cloud".to_owned() });
        }
        if let Some((at, facts)) = &self.known().facts
            && Instant::now() < *at + FACTS_FOR
        {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(self.backend.facts(&self.model).await?);
        if let Some(host) = &facts.details.remote_host
            && !self.config.allow_remote
        {
            return Err(Failure::Remote { host: host.clone() });
        }
        self.known().facts = Some((Instant::now(), Arc::clone(&facts)));
        Ok(facts)
    }

    async fn load(&self, facts: &Facts) -> Result<(), Failure> {
        let limit_ms = self.backend.timeouts.load_ms;
        let runner = self.runner(facts);
        self.counters.loads.add(1);
        let load = self.backend.load(&self.model, &runner);
        match tokio::time::timeout(Duration::from_millis(limit_ms), load).await {
            Ok(loaded) => loaded,
            Err(_) => {
                let hangs = self.backend.ping().await.is_err();
                Err(Failure::TimedOut { what: TimedOut::Load, limit_ms, hangs })
            }
        }
    }
}
