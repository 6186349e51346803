//! Whole turns against a scripted host.

use foreshore_sdk::agent::Finish;
use foreshore_sdk::agent::inference::{Request, Role};
use foreshore_sdk::agent::testing::Scripted;
use foreshore_sdk::{Budget, Error};
use serde_json::{Value, json};

use crate::panel;

fn judges(request: &Request) -> bool {
    request.messages[0].text().starts_with("You judge")
}

fn model(request: &Request) -> &str {
    request.config.model.as_deref().unwrap_or("default")
}

fn three() -> Value {
    json!({
        "members": [{"model": "a"}, {"model": "b", "temperature": 1.0}, {"model": "c", "instructions": "Be brief."}],
        "judge": {"model": "judge"},
    })
}

fn kinds(host: &Scripted) -> Vec<&str> {
    host.events.iter().map(|(kind, _)| kind.as_str()).collect()
}

#[test]
fn all_are_asked_and_the_judge_chooses_without_knowing_whose_is_whose() {
    let mut host = Scripted::new();
    host.model(|request| match judges(request) {
        true => Ok(json!({"winner": 2, "reasons": "It is right."}).to_string().into()),
        false => {
            let mut answer = foreshore_sdk::agent::Completion::from("twelve metres");
            if model(request) != "b" {
                answer = "ten metres".into();
            }
            answer.model = model(request).to_owned();
            Ok(answer)
        }
    });
    let reply = host.turn_with::<panel>("How deep is it?", &three()).expect("a reply");
    assert_eq!((reply.text().as_str(), reply.finish), ("twelve metres", Finish::Stop));
    assert_eq!(host.shown, "twelve metres");
    let models: Vec<_> = host.requests.iter().map(model).collect();
    assert_eq!(models, ["a", "b", "c", "judge"]);
    assert!(host.requests.iter().all(|request| !request.config.stream_to_reply));
    assert_eq!(host.requests[1].config.temperature, Some(1.0));
    assert_eq!(host.requests[2].messages[0].text(), "Be brief.");
    let judged = host.requests[3].last_text();
    assert!(judged.contains("{\"answer\":2,\"text\":\"twelve metres\"}"), "{judged}");
    assert!(!judged.contains("\"b\""), "{judged}");
    assert_eq!(kinds(&host), ["panel.answer", "panel.answer", "panel.answer", "panel.verdict"]);
    let verdict = json!({"winner": 2, "model": "b", "reasons": "It is right."});
    assert_eq!(host.events[3].1, verdict);
    let phases: Vec<_> = host.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(phases, ["asking", "answered", "answered", "answered", "judging", "decided"]);
}

#[test]
fn a_judge_may_make_one_answer_of_all() {
    let mut host = Scripted::new();
    host.model(|request| match judges(request) {
        true => Ok(json!({"answer": "Ten to twelve.", "reasons": "Both."}).to_string().into()),
        false => Ok("something".into()),
    });
    let parameters = json!({"judge": {"decision": "synthesize", "instructions": "Be exact."}});
    let reply = host.turn_with::<panel>("How deep is it?", &parameters).expect("a reply");
    assert_eq!(reply.text(), "Ten to twelve.");
    assert_eq!(host.requests.len(), 4, "three members if none are named");
    assert!(host.requests[3].messages[0].text().ends_with("Be exact."));
}

#[test]
fn a_member_that_fails_is_left_out() {
    let mut host = Scripted::new();
    host.model(|request| match (judges(request), model(request)) {
        (true, _) => Ok(json!({"winner": 2, "reasons": "."}).to_string().into()),
        (false, "a") => Err(Error::unavailable(None)),
        (false, name) => Ok(name.into()),
    });
    let reply = host.turn_with::<panel>("Hello?", &three()).expect("a reply");
    // The second answer is that of the third member.
    assert_eq!(reply.text(), "c");
    assert_eq!(host.events[0].0, "panel.failure");
    assert_eq!(host.events[3].1["winner"], 3);
}

