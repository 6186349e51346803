//! A load that takes 90 seconds by the broker's clock, with its limits as they are by default.
//!
//! Server and broker share one clock, which stands still but where the test moves it; sockets are
//! real. So this takes no time, and no limit can run out that did not run out in those seconds.
//! (`tests/agents/cold.rs` does the same in real time, through the binary.)

use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use foreshore_broker::{BackendConfig, BackendKind, BreakerState, Broker, BrokerConfig};
use foreshore_domain::inference::{Completion, InferenceError, Step};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::stub::{Act, Seen, Stub, ollama, response};
use crate::support::{ask, failures};

const LOAD: Duration = Duration::from_secs(90);
/// What a timer may be late: it counts in milliseconds.
const TICK: Duration = Duration::from_millis(1);

/// A clock that stands still, though the runtime may be idle: as long as a thread is at work for
/// it, time does not run ahead.
struct StoodStill(Option<mpsc::Sender<()>>);

impl StoodStill {
    fn begin() -> Self {
        tokio::time::pause();
        let (sender, receiver) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || receiver.recv().is_err());
        Self(Some(sender))
    }
}

impl Drop for StoodStill {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// Waits in real time, in which the broker's clock stands still, until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        let slept = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(10)));
        slept.await.expect("it slept");
    }
    panic!("not in 30 s: {what}");
}

/// A server that says nothing for 90 s when it is first asked to load its model, and has it then.
async fn cold() -> Stub {
    let began: Arc<OnceLock<Instant>> = Arc::default();
    Stub::start(move |seen| {
        let is_loaded = began.get().is_some_and(|began| began.elapsed() >= LOAD);
        if seen.line.contains("/api/ps") {
            let models = if is_loaded { r#"{"name":"m:latest"}"# } else { "" };
            return response(200, &format!(r#"{{"models":[{models}]}}"#));
        }
        if !seen.line.contains("/api/chat") {
            return ollama(seen);
        }
        if asks(seen) {
            assert!(is_loaded, "it is asked before the model is there");
            let message = r#"{"role":"assistant","content":"at last"}"#;
            let said = format!(r#"{{"model":"m","message":{message},"done":true,"done_reason":"stop"}}"#);
            return response(200, &said);
        }
        let left = LOAD.saturating_sub(began.get_or_init(Instant::now).elapsed());
        let done = r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}"#;
        let mut acts = vec![Act::Wait(left)];
        acts.extend(response(200, done));
        acts
    })
    .await
}

fn asks(seen: &Seen) -> bool {
    seen.body["messages"].as_array().is_some_and(|messages| !messages.is_empty())
}

fn chats(server: &Stub) -> usize {
    server.seen("/api/chat").iter().filter(|seen| asks(seen)).count()
}

fn loads(server: &Stub) -> usize {
    server.seen("/api/chat").len() - chats(server)
}

fn caller(broker: &Broker, n: usize) -> JoinHandle<Result<Completion, InferenceError>> {
    let broker = broker.clone();
    tokio::spawn(async move { ask(&broker, &format!("question {n}")).await })
}

#[tokio::test]
async fn a_load_of_90_s_trips_nothing_and_whoever_came_meanwhile_is_answered_after_it() {
    let _still = StoodStill::begin();
    let server = cold().await;
    let backend = BackendConfig::new("slow", BackendKind::Ollama, server.url());
    let mut config = BrokerConfig { backends: vec![backend], ..BrokerConfig::default() };
    config.models.insert("m".to_owned(), Default::default());
    let broker = Broker::new(config).expect("the configuration is good");

    let began = Instant::now();
    let mut callers = vec![caller(&broker, 0)];
    until("the load has begun", || loads(&server) == 1).await;
    for second in 1..90 {
        // One more comes at once, and one when half of the time is over.
        if second == 1 || second == 45 {
            callers.push(caller(&broker, callers.len()));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        // What is due is done before the next second: a look at the server goes over a socket.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert!(callers.iter().all(|caller| !caller.is_finished()), "at {second} s");
        assert_eq!((loads(&server), chats(&server)), (1, 0), "at {second} s");
        assert_eq!(failures(&broker, "slow"), 0, "at {second} s");
    }
    assert_eq!(began.elapsed(), Duration::from_secs(89));

    tokio::time::advance(Duration::from_secs(1) + TICK).await;
    until("all are answered", || callers.iter().all(JoinHandle::is_finished)).await;
    for caller in callers {
        let answer = caller.await.expect("no panic").expect("a slow load is no failure");
        assert_eq!(answer.message.plain_text(), "at last");
        assert_eq!(answer.served_by.step, Step::Primary);
    }
    assert_eq!(began.elapsed(), LOAD + TICK, "nobody waited for more");
    assert_eq!((loads(&server), chats(&server)), (1, 3), "one load for all, and nobody again");
    let (health, metrics) = (broker.health(), broker.metrics());
    let model = &health[0].models[0];
    assert_eq!((model.failures, model.breaker), (0, BreakerState::Closed));
    assert!(health[0].reachable);
    assert_eq!(metrics.broker.retries, 0);
    assert!(!broker.is_safe_mode());
}

#[tokio::test]
async fn a_load_beyond_its_limit_ends_by_that_limit_and_by_no_other() {
    let _still = StoodStill::begin();
    let server = cold().await;
    let mut backend = BackendConfig::new("slow", BackendKind::Ollama, server.url());
    backend.timeouts.load_ms = Some(60_000);
    let mut config = BrokerConfig { backends: vec![backend], ..BrokerConfig::default() };
    config.models.insert("m".to_owned(), Default::default());
    let broker = Broker::new(config).expect("the configuration is good");
    let caller = caller(&broker, 0);
    until("the load has begun", || loads(&server) == 1).await;
    tokio::time::advance(Duration::from_millis(59_999)).await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert!(!caller.is_finished(), "its time is not over");
    tokio::time::advance(2 * TICK).await;
    until("it is told", || caller.is_finished()).await;
    let told = caller.await.expect("no panic").expect_err("it took too long");
    assert!(matches!(told, InferenceError::TimedOut { limit_ms: 60_000, .. }), "{told:?}");
    assert_eq!(failures(&broker, "slow"), 0, "the server answers, so it is not broken");
}
