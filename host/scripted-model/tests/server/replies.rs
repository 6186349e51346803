//! Text, thought, tools, counts.

use foreshore_scripted_model::{Outcome, Script, ScriptedServer};
use serde_json::json;

use crate::client::{any_port, post, serve, user, user_at_once};

#[test]
fn a_reply_comes_word_by_word_and_ends_with_counts() {
    let server = ScriptedServer::start(Script::echo(), any_port()).expect("a free port");
    let seen = post(&server, "/api/chat", &user("the tide is out"));
    assert_eq!(seen.status, 200);
    assert!(seen.head.contains("application/x-ndjson"), "{}", seen.head);
    let lines = seen.lines();
    let texts: Vec<_> = lines.iter().map(|it| it["message"]["content"].clone()).collect();
    assert_eq!(texts, ["the ", "tide ", "is ", "out", ""]);
    let last = lines.last().expect("a last line");
    assert_eq!(last["done"], true);
    assert_eq!(last["done_reason"], "stop");
    assert_eq!(last["prompt_eval_count"], 4);
    assert_eq!(last["eval_count"], 4);
    assert!(last["total_duration"].as_u64().is_some_and(|it| it > 0), "{last}");
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/api/chat");
    assert_eq!(requests[0].outcome, Outcome::Answered(200));
    assert_eq!(requests[0].body["messages"][0]["content"], "the tide is out");
}

#[test]
fn tools_are_asked_for_with_arguments_from_the_prompt() {
    let server = serve(
        r#"
        [[rules]]
        name = "ask"
        when = { last_user = { regex = "weather in (\\w+)" }, tools = true, tool_result = false }
        answer.tool_calls = [{ name = "{{tool weather}}", arguments = { city = "{{1}}", days = 2 } }]

        [[rules]]
        name = "tell"
        when = { tool_result = true }
        answer.text = "It is {{tool_result /sky}} says {{tool_name}}"
        "#,
    );
    let mut request = json!({
        "model": "m", "stream": false,
        "messages": [{ "role": "user", "content": "the weather in Oslo, please" }],
        "tools": [{ "type": "function", "function": { "name": "net__weather", "parameters": {} } }]
    });
    let answer = post(&server, "/api/chat", &request).json();
    let call = &answer["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "net__weather");
    assert_eq!(call["function"]["arguments"], json!({ "city": "Oslo", "days": 2 }));
    assert_eq!(answer["done_reason"], "stop");
    let messages = request["messages"].as_array_mut().expect("a list");
    messages.push(answer["message"].clone());
    messages.push(json!({
        "role": "tool", "tool_call_id": call["id"], "content": r#"{"sky":"clear"}"#
    }));
    let answer = post(&server, "/api/chat", &request).json();
    assert_eq!(answer["message"]["content"], "It is clear says net__weather");
    let rules: Vec<_> = server.requests().into_iter().filter_map(|it| it.rule).collect();
    assert_eq!(rules, ["ask", "tell"]);
}

#[test]
fn what_no_rule_answers_is_an_error_that_says_so() {
    let server = serve("");
    let seen = post(&server, "/api/chat", &user_at_once("hello"));
    assert_eq!(seen.status, 500);
    let error = seen.json()["error"].as_str().expect("a text").to_owned();
    assert!(error.contains("no rule of the script answers"), "{error}");
}
