//! Whatever parses is served: no script and no request makes the server panic.

use foreshore_scripted_model::{Format, Outcome, Script, ScriptedServer};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::{any_port, send, until};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~äß\\n]{0,20}",
        Just("{{first 3 last_user}} {{1}} {{2}}".to_owned()),
        Just("{{tool .*}}{{tool_result /a/0}}{{variable v}}{{system}}".to_owned()),
        Just("{{repeat 40 ü}}{{last_message}}{{call}}{{model}}{{tool_name}}".to_owned()),
    ]
}

fn matcher() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::from),
        Just(json!({ "regex": "(.)(.)?" })),
        Just(json!({ "regex": "^$|x" })),
        Just(json!({ "contains": "" })),
    ]
}

/// An object with some of these fields.
fn some(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| proptest::option::weighted(0.2, value).prop_map(move |it| (name, it)))
        .collect();
    let object = |fields: Vec<(&str, Option<Value>)>| {
        let fields = fields.into_iter().filter_map(|(name, it)| Some((name.to_owned(), it?)));
        Value::Object(fields.collect())
    };
    fields.prop_map(object).boxed()
}

fn number(most: u64) -> BoxedStrategy<Value> {
    (0..=most).prop_map(Value::from).boxed()
}

fn truth() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::from).boxed()
}

fn words(words: &'static [&'static str]) -> BoxedStrategy<Value> {
    proptest::sample::select(words).prop_map(Value::from).boxed()
}

fn when() -> BoxedStrategy<Value> {
    some(vec![
        ("path", words(&["/api/*", "/**", "/v1/*"])),
        ("model", words(&["m", "*", "m:latest", "other"])),
        ("last_user", matcher().boxed()),
        ("any_message", matcher().boxed()),
        ("system", matcher().boxed()),
        ("tool_content", matcher().boxed()),
        ("tool_offered", matcher().boxed()),
        ("tools", truth()),
        ("format", words(&["none", "json", "schema", "any"])),
        ("stream", truth()),
    ])
}

fn answer() -> BoxedStrategy<Value> {
    let call = (text(), text())
        .prop_map(|(name, it)| json!({ "name": name, "arguments": { "a": [it, 1] } }));
    let chunks = prop_oneof![
        Just(json!("whole")),
        (1_u64..5).prop_map(|it| json!({ "words": it })),
        (1_u64..5).prop_map(|it| json!({ "characters": it })),
    ];
    let breaks = some(vec![
        ("after", number(3)),
        ("message", text().prop_map(Value::from).boxed()),
        ("with", words(&["error", "garbage", "truncate", "cut", "reset"])),
    ]);
    let reply = some(vec![
        ("text", text().prop_map(Value::from).boxed()),
        ("json", text().prop_map(|it| json!({ "a": it })).boxed()),
        ("from_schema", truth()),
        ("chunk_list", proptest::collection::vec(text(), 0..3).prop_map(Value::from).boxed()),
        ("thinking", text().prop_map(Value::from).boxed()),
        ("tool_calls", proptest::collection::vec(call, 0..3).prop_map(Value::from).boxed()),
        ("chunks", chunks.boxed()),
        ("done_reason", words(&["stop", "length", ""])),
        ("prompt_tokens", any::<u64>().prop_map(Value::from).boxed()),
        ("output_tokens", any::<u64>().prop_map(Value::from).boxed()),
        ("padding_bytes", number(9)),
        ("delay_ms", number(1)),
        ("chunk_delay_ms", number(1)),
        ("write_bytes", number(30)),
        ("break", breaks),
    ]);
    let refusal = some(vec![
        ("status", number(700)),
        ("error", text().prop_map(Value::from).boxed()),
        ("body", text().prop_map(Value::from).boxed()),
        ("headers", Just(json!({ "retry-after": "1" })).boxed()),
    ]);
    prop_oneof![3 => reply, 1 => refusal].boxed()
}

fn script() -> BoxedStrategy<Value> {
    let rule = (when(), answer(), 0..3_u64)
        .prop_map(|(when, answer, times)| json!({ "when": when, "answer": answer, "times": times + 1, "capture": { "v": "a|(b)" } }));
    let model = some(vec![
        ("context_length", number(20)),
        ("load_ms", number(2)),
        ("loaded", truth()),
        ("keep_alive_ms", number(2)),
        ("pull", Just(json!({})).boxed()),
        ("on_cancel", words(&["keep-load", "stop-load"])),
    ]);
    let model = model.prop_map(|mut model| {
        model["name"] = json!("m");
        model
    });
    let rules = proptest::collection::vec(rule, 0..4);
    (rules, proptest::option::of(model))
        .prop_map(|(rules, model)| json!({ "rules": rules, "models": Vec::from_iter(model) }))
        .boxed()
}

fn request() -> BoxedStrategy<(String, Value)> {
    let message = (words(&["system", "user", "assistant", "tool", "robot"]), text())
        .prop_map(|(role, text)| json!({ "role": role, "content": text }));
    let messages = proptest::collection::vec(message, 0..4);
    let format = prop_oneof![
        Just(json!("json")),
        Just(json!({ "type": "array", "minItems": 3, "items": { "$ref": "#" } })),
    ];
    let options = some(vec![
        ("num_predict", number(4)),
        ("num_ctx", number(30)),
        ("stop", Just(json!(["a", ""])).boxed()),
    ]);
    let body = some(vec![
        ("messages", messages.prop_map(Value::from).boxed()),
        ("prompt", text().prop_map(Value::from).boxed()),
        ("input", text().prop_map(Value::from).boxed()),
        ("tools", Just(json!([{ "type": "function", "function": { "name": "t" } }])).boxed()),
        ("format", format.boxed()),
        ("stream", truth()),
        ("think", truth()),
        ("truncate", truth()),
        ("options", options),
        ("keep_alive", words(&["0", "1m", "x"])),
    ]);
    let paths = words(&["/api/chat", "/api/generate", "/v1/chat/completions", "/api/embed"]);
    (paths, body)
        .prop_map(|(path, mut body)| {
            body["model"] = json!("m");
            // Most requests say something, so that rules get to answer them.
            if body["messages"].is_null() {
                body["messages"] = json!([{ "role": "user", "content": "ab xy" }]);
            }
            (path.as_str().unwrap_or_default().to_owned(), body)
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_parses_is_served(
        script in script(),
        requests in proptest::collection::vec(request(), 1..4),
    ) {
        let Ok(parsed) = Script::parse(&script.to_string(), Format::Json) else {
            return Err(TestCaseError::reject("no script"));
        };
        let server = ScriptedServer::start(parsed, any_port()).expect("a free port");
        for (path, body) in &requests {
            // All of it is read, so a request that is abandoned is one whose task panicked.
            let _ = send(&server, "POST", path, body.to_string().as_bytes()).seen();
        }
        until("all requests have ended", || server.in_flight() == 0);
        for recorded in server.requests() {
            prop_assert!(
                matches!(recorded.outcome, Outcome::Answered(_) | Outcome::Broken),
                "{recorded:?}"
            );
        }
    }
}
