//! The request, field by field.

use foreshore_domain::inference::{ChatRequest, Image, ModelDetails, ToolResultMessage, ToolSpec};

use super::*;
use crate::config::RunnerOptions;
use crate::lane::Runner;

fn sent(request: &ChatRequest, facts: &Facts) -> Result<Value, Failure> {
    let runner =
        Runner { num_ctx: Some(4_096), options: RunnerOptions::default(), allow_remote: false };
    body(&WireChat { model: "m", request, tools: &request.tools, runner: &runner, facts })
}

fn asking() -> ChatRequest {
    ChatRequest::new(None, vec![Message::text(Role::User, "hi")])
}

#[test]
fn arguments_are_objects_there_and_texts_here() {
    let mut request = asking();
    let mut said = Message::text(Role::Assistant, "");
    for arguments in [r#"{"path":"/a"}"#, "not json", "[1]"] {
        said.tool_calls.push(ToolCall {
            id: "c1".to_owned(),
            name: "files.read".to_owned(),
            arguments_json: arguments.to_owned(),
        });
    }
    let mut result = Message::text(Role::Tool, "");
    result.tool_result = Some(ToolResultMessage {
        id: "c1".to_owned(),
        name: "files.read".to_owned(),
        content: "text".to_owned(),
        is_error: false,
    });
    request.messages.extend([said, result]);
    let body = sent(&request, &Facts::default()).expect("it can be sent");
    let calls = &body["messages"][1]["tool_calls"];
    assert_eq!(calls[0]["function"]["arguments"], json!({ "path": "/a" }));
    assert_eq!(calls[1]["function"]["arguments"], json!({ "arguments": "not json" }));
    assert_eq!(calls[2]["function"]["arguments"], json!({ "arguments": [1] }));
    let answer = &body["messages"][2];
    assert_eq!(
        (&answer["tool_name"], &answer["tool_call_id"]),
        (&json!("files.read"), &json!("c1"))
    );

    let line = r#"{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}"#;
    let line: wire::ChatLine = serde_json::from_str(line).expect("it parses");
    let call = called(line.message.expect("a message").tool_calls.remove(0));
    assert_eq!(call.arguments_json, r#"{"a":1}"#);
    assert!(call.id.starts_with("call_"), "an id is made where there is none: {}", call.id);
}

#[test]
fn pictures_are_base64() {
    let mut request = asking();
    let image = Image { data: vec![255, 0].into(), mime_type: "image/png".to_owned() };
    request.messages[0].content.push(Part::Image(image));
    let body = sent(&request, &Facts::default()).expect("it can be sent");
    assert_eq!(body["messages"][0]["images"], json!(["/wA="]));
    assert_eq!(body["messages"][0]["content"], "hi");
}

#[test]
fn numbers_are_sent_as_they_were_written() {
    let mut request = asking();
    request.sampling = Sampling {
        temperature: Some(0.7),
        top_p: Some(0.1),
        seed: Some(u64::MAX),
        max_tokens: Some(9),
        stop: vec!["END".to_owned()],
    };
    let text = sent(&request, &Facts::default()).expect("it can be sent")["options"].to_string();
    assert!(text.contains(r#""temperature":0.7,"#), "{text}");
    assert!(text.contains("18446744073709551615") && text.contains(r#""num_predict":9"#), "{text}");
}

#[test]
fn thinking_is_a_level_only_for_who_knows_levels_and_nothing_for_who_cannot() {
    let facts = |family: &str, capabilities: &[&str]| Facts {
        details: ModelDetails { family: family.to_owned(), ..ModelDetails::default() },
        context_length: None,
        capabilities: Some(capabilities.iter().map(|one| (*one).to_owned()).collect()),
    };
    let mut request = asking();
    request.thinking = Some(Thinking::High);
    let think = |request: &ChatRequest, facts: &Facts| {
        sent(request, facts).expect("it can be sent").get("think").cloned()
    };
    assert_eq!(think(&request, &facts("gptoss", &["thinking"])), Some(json!("high")));
    assert_eq!(think(&request, &facts("qwen3", &["thinking"])), Some(json!(true)));
    assert_eq!(think(&request, &facts("llama", &["completion"])), None);
    assert_eq!(think(&request, &Facts::default()), Some(json!(true)), "nobody says it cannot");
    request.thinking = Some(Thinking::Off);
    assert_eq!(think(&request, &facts("qwen3", &["thinking"])), Some(json!(false)));
    request.thinking = None;
    assert_eq!(think(&request, &facts("qwen3", &["thinking"])), None);
}

#[test]
fn a_schema_that_is_none_is_the_callers_fault_and_names_the_tool() {
    let mut request = asking();
    request.tools.push(ToolSpec {
        name: "files.read".to_owned(),
        description: None,
        parameters_schema: "{".to_owned(),
    });
    let failure = sent(&request, &Facts::default()).expect_err("it cannot be sent");
    let Failure::Rejected { message } = failure else { panic!("{failure:?}") };
    assert!(message.contains("tool \"files.read\""), "{message}");
}
