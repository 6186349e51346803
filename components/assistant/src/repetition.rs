//! Going round in circles: the same calls with the same results, again and again.

use std::collections::BTreeMap;

use foreshore_sdk::agent::ToolCall;
use foreshore_sdk::agent::inference::ToolResult;

/// How often the same may happen before the model is told.
const PATIENCE: u32 = 3;

/// What happened in a turn, and how often.
#[derive(Debug, Default)]
pub(crate) struct Repetition {
    seen: BTreeMap<String, u32>,
    told: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// Tell the model.
    Tell,
    GiveUp,
}

impl Repetition {
    /// Notes what was called and what came of it. A call whose result changed is no repetition:
    /// something may be waited for.
    pub(crate) fn note(&mut self, calls: &[ToolCall], results: &[ToolResult]) -> Verdict {
        let mut key = String::new();
        for call in calls {
            key.extend([&call.name, "(", &call.arguments_json, ")\n"]);
        }
        for result in results {
            key.extend([&result.content, "\n"]);
        }
        let count = self.seen.entry(key).or_default();
        *count += 1;
        match *count {
            ..PATIENCE => Verdict::GoOn,
            _ if self.told => Verdict::GiveUp,
            _ => {
                self.told = true;
                Verdict::Tell
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(repetition: &mut Repetition, arguments: &str, content: &str) -> Verdict {
        let (id, name) = ("1".to_owned(), "files__read".to_owned());
        let call =
            ToolCall { id: id.clone(), name: name.clone(), arguments_json: arguments.to_owned() };
        let result = ToolResult { id, name, content: content.to_owned(), is_error: false };
        repetition.note(&[call], &[result])
    }

    #[test]
    fn the_third_time_is_told_and_the_next_ends_it() {
        let mut repetition = Repetition::default();
        let verdicts: Vec<_> = (0..4).map(|_| once(&mut repetition, "{}", "x")).collect();
        assert_eq!(verdicts, [Verdict::GoOn, Verdict::GoOn, Verdict::Tell, Verdict::GiveUp]);
        assert_eq!(once(&mut repetition, "{\"path\":1}", "x"), Verdict::GoOn);
    }

    #[test]
    fn two_calls_in_turns_are_a_circle_too() {
        let mut repetition = Repetition::default();
        let verdicts: Vec<_> =
            ["a", "b", "a", "b", "a", "b"].map(|one| once(&mut repetition, one, "x")).into();
        assert_eq!(verdicts[3], Verdict::GoOn);
        assert_eq!(verdicts[4..], [Verdict::Tell, Verdict::GiveUp]);
    }

    #[test]
    fn waiting_for_a_change_is_none() {
        let mut repetition = Repetition::default();
        for n in 0..10 {
            assert_eq!(once(&mut repetition, "{}", &n.to_string()), Verdict::GoOn);
        }
    }
}
