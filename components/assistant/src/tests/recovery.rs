//! Turns in which something goes wrong.

use std::cell::Cell;
use std::rc::Rc;

use foreshore_sdk::agent::Finish;
use foreshore_sdk::agent::inference::{FinishReason, Role};
use foreshore_sdk::agent::testing::Scripted;
use foreshore_sdk::{Budget, Error, Outcome};
use serde_json::json;

use super::{asked, calls, results, system};
use crate::assistant;

#[test]
fn an_error_is_shown_to_the_model_which_tries_another_way() {
    let mut host = Scripted::new();
    host.tool("files.read", |arguments| match arguments["path"].as_str() {
        Some("/b") => Ok(Outcome::text("High water is at noon.")),
        _ => Err(Error::not_found("there is no /a; there is /b")),
    });
    host.model(|request| match results(request).as_slice() {
        [] => Ok(calls(&[("files__read", json!({"path": "/a"}))])),
        [error] => {
            assert!(error.contains("there is /b"), "{error}");
            Ok(calls(&[("files__read", json!({"path": "/b"}))]))
        }
        [.., last] => Ok(last.as_str().into()),
    });
    let reply = host.turn::<assistant>("When is high water?").expect("a reply");
    assert_eq!((reply.text().as_str(), reply.finish), ("High water is at noon.", Finish::Stop));
}

#[test]
fn what_was_denied_refused_or_left_in_doubt_is_not_done_again() {
    let cases = [
        (Error::denied("mount_not_granted", "/etc"), "Denied by policy (mount_not_granted: /etc)"),
        (Error::Refused("not today".to_owned()), "Refused by a person: not today"),
        (Error::UnknownOutcome("the host went down".to_owned()), "It is not known whether"),
    ];
    for (error, expected) in cases {
        let mut host = Scripted::new();
        let made = Rc::new(Cell::new(0));
        let count = Rc::clone(&made);
        host.tool("mail.send", move |_| {
            count.set(count.get() + 1);
            Err(error.clone())
        });
        host.model(move |request| match results(request).as_slice() {
            [] => Ok(calls(&[("mail__send", json!({"to": "ada"}))])),
            [told] => {
                assert!(told.starts_with(expected), "{told}");
                Ok(calls(&[("mail__send", json!({"to": "ada"}))]))
            }
            [.., last] => Ok(last.as_str().into()),
        });
        let reply = host.turn::<assistant>("Write to Ada.").expect("a reply");
        assert!(reply.text().starts_with("Not done again."), "{}", reply.text());
        assert_eq!(made.get(), 1, "{expected}");
    }
}

#[test]
fn another_call_of_the_same_tool_is_still_made() {
    let mut host = Scripted::new();
    host.tool("files.read", |arguments| match arguments["path"].as_str() {
        Some("/notes/a") => Ok(Outcome::text("fine")),
        _ => Err(Error::denied("mount_not_granted", "/etc/a")),
    });
    host.model(|request| match results(request).len() {
        0 => Ok(calls(&[("files__read", json!({"path": "/etc/a"}))])),
        1 => Ok(calls(&[("files__read", json!({"path": "/notes/a"}))])),
        _ => Ok("Done.".into()),
    });
    host.turn::<assistant>("Read a.").expect("a reply");
    assert_eq!(host.calls.len(), 2);
}

#[test]
fn a_model_that_goes_round_in_circles_is_told_once_and_then_stopped() {
    let mut host = Scripted::new();
    host.tool("clock.now", |_| Ok(Outcome::text("noon")));
    host.model(|_| Ok(calls(&[("clock__now", json!({}))])));
    let reply = host.turn::<assistant>("What time is it?").expect("a reply");
    assert_eq!(reply.finish, Finish::GaveUp);
    assert!(reply.text().contains("the same calls again and again"), "{}", reply.text());
    assert!(reply.text().contains("clock.now"), "{}", reply.text());
    assert_eq!(host.calls.len(), 4);
    let last = results(host.requests.last().expect("a request"));
    assert!(last[2].contains("Do something else"), "{last:?}");
    assert_eq!(host.shown, reply.text());
}

