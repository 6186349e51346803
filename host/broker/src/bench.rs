//! What is measured of this crate from outside, for `foreshore bench`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::breaker::{Breaker, BreakerConfig, Decision};

/// The time of so many decisions of a breaker, the lock around it included, as each request
/// pays for one: half of them of a closed breaker, half of an open one.
pub fn breaker_decisions(count: u32) -> Duration {
    let config = BreakerConfig::default();
    let closed = Mutex::new(Breaker::new(config));
    let mut open = Breaker::new(config);
    for _ in 0..config.failures {
        open.failed(None, 0);
    }
    let open = Mutex::new(open);
    let began = Instant::now();
    let mut allowed = 0_u32;
    for n in 0..count {
        let breaker = if n % 2 == 0 { &closed } else { &open };
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(breaker.decide(u64::from(n) % config.open_ms), Decision::Allowed) {
            allowed += 1;
        }
    }
    std::hint::black_box(allowed);
    began.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_takes_some_time() {
        let time = breaker_decisions(100_000);
        // A limit so generous that only something else than a decision breaks it.
        assert!(time > Duration::ZERO && time < Duration::from_secs(10), "{time:?}");
        println!("{} ns a decision", time.as_nanos() / 100_000);
    }
}
