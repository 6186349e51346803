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

#[test]
fn thought_comes_before_text_and_only_when_it_is_asked_for() {
    let server = serve(
        "[[rules]]\nanswer = { thinking = \"let me see\", text = \"noon\", chunks = \"whole\" }",
    );
    let mut request = user("when?");
    assert_eq!(post(&server, "/api/chat", &request).lines().len(), 2);
    request["think"] = json!("high");
    let lines = post(&server, "/api/chat", &request).lines();
    assert_eq!(lines[0]["message"]["thinking"], "let me see");
    assert_eq!(lines[1]["message"]["content"], "noon");
    request["stream"] = json!(false);
    let whole = post(&server, "/api/chat", &request).json();
    assert_eq!(whole["message"]["thinking"], "let me see");
    assert_eq!(whole["message"]["content"], "noon");
    let generate = json!({ "model": "m", "prompt": "when?", "think": true });
    let lines = post(&server, "/api/generate", &generate).lines();
    assert_eq!(
        (&lines[0]["thinking"], &lines[1]["response"]),
        (&json!("let me see"), &json!("noon"))
    );
    assert_eq!(lines[2]["done"], true);
}

#[test]
fn an_answer_is_as_long_as_the_request_allows() {
    let server = ScriptedServer::start(Script::echo(), any_port()).expect("a free port");
    let mut request = user_at_once("low tide at noon");
    request["options"] = json!({ "num_predict": 2 });
    let answer = post(&server, "/api/chat", &request).json();
    assert_eq!(answer["message"]["content"], "low tide");
    assert_eq!((&answer["done_reason"], &answer["eval_count"]), (&json!("length"), &json!(2)));
    request["options"] = json!({ "num_predict": -1, "stop": [" at", "tide"] });
    let answer = post(&server, "/api/chat", &request).json();
    assert_eq!(answer["message"]["content"], "low ");
    assert_eq!(answer["done_reason"], "stop");
}

#[test]
fn counts_and_reasons_are_those_that_are_given() {
    let server = serve(
        "[[rules]]\nanswer = { text = \"x\", prompt_tokens = 7, output_tokens = 0, done_reason = \"length\" }",
    );
    let answer = post(&server, "/api/chat", &user_at_once("hello")).json();
    assert_eq!(answer["prompt_eval_count"], 7);
    assert!(answer.get("eval_count").is_none(), "a count of 0 is left out: {answer}");
    assert_eq!(answer["done_reason"], "length");
}

#[test]
fn chunks_are_cut_as_the_script_says() {
    for (chunks, expected) in [
        ("chunks = { characters = 5 }, text = \"low tide\"", &["low t", "ide"][..]),
        ("chunks = { words = 2 }, text = \"low tide today\"", &["low tide ", "today"][..]),
        ("chunk_list = [\"lo\", \"\", \"w {{first 3 last_user}}\"]", &["lo", "w tid"][..]),
    ] {
        let server = serve(&format!("[[rules]]\nanswer = {{ {chunks} }}"));
        let mut lines = post(&server, "/api/chat", &user("tide")).lines();
        lines.pop();
        let texts: Vec<_> = lines.iter().map(|it| it["message"]["content"].clone()).collect();
        assert_eq!(texts, expected, "{chunks}");
    }
}

#[test]
fn a_rule_is_for_what_its_when_says() {
    let server = serve(
        r#"
        rules = [
            { when.model = "qwen*:4b", answer.text = "model" },
            { when.system = "pirate", answer.text = "system" },
            { when.format = "json", answer.json = { said = "{{last_user}}", n = [1, true] } },
            { when.images = true, answer.text = "image" },
            { when.think = true, answer.text = "think" },
            { when.tool_offered = { regex = "^net" }, answer.text = "{{tool ^net}} offered" },
            { capture.city = 'in (\w+)', when.last_user = "it", answer.text = "{{variable city}}" },
            { when.stream = false, answer.text = "other" },
        ]
        "#,
    );
    let said = |field: &str, value: serde_json::Value| {
        let mut request = user_at_once("what?");
        request[field] = value;
        let answer = post(&server, "/api/chat", &request).json();
        answer["message"]["content"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(said("model", json!("qwen3:4b")), "model");
    let system = json!([{ "role": "system", "content": "You are a PIRATE." }, { "role": "user", "content": "x" }]);
    assert_eq!(said("messages", system), "system");
    assert_eq!(said("format", json!("json")), r#"{"n":[1,true],"said":"what?"}"#);
    let image = json!([{ "role": "user", "content": "x", "images": ["iVBOR"] }]);
    assert_eq!(said("messages", image), "image");
    assert_eq!(said("think", json!(true)), "think");
    let tools = json!([{ "function": { "name": "a" } }, { "function": { "name": "net_get" } }]);
    assert_eq!(said("tools", tools), "net_get offered");
    let city = json!([
        { "role": "user", "content": "weather in Oslo" },
        { "role": "assistant", "content": "fine" },
        { "role": "user", "content": "and is it cold?" }
    ]);
    assert_eq!(said("messages", city), "Oslo");
    assert_eq!(said("x", json!(null)), "other");
}
