//! Connections that are kept, closed, or silent for long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use foreshore_broker::{BackendConfig, BackendKind, BreakerState, Broker, BrokerConfig};
use foreshore_domain::inference::{InferenceError, TimedOut};

use crate::stub::{Act, Stub, chunk, chunked, end, ollama, response};
use crate::support::{ask, broker, config, saying};

fn configured(stub: &Stub) -> BrokerConfig {
    let backends = vec![BackendConfig::new("near", BackendKind::Ollama, stub.url())];
    BrokerConfig { backends, ..BrokerConfig::default() }
}

async fn ask_small(broker: &Broker) -> String {
    let mut request = crate::support::asking("x");
    request.model = Some("small".to_owned());
    let answer = broker.chat(request, crate::support::caller(), None).await;
    answer.expect("it answers").message.plain_text()
}

fn answer(text: &str) -> Vec<Act> {
    let line = format!("{{\"message\":{{\"content\":\"{text}\"}},\"done\":true}}\n");
    vec![chunked(), chunk(&line), end()]
}

#[tokio::test]
async fn one_connection_serves_one_request_after_the_other() {
    let server = saying("x");
    let broker = broker(config(&[("near", &server)]));
    for _ in 0..20 {
        ask(&broker, "x").await.expect("it answers");
    }
    assert_eq!(server.connection_count(), 1);
    assert!(server.request_count() >= 20);
}

#[tokio::test]
async fn a_server_that_closes_each_connection_is_no_broken_one() {
    let stub = Stub::start(|seen| {
        let mut acts = match seen.line.contains("/api/chat") {
            true => answer("x"),
            false => ollama(seen),
        };
        acts.push(Act::Close);
        acts
    })
    .await;
    let broker = broker(configured(&stub));
    for _ in 0..10 {
        assert_eq!(ask_small(&broker).await, "x");
    }
    assert_eq!(broker.health()[0].models[0].failures, 0);
    assert_eq!(stub.seen("/api/chat").len(), 10, "none was asked twice");
}

#[tokio::test]
async fn a_model_that_was_driven_out_of_memory_is_waited_for_while_it_loads_again() {
    let asked = AtomicUsize::new(0);
    let stub = Stub::start(move |seen| {
        if seen.line.contains("/api/chat") {
            let mut acts = vec![Act::Wait(Duration::from_millis(900))];
            acts.extend(answer("x"));
            return acts;
        }
        // There when it is looked for first, gone when it should answer.
        match seen.line.contains("/api/ps") && asked.fetch_add(1, Ordering::SeqCst) > 0 {
            true => response(200, r#"{"models":[]}"#),
            false => ollama(seen),
        }
    })
    .await;
    let mut config = configured(&stub);
    config.timeouts.first_token_ms = 150;
    config.retries.max = 0;
    let broker = broker(config);
    assert_eq!(ask_small(&broker).await, "x");
    assert!(stub.seen("/api/ps").len() > 1, "it was asked what the model does so long");
    assert_eq!(broker.health()[0].models[0].failures, 0);
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_is_a_broken_one() {
    let stub = Stub::start(|_| vec![Act::Wait(Duration::from_secs(600))]).await;
    let mut config = configured(&stub);
    config.timeouts.connect_ms = 20;
    config.retries.max = 0;
    let broker = broker(config);
    for _ in 0..5 {
        let mut request = crate::support::asking("x");
        request.model = Some("small".to_owned());
        let answer = broker.chat(request, crate::support::caller(), None).await;
        assert!(matches!(answer, Err(InferenceError::Unavailable { .. })), "{answer:?}");
    }
    let health = broker.health();
    assert_eq!(health[0].models[0].breaker, BreakerState::Open);
    assert!(broker.is_safe_mode());
}

#[tokio::test]
async fn a_server_that_hangs_while_it_should_answer_is_told_from_a_slow_one() {
    let asked = AtomicUsize::new(0);
    let stub = Stub::start(move |seen| {
        let hangs = seen.line.contains("/api/chat")
            || (seen.line.contains("/api/ps") && asked.fetch_add(1, Ordering::SeqCst) > 0);
        match hangs {
            true => vec![Act::Wait(Duration::from_secs(600))],
            false => ollama(seen),
        }
    })
    .await;
    let mut config = configured(&stub);
    config.timeouts.connect_ms = 50;
    config.timeouts.first_token_ms = 100;
    let broker = broker(config);
    let mut request = crate::support::asking("x");
    request.model = Some("small".to_owned());
    match broker.chat(request, crate::support::caller(), None).await {
        Err(InferenceError::TimedOut { what: TimedOut::FirstToken, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(broker.health()[0].models[0].failures, 1, "it does not even answer /api/ps");
}

#[tokio::test]
async fn a_limit_of_tokens_goes_by_the_name_that_the_server_knows() {
    let stub = Stub::start(|seen| {
        if seen.body.get("max_tokens").is_some() {
            let said = "Unsupported parameter: use 'max_completion_tokens' instead.";
            return response(400, &format!("{{\"error\":{{\"message\":\"{said}\"}}}}"));
        }
        let text = r#"data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}"#;
        vec![chunked(), chunk(&format!("{text}\n\ndata: [DONE]\n\n")), end()]
    })
    .await;
    let mut config = configured(&stub);
    config.backends[0].kind = BackendKind::OpenAi;
    let broker = broker(config);
    for _ in 0..2 {
        let mut request = crate::support::asking("x");
        request.sampling.max_tokens = Some(7);
        let answer = broker.chat(request, crate::support::caller(), None).await;
        assert_eq!(answer.expect("it answers").message.plain_text(), "x");
    }
    let seen = stub.seen("/chat/completions");
    assert_eq!(seen.len(), 3, "what it wants is remembered");
    assert_eq!(seen[2].body["max_completion_tokens"], 7);
    assert_eq!(broker.health()[0].models[0].failures, 0);
}
