//! What a call comes to, without values: its result, its lines, its error.
//!
//! What is clean is not touched and not copied. A JSON text stays JSON: values are replaced within
//! its strings, and one that a value is spread over in any other way is given up as a whole.

use std::sync::Arc;

use foreshore_domain::agent::Reply;
use foreshore_domain::call::CallError;
use foreshore_domain::denial::Denial;
use foreshore_domain::effect::AgentError;
use foreshore_domain::outcome::{Content, ContentBody, Logs, Resource, ResourceBody, ToolResult};
use foreshore_secrets::{Scanner, Tail};
use serde_json::Value;
use serde_json::value::RawValue;

use super::custody::Held;

impl Held {
    /// A result. Parts that follow each other are looked at as one text too.
    pub(crate) fn scrub_result(&self, result: &mut ToolResult) {
        let mut tail = Tail::default();
        for content in &mut result.content {
            self.content(content, &mut tail);
        }
        if let Some(structured) = &mut result.structured {
            self.json(structured);
        }
    }

    /// What was logged, as one text.
    pub(crate) fn scrub_logs(&self, logs: &mut Logs) {
        let mut tail = Tail::default();
        for line in &mut logs.lines {
            let redacted = tail.redacted(&self.scanner, &line.message);
            replace(&mut line.message, redacted);
        }
    }

    /// Why a call failed, in words that a guest may have had a part in.
    pub(crate) fn scrub_error(&self, error: &mut CallError) {
        match error {
            CallError::Trap { message, .. }
            | CallError::Refused { message }
            | CallError::Host { message }
            | CallError::StoreReadOnly { message } => self.text(message),
            CallError::InvalidArguments { pointer, message, .. } => {
                self.text(pointer);
                self.text(message);
            }
            CallError::Denied(denial) => self.scrub_denial(denial),
            // Their words are the host's own.
            _ => {}
        }
    }

    /// What was denied.
    pub(crate) fn scrub_denial(&self, denial: &mut Denial) {
        self.text(&mut denial.subject);
        self.text(&mut denial.grant);
    }

    /// What an agent answers a person. Parts that follow each other are looked at as one text too.
    pub(crate) fn scrub_reply(&self, reply: &mut Reply) {
        let mut tail = Tail::default();
        reply.message.iter_mut().for_each(|content| self.content(content, &mut tail));
    }

    /// Why an agent ended without one, in its own words.
    pub(crate) fn scrub_agent_error(&self, error: &mut AgentError) {
        match error {
            AgentError::Denied { code, subject, grant } => {
                [code, subject, grant].into_iter().for_each(|text| self.text(text));
            }
            AgentError::Invalid { pointer, message } => {
                self.text(pointer);
                self.text(message);
            }
            AgentError::Refused(text)
            | AgentError::NotFound(text)
            | AgentError::UnknownOutcome(text)
            | AgentError::Failed(text) => self.text(text),
            AgentError::Exhausted(_) | AgentError::Unavailable(_) => {}
        }
    }

    /// The name of a secret that a JSON text holds, as it stands or in what its strings say.
    pub(crate) fn in_json(&self, json: &str) -> Option<&str> {
        let named = |bytes: &[u8]| self.scanner.find(bytes).map(|name| &**name);
        named(json.as_bytes()).or_else(|| {
            let value: Value = serde_json::from_str(json).ok()?;
            in_value(&self.scanner, &value).map(|name| &**name)
        })
    }

    /// A JSON text that stays one.
    pub(crate) fn json_text(&self, text: &mut String) {
        let raw = RawValue::from_string(std::mem::take(text));
        let mut raw = raw.unwrap_or_else(|_| RawValue::NULL.to_owned());
        self.json(&mut raw);
        raw.get().clone_into(text);
    }

    /// A text by itself.
    pub(crate) fn text(&self, text: &mut String) {
        replace(text, self.scanner.redacted_text(text));
    }

    fn content(&self, content: &mut Content, tail: &mut Tail) {
        match &mut content.body {
            ContentBody::Text(text) => {
                let redacted = tail.redacted(&self.scanner, text);
                replace(text, redacted);
            }
            ContentBody::Json(json) => self.json(json),
            ContentBody::Image(media) | ContentBody::Audio(media) => {
                self.bytes(&mut media.data);
                self.text(&mut media.mime_type);
            }
            ContentBody::Resource(resource) => self.resource(resource),
        }
        let modified = content.annotations.as_mut().and_then(|hints| hints.last_modified.as_mut());
        modified.into_iter().for_each(|text| self.text(text));
    }

    fn resource(&self, resource: &mut Resource) {
        let Resource { uri, name, description, mime_type, body } = resource;
        let texts = [uri, name].into_iter().chain(description.as_mut()).chain(mime_type.as_mut());
        texts.for_each(|text| self.text(text));
        match body {
            ResourceBody::Link => {}
            ResourceBody::Text(text) => self.text(text),
            ResourceBody::Blob(bytes) => self.bytes(bytes),
        }
    }

    fn bytes(&self, bytes: &mut Vec<u8>) {
        if let Some(redacted) = self.scanner.redacted(bytes) {
            *bytes = redacted;
        }
    }

    fn json(&self, json: &mut Box<RawValue>) {
        if self.in_json(json.get()).is_none() {
            return;
        }
        let cleaned =
            serde_json::from_str(json.get()).ok().map(|value| clean(&self.scanner, value));
        let cleaned = cleaned.and_then(|value| serde_json::value::to_raw_value(&value).ok());
        let is_clean = |json: &RawValue| self.scanner.find(json.get().as_bytes()).is_none();
        if let Some(cleaned) = cleaned.filter(|json| is_clean(json)) {
            *json = cleaned;
            return;
        }
        let name = self.scanner.find(json.get().as_bytes()).map_or("", |name| name);
        let word = Value::from(format!("[secret:{name}]"));
        *json =
            serde_json::value::to_raw_value(&word).unwrap_or_else(|_| RawValue::NULL.to_owned());
    }
}

fn replace(text: &mut String, by: Option<String>) {
    if let Some(by) = by {
        *text = by;
    }
}

fn in_value<'a>(scanner: &'a Scanner, value: &Value) -> Option<&'a Arc<str>> {
    match value {
        Value::String(text) => scanner.find(text.as_bytes()),
        Value::Array(items) => items.iter().find_map(|item| in_value(scanner, item)),
        Value::Object(members) => members.iter().find_map(|(key, value)| {
            scanner.find(key.as_bytes()).or_else(|| in_value(scanner, value))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn clean(scanner: &Scanner, value: Value) -> Value {
    let text = |text: String| scanner.redacted_text(&text).unwrap_or(text);
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| clean(scanner, item)).collect())
        }
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(key, value)| (text(key), clean(scanner, value))).collect(),
        ),
        other => other,
    }
}
