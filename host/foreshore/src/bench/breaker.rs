//! `breaker`: what its decision costs each request, and how soon a caller hears that a server is
//! left alone.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::ensure;
use foreshore_broker::bench::breaker_decisions;
use foreshore_broker::{
    BackendConfig, BackendKind, Broker, BrokerConfig, Caller, ModelConfig, Priority,
};
use foreshore_domain::inference::{ChatRequest, InferenceError, Message, Role};
use foreshore_scripted_model::{Script, ScriptedServer};

use super::figures::{median, percentile_us};
use super::{Effort, Row, Target};

const DECISIONS: u32 = 1_000_000;
const REFUSALS: usize = 2_000;
const DECISION_MAX_US: f64 = 1.0;
const REFUSAL_MAX_US: f64 = 1_000.0;

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    Ok(vec![decision(effort), refusal()?])
}

fn decision(effort: &Effort) -> Row {
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        floors.push(locks(DECISIONS));
        ours.push(breaker_decisions(DECISIONS).as_secs_f64() * 1e6 / f64::from(DECISIONS));
    }
    Row {
        name: "breaker".to_owned(),
        unit: "us",
        floor: Some(median(&mut floors)),
        ours: median(&mut ours),
        target: Target::AtMost(DECISION_MAX_US),
        note: format!(
            "a decision, lock included, {DECISIONS} of them; floor: taking the lock and counting"
        ),
    }
}

/// Microseconds of taking a lock that nobody else wants.
fn locks(count: u32) -> f64 {
    let counted = [Mutex::new(0_u64), Mutex::new(0)];
    let began = Instant::now();
    for n in 0..count {
        let lock = if n % 2 == 0 { &counted[0] } else { &counted[1] };
        *lock.lock().unwrap_or_else(PoisonError::into_inner) += u64::from(n);
    }
    let took = began.elapsed();
    black_box(counted);
    took.as_secs_f64() * 1e6 / f64::from(count)
}

fn refusal() -> anyhow::Result<Row> {
    let server = ScriptedServer::start(
        Script::refusing(500, "the runner has crashed")?,
        ([127, 0, 0, 1], 0).into(),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut times, asked) = runtime.block_on(refused(&server))?;
    ensure!(
        server.request_count() == asked && server.in_flight() == 0,
        "the server was asked in spite of its open breaker"
    );
    times.sort_unstable();
    Ok(Row {
        name: "breaker/refusal".to_owned(),
        unit: "us p99",
        floor: None,
        ours: percentile_us(&times, 0.99),
        target: Target::AtMost(REFUSAL_MAX_US),
        note: format!(
            "a request that is refused because the breaker is open, {REFUSALS} of them, p50 {:.1} us; the server was not asked once",
            percentile_us(&times, 0.5)
        ),
    })
}

/// Opens the breaker, then is refused; the times of that, and what the server was asked before.
async fn refused(server: &ScriptedServer) -> anyhow::Result<(Vec<std::time::Duration>, u64)> {
    let url = url::Url::parse(&server.url())?;
    let mut config = BrokerConfig {
        backends: vec![BackendConfig::new("broken", BackendKind::Ollama, url)],
        models: [("bench".to_owned(), ModelConfig::default())].into(),
        // Nothing but the requests of this benchmark may reach the server.
        probe_every_ms: 3_600_000,
        ..BrokerConfig::default()
    };
    config.retries.max = 0;
    config.breaker.open_ms = 3_600_000;
    let (failures, broker) = (config.breaker.failures, Broker::new(config)?);
    for _ in 0..failures {
        let error = ask(&broker).await.err();
        ensure!(error.is_some(), "a server that refuses was taken to answer");
    }
    let asked = server.request_count();
    let mut times = Vec::with_capacity(REFUSALS);
    for _ in 0..REFUSALS {
        let began = Instant::now();
        let answer = ask(&broker).await;
        times.push(began.elapsed());
        let error = answer.err();
        let is_refusal = matches!(error, Some(InferenceError::Unavailable { .. }));
        ensure!(is_refusal, "the breaker is not open: {error:?}");
    }
    Ok((times, asked))
}

async fn ask(broker: &Broker) -> Result<(), InferenceError> {
    let hello = vec![Message::text(Role::User, "Hello.")];
    let caller = Caller::new("default", "bench", Priority::Interactive);
    broker.chat(ChatRequest::new(Some("bench".to_owned()), hello), caller, None).await.map(drop)
}
