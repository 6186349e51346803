//! The ways in which model servers disappoint, one test each.

use std::time::Duration;

use foreshore_broker::{Caller, ModelConfig, Priority, RunnerOptions};
use foreshore_domain::inference::{FinishReason, InferenceError, Step, TimedOut};

use crate::support::{
    Pieces, ask, asking, broker, caller, chats, config, failures, saying, sent, server, until,
};

const LOADED: &str = "[[models]]\nname = \"m\"\nloaded = true\n";

#[tokio::test]
async fn trap_1_an_error_in_mid_stream_is_a_marked_failure_and_nobody_else_is_asked() {
    for with in ["\"error\", message = \"cuda died\"", "\"truncate\"", "\"cut\"", "\"garbage\""] {
        let server = server(&format!(
            "[[rules]]\n[rules.answer]\ntext = \"one two three\"\nbreak = {{ after = 2, with = {with} }}\n{LOADED}"
        ));
        let second = saying("from the second");
        let broker = broker(config(&[("first", &server), ("second", &second)]));
        let (pieces, sink) = Pieces::sink();
        let answer = broker.chat(asking("x"), caller(), sink).await;
        match answer {
            Err(InferenceError::BrokeOff { backend, partial, message }) => {
                assert_eq!((backend.as_str(), partial.trim()), ("first", "one two"), "{message}");
                assert!(!with.contains("cuda") || message.contains("cuda died"), "{message}");
            }
            other => panic!("{with}: {other:?}"),
        }
        assert_eq!(pieces.all().concat().trim(), "one two");
        assert_eq!((chats(&server), chats(&second)), (1, 0), "{with}: it had begun");
        assert_eq!(failures(&broker, "first"), 1);
    }
}

#[tokio::test]
async fn trap_1_what_breaks_before_the_first_token_is_tried_again() {
    for with in ["\"error\", message = \"oops\"", "\"truncate\"", "\"cut\""] {
        let server = server(&format!(
            "[[rules]]\nthen = \"repeat\"\nanswers = [{{ text = \"x\", break = {{ after = 0, with = {with} }} }}, {{ text = \"fine\" }}]\n{LOADED}"
        ));
        let broker = broker(config(&[("only", &server)]));
        let (pieces, sink) = Pieces::sink();
        let answer = broker.chat(asking("x"), caller(), sink).await.expect("the second works");
        assert_eq!(answer.message.plain_text(), "fine", "{with}");
        assert_eq!(answer.served_by.step, Step::Primary);
        assert_eq!(pieces.all().concat(), "fine");
        assert_eq!(chats(&server), 2, "{with}");
        assert_eq!(failures(&broker, "only"), 0, "a success forgets");
    }
}

#[tokio::test]
async fn trap_2_a_cold_load_trips_nothing() {
    let server =
        server("[[rules]]\nanswer.text = \"at last\"\n[[models]]\nname = \"m\"\nload_ms = 1500\n");
    let mut config = config(&[("slow", &server)]);
    // The load takes many times as long as the first token may.
    config.timeouts.first_token_ms = 300;
    config.timeouts.gap_ms = 300;
    let broker = broker(config);
    let answer = ask(&broker, "x").await.expect("a slow load is no failure");
    assert_eq!(answer.message.plain_text(), "at last");
    assert_eq!((failures(&broker, "slow"), server.loads("m")), (0, 1));
    assert_eq!((chats(&server), broker.metrics().broker.retries), (1, 0));
}

