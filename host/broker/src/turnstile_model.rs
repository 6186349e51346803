//! The turnstile in every order in which its callers may come: loom runs each test once for each
//! schedule of its threads that could make a difference.
//!
//! It is the same file as the crate's own, compiled with loom's lock and counter.

mod sync {
    pub(super) use loom::sync::atomic::AtomicUsize;
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

#[path = "turnstile.rs"]
#[allow(dead_code, reason = "what only looks at it is not modelled")]
#[allow(clippy::duplicate_mod, reason = "the same code, with locks that a checker schedules")]
mod turnstile;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;

use self::turnstile::{Pass, Shut, Turnstile};
use crate::breaker::BreakerConfig;

const CONFIG: BreakerConfig =
    BreakerConfig { failures: 1, window_ms: 1_000, open_ms: 500, probe_lease_ms: 200 };
/// When the time of one that opened at 0 is up.
const DUE_MS: u64 = 600;
/// When a probe from then has expired.
const LATER_MS: u64 = DUE_MS + CONFIG.probe_lease_ms;
const PLENTY: usize = 100;

type Entered = Result<Pass<&'static str>, Shut>;

/// One that opened at 0.
fn opened(inside_max: usize) -> Arc<Turnstile<&'static str>> {
    let turnstile = Arc::new(Turnstile::new(CONFIG, inside_max));
    let mut pass = entered(turnstile.enter(0));
    assert!(pass.failed("it is broken", 0));
    drop(pass);
    turnstile
}

fn entered(entered: Entered) -> Pass<&'static str> {
    entered.unwrap_or_else(|shut| panic!("{shut:?}"))
}

fn in_thread(turnstile: &Arc<Turnstile<&'static str>>, now_ms: u64) -> thread::JoinHandle<Entered> {
    let turnstile = Arc::clone(turnstile);
    thread::spawn(move || turnstile.enter(now_ms))
}

fn probes(entered: &[Entered]) -> usize {
    entered.iter().flatten().filter(|pass| pass.is_probe()).count()
}

/// Runs the test for each schedule, and holds that there was more than one: a test in which
/// nothing could happen at once would hold whatever the code.
fn in_every_order(test: impl Fn() + Send + Sync + 'static) {
    let schedules = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&schedules);
    loom::model(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        test();
    });
    let schedules = schedules.load(Ordering::Relaxed);
    println!("{schedules} schedules");
    assert!(schedules > 1);
}

#[test]
fn of_all_who_come_when_the_time_is_up_exactly_one_probes() {
    in_every_order(|| {
        let turnstile = opened(PLENTY);
        let callers = [(); 3].map(|()| in_thread(&turnstile, DUE_MS));
        let entered = callers.map(|caller| caller.join().expect("no panic"));
        assert_eq!(probes(&entered), 1);
        assert_eq!(entered.iter().flatten().count(), 1, "the others are refused");
        assert_eq!(turnstile.inside(), 1);
        drop(entered);
        assert_eq!(turnstile.inside(), 0);
    });
}

#[test]
fn a_lost_probe_makes_room_for_exactly_one_whenever_it_is_found() {
    in_every_order(|| {
        let turnstile = opened(PLENTY);
        let lost = entered(turnstile.enter(DUE_MS));
        let callers = [(); 2].map(|()| in_thread(&turnstile, LATER_MS));
        let found = thread::spawn(move || drop(lost));
        let entered = callers.map(|caller| caller.join().expect("no panic"));
        found.join().expect("no panic");
        assert_eq!(probes(&entered), 1);
        assert!(turnstile.enter(LATER_MS + 1).is_err(), "the one that came after it is live");
    });
}

#[test]
fn a_late_failure_of_a_lost_probe_never_ends_the_one_after_it() {
    in_every_order(|| {
        let turnstile = opened(PLENTY);
        let mut lost = entered(turnstile.enter(DUE_MS));
        let callers = [(); 2].map(|()| in_thread(&turnstile, LATER_MS));
        let late = thread::spawn(move || lost.failed("late", LATER_MS));
        let entered = callers.map(|caller| caller.join().expect("no panic"));
        assert!(!late.join().expect("no panic"), "it was open before");
        // Before the others it still counts, and they are refused; after them it does not.
        let wait_ms = match probes(&entered) {
            0 => CONFIG.open_ms,
            1 => CONFIG.probe_lease_ms,
            more => panic!("{more} probes"),
        };
        let refused = turnstile.enter(LATER_MS).err();
        assert_eq!(refused, Some(Shut::Open { retry_in_ms: wait_ms }));
    });
}

#[test]
fn once_a_probe_succeeded_all_get_in_and_none_is_a_probe() {
    in_every_order(|| {
        let turnstile = opened(PLENTY);
        let mut probe = entered(turnstile.enter(DUE_MS));
        let answered = thread::spawn(move || probe.succeeded());
        let callers = [(); 2].map(|()| in_thread(&turnstile, DUE_MS));
        let entered = callers.map(|caller| caller.join().expect("no panic"));
        answered.join().expect("no panic");
        assert_eq!(probes(&entered), 0);
        assert!(turnstile.is_closed(DUE_MS));
        assert!(turnstile.enter(DUE_MS).is_ok());
    });
}

#[test]
fn a_probe_for_which_there_is_no_room_gives_its_lease_back() {
    in_every_order(|| {
        let turnstile = Arc::new(Turnstile::new(CONFIG, 2));
        let mut broken = entered(turnstile.enter(0));
        let slow = entered(turnstile.enter(0));
        assert!(broken.failed("it is broken", 0));
        let leaves = thread::spawn(move || drop(slow));
        let callers = [(); 2].map(|()| in_thread(&turnstile, DUE_MS));
        let entered = callers.map(|caller| caller.join().expect("no panic"));
        leaves.join().expect("no panic");
        assert!(probes(&entered) <= 1);
        drop(entered);
        drop(broken);
        assert_eq!(turnstile.inside(), 0);
        assert!(turnstile.enter(DUE_MS).is_ok_and(|pass| pass.is_probe()));
    });
}
