//! What OpenAI's clients speak, over raw HTTP: models and agents, whole and streamed, tools of
//! the client, vectors, and errors in their shape.

use serde_json::{Value, json};

use super::{host, notes};
use crate::harness::http::Response;
use crate::harness::server::Server;

fn chat(server: &Server, body: &Value) -> Response {
    server.send("POST", "/v1/chat/completions", body)
}

fn asking(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn streaming(model: &str, text: &str) -> Value {
    let mut body = asking(model, text);
    body["stream"] = true.into();
    body
}

/// What stands behind each `data:`.
fn chunks(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    let text = std::str::from_utf8(&response.body).expect("text");
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}

fn parsed(chunks: &[String]) -> Vec<Value> {
    chunks.iter().map(|chunk| serde_json::from_str(chunk).expect("JSON")).collect()
}

fn said(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[test]
fn models_and_agents_complete_a_chat() {
    let server = host();
    for model in ["demo", "agent:assistant"] {
        let answer = chat(&server, &asking(model, "Is it so?")).json();
        assert_eq!(
            (&answer["object"], &answer["model"]),
            (&json!("chat.completion"), &json!(model))
        );
        let choice = &answer["choices"][0];
        assert_eq!(choice["message"]["content"], "So it is, and no more.", "{answer}");
        assert_eq!(
            (&choice["message"]["role"], &choice["finish_reason"]),
            (&json!("assistant"), &json!("stop"))
        );
        let usage = |name: &str| answer["usage"][name].as_u64().expect("a number");
        assert_eq!(usage("prompt_tokens") + usage("completion_tokens"), usage("total_tokens"));
    }
}

#[test]
fn models_and_agents_stream_a_chat() {
    let server = host();
    for model in ["demo", "agent:assistant"] {
        let mut body = streaming(model, "Is it so?");
        body["stream_options"] = json!({"include_usage": true});
        let all = chunks(&chat(&server, &body));
        assert_eq!(all.last().map(String::as_str), Some("[DONE]"), "{model}");
        let all = parsed(&all[..all.len() - 1]);
        assert_eq!(all[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(said(&all), "So it is, and no more.");
        assert!(all.iter().all(|one| one["object"] == "chat.completion.chunk"));
        assert!(all.iter().all(|one| one["id"] == all[0]["id"]));
        let finish: Vec<&Value> = all
            .iter()
            .filter_map(|one| one["choices"][0].get("finish_reason"))
            .filter(|reason| !reason.is_null())
            .collect();
        assert_eq!(finish, [&json!("stop")]);
        let last = all.last().expect("chunks");
        assert_eq!(last["choices"], json!([]));
        assert!(last["usage"]["total_tokens"].as_u64() > Some(0), "{last}");
    }
}

#[test]
fn an_agent_uses_its_own_tools_and_a_conversation_goes_on() {
    let (server, notes) = (host(), notes());
    let _ = std::fs::remove_file(notes.join("openai-a.txt"));
    let answer = chat(&server, &asking("agent:assistant", "write openai-a.txt and openai-b.txt"));
    assert_eq!(answer.header("x-should-retry"), Some("false"), "a turn has run");
    let answer = answer.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Both are written.");
    assert!(notes.join("openai-a.txt").exists());

    // What a client sends of before is known; so is what a conversation has.
    let before = json!([
        {"role": "user", "content": "Hear this: my word is laver."},
        {"role": "assistant", "content": "I hear."},
        {"role": "user", "content": "So what is my word?"},
    ]);
    let answer = chat(&server, &json!({"model": "agent:assistant", "messages": before})).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Your word is laver.");
    let mut on = asking("agent:assistant", "Again: what is my word?");
    on["conversation"] = answer["conversation"].clone();
    assert!(on["conversation"].is_string(), "{answer}");
    let answer = chat(&server, &on).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "Your word is laver.");
}

#[test]
fn a_model_calls_tools_of_the_client() {
    let server = host();
    let mut body = asking("demo", "What is the weather in Oslo?");
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    body["tools"] = json!([
        {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    ]);
    let answer = chat(&server, &body).json();
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{answer}");
    let call = choice["message"]["tool_calls"][0].clone();
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("weather")));
    let arguments = call["function"]["arguments"].as_str().expect("a text");
    assert_eq!(serde_json::from_str::<Value>(arguments).expect("JSON"), json!({"city": "Oslo"}));

    let mut streamed = body.clone();
    streamed["stream"] = true.into();
    let all = chunks(&chat(&server, &streamed));
    let all = parsed(&all[..all.len() - 1]);
    let delta = all.iter().find_map(|one| one["choices"][0]["delta"]["tool_calls"].get(0));
    let delta = delta.expect("a call among the chunks");
    assert_eq!((&delta["index"], &delta["function"]["name"]), (&json!(0), &json!("weather")));

    let messages = body["messages"].as_array_mut().expect("messages");
    messages.push(choice["message"].clone());
    messages.push(
        json!({"role": "tool", "tool_call_id": call["id"], "content": "{\"sky\": \"clear\"}"}),
    );
    let answer = chat(&server, &body).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "It is clear.", "{answer}");

    body["model"] = json!("agent:assistant");
    let refused = chat(&server, &body);
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("tools")));
}

