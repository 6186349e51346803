//! The worker: embeds what has no vector, a portion at a time, namespace by namespace.
//!
//! Everything it knows of what is done is in the store, so a process that ends anywhere is gone
//! on with by the next, and at most one portion is asked for again. A model that does not
//! answer is left alone for longer and longer. Deliberately absent: more than one request at a
//! time, and any that is as urgent as somebody's who waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foreshore_domain::inference::{Embeddings, InferenceError, Step};
use foreshore_domain::memory::{Embedding, MemoryError};
use foreshore_store::memory::{Made, PendingText, Placed, TextDigest};
use foreshore_store::{Journal, ReadError};

use super::query::request;
use super::{BackfillState, Meaning, Urgency};

/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// How often its progress is counted while it works.
const COUNT_EVERY: Duration = Duration::from_millis(250);
/// A text that is refused is tried again with half of it, as long as that is no shorter.
const CUT_MIN_BYTES: usize = 256;
/// So many looks at the journal's end, it looks at the records all the same: views that are
/// rebuilt record nothing.
const LOOKS: u32 = 20;
/// Texts of one request: fewer where so many take longer than a request may.
const AT_ONCE_MAX: usize = 64;
/// What any model embeds: whether a refusal is of a text or of all texts.
const PLAIN: &str = "memory";
/// How often the vectors of one run may turn out to be of another length than before: more
/// often than once, two models take turns.
const RESTARTS_MAX: u32 = 1;

/// Why there is nothing to be done now.
struct Trouble {
    reason: String,
    retry_after: Option<Duration>,
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        Self { reason: error.to_string(), retry_after: None }
    }
}

impl From<InferenceError> for Trouble {
    fn from(error: InferenceError) -> Self {
        Self { retry_after: error.retry_after(), reason: error.to_string() }
    }
}

/// What came of a step.
enum Stepped {
    /// So many documents were placed.
    On(u32),
    /// Everything is.
    Done,
}

/// What a model made of texts, until it did not answer.
struct Answer {
    made: BTreeMap<TextDigest, Made>,
    /// The model that was asked for gave all of it, and none of its fallbacks.
    is_first_choice: bool,
    trouble: Option<Trouble>,
}

/// Texts of one request, by the names of the whole ones.
type Batch = Vec<(TextDigest, String)>;

/// One run of the worker.
struct Worker<'a> {
    meaning: &'a Meaning,
    journal: &'a Journal,
    /// The namespace that was last served.
    after: Option<u32>,
    /// How many texts the model is asked about at a time.
    at_once: usize,
    restarts: u32,
    spell: Option<Spell>,
    swept: (Instant, u64),
    /// What was last complained about.
    complaint: Option<String>,
}

/// A time in which there is something to do.
struct Spell {
    began: Instant,
    placed: u64,
    said: Instant,
    counted: Instant,
}

/// Embeds until it is stopped.
pub(super) async fn run(meaning: &Meaning, journal: &Journal) {
    let (after, restarts, spell, complaint) = (None, 0, None, None);
    let swept = (Instant::now(), 0);
    let at_once = AT_ONCE_MAX;
    let mut worker = Worker { meaning, journal, after, at_once, restarts, spell, swept, complaint };
    tokio::select! {
        () = meaning.stop.cancelled() => {}
        never = worker.work() => match never {},
    }
}

