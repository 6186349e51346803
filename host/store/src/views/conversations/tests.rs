//! Conversations as a host records them, read back.

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::conversation::{
    Conversation, ConversationChanged, ConversationCreated, ConversationDeleted,
    ConversationSummarized, EffectDigest, Excerpt, Fact, ForkedFrom, Name, Payload, Seed,
    SummaryText, Title, TurnEffect, TurnEnd, TurnEnded, TurnQueued, TurnResumed, TurnSettings,
    TurnStarted, TurnUsage, TurnWaiting, Until,
};
use foreshore_domain::event::Tenant;
use foreshore_domain::id::TurnId;
use foreshore_domain::memory::{Blob as BlobValue, JsonText, JsonType, ValueRef, VariableName};
use foreshore_domain::variables::VariableSet;

use super::*;
use crate::commit::{Blob, Commit, Committed};
use crate::error::AppendError;
use crate::facts::JournalConfig;
use crate::journal::Journal;

mod properties;

struct Fixture {
    journal: Journal,
    at_unix_ms: u64,
}

fn id(name: &str) -> Conversation {
    Conversation::parse(name).expect("a conversation")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// A message of a person; one that starts with `#` is too large for an event.
fn message(text: &str) -> (Payload, Option<Blob>) {
    let room = if text.starts_with('#') { 20_000 } else { 0 };
    let json = format!("[{:?}]", format!("{text}{}", " ".repeat(room)));
    crate::pack(json, Excerpt::cut(text))
}

impl Fixture {
    fn new() -> Self {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        Self { journal, at_unix_ms: 1_000 }
    }

    async fn record(
        &mut self,
        fact: impl Fact,
        blobs: impl IntoIterator<Item = Blob>,
    ) -> Result<Committed, AppendError> {
        self.at_unix_ms += 1;
        let events = vec![fact.event(self.at_unix_ms, Tenant::DEFAULT)];
        let blobs = blobs.into_iter().collect();
        self.journal.commit(Commit { events, conditions: Vec::new(), blobs }).await
    }

    async fn ok(&mut self, fact: impl Fact) {
        self.record(fact, None).await.expect("recorded");
    }

    async fn create(&mut self, conversation: &str, agent: &str) {
        self.ok(created(conversation, agent)).await;
    }

    async fn queue(&mut self, conversation: &str, number: u64, text: &str) -> TurnId {
        let turn = TurnId::new(self.at_unix_ms);
        let (queued, blob) = queued(turn, conversation, number, text);
        self.record(queued, blob).await.expect("recorded");
        turn
    }

    async fn end(&mut self, turn: TurnId, conversation: &str, number: u64, text: &str) {
        let (ended, blob) = ended(turn, conversation, number, text);
        self.record(ended, blob).await.expect("recorded");
    }

    /// A turn from its message to its reply.
    async fn turn(&mut self, conversation: &str, number: u64, asked: &str, said: &str) -> TurnId {
        let turn = self.queue(conversation, number, asked).await;
        self.ok(started(turn)).await;
        self.end(turn, conversation, number, said).await;
        turn
    }

    /// An effect whose outcome is a blob of its own.
    async fn effect(&mut self, turn: TurnId, text: &str) -> Result<BlobDigest, AppendError> {
        let (request, _) = crate::pack("{}".to_owned(), Excerpt::default());
        let (outcome, blob) = message(&format!("#{text}"));
        let digest = outcome.digest().expect("large");
        let effect = TurnEffect {
            turn,
            number: 0,
            effect: name("infer"),
            digest: EffectDigest::from_bytes([1; 32]),
            request,
            outcome,
            at_unix_ms: 1,
            blobs: Vec::new(),
        };
        self.record(effect, blob).await.map(|_| digest)
    }

    async fn set(&mut self, conversation: &str, variable: &str, value: u64) {
        let value = ValueRef::Inline(JsonText::parse(value.to_string()).expect("JSON"));
        self.set_to(conversation, variable, value, None).await.expect("recorded");
    }

    /// Sets a variable to a text that a blob holds.
    async fn set_large(&mut self, conversation: &str, variable: &str, text: &str) -> BlobDigest {
        let blob = Blob::new(format!("{text:?}").into_bytes());
        let digest = blob.digest();
        let value = ValueRef::Blob(BlobValue {
            digest,
            size_bytes: 40_000,
            json_type: JsonType::String,
            text: text.to_owned(),
        });
        self.set_to(conversation, variable, value, Some(blob)).await.expect("recorded");
        digest
    }

    async fn set_to(
        &mut self,
        conversation: &str,
        variable: &str,
        value: ValueRef,
        blob: Option<Blob>,
    ) -> Result<Committed, AppendError> {
        let set = VariableSet {
            conversation: id(conversation),
            name: VariableName::parse(variable).expect("a name"),
            value,
            blobs: blob.iter().map(Blob::digest).collect(),
        };
        let event = foreshore_domain::event::NewEvent {
            at_unix_ms: self.at_unix_ms,
            tenant: Tenant::DEFAULT,
            stream: foreshore_domain::event::Stream::Conversation(conversation.to_owned()),
            kind: foreshore_domain::event::EventKind::VariableSet,
            payload: serde_json::to_vec(&set).expect("JSON"),
        };
        let blobs = blob.into_iter().collect();
        self.journal.commit(Commit { events: vec![event], conditions: Vec::new(), blobs }).await
    }

    /// The blobs that hold the kept versions of a variable.
    fn blobs_of(&self, conversation: &str, variable: &str) -> Vec<BlobDigest> {
        let reader = self.journal.variables(&Tenant::DEFAULT, &id(conversation));
        let versions = reader.expect("readable").versions(variable, usize::MAX).expect("readable");
        let digest = |variable: crate::variables::Variable| match variable.value {
            ValueRef::Inline(_) => None,
            ValueRef::Blob(blob) => Some(blob.digest),
        };
        versions.into_iter().filter_map(digest).collect()
    }

    fn reader(&self) -> ConversationsReader {
        self.journal.conversations(&Tenant::DEFAULT).expect("readable")
    }

    fn variable(&self, conversation: &str, variable: &str) -> Option<String> {
        let reader = self.journal.variables(&Tenant::DEFAULT, &id(conversation));
        let found = reader.expect("readable").get(variable, None).expect("readable");
        found.map(|variable| match variable.value {
            ValueRef::Inline(json) => json.as_str().to_owned(),
            ValueRef::Blob(blob) => blob.text,
        })
    }

    fn listed(&self, filter: ConversationFilter<'_>) -> Vec<String> {
        let page = self.reader().list(filter, None, 100).expect("readable");
        page.conversations.iter().map(|entry| entry.conversation.to_string()).collect()
    }

    fn found(&self, words: &str, agent: Option<&str>) -> Vec<(String, FoundIn)> {
        let hits = self.reader().search(words, agent, 100, self.at_unix_ms).expect("readable");
        let mut found: Vec<_> =
            hits.into_iter().map(|hit| (hit.conversation.to_string(), hit.found_in)).collect();
        found.sort_by_key(|(conversation, found_in)| {
            (conversation.clone(), format!("{found_in:?}"))
        });
        found
    }

    fn has(&self, digest: BlobDigest) -> bool {
        self.journal.has_blob(&digest).expect("readable")
    }

    async fn refused(&mut self, fact: impl Fact, why: &str) {
        let before = crate::tests::views::dump(&self.journal);
        let refused = self.record(fact, None).await;
        let Err(AppendError::Invalid { message, .. }) = refused else { panic!("{refused:?}") };
        assert!(message.contains(why), "{message}");
        assert_eq!(crate::tests::views::dump(&self.journal), before);
    }
}

fn created(conversation: &str, agent: &str) -> ConversationCreated {
    let (conversation, agent) = (id(conversation), name(agent));
    ConversationCreated { conversation, agent, title: None, forked_from: None, delegated_by: None }
}

fn fork(conversation: &str, from: &str, through_turn: u64) -> ConversationCreated {
    let forked_from = Some(ForkedFrom { conversation: id(from), through_turn });
    ConversationCreated { forked_from, ..created(conversation, "assistant") }
}

fn deleted(conversation: &str) -> ConversationDeleted {
    ConversationDeleted { conversation: id(conversation) }
}

fn queued(turn: TurnId, conversation: &str, number: u64, text: &str) -> (TurnQueued, Option<Blob>) {
    let (message, blob) = message(text);
    let queued = TurnQueued {
        turn,
        conversation: id(conversation),
        number,
        agent: name("assistant"),
        message,
        history: None,
        parameters: None,
        budget: None,
        delegated_by: None,
        asked_by: None,
        blobs: Vec::new(),
    };
    (queued, blob)
}

fn started(turn: TurnId) -> TurnStarted {
    TurnStarted {
        turn,
        component: name("assistant@0.1.0"),
        digest: name("sha256:00"),
        seed: Seed::from_bytes([7; 32]),
        began_at_unix_ms: 77,
        settings: TurnSettings::default(),
    }
}

fn ended(turn: TurnId, conversation: &str, number: u64, text: &str) -> (TurnEnded, Option<Blob>) {
    let (reply, blob) = message(text);
    let ended = TurnEnded {
        turn,
        conversation: id(conversation),
        number,
        end: TurnEnd::Completed,
        reply: Some(reply),
        finish: None,
        error: None,
        usage: TurnUsage { fuel: 5, ..TurnUsage::default() },
        served_by: None,
        blobs: Vec::new(),
    };
    (ended, blob)
}

#[tokio::test]
async fn a_turn_is_what_its_events_say_at_each_of_them() {
    let mut fixture = Fixture::new();
    fixture.create("c", "assistant").await;
    let turn = fixture.queue("c", 0, "hello there").await;
    let state = |fixture: &Fixture| {
        let entry = fixture.reader().turn(turn).expect("readable").expect("there");
        let open = fixture.journal.open_turns().expect("readable");
        let open: Vec<TurnState> = open.iter().map(|(_, open)| open.state).collect();
        match entry.state {
            TurnState::Ended(_) => assert!(open.is_empty()),
            state => assert_eq!(open, [state]),
        }
        entry.state
    };
    assert_eq!(state(&fixture), TurnState::Queued);
    fixture.ok(started(turn)).await;
    assert_eq!(state(&fixture), TurnState::Running);
    let until = Until::AtUnixMs(9_000);
    fixture.ok(TurnWaiting { turn, number: 3, until }).await;
    assert_eq!(state(&fixture), TurnState::Waiting(until));
    fixture.ok(TurnResumed { turn, effects: 3 }).await;
    assert_eq!(state(&fixture), TurnState::Running);
    fixture.end(turn, "c", 0, "good day").await;
    assert_eq!(state(&fixture), TurnState::Ended(TurnEnd::Completed));
    let entry = fixture.reader().turn(turn).expect("readable").expect("there");
    assert_eq!((entry.began_at_unix_ms, entry.usage.fuel), (Some(77), 5));
    assert_eq!(entry.component, Some(name("assistant@0.1.0")));
    let conversation = fixture.reader().get(&id("c")).expect("readable").expect("there");
    assert_eq!((conversation.turns, conversation.open_turns), (1, 0));
    assert_eq!(conversation.last_excerpt.as_str(), "good day");
    let record = fixture.journal.turn_record(&Tenant::DEFAULT, turn, 0, 10).expect("readable");
    let kinds: Vec<&str> = record.iter().map(|event| &*event.kind).collect();
    assert_eq!(kinds, ["turn.started", "turn.waiting", "turn.resumed"]);

    fixture.refused(started(turn), "there is no open turn").await;
    fixture.refused(queued(turn, "c", 1, "again").0, "already").await;
    fixture.refused(queued(TurnId::new(9), "c", 0, "again").0, "the next turn").await;
    fixture.refused(queued(TurnId::new(9), "x", 0, "again").0, "there is no conversation x").await;
    fixture.refused(created("c", "assistant"), "already").await;
}

#[tokio::test]
async fn conversations_are_listed_by_what_happened_last_and_paged() {
    let mut fixture = Fixture::new();
    for (conversation, agent) in [("a", "planner"), ("b", "assistant"), ("c", "assistant")] {
        fixture.create(conversation, agent).await;
    }
    fixture.turn("a", 0, "one", "two").await;
    assert_eq!(fixture.listed(ConversationFilter::default()), ["a", "c", "b"]);
    let (title, archived) = (Title::cut("Renamed"), Some(true));
    fixture.ok(ConversationChanged { conversation: id("b"), title, archived }).await;
    assert_eq!(fixture.listed(ConversationFilter::default()), ["b", "a", "c"]);
    let of = |agent, archived| ConversationFilter { agent, archived, delegated: None };
    assert_eq!(fixture.listed(of(Some("assistant"), None)), ["b", "c"]);
    assert_eq!(fixture.listed(of(Some("assistant"), Some(false))), ["c"]);
    assert_eq!(fixture.listed(of(None, Some(true))), ["b"]);
    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = fixture.reader().list(ConversationFilter::default(), before, 1);
        let page = page.expect("readable");
        paged.extend(page.conversations.iter().map(|entry| entry.conversation.to_string()));
        let Some(next) = page.next_before else { break };
        before = Some(next);
    }
    assert_eq!(paged, ["b", "a", "c"]);
}

