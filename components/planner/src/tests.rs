//! Whole turns against a scripted host.

use std::cell::RefCell;
use std::rc::Rc;

use foreshore_sdk::agent::inference::Request;
use foreshore_sdk::agent::testing::Scripted;
use foreshore_sdk::agent::{Completion, Finish};
use foreshore_sdk::{Budget, Error, Outcome};
use serde_json::{Value, json};

use crate::planner;

const INTENT: &str = "There is an unfinished plan";
const PLAN: &str = "You plan. Take";
const REPLAN: &str = "You plan. A plan could not";
const SUMMARY: &str = "A plan was carried out";

fn is(request: &Request, instructions: &str) -> bool {
    request.messages[0].text().starts_with(instructions)
}

fn step(id: &str, tools: &[&str], depends_on: &[&str]) -> Value {
    json!({"id": id, "description": format!("Do {id}."), "tools": tools, "depends_on": depends_on})
}

fn steps(steps: &[Value]) -> Completion {
    json!({"steps": steps}).to_string().into()
}

/// A host with two tools, and a model that makes these plans one after another.
fn host(plans: Vec<Vec<Value>>) -> Scripted {
    let mut host = Scripted::new();
    host.tool("files.read", |_| Ok(Outcome::empty()));
    host.tool("files.write", |_| Ok(Outcome::empty()));
    let mut plans = plans.into_iter();
    host.model(move |request| {
        if is(request, SUMMARY) {
            return Ok(format!("In short: {}", request.last_text()).into());
        }
        assert!(is(request, PLAN) || is(request, REPLAN), "{request:?}");
        Ok(steps(&plans.next().expect("another plan")))
    });
    host
}

fn states(host: &Scripted) -> Vec<(String, String)> {
    let plan = host.variable("plan").expect("a plan");
    let steps = plan["steps"].as_array().expect("steps").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    steps.iter().map(|step| (text(&step["id"]), text(&step["progress"]["is"]))).collect()
}

fn phases(host: &Scripted) -> Vec<&str> {
    host.phases.iter().map(|phase| phase.name.as_str()).collect()
}

