//! `foreshore:progress`: how far a call has come.
//!
//! Needs no grant. At most one report in ten milliseconds goes to the door; one that comes
//! sooner replaces the one before it, and the last is sent when the call ends, so the last
//! report is never lost.

use std::time::{Duration, Instant};

use foreshore_domain::call::Progress;
use foreshore_domain::effect::Effect;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::foreshore::progress::progress;
use crate::capability::log::escaped_line;
use crate::state::State;

/// 100 reports a second.
const INTERVAL: Duration = Duration::from_millis(10);
const MESSAGE_MAX_BYTES: usize = 1 << 10;

/// When the last report went out, and the one that waits.
#[derive(Default)]
pub(crate) struct Reporter {
    sent_at: Option<Instant>,
    waiting: Option<Progress>,
}

impl Reporter {
    /// The report to send now, if it is time for one.
    fn admit(&mut self, report: Progress, now: Instant) -> Option<Progress> {
        if self.sent_at.is_some_and(|sent_at| now.duration_since(sent_at) < INTERVAL) {
            self.waiting = Some(report);
            return None;
        }
        self.sent_at = Some(now);
        self.waiting = None;
        Some(report)
    }

    /// The report that was held back, at the end of the call.
    pub(crate) fn last(&mut self) -> Option<Progress> {
        self.waiting.take()
    }
}

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    progress::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl progress::Host for State {
    async fn report(
        &mut self,
        done: f64,
        total: Option<f64>,
        message: Option<String>,
    ) -> Result<()> {
        self.scope.count_operation()?;
        self.scope.copied(message.as_ref().map_or(0, String::len));
        self.scope.breathe().await;
        // Not a number is no progress, and would not survive JSON.
        if !done.is_finite() {
            return Ok(());
        }
        let report = Progress {
            done,
            total: total.filter(|total| total.is_finite()),
            message: message.map(|message| escaped_line(message.as_bytes(), MESSAGE_MAX_BYTES)),
        };
        if let Some(report) = self.progress.admit(report, Instant::now()) {
            self.scope.note(Effect::Progress(report));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(done: f64) -> Progress {
        Progress { done, total: None, message: None }
    }

    #[test]
    fn reports_in_quick_succession_are_thinned_and_the_last_is_kept() {
        let start = Instant::now();
        let mut reporter = Reporter::default();
        assert_eq!(reporter.admit(report(1.0), start), Some(report(1.0)));
        assert_eq!(reporter.admit(report(2.0), start + INTERVAL / 2), None);
        assert_eq!(reporter.admit(report(3.0), start + INTERVAL / 2), None);
        assert_eq!(reporter.admit(report(4.0), start + INTERVAL), Some(report(4.0)));
        assert_eq!(reporter.last(), None);
        assert_eq!(reporter.admit(report(5.0), start + INTERVAL), None);
        assert_eq!(reporter.last(), Some(report(5.0)));
    }
}
