//! Budgets of tenants, agents and conversations: reached, refused in the form that each client
//! knows, kept over kill -9, and shown.

use std::path::Path;

use serde_json::{Value, json};

use super::{turn, until};
use crate::harness::http::Response;
use crate::harness::server::Server;

/// What a model says that it took for each answer.
const EACH: u64 = 5_000;

/// A server whose model takes [`EACH`] tokens for an answer, at 10 for a million.
fn server(place: &Path, more: &str) -> Server {
    let script = place.join("script.toml");
    let model = "[[models]]\nname = \"demo\"\ncapabilities = [\"completion\", \"tools\", \"embedding\"]\n\
                 embedding_dimensions = 8\n";
    let rule =
        "[[rules]]\nanswer = { text = \"Done.\", prompt_tokens = 3000, output_tokens = 2000 }\n";
    std::fs::write(&script, format!("{model}{rule}")).expect("written");
    let configuration = format!(
        r#"
        [inference]
        default_model = "demo"
        embedding_model = "demo"
        [[inference.backends]]
        name = "script"
        kind = "scripted"
        script = {script:?}
        [inference.models.demo]
        price_input = 10.0
        price_output = 10.0
        {more}
        "#
    );
    Server::start(&configuration, &[])
}

fn ask(server: &Server, agent: &str, body: &Value) -> Response {
    server.send("POST", &format!("/v1/agents/{agent}/turns"), body)
}

fn chat(server: &Server, path: &str) -> Response {
    let messages = json!([{"role": "user", "content": "x"}]);
    server.send("POST", path, &json!({"model": "demo", "stream": false, "messages": messages}))
}

/// What was spent of a budget.
fn spent(server: &Server, scope: &str, name: &str) -> u64 {
    let budgets = server.get(&format!("/v1/budgets?scope={scope}")).json();
    let all = budgets["budgets"].as_array().expect("a list");
    let found = all.iter().find(|budget| budget["name"] == name);
    found.map_or(0, |budget| budget["tokens"]["spent"].as_u64().expect("a number"))
}

/// Tokens of a tenant that are on record.
fn on_record(server: &Server) -> u64 {
    let events = server.get("/v1/events?kind=budget.spent&limit=1000").json();
    let events = events["events"].as_array().expect("a list");
    events.iter().filter_map(|event| event["payload"]["tokens"].as_u64()).sum()
}

/// Seconds until there is more: at most a day.
fn retry_after(answer: &Response) -> u64 {
    let seconds = answer.header("retry-after").expect("it says when to come back");
    let seconds = seconds.parse().expect("seconds");
    assert!((1..=86_400).contains(&seconds), "{seconds}");
    seconds
}

#[test]
fn a_budget_of_an_agent_holds_and_a_crash_gives_no_fresh_one() {
    let place = tempfile::tempdir().expect("made");
    let limits = "[budgets.agents.assistant]\ntokens_per_day = 9000\ncost_per_day = 1.0";
    let mut server = server(place.path(), limits);
    let message = json!({"message": "Do it."});
    for number in 1..=2 {
        let turn = turn(&server, "assistant", &message);
        assert_eq!(turn["state"], "completed", "{turn}");
        assert_eq!(spent(&server, "agent", "assistant"), number * EACH);
    }
    // The last answer was longer than what was left for it: this model heeds no limit.
    let refused = |server: &Server| {
        let answer = ask(server, "assistant", &message);
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["code"]),
            (429, &json!("budget_exhausted")),
            "{problem}"
        );
        assert_eq!(problem["setting"], "budgets.agents.assistant.tokens_per_day");
        assert_eq!(problem["allowed"], 9_000);
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("agent assistant") && detail.contains("10000 of 9000"), "{detail}");
        assert!(detail.contains("it begins anew at "), "{detail}");
        retry_after(&answer);
    };
    refused(&server);
    server.kill();
    server.restart();
    assert_eq!(spent(&server, "agent", "assistant"), 2 * EACH, "its turns had ended");
    refused(&server);

    // Others have what they had, and what they spend counts for all together.
    let planned = chat(&server, "/v1/chat/completions");
    assert_eq!(planned.status, 200);
    assert_eq!(spent(&server, "tenant", "default"), 3 * EACH);
    let budgets = server.get("/v1/budgets").json();
    let of = |scope: &str| {
        let all = budgets["budgets"].as_array().expect("a list").iter();
        all.clone().find(|budget| budget["scope"] == scope).cloned().expect("it is there")
    };
    assert_eq!(
        of("agent")["cost_micros"],
        json!({"limit": 1_000_000, "spent": 100_000, "held": 0})
    );
    assert_eq!(of("tenant")["tokens"], json!({"spent": 3 * EACH, "held": 0}));
    let midnight = of("tenant")["resets_at"].clone();
    assert!(midnight.as_str().is_some_and(|at| at.ends_with("T00:00:00.000Z")), "{midnight}");
    assert_eq!(server.get("/v1/budgets?scope=nobody").status, 400);
}