#[test]
fn a_goal_is_reached_step_by_step_with_the_tools_of_each() {
    let mut host = host(vec![vec![
        step("write", &["files.write"], &["read"]),
        step("read", &["files.read"], &[]),
    ]]);
    host.agent("assistant", |asked| Ok(format!("done: {}", asked.message).into()));
    let parameters = json!({"agent_parameters": {"model": "small"}, "namespaces": ["notes"]});
    let reply = host.turn_with::<planner>("Copy it.", &parameters).expect("a reply");
    assert_eq!(reply.finish, Finish::Stop);
    assert!(reply.text().starts_with("In short: {\"goal\":\"Copy it.\"}"), "{}", reply.text());
    assert_eq!(host.shown, reply.text());

    let tools: Vec<_> = host.delegations.iter().map(|asked| asked.limits.tools.clone()).collect();
    assert_eq!(tools, [Some(vec!["files.read".to_owned()]), Some(vec!["files.write".to_owned()])]);
    for asked in &host.delegations {
        assert_eq!(
            (asked.agent.as_str(), &asked.parameters),
            ("assistant", &json!({"model": "small"}))
        );
        assert_eq!(asked.limits.namespaces, Some(vec!["notes".to_owned()]));
        assert!(asked.limits.max_tokens < Some(host.budget.tokens), "{asked:?}");
    }
    let (first, second) = (&host.delegations[0].message, &host.delegations[1].message);
    assert!(first.contains("Do read.") && !first.contains("Results of earlier"), "{first}");
    assert!(second.contains("{\"result\":\"done: Do this step"), "{second}");
    assert_eq!(phases(&host), ["planning", "executing", "executing", "summarizing"]);
    assert_eq!(host.variable("plan").expect("a plan")["state"], "done");
    assert_eq!(host.events[0].0, "plan.made");
    assert_eq!(host.events[2].1["steps"][0]["is"], "done");
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_written_again() {
    let mut host = host(vec![
        vec![step("a", &["rockets.launch"], &[])],
        vec![step("a", &[], &["a"])],
        vec![step("a", &[], &[])],
    ]);
    host.agent("assistant", |_| Ok("done".into()));
    host.turn::<planner>("Do it.").expect("a reply");
    assert!(host.requests[1].last_text().contains("\\\"rockets.launch\\\", which is not there"));
    assert!(host.requests[2].last_text().contains("wait for each other"));
    assert_eq!(host.delegations.len(), 1);

    let mut host = Scripted::new();
    host.model(|_| Ok("no JSON".into()));
    let error = host.turn::<planner>("Do it.").expect_err("no plan");
    assert!(error.to_string().contains("no plan that can be carried out"), "{error}");
    assert_eq!(host.requests.len(), 3);
}

#[test]
fn a_step_that_fails_makes_a_new_plan_of_the_rest() {
    let mut host = host(vec![
        vec![step("a", &[], &[]), step("b", &[], &["a"]), step("c", &[], &["b"])],
        vec![step("b2", &[], &["a"])],
    ]);
    host.agent("assistant", |asked| match asked.message.contains("Do b.") {
        true => Err(Error::failed("the file is locked")),
        false => Ok("fine".into()),
    });
    let reply = host.turn::<planner>("Do it.").expect("a reply");
    assert_eq!(reply.finish, Finish::Stop);
    let replanning = host.requests.iter().find(|request| is(request, REPLAN)).expect("a new plan");
    assert!(replanning.last_text().contains("the file is locked"), "{}", replanning.last_text());
    assert_eq!(states(&host), [("a".into(), "done".into()), ("b2".into(), "done".into())]);
    assert_eq!(host.delegations.len(), 3);
    let expected = ["planning", "executing", "executing", "replanning", "executing", "summarizing"];
    assert_eq!(phases(&host), expected);
}

#[test]
fn new_plans_are_counted_and_the_end_says_what_was_done() {
    let one = || vec![step("again", &[], &[])];
    let mut host = host(vec![vec![step("a", &[], &[]), step("b", &[], &[])], one(), one()]);
    host.agent("assistant", |asked| match asked.message.contains("Do a.") {
        true => Ok("fine".into()),
        false => Ok(foreshore_sdk::agent::Reply::new("cannot").finished(Finish::GaveUp)),
    });
    let reply = host.turn::<planner>("Do it.").expect("a reply");
    assert_eq!(reply.finish, Finish::GaveUp);
    let text = reply.text();
    assert!(text.contains("- Done: Do a.") && text.contains("- Failed: Do again."), "{text}");
    assert_eq!(host.requests.len(), 3);
    assert_eq!(host.variable("plan").expect("a plan")["state"], "given_up");
}

#[test]
fn what_may_have_been_done_is_not_done_again() {
    let mut host = host(vec![vec![step("send", &[], &[])], vec![step("look", &[], &[])]]);
    host.agent("assistant", |asked| match asked.message.contains("Do send.") {
        true => Err(Error::UnknownOutcome("the host went down".into())),
        false => Ok("it was sent".into()),
    });
    host.turn::<planner>("Send it.").expect("a reply");
    let sent = host.delegations.iter().filter(|asked| asked.message.contains("Do send."));
    assert_eq!(sent.count(), 1);
    let replanning = host.requests.iter().find(|request| is(request, REPLAN)).expect("a new plan");
    assert!(replanning.last_text().contains("\"perhaps_done\""), "{}", replanning.last_text());
}

#[test]
fn an_unfinished_plan_is_gone_on_with_in_the_next_turn() {
    let mut host = host(vec![vec![step("a", &[], &[]), step("b", &[], &["a"])]]);
    let models_are_away = Rc::new(RefCell::new(true));
    let away = Rc::clone(&models_are_away);
    host.agent("assistant", move |asked| match asked.message.contains("Do b.") && *away.borrow() {
        true => Err(Error::unavailable(None)),
        false => Ok("fine".into()),
    });
    let error = host.turn::<planner>("Do it.").expect_err("no model for b");
    assert_eq!(error, Error::unavailable(None));
    assert_eq!(states(&host), [("a".into(), "done".into()), ("b".into(), "pending".into())]);

    models_are_away.replace(false);
    let reply = host.turn::<planner>("Continue.").expect("a reply");
    assert_eq!(reply.finish, Finish::Stop);
    let done: Vec<_> =
        host.delegations.iter().filter(|asked| asked.message.contains("Do a.")).collect();
    assert_eq!((done.len(), host.delegations.len()), (1, 3));
    assert!(phases(&host).contains(&"resuming"));
    let plans = host.requests.iter().filter(|request| is(request, PLAN)).count();
    assert_eq!(plans, 1);
}

#[test]
fn a_budget_that_ends_keeps_the_plan_and_says_how_to_go_on() {
    let mut host = host(vec![vec![step("a", &[], &[]), step("b", &[], &[])]]);
    host.budget.iterations = 2;
    host.agent("assistant", |_| Ok("fine".into()));
    let reply = host.turn::<planner>("Do it.").expect("a reply");
    assert_eq!(reply.finish, Finish::Budget);
    assert!(reply.text().contains("write \"continue\""), "{}", reply.text());
    assert_eq!(states(&host)[1].1, "pending");

    host.budget.iterations = 10;
    host.agent("assistant", |asked| {
        assert!(!asked.message.contains("may have been begun"), "{}", asked.message);
        Ok("fine".into())
    });
    let reply = host.turn::<planner>("continue").expect("a reply");
    assert_eq!((reply.finish, host.delegations.len()), (Finish::Stop, 2));
}

#[test]
fn a_step_that_a_budget_cut_off_is_looked_at_before_it_is_done_again() {
    let mut host = host(vec![vec![step("a", &[], &[])]]);
    host.budget.tool_calls = 0;
    host.agent("assistant", |_| Err(Error::Exhausted(Budget::Calls)));
    let reply = host.turn::<planner>("Do it.").expect("a reply");
    assert_eq!((reply.finish, states(&host)[0].1.as_str()), (Finish::Budget, "begun"));
    host.budget.tool_calls = 100;
    host.agent("assistant", |asked| {
        assert!(asked.message.contains("may have been begun before"), "{}", asked.message);
        Ok("fine".into())
    });
    assert_eq!(host.turn::<planner>("continue").expect("a reply").finish, Finish::Stop);
}

#[test]
fn another_message_may_change_the_plan_or_leave_it() {
    for (intent, expected) in [("change", REPLAN), ("new", PLAN)] {
        let mut host = Scripted::new();
        host.budget.iterations = 1;
        host.agent("assistant", |_| Ok("fine".into()));
        host.model(move |request| {
            if is(request, INTENT) {
                assert!(request.last_text().contains("Do it."), "{}", request.last_text());
                return Ok(json!({"intent": intent}).to_string().into());
            }
            Ok(if is(request, SUMMARY) { "Done.".into() } else { steps(&[step("a", &[], &[])]) })
        });
        host.turn::<planner>("Do it.").expect("a reply");
        host.budget.iterations = 10;
        host.turn::<planner>("Rather so.").expect("a reply");
        let made = host.requests.iter().rfind(|one| is(one, PLAN) || is(one, REPLAN)).expect("one");
        assert!(is(made, expected), "{intent}");
        assert!(made.last_text().contains("Rather so."), "{}", made.last_text());
    }
}

#[test]
fn a_summary_that_fails_leaves_the_steps_one_by_one() {
    let mut host = Scripted::new();
    host.agent("assistant", |_| Ok("twelve metres".into()));
    host.model(|request| match is(request, SUMMARY) {
        true => Err(Error::unavailable(None)),
        false => Ok(steps(&[step("a", &[], &[])])),
    });
    let reply = host.turn::<planner>("How deep?").expect("a reply");
    assert_eq!(reply.text(), "- Done: Do a.\n  twelve metres");
    assert_eq!(host.shown, reply.text());
}

#[test]
fn a_long_result_is_kept_whole_in_a_variable() {
    let mut host = host(vec![vec![step("Read All", &[], &[])]]);
    host.agent("assistant", |_| Ok("deep ".repeat(2_000).into()));
    host.turn::<planner>("Do it.").expect("a reply");
    assert_eq!(host.variable("step-read-all"), Some(json!("deep ".repeat(2_000))));
    let plan = host.variable("plan").expect("a plan").to_string();
    assert!(plan.len() < 5_000, "{}", plan.len());
}

#[test]
fn numbers_out_of_range_are_the_callers_fault() {
    for wrong in [json!({"steps_max": 0}), json!({"steps_max": 51}), json!({"replans_max": 11})] {
        let mut host = Scripted::new();
        let error = host.turn_with::<planner>("Do it.", &wrong).expect_err("out of range");
        assert!(matches!(error, Error::Invalid { .. }), "{wrong}: {error}");
    }
}
