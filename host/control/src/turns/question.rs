//! Questions to people, and what may answer them.

use foreshore_domain::conversation::{
    Decision, QuestionAnswered, QuestionAsked, QuestionKind, kind,
};
use foreshore_domain::event::{Stream, Tenant};
use foreshore_domain::id::QuestionId;
use foreshore_runtime::{JSON_DEPTH_MAX, check_json_depth};
use foreshore_store::Journal;
use serde_json::Value;

use super::payload::KeptError;

/// The largest schema of a question.
const SCHEMA_MAX_BYTES: usize = 16 << 10;
/// The largest answer.
const ANSWER_MAX_BYTES: usize = 16 << 10;
/// A question and its answer.
const EVENTS_MAX: usize = 2;

/// A question, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked, by which turn, and until when.
    pub asked: QuestionAsked,
    /// What was decided and by whom, if anybody has.
    pub answered: Option<QuestionAnswered>,
    /// The last event of its stream.
    pub(crate) seq: u64,
}

impl Question {
    /// A question by its id; `None` if there is none.
    pub(crate) fn read(
        journal: &Journal,
        tenant: &Tenant,
        id: QuestionId,
    ) -> Result<Option<Self>, KeptError> {
        let stream = Stream::Question(id);
        let events = journal.read_stream(tenant, &stream, 1, EVENTS_MAX)?;
        let form = |error: serde_json::Error| KeptError::Form(error.to_string());
        let (mut asked, mut answered, mut seq) = (None, None, 0);
        for event in events {
            seq = event.seq;
            match event.kind.as_str() {
                kind::ASKED => asked = Some(serde_json::from_slice(&event.payload).map_err(form)?),
                kind::ANSWERED => {
                    answered = Some(serde_json::from_slice(&event.payload).map_err(form)?);
                }
                _ => {}
            }
        }
        Ok(asked.map(|asked| Self { asked, answered, seq }))
    }

    /// Whether a decision fits the question.
    ///
    /// # Errors
    /// Why not, and what would.
    pub(crate) fn takes(&self, decision: &Decision) -> Result<(), String> {
        match (&self.asked.kind, decision) {
            (QuestionKind::Approve { .. }, Decision::Approved | Decision::Denied) => Ok(()),
            (QuestionKind::Approve { .. }, _) => {
                Err("it is approved or denied, and nothing else".to_owned())
            }
            (QuestionKind::Ask { .. }, Decision::Declined | Decision::Cancelled) => Ok(()),
            (QuestionKind::Ask { .. }, Decision::Accepted(answer))
                if answer.as_str().len() > ANSWER_MAX_BYTES =>
            {
                Err(format!("the answer has more than {ANSWER_MAX_BYTES} bytes"))
            }
            (QuestionKind::Ask { schema }, Decision::Accepted(answer)) => {
                matches(schema.as_str(), answer.as_str())
            }
            (QuestionKind::Ask { .. }, _) => {
                Err("it is accepted with an answer, declined or cancelled".to_owned())
            }
        }
    }
}

/// Whether a schema can be asked for: a flat object of strings, numbers, booleans and enums.
///
/// # Errors
/// What it should be.
pub(crate) fn check_schema(schema: &str) -> Result<(), String> {
    if schema.len() > SCHEMA_MAX_BYTES {
        return Err(format!("the schema has {} bytes of {SCHEMA_MAX_BYTES}", schema.len()));
    }
    check_json_depth(schema.as_bytes(), JSON_DEPTH_MAX).map_err(|error| error.to_string())?;
    let value: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    if value.get("type").and_then(Value::as_str) != Some("object") {
        return Err("the schema is not of an object: {\"type\": \"object\", …}".to_owned());
    }
    let none = serde_json::Map::new();
    let properties = value.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for (name, property) in properties {
        let kind = property.get("type").and_then(Value::as_str);
        let is_flat = property.get("enum").is_some_and(Value::is_array)
            || matches!(kind, Some("string" | "number" | "integer" | "boolean"));
        if !is_flat {
            return Err(format!(
                "the property \"{}\" is not a string, number, boolean or enum",
                crate::record::shortened(name, 64)
            ));
        }
    }
    validator(&value).map(|_| ())
}

fn matches(schema: &str, answer: &str) -> Result<(), String> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_str(answer).map_err(|error| error.to_string())?;
    if !answer.is_object() {
        return Err("the answer is not a JSON object".to_owned());
    }
    validator(&schema)?.validate(&answer).map_err(|error| {
        format!("the answer does not match the schema: {error} (at \"{}\")", error.instance_path())
    })
}

fn validator(schema: &Value) -> Result<jsonschema::Validator, String> {
    // Flat, so there is nothing that could refer to anything.
    jsonschema::validator_for(schema).map_err(|error| format!("the schema is none: {error}"))
}

#[cfg(test)]
mod tests {
    use foreshore_domain::conversation::{Conversation, MessageText};
    use foreshore_domain::id::TurnId;
    use foreshore_domain::memory::JsonText;

    use super::*;

    fn json(text: &str) -> JsonText {
        JsonText::parse(text).expect("JSON")
    }

    fn question(kind: QuestionKind) -> Question {
        let asked = QuestionAsked {
            question: QuestionId::new(1),
            turn: TurnId::new(1),
            conversation: Conversation::parse("c").expect("a conversation"),
            number: 0,
            kind,
            message: MessageText::cut("which?"),
            expires_at_unix_ms: 9,
        };
        Question { asked, answered: None, seq: 1 }
    }

    #[test]
    fn only_a_flat_object_is_asked_for() {
        check_schema(r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#).expect("flat");
        check_schema(r#"{"type":"object","properties":{"c":{"enum":["a","b"]}}}"#).expect("flat");
        for bad in [
            "7",
            "{",
            r#"{"type":"array"}"#,
            r#"{"type":"object","properties":{"o":{"type":"object"}}}"#,
            r##"{"type":"object","properties":{"o":{"$ref":"#/x"}}}"##,
        ] {
            assert!(check_schema(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_fits_its_question() {
        let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;
        let ask = question(QuestionKind::Ask { schema: json(schema) });
        ask.takes(&Decision::Accepted(json(r#"{"n":1}"#))).expect("it matches");
        ask.takes(&Decision::Declined).expect("that is an answer");
        for bad in [
            Decision::Accepted(json(r#"{"n":"x"}"#)),
            Decision::Accepted(json("7")),
            Decision::Approved,
            Decision::Expired,
        ] {
            assert!(ask.takes(&bad).is_err(), "{bad:?}");
        }
        let approve = question(QuestionKind::Approve { details: json("{}") });
        approve.takes(&Decision::Denied).expect("that is a decision");
        assert!(approve.takes(&Decision::Accepted(json("{}"))).is_err());
        assert!(approve.takes(&Decision::Expired).is_err(), "time does that, and nobody else");
    }
}