#[tokio::test]
async fn conversations_that_a_turn_began_are_told_from_others() {
    let mut fixture = Fixture::new();
    fixture.create("a", "planner").await;
    let delegated_by = Some(TurnId::new(7));
    fixture.ok(ConversationCreated { delegated_by, ..created("b", "assistant") }).await;
    let of = |delegated| ConversationFilter { delegated, ..ConversationFilter::default() };
    assert_eq!(fixture.listed(of(None)), ["b", "a"]);
    assert_eq!(fixture.listed(of(Some(false))), ["a"]);
    assert_eq!(fixture.listed(of(Some(true))), ["b"]);
    let entry = fixture.reader().get(&id("b")).expect("readable").expect("there");
    assert_eq!(entry.delegated_by, delegated_by);
}

#[tokio::test]
async fn turns_are_read_from_either_end() {
    let mut fixture = Fixture::new();
    fixture.create("c", "assistant").await;
    for number in 0..5 {
        fixture.turn("c", number, "question", "answer").await;
    }
    let numbers = |order, limit| -> Vec<u64> {
        let turns = fixture.reader().turns(&id("c"), order, limit).expect("readable");
        turns.iter().map(|turn| turn.number).collect()
    };
    assert_eq!(numbers(TurnOrder::From(1), 2), [1, 2]);
    assert_eq!(numbers(TurnOrder::Before(u64::MAX), 2), [4, 3]);
    assert_eq!(numbers(TurnOrder::Before(3), 9), [2, 1, 0]);
}

