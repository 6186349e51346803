//! Bounds and ages of what is kept.

use foreshore_domain::inference::{FinishReason, Message, Role, ServedBy, Step, TokenUsage};

use super::*;

fn key(text: &str) -> RequestKey {
    let request = ChatRequest::new(None, vec![Message::text(Role::User, text)]);
    RequestKey::of("tenant", "model", &request).expect("it can be written")
}

fn answer(text: &str) -> Completion {
    Completion {
        message: Message::text(Role::Assistant, text),
        finish: FinishReason::Stop,
        usage: TokenUsage::default(),
        served_by: ServedBy { backend: "b".into(), model: "m".into(), step: Step::Primary },
    }
}

#[test]
fn no_tenant_is_given_what_another_asked() {
    let request = ChatRequest::new(None, vec![Message::text(Role::User, "x")]);
    assert_ne!(RequestKey::of("a", "m", &request), RequestKey::of("b", "m", &request));
    assert_ne!(RequestKey::of("am", "", &request), RequestKey::of("a", "m", &request));
    assert_eq!(RequestKey::of("a", "m", &request), RequestKey::of("a", "m", &request));
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_given_only_to_who_takes_any() {
    let mut answers = Answers::new(CacheConfig { ttl_s: 10, ..CacheConfig::default() });
    answers.keep(key("x"), &answer("kept"));
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(answers.find(&key("x"), Age::Fresh), Some(answer("kept")));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(answers.find(&key("x"), Age::Fresh), None);
    assert_eq!(answers.find(&key("x"), Age::Any), Some(answer("kept")));
}

#[tokio::test(start_paused = true)]
async fn what_was_used_longest_ago_goes_first() {
    let mut answers = Answers::new(CacheConfig { entries: 2, ..CacheConfig::default() });
    answers.keep(key("1"), &answer("1"));
    answers.keep(key("2"), &answer("2"));
    answers.find(&key("1"), Age::Fresh).expect("it is kept");
    answers.keep(key("3"), &answer("3"));
    assert!(answers.find(&key("2"), Age::Any).is_none());
    assert!(answers.find(&key("1"), Age::Any).is_some());
    assert!(answers.find(&key("3"), Age::Any).is_some());
}

#[tokio::test(start_paused = true)]
async fn all_of_them_take_no_more_than_their_bytes() {
    let config = CacheConfig { max_bytes: 2_000, ..CacheConfig::default() };
    let mut answers = Answers::new(config);
    for n in 0..20 {
        answers.keep(key(&n.to_string()), &answer(&"x".repeat(300)));
        assert!(answers.bytes <= 2_000);
    }
    assert_eq!((answers.kept.len(), answers.used.len()), (2, 2));
    answers.keep(key("huge"), &answer(&"x".repeat(3_000)));
    assert!(answers.find(&key("huge"), Age::Any).is_none());
    assert_eq!(answers.kept.len(), 2, "what cannot be kept drives nothing out");
}
