use serde_json::json;

use super::*;
use crate::blob::BlobDigest;
use crate::event::{EventKind, Stream, Tenant};
use crate::id::QuestionId;
use crate::memory::JsonText;

fn inline(json: &str) -> Payload {
    let json = JsonText::parse(json).expect("JSON");
    Payload::inline(json, Excerpt::cut("an excerpt")).expect("small")
}

fn blob(byte: u8) -> Payload {
    Payload::blob(BlobDigest::from_bytes([byte; 32]), 20_000, Excerpt::default())
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn conversation() -> Conversation {
    Conversation::parse("c1").expect("a conversation")
}

/// Reads what an event records, and holds it to what was recorded.
fn round_trip<T: Fact + Clone + PartialEq + std::fmt::Debug>(
    fact: &T,
    stream: &str,
) -> serde_json::Value {
    let event = fact.clone().event(7, Tenant::DEFAULT);
    assert_eq!((event.kind, event.at_unix_ms), (T::KIND, 7));
    assert_eq!(event.stream.to_string(), stream);
    let mut expected = fact.clone();
    expected.name_blobs();
    assert_eq!(serde_json::from_slice::<T>(&event.payload).expect("reads"), expected);
    let mut value: serde_json::Value = serde_json::from_slice(&event.payload).expect("JSON");
    let read = value.clone();
    value["surplus"] = json!(1);
    assert!(serde_json::from_value::<serde_json::Value>(value.clone()).is_ok());
    assert!(serde_json::from_str::<T>(&value.to_string()).is_err(), "{value}");
    read
}

#[test]
fn what_is_recorded_is_read_back_and_nothing_else_is_taken() {
    let (turn, question) = (TurnId::new(1), QuestionId::new(1));
    let (c, t, q) = ("conversation/c1", format!("turn/{turn}"), format!("question/{question}"));
    let forked_from = Some(ForkedFrom { conversation: conversation(), through_turn: 3 });
    round_trip(
        &ConversationCreated {
            conversation: conversation(),
            agent: name("assistant"),
            title: Title::cut("A\nB"),
            forked_from,
            delegated_by: Some(turn),
        },
        c,
    );
    let changed =
        ConversationChanged { conversation: conversation(), title: None, archived: Some(true) };
    assert_eq!(round_trip(&changed, c), json!({ "conversation": "c1", "archived": true }));
    round_trip(&ConversationDeleted { conversation: conversation() }, c);
    let text = SummaryText::cut("so far");
    round_trip(&ConversationSummarized { conversation: conversation(), text, through_turn: 2 }, c);
    round_trip(
        &TurnStarted {
            turn,
            component: name("assistant@0.1.0"),
            digest: name("sha256:00"),
            seed: Seed::from_bytes([0xa5; 32]),
            began_at_unix_ms: 5,
            settings: TurnSettings {
                model: Some(name("small")),
                tools: vec!["files.*".parse().expect("a pattern")],
                memory: vec![MemoryReach::ReadOnly(name("team-*"))],
                parameters: Some(JsonText::parse(r#"{"depth": 3}"#).expect("JSON")),
                ..TurnSettings::default()
            },
        },
        &t,
    );
    round_trip(&TurnResumed { turn, effects: 4 }, &t);
    for until in [Until::Question(question), Until::AtUnixMs(9), Until::Turn(turn)] {
        round_trip(&TurnWaiting { turn, number: 1, until }, &t);
    }
    let digest = EffectDigest::from_bytes([1; 32]);
    let call = IntendedCall {
        call_id: crate::id::CallId::new(1),
        tool: name("files.write"),
        approval: None,
    };
    let (number, effect) = (2, name("call-tools"));
    let calls = vec![call];
    round_trip(&TurnIntended { turn, number, effect, digest, calls, delegated_to: Some(turn) }, &t);
    let message = Some(MessageText::cut("on it"));
    round_trip(&TurnPhase { turn, phase: name("planning"), message }, &t);
    for kind in [
        QuestionKind::Approve { details: JsonText::parse("[1]").expect("JSON") },
        QuestionKind::Ask { schema: JsonText::parse("{}").expect("JSON") },
    ] {
        round_trip(
            &QuestionAsked {
                question,
                turn,
                conversation: conversation(),
                number: 3,
                kind,
                message: MessageText::cut("may it?"),
                expires_at_unix_ms: 10,
            },
            &q,
        );
    }
    for decision in [
        Decision::Approved,
        Decision::Accepted(JsonText::parse(r#"{"b": 1, "a": 2}"#).expect("JSON")),
        Decision::Expired,
    ] {
        round_trip(&QuestionAnswered { question, decision, by: name("ann") }, &q);
    }
    let window = BudgetWindow::at(90_000_001, 86_400_000).expect("a window");
    assert_eq!(window.starts_at_unix_ms(), 86_400_000);
    let scopes = vec![BudgetScope { key: name("host"), window }];
    round_trip(&BudgetSpent { scopes, tokens: 1, cost_micros: 2, wall_ms: 3 }, "host");
}

#[test]
fn an_event_lists_each_blob_of_its_payload_once_whatever_was_listed_before() {
    let turn = TurnId::new(1);
    let mut effect = TurnEffect {
        turn,
        number: 0,
        effect: name("infer"),
        digest: EffectDigest::from_bytes([1; 32]),
        request: blob(1),
        outcome: blob(1),
        at_unix_ms: 5,
        blobs: vec![BlobDigest::from_bytes([9; 32])],
    };
    let stream = format!("turn/{turn}");
    let blobs = |value: serde_json::Value| value["blobs"].as_array().map_or(0, Vec::len);
    assert_eq!(blobs(round_trip(&effect, &stream)), 1);
    effect.outcome = blob(2);
    assert_eq!(blobs(round_trip(&effect, &stream)), 2);
    (effect.request, effect.outcome) = (inline("{}"), inline("{}"));
    assert_eq!(blobs(round_trip(&effect, &stream)), 0);

    let (number, agent) = (0, name("assistant"));
    let queued = TurnQueued {
        turn,
        conversation: conversation(),
        number,
        agent,
        message: blob(1),
        history: None,
        parameters: Some(blob(2)),
        budget: Some(crate::agent::TurnBudget::default()),
        delegated_by: None,
        asked_by: None,
        blobs: Vec::new(),
    };
    assert_eq!(blobs(round_trip(&queued, "conversation/c1")), 2);
    let result = TurnToolResult {
        turn,
        number,
        index: 0,
        call_id: crate::id::CallId::new(1),
        outcome: blob(3),
        blobs: Vec::new(),
    };
    assert_eq!(blobs(round_trip(&result, &stream)), 1);
    let note = TurnNote { turn, note: name("n"), payload: blob(4), blobs: Vec::new() };
    assert_eq!(blobs(round_trip(&note, &stream)), 1);
    let ended = TurnEnded {
        turn,
        conversation: conversation(),
        number,
        end: TurnEnd::Failed,
        reply: Some(blob(5)),
        finish: Some(crate::agent::Finish::GaveUp),
        error: Some(TurnFailure { code: name("diverged"), message: MessageText::cut("x") }),
        usage: TurnUsage { fuel: 7, ..TurnUsage::default() },
        served_by: Some(Served {
            backend: name("local"),
            model: name("small"),
            step: crate::inference::Step::Primary,
        }),
        blobs: Vec::new(),
    };
    assert_eq!(blobs(round_trip(&ended, "conversation/c1")), 1);
}

#[test]
fn every_bound_is_held_when_a_payload_is_read() {
    assert!(Title::parse("x".repeat(256)).is_ok());
    for bad in ["", "a\nb", &"x".repeat(257)] {
        assert!(Title::parse(bad).is_err(), "{bad}");
        let changed = json!({ "conversation": "c", "title": bad });
        assert!(serde_json::from_value::<ConversationChanged>(changed).is_err(), "{bad}");
    }
    let long = json!({ "conversation": "c", "through_turn": 1, "text": "x".repeat(16_385) });
    assert!(serde_json::from_value::<ConversationSummarized>(long).is_err());

    let json = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let payload = |bytes| format!("{{\"body\":{{\"inline\":{}}}}}", json(bytes));
    assert!(serde_json::from_str::<Payload>(&payload(PAYLOAD_INLINE_MAX_BYTES)).is_ok());
    assert!(serde_json::from_str::<Payload>(&payload(PAYLOAD_INLINE_MAX_BYTES + 1)).is_err());
    let inline = JsonText::parse(json(PAYLOAD_INLINE_MAX_BYTES + 1)).expect("JSON");
    assert_eq!(
        Payload::inline(inline, Excerpt::default()),
        Err(ConversationError::PayloadTooLarge { bytes: 16_385, max_bytes: 16_384 })
    );
    let long = json!({ "body": { "inline": 1 }, "excerpt": "x".repeat(2_049) });
    assert!(serde_json::from_str::<Payload>(&long.to_string()).is_err());

    for bad in ["", "A5", &"A5".repeat(32), &"a5".repeat(31), &"a5".repeat(33)] {
        assert!(serde_json::from_value::<Seed>(json!(bad)).is_err(), "{bad}");
    }
    let window = |length: u64| json!({ "length_ms": length, "starts_at_unix_ms": 0 });
    let spent = |scopes: Vec<serde_json::Value>| {
        serde_json::from_value::<BudgetSpent>(
            json!({ "scopes": scopes, "tokens": 1, "cost_micros": 1 }),
        )
    };
    let scope = |length| json!({ "key": "host", "window": window(length) });
    assert!(spent(vec![scope(1); SCOPES_MAX]).is_ok());
    assert!(spent(vec![scope(1); SCOPES_MAX + 1]).is_err());
    assert!(spent(Vec::new()).is_err() && spent(vec![scope(0)]).is_err());
}

#[test]
fn what_is_cut_ends_with_a_whole_character() {
    assert_eq!(Excerpt::cut(&"é".repeat(2_000)).as_str().len(), 2_048);
    assert_eq!(Excerpt::cut(&format!("x{}", "é".repeat(2_000))).as_str().len(), 2_047);
    assert_eq!(
        Title::cut("  \n first line\nsecond").as_ref().map(Title::as_str),
        Some("first line")
    );
    assert_eq!(Title::cut(" \n "), None);
}

#[test]
fn kinds_are_those_of_the_journal() {
    let of = |kind: EventKind| kind.as_str();
    assert_eq!(kind::CREATED, of(ConversationCreated::KIND));
    assert_eq!(kind::CHANGED, of(ConversationChanged::KIND));
    assert_eq!(kind::DELETED, of(ConversationDeleted::KIND));
    assert_eq!(kind::SUMMARIZED, of(ConversationSummarized::KIND));
    assert_eq!(kind::QUEUED, of(TurnQueued::KIND));
    assert_eq!(kind::STARTED, of(TurnStarted::KIND));
    assert_eq!(kind::RESUMED, of(TurnResumed::KIND));
    assert_eq!(kind::WAITING, of(TurnWaiting::KIND));
    assert_eq!(kind::INTENDED, of(TurnIntended::KIND));
    assert_eq!(kind::EFFECT, of(TurnEffect::KIND));
    assert_eq!(kind::TOOL_RESULT, of(TurnToolResult::KIND));
    assert_eq!(kind::PHASE, of(TurnPhase::KIND));
    assert_eq!(kind::NOTE, of(TurnNote::KIND));
    assert_eq!(kind::ENDED, of(TurnEnded::KIND));
    assert_eq!(kind::ASKED, of(QuestionAsked::KIND));
    assert_eq!(kind::ANSWERED, of(QuestionAnswered::KIND));
    assert_eq!(kind::SPENT, of(BudgetSpent::KIND));
    assert_eq!(
        Stream::Host,
        BudgetSpent { scopes: Vec::new(), tokens: 0, cost_micros: 0, wall_ms: 0 }.stream()
    );
}
