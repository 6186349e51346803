//! Events put together.

use serde_json::json;

use super::*;

fn take(assembly: &mut Assembly, chunk: serde_json::Value) -> Vec<Piece> {
    let chunk = serde_json::from_value(chunk).expect("a chunk");
    assembly.take(chunk).expect("no error")
}

#[test]
fn calls_of_tools_are_put_together_by_their_index() {
    let mut assembly = Assembly::default();
    let part = |index: usize, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let function = json!({ "name": name, "arguments": arguments });
        let call = json!({ "index": index, "id": id, "function": function });
        json!({ "choices": [{ "delta": { "tool_calls": [call] } }] })
    };
    assert!(take(&mut assembly, part(0, Some("a"), Some("f"), "{\"x\"")).is_empty());
    assert!(take(&mut assembly, part(1, None, Some("g"), "")).is_empty());
    assert!(take(&mut assembly, part(0, None, None, ":1}")).is_empty());
    let finish = json!({ "choices": [{ "delta": {}, "finish_reason": "tool_calls" }] });
    let pieces = take(&mut assembly, finish);
    let calls: Vec<_> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::ToolCall(call) => (call.name.as_str(), call.arguments_json.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(calls, [("f", "{\"x\":1}"), ("g", "{}")]);
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 4 } });
    assert!(take(&mut assembly, usage).is_empty());
    let done = assembly.ended().expect("it has ended");
    let expected = Done {
        finish: FinishReason::ToolCalls,
        input_tokens: 3,
        output_tokens: 4,
        duration_ms: None,
    };
    assert_eq!(done, [Piece::Done(expected)]);
    assert_eq!(assembly.ended(), None, "it ends once");
}

#[test]
fn an_index_beyond_reason_is_refused() {
    let call = json!({ "index": 1_000_000, "function": { "name": "f" } });
    let chunk = json!({ "choices": [{ "delta": { "tool_calls": [call] } }] });
    let chunk = serde_json::from_value(chunk).expect("a chunk");
    assert!(matches!(Assembly::default().take(chunk), Err(Failure::Answer { .. })));
}

#[test]
fn an_error_in_the_stream_is_an_error() {
    let chunk = json!({ "error": { "message": "boom", "code": "x" } });
    let chunk = serde_json::from_value(chunk).expect("a chunk");
    let failure = Assembly::default().take(chunk);
    assert_eq!(failure, Err(Failure::Answer { message: "boom (x)".to_owned() }));
}

#[test]
fn only_data_is_data() {
    let line = |text: &'static str| data(&Bytes::from_static(text.as_bytes()));
    assert_eq!(line("data: {}"), Some(Bytes::from_static(b"{}")));
    assert_eq!(line("data:{}"), Some(Bytes::from_static(b"{}")));
    assert_eq!(line(": comment"), None);
    assert_eq!(line("event: x"), None);
    assert_eq!(line("data: "), None);
}
