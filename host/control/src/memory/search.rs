//! Search: by words and, where a model embeds memory, by meaning. The one path of people, tools
//! and agents.

use foreshore_domain::event::Tenant;
use foreshore_domain::memory::{Embedding, Namespace};
use foreshore_store::memory::{Found, Hit, Method, Query};

use super::{Memory, MemoryFault};
use crate::clock;

/// What to look for; see [`Query`].
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Words, and what is meant by them.
    pub text: String,
    /// What is meant, of whoever asked a model; the host asks its own otherwise.
    pub embedding: Option<Embedding>,
    /// A hit has all of them.
    pub tags: Vec<String>,
    /// A hit was written then or later, in milliseconds since 1970.
    pub since_unix_ms: Option<u64>,
    /// At most so many hits.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How.
    pub method: Method,
    /// Why it was not searched by meaning, where it would have been.
    pub degraded: Option<String>,
}

impl Memory {
    /// The records that match best. A model that does not answer in time makes the answer worse
    /// and no error.
    ///
    /// # Errors
    /// [`MemoryFault::Store`].
    pub async fn search(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        mut search: Search,
    ) -> Result<Findings, MemoryFault> {
        let mut degraded = None;
        if let (Some(meaning), None) = (&self.meaning, &search.embedding) {
            match meaning.of_query(&search.text).await {
                Ok(embedding) => search.embedding = embedding,
                Err(reason) => degraded = Some(reason),
            }
            if let Some(reason) = &degraded {
                tracing::debug!(%reason, "a search goes by words alone");
            }
        }
        let model = search.embedding.as_ref().map(|embedding| embedding.model().clone());
        let (memory, tenant, namespace) = (self.clone(), tenant.clone(), namespace.clone());
        // A search reads for milliseconds: too long for a thread that serves others.
        let found = tokio::task::spawn_blocking(move || memory.look(&tenant, &namespace, &search));
        let found = found.await;
        let Found { hits, method } =
            found.map_err(|error| MemoryFault::Store { message: error.to_string() })??;
        if let (Some(model), Method::Lexical, false) = (model, method, hits.is_empty()) {
            degraded = Some(format!("no record of this namespace has a vector of {model} yet"));
        }
        Ok(Findings { hits, method, degraded })
    }

    fn look(
        &self,
        tenant: &Tenant,
        namespace: &Namespace,
        search: &Search,
    ) -> Result<Found, MemoryFault> {
        let tags: Vec<&str> = search.tags.iter().map(String::as_str).collect();
        let query = Query {
            text: &search.text,
            embedding: search.embedding.as_ref(),
            tags: &tags,
            since_unix_ms: search.since_unix_ms,
            limit: search.limit,
        };
        let reader = self.journal.memory_with_meanings(tenant, clock::now_unix_ms())?;
        Ok(reader.search(namespace.as_str(), &query)?)
    }
}
