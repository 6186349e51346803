//! `/v1/store`: figures about the journal, and work on it while it goes on.
//!
//! Deliberately absent: paths in requests. A backup goes where the host says; restoring,
//! archiving and compacting are the command line's, on a journal that nobody has.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use foreshore_control::store::Checkpoint;
use foreshore_control::{Upkeep, UpkeepError};
use http::request::Parts;
use hyper::body::Incoming;

use super::memory::read;
use crate::body::whole;
use crate::connection::Peer;
use crate::negotiation;
use crate::problem::Problem;
use crate::pulse::Phase;
use crate::query::Query;
use crate::request::{Answer, json};
use crate::wire::{self, *};

/// How often work that takes long says that the request is not stuck.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Figures about the journal.
#[utoipa::path(
    get,
    path = "/v1/store/stats",
    operation_id = "storeStats",
    tag = "journal",
    responses(
        (status = 200, description = "The figures", body = StoreStatsSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stats(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let stats = patiently(peer, upkeep(peer).stats()).await?;
    Ok(json(wire::json(&StoreStatsSchema::from(stats), 512)))
}

/// Check the journal, its blobs and its views. Writes wait for part of it.
#[utoipa::path(
    post,
    path = "/v1/store/check",
    operation_id = "storeCheck",
    tag = "journal",
    responses(
        (status = 200, description = "All is well", body = StoreCheckedSchema),
        (status = 422, description = "Something is not: `store_damaged`", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn check(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let checked = patiently(peer, upkeep(peer).check()).await?;
    Ok(json(wire::json(&StoreCheckedSchema::from(checked), 512)))
}

/// Hold every event to the chain, and the chain to its signed checkpoints.
#[utoipa::path(
    post,
    path = "/v1/store/verify",
    operation_id = "storeVerify",
    tag = "journal",
    request_body(content = StoreVerifySchema, content_type = "application/json"),
    responses(
        (status = 200, description = "The verdict", body = StoreVerdictSchema),
        (status = "default", description = "Why there is none", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn verify(peer: &Arc<Peer>, head: &Parts, body: Incoming) -> Answer {
    negotiation::require_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let body = whole(peer, body).await?;
    let given: StoreVerifySchema = read(&body)?;
    let mut kept = Vec::with_capacity(given.checkpoints.len());
    for (at, line) in given.checkpoints.iter().enumerate() {
        let checkpoint = Checkpoint::parse(line)
            .map_err(|error| Problem::invalid_body("/checkpoints", format!("{at}: {error}")))?;
        kept.push(checkpoint);
    }
    let verdict = match patiently(peer, upkeep(peer).verify(kept)).await {
        Ok(verified) => StoreVerdictSchema::from(verified),
        Err(UpkeepError::Read(error)) if StoreVerdictSchema::is_one(&error) => error.into(),
        Err(error) => return Err(error.into()),
    };
    Ok(json(wire::json(&verdict, 512)))
}

/// Copy the journal into the host's directory of backups, while it goes on.
#[utoipa::path(
    post,
    path = "/v1/store/backup",
    operation_id = "storeBackup",
    tag = "journal",
    responses(
        (status = 200, description = "The backup, whole and on disk", body = StoreBackupSchema),
        (status = 409, description = "There are too many backups, or the journal is in memory", body = ProblemSchema<'static>, content_type = "application/problem+json"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn backup(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    let backup = patiently(peer, upkeep(peer).backup()).await?;
    Ok(json(wire::json(&StoreBackupSchema::from(backup), 256)))
}

/// Make the views again from the events. Writes wait.
#[utoipa::path(
    post,
    path = "/v1/store/rebuild",
    operation_id = "storeRebuild",
    tag = "journal",
    responses(
        (status = 200, description = "They are made again", body = StoreRebuiltSchema),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn rebuild(peer: &Arc<Peer>, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    Query::read(&head.uri, &[])?;
    patiently(peer, upkeep(peer).rebuild()).await?;
    let seq = peer.edge.control.journal().tip().seq;
    Ok(json(wire::json(&StoreRebuiltSchema { seq }, 32)))
}

fn upkeep(peer: &Peer) -> &Upkeep {
    peer.edge.control.upkeep()
}

/// Waits for work that grows with the journal: its request is not late while it goes on.
async fn patiently<T>(peer: &Peer, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        peer.pulse.enter(Phase::Work);
        match tokio::time::timeout(BEAT_EVERY, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => continue,
        }
    }
}