#[test]
fn the_last_iteration_answers_with_what_there_is() {
    let mut host = Scripted::new();
    host.budget.iterations = 3;
    host.tool("counter.next", {
        let mut n = 0;
        move |_| {
            n += 1;
            Ok(Outcome::text(n.to_string()))
        }
    });
    host.model(|request| {
        if request.config.tools.is_empty() {
            assert!(asked(request).contains("There are no more tools"), "{}", asked(request));
            return Ok(format!("So far {}.", results(request).len()).into());
        }
        Ok(calls(&[("counter__next", json!({}))]))
    });
    let reply = host.turn::<assistant>("Count.").expect("a reply");
    assert_eq!((reply.text().as_str(), reply.finish), ("So far 2.", Finish::Budget));
}

#[test]
fn a_budget_that_ends_in_the_middle_ends_the_turn_with_what_there_is() {
    let mut host = Scripted::new();
    host.tool("files.read", |_| Ok(Outcome::text("x")));
    host.model(|request| match results(request).len() {
        0 => {
            let mut completion = calls(&[("files__read", json!({}))]);
            completion.message.content =
                vec![foreshore_sdk::agent::inference::ContentPart::Text("Let me look.".into())];
            Ok(completion)
        }
        _ => Err(Error::Exhausted(Budget::Tokens)),
    });
    let reply = host.turn::<assistant>("Read it.").expect("a reply");
    assert_eq!(reply.finish, Finish::Budget);
    let text = reply.text();
    assert!(text.starts_with("Let me look.\n\nI had to stop before I was done"), "{text}");
    assert!(text.contains("tokens") && text.contains("files.read"), "{text}");
    assert_eq!(host.shown, text);
}

#[test]
fn a_model_that_does_not_answer_is_the_turns_error() {
    let mut host = Scripted::new();
    let error = host.turn::<assistant>("Hello.").expect_err("no model");
    assert_eq!(error, Error::unavailable(None));
}

#[test]
fn a_model_without_tools_is_asked_by_text() {
    for models_tell in [true, false] {
        let mut host = Scripted::new();
        host.models[0].tools = !models_tell;
        host.tool("files.read", |arguments| Ok(Outcome::text(format!("read {arguments}"))));
        host.model(|request| {
            if !request.config.tools.is_empty() {
                return Err(Error::invalid("/config/tools", "this model calls no tools"));
            }
            assert!(system(request).contains("- files__read: "), "{}", system(request));
            let last = asked(request);
            Ok(match last.strip_prefix("Results of the tools.") {
                None => "I look.\n```json\n{\"tool_calls\": [{\"name\": \"files__read\", \
                         \"arguments\": {\"path\": \"/a\"}}]}\n```"
                    .into(),
                Some(results) => {
                    assert!(
                        results.contains(
                            r#"{"result":"read {\"path\":\"/a\"}","tool":"files__read"}"#
                        ),
                        "{results}"
                    );
                    "It says so.".into()
                }
            })
        });
        let reply = host.turn::<assistant>("Read it.").expect("a reply");
        assert_eq!((reply.text().as_str(), reply.finish), ("It says so.", Finish::Stop));
        assert_eq!(host.shown, "I look.\n\nIt says so.");
        assert_eq!(host.requests.len(), if models_tell { 2 } else { 3 });
        let roles: Vec<_> =
            host.requests.last().expect("one").messages.iter().map(|m| m.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User]);
    }
}

#[test]
fn a_block_that_is_no_json_is_told_and_then_given_up() {
    let mut host = Scripted::new();
    host.models[0].tools = false;
    host.tool("files.read", |_| Ok(Outcome::text("x")));
    host.model(|_| Ok("```json\n{\"tool_calls\": [{\"name\": }]}\n```".into()));
    let reply = host.turn::<assistant>("Read it.").expect("a reply");
    assert_eq!((reply.finish, host.requests.len()), (Finish::GaveUp, 3));
    assert!(asked(&host.requests[1]).contains("is no JSON"), "{}", asked(&host.requests[1]));
    assert!(host.calls.is_empty());
}

#[test]
fn a_model_with_tools_that_writes_a_block_is_understood_and_json_for_the_person_is_not_a_call() {
    let mut host = Scripted::new();
    host.tool("files.read", |_| Ok(Outcome::text("x")));
    host.model(|request| match request.messages.len() {
        2 => Ok("{\"name\": \"files__read\", \"arguments\": {}}".into()),
        _ => Ok("{\"name\": \"Ada\", \"arguments\": {}}".into()),
    });
    let reply = host.turn::<assistant>("Give me JSON.").expect("a reply");
    assert_eq!(reply.text(), "{\"name\": \"Ada\", \"arguments\": {}}");
    assert_eq!(host.calls.len(), 1);
}

