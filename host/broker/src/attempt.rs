//! One attempt: one request to one model of one backend, from its breaker to its last token.

mod receive;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::inference::{ChatRequest, DeltaSink, TimedOut, ToolSpec};
use tokio::time::Instant;

use crate::backend::{Backend, ChatStream, Facts, Piece, Vectors, WireChat, WireEmbed};
use crate::caller::Caller;
use crate::failure::{Failure, Verdict};
use crate::flight::Part;
use crate::gate::{GateError, Permit};
use crate::lane::{Attempt, Lane, Loading, PrepareError};
use crate::queue::Full;
use crate::spending::Came;
pub(crate) use receive::Answered;

/// What one model is asked.
pub(crate) struct Ask<'a> {
    pub(crate) request: &'a ChatRequest,
    pub(crate) tools: &'a [ToolSpec],
    pub(crate) caller: &'a Caller,
    pub(crate) sink: Option<&'a dyn DeltaSink>,
    pub(crate) came: &'a Came,
    pub(crate) answer_max_bytes: usize,
}

/// Asks a model for an answer.
///
/// # Errors
/// [`Failure`]; the breaker was told already.
pub(crate) async fn chat(lane: &Arc<Lane>, ask: &Ask<'_>) -> Result<Answered, Failure> {
    let mut attempt = begin(lane)?;
    let (facts, _permit) = ready(&mut attempt, ask.caller, Loading::First).await?;
    let began = Instant::now();
    let answered = asked(lane, ask, &facts, began).await;
    settle(&mut attempt, &answered);
    if let Ok(answered) = &answered {
        let counters = &lane.counters;
        counters.input_tokens.add(answered.usage.input_tokens);
        counters.output_tokens.add(answered.usage.output_tokens);
        counters.answer_ms.add(elapsed_ms(began));
    }
    answered
}

async fn asked(
    lane: &Lane,
    ask: &Ask<'_>,
    facts: &Facts,
    began: Instant,
) -> Result<Answered, Failure> {
    let runner = lane.runner(facts);
    let Ask { request, tools, .. } = ask;
    let wire = WireChat { model: &lane.model, request, tools, runner: &runner, facts };
    let first = async {
        let mut stream = lane.backend.chat(&wire).await?;
        let pieces = stream.next().await?;
        Ok((stream, pieces))
    };
    let (stream, pieces): (ChatStream, Option<Vec<Piece>>) = first_of(lane, first).await?;
    lane.counters.first_token_ms.add(elapsed_ms(began));
    let gap = Duration::from_millis(lane.backend.timeouts.gap_ms);
    let mut answered = receive::all(stream, pieces, ask, gap).await?;
    if answered.usage.duration_ms == 0 {
        answered.usage.duration_ms = elapsed_ms(began);
    }
    Ok(answered)
}

/// Asks a model for vectors.
///
/// # Errors
/// [`Failure`]; the breaker was told already.
pub(crate) async fn embed(
    lane: &Arc<Lane>,
    request: &foreshore_domain::inference::EmbedRequest,
    caller: &Caller,
) -> Result<Vectors, Failure> {
    let mut attempt = begin(lane)?;
    let (facts, _permit) = ready(&mut attempt, caller, Loading::Along).await?;
    let began = Instant::now();
    let runner = lane.runner(&facts);
    let wire = WireEmbed { model: &lane.model, request, runner: &runner };
    let vectors = first_of(lane, lane.backend.embed(&wire)).await;
    settle(&mut attempt, &vectors);
    if let Ok(vectors) = &vectors {
        lane.counters.input_tokens.add(vectors.input_tokens);
        lane.counters.answer_ms.add(elapsed_ms(began));
    }
    vectors
}

fn begin(lane: &Arc<Lane>) -> Result<Attempt, Failure> {
    lane.begin().inspect_err(|_| lane.counters.refused.add(1))
}

