//! One quota, by the generic cell rate algorithm (ITU-T I.371, annex A): all that is kept of a key
//! is the time at which it will have all of its quota again.

use std::num::NonZeroU64;
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;

/// So many at once, and so many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// What clients are told it is called.
    pub(crate) name: &'static str,
    /// How many at once.
    pub(crate) burst: u64,
    /// After how long there is one more.
    interval_ns: u64,
}

/// What came of asking for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is given; so many are left, and in so long all are there again.
    Yes { left: u64, full_ns: u64 },
    /// There is none; in so long there is one again.
    No { wait_ns: u64 },
}

impl Taken {
    /// How long to wait for one.
    pub(crate) fn wait(self) -> Duration {
        match self {
            Self::Yes { .. } => Duration::ZERO,
            Self::No { wait_ns } => Duration::from_nanos(wait_ns),
        }
    }
}

impl Quota {
    pub(crate) fn per_second(name: &'static str, rate: NonZeroU64, burst: NonZeroU64) -> Self {
        Self { name, burst: burst.get(), interval_ns: (SECOND_NS / rate).max(1) }
    }

    pub(crate) fn per_minute(name: &'static str, rate: NonZeroU64) -> Self {
        Self { name, burst: rate.get(), interval_ns: (60 * SECOND_NS / rate).max(1) }
    }

    /// The time in which all of it comes again.
    pub(crate) fn window_ns(self) -> u64 {
        self.interval_ns.saturating_mul(self.burst)
    }

    /// Takes one, if there is one. `full_at_ns` is what is kept of the key.
    pub(crate) fn take(self, full_at_ns: &mut u64, now_ns: u64) -> Taken {
        let taken = self.look(*full_at_ns, now_ns);
        if let Taken::Yes { full_ns, .. } = taken {
            *full_at_ns = now_ns.saturating_add(full_ns);
        }
        taken
    }

    /// What would come of taking one.
    pub(crate) fn look(self, full_at_ns: u64, now_ns: u64) -> Taken {
        let after_ns = full_at_ns.max(now_ns).saturating_add(self.interval_ns);
        let full_ns = after_ns - now_ns;
        match self.window_ns().checked_sub(full_ns) {
            Some(room_ns) => Taken::Yes { left: room_ns / self.interval_ns, full_ns },
            None => Taken::No { wait_ns: full_ns - self.window_ns() },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(value: u64) -> NonZeroU64 {
        NonZeroU64::new(value).expect("not zero")
    }

    #[test]
    fn a_burst_is_given_at_once_and_then_one_at_a_time() {
        let quota = Quota::per_second("x", of(10), of(3));
        let mut at = 0;
        for left in [2, 1, 0] {
            assert!(matches!(quota.take(&mut at, 5), Taken::Yes { left: l, .. } if l == left));
        }
        let wait_ns = SECOND_NS / 10;
        assert_eq!(quota.take(&mut at, 5), Taken::No { wait_ns });
        assert_eq!(quota.take(&mut at, 5), Taken::No { wait_ns }, "asking costs nothing");
        assert_eq!(quota.take(&mut at, 4 + wait_ns), Taken::No { wait_ns: 1 });
        assert!(matches!(quota.take(&mut at, 5 + wait_ns), Taken::Yes { left: 0, .. }));
        let rested = 5 + 100 * SECOND_NS;
        assert!(matches!(quota.take(&mut at, rested), Taken::Yes { left: 2, .. }));
    }

    proptest! {
        #[test]
        fn no_more_is_given_than_the_burst_and_the_rate(
            rate in 1..10_000_u64,
            burst in 1..1_000_u64,
            steps in proptest::collection::vec(0..50_000_000_u64, 1..400),
        ) {
            let quota = Quota::per_second("x", of(rate), of(burst));
            let (mut at, mut now_ns, mut given) = (0, 0, 0_u64);
            for step in steps {
                now_ns += step;
                if let Taken::Yes { left, .. } = quota.take(&mut at, now_ns) {
                    given += 1;
                    prop_assert!(left < burst);
                }
                prop_assert!(given <= burst + now_ns / quota.interval_ns + 1);
            }
        }
    }
}
