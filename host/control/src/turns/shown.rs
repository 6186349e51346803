//! What is shown as it comes, behind what was said before it and is on its way to the disk.
//!
//! A phase is told under its number in the journal, so it is told when it is on disk, a moment
//! after it was said. What the agent or its model says in that moment waits here. The invariant:
//! **whoever watches is told of a phase before what was said in it.** Deliberately absent: any
//! limit of time, since a commit ends, one way or another, and any copy of what nobody waits for.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::update::TurnEvent;

/// How many wait each by itself. What comes after them goes on from the last, so that those who
/// watch are not flooded when all are told at once.
const APART_MAX: usize = 64;

/// The deltas of one run that wait.
#[derive(Default)]
pub(crate) struct Shown(Mutex<VecDeque<Said>>);

/// What was said and not told yet, in order; a phase is first, or nothing is there.
enum Said {
    Phase,
    Delta(TurnEvent),
}

impl Shown {
    /// A phase was said, and will be on record.
    pub(crate) fn phase_said(&self) {
        self.lock().push_back(Said::Phase);
    }

    /// Passes a delta to `tell`, now or behind the phases that are on their way.
    pub(crate) fn pass(&self, delta: TurnEvent, tell: impl FnOnce(TurnEvent)) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            // Under the lock, so that none overtakes another.
            return tell(delta);
        }
        if waiting.len() >= APART_MAX
            && let Some(Said::Delta(last)) = waiting.back_mut()
            && goes_on(last, &delta)
        {
            return;
        }
        waiting.push_back(Said::Delta(delta));
    }

    /// The oldest phase was told, or never will be: what was said in it is told.
    pub(crate) fn phase_told(&self, mut tell: impl FnMut(TurnEvent)) {
        let mut waiting = self.lock();
        waiting.pop_front();
        while let Some(Said::Delta(_)) = waiting.front() {
            if let Some(Said::Delta(delta)) = waiting.pop_front() {
                tell(delta);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Said>> {
        // A std mutex: nothing awaits while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds a delta to one of the same kind; `false` if it is of another.
fn goes_on(last: &mut TurnEvent, delta: &TurnEvent) -> bool {
    match (last, delta) {
        (TurnEvent::MessageDelta(last), TurnEvent::MessageDelta(more))
        | (TurnEvent::ThinkingDelta(last), TurnEvent::ThinkingDelta(more)) => last.push_str(more),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> TurnEvent {
        TurnEvent::MessageDelta(text.to_owned())
    }

    /// What was told, deltas by their text.
    fn told(events: &[TurnEvent]) -> Vec<String> {
        let words = events.iter().map(|event| match event {
            TurnEvent::MessageDelta(text) => text.clone(),
            TurnEvent::ThinkingDelta(text) => format!("({text})"),
            other => panic!("{other:?}"),
        });
        words.collect()
    }

    #[test]
    fn a_delta_waits_for_the_phase_it_was_said_in_and_for_no_other() {
        let (shown, mut seen) = (Shown::default(), Vec::new());
        shown.pass(text("before"), |event| seen.push(event));
        shown.phase_said();
        for delta in [text("one "), text("two"), TurnEvent::ThinkingDelta("hm".to_owned())] {
            shown.pass(delta, |event| seen.push(event));
        }
        shown.phase_said();
        shown.pass(text("later"), |event| seen.push(event));
        assert_eq!(told(&seen), ["before"]);
        shown.phase_told(|event| seen.push(event));
        assert_eq!(told(&seen), ["before", "one ", "two", "(hm)"]);
        shown.phase_told(|event| seen.push(event));
        shown.pass(text("after"), |event| seen.push(event));
        assert_eq!(told(&seen), ["before", "one ", "two", "(hm)", "later", "after"]);
    }

    #[test]
    fn what_is_said_at_length_is_told_in_pieces_that_do_not_flood() {
        let (shown, mut seen) = (Shown::default(), Vec::new());
        shown.phase_said();
        for _ in 0..10_000 {
            shown.pass(text("on "), |event| panic!("{event:?}"));
        }
        shown.phase_told(|event| seen.push(event));
        assert_eq!(told(&seen).concat(), "on ".repeat(10_000));
        assert!(seen.len() <= APART_MAX, "{}", seen.len());
    }

    #[test]
    fn a_phase_in_which_nothing_was_said_holds_nothing() {
        let (shown, mut seen) = (Shown::default(), Vec::new());
        shown.phase_said();
        shown.phase_told(|event| panic!("{event:?}"));
        shown.pass(text("at once"), |event| seen.push(event));
        assert_eq!(told(&seen), ["at once"]);
    }
}