#[tokio::test]
async fn what_was_said_is_found_with_its_place_and_gone_with_its_conversation() {
    let mut fixture = Fixture::new();
    fixture.create("c1", "assistant").await;
    fixture.create("c2", "planner").await;
    fixture.turn("c1", 0, "where does the heron nest", "near the estuary").await;
    fixture.turn("c2", 0, "estuary tides", "twice a day").await;
    let title = Title::cut("Herons of the coast");
    let conversation = id("c2");
    fixture.ok(ConversationChanged { conversation, title, archived: None }).await;
    let at = |conversation: &str, found_in| (conversation.to_owned(), found_in);
    assert_eq!(
        fixture.found("ESTUARY", None),
        [at("c1", FoundIn::Reply(0)), at("c2", FoundIn::Message(0))]
    );
    assert_eq!(fixture.found("herons", None), [at("c2", FoundIn::Title)]);
    // Neither ids nor numbers nor agents are what anybody said.
    for word in ["c1", "0", "m0", "t", "assistant", "planner"] {
        assert_eq!(fixture.found(word, None), [], "{word}");
    }
    assert_eq!(fixture.found("herons", Some("planner")), [at("c2", FoundIn::Title)]);
    assert_eq!(fixture.found("herons", Some("assistant")), []);
    let title = Title::cut("Tides");
    fixture.ok(ConversationChanged { conversation: id("c2"), title, archived: None }).await;
    assert_eq!(fixture.found("herons", None), []);
    let hits = fixture.reader().search("nest", None, 10, 0).expect("readable");
    assert_eq!(hits[0].snippet.text, "where does the heron nest");
    fixture.ok(deleted("c1")).await;
    assert_eq!(fixture.found("estuary", None), [at("c2", FoundIn::Message(0))]);
    assert_eq!(fixture.reader().get(&id("c1")).expect("readable"), None);
}

