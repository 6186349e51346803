//! The OpenAI face.

use foreshore_scripted_model::{Script, ScriptedServer, embed};
use serde_json::{Value, json};

use crate::client::{any_port, get, post, send_with, serve};

fn ask(server: &ScriptedServer, body: &Value) -> crate::client::Seen {
    post(server, "/v1/chat/completions", body)
}

fn echo() -> ScriptedServer {
    ScriptedServer::start(Script::echo(), any_port()).expect("a free port")
}

#[test]
fn a_completion_comes_whole() {
    let server = echo();
    let request = json!({ "model": "m", "messages": [
        { "role": "developer", "content": "be brief" },
        { "role": "user", "content": [
            { "type": "text", "text": "low " }, { "type": "text", "text": "tide" }
        ] },
    ]});
    let answer = ask(&server, &request).json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["message"]["content"], "low tide");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["total_tokens"], 6);
}

#[test]
fn a_stream_shares_id_and_date_and_ends_with_usage_and_done() {
    let server = echo();
    let request = json!({
        "model": "m", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "low tide" }]
    });
    let seen = ask(&server, &request);
    assert!(seen.head.contains("text/event-stream"), "{}", seen.head);
    assert!(seen.text().ends_with("data: [DONE]\n\n"));
    let events = seen.events();
    assert!(events.iter().all(|it| it["id"] == events[0]["id"]));
    assert!(events.iter().all(|it| it["created"] == events[0]["created"]));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let contents = events.iter().filter_map(|it| it["choices"][0]["delta"]["content"].as_str());
    assert_eq!(contents.collect::<String>(), "low tide");
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "stop");
    let last = events.last().expect("an event");
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 2);
}

#[test]
fn arguments_of_tools_are_text_here() {
    let server = serve(
        "[[rules]]\nwhen.tool_result = false\nanswer.tool_calls = [\
         { name = \"a\", arguments = { n = 1 } }, { name = \"b\" }]\n\
         [[rules]]\nanswer.text = \"{{tool_name}} gave {{tool_result}}\"\n",
    );
    let mut request = json!({
        "model": "m", "stream": true, "messages": [{ "role": "user", "content": "go" }],
        "tools": [{ "type": "function", "function": { "name": "a" } }]
    });
    let events = ask(&server, &request).events();
    let calls = events.iter().find_map(|it| it["choices"][0]["delta"]["tool_calls"].as_array());
    let calls = calls.expect("calls").clone();
    assert_eq!(calls[0]["function"]["arguments"], r#"{"n":1}"#);
    assert_eq!((&calls[1]["index"], &calls[1]["function"]["arguments"]), (&json!(1), &json!("{}")));
    let last = events.last().expect("an event");
    assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
    request["stream"] = json!(false);
    let messages = request["messages"].as_array_mut().expect("a list");
    messages.push(json!({ "role": "assistant", "content": null, "tool_calls": calls }));
    messages.push(json!({ "role": "tool", "tool_call_id": calls[1]["id"], "content": "2" }));
    let answer = ask(&server, &request).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "b gave 2");
}

#[test]
fn errors_have_the_shape_of_the_face() {
    let server = serve(
        "server.api_key = \"k\"\n[[models]]\nname = \"m\"\n[[rules]]\nwhen.last_user = \"busy\"\n\
         answer = { status = 429, error = \"slow down\" }\n[[rules]]\n\
         answer = { text = \"a b\", break = { after = 1, with = \"error\", message = \"lost\" } }\n",
    );
    let ask = |body: &Value| {
        let path = "/v1/chat/completions";
        send_with(&server, "POST", path, body.to_string().as_bytes(), "Authorization: Bearer k\r\n")
            .seen()
    };
    let mut request = json!({ "model": "m", "messages": [{ "role": "user", "content": "busy" }] });
    assert_eq!(post(&server, "/v1/chat/completions", &request).status, 401);
    let seen = ask(&request);
    assert_eq!(seen.status, 429);
    assert_eq!(seen.json()["error"]["message"], "slow down");
    assert_eq!(seen.json()["error"]["type"], "rate_limit_error");
    request["model"] = json!("none");
    assert_eq!(ask(&request).json()["error"]["code"], "model_not_found");
    request["model"] = json!("m");
    request["messages"][0]["content"] = json!("go");
    request["stream"] = json!(true);
    let seen = ask(&request);
    assert!(!seen.text().contains("[DONE]"));
    assert_eq!(seen.events().last().expect("an event")["error"]["message"], "lost");
}

#[test]
fn schemas_limits_and_models() {
    let server = serve(
        "[[models]]\nname = \"m\"\n[[rules]]\nwhen.format = \"schema\"\n\
         answer.from_schema = true\n[[rules]]\nanswer.text = \"{{last_user}}\"\n",
    );
    let schema = json!({ "type": "object", "required": ["ok"],
        "properties": { "ok": { "type": "boolean" } } });
    let mut request = json!({
        "model": "m", "messages": [{ "role": "user", "content": "123456789" }],
        "response_format": { "type": "json_schema", "json_schema": { "name": "s", "schema": schema } }
    });
    let answer = ask(&server, &request).json();
    assert_eq!(answer["choices"][0]["message"]["content"], r#"{"ok":false}"#);
    request["response_format"] = json!({ "type": "text" });
    request["max_completion_tokens"] = json!(2);
    let answer = ask(&server, &request).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "12345678");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    let models = get(&server, "/v1/models").json();
    assert_eq!(models["data"][0]["id"], "m");
    assert_eq!(get(&server, "/v1/models/m").json()["object"], "model");
    assert_eq!(get(&server, "/v1/models/none").status, 404);
}

#[test]
fn vectors_come_as_numbers_and_as_base64() {
    use base64::Engine as _;
    let server = serve("[[models]]\nname = \"m\"\nembedding_dimensions = 16\n");
    let mut request = json!({ "model": "m", "input": "low tide" });
    let answer = post(&server, "/v1/embeddings", &request).json();
    let numbers: Vec<f32> =
        serde_json::from_value(answer["data"][0]["embedding"].clone()).expect("numbers");
    assert_eq!(numbers, embed("low tide", 16));
    request["encoding_format"] = json!("base64");
    let answer = post(&server, "/v1/embeddings", &request).json();
    let text = answer["data"][0]["embedding"].as_str().expect("a text");
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let (parts, _) = bytes.as_chunks::<4>();
    let decoded: Vec<f32> = parts.iter().map(|it| f32::from_le_bytes(*it)).collect();
    assert_eq!(decoded, numbers);
}
