//! The request, field by field.

use foreshore_domain::inference::{Image, ToolCall, ToolSpec};

use super::*;
use crate::backend::Facts;
use crate::config::RunnerOptions;
use crate::lane::Runner;

fn sent(request: &ChatRequest) -> Value {
    let runner =
        Runner { num_ctx: Some(4_096), options: RunnerOptions::default(), allow_remote: false };
    let facts = Facts::default();
    let (model, tools) = ("m", &request.tools[..]);
    body(&WireChat { model, request, tools, runner: &runner, facts: &facts })
        .expect("it can be sent")
}

#[test]
fn a_chat_with_all_that_there_is() {
    let mut request = ChatRequest::new(None, vec![Message::text(Role::User, "look")]);
    let image = Image { data: vec![255, 0].into(), mime_type: "image/png".to_owned() };
    request.messages[0].content.push(Part::Image(image));
    let mut said = Message::text(Role::Assistant, "");
    said.tool_calls.push(ToolCall {
        id: "c1".to_owned(),
        name: "f".to_owned(),
        arguments_json: r#"{"a":1}"#.to_owned(),
    });
    request.messages.push(said);
    request.tools.push(ToolSpec {
        name: "f".to_owned(),
        description: None,
        parameters_schema: r#"{"type":"object"}"#.to_owned(),
    });
    request.tool_choice = Some(ToolChoice::Named("f".to_owned()));
    request.format = Some(Format::Schema(r#"{"type":"object"}"#.to_owned()));
    request.thinking = Some(Thinking::Low);
    request.sampling.temperature = Some(0.2);
    let body = sent(&request);
    let parts = &body["messages"][0]["content"];
    assert_eq!(parts[0], json!({ "type": "text", "text": "look" }));
    assert_eq!(parts[1]["image_url"]["url"], "data:image/png;base64,/wA=");
    let call = &body["messages"][1]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], r#"{"a":1}"#, "arguments are a text here");
    assert_eq!(body["messages"][1]["content"], Value::Null);
    assert_eq!(body["tool_choice"]["function"]["name"], "f");
    assert_eq!(body["response_format"]["type"], "json_schema");
    assert_eq!(body["response_format"]["json_schema"]["schema"], json!({ "type": "object" }));
    assert_eq!(body["reasoning_effort"], "low");
    assert_eq!(body["temperature"], json!(0.2));
    assert_eq!(body["stream_options"]["include_usage"], true);
    assert!(body.get("options").is_none(), "runner options are Ollama's");
}