#[tokio::test]
async fn a_fork_has_the_turns_and_variables_up_to_its_turn_and_outlives_what_it_came_from() {
    let mut fixture = Fixture::new();
    fixture.create("a", "assistant").await;
    fixture.set("a", "plan", 1).await;
    let first = fixture.turn("a", 0, "#long question", "#long answer").await;
    fixture.set("a", "plan", 2).await;
    fixture.set("a", "later", 3).await;
    let text = SummaryText::cut("so far");
    let through_turn = 1;
    fixture.turn("a", 1, "#second", "fine").await;
    fixture.ok(ConversationSummarized { conversation: id("a"), text, through_turn }).await;
    let effect = fixture.effect(first, "effect").await.expect("recorded");

    fixture.ok(fork("b", "a", 0)).await;
    fixture.ok(fork("c", "b", 0)).await;
    fixture.ok(fork("d", "a", 1)).await;
    for (conversation, turns, plan, later) in
        [("b", 1, "1", None), ("c", 1, "1", None), ("d", 2, "2", Some("3"))]
    {
        let entry = fixture.reader().get(&id(conversation)).expect("readable").expect("there");
        assert_eq!((entry.turns, entry.open_turns), (turns, 0));
        assert_eq!(fixture.variable(conversation, "plan").as_deref(), Some(plan));
        assert_eq!(fixture.variable(conversation, "later").as_deref(), later);
        let summary = fixture.reader().summary(&id(conversation)).expect("readable");
        assert_eq!(summary.is_some(), conversation == "d");
    }
    assert_eq!(fixture.found("question", None).len(), 4);
    fixture.ok(deleted("a")).await;
    fixture.ok(deleted("b")).await;
    assert!(!fixture.has(effect), "what the deleted turn did is gone");
    assert_eq!(fixture.variable("a", "plan"), None);
    let turns = fixture.reader().turns(&id("c"), TurnOrder::From(0), 9).expect("readable");
    let reply = turns[0].reply.clone().expect("a reply");
    let json = fixture.journal.payload(&reply).expect("readable").expect("there");
    assert!(json.starts_with("[\"#long answer"));
    assert_eq!(fixture.found("question", None).len(), 2);
    // The fork goes on by itself.
    fixture.turn("c", 1, "and now", "this").await;
    fixture.ok(deleted("c")).await;
    assert!(fixture.has(reply.digest().expect("a blob")), "the other fork needs it");
    fixture.ok(deleted("d")).await;
    assert!(!fixture.has(reply.digest().expect("a blob")));
    let stats = fixture.journal.check().await.expect("passes its check");
    assert_eq!(stats.blobs, 0);
}

