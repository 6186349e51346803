//! `wasi:clocks`: what time it is, and waiting.
//!
//! Granted by `Grant::clock`; without it both clocks move in steps of a millisecond, too
//! coarse to time a cache line. Waiting needs no grant: the call's deadline bounds it.

use std::time::{Duration, SystemTime};

use foreshore_domain::grant::Clock;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::clocks::{WasiClocksCtx, WasiClocksCtxView};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};

use crate::state::State;

const COARSE_STEP: Duration = Duration::from_millis(1);
const FINE_STEP: Duration = Duration::from_nanos(1);

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    wall_clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    monotonic_clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

fn step(clock: Clock) -> Duration {
    match clock {
        Clock::Coarse => COARSE_STEP,
        Clock::Fine => FINE_STEP,
    }
}

fn in_steps(time: Duration, clock: Clock) -> Duration {
    match clock {
        Clock::Coarse => Duration::new(
            time.as_secs(),
            time.subsec_millis() * u32::try_from(COARSE_STEP.as_nanos()).unwrap_or(u32::MAX),
        ),
        Clock::Fine => time,
    }
}

#[allow(clippy::disallowed_methods, reason = "this file is the guests' clock")]
fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn datetime(time: Duration) -> wall_clock::Datetime {
    wall_clock::Datetime { seconds: time.as_secs(), nanoseconds: time.subsec_nanos() }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl State {
    fn clock(&self) -> Clock {
        self.scope.context.grant.clock
    }

    /// Both waits of the monotonic clock end here; wasmtime-wasi has the timer.
    fn wait(&mut self, duration_ns: u64) -> Result<Resource<DynPollable>> {
        self.scope.count_operation()?;
        let mut clocks = WasiClocksCtx::default();
        let mut view = WasiClocksCtxView { ctx: &mut clocks, table: &mut self.table };
        monotonic_clock::Host::subscribe_duration(&mut view, duration_ns)
    }
}

impl wall_clock::Host for State {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        Ok(datetime(in_steps(unix_time(), self.clock())))
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        Ok(datetime(step(self.clock())))
    }
}

impl monotonic_clock::Host for State {
    /// Counts from the start of the call: a guest learns nothing of the host's uptime.
    fn now(&mut self) -> Result<monotonic_clock::Instant> {
        Ok(nanoseconds(in_steps(self.scope.started.elapsed(), self.clock())))
    }

    fn resolution(&mut self) -> Result<monotonic_clock::Duration> {
        Ok(nanoseconds(step(self.clock())))
    }

    fn subscribe_instant(
        &mut self,
        when: monotonic_clock::Instant,
    ) -> Result<Resource<DynPollable>> {
        let now = nanoseconds(self.scope.started.elapsed());
        self.wait(when.saturating_sub(now))
    }

    fn subscribe_duration(
        &mut self,
        duration: monotonic_clock::Duration,
    ) -> Result<Resource<DynPollable>> {
        self.wait(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_clock_shows_whole_milliseconds() {
        let time = Duration::new(7, 123_456_789);
        assert_eq!(in_steps(time, Clock::Coarse), Duration::new(7, 123_000_000));
        assert_eq!(in_steps(time, Clock::Fine), time);
    }
}
