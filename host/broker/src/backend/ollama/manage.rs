//! Managing models: getting, making, copying and deleting them, with progress.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ollama, wire};
use crate::backend::parsed;
use crate::failure::{Failure, excerpt};
use crate::http_client::Ask;

/// How far long work is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What the server does, in its words.
    pub status: String,
    /// Of what.
    pub digest: Option<String>,
    /// In bytes, where it is known.
    pub total_bytes: Option<u64>,
    /// Of these.
    pub completed_bytes: Option<u64>,
}

impl Ollama {
    /// Gets a model from the registry that the server uses.
    pub(crate) async fn pull(
        &self,
        model: &str,
        gap: Duration,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), Failure> {
        let ask = Ask::post("/api/pull", &json!({ "model": model }));
        self.follow(ask, gap, progress).await
    }

    /// Makes a model from others.
    pub(crate) async fn create(
        &self,
        definition: &Value,
        gap: Duration,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), Failure> {
        self.follow(Ask::post("/api/create", definition), gap, progress).await
    }

    /// Gives a model a second name.
    pub(crate) async fn copy(&self, source: &str, destination: &str) -> Result<(), Failure> {
        let body = json!({ "source": source, "destination": destination });
        self.ask(Ask::post("/api/copy", &body)).await.map(drop)
    }

    /// Deletes a model.
    pub(crate) async fn delete(&self, model: &str) -> Result<(), Failure> {
        self.ask(Ask::delete("/api/delete", &json!({ "model": model }))).await.map(drop)
    }

    /// Follows work to its end, which is the word `success`. Dropping it stops the work.
    async fn follow(
        &self,
        ask: Ask,
        gap: Duration,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), Failure> {
        let silent = || Failure::Answer {
            message: format!("it has said nothing for {} ms", gap.as_millis()),
        };
        let answer = tokio::time::timeout(gap, self.ask(ask)).await.map_err(|_| silent())??;
        let mut lines = answer.body.lines(self.sizes.line_max_bytes);
        let mut has_succeeded = false;
        while let Some(line) =
            tokio::time::timeout(gap, lines.next()).await.map_err(|_| silent())??
        {
            if line.is_empty() {
                continue;
            }
            let line: wire::ProgressLine = parsed(&line)?;
            if let Some(message) = line.error {
                return Err(Failure::Answer { message: excerpt(&message) });
            }
            has_succeeded = line.status == "success";
            progress(Progress {
                status: line.status,
                digest: line.digest,
                total_bytes: line.total,
                completed_bytes: line.completed,
            });
        }
        match has_succeeded {
            true => Ok(()),
            false => Err(Failure::Answer { message: "it stopped before it was done".to_owned() }),
        }
    }
}
