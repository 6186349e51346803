//! Backends that fail: left alone soon, tried by one, and back by themselves.

use std::time::{Duration, Instant};

use foreshore_broker::BreakerState;
use foreshore_domain::inference::{InferenceError, Step};
use tokio_util::sync::CancellationToken;

use crate::support::{
    ask, asking, broker, caller, chats, config, failures, parsed, saying, sent, server, until,
};

const BROKEN: &str = "[[rules]]\nanswer = { status = 500, error = \"crashed\" }\n[[models]]\nname = \"m\"\nloaded = true\n";
const WORKS: &str = "[[rules]]\nanswer.text = \"back\"\n[[models]]\nname = \"m\"\nloaded = true\n";

#[tokio::test]
async fn a_broken_backend_is_left_alone_after_five_failures() {
    let server = server(BROKEN);
    let broker = broker(config(&[("near", &server)]));
    for _ in 0..3 {
        ask(&broker, "x").await.expect_err("it is broken");
    }
    assert_eq!(chats(&server), 5, "the retries of the second call opened it");
    assert_eq!(broker.health()[0].models[0].breaker, BreakerState::Open);
    let (requests, connections) = (server.request_count(), server.connection_count());
    let began = Instant::now();
    for _ in 0..1_000 {
        match ask(&broker, "x").await {
            Err(error @ InferenceError::Unavailable { .. }) => {
                assert!(error.retry_after().is_some(), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A limit far above what it takes, for machines that stand still: no retry, no connection.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    println!("{} us a refusal", took.as_micros() / 1_000);
    assert_eq!((server.request_count(), server.connection_count()), (requests, connections));
}

#[tokio::test]
async fn a_dead_backend_is_left_alone_and_the_next_one_answers() {
    let (dead, alive) = (saying("dead"), saying("alive"));
    dead.stop();
    let broker = broker(config(&[("dead", &dead), ("alive", &alive)]));
    for n in 0..10 {
        let answer = ask(&broker, &format!("{n}")).await.expect("the other one answers");
        assert_eq!(
            (answer.message.plain_text().as_str(), answer.served_by.step),
            ("alive", Step::Fallback)
        );
    }
    let health = broker.health();
    assert_eq!((health[0].reachable, health[1].reachable), (false, true));
    assert_eq!(failures(&broker, "dead"), 5);
    assert!(!broker.is_safe_mode(), "one of them answers");
    let metrics = broker.metrics();
    let lane = metrics.lanes.iter().find(|lane| lane.backend == "dead").expect("it has a lane");
    assert_eq!((lane.metrics.attempts, lane.metrics.refused), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_make_exactly_one_probe() {
    let server = server(BROKEN);
    let mut config = config(&[("near", &server)]);
    config.breaker.open_ms = 200;
    config.breaker.probe_lease_ms = 600_000;
    config.retries.max = 0;
    let broker = broker(config);
    for _ in 0..5 {
        ask(&broker, "x").await.expect_err("it is broken");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // The probe takes so long that all others come while it runs.
    server.set_script(parsed(
        "[[rules]]\nanswer = { text = \"back\", delay_ms = 3000 }\n[[models]]\nname = \"m\"\nloaded = true\n",
    ));
    let before = chats(&server);
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let broker = broker.clone();
        callers.spawn(async move { ask(&broker, "x").await });
    }
    let (mut answered, mut refused) = (0, 0);
    while let Some(ended) = callers.join_next().await {
        match ended.expect("no panic") {
            Ok(_) => answered += 1,
            Err(InferenceError::Unavailable { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((answered, refused, chats(&server) - before), (1, 999, 1));
    assert_eq!(broker.health()[0].models[0].breaker, BreakerState::Closed, "it went well");
}

#[tokio::test]
async fn it_comes_back_by_itself_and_safe_mode_ends() {
    let server = saying("back");
    let mut config = config(&[("near", &server)]);
    config.breaker.open_ms = 50;
    config.probe_every_ms = 20;
    let broker = broker(config);
    let stop = CancellationToken::new();
    let probing = tokio::spawn(broker.probing(stop.clone()));
    server.stop();
    for _ in 0..3 {
        ask(&broker, "x").await.expect_err("it is dead");
    }
    assert!(broker.is_safe_mode());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(broker.is_safe_mode(), "probes found nothing");
    server.restart().expect("the port is free");
    until("it is back", || !broker.is_safe_mode()).await;
    assert_eq!(chats(&server), 0, "the probe cost no token");
    assert_eq!(ask(&broker, "x").await.expect("it answers").message.plain_text(), "back");
    stop.cancel();
    probing.await.expect("it stops when told");
}

#[tokio::test]
async fn a_backend_whose_model_crashed_is_asked_for_one_token() {
    let server = server(BROKEN);
    let mut config = config(&[("near", &server)]);
    config.breaker.open_ms = 50;
    config.probe_every_ms = 20;
    let broker = broker(config);
    for _ in 0..3 {
        ask(&broker, "x").await.expect_err("it is broken");
    }
    let asked = chats(&server);
    let probing = tokio::spawn(broker.probing(CancellationToken::new()));
    until("a probe has failed", || chats(&server) > asked + 1).await;
    assert!(broker.is_safe_mode(), "that the model is in memory does not say that it answers");
    server.set_script(parsed(WORKS));
    until("it is back", || !broker.is_safe_mode()).await;
    let probe = sent(&server, "/api/chat").pop().expect("it was asked");
    assert_eq!(probe["options"]["num_predict"], 1);
    drop(broker);
    probing.await.expect("it stops when nobody is left");
}

#[tokio::test]
async fn without_any_backend_the_operators_words_are_said_and_marked() {
    let server = saying("x");
    server.stop();
    let mut config = config(&[("near", &server)]);
    config.local_answer = Some("The model is away; a person will answer.".to_owned());
    let broker = broker(config);
    let answer = ask(&broker, "x").await.expect("somebody says something");
    assert_eq!(answer.message.plain_text(), "The model is away; a person will answer.");
    assert_eq!((answer.served_by.step, answer.served_by.backend.as_str()), (Step::Local, "local"));
    let mut request = asking("x");
    request.format = Some(foreshore_domain::inference::Format::Json);
    let refused = broker.chat(request, caller(), None).await;
    assert!(refused.is_err(), "these words are no JSON: {refused:?}");
}

#[tokio::test]
async fn a_kept_answer_stands_in_for_a_dead_backend_however_old_it_is() {
    let server = saying("kept");
    let mut config = config(&[("near", &server)]);
    config.cache.ttl_s = 0;
    let broker = broker(config);
    let mut request = asking("x");
    request.sampling.temperature = Some(0.0);
    let first = broker.chat(request.clone(), caller(), None).await.expect("it answers");
    assert_eq!(first.served_by.step, Step::Primary);
    let second = broker.chat(request.clone(), caller(), None).await.expect("it answers");
    assert_eq!(second.served_by.step, Step::Primary, "it is too old while somebody answers");
    server.stop();
    let third = broker.chat(request, caller(), None).await.expect("it is kept");
    assert_eq!((third.message.plain_text().as_str(), third.served_by.step), ("kept", Step::Cache));
    assert_eq!(third.usage.tokens(), 0);
    ask(&broker, "x").await.expect_err("without temperature 0 nothing is kept");
}

#[tokio::test]
async fn without_backends_every_request_says_how_to_add_one() {
    let broker = broker(foreshore_broker::BrokerConfig::default());
    let error = ask(&broker, "x").await.expect_err("there is nobody");
    assert!(error.to_string().contains("[[inference.backends]]"), "{error}");
    assert!(!broker.is_safe_mode(), "nobody promised any");
}
