//! The worker and the queries, over a journal in memory and a model that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use foreshore_domain::event::Tenant;
use foreshore_domain::inference::{ServedBy, Step, TokenUsage};
use foreshore_domain::memory::{Importance, JsonText, Key, Namespace, Origin, Tags};
use foreshore_store::JournalConfig;
use foreshore_store::memory::{FoundBy, Method};

use super::*;
use crate::memory::{Findings, Put, Search};

const TENANT: Tenant = Tenant::DEFAULT;
/// How long what takes milliseconds may take.
const PATIENCE: Duration = Duration::from_secs(30);
const PACE: Pace = Pace {
    look_every: Duration::from_millis(2),
    sweep_every: Duration::from_millis(2),
    retry_min: Duration::from_millis(2),
    retry_max: Duration::from_millis(10),
};

/// What the model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Answers,
    Away,
    Stalls,
    /// As one that makes no vectors: it refuses whatever it is asked.
    RefusesAll,
}

/// A model that knows that a dog is a hound.
struct Fake {
    mood: Mutex<Mood>,
    columns: AtomicUsize,
    step: Mutex<Step>,
    asked: Mutex<Vec<(Urgency, Vec<String>)>>,
}

impl Fake {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(Mood::Answers),
            columns: AtomicUsize::new(4),
            step: Mutex::new(Step::Primary),
            asked: Mutex::default(),
        })
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().expect("whole") = mood;
    }

    /// The texts that were asked for behind the records, in order.
    fn asked(&self, urgency: Urgency) -> Vec<String> {
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
            Mood::Answers => {}
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

struct World {
    memory: Memory,
    fake: Arc<Fake>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    fn new() -> Self {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
        Self::over(journal, Fake::new(), "m", PATIENCE)
    }

    /// A host over what another one left.
    fn over(journal: Journal, fake: Arc<Fake>, model: &str, query_limit: Duration) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let model = ModelName::parse(model).expect("a name");
        let config = MeaningConfig { model, query_limit };
        let embedder: Arc<dyn Embedder> = fake.clone();
        let meaning = Meaning::new(config, embedder, tasks.clone(), stop.clone());
        let memory = Memory::with_meaning(journal, Meaning { pace: PACE, ..meaning });
        Self { memory, fake, tasks, stop }
    }

    fn run(self) -> Self {
        self.tasks.spawn(self.memory.clone().keep_meanings());
        self
    }

    async fn end(self) -> (Journal, Arc<Fake>) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("every task ends");
        (self.memory.journal.clone(), self.fake)
    }

    async fn put(&self, key: &str, text: &str) -> u64 {
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

    async fn find(&self, text: &str) -> Findings {
        let search = Search { text: text.to_owned(), limit: 10, ..Search::default() };
        self.memory.search(&TENANT, &notes(), search).await.expect("searched")
    }

    async fn status(&self) -> MeaningStatus {
        self.memory.meaning_status().await.expect("readable").expect("a model embeds memory")
    }

    /// Waits until the status is as wanted.
    async fn until(&self, wanted: impl Fn(&MeaningStatus) -> bool) -> MeaningStatus {
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

    async fn embedded(&self) -> MeaningStatus {
        let done = |status: &MeaningStatus| status.kept.done == status.kept.records;
        self.until(|status| done(status) && status.state == BackfillState::UpToDate).await
    }
}

fn notes() -> Namespace {
    Namespace::parse("notes").expect("a namespace")
}

fn keys(found: &Findings) -> Vec<&str> {
    found.hits.iter().map(|hit| hit.key.as_str()).collect()
}

fn reason(status: &MeaningStatus) -> String {
    match &status.state {
        BackfillState::Waiting { reason } => reason.clone(),
        state => panic!("it does not wait: {state:?}"),
    }
}

fn is_waiting(status: &MeaningStatus) -> bool {
    matches!(status.state, BackfillState::Waiting { .. })
}

#[tokio::test]
async fn what_was_there_and_what_comes_is_embedded_and_found_by_what_it_means() {
    let world = World::new();
    world.put("a", "hound").await;
    world.put("b", "boat").await;
    let world = world.run();
    assert_eq!(world.embedded().await.kept.done, 2);
    world.put("c", "vessel").await;
    world.until(|status| status.kept.done == 3).await;
    let found = world.find("dog").await;
    assert_eq!((keys(&found), found.method), (vec!["a"], Method::Hybrid));
    assert_eq!((found.hits[0].found_by, &found.degraded), (FoundBy::Meaning, &None));
    assert_eq!(keys(&world.find("boat").await), ["b", "c"]);
    assert_eq!(world.find("boat").await.hits[0].found_by, FoundBy::Both);
    // A query that was asked before is not asked again.
    assert_eq!(world.fake.asked(Urgency::Waited), ["dog", "boat"]);
    assert_eq!(world.fake.asked(Urgency::Background), ["hound", "boat", "vessel"]);
    world.end().await;
}

#[tokio::test]
async fn equal_texts_are_asked_for_once_also_by_the_next_host() {
    let world = World::new().run();
    for key in ["a", "b", "c"] {
        world.put(key, "hound").await;
    }
    world.embedded().await;
    world.put("a", "hound").await;
    world.put("d", "  hound\n").await;
    world.until(|status| status.kept.done == 4).await;
    let (journal, fake) = world.end().await;
    let world = World::over(journal, fake, "m", PATIENCE).run();
    world.put("e", "hound").await;
    world.until(|status| status.kept.done == 5).await;
    assert_eq!(world.fake.asked(Urgency::Background), ["hound"]);
    world.end().await;
}

#[tokio::test]
async fn a_model_that_is_away_delays_no_write_and_no_search_and_is_asked_again_when_it_is_back() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.is(Mood::Away);
    assert_eq!(world.put("b", "vessel").await, 1);
    let status = world.until(is_waiting).await;
    assert!(reason(&status).contains("its server is gone"), "{status:?}");
    assert_eq!((status.kept.done, status.kept.records), (1, 2));
    assert!(
        world.memory.meaning_line().contains("1 of 2 records"),
        "{}",
        world.memory.meaning_line()
    );

    let found = world.find("hound dog").await;
    assert_eq!((keys(&found), found.method), (vec!["a"], Method::Lexical));
    assert_eq!(found.hits[0].found_by, FoundBy::Words);
    assert!(found.degraded.expect("it says so").contains("its server is gone"));

    world.fake.is(Mood::Answers);
    world.embedded().await;
    let found = world.find("boat").await;
    assert_eq!((keys(&found), &found.degraded), (vec!["b"], &None));
    world.end().await;
}

