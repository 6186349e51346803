//! What is accepted as an answer.

use foreshore_domain::inference::{FinishReason, Message, Role, TokenUsage, ToolCall};

use super::*;

fn said(text: &str) -> Answered {
    Answered {
        message: Message::text(Role::Assistant, text),
        finish: FinishReason::Stop,
        usage: TokenUsage::default(),
    }
}

fn expecting(format: Option<Format>, choice: Option<ToolChoice>) -> Result<Expected, String> {
    let mut request = ChatRequest::new(None, Vec::new());
    request.format = format;
    request.tool_choice = choice;
    for name in ["f", "g"] {
        request.tools.push(ToolSpec {
            name: name.to_owned(),
            description: None,
            parameters_schema: "{}".to_owned(),
        });
    }
    Expected::of(&request)
}

const SCHEMA: &str = r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"}}}"#;

#[test]
fn an_answer_matches_its_schema_or_is_told_why_not() {
    let expected = expecting(Some(Format::Schema(SCHEMA.to_owned())), None).expect("good");
    assert_eq!(expected.check(&mut said(r#"{"n":1}"#)), Ok(()));
    let mut fenced = said("```json\n{\"n\":1}\n```");
    assert_eq!(expected.check(&mut fenced), Ok(()));
    assert_eq!(fenced.message.plain_text(), r#"{"n":1}"#);
    let problem = expected.check(&mut said(r#"{"n":"one"}"#)).expect_err("it does not match");
    assert!(problem.contains("/n") && problem.contains("integer"), "{problem}");
    let problem = expected.check(&mut said("I think it is 1")).expect_err("no JSON");
    assert!(problem.contains("has to be JSON"), "{problem}");
}

#[test]
fn a_schema_from_elsewhere_is_not_fetched() {
    let schema = r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#;
    let refused = expecting(Some(Format::Schema(schema.to_owned())), None).err();
    assert!(refused.is_some_and(|why| why.contains("schema of the answer")));
    let long = format!("{{\"title\":\"{}\"}}", "x".repeat(SCHEMA_MAX_BYTES));
    assert!(expecting(Some(Format::Schema(long)), None).is_err());
}

#[test]
fn a_tool_that_has_to_be_called_is_called() {
    let call = |name: &str| {
        let mut answered = said("");
        let (id, arguments_json) = ("c".to_owned(), "{}".to_owned());
        answered.message.tool_calls.push(ToolCall { id, name: name.to_owned(), arguments_json });
        answered
    };
    let any = expecting(None, Some(ToolChoice::Required)).expect("good");
    assert_eq!(any.tools.len(), 2);
    assert_eq!(any.check(&mut call("g")), Ok(()));
    assert!(any.check(&mut said("no")).is_err());
    let named = expecting(None, Some(ToolChoice::Named("g".to_owned()))).expect("good");
    assert_eq!(named.tools.len(), 1, "it is shown no other");
    assert!(named.check(&mut call("f")).is_err());
    let none = expecting(None, Some(ToolChoice::None)).expect("good");
    assert!(none.tools.is_empty() && !none.is_checked());
    let unknown = expecting(None, Some(ToolChoice::Named("h".to_owned()))).err();
    assert!(unknown.is_some_and(|why| why.contains("\"h\"")));
}

#[test]
fn a_schema_that_would_keep_the_host_busy_is_refused() {
    let bomb = r##"{"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}]}}}"##;
    let mut doubling = serde_json::json!({ "$defs": { "d0": { "type": "object" } } });
    for n in 1..30 {
        let below = serde_json::json!({ "$ref": format!("#/$defs/d{}", n - 1) });
        doubling["$defs"][format!("d{n}")] = serde_json::json!({ "allOf": [below, below] });
    }
    doubling["$ref"] = "#/$defs/d29".into();
    for schema in [bomb.to_owned(), doubling.to_string()] {
        let refused = expecting(Some(Format::Schema(schema)), None).err();
        assert!(refused.is_some_and(|why| why.contains("contains itself")));
    }
    let shared = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/n"},"b":{"$ref":"#/$defs/n"}},"$defs":{"n":{"type":"integer"}}}"##;
    let expected = expecting(Some(Format::Schema(shared.to_owned())), None).expect("it is small");
    assert_eq!(expected.check(&mut said(r#"{"a":1,"b":2}"#)), Ok(()));
    assert!(expected.check(&mut said(r#"{"a":1,"b":"x"}"#)).is_err());
}
