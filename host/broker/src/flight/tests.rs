//! Who shares a task, and who stops it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn equal_keys_share_a_task_and_one_who_leaves_harms_nobody() {
    let flights: Flights<u8, u32> = Flights::new();
    let go = Arc::new(Notify::new());
    let started = Arc::new(AtomicUsize::new(0));
    let start = |value: u32| {
        let (go, started) = (Arc::clone(&go), Arc::clone(&started));
        move || async move {
            started.fetch_add(1, Ordering::SeqCst);
            go.notified().await;
            value
        }
    };
    let leader = flights.join(1, start(7));
    let follower = flights.join(1, start(8));
    assert_eq!((leader.part, follower.part), (Part::Leader, Part::Follower));
    drop(leader);
    go.notify_one();
    assert_eq!(follower.wait().await, Some(7));
    assert_eq!(started.load(Ordering::SeqCst), 1);
    assert_eq!(flights.len(), 0);
    let again = flights.join(1, start(9));
    assert_eq!(again.part, Part::Leader, "what has ended is not joined");
    go.notify_one();
    assert_eq!(again.wait().await, Some(9));
}

#[tokio::test]
async fn a_task_that_nobody_waits_for_is_stopped() {
    struct Flag(Arc<AtomicUsize>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let flights: Flights<u8, u32> = Flights::new();
    let stopped = Arc::new(AtomicUsize::new(0));
    let flag = Flag(Arc::clone(&stopped));
    let joined = flights.join(1, || async move {
        let _flag = flag;
        std::future::pending().await
    });
    tokio::task::yield_now().await;
    drop(joined);
    while stopped.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(flights.len(), 0);
}

#[tokio::test]
async fn a_task_that_panics_is_no_answer() {
    let flights: Flights<u8, u32> = Flights::new();
    let joined = flights.join(1, || async { panic!("on purpose") });
    assert_eq!(joined.wait().await, None);
}
