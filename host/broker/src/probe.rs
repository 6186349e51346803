//! Bringing backends back: open breakers are looked at in the background, so that nobody's
//! request has to be the one that tries.
//!
//! A backend that could not be reached is asked for its version, which costs nothing. One that
//! answered with failures is asked for one token of the model: that a model can be loaded does
//! not say that it can answer. The probe holds the breaker's one lease, and is as long as it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use foreshore_domain::inference::{ChatRequest, Message, Role};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::backend::WireChat;
use crate::broker::{Broker, Inner};
use crate::failure::Failure;
use crate::lane::{Attempt, Lane, Loading};

impl Broker {
    /// Probes open breakers until `stop`, or until the last broker is dropped.
    pub fn probing(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let inner = Arc::downgrade(&self.inner);
        let every = Duration::from_millis(self.inner.config.probe_every_ms);
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = probe_for_ever(inner, every) => {}
            }
        }
    }
}

async fn probe_for_ever(inner: Weak<Inner>, every: Duration) {
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Each on its own: one that takes long keeps no other from coming back.
    let mut probes = JoinSet::new();
    loop {
        ticks.tick().await;
        while probes.try_join_next().is_some() {}
        let Some(inner) = inner.upgrade() else { return };
        for lane in inner.all_lanes() {
            if let Some(attempt) = lane.begin_probe() {
                inner.counters.probes.add(1);
                let lease = Duration::from_millis(inner.config.breaker.probe_lease_ms);
                probes.spawn(probe(lane, attempt, lease));
            }
        }
    }
}

async fn one_token(lane: &Arc<Lane>) -> Result<(), Failure> {
    let facts = lane.prepared(Loading::First).await.map_err(|error| error.failure)?;
    let mut request = ChatRequest::new(None, vec![Message::text(Role::User, "hi")]);
    request.sampling.max_tokens = Some(1);
    let runner = lane.runner(&facts);
    let (model, request) = (lane.model.as_str(), &request);
    let wire = WireChat { model, request, tools: &[], runner: &runner, facts: &facts };
    match lane.backend.chat(&wire).await?.next().await? {
        Some(_) => Ok(()),
        None => Err(Failure::Answer { message: "it ended without an answer".to_owned() }),
    }
}

async fn probe(lane: Arc<Lane>, mut attempt: Attempt, limit: Duration) {
    let was_unreachable =
        lane.breaker().0.last_failure.as_ref().is_some_and(Failure::is_connection);
    let asked = async {
        lane.backend.ping().await?;
        if !was_unreachable {
            one_token(&lane).await?;
        }
        Ok::<(), Failure>(())
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(())) => {
            attempt.succeeded();
            let (backend, model) = (&lane.backend.name, &lane.model);
            tracing::info!(backend, model, "is back");
        }
        Ok(Err(failure)) => attempt.failed(&failure),
        // Slow is not broken; dropping the attempt gives its lease back.
        Err(_) => {}
    }
}