#[tokio::test]
async fn a_query_waits_so_long_and_its_answer_is_kept_for_the_next() {
    let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
    let world = World::over(journal, Fake::new(), "m", Duration::from_millis(20)).run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.is(Mood::Stalls);
    let found = world.find("dog").await;
    assert_eq!((found.hits.len(), found.method), (0, Method::Lexical));
    let said = found.degraded.expect("it says so");
    assert_eq!(said, "m took longer than 20 ms for the query");
    // What stalls for ever holds up neither the end of the host nor, past a bound, other searches.
    for n in 0..15 {
        world.find(&format!("dog {n}")).await;
    }
    let said = world.find("dog and dog").await.degraded.expect("it says so");
    assert_eq!(said, "16 searches wait for m already");
    world.end().await;
}

#[tokio::test]
async fn a_stalled_worker_ends_with_its_host_and_the_next_goes_on_where_it_was() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.is(Mood::Stalls);
    world.put("b", "vessel").await;
    let fake = world.fake.clone();
    let asked = async {
        while fake.asked(Urgency::Background).len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is asked");
    let (journal, fake) = world.end().await;
    fake.is(Mood::Answers);
    let world = World::over(journal, fake, "m", PATIENCE).run();
    world.embedded().await;
    assert_eq!(world.fake.asked(Urgency::Background), ["hound", "vessel", "vessel"]);
    world.end().await;
}

#[tokio::test]
async fn another_model_embeds_everything_anew_and_no_model_drops_it() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    let (journal, fake) = world.end().await;
    let world = World::over(journal, fake, "other", PATIENCE).run();
    let status = world.embedded().await;
    assert_eq!(status.kept.model.expect("a model").as_str(), "other");
    assert_eq!(world.fake.asked(Urgency::Background), ["hound", "hound"]);
    let (journal, _) = world.end().await;
    Memory::new(journal.clone()).keep_meanings().await;
    let kept = journal.meanings().expect("readable");
    assert_eq!((kept.model, kept.done, kept.records), (None, 0, 1));
}