#[test]
fn a_budget_of_a_tenant_holds_on_every_surface() {
    let place = tempfile::tempdir().expect("made");
    let mut server = server(place.path(), "[budgets.tenant]\ntokens_per_day = 14000");
    for path in ["/v1/chat/completions", "/api/chat"] {
        let answer = chat(&server, path);
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    assert_eq!(turn(&server, "assistant", &json!({"message": "Do it."}))["state"], "completed");
    assert_eq!(spent(&server, "tenant", "default"), 3 * EACH);

    let refused = chat(&server, "/v1/chat/completions");
    let error = refused.json()["error"].clone();
    assert_eq!((refused.status, &error["code"]), (429, &json!("insufficient_quota")), "{error}");
    assert_eq!(error["type"], "insufficient_quota");
    assert!(
        error["message"].as_str().is_some_and(|text| text.contains("tenant default")),
        "{error}"
    );
    if retry_after(&refused) > 60 {
        assert_eq!(refused.header("x-should-retry"), Some("false"));
    }
    let embedded = server.send("POST", "/v1/embeddings", &json!({"model": "demo", "input": "x"}));
    assert_eq!(
        (embedded.status, embedded.json()["error"]["code"].as_str()),
        (429, Some("insufficient_quota"))
    );
    let agent = json!({"model": "agent:assistant", "messages": [{"role": "user", "content": "x"}]});
    let agent = server.send("POST", "/v1/chat/completions", &agent);
    assert_eq!(
        (agent.status, agent.json()["error"]["code"].as_str()),
        (429, Some("insufficient_quota"))
    );
    let embed = server.send("POST", "/api/embed", &json!({"model": "demo", "input": "x"}));
    for refused in [chat(&server, "/api/chat"), embed] {
        assert_eq!(refused.status, 429);
        let error = refused.json()["error"].clone();
        assert!(error.as_str().is_some_and(|text| text.contains("tenant default")), "{error}");
        retry_after(&refused);
    }
    assert_eq!(ask(&server, "planner", &json!({"message": "x"})).status, 429);

    // Nobody's turn ended after the direct requests; they are on record soon nevertheless.
    until("it is on record", || (on_record(&server) == 3 * EACH).then_some(()));
    server.kill();
    server.restart();
    assert_eq!(spent(&server, "tenant", "default"), 3 * EACH);
    assert_eq!(chat(&server, "/v1/chat/completions").status, 429);
}

#[test]
fn each_conversation_has_a_budget_of_its_own() {
    let place = tempfile::tempdir().expect("made");
    let server = server(place.path(), "[budgets.conversation]\ntokens_per_day = 5000");
    let first = turn(&server, "assistant", &json!({"message": "Do it."}));
    let conversation = first["conversation"].as_str().expect("an id");
    let on = json!({"message": "Go on.", "conversation": conversation});
    let refused = ask(&server, "assistant", &on);
    let problem = refused.json();
    assert_eq!(refused.status, 429, "{problem}");
    assert_eq!(problem["setting"], "budgets.conversation.tokens_per_day");
    assert!(
        problem["detail"].as_str().is_some_and(|text| text.contains(conversation)),
        "{problem}"
    );
    assert_eq!(spent(&server, "conversation", conversation), EACH);
    let other = turn(&server, "assistant", &json!({"message": "Do it."}));
    assert_eq!(other["state"], "completed", "{other}");
}

#[test]
fn a_turn_that_a_budget_cut_short_says_whose_it_was() {
    let place = tempfile::tempdir().expect("made");
    let server = server(place.path(), "[budgets.agents.assistant]\ntokens_per_day = 50");
    let turn = turn(&server, "assistant", &json!({"message": "Do it."}));
    assert_eq!((&turn["state"], &turn["reply"]["finish"]), (&json!("completed"), &json!("budget")));
    assert_eq!(turn["error"]["code"], "budget_exhausted", "{turn}");
    let message = turn["error"]["message"].as_str().expect("a text");
    assert!(message.contains("the budget of agent assistant is used up"), "{message}");
    assert_eq!(spent(&server, "agent", "assistant"), 0, "nothing was asked");
}

#[test]
fn the_command_line_shows_budgets_with_and_without_a_server() {
    let place = tempfile::tempdir().expect("made");
    let server = server(place.path(), "[budgets.agents.assistant]\ntokens_per_day = 9000");
    turn(&server, "assistant", &json!({"message": "Do it."}));
    let shown = |arguments: &[&str]| {
        let data = server.data().to_str().expect("a text");
        let ran = crate::harness::foreshore(&[arguments, &["--data", data]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran
    };
    let table = shown(&["budget"]).stdout;
    assert!(table.contains("5,000 of 9,000"), "{table}");
    let json = shown(&["budget", "--json", "--scope", "agent"]).json();
    assert_eq!(json["budgets"][0]["tokens"]["spent"], EACH, "{json}");
}