#[test]
fn names_and_arguments_that_cannot_be_are_told_to_the_model() {
    let mut host = Scripted::new();
    host.tool("files.read", |_| Ok(Outcome::text("x")));
    host.model(|request| match results(request).as_slice() {
        [] => {
            let mut wrong = calls(&[("files__write", json!({})), ("files__read", json!([1]))]);
            wrong.message.tool_calls.push(super::call("files__read", &json!({})));
            wrong.message.tool_calls[2].arguments_json = "{".to_owned();
            Ok(wrong)
        }
        [name, kind, json] => {
            assert!(name.contains("There is no tool \"files__write\""), "{name}");
            assert!(name.contains("files__read, variable_get"), "{name}");
            assert!(kind.contains("have to be a JSON object"), "{kind}");
            assert!(json.contains("are no JSON"), "{json}");
            Ok("Sorry.".into())
        }
        other => panic!("{other:?}"),
    });
    host.turn::<assistant>("Write it.").expect("a reply");
    assert!(host.calls.is_empty());
}

#[test]
fn a_context_shorter_than_said_gets_a_shorter_prompt() {
    let size = |request: &foreshore_sdk::agent::inference::Request| {
        request.messages.iter().map(|message| message.text().len()).sum::<usize>()
    };
    let mut host = Scripted::new();
    host.tool("files.read", |_| Ok(Outcome::text("word ".repeat(400))));
    let mut answers = 0;
    host.model(move |request| {
        if size(request) > 10_000 {
            return Err(Error::invalid("/messages", "they do not fit"));
        }
        answers += 1;
        match answers {
            0..20 => Ok(calls(&[("files__read", json!({"path": format!("/{answers}")}))])),
            _ => Ok("Done.".into()),
        }
    });
    let reply = host.turn::<assistant>("Read them all.").expect("a reply");
    assert_eq!(reply.text(), "Done.");
    assert!(host.requests.iter().any(|request| size(request) > 10_000), "it was too long once");

    let mut host = Scripted::new();
    host.model(|_| Err(Error::invalid("/messages", "they do not fit")));
    let error = host.turn::<assistant>("Hello.").expect_err("never fits");
    assert_eq!((error, host.requests.len()), (Error::invalid("/messages", "they do not fit"), 3));
}

#[test]
fn an_answer_that_was_cut_says_so_and_an_empty_one_is_asked_for_again() {
    let mut host = Scripted::new();
    host.model(|request| {
        let mut completion = foreshore_sdk::agent::Completion::from("");
        if asked(request).contains("Your last answer was empty") {
            completion = "Once upon a".into();
            completion.finish_reason = FinishReason::Length;
        }
        Ok(completion)
    });
    let reply = host.turn::<assistant>("Tell me a story.").expect("a reply");
    assert_eq!((reply.text().as_str(), reply.finish), ("Once upon a", Finish::Budget));
    assert_eq!(host.requests.len(), 2);

    host.model(|_| Ok("".into()));
    let reply = host.turn::<assistant>("Another.").expect("a reply");
    assert_eq!(reply.finish, Finish::GaveUp);
}

#[test]
fn each_call_has_an_id_of_its_own_and_too_many_at_once_are_told() {
    let mut host = Scripted::new();
    host.tool("files.read", |_| Ok(Outcome::text("x")));
    host.model(|request| match results(request).len() {
        0 => {
            let mut many = calls(&[("files__read", json!({}))]);
            many.message.tool_calls[0].id = String::new();
            many.message.tool_calls = vec![many.message.tool_calls[0].clone(); 40];
            Ok(many)
        }
        40 => Ok("Done.".into()),
        other => panic!("{other}"),
    });
    let parameters = json!({"context_tokens": 100_000});
    host.models[0].context_length = None;
    host.turn_with::<assistant>("Read it.", &parameters).expect("a reply");
    assert_eq!(host.call_batches, [32]);
    let last = host.requests.last().expect("a request");
    assert!(results(last)[32..].iter().all(|told| told.starts_with("Not done: at most 32")));
    let asked = last.messages.iter().flat_map(|message| &message.tool_calls);
    let ids: std::collections::BTreeSet<_> = asked.map(|call| call.id.clone()).collect();
    assert_eq!(ids.len(), 40);
}