#[tokio::test]
async fn a_large_variable_goes_with_the_last_conversation_that_has_it() {
    let mut fixture = Fixture::new();
    fixture.create("a", "assistant").await;
    let chart = fixture.set_large("a", "chart", "a reef").await;
    fixture.turn("a", 0, "hello", "hello").await;
    let later = fixture.set_large("a", "chart", "a wreck").await;
    assert_eq!(fixture.blobs_of("a", "chart"), [later, chart]);
    fixture.ok(fork("b", "a", 0)).await;
    assert_eq!(fixture.blobs_of("b", "chart"), [chart], "as it stood then");

    fixture.ok(deleted("a")).await;
    assert!(fixture.has(chart), "the fork has it");
    assert!(!fixture.has(later), "nobody else had it");
    assert_eq!(fixture.variable("b", "chart").as_deref(), Some("a reef"));
    fixture.ok(deleted("b")).await;
    assert!(!fixture.has(chart));
    assert_eq!(fixture.journal.check().await.expect("passes its check").blobs, 0);
}

#[tokio::test]
async fn a_version_of_a_variable_that_is_kept_no_longer_gives_its_blob_back() {
    let mut fixture = Fixture::new();
    fixture.create("a", "assistant").await;
    let first = fixture.set_large("a", "chart", "a reef").await;
    let again = fixture.set_large("a", "chart", "a reef").await;
    assert_eq!(first, again, "two versions need one blob");
    for n in 3..=crate::variables::VERSIONS_KEPT {
        fixture.set("a", "chart", n).await;
    }
    for (version, is_there) in [(101, true), (102, false)] {
        assert!(fixture.has(first));
        fixture.set("a", "chart", version).await;
        assert_eq!(fixture.has(first), is_there, "at version {version}");
    }
}