#[test]
fn one_answer_is_enough_and_needs_no_judge() {
    let mut host = Scripted::new();
    host.model(|request| match model(request) {
        "b" => Ok("twelve".into()),
        "c" => Ok("  ".into()),
        _ => Err(Error::unavailable(None)),
    });
    let reply = host.turn_with::<panel>("How deep?", &three()).expect("a reply");
    assert!(reply.text().starts_with("twelve\n\n(This is the answer of member 2 alone"));
    assert_eq!(host.requests.len(), 3);

    let only = json!({"members": [{"model": "b"}]});
    assert_eq!(host.turn_with::<panel>("How deep?", &only).expect("a reply").text(), "twelve");
}

#[test]
fn without_an_answer_the_turn_fails_as_the_members_did() {
    let mut host = Scripted::new();
    host.model(|request| match model(request) {
        "a" => Err(Error::not_found("no model a")),
        _ => Err(Error::unavailable(None)),
    });
    let error = host.turn_with::<panel>("Hello?", &three()).expect_err("nobody");
    assert_eq!(error, Error::unavailable(None));
    host.model(|_| Err(Error::not_found("no such model")));
    let error = host.turn_with::<panel>("Hello?", &three()).expect_err("nobody");
    assert_eq!(error, Error::not_found("no such model"));
}

#[test]
fn a_judge_who_chooses_what_there_is_not_is_asked_once_more_and_then_done_without() {
    for verdict in
        ["{\"winner\": 7, \"reasons\": \"\"}", "{\"winner\": 0, \"reasons\": \"\"}", "the second"]
    {
        let mut host = Scripted::new();
        host.model(move |request| match judges(request) {
            true => Ok(verdict.into()),
            false => Ok(model(request).into()),
        });
        let reply = host.turn_with::<panel>("Hello?", &three()).expect("a reply");
        assert!(
            reply.text().starts_with("a\n\n(This is the answer of member 1 alone"),
            "{verdict}"
        );
        assert_eq!(host.requests.len(), 5);
        assert!(host.events[3].1["error"].is_string());
    }
}

#[test]
fn a_budget_without_room_for_a_judge_gives_the_first_answer() {
    let answer = |request: &Request| match judges(request) {
        true => Err(Error::Exhausted(Budget::Tokens)),
        false => Ok(model(request).into()),
    };
    for iterations in [2, 10] {
        let mut host = Scripted::new();
        host.budget.iterations = iterations;
        host.model(answer);
        let reply = host.turn_with::<panel>("Hello?", &three()).expect("a reply");
        assert_eq!(reply.finish, Finish::Budget);
        assert!(reply.text().contains("did not suffice for a judge"), "{}", reply.text());
    }
}

#[test]
fn members_know_the_conversation_and_it_does_not_grow() {
    let mut host = Scripted::new();
    host.model(|request| match judges(request) {
        true => Ok(json!({"winner": 1, "reasons": "."}).to_string().into()),
        false if request.last_text() == "fail" => Err(Error::unavailable(None)),
        false => Ok(format!("answer to {}", request.last_text()).into()),
    });
    for turn in 0..10 {
        host.turn::<panel>(&format!("question {turn}")).expect("a reply");
    }
    host.turn::<panel>("fail").expect_err("nobody");
    host.turn::<panel>("question 11").expect("a reply");
    let last = &host.requests[host.requests.len() - 2];
    let roles: Vec<_> = last.messages.iter().map(|message| message.role).collect();
    let expected =
        [Role::System, Role::User, Role::Assistant, Role::User, Role::Assistant, Role::User];
    assert_eq!(roles, expected);
    assert_eq!(last.messages[4].text(), "answer to question 9");
}

#[test]
fn too_many_members_and_none_are_the_callers_fault() {
    for members in [json!([]), Value::from(vec![json!({}); 9])] {
        let mut host = Scripted::new();
        let wrong = json!({"members": members});
        let error = host.turn_with::<panel>("Hello?", &wrong).expect_err("wrong");
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
}
