//! Search by meaning: how texts become vectors, of queries at once and of records behind them.
//!
//! A record is written without a model: a worker finds what has no vector and asks for it when
//! there is time (`backfill.rs`). A search asks for its query's vector and waits so long and no
//! longer (`query.rs`); without one it goes by words, and the answer says so. Deliberately
//! absent: where vectors are kept and how they are compared (the store's), and how a model is
//! reached (the broker's). The invariant: **nothing here delays a write or fails one.**

mod backfill;
mod query;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foreshore_domain::inference::{EmbedRequest, Embeddings, InferenceError};
use foreshore_domain::memory::ModelName;
use foreshore_domain::ports::BoxFuture;
use foreshore_store::Journal;
use foreshore_store::memory::MeaningsStatus;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::query::Queries;
use super::{Memory, MemoryFault};

/// Who turns texts into vectors.
pub trait Embedder: Send + Sync {
    /// The vectors of texts, in their order. To be dropped if nobody wants them any more.
    fn embed(
        &self,
        request: EmbedRequest,
        urgency: Urgency,
    ) -> BoxFuture<'_, Result<Embeddings, InferenceError>>;
}

/// Whether somebody waits for vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A search does.
    Waited,
    /// Nobody does.
    Background,
}

/// How memory is searched by meaning.
#[derive(Clone, Debug)]
pub struct MeaningConfig {
    /// The model that embeds texts, as the broker knows it.
    pub model: ModelName,
    /// How long a search waits for the vector of its query.
    pub query_limit: Duration,
}

/// Whether a host sees to the vectors of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MeaningUpkeep {
    /// It embeds what has none, and takes away what nothing needs: all of them, where no model
    /// embeds memory any more.
    Keeps,
    /// It leaves that to another: a command that is over in a moment.
    #[default]
    Leaves,
}

/// How far the embedding of memory has come.
#[derive(Clone, Debug, PartialEq)]
pub struct MeaningStatus {
    /// The model.
    pub model: ModelName,
    /// What is kept of it.
    pub kept: MeaningsStatus,
    /// What goes on.
    pub state: BackfillState,
    /// Records a second, since it last had anything to do.
    pub per_second: f64,
}

/// What the worker does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BackfillState {
    /// It does not run in this process.
    #[default]
    Off,
    /// It embeds.
    Working,
    /// It waits for the model, or for the disk.
    Waiting {
        /// Why.
        reason: String,
    },
    /// Everything is embedded.
    UpToDate,
}

/// How the worker paces itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How often it looks for what is new.
    pub(crate) look_every: Duration,
    /// How often it looks for vectors that nothing needs.
    pub(crate) sweep_every: Duration,
    /// How long it leaves a model alone that does not answer: this, and twice as long each time.
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look_every: Duration::from_millis(500),
            sweep_every: Duration::from_secs(30),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
        }
    }
}

/// A model for memory, and what goes on between the two.
pub(crate) struct Meaning {
    model: ModelName,
    embedder: Arc<dyn Embedder>,
    queries: Queries,
    query_limit: Duration,
    pace: Pace,
    tasks: TaskTracker,
    stop: CancellationToken,
    shown: Mutex<Shown>,
}

/// What is shown of the worker.
#[derive(Default)]
struct Shown {
    state: BackfillState,
    per_second: f64,
    kept: MeaningsStatus,
}

impl Meaning {
    pub(crate) fn new(
        config: MeaningConfig,
        embedder: Arc<dyn Embedder>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            model: config.model,
            embedder,
            queries: Queries::default(),
            query_limit: config.query_limit,
            pace: Pace::default(),
            tasks,
            stop,
            shown: Mutex::default(),
        }
    }

    /// In a line, for people; as of a moment ago.
    fn line(&self) -> String {
        let shown = self.shown();
        let (model, kept) = (&self.model, &shown.kept);
        let of = format!("{} of {} records embedded by {model}", kept.done, kept.records);
        match &shown.state {
            BackfillState::Off | BackfillState::UpToDate => of,
            BackfillState::Working => format!("{of}, {:.0} a second", shown.per_second),
            BackfillState::Waiting { reason } => format!("{of}, waiting: {reason}"),
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // A std mutex: nothing awaits while it is held.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Memory that is searched by meaning as well.
    pub(crate) fn with_meaning(journal: Journal, meaning: Meaning) -> Self {
        Self { meaning: Some(Arc::new(meaning)), ..Self::new(journal) }
    }

    /// How far the embedding of memory has come; `None` where no model embeds it.
    ///
    /// # Errors
    /// [`MemoryFault::Store`].
    pub async fn meaning_status(&self) -> Result<Option<MeaningStatus>, MemoryFault> {
        let Some(meaning) = &self.meaning else { return Ok(None) };
        let journal = self.journal.clone();
        let read = tokio::task::spawn_blocking(move || journal.meanings()).await;
        let kept = read.map_err(|error| MemoryFault::Store { message: error.to_string() })??;
        let shown = meaning.shown();
        Ok(Some(MeaningStatus {
            model: meaning.model.clone(),
            kept,
            state: shown.state.clone(),
            per_second: shown.per_second,
        }))
    }

    /// How memory is searched, in a line for people.
    pub(crate) fn meaning_line(&self) -> String {
        let words_alone = || "searched by words alone: no embedding_model".to_owned();
        self.meaning.as_deref().map_or_else(words_alone, Meaning::line)
    }

    /// Embeds what has no vector, until it is stopped; drops all vectors where no model embeds
    /// memory.
    pub(crate) async fn keep_meanings(self) {
        match self.meaning {
            Some(meaning) => backfill::run(&meaning, &self.journal).await,
            None => match self.journal.forget_meanings().await {
                Ok(true) => {
                    tracing::info!("the vectors of memory were dropped: no embedding_model")
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "the vectors of memory were not dropped"),
            },
        }
    }
}