#[tokio::test]
async fn a_variable_whose_list_of_blobs_is_not_that_of_its_value_is_refused() {
    let mut fixture = Fixture::new();
    fixture.create("a", "assistant").await;
    let value = ValueRef::Inline(JsonText::parse("1").expect("JSON"));
    let blob = Blob::new(b"2".to_vec());
    let refused = fixture.set_to("a", "chart", value, Some(blob)).await;
    let Err(AppendError::Invalid { message, .. }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("its blobs are not that of its value"), "{message}");
}

#[tokio::test]
async fn a_conversation_with_an_open_turn_is_neither_deleted_nor_forked_there() {
    let mut fixture = Fixture::new();
    fixture.create("a", "assistant").await;
    let turn = fixture.queue("a", 0, "hello").await;
    fixture.refused(deleted("a"), "have not ended").await;
    fixture.refused(fork("b", "a", 0), "turn 0 has not ended").await;
    fixture.refused(fork("b", "a", 1), "has 1 turns").await;
    fixture.refused(fork("b", "x", 0), "there is no conversation x").await;
    fixture.end(turn, "a", 0, "bye").await;
    fixture.ok(deleted("a")).await;
    fixture.refused(deleted("a"), "there is no conversation a").await;
    let late = fixture.effect(turn, "late").await;
    assert!(matches!(late, Err(AppendError::Invalid { .. })), "{late:?}");
    assert_eq!(fixture.journal.check().await.expect("passes its check").blobs, 0);
}

#[tokio::test]
async fn an_event_whose_list_of_blobs_is_not_that_of_its_payloads_is_refused() {
    let mut fixture = Fixture::new();
    fixture.create("a", "assistant").await;
    fixture.turn("a", 0, "#known", "fine").await;
    let (queued, _) = queued(TurnId::new(9), "a", 1, "#known");
    let mut event = queued.event(9, Tenant::DEFAULT);
    let mut payload: serde_json::Value = serde_json::from_slice(&event.payload).expect("JSON");
    payload["blobs"] = serde_json::json!([]);
    event.payload = payload.to_string().into_bytes();
    let refused = fixture.journal.append(event).await;
    let Err(AppendError::Invalid { message, .. }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("its list of blobs"), "{message}");
}

/// What the largest fork and its deletion cost. Run with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_the_largest_fork() {
    let mut fixture = Fixture::new();
    fixture.create("a", "assistant").await;
    let words = "the quick brown fox jumps over the lazy dog ".repeat(8);
    let began = std::time::Instant::now();
    let mut last = None;
    for number in 0..foreshore_domain::conversation::FORK_TURNS_MAX {
        let said = format!("{words} {number}");
        last = Some(fixture.turn("a", number, &said, &said).await);
    }
    println!("10,000 turns of 3 events each: {:?}", began.elapsed());
    for _ in 0..200 {
        fixture.effect(last.expect("a turn"), "x").await.expect("recorded");
    }
    let began = std::time::Instant::now();
    let record = fixture.journal.turn_record(&Tenant::DEFAULT, last.expect("a turn"), 0, 999);
    println!("a record of {} events: {:?}", record.expect("readable").len(), began.elapsed());
    let began = std::time::Instant::now();
    fixture.ok(fork("b", "a", foreshore_domain::conversation::FORK_TURNS_MAX - 1)).await;
    println!("the fork: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    assert_eq!(fixture.reader().search("lazy fox", None, 20, 0).expect("readable").len(), 20);
    println!("a search: {:?}", began.elapsed());
    let began = std::time::Instant::now();
    fixture.ok(deleted("a")).await;
    println!("the deletion: {:?}", began.elapsed());
}