#[tokio::test]
async fn vectors_of_another_length_are_another_model_once_and_then_a_fault() {
    let world = World::new().run();
    world.put("a", "hound").await;
    assert_eq!(world.embedded().await.kept.columns, 4);
    world.fake.columns.store(6, Ordering::SeqCst);
    world.put("b", "vessel").await;
    assert_eq!(world.until(|status| status.kept.done == 2).await.kept.columns, 6);
    assert_eq!(keys(&world.find("dog").await), ["a"]);
    world.fake.columns.store(5, Ordering::SeqCst);
    world.put("c", "boat").await;
    let status = world.until(is_waiting).await;
    assert!(reason(&status).contains("must have one and the same model"), "{status:?}");
    assert_eq!((status.kept.done, status.kept.columns), (2, 6), "what is kept stays");
    world.end().await;
}

#[tokio::test]
async fn a_fallback_of_another_length_never_takes_the_place_of_what_is_kept() {
    let world = World::new().run();
    world.put("a", "hound").await;
    world.embedded().await;
    world.fake.columns.store(6, Ordering::SeqCst);
    *world.fake.step.lock().expect("whole") = Step::Fallback;
    world.put("b", "vessel").await;
    let status = world.until(is_waiting).await;
    assert_eq!((status.kept.done, status.kept.columns), (1, 4));
    let found = world.find("dog").await;
    assert_eq!(found.method, Method::Lexical, "its vector cannot be compared");
    world.end().await;
}

#[tokio::test]
async fn a_text_that_is_refused_is_left_alone_and_one_that_is_too_long_is_cut() {
    let world = World::new();
    world.put("a", "hound").await;
    world.put("b", "a poison").await;
    world.put("c", &format!("vessel {}", "x ".repeat(2_000))).await;
    world.put("d", "boat").await;
    let world = world.run();
    let status = world.embedded().await;
    assert_eq!((status.kept.done, status.kept.refused), (4, 1));
    assert!(keys(&world.find("boat").await).contains(&"c"));
    let asked = world.fake.asked(Urgency::Background).len();
    world.put("e", "dog").await;
    world.until(|status| status.kept.done == 5).await;
    assert_eq!(world.fake.asked(Urgency::Background).len(), asked + 1, "nothing is asked again");
    world.end().await;
}

#[tokio::test]
async fn a_model_that_refuses_everything_marks_no_text_as_refused() {
    let world = World::new();
    world.fake.is(Mood::RefusesAll);
    world.put("a", "hound").await;
    let world = world.run();
    let status = world.until(is_waiting).await;
    assert!(reason(&status).contains("does not support embeddings"), "{status:?}");
    assert_eq!((status.kept.done, status.kept.refused), (0, 0));
    world.fake.is(Mood::Answers);
    world.embedded().await;
    world.end().await;
}

#[tokio::test]
async fn vectors_of_deleted_records_are_swept() {
    let world = World::new().run();
    for (key, text) in [("a", "hound"), ("b", "vessel")] {
        world.put(key, text).await;
    }
    world.embedded().await;
    let key = Key::parse("a").expect("a key");
    let deleted = world.memory.delete(&TENANT, notes(), key, Origin::Person, None).await;
    assert_eq!(deleted.expect("deleted"), Some(2));
    // When it is gone it is asked for again; before, it would not be.
    let mut asked = 0;
    for round in 0..10_000 {
        world.put("c", "hound").await;
        world
            .until(|status| status.kept.done == 2 || status.kept.done == status.kept.records)
            .await;
        asked = world.fake.asked(Urgency::Background).len();
        if asked > 2 {
            break;
        }
        let key = Key::parse("c").expect("a key");
        world.memory.delete(&TENANT, notes(), key, Origin::Person, None).await.expect("deleted");
        tokio::time::sleep(Duration::from_millis(round.min(50))).await;
    }
    assert_eq!(asked, 3);
    world.end().await;
}

#[tokio::test]
async fn the_views_are_rebuilt_without_asking_the_model_again() {
    let world = World::new().run();
    for n in 0..100 {
        world.put(&format!("k{n}"), &format!("hound {n}")).await;
    }
    world.embedded().await;
    let asked = world.fake.asked(Urgency::Background).len();
    assert_eq!(asked, 100);
    world.memory.journal.rebuild(|_| {}).await.expect("rebuilt");
    world.memory.journal.check().await.expect("passes its check");
    world.until(|status| status.kept.done == 100).await;
    assert_eq!(world.fake.asked(Urgency::Background).len(), asked);
    assert_eq!(world.find("dog").await.hits.len(), 10);
    world.end().await;
}