#[test]
fn vectors_come_as_numbers_and_in_base64() {
    let server = host();
    let embed = |extra: Value| {
        let mut body = json!({"model": "demo", "input": ["the tide comes in", "and goes out"]});
        body.as_object_mut().expect("an object").extend(extra.as_object().cloned().expect("one"));
        server.send("POST", "/v1/embeddings", &body).json()
    };
    let numbers = embed(json!({}));
    assert_eq!(numbers["data"].as_array().map(Vec::len), Some(2), "{numbers}");
    let packed = embed(json!({"encoding_format": "base64"}));
    for index in 0..2 {
        assert_eq!(numbers["data"][index]["index"], index);
        let vector: Vec<f64> = numbers["data"][index]["embedding"]
            .as_array()
            .expect("numbers")
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        assert_eq!(vector.len(), 8);
        assert!(vector.iter().any(|one| *one != 0.0));
        let bytes = base64(packed["data"][index]["embedding"].as_str().expect("a text"));
        let unpacked: Vec<f32> = bytes
            .chunks(4)
            .map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")))
            .collect();
        assert_eq!(unpacked.len(), vector.len());
        for (one, other) in unpacked.iter().zip(&vector) {
            assert!((f64::from(*one) - other).abs() < 1e-6, "{one} {other}");
        }
    }
}

/// RFC 4648, section 4.
fn base64(text: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{other} is not base64"),
        };
        held = (held << 6 | u32::from(six)) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).expect("eight bits"));
        }
    }
    bytes
}

#[test]
fn models_and_agents_are_listed_and_read() {
    let server = host();
    let all = server.get("/v1/models").json();
    assert_eq!(all["object"], "list");
    let ids: Vec<&str> = all["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["id"].as_str())
        .collect();
    assert!(ids.contains(&"demo") && ids.contains(&"agent:assistant"), "{ids:?}");
    assert_eq!(server.get("/v1/models/agent:assistant").json()["object"], "model");
    assert_eq!(server.get("/v1/models/demo").json()["id"], "demo");
    let none = server.get("/v1/models/nothing");
    assert_eq!((none.status, &none.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[test]
fn errors_have_the_shape_and_the_status_that_clients_know() {
    let server = host();
    let refused = |body: &Value, status: u16, kind: &str| {
        let answer = chat(&server, body);
        let error = answer.json()["error"].clone();
        assert_eq!(
            (answer.status, error["type"].as_str()),
            (status, Some(kind)),
            "{body}: {error}"
        );
        for field in ["message", "param", "code"] {
            assert!(error.get(field).is_some(), "{field} is missing: {error}");
        }
    };
    for ask in [asking, streaming] {
        refused(&ask("absent", "x"), 404, "not_found_error");
        // The server that is away has what its sections name, and nobody named this one.
        refused(&ask("nothing", "x"), 404, "not_found_error");
        refused(&ask("agent:nobody", "x"), 404, "not_found_error");
        refused(&ask("stopped", "x"), 503, "server_error");
    }
    refused(&asking("agent:stranded", "x"), 503, "server_error");
    refused(&asking("agent:misled", "x"), 404, "not_found_error");
    // An agent's model need not have a section, so the server that is away might have it.
    refused(&asking("agent:lost", "x"), 503, "server_error");
    refused(&json!({"model": "demo", "messages": []}), 400, "invalid_request_error");
    refused(&json!({"model": "demo"}), 400, "invalid_request_error");
    let answer = chat(&server, &asking("agent:stranded", "x"));
    assert_eq!(answer.header("x-should-retry"), Some("false"), "the turn has run");
    refused(&asking("breaks", "x"), 502, "server_error");
}

#[test]
fn an_answer_that_breaks_in_the_middle_ends_with_an_error() {
    let server = host();
    for model in ["breaks", "agent:broken", "agent:stranded"] {
        let all = chunks(&chat(&server, &streaming(model, "x")));
        let last: Value = serde_json::from_str(all.last().expect("chunks")).expect("JSON");
        assert!(last["error"]["message"].is_string(), "{model}: {all:?}");
        assert!(!all.iter().any(|one| one == "[DONE]"), "{model}: {all:?}");
    }
    let all = chunks(&chat(&server, &streaming("breaks", "x")));
    assert_eq!(said(&parsed(&all[..all.len() - 1])), "This is ");
}
