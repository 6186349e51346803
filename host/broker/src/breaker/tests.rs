//! The breaker against the sentence that describes it, and among many callers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};

use proptest::prelude::*;

use super::*;

const CONFIG: BreakerConfig =
    BreakerConfig { failures: 3, window_ms: 1_000, open_ms: 500, probe_lease_ms: 200 };

fn opened() -> Breaker {
    let mut breaker = Breaker::new(CONFIG);
    for at in [0, 1, 2] {
        assert_eq!(breaker.decide(at), Decision::Allowed);
        breaker.failed(None, at);
    }
    breaker
}

fn probe(breaker: &mut Breaker, now_ms: u64) -> Lease {
    match breaker.decide(now_ms) {
        Decision::Probe(lease) => lease,
        other => panic!("no probe at {now_ms}: {other:?}"),
    }
}

#[test]
fn it_opens_at_the_limit_and_refuses_until_its_time_is_up() {
    let mut breaker = opened();
    assert_eq!(breaker.decide(3), Decision::Refused { retry_in_ms: 499 });
    assert_eq!(breaker.decide(501), Decision::Refused { retry_in_ms: 1 });
    assert_eq!(breaker.state(501), BreakerState::Open);
    assert_eq!(breaker.state(502), BreakerState::HalfOpen);
    probe(&mut breaker, 502);
}

#[test]
fn failures_outside_the_window_and_before_a_success_do_not_count() {
    let mut breaker = Breaker::new(CONFIG);
    breaker.failed(None, 0);
    breaker.failed(None, 10);
    breaker.failed(None, 1_001);
    assert_eq!(breaker.failures(1_001), 2, "the first one is too old");
    assert_eq!(breaker.decide(1_001), Decision::Allowed);
    breaker.succeeded();
    breaker.failed(None, 1_002);
    breaker.failed(None, 1_003);
    assert_eq!(breaker.decide(1_003), Decision::Allowed);
    breaker.failed(None, 1_004);
    assert!(matches!(breaker.decide(1_004), Decision::Refused { .. }));
}

#[test]
fn a_probe_decides_for_all() {
    let mut breaker = opened();
    let lease = probe(&mut breaker, 600);
    assert_eq!(breaker.decide(600), Decision::Refused { retry_in_ms: 200 });
    breaker.failed(Some(lease), 650);
    assert_eq!(breaker.decide(650), Decision::Refused { retry_in_ms: 500 });
    let lease = probe(&mut breaker, 1_150);
    breaker.succeeded();
    assert_eq!(breaker.decide(1_150), Decision::Allowed);
    breaker.released(lease);
    assert_eq!(breaker.state(1_150), BreakerState::Closed);
}

#[test]
fn a_lost_probe_expires_and_can_say_nothing_more() {
    let mut breaker = opened();
    let lost = probe(&mut breaker, 600);
    assert!(matches!(breaker.decide(799), Decision::Refused { retry_in_ms: 1 }));
    let next = probe(&mut breaker, 800);
    breaker.failed(Some(lost), 801);
    breaker.released(lost);
    assert!(matches!(breaker.decide(802), Decision::Refused { .. }), "the second one is live");
    breaker.failed(Some(next), 810);
    assert_eq!(breaker.decide(811), Decision::Refused { retry_in_ms: 499 });
}

#[test]
fn a_probe_that_learned_nothing_makes_room_at_once() {
    let mut breaker = opened();
    let lease = probe(&mut breaker, 600);
    breaker.released(lease);
    assert_ne!(probe(&mut breaker, 600), lease);
}

#[test]
fn failures_of_requests_from_before_it_opened_keep_it_open_no_longer() {
    let mut breaker = opened();
    breaker.failed(None, 400);
    probe(&mut breaker, 502);
    breaker.failed(None, 503);
    assert!(matches!(breaker.decide(504), Decision::Refused { retry_in_ms: 198 }));
}

/// The same machine, written for reading: all that ever happened, looked through each time.
#[derive(Default)]
struct Model {
    /// Failures since the last success, while it was closed.
    failures: Vec<u64>,
    open_since: Option<u64>,
    live: Option<(Lease, u64)>,
}

impl Model {
    fn expected(&self, now: u64) -> &'static str {
        let Some(since) = self.open_since else { return "allowed" };
        let is_live = self.live.is_some_and(|(_, until)| now < until);
        if now < since + CONFIG.open_ms || is_live { "refused" } else { "probe" }
    }

    fn failed(&mut self, lease: Option<Lease>, now: u64) {
        if self.open_since.is_some() {
            let held = self.live.map(|(lease, _)| lease);
            if held.is_some() && held == lease {
                (self.open_since, self.live) = (Some(now), None);
            }
            return;
        }
        self.failures.push(now);
        let oldest = now.saturating_sub(CONFIG.window_ms);
        let live = self.failures.iter().filter(|at| **at >= oldest).count();
        if live >= 3 {
            (self.open_since, self.failures) = (Some(now), Vec::new());
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Wait(u16),
    Ask,
    /// Of the n-th request that was let through and is not reported yet.
    Succeed(usize),
    Fail(usize),
    Cancel(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..400_u16).prop_map(Event::Wait),
        4 => Just(Event::Ask),
        1 => any::<usize>().prop_map(Event::Succeed),
        4 => any::<usize>().prop_map(Event::Fail),
        1 => any::<usize>().prop_map(Event::Cancel),
    ]
}

fn taken(running: &mut Vec<Option<Lease>>, at: usize) -> Option<Option<Lease>> {
    (!running.is_empty()).then(|| running.remove(at % running.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_does_what_the_model_does(events in prop::collection::vec(event(), 1..80)) {
        let (mut breaker, mut model, mut now) = (Breaker::new(CONFIG), Model::default(), 0);
        let mut running: Vec<Option<Lease>> = Vec::new();
        for event in events {
            match event {
                Event::Wait(ms) => now += u64::from(ms),
                Event::Ask => {
                    let expected = model.expected(now);
                    let said = match breaker.decide(now) {
                        Decision::Allowed => {
                            running.push(None);
                            "allowed"
                        }
                        Decision::Probe(lease) => {
                            running.push(Some(lease));
                            model.live = Some((lease, now + CONFIG.probe_lease_ms));
                            "probe"
                        }
                        Decision::Refused { retry_in_ms } => {
                            prop_assert!(retry_in_ms > 0);
                            "refused"
                        }
                    };
                    prop_assert_eq!(said, expected);
                }
                Event::Succeed(at) => {
                    if taken(&mut running, at).is_some() {
                        breaker.succeeded();
                        model = Model::default();
                    }
                }
                Event::Fail(at) => {
                    if let Some(lease) = taken(&mut running, at) {
                        breaker.failed(lease, now);
                        model.failed(lease, now);
                    }
                }
                Event::Cancel(at) => {
                    if let Some(Some(lease)) = taken(&mut running, at) {
                        breaker.released(lease);
                        if model.live.is_some_and(|(held, _)| held == lease) {
                            model.live = None;
                        }
                    }
                }
            }
            prop_assert_eq!(breaker.state(now) == BreakerState::Closed, model.open_since.is_none());
        }
    }
}

#[test]
fn a_thousand_callers_make_one_probe() {
    let breaker = Mutex::new(opened());
    let (probes, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..125 {
                    let decision = breaker.lock().expect("not poisoned").decide(600);
                    let counter = match decision {
                        Decision::Probe(_) => &probes,
                        Decision::Refused { .. } => &refused,
                        Decision::Allowed => panic!("it is open"),
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((probes.into_inner(), refused.into_inner()), (1, 999));
}
