//! How a turn ends: interrupted, refused, by its own error, at a limit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foreshore_domain::agent::Turn;
use foreshore_domain::call::{CallError, FiredLimit, Interruption};
use foreshore_domain::effect::{AgentEffect, AgentError, BudgetKind};
use foreshore_domain::memory::Conversation;
use foreshore_runtime::{EngineConfig, TurnFailure};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::bench::{Bench, call_error, seen, turn};
use crate::door::Does;

#[tokio::test]
async fn an_interruption_stops_the_agent_at_once_and_gives_its_place_back() {
    let waiting = Interruption::Waiting;
    let config = EngineConfig { slots: 1, ..EngineConfig::default() };
    let bench = Bench::with(Does::InterruptAt("iteration", waiting.clone()), config).await;
    for _ in 0..3 {
        let report = bench.told(json!({"do": "iterate", "many": 1_000_000})).await;
        let CallError::Interrupted(found) = call_error(report) else { panic!("another ending") };
        assert_eq!(found, waiting);
    }
    assert_eq!(bench.kinds().len(), 3, "not one effect after it");
}

#[tokio::test]
async fn an_interruption_is_never_told_whatever_was_asked() {
    for kind in AgentEffect::KINDS {
        let bench = Bench::new(Does::InterruptAt(kind, Interruption::Cancelled)).await;
        let report = bench.told(json!({"do": "everything"})).await;
        let error = call_error(report);
        assert!(
            matches!(error, CallError::Interrupted(Interruption::Cancelled)),
            "{kind}: {error}"
        );
        assert_eq!(bench.kinds().last().map(String::as_str), Some(*kind), "the last one asked");
    }
}

#[tokio::test]
async fn an_agent_does_not_go_on_from_what_is_not_recorded() {
    let bench = Bench::new(Does::NotRecorded).await;
    let report = bench.told(json!({"do": "everything"})).await;
    let CallError::Interrupted(Interruption::NotRecorded { message }) = call_error(report) else {
        panic!("another ending")
    };
    assert_eq!(message, "disk full");
    assert_eq!(bench.kinds(), ["infer"]);
}

#[tokio::test]
async fn an_outcome_of_another_effect_is_the_hosts_fault() {
    let bench = Bench::new(Does::GiveOther).await;
    let error = call_error(bench.told(json!({"do": "iterate"})).await);
    assert!(matches!(error, CallError::Host { .. }), "{error:?}");
    assert!(error.to_string().contains("iteration"), "{error}");
}

#[tokio::test]
async fn an_agent_is_told_why_not_and_goes_on() {
    let bench = Bench::new(Does::Refuse(AgentError::Exhausted(BudgetKind::Cost))).await;
    let report = bench.told(json!({"do": "big-string", "many": 3})).await;
    let text = seen(&report).to_string();
    assert!(text.contains("Exhausted") && text.to_lowercase().contains("cost"), "{text}");
}

#[tokio::test]
async fn an_agents_own_error_is_kept_as_its_own() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "fail"})).await;
    let Err(TurnFailure::Agent(error)) = report.result else { panic!("{report:?}") };
    assert_eq!(error, AgentError::NotFound("what was asked for".to_owned()));
}

#[tokio::test]
async fn each_limit_holds_for_agents() {
    let bench = Bench::new(Does::Give).await;
    let long = turn([0; 32], Duration::from_secs(60));
    let short = turn([0; 32], Duration::from_millis(300));
    for (told, limits, turn, fired, allowed) in [
        (json!({"do": "spin"}), ("fuel", 50_000_000), &long, FiredLimit::Fuel, 50_000_000),
        (json!({"do": "spin"}), ("fuel", 900_000_000_000), &short, FiredLimit::Deadline, 300),
        (
            json!({"do": "eat-memory"}),
            ("memory_max_bytes", 8 << 20),
            &long,
            FiredLimit::Memory,
            8 << 20,
        ),
        (
            json!({"do": "big-string", "many": 70_000}),
            ("hostcall_max_bytes", 65_536),
            &long,
            FiredLimit::HostCall,
            65_536,
        ),
        (
            json!({"do": "huge-reply", "many": 70_000}),
            ("result_max_bytes", 65_536),
            &long,
            FiredLimit::Result,
            65_536,
        ),
        (
            json!({"do": "iterate", "many": 1_000_000}),
            ("host_operations_max", 100),
            &long,
            FiredLimit::HostOperations,
            100,
        ),
    ] {
        let error = call_error(bench.run(told.clone(), &[limits], turn).await);
        let CallError::Limit { limit, allowed: had, .. } = error else { panic!("{told}: {error}") };
        assert_eq!((limit, had), (fired, allowed), "{told}");
    }
}

#[tokio::test]
async fn a_turn_may_take_longer_than_a_call() {
    let bench = Bench::new(Does::Give).await;
    let long = turn([0; 32], Duration::from_secs(60));
    // The deadline of calls is 1 ms, and the agent computes for longer.
    let told = json!({"do": "work-and-ask", "many": 20_000_000});
    let report = bench.run(told, &[("deadline_ms", 1)], &long).await;
    assert!(report.usage.wall_us > 1_000, "{:?}", report.usage);
    seen(&report);
}

#[tokio::test]
async fn agents_that_wait_hold_no_permit() {
    let gate = Arc::new(Semaphore::new(0));
    let config = EngineConfig {
        slots: 8,
        heavy_permits: std::num::NonZeroUsize::new(1),
        first_slice_ms: 1,
        ..EngineConfig::default()
    };
    let bench = Bench::with(Does::GiveLate(Arc::clone(&gate)), config).await;
    let told = json!({"do": "work-and-ask", "many": 5_000_000});
    let run = || bench.told(told.clone());
    let open = async {
        // All of them past their first slice and in the host at once, with a single permit.
        while bench.door.waiting.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.add_permits(4);
    };
    let (one, two, three, four, ()) = tokio::join!(run(), run(), run(), run(), open);
    for report in [one, two, three, four] {
        seen(&report);
    }
}

#[tokio::test]
async fn a_turn_without_its_context_is_not_started() {
    let bench = Bench::new(Does::Give).await;
    let given = Turn {
        conversation: Conversation::parse("c").expect("a name"),
        number: 0,
        message: Vec::new(),
        parameters: None,
    };
    let report = bench.probe.run_turn(bench.context(&[], None), given).await;
    assert!(matches!(call_error(report), CallError::Host { .. }));
}
