//! One turn: the members answer, the judge decides.

use foreshore_sdk::Error;
use foreshore_sdk::agent::{Finish, Reply, Turn, budget, reply};
use serde_json::json;

use crate::judging::{self, Verdict};
use crate::members::{self, Answer, Answers};
use crate::parameters::Parameters;

/// Takes a turn.
pub(crate) fn take(turn: &Turn, parameters: &Parameters) -> Result<Reply, Error> {
    let message = turn.text();
    budget::iteration();
    let count = parameters.members.len();
    reply::phase("asking", Some(&format!("{count} members")));
    let Answers { answers, failures } = members::ask(&message, parameters);
    let Some(first) = answers.first() else { return nobody(failures) };
    if answers.len() == 1 {
        // Nothing to decide. With one member that is what was asked for.
        let text = match count {
            1 => first.text.clone(),
            _ => with_note(first, "the other members of the panel did not answer"),
        };
        return Ok(shown(text, Finish::Stop));
    }

    let left = budget::iteration();
    if left.iterations == 0 || left.tokens == 0 {
        let text = with_note(first, "the budget did not suffice for a judge");
        return Ok(shown(text, Finish::Budget));
    }
    reply::phase("judging", Some(&format!("{} answers", answers.len())));
    Ok(match judging::judge(&message, &answers, &parameters.judge) {
        Ok(Verdict::Winner { index, reasons }) => {
            let winner = answers.get(index).unwrap_or(first);
            reply::phase("decided", Some(&format!("member {}: {reasons}", winner.member)));
            let verdict =
                json!({"winner": winner.member, "model": winner.model, "reasons": reasons});
            members::tell("panel.verdict", &verdict);
            shown(winner.text.clone(), Finish::Stop)
        }
        Ok(Verdict::Synthesis { answer, reasons }) => {
            reply::phase("decided", Some(&reasons));
            members::tell("panel.verdict", &json!({"synthesis": true, "reasons": reasons}));
            shown(answer, Finish::Stop)
        }
        // The answers are there: one that nobody judged is better than none.
        Err(Error::Exhausted(_)) => {
            shown(with_note(first, "the budget did not suffice for a judge"), Finish::Budget)
        }
        Err(error) => {
            members::tell("panel.verdict", &json!({"error": error.to_string()}));
            let why = format!("the judge gave no verdict ({error})");
            shown(with_note(first, &why), Finish::Stop)
        }
    })
}

/// The turn's error where no member answered: that nobody is there, if that is why, since then it
/// is worth trying again; else why the first did not.
fn nobody(failures: Vec<(usize, Error)>) -> Result<Reply, Error> {
    let mut errors: Vec<Error> = failures.into_iter().map(|(_, error)| error).collect();
    let away = errors.iter().position(|error| matches!(error, Error::Unavailable { .. }));
    let none = || Error::failed("no member answered");
    Err(match away {
        Some(index) => errors.swap_remove(index),
        None => errors.into_iter().next().unwrap_or_else(none),
    })
}

fn with_note(answer: &Answer, why: &str) -> String {
    format!("{}\n\n(This is the answer of member {} alone: {why}.)", answer.text, answer.member)
}

fn shown(text: String, finish: Finish) -> Reply {
    reply::text(&text);
    Reply::new(text).finished(finish)
}
