//! The one path: what is checked before a guest runs, what is recorded, and what happens when
//! something goes wrong on the way.

use std::time::{Duration, Instant};

use foreshore_domain::call::{CallError, FiredLimit};
use foreshore_domain::denial::DenialCode;
use foreshore_domain::limits::{Limits, LimitsPatch};
use foreshore_domain::outcome::ContentBody;
use foreshore_domain::policy::ComponentPolicy;
use foreshore_store::{Journal, JournalConfig};

use super::guest::{Body, guest};
use super::*;
use crate::{ConcurrencyConfig, Drained, JournalPlace};

/// Long enough to be caught in the act, short enough to wait for.
const A_WHILE: Body<'static> = Body::Count(60_000_000);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_read_only_call_goes_in_comes_out_and_leaves_one_event() {
    let place = Place::new();
    let control = start(place.config(&[&guest("echo@1.2.3", Body::Echo).build()])).await;
    let outcome = call(&control, "echo.run", r#"{"a": [1, 2]}"#).await.expect("an outcome");
    assert_eq!(outcome.result.structured.expect("structured").get(), r#"{"a": [1, 2]}"#);
    assert_eq!(outcome.component.to_string(), "echo@1.2.3");
    assert!(outcome.usage.fuel > 0 && outcome.usage.peak_memory_bytes > 0);

    let events = call_events(&control).await;
    assert_eq!(kinds(&events), ["call.completed"]);
    let payload = &events[0].1;
    assert_eq!(payload["component"], "echo@1.2.3");
    assert_eq!(payload["tool"], "run");
    assert_eq!(payload["outcome"], "ok");
    assert_eq!(payload["fuel"], outcome.usage.fuel);
    assert!(!payload.to_string().contains("[1, 2]"), "arguments are not for the journal");
}

#[tokio::test]
async fn a_call_with_side_effects_is_on_disk_before_it_runs_and_before_it_is_answered() {
    let place = Place::new();
    let guest = guest("act", Body::Echo).with_side_effects().build();
    let control = start(place.config(&[&guest])).await;
    call(&control, "act.run", "").await.expect("an outcome");
    // Without a flush: both were durable when the answer came.
    let events = control.journal().read(1, 100).expect("readable");
    let of_the_call: Vec<_> =
        events.iter().filter(|e| e.stream.starts_with("call/")).map(|e| e.kind.as_str()).collect();
    assert_eq!(of_the_call, ["call.started", "call.completed"]);
}

#[tokio::test]
async fn a_broken_journal_means_no_to_side_effects_and_yes_to_reads() {
    let place = Place::new();
    let act = guest("act", Body::Echo).with_side_effects().build();
    let control = start(place.config(&[&act, &guest("look", Body::Echo).build()])).await;
    control.journal().clone().close().await;
    let failure = call(&control, "act.run", "{}").await.expect_err("refused");
    assert!(
        matches!(&failure.error, CallError::Host { message } if message.starts_with("not run")),
        "{failure:?}"
    );
    assert_eq!(failure.usage.fuel, 0, "a guest ran");
    call(&control, "look.run", "{}").await.expect("a read goes on");
    assert!(!control.readiness().is_ready());
}

#[tokio::test]
async fn an_unknown_tool_is_answered_with_the_nearest_there_is() {
    let place = Place::new();
    let control = start(place.config(&[&guest("echo", Body::Echo).build()])).await;
    let failure = call(&control, "ecko.run", "{}").await.expect_err("unknown");
    assert!(matches!(
        failure.error,
        CallError::UnknownTool { suggestion: Some(name), .. } if name == "echo.run"
    ));
    assert!(call_events(&control).await.is_empty(), "nothing ran, so nothing is recorded");
}

#[tokio::test]
async fn arguments_are_held_to_the_schema_before_a_guest_runs() {
    let place = Place::new();
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;
    let control = start(place.config(&[&guest("g", Body::Echo).taking(schema).build()])).await;
    call(&control, "g.run", r#"{"n":1}"#).await.expect("valid");
    let pointer = async |arguments| match call(&control, "g.run", arguments).await {
        Err(failure) => match failure.error {
            CallError::InvalidArguments { pointer, .. } => {
                assert_eq!(failure.usage.fuel, 0, "a guest ran");
                pointer
            }
            other => panic!("{other}"),
        },
        Ok(outcome) => panic!("{outcome:?}"),
    };
    assert_eq!(pointer(r#"{"n":"x"}"#).await, "/n");
    assert_eq!(pointer("{}").await, "");
    assert_eq!(pointer(r#"{"n":1,"n":2}"#).await, "");
    assert_eq!(call_events(&control).await.len(), 1, "only the call that ran is recorded");
}

#[tokio::test]
async fn a_result_that_breaks_its_own_schema_is_the_tools_failure() {
    let place = Place::new();
    let schema = r#"{"type":"object","required":["n"]}"#;
    let good = guest("good", Body::Answer(r#"{"n":1}"#)).giving(schema).build();
    let bad = guest("bad", Body::Answer(r#"{"m":1}"#)).giving(schema).build();
    let control = start(place.config(&[&good, &bad])).await;
    assert_eq!(value(&control, "good.run").await, r#"{"n":1}"#);
    let outcome = call(&control, "bad.run", "{}").await.expect("an outcome");
    assert!(outcome.result.is_error);
    assert!(outcome.result.structured.is_none());
    let ContentBody::Text(text) = &outcome.result.content[0].body else { panic!("a text") };
    assert!(text.contains("output schema"), "{text}");
}

#[tokio::test]
async fn a_caller_can_lower_a_limit_and_cannot_raise_it() {
    let place = Place::new();
    let mut limits = LimitsPatch::default();
    limits.set("fuel", 1_000_000).expect("a limit");
    let policy = ComponentPolicy {
        limits: Limits::default().with(&limits).expect("valid"),
        ..ComponentPolicy::default()
    };
    let mut config = place.config(&[&guest("spin", Body::Spin).build()]);
    config.policies = policies("spin", policy);
    let control = start(config).await;
    let fuel = async |asked: Option<u64>| {
        let mut invocation = Invocation::new(tool_name("spin.run"), "{}");
        invocation.limits.fuel = asked;
        control.invoke(invocation).await.expect_err("stopped").error
    };
    for (asked, allowed) in [(Some(1_000), 1_000), (Some(u64::MAX), 1_000_000), (None, 1_000_000)] {
        let error = fuel(asked).await;
        let CallError::Limit { limit: FiredLimit::Fuel, allowed: had, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(had, allowed);
    }
    assert!(matches!(fuel(Some(0)).await, CallError::InvalidArguments { .. }));
    let events = call_events(&control).await;
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|(_, payload)| payload["outcome"] == "fuel_exhausted"));
}

#[tokio::test]
async fn a_crash_is_told_as_the_tools_own_failure() {
    let place = Place::new();
    let control = start(place.config(&[&guest("trap", Body::Trap).build()])).await;
    let outcome = call(&control, "trap.run", "{}").await.expect("an outcome");
    assert!(outcome.result.is_error);
    let ContentBody::Text(text) = &outcome.result.content[0].body else { panic!("a text") };
    assert!(text.contains("the tool crashed"), "{text}");
    assert_eq!(call_events(&control).await[0].1["outcome"], "guest_trapped");
}

#[tokio::test]
async fn a_component_that_was_refused_answers_with_the_grant_that_it_lacks() {
    let place = Place::new();
    let guest = guest("net", Body::Echo).importing("wasi:http/outgoing-handler@0.2.6").build();
    let control = start(place.config(&[&guest])).await;
    let failure = call(&control, "net.run", "{}").await.expect_err("denied");
    let CallError::Denied(denial) = &failure.error else { panic!("{failure:?}") };
    assert_eq!(denial.code, DenialCode::ImportNotGranted);
    assert!(denial.grant.contains("[components.net.http]"), "{}", denial.grant);
    let events = call_events(&control).await;
    assert_eq!(kinds(&events), ["effect.denied"]);
    assert_eq!(events[0].1["code"], "import_not_granted");
    let components = control.components();
    let crate::ComponentState::Refused { code, denial: shown, .. } = &components[0].state else {
        panic!("{components:?}")
    };
    assert_eq!((*code, shown.as_ref()), ("import_not_granted", Some(denial)));
}

#[tokio::test]
async fn a_read_ends_with_its_caller_and_says_so() {
    let place = Place::new();
    let mut config = place.config(&[&guest("spin", Body::Spin).build()]);
    config.concurrency.calls_max = 1;
    let control = start(config).await;
    let spinning = call(&control, "spin.run", "{}");
    tokio::time::timeout(Duration::from_millis(50), spinning).await.expect_err("it spins");
    control.admit().await.expect("its slot is free");
    let events = call_events(&control).await;
    assert_eq!(kinds(&events), ["call.completed"]);
    assert_eq!(events[0].1["outcome"], "cancelled");
}

#[tokio::test]
async fn a_side_effect_runs_on_without_its_caller() {
    let place = Place::new();
    let guest = guest("act", A_WHILE).with_side_effects().build();
    let control = start(place.config(&[&guest])).await;
    {
        let acting = call(&control, "act.run", "{}");
        let cut = tokio::time::timeout(Duration::from_millis(10), acting).await;
        cut.expect_err("it was done before the caller could go away");
    }
    until("the end of the call", async || call_events(&control).await.len() == 2).await;
    let events = call_events(&control).await;
    assert_eq!(kinds(&events), ["call.started", "call.completed"]);
    assert_eq!(events[1].1["outcome"], "ok");
}

#[tokio::test]
async fn a_full_house_answers_when_to_come_back() {
    let place = Place::new();
    let mut config = place.config(&[&guest("spin", Body::Spin).build()]);
    config.concurrency =
        ConcurrencyConfig { calls_max: 1, queue_max: 1, queue_wait_max: Duration::from_millis(20) };
    let control = start(config).await;
    let _permit = control.admit().await.expect("the only slot");
    let failure = call(&control, "spin.run", "{}").await.expect_err("no slot");
    assert!(
        matches!(failure.error, CallError::Overloaded { retry_after, .. } if !retry_after.is_zero())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_what_runs_takes_nothing_new_and_closes_the_record() {
    let place = Place::new();
    let guest = guest("act", A_WHILE).with_side_effects().build();
    let mut config = place.config(&[&guest]);
    config.journal = JournalPlace::File(place.path("journal.redb"));
    let control = start(config).await;
    let acting = tokio::spawn({
        let control = Arc::clone(&control);
        async move { call(&control, "act.run", "{}").await }
    });
    until("the start of the call", async || call_events(&control).await.len() == 1).await;
    assert_eq!(control.drain(Duration::from_secs(30)).await, Drained::Completely);
    acting.await.expect("no panic").expect("it ended in peace");
    let late = call(&control, "act.run", "{}").await.expect_err("too late");
    assert!(matches!(late.error, CallError::ShuttingDown));

    let journal = Journal::open(&place.path("journal.redb"), &JournalConfig::default());
    let events = journal.expect("closed, so it opens").read(1, 100).expect("readable");
    let kinds: Vec<_> = events.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["host.started", "component.loaded", "call.started", "call.completed", "host.stopped"]
    );
}

#[tokio::test]
async fn a_drain_without_patience_says_what_it_left() {
    let place = Place::new();
    let guest = guest("act", A_WHILE).with_side_effects().build();
    let control = start(place.config(&[&guest])).await;
    let acting = call(&control, "act.run", "{}");
    tokio::time::timeout(Duration::from_millis(10), acting).await.expect_err("it runs");
    let drained = control.drain(Duration::ZERO).await;
    assert!(matches!(drained, Drained::Partly { running: 1 }), "{drained:?}");
}

/// What the path costs beside the sandbox:
/// `cargo test --release -p foreshore-control measure -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement, not a check"]
async fn measure() {
    let place = Place::new();
    let mut config = place.config(&[&guest("echo", Body::Echo).build()]);
    config.journal = JournalPlace::File(place.path("journal.redb"));
    let control = start(config).await;
    let source = guest("echo", Body::Echo).build().source(Origin::Api);
    let component = control.try_load(source).await.expect("loads");
    let tool = component.tool("run").expect("a tool");
    let context = || {
        std::sync::Arc::new(foreshore_domain::call::CallContext {
            call_id: foreshore_domain::id::CallId::new(1),
            component: component.reference().clone(),
            digest: component.digest(),
            tool: std::sync::Arc::clone(&tool.name),
            hints: tool.definition.hints,
            principal: foreshore_domain::identity::Principal::host(),
            grant: std::sync::Arc::clone(&component.policy().grant),
            limits: component.policy().limits,
            turn: None,
            observer: None,
            meter: Default::default(),
            denials: Default::default(),
        })
    };
    let arguments = r#"{"path":"/data","pattern":"fn main","limit":10}"#;
    let rounds = 20_000_u32;
    for _ in 0..5 {
        let started = Instant::now();
        for _ in 0..rounds {
            component.call(context(), tool, arguments).await.result.expect("a result");
        }
        let sandbox = started.elapsed() / rounds;
        let started = Instant::now();
        for _ in 0..rounds {
            call(&control, "echo.run", arguments).await.expect("an outcome");
        }
        let whole = started.elapsed() / rounds;
        println!(
            "sandbox {sandbox:?}, whole call {whole:?}, path {:?}",
            whole.saturating_sub(sandbox)
        );
    }
}