impl Worker<'_> {
    async fn work(&mut self) -> std::convert::Infallible {
        let pace = self.meaning.pace;
        let mut patience = pace.retry_min;
        let mut is_in_use = false;
        loop {
            // What is committed after this is looked at in the next round.
            let tip = self.journal.tip().seq;
            let stepped = match is_in_use {
                true => self.step().await,
                false => self.begin().await.map(|()| Stepped::On(0)),
            };
            match stepped {
                Ok(Stepped::On(placed)) => {
                    is_in_use = true;
                    patience = pace.retry_min;
                    self.placed(placed).await;
                }
                Ok(Stepped::Done) => {
                    patience = pace.retry_min;
                    self.rest(tip).await;
                }
                Err(trouble) => {
                    let wait = trouble.retry_after.map_or(patience, |after| after.max(patience));
                    patience = (patience * 2).min(pace.retry_max);
                    self.complain(trouble).await;
                    tokio::time::sleep(wait.min(pace.retry_max)).await;
                }
            }
        }
    }

    /// Puts the model in use, and drops what another one made.
    async fn begin(&mut self) -> Result<(), Trouble> {
        let model = &self.meaning.model;
        if self.journal.use_meanings_of(model, false).await? {
            tracing::info!(%model, "memory is embedded from nothing by this model");
        }
        Ok(())
    }

    async fn step(&mut self) -> Result<Stepped, Trouble> {
        let (journal, after) = (self.journal.clone(), self.after);
        let read = tokio::task::spawn_blocking(move || journal.pending_meanings(after)).await;
        let Some(pending) = read.map_err(|_| ReadError::NotOpen)?? else {
            return Ok(Stepped::Done);
        };
        self.after = Some(pending.space());
        let answer = self.ask(&pending.texts).await;
        let placed = self.journal.place_meanings(pending, answer.made).await?;
        match (placed, answer.trouble) {
            (Placed::OtherLength { kept }, _) => {
                self.start_anew(kept, answer.is_first_choice).await
            }
            (Placed::Documents(placed), Some(trouble)) => {
                self.placed(placed).await;
                Err(trouble)
            }
            (Placed::Stale, Some(trouble)) => Err(trouble),
            (Placed::Documents(placed), None) => Ok(Stepped::On(placed)),
            (Placed::Stale, None) => Ok(Stepped::On(0)),
        }
    }

    /// Asks the model about texts, many at once; those it refuses by halves.
    async fn ask(&mut self, texts: &[PendingText]) -> Answer {
        let mut answer = Answer { made: BTreeMap::new(), is_first_choice: true, trouble: None };
        let batch = |texts: &[PendingText]| -> Batch {
            texts.iter().map(|text| (text.digest, text.text.clone())).collect()
        };
        let mut waiting: Vec<Batch> = texts.rchunks(self.at_once).map(batch).collect();
        while let Some(mut batch) = waiting.pop() {
            let asked = self.embed(batch.iter().map(|(_, text)| text.clone()).collect()).await;
            let refusal = match asked {
                Ok(embedded) => {
                    self.at_once = (self.at_once + 1).min(AT_ONCE_MAX);
                    answer.is_first_choice &= embedded.served_by.step == Step::Primary;
                    match self.made(&batch, embedded) {
                        Ok(made) => answer.made.extend(made),
                        Err(trouble) => {
                            answer.trouble = Some(trouble);
                            break;
                        }
                    }
                    continue;
                }
                Err(error) if self.is_of_the_texts(&error).await => error,
                Err(error) => {
                    if matches!(error, InferenceError::TimedOut { .. }) {
                        self.at_once = (batch.len() / 2).max(1);
                    }
                    answer.trouble = Some(error.into());
                    break;
                }
            };
            if batch.len() > 1 {
                let second = batch.split_off(batch.len() / 2);
                waiting.extend([second, batch]);
                continue;
            }
            let Some((digest, text)) = batch.pop() else { continue };
            let half = text.floor_char_boundary(text.len() / 2);
            if half >= CUT_MIN_BYTES {
                waiting.push(vec![(digest, text[..half].to_owned())]);
            } else if self.embed(vec![PLAIN.to_owned()]).await.is_ok() {
                tracing::warn!(%refusal, "the embedding model refuses the text of a record");
                answer.made.insert(digest, Made::Refused);
            } else {
                // It would refuse whatever there is: that is no fact about the text.
                answer.trouble = Some(refusal.into());
                break;
            }
        }
        answer
    }

    /// Whether other texts would fare better. There are servers that fail at some.
    async fn is_of_the_texts(&self, error: &InferenceError) -> bool {
        match error {
            InferenceError::Invalid { .. } | InferenceError::ContextTooLong { .. } => true,
            InferenceError::Failed { .. } => self.embed(vec![PLAIN.to_owned()]).await.is_ok(),
            _ => false,
        }
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        let request = request(self.meaning.model.as_str(), texts);
        self.meaning.embedder.embed(request, Urgency::Background).await
    }

    fn made(
        &self,
        batch: &[(TextDigest, String)],
        embedded: Embeddings,
    ) -> Result<Vec<(TextDigest, Made)>, Trouble> {
        let trouble = |reason| Trouble { reason, retry_after: None };
        let model = &self.meaning.model;
        let (texts, vectors) = (batch.len(), embedded.vectors.len());
        if texts != vectors {
            return Err(trouble(format!("{model} gave {vectors} vectors for {texts} texts")));
        }
        let mut made = Vec::with_capacity(texts);
        for ((digest, _), vector) in batch.iter().zip(embedded.vectors) {
            match Embedding::new(model.clone(), vector) {
                Ok(vector) => made.push((*digest, Made::Vector(vector))),
                // It points nowhere: nothing is near to it.
                Err(MemoryError::Vector { .. }) => made.push((*digest, Made::Refused)),
                Err(error) => return Err(trouble(format!("{model}: {error}"))),
            }
        }
        Ok(made)
    }

    /// The model gives vectors of another length than it did: it is another one of that name.
    async fn start_anew(&mut self, kept: u32, is_first_choice: bool) -> Result<Stepped, Trouble> {
        let model = &self.meaning.model;
        if !is_first_choice || self.restarts >= RESTARTS_MAX {
            let reason = format!(
                "{model} gives vectors of another length than the {kept} numbers of those that are kept: its backends and fallbacks must have one and the same model"
            );
            return Err(Trouble { reason, retry_after: None });
        }
        tracing::warn!(%model, kept, "the model gives vectors of another length: memory is embedded anew");
        self.restarts += 1;
        self.journal.use_meanings_of(model, true).await?;
        self.meaning.queries.clear();
        Ok(Stepped::On(0))
    }

    /// Notes what was placed, shows it, and says so now and then.
    async fn placed(&mut self, placed: u32) {
        self.complaint = None;
        let now = Instant::now();
        let is_new = self.spell.is_none();
        let spell =
            self.spell.get_or_insert(Spell { began: now, placed: 0, said: now, counted: now });
        spell.placed += u64::from(placed);
        if !is_new && now - spell.counted < COUNT_EVERY {
            return;
        }
        spell.counted = now;
        let is_time = !is_new && now - spell.said >= SAY_EVERY;
        if is_time {
            spell.said = now;
        }
        self.show(BackfillState::Working).await;
        if is_time {
            tracing::info!("memory: {}", self.meaning.line());
        }
    }

    async fn complain(&mut self, trouble: Trouble) {
        let Trouble { reason, .. } = trouble;
        if self.complaint.as_ref() != Some(&reason) {
            tracing::warn!(%reason, "memory cannot be embedded now; search by words goes on");
            self.complaint = Some(reason.clone());
        }
        self.show(BackfillState::Waiting { reason }).await;
    }

    /// Waits until something was recorded after `tip`, but not for ever, and sweeps meanwhile.
    async fn rest(&mut self, tip: u64) {
        self.show(BackfillState::UpToDate).await;
        if self.spell.take().is_some_and(|spell| spell.placed > 0) {
            tracing::info!("memory: {}", self.meaning.line());
        }
        for _ in 0..LOOKS {
            let (when, seen) = self.swept;
            if seen != tip && when.elapsed() >= self.meaning.pace.sweep_every {
                self.swept = (Instant::now(), tip);
                while matches!(self.journal.sweep_meanings().await, Ok(true)) {}
            }
            // However much is recorded, it is looked at no more often than this.
            tokio::time::sleep(self.meaning.pace.look_every).await;
            if self.journal.tip().seq != tip {
                return;
            }
        }
    }

    async fn show(&self, state: BackfillState) {
        let journal = self.journal.clone();
        let counted = tokio::task::spawn_blocking(move || journal.meanings()).await;
        let mut shown = self.meaning.shown();
        if let Ok(Ok(kept)) = counted {
            shown.kept = kept;
        }
        let rate = self.spell.as_ref().map(Spell::per_second);
        shown.per_second = rate.unwrap_or(shown.per_second);
        shown.state = state;
    }
}

impl Spell {
    fn per_second(&self) -> f64 {
        let placed = u32::try_from(self.placed).map_or(f64::INFINITY, f64::from);
        placed / self.began.elapsed().as_secs_f64().max(0.001)
    }
}