#[tokio::test]
async fn trap_2_a_load_beyond_its_limit_is_told_and_not_counted() {
    let server =
        server("[[rules]]\nanswer.text = \"never\"\n[[models]]\nname = \"m\"\nload_ms = 60000\n");
    let mut config = config(&[("slow", &server)]);
    config.timeouts.load_ms = 200;
    let broker = broker(config);
    for _ in 0..6 {
        match ask(&broker, "x").await {
            Err(InferenceError::TimedOut { what: TimedOut::Load, limit_ms: 200, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(failures(&broker, "slow"), 0);
}

#[tokio::test]
async fn trap_2_a_slow_first_token_is_told_and_not_counted_while_the_server_answers() {
    let server =
        server(&format!("[[rules]]\nanswer = {{ text = \"x\", delay_ms = 60000 }}\n{LOADED}"));
    let mut config = config(&[("slow", &server)]);
    config.timeouts.first_token_ms = 100;
    let broker = broker(config);
    for _ in 0..6 {
        match ask(&broker, "x").await {
            Err(InferenceError::TimedOut { what: TimedOut::FirstToken, limit_ms: 100, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((failures(&broker, "slow"), chats(&server)), (0, 6));
}

#[tokio::test]
async fn trap_2_a_stall_between_tokens_is_a_failure() {
    let server = server(&format!(
        "[[rules]]\n[rules.answer]\ntext = \"one two\"\nbreak = {{ after = 1, with = \"stall\" }}\n{LOADED}"
    ));
    let mut config = config(&[("stuck", &server)]);
    config.timeouts.gap_ms = 100;
    let broker = broker(config);
    match ask(&broker, "x").await {
        Err(InferenceError::TimedOut { what: TimedOut::Gap, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(failures(&broker, "stuck"), 1);
    until("the server has noticed that nobody listens", || server.in_flight() == 0).await;
}

#[tokio::test]
async fn trap_3_one_who_goes_away_while_a_model_loads_takes_nobody_along() {
    // This server does what Ollama does: the load dies with the request that began it.
    let server = server(
        "[[rules]]\nanswer.text = \"here\"\n[[models]]\nname = \"m\"\nload_ms = 700\non_cancel = \"stop-load\"\n",
    );
    let broker = broker(config(&[("near", &server)]));
    let start = |text: &'static str| {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, text).await })
    };
    let first = start("first");
    until("the load has begun", || server.loads("m") == 1).await;
    let others = [start("second"), start("third")];
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    for other in others {
        let answer = other.await.expect("no panic").expect("the load went on");
        assert_eq!(answer.message.plain_text(), "here");
    }
    assert_eq!(server.loads("m"), 1);
    assert_eq!(failures(&broker, "near"), 0);
}

#[tokio::test]
async fn trap_3_a_load_that_nobody_waits_for_is_given_up() {
    let server =
        server("[[rules]]\nanswer.text = \"x\"\n[[models]]\nname = \"m\"\nload_ms = 60000\n");
    let broker = broker(config(&[("near", &server)]));
    let only = tokio::spawn({
        let broker = broker.clone();
        async move { ask(&broker, "x").await }
    });
    until("the load has begun", || server.loads("m") == 1).await;
    only.abort();
    until("the server was told", || server.in_flight() == 0).await;
    assert_eq!(failures(&broker, "near"), 0, "somebody who goes away is nobody's failure");
}

#[tokio::test]
async fn trap_4_options_of_the_runner_are_the_operators_and_never_load_a_model_again() {
    let server = server(
        "[[rules]]\nanswer.text = \"x\"\n[[models]]\nname = \"m\"\nload_ms = 1\ncontext_length = 262144\n",
    );
    let mut config = config(&[("near", &server)]);
    let runner = RunnerOptions { num_ctx: Some(16_384), num_batch: Some(64), ..Default::default() };
    config.models.insert("m".to_owned(), ModelConfig { runner, ..ModelConfig::default() });
    let broker = broker(config);
    for n in 0..3_u32 {
        let mut request = asking("x");
        request.sampling.max_tokens = Some(10 + n);
        request.sampling.top_p = Some(0.5);
        broker.chat(request, caller(), None).await.expect("it answers");
    }
    assert_eq!(server.loads("m"), 1);
    for body in sent(&server, "/api/chat") {
        assert_eq!(body["options"]["num_ctx"], 16_384, "{body}");
        assert_eq!(body["options"]["num_batch"], 64, "{body}");
    }
}

#[tokio::test]
async fn trap_4_a_model_gets_no_more_context_than_it_says_and_than_the_default() {
    for (says, gets) in [(2_048, 2_048), (262_144, 8_192)] {
        let server =
            server(&format!("[[rules]]\nanswer.text = \"x\"\n{LOADED}context_length = {says}\n"));
        let broker = broker(config(&[("near", &server)]));
        ask(&broker, "x").await.expect("it answers");
        let body = sent(&server, "/api/chat").pop().expect("it was asked");
        assert_eq!(body["options"]["num_ctx"], gets);
        // Whoever writes a prompt is told of the context that there is, not of what could be.
        let models = broker.models().await;
        let m = models.iter().find(|model| model.name == "m").expect("it is listed");
        assert_eq!(m.context_length, Some(gets));
    }
}

#[tokio::test]
async fn trap_5_a_full_queue_is_refused_here_and_says_when_to_come_back() {
    let server =
        server(&format!("[[rules]]\nanswer = {{ text = \"x\", delay_ms = 60000 }}\n{LOADED}"));
    let mut config = config(&[("near", &server)]);
    config.queue.max = 2;
    let broker = broker(config);
    let start = |tenant: &str| {
        let (broker, caller) = (broker.clone(), Caller::new(tenant, "x", Priority::Agent));
        tokio::spawn(async move { broker.chat(asking("x"), caller, None).await })
    };
    let running = start("a");
    until("one runs", || broker.health()[0].in_flight == 1).await;
    let waiting = [start("b"), start("c")];
    until("two wait", || broker.health()[0].queued == 2).await;
    match ask(&broker, "x").await {
        Err(error @ InferenceError::Overloaded { .. }) => {
            assert!(error.retry_after().is_some_and(|wait| !wait.is_zero()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(chats(&server), 1, "the server has one at a time");
    running.abort();
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    until("all have left", || {
        let health = broker.health();
        health[0].in_flight + health[0].queued == 0
    })
    .await;
    assert_eq!(failures(&broker, "near"), 0);
}

#[tokio::test]
async fn trap_5_those_who_wait_for_a_load_are_as_many_as_may_wait() {
    let server =
        server("[[rules]]\nanswer.text = \"x\"\n[[models]]\nname = \"m\"\nload_ms = 60000\n");
    let mut config = config(&[("near", &server)]);
    config.queue.max = 1;
    let broker = broker(config);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let broker = broker.clone();
        waiting.spawn(async move { ask(&broker, "x").await });
    }
    until("the load has begun", || server.loads("m") == 1).await;
    let error = ask(&broker, "x").await.expect_err("two are enough");
    assert!(matches!(error, InferenceError::Overloaded { .. }), "{error:?}");
}

#[tokio::test]
async fn trap_6_nothing_is_cut_off_silently() {
    let server = server(&format!("[[rules]]\nanswer.text = \"x\"\n{LOADED}context_length = 16\n"));
    let broker = broker(config(&[("near", &server)]));
    match ask(&broker, &"word ".repeat(200)).await {
        Err(InferenceError::ContextTooLong { model, message }) => {
            assert_eq!(model, "m");
            assert!(message.contains("context"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let body = sent(&server, "/api/chat").pop().expect("it was asked");
    assert_eq!((&body["truncate"], &body["shift"]), (&false.into(), &false.into()));
    assert_eq!((chats(&server), failures(&broker, "near")), (1, 0), "another try says the same");
}

#[tokio::test]
async fn trap_7_calls_of_tools_are_told_apart_from_a_stop() {
    let server = server(&format!(
        "[[rules]]\nwhen.tools = true\nanswer.tool_calls = [{{ name = \"files.read\", arguments = {{ path = \"/a\" }} }}]\n\
         [[rules]]\nanswer = {{ text = \"long\", done_reason = \"length\" }}\n{LOADED}"
    ));
    let broker = broker(config(&[("near", &server)]));
    let mut request = asking("x");
    request.tools.push(foreshore_domain::inference::ToolSpec {
        name: "files.read".to_owned(),
        description: Some("Reads a file.".to_owned()),
        parameters_schema: r#"{"type":"object"}"#.to_owned(),
    });
    let (pieces, sink) = Pieces::sink();
    let answer = broker.chat(request, caller(), sink).await.expect("it answers");
    assert_eq!(answer.finish, FinishReason::ToolCalls);
    assert_eq!(answer.message.tool_calls[0].arguments_json, r#"{"path":"/a"}"#);
    assert_eq!(pieces.all(), [r#"files.read{"path":"/a"}"#]);
    let answer = ask(&broker, "x").await.expect("it answers");
    assert_eq!(answer.finish, FinishReason::Length);
}

#[tokio::test]
async fn trap_8_models_of_a_cloud_are_not_asked() {
    let server = server(&format!(
        "[[rules]]\nanswer.text = \"x\"\n{LOADED}[[models]]\nname = \"alias\"\nremote_host = \"https://ollama.com\"\n"
    ));
    let refused = broker(config(&[("near", &server)]));
    for name in ["gpt-oss:cloud", "gpt-oss:120b-cloud"] {
        let mut request = asking("secret");
        request.model = Some(name.to_owned());
        match refused.chat(request, caller(), None).await {
            Err(InferenceError::RemoteModel { model, .. }) => assert_eq!(model, name),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(server.request_count(), 0, "by its name alone it is refused");
    let mut request = asking("secret");
    request.model = Some("alias".to_owned());
    match refused.chat(request.clone(), caller(), None).await {
        Err(InferenceError::RemoteModel { host, .. }) => assert_eq!(host, "https://ollama.com"),
        other => panic!("{other:?}"),
    }
    assert_eq!(chats(&server), 0, "nothing of the request has left");
    let mut config = config(&[("near", &server)]);
    config.allow_remote_models = true;
    let allowed = broker(config);
    allowed.chat(request, caller(), None).await.expect("the operator allows it");
}

#[tokio::test]
async fn trap_9_a_model_that_is_missing_is_looked_for_elsewhere_and_nothing_is_counted() {
    let without = server("[[rules]]\nanswer.text = \"x\"\n[[models]]\nname = \"other\"\n");
    let mut config = config(&[("near", &without)]);
    let fallback = vec!["other".to_owned()];
    config.models.insert("m".to_owned(), ModelConfig { fallback, ..ModelConfig::default() });
    config.models.insert("other".to_owned(), ModelConfig::default());
    let broker = broker(config);
    for _ in 0..6 {
        let answer = ask(&broker, "x").await.expect("the next one has it");
        assert_eq!(answer.served_by.model, "other");
        assert_eq!(answer.served_by.step, Step::Fallback);
    }
    assert_eq!(failures(&broker, "near"), 0);
    let mut request = asking("x");
    request.model = Some("n".to_owned());
    match broker.chat(request, caller(), None).await {
        Err(InferenceError::ModelNotFound { model, known }) => {
            assert_eq!((model.as_str(), known.len()), ("n", 2));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn trap_9_overload_and_bad_requests_are_not_counted() {
    for (status, retried) in [(503, true), (429, true), (400, false)] {
        let server = server(&format!(
            "[[rules]]\nanswer = {{ status = {status}, error = \"no\" }}\n{LOADED}"
        ));
        let broker = broker(config(&[("near", &server)]));
        for _ in 0..6 {
            let error = ask(&broker, "x").await.expect_err("it refuses");
            match (status, &error) {
                (400, InferenceError::Invalid { .. }) => {}
                (_, InferenceError::Overloaded { .. }) => assert!(error.retry_after().is_some()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failures(&broker, "near"), 0, "{status}");
        assert_eq!(chats(&server), if retried { 18 } else { 6 }, "{status}");
    }
}

#[tokio::test]
async fn trap_10_lines_come_in_pieces_and_a_huge_one_is_refused() {
    let server = server(&format!(
        "[[rules]]\nwhen.last_user = \"small\"\nanswer = {{ text = \"Grüße an alle\", write_bytes = 1 }}\n\
         [[rules]]\nanswer = {{ text = \"x\", padding_bytes = 300000 }}\n{LOADED}"
    ));
    let mut config = config(&[("near", &server)]);
    config.line_max_bytes = 100_000;
    config.retries.max = 0;
    let broker = broker(config);
    let answer = ask(&broker, "small").await.expect("cut lines are put together");
    assert_eq!(answer.message.plain_text(), "Grüße an alle");
    let error = ask(&broker, "huge").await.expect_err("it is too long");
    assert!(error.to_string().contains("a line of more than 100000 bytes"), "{error}");
}

#[tokio::test]
async fn thoughts_in_the_text_of_a_model_that_cannot_think_are_left_alone() {
    let server = saying("<think>hm</think>yes");
    let broker = broker(config(&[("near", &server)]));
    let answer = ask(&broker, "x").await.expect("it answers");
    assert_eq!(answer.message.plain_text(), "<think>hm</think>yes");
    assert_eq!(answer.message.thinking, None);
}
