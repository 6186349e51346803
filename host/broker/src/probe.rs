//! Bringing backends back: open breakers are looked at in the background, so that nobody's
//! request has to be the one that tries.
//!
//! A backend that could not be reached is asked for its version, which costs nothing. One that
//! answered with failures is asked to load the model, which costs little: no token is made. The
//! probe holds the breaker's one lease, and is as long as it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

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
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let mut probes = tokio::task::JoinSet::new();
        for lane in inner.all_lanes() {
            if let Some(attempt) = lane.begin_probe() {
                inner.counters.probes.add(1);
                let lease = Duration::from_millis(inner.config.breaker.probe_lease_ms);
                // Each on its own: one that takes long keeps no other from coming back.
                probes.spawn(probe(lane, attempt, lease));
            }
        }
        drop(inner);
        probes.join_all().await;
    }
}

async fn probe(lane: Arc<Lane>, mut attempt: Attempt, limit: Duration) {
    let was_unreachable =
        lane.breaker().0.last_failure.as_ref().is_some_and(Failure::is_connection);
    let asked = async {
        lane.backend.ping().await?;
        if !was_unreachable {
            lane.prepared(Loading::First).await.map_err(|error| error.failure)?;
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
