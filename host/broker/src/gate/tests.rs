//! Permits, under a paused clock.

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn gate(concurrency: u32, max: usize) -> Gate {
    Gate::new(concurrency, QueueConfig { max, max_per_tenant: max })
}

async fn waiting(gate: &Gate, count: usize) {
    while gate.load().1 < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_and_the_next_when_it_is_done() {
    let gate = gate(1, 10);
    let first = gate.enter("a", Priority::Agent, LONG).await.expect("free");
    let second = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter("a", Priority::Agent, LONG).await.map(drop) }
    });
    waiting(&gate, 1).await;
    assert_eq!(gate.load(), (1, 1));
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.await.expect("no panic"), Ok(()));
    assert_eq!(gate.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_no_trace() {
    let gate = gate(1, 1);
    let held = gate.enter("a", Priority::Agent, LONG).await.expect("free");
    let late = gate.enter("a", Priority::Agent, Duration::from_millis(5)).await;
    assert_eq!(late.err(), Some(GateError::TimedOut));
    assert_eq!(gate.load(), (1, 0));
    let gone = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter("a", Priority::Agent, LONG).await.map(drop) }
    });
    waiting(&gate, 1).await;
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!(gate.load(), (1, 0));
    drop(held);
    gate.enter("b", Priority::Agent, LONG).await.expect("free again");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_says_when_to_come_back() {
    let gate = gate(1, 1);
    let held = gate.enter("a", Priority::Agent, LONG).await.expect("free");
    let second = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter("a", Priority::Agent, LONG).await.map(drop) }
    });
    waiting(&gate, 1).await;
    match gate.enter("a", Priority::Agent, LONG).await.err() {
        Some(GateError::Full { full: Full::All, retry_after_ms }) => {
            assert!(RETRY_AFTER_MS.contains(&retry_after_ms), "{retry_after_ms}");
        }
        other => panic!("it is full: {other:?}"),
    }
    drop(held);
    assert_eq!(second.await.expect("no panic"), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_are_neither_lost_nor_doubled() {
    let gate = gate(2, 1_000);
    let inside = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..400_u64 {
        let (gate, inside) = (gate.clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            let limit = if n % 3 == 0 { Duration::from_micros(n) } else { LONG };
            let Ok(_permit) = gate.enter("a", Priority::Agent, limit).await else { return };
            let now = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            assert!(now <= 2, "{now} at a time");
            tokio::task::yield_now().await;
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
    assert_eq!(gate.load(), (0, 0));
}