/// Prepares the model, then waits for a turn: a load is waited for by all together, and is no
/// part of the limit on waiting.
async fn ready(
    attempt: &mut Attempt,
    caller: &Caller,
    loading: Loading,
) -> Result<(Arc<Facts>, Permit), Failure> {
    let lane = Arc::clone(attempt.lane());
    let facts = match lane.prepared(loading).await {
        Ok(facts) => facts,
        Err(PrepareError { failure, part }) => {
            if part == Part::Leader || attempt.is_probe() {
                lane.counters.attempts.add(1);
                settle::<()>(attempt, &Err(failure.clone()));
            }
            return Err(failure);
        }
    };
    let waits = Instant::now();
    let permit = turn(&lane, caller).await?;
    lane.counters.queue_ms.add(elapsed_ms(waits));
    attempt.confirm().inspect_err(|_| lane.counters.refused.add(1))?;
    lane.counters.attempts.add(1);
    Ok((facts, permit))
}

async fn turn(lane: &Lane, caller: &Caller) -> Result<Permit, Failure> {
    let limit_ms = lane.backend.timeouts.queue_ms;
    let limit = Duration::from_millis(limit_ms);
    let entered = lane.gate.enter(&caller.tenant, caller.priority, limit).await;
    entered.map_err(|error| match error {
        GateError::Full { full, retry_after_ms } => {
            let (backend, model) = (&lane.backend.name, &lane.model);
            let reason = match full {
                Full::All => format!("the queue for {model} of {backend} is full"),
                Full::Tenant => {
                    format!("too many of \"{}\" wait for {model} of {backend}", caller.tenant)
                }
            };
            Failure::Queue { reason, retry_after_ms }
        }
        GateError::TimedOut => Failure::TimedOut { what: TimedOut::Queue, limit_ms, hangs: false },
    })
}

fn settle<T>(attempt: &mut Attempt, result: &Result<T, Failure>) {
    let lane = Arc::clone(attempt.lane());
    match result {
        Ok(_) => {
            attempt.succeeded();
            lane.counters.answers.add(1);
            lane.is_warm_now();
        }
        Err(failure) => {
            attempt.failed(failure);
            if failure.verdict() == Verdict::Broken {
                lane.counters.failures.add(1);
            }
        }
    }
}

/// Waits for the first sign of an answer. The limit is that of a model in memory; when it is
/// over and the server says that the model is not there (another one took its place, or it is
/// being loaded again), the limit of loading holds, and then the first one from the beginning.
async fn first_of<T>(
    lane: &Lane,
    first: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let timeouts = lane.backend.timeouts;
    let limit = Duration::from_millis(timeouts.first_token_ms);
    let load_until = Instant::now() + Duration::from_millis(timeouts.load_ms);
    let mut first = pin!(first);
    let mut was_cold = false;
    loop {
        if let Ok(answer) = tokio::time::timeout(limit, &mut first).await {
            return answer;
        }
        let is_cold = match is_cold(&lane.backend, &lane.model).await {
            Ok(is_cold) => is_cold,
            Err(_) => return Err(too_slow(TimedOut::FirstToken, timeouts.first_token_ms, true)),
        };
        match (was_cold, is_cold) {
            (_, true) if Instant::now() >= load_until => {
                return Err(too_slow(TimedOut::Load, timeouts.load_ms, false));
            }
            (false, false) => {
                return Err(too_slow(TimedOut::FirstToken, timeouts.first_token_ms, false));
            }
            _ => was_cold = is_cold,
        }
    }
}

async fn is_cold(backend: &Backend, model: &str) -> Result<bool, Failure> {
    match backend.has_loaded(model).await? {
        Some(is_loaded) => Ok(!is_loaded),
        // It cannot say; that it answers at all is worth knowing.
        None => backend.ping().await.map(|()| false),
    }
}

fn too_slow(what: TimedOut, limit_ms: u64, hangs: bool) -> Failure {
    Failure::TimedOut { what, limit_ms, hangs }
}

pub(crate) fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
