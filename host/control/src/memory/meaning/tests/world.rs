//! A model that does as it is told, and a host without anything else.

use std::sync::atomic::{AtomicUsize, Ordering};

use foreshore_domain::event::Tenant;
use foreshore_domain::inference::{ServedBy, Step, TimedOut, TokenUsage};
use foreshore_domain::memory::{Importance, JsonText, Key, Namespace, Origin, Tags};
use foreshore_store::JournalConfig;

use super::super::*;
use crate::memory::{Findings, Put, Search};

pub(super) const TENANT: Tenant = Tenant::DEFAULT;
/// How long what takes milliseconds may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const PACE: Pace = Pace {
    look_every: Duration::from_millis(2),
    sweep_every: Duration::from_millis(2),
    retry_min: Duration::from_millis(2),
    retry_max: Duration::from_millis(10),
};

/// What the model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Answers,
    Away,
    Stalls,
    /// Not in time, if it is asked about more than a few texts.
    Slow,
    /// As one that makes no vectors: it refuses whatever it is asked.
    RefusesAll,
}

/// A model that knows that a dog is a hound.
pub(super) struct Fake {
    mood: Mutex<Mood>,
    pub(super) columns: AtomicUsize,
    pub(super) step: Mutex<Step>,
    asked: Mutex<Vec<(Urgency, Vec<String>)>>,
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(Mood::Answers),
            columns: AtomicUsize::new(4),
            step: Mutex::new(Step::Primary),
            asked: Mutex::default(),
        })
    }

    pub(super) fn is(&self, mood: Mood) {
        *self.mood.lock().expect("whole") = mood;
    }

    /// The texts that were asked for behind the records, in order.
    pub(super) fn asked(&self, urgency: Urgency) -> Vec<String> {
        let asked = self.asked.lock().expect("whole");
        let of = asked.iter().filter(|(of, _)| *of == urgency);
        of.flat_map(|(_, texts)| texts.clone()).collect()
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; self.columns.load(Ordering::SeqCst)];
        for word in text.split(' ') {
            let at = match word {
                "dog" | "hound" => 0,
                "boat" | "vessel" => 1,
                _ => 2,
            };
            vector[at] += 1.0;
        }
        vector
    }

    async fn answer(
        &self,
        request: EmbedRequest,
        urgency: Urgency,
    ) -> Result<Embeddings, InferenceError> {
        self.asked.lock().expect("whole").push((urgency, request.texts.clone()));
        let mood = *self.mood.lock().expect("whole");
        let invalid = |message: &str| InferenceError::Invalid { message: message.to_owned() };
        match mood {
            Mood::Slow if request.texts.len() > 5 => {
                let (backend, what) = ("fake".to_owned(), TimedOut::Total);
                return Err(InferenceError::TimedOut { backend, what, limit_ms: 1 });
            }
            Mood::Answers | Mood::Slow => {}
            Mood::Away => {
                let (model, reason) = ("m".to_owned(), "its server is gone".to_owned());
                return Err(InferenceError::Unavailable { model, reason, retry_after_ms: None });
            }
            Mood::Stalls => std::future::pending().await,
            Mood::RefusesAll => return Err(invalid("this model does not support embeddings")),
        }
        if request.texts.iter().any(|text| text.contains("poison")) {
            return Err(invalid("a text is refused"));
        }
        if request.texts.iter().any(|text| text.contains("crash")) {
            let (backend, message) = ("fake".to_owned(), "unsupported value: NaN".to_owned());
            return Err(InferenceError::Failed { backend, message });
        }
        if request.texts.iter().any(|text| text.len() > 1_000) {
            let (model, message) = ("m".to_owned(), "too long".to_owned());
            return Err(InferenceError::ContextTooLong { model, message });
        }
        Ok(Embeddings {
            vectors: request.texts.iter().map(|text| self.vector(text)).collect(),
            served_by: ServedBy {
                backend: "fake".to_owned(),
                model: "m".to_owned(),
                step: *self.step.lock().expect("whole"),
            },
            usage: TokenUsage::default(),
        })
    }
}

impl Embedder for Fake {
    fn embed(
        &self,
        request: EmbedRequest,
        urgency: Urgency,
    ) -> BoxFuture<'_, Result<Embeddings, InferenceError>> {
        Box::pin(self.answer(request, urgency))
    }
}

pub(super) struct World {
    pub(super) memory: Memory,
    pub(super) fake: Arc<Fake>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    pub(super) fn new() -> Self {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
        Self::over(journal, Fake::new(), "m", PATIENCE)
    }

    /// A host over what another one left.
    pub(super) fn over(
        journal: Journal,
        fake: Arc<Fake>,
        model: &str,
        query_limit: Duration,
    ) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let model = ModelName::parse(model).expect("a name");
        let config = MeaningConfig { model, query_limit };
        let embedder: Arc<dyn Embedder> = fake.clone();
        let meaning = Meaning::new(config, embedder, tasks.clone(), stop.clone());
        let memory = Memory::with_meaning(journal, Meaning { pace: PACE, ..meaning });
        Self { memory, fake, tasks, stop }
    }

    pub(super) fn run(self) -> Self {
        self.tasks.spawn(self.memory.clone().keep_meanings());
        self
    }

    pub(super) async fn end(self) -> (Journal, Arc<Fake>) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("every task ends");
        (self.memory.journal.clone(), self.fake)
    }

    pub(super) async fn put(&self, key: &str, text: &str) -> u64 {
        let value = serde_json::Value::from(text).to_string();
        let put = Put {
            namespace: notes(),
            key: Key::parse(key).expect("a key"),
            value: JsonText::parse(value).expect("JSON"),
            tags: Tags::default(),
            importance: Importance::default(),
            ttl: None,
            origin: Origin::Person,
            embedding: None,
            expected_version: None,
        };
        self.memory.put(&TENANT, put).await.expect("written")
    }

    pub(super) async fn find(&self, text: &str) -> Findings {
        let search = Search { text: text.to_owned(), limit: 10, ..Search::default() };
        self.memory.search(&TENANT, &notes(), search).await.expect("searched")
    }

    pub(super) async fn status(&self) -> MeaningStatus {
        self.memory.meaning_status().await.expect("readable").expect("a model embeds memory")
    }

    /// Waits until the status is as wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&MeaningStatus) -> bool) -> MeaningStatus {
        let until = async {
            loop {
                let status = self.status().await;
                if wanted(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, until).await {
            Ok(status) => status,
            Err(_) => panic!("it stays {:?}", self.status().await),
        }
    }

    pub(super) async fn embedded(&self) -> MeaningStatus {
        let done = |status: &MeaningStatus| status.kept.done == status.kept.records;
        self.until(|status| done(status) && status.state == BackfillState::UpToDate).await
    }
}

pub(super) fn notes() -> Namespace {
    Namespace::parse("notes").expect("a namespace")
}

pub(super) fn keys(found: &Findings) -> Vec<&str> {
    found.hits.iter().map(|hit| hit.key.as_str()).collect()
}

pub(super) fn reason(status: &MeaningStatus) -> String {
    match &status.state {
        BackfillState::Waiting { reason } => reason.clone(),
        state => panic!("it does not wait: {state:?}"),
    }
}

pub(super) fn is_waiting(status: &MeaningStatus) -> bool {
    matches!(status.state, BackfillState::Waiting { .. })
}
