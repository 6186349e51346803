//! Long conversations and long turns: what a model is asked does not grow.

use foreshore_sdk::Outcome;
use foreshore_sdk::agent::Finish;
use foreshore_sdk::agent::inference::Request;
use foreshore_sdk::agent::testing::Scripted;
use serde_json::{Value, json};

use super::{asked, calls, results, system};
use crate::assistant;

/// Everything that a request holds, in bytes.
fn size(request: &Request) -> usize {
    let tools = request.config.tools.iter().map(|tool| {
        tool.name.len()
            + tool.description.as_deref().map_or(0, str::len)
            + tool.parameters_schema.len()
    });
    let messages = request.messages.iter().map(|message| {
        let calls = message.tool_calls.iter();
        message.text().len()
            + calls.map(|call| call.name.len() + call.arguments_json.len()).sum::<usize>()
    });
    tools.sum::<usize>() + messages.sum::<usize>()
}

fn is_summary(request: &Request) -> bool {
    system(request).starts_with("You keep the summary")
}

/// A model that keeps the mooring in a variable when it is told, looks it up when it is asked, and
/// is wordy otherwise.
fn seafarer(request: &Request) -> foreshore_sdk::agent::Completion {
    if is_summary(request) {
        return "They talked about the sea, at length. ".repeat(20).as_str().into();
    }
    let asked = asked(request);
    let message = asked.rsplit("[The person's message:]\n").next().unwrap_or_default().to_owned();
    let results = results(request);
    if let Some(mooring) = message.strip_prefix("Remember: our mooring is ") {
        return match results.len() {
            0 => calls(&[("variable_set", json!({"name": "mooring", "value": mooring}))]),
            _ => "I will.".into(),
        };
    }
    if message == "Which mooring is ours?" {
        assert!(asked.contains("\"variable\":\"mooring\""), "{asked}");
        return match results.as_slice() {
            [] => calls(&[("variable_get", json!({"name": "mooring"}))]),
            [.., mooring] => format!("It is {mooring}.").into(),
        };
    }
    if message.contains("chart") && results.is_empty() {
        return calls(&[("charts__read", json!({"of": message}))]);
    }
    format!("About \"{message}\": {}", "the sea is wide. ".repeat(30)).into()
}

#[test]
fn the_prompt_of_turn_200_is_no_larger_than_that_of_turn_20_and_a_fact_of_turn_1_is_known() {
    let mut host = Scripted::new();
    host.tool("charts.read", |arguments| {
        Ok(Outcome::text(format!("{arguments}\n{}", "a depth of 12 m\n".repeat(2_000))))
    });
    host.model(|request| Ok(seafarer(request)));
    // The largest prompt of each turn, summaries left out.
    let mut sizes = Vec::new();
    for turn in 0..200 {
        let message = match turn {
            0 => "Remember: our mooring is B 17".to_owned(),
            199 => "Which mooring is ours?".to_owned(),
            turn if turn % 7 == 0 => format!("Read chart {turn} and tell me of it."),
            turn => format!("Tell me of bay {turn}, {}.", "and of its weather".repeat(3)),
        };
        let before = host.requests.len();
        let reply = host.turn::<assistant>(&message).expect("a reply");
        assert_eq!(reply.finish, Finish::Stop);
        let asked = host.requests[before..].iter().filter(|request| !is_summary(request));
        sizes.push(asked.map(size).max().expect("a request"));
        if turn == 199 {
            assert_eq!(reply.text(), "It is B 17.");
        }
    }
    let most = |turns: std::ops::Range<usize>| sizes[turns].iter().max().copied().expect("some");
    // Turn 20 alone, and its neighbors: some turns read a chart, and some follow a summary.
    assert!(sizes[199] <= sizes[20] * 11 / 10, "{} and {}", sizes[199], sizes[20]);
    assert!(most(186..200) <= most(14..28) * 11 / 10, "{} and {}", most(186..200), most(14..28));
    let total: usize = host.said.iter().map(|said| said.message.text().len()).sum();
    assert!(total > 10 * sizes[199], "the conversation is far longer than a prompt: {total}");
    let summaries = host.requests.iter().filter(|request| is_summary(request)).count();
    assert!((10..100).contains(&summaries), "{summaries}");
    println!("turn 20: {} bytes; turn 200: {} bytes; said: {total} bytes", sizes[20], sizes[199]);
}

#[test]
fn everything_said_is_in_the_summary_or_in_the_prompt() {
    let mut host = Scripted::new();
    host.model(|request| {
        if is_summary(request) {
            // Keeps all the numbers it is given: a summary that forgets nothing.
            let text = asked(request);
            let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
            let mut numbers: Vec<&str> = words.filter(|word| word.starts_with("no")).collect();
            numbers.dedup();
            return Ok(numbers.join(" ").as_str().into());
        }
        Ok("Yes.".into())
    });
    for turn in 0..60 {
        host.turn::<assistant>(&format!("Note no{turn}.")).expect("a reply");
    }
    let last = host.requests.iter().rev().find(|request| !is_summary(request)).expect("one");
    let text: String = last.messages.iter().map(|message| message.text() + "\n").collect();
    for turn in 0..60 {
        let number = format!("no{turn}");
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        assert!(words.into_iter().any(|word| word == number), "{number} is lost");
    }
}

#[test]
fn a_long_turn_fits_too() {
    let mut host = Scripted::new();
    host.tool("counter.next", {
        let mut n = 0;
        move |_| {
            n += 1;
            Ok(Outcome::text(format!("{n} {}", "and on ".repeat(200))))
        }
    });
    host.model(|request| match results(request).last() {
        Some(last) if last.starts_with("100 ") => Ok("Done.".into()),
        _ => Ok(calls(&[("counter__next", json!({}))])),
    });
    let reply = host.turn::<assistant>("Count to a hundred.").expect("a reply");
    assert_eq!(reply.text(), "Done.");
    // 8,192 tokens of context, of which 2,048 are for the answer.
    let most = host.requests.iter().map(size).max().expect("some");
    assert!(most <= 6_144 * 4, "{most}");
    let last = asked(host.requests.last().expect("one"));
    assert!(last.contains("earlier_in_this_turn"), "{last}");
}

#[test]
fn a_summary_that_fails_leaves_the_turn_as_it_is() {
    let mut host = Scripted::new();
    host.model(|request| match is_summary(request) {
        true => Err(foreshore_sdk::Error::unavailable(None)),
        false => Ok("Yes.".into()),
    });
    for turn in 0..30 {
        let reply = host.turn::<assistant>(&format!("Note {turn}.")).expect("a reply");
        assert_eq!(reply.text(), "Yes.");
    }
    assert_eq!(host.summary, None);
}

#[test]
fn a_message_larger_than_the_prompt_goes_to_a_variable() {
    let mut host = Scripted::new();
    host.model(|_| Ok("Long.".into()));
    let message = "word ".repeat(40_000);
    host.turn::<assistant>(&message).expect("a reply");
    let request = &host.requests[0];
    assert!(size(request) < 6_144 * 4, "{}", size(request));
    assert!(asked(request).contains("in the variable \"message-0\""), "{}", asked(request));
    assert_eq!(host.variable("message-0"), Some(Value::from(message)));
}
