//! Each import of the world once, in a fixed order.

use serde_json::{Value, json};

use crate::foreshore::agents::agents::{self, Attenuation};
use crate::foreshore::approval::approval;
use crate::foreshore::budget::budget;
use crate::foreshore::conversation::conversation;
use crate::foreshore::elicit::elicit;
use crate::foreshore::events::events;
use crate::foreshore::inference::inference::{
    self, Config, ContentPart, Message, Request, Role, Thinking, ToolChoice,
};
use crate::foreshore::log::log;
use crate::foreshore::memory::memory;
use crate::foreshore::progress::progress;
use crate::foreshore::reply::reply;
use crate::foreshore::secrets::secrets;
use crate::foreshore::tools::tools::{self, Call};
use crate::foreshore::types::types::{Content, ContentBody, Media};
use crate::foreshore::variables::variables;

fn config() -> Config {
    Config {
        model: None,
        tools: Vec::new(),
        tool_choice: None,
        format: None,
        thinking: None,
        temperature: None,
        top_p: None,
        seed: None,
        max_tokens: None,
        stop_sequences: Vec::new(),
        stream_to_reply: false,
    }
}

fn user(text: &str) -> Message {
    Message {
        role: Role::User,
        content: vec![ContentPart::Text(text.to_owned())],
        thinking: None,
        tool_calls: Vec::new(),
        tool_result: None,
    }
}

fn said<T: std::fmt::Debug>(value: T) -> Value {
    Value::String(format!("{value:?}"))
}

pub fn everything() -> Value {
    let mut message = user("look");
    let picture = Media { data: vec![1, 2, 3], mime_type: "image/png".to_owned() };
    message.content.push(ContentPart::Image(picture));
    let asked = Config {
        model: Some("small".to_owned()),
        tool_choice: Some(ToolChoice::Required),
        thinking: Some(Thinking::Low),
        temperature: Some(0.5),
        seed: Some(7),
        stream_to_reply: true,
        ..config()
    };
    let hot = Config { temperature: Some(f32::NAN), ..config() };
    let one = |text: &str, config: Config| Request { messages: vec![user(text)], config };
    let several = [one("a", config()), one("never", hot), one("b", config())];
    let calls = ["files.read", "files.write"]
        .map(|name| Call { name: name.to_owned(), arguments: "{}".to_owned() });
    let told = Content { body: ContentBody::Text("go".to_owned()), annotations: None };
    let less = Attenuation {
        tools: Some(vec!["files.read".to_owned()]),
        namespaces: None,
        max_tokens: Some(10),
        max_tool_calls: Some(1),
        deadline_ms: None,
    };
    let record = memory::Write {
        key: "k".to_owned(),
        value: "1".to_owned(),
        tags: Vec::new(),
        importance: 0.5,
        ttl_s: None,
        expected_version: None,
    };
    reply::phase("asking", Some("everything"));
    reply::text("so ");
    reply::thinking("hm");
    log::log(log::Level::Info, "a line");
    progress::report(1.0, None, None);
    json!([
        said(inference::chat(&[message], &asked)),
        said(inference::chat_all(&several)),
        said(inference::embed(None, &["x".to_owned()])),
        said(inference::models()),
        said(tools::list()),
        said(tools::call_all(&calls)),
        said(agents::list()),
        said(agents::delegate("other", &[told], Some("{}"), &less)),
        said(memory::get("notes", "k")),
        said(memory::put("notes", &record)),
        said(variables::index()),
        said(variables::get("plan", None)),
        said(variables::set("plan", "[1]")),
        said(conversation::recent(1_000)),
        said(conversation::summary()),
        said(conversation::set_summary("all of it", 3)),
        said(elicit::ask("which?", r#"{"type":"object"}"#)),
        said(approval::ask("delete", "{}")),
        said(events::emit("done", "{}")),
        said(events::wake_at(1)),
        said(budget::left()),
        said(budget::iteration()),
        said(secrets::exists("token")),
        said(variables::set("Not A Name", "1")),
        said(variables::set("plan", "not json")),
        said(events::wake_at(u64::MAX)),
        said(events::emit("Not A Kind", "{}")),
    ])
}

/// What each of these calls gives: a list of names with arguments.
pub fn call(calls: &Value) -> Value {
    let call = |call: &Value| Call {
        name: call[0].as_str().unwrap_or_default().to_owned(),
        arguments: call[1].to_string(),
    };
    let calls: Vec<Call> = calls.as_array().into_iter().flatten().map(call).collect();
    tools::call_all(&calls).into_iter().map(said).collect()
}

pub fn big_string(bytes: u64) -> Value {
    let text = "s".repeat(usize::try_from(bytes).unwrap_or(0));
    said(conversation::set_summary(&text, 0))
}

pub fn iterate(times: u64) -> Value {
    let mut left = None;
    for _ in 0..times {
        left = Some(budget::iteration());
    }
    said(left)
}
