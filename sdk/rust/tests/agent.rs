//! What `#[agent]` makes of a function, and what it can ask, seen on the host.

#![cfg(feature = "agent")]

use foreshore_sdk::agent::inference;
use foreshore_sdk::agent::testing::Scripted;
use foreshore_sdk::agent::{
    Agent, Chat, Finish, Reply, Turn, agents, approval, budget, conversation, elicit, events,
    reply, secrets, tools, variables,
};
use foreshore_sdk::memory::{self, Namespace, Put, Query};
use foreshore_sdk::{Error, JsonSchema, Outcome, agent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
struct Parameters {
    /// How often to ask.
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

/// Repeat what was said. It asks a model
/// to do it.
#[agent]
fn echo(turn: Turn, parameters: Parameters) -> Result<Reply, Error> {
    let chat = Chat::new().system("Repeat.").user(turn.text()).stream_to_reply();
    let mut last = String::new();
    for _ in 0..parameters.times {
        last = chat.ask()?.message.text();
    }
    Ok(last.into())
}

/// Do without a model.
#[agent(name = "plain-one", title = "Plain")]
fn plain(turn: Turn) -> String {
    turn.number.to_string()
}

foreshore_sdk::export_agent!(echo);

/// Runs something as a turn, and gives what it gave.
fn ask<T: 'static>(host: Scripted, run: impl FnOnce() -> T) -> (Scripted, T) {
    foreshore_sdk::agent::testing::with(host, run)
}

#[test]
fn a_function_says_what_it_is() {
    let definition = echo::definition();
    assert_eq!(definition.name, "echo");
    assert_eq!(definition.title.as_deref(), Some("Repeat what was said"));
    assert_eq!(definition.description, "Repeat what was said. It asks a model to do it.");
    let schema: Value =
        serde_json::from_str(&definition.parameters_schema.expect("parameters")).expect("a schema");
    assert_eq!(schema["properties"]["times"]["default"], 1);
    assert_eq!(schema["additionalProperties"], false);
    let definition = plain::definition();
    assert_eq!(
        (definition.name.as_str(), definition.title.as_deref()),
        ("plain-one", Some("Plain"))
    );
    assert_eq!(definition.parameters_schema, None);
}

#[test]
fn a_turn_asks_the_model_and_shows_and_returns_its_answer() {
    let mut host = Scripted::new();
    host.model(|request| Ok(request.last_text().into()));
    let reply = host.turn_with::<echo>("Hello.", &json!({"times": 2})).expect("a reply");
    assert_eq!((reply.text().as_str(), reply.finish), ("Hello.", Finish::Stop));
    assert_eq!((host.requests.len(), host.shown.as_str()), (2, "Hello.Hello."));
    assert_eq!(host.turn::<plain>("x").expect("a reply").text(), "1");
    let said: Vec<_> = host.said.iter().map(|said| (said.turn, said.message.text())).collect();
    let expected = [(0, "Hello."), (0, "Hello."), (1, "x"), (1, "1")];
    assert_eq!(said, expected.map(|(turn, text)| (turn, text.to_owned())));
}

#[test]
fn parameters_that_do_not_match_are_the_callers_fault() {
    let mut host = Scripted::new();
    let error = host.turn_with::<echo>("Hello.", &json!({"times": "x"})).expect_err("no number");
    assert!(matches!(error, Error::Invalid { ref pointer, .. } if pointer == "/parameters"));
}

#[test]
fn errors_of_a_model_arrive_as_what_they_are() {
    let mut host = Scripted::new();
    assert_eq!(host.turn::<echo>("Hello.").expect_err("no model"), Error::unavailable(None));
    assert!(inference::takes_no_tools(&Error::invalid("/config/tools", "no")));
    let said = "registry.ollama.ai/library/gemma3:4b does not support tools";
    assert!(inference::takes_no_tools(&Error::invalid("", said)));
    assert!(!inference::takes_no_tools(&Error::invalid("", "no such option")));
    assert!(inference::is_too_long(&Error::invalid("/messages", "too long")));
    assert!(!inference::is_too_long(&Error::invalid("/config/tools", "no")));
}

#[test]
fn several_questions_at_once_are_answered_in_their_order() {
    let mut host = Scripted::new();
    host.model(|request| match request.last_text().as_str() {
        "3" => Err(Error::unavailable(None)),
        text => Ok(text.into()),
    });
    let chats: Vec<_> = (0..10).map(|n| Chat::new().user(n.to_string())).collect();
    let (host, answers) = ask(host, move || inference::chat_all(&chats));
    let texts: Vec<_> =
        answers.into_iter().map(|answer| answer.map(|it| it.message.text())).collect();
    assert_eq!(texts[3], Err(Error::unavailable(None)));
    assert_eq!((texts[0].as_deref(), texts[9].as_deref()), (Ok("0"), Ok("9")));
    assert_eq!(host.requests.len(), 10);
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Verdict {
    winner: u8,
}

#[test]
fn a_value_is_asked_for_with_its_schema() {
    let mut host = Scripted::new();
    host.model(|request| {
        let schema = request.config.format.as_deref().expect("a schema");
        assert!(schema.contains("\"winner\""), "{schema}");
        Ok(if request.last_text() == "well" { " {\"winner\": 3}\n" } else { "three" }.into())
    });
    let (_, answers) = ask(host, || {
        ["well", "badly"].map(|text| Chat::new().user(text).ask_for::<Verdict>().map(|it| it.0))
    });
    assert_eq!(answers[0], Ok(Verdict { winner: 3 }));
    assert!(matches!(&answers[1], Err(Error::Failed(text)) if text.contains("scripted")));
}

#[test]
fn tools_are_called_at_once_and_fail_alone() {
    let mut host = Scripted::new();
    host.tool("files.read", |arguments| Ok(Outcome::text(arguments["path"].to_string())));
    let (host, results) = ask(host, || {
        assert_eq!(tools::list()[0].name, "files.read");
        let calls = [
            tools::Call::new("files.read", &json!({"path": "/a"})).expect("JSON"),
            tools::Call::new("files.write", &json!({})).expect("JSON"),
        ];
        let mut results = tools::call_all(&calls);
        results.push(tools::call("files.read", &json!({"path": "/b"})));
        results
    });
    assert_eq!(results[0].as_ref().map(Outcome::to_text), Ok("\"/a\"".to_owned()));
    assert!(matches!(results[1], Err(Error::NotFound(_))));
    assert_eq!(results[2].as_ref().map(Outcome::to_text), Ok("\"/b\"".to_owned()));
    assert_eq!(host.call_batches, [2, 1]);
}

#[test]
fn variables_have_types_and_versions() {
    let (host, ()) = ask(Scripted::new(), || {
        assert_eq!(variables::get::<Verdict>("verdict"), Ok(None));
        assert_eq!(variables::set("verdict", &Verdict { winner: 1 }), Ok(1));
        assert_eq!(variables::set("verdict", &Verdict { winner: 2 }), Ok(2));
        assert_eq!(variables::get("verdict"), Ok(Some(Verdict { winner: 2 })));
        assert_eq!(variables::version("verdict", 1), Ok(Some(Verdict { winner: 1 })));
        assert_eq!(variables::version::<Verdict>("verdict", 3), Ok(None));
        assert_eq!(variables::version::<Verdict>("verdict", 0), Ok(None));
        assert!(matches!(variables::get::<u8>("verdict"), Err(Error::Failed(_))));
        assert!(matches!(variables::set("Has.Dot", &1), Err(Error::Invalid { .. })));
        let index = variables::index();
        assert_eq!((index[0].name.as_str(), index[0].json_type.as_str()), ("verdict", "object"));
    });
    assert_eq!(host.variable("verdict"), Some(json!({"winner": 2})));
}

#[test]
fn memory_is_what_was_granted() {
    let mut host = Scripted::new();
    host.namespace("notes", true).namespace("team-*", false);
    host.remembered("team-reef", "depth", &json!("The reef is 12 m deep."), "url:example.org");
    let (host, ()) = ask(host, || {
        assert_eq!(memory::namespaces()[1].pattern, "team-*");
        let notes = Namespace::new("notes");
        assert_eq!(notes.put("a", &1, Put::default()), Ok(1));
        assert_eq!(notes.get::<u8>("a").map(|entry| entry.map(|entry| entry.value)), Ok(Some(1)));
        let team = Namespace::new("team-reef");
        assert!(matches!(team.put("a", &1, Put::default()), Err(Error::Denied { .. })));
        let query = Query { text: "How deep is the reef?".into(), ..Query::default() };
        let found = team.search::<String>(&query).expect("a search");
        assert_eq!(found.hits[0].entry.origin, "url:example.org");
        assert!(matches!(Namespace::new("x").get::<u8>("a"), Err(Error::Denied { .. })));
    });
    assert_eq!(host.memory("notes", "a"), Some(json!(1)));
}

#[test]
fn the_rest_of_the_world_is_there_too() {
    let mut host = Scripted::new();
    host.agent("helper", |asked| Ok(format!("{} did {}", asked.agent, asked.message).into()));
    host.approves(|action| match action {
        "Send it" => Ok(()),
        _ => Err(Error::Refused("no".into())),
    });
    host.budget.iterations = 2;
    let (host, ()) = ask(host, || {
        assert_eq!(agents::list()[0].name, "helper");
        let limits = agents::Attenuation { max_tool_calls: Some(3), ..Default::default() };
        let answer = agents::delegate("helper", "it", Some(&json!({"n": 1})), &limits);
        assert_eq!(answer.map(|reply| reply.text()), Ok("helper did it".to_owned()));
        assert_eq!(approval::ask_for("Send it", &json!({})), Ok(()));
        assert!(matches!(approval::ask_for("Burn it", &json!({})), Err(Error::Refused(_))));
        assert_eq!(budget::iteration().iterations, 1);
        assert_eq!(budget::left().iterations, 1);
        assert_eq!(events::emit("step.done", &json!({"n": 1})), Ok(()));
        assert_eq!(events::wake_at(0), Ok(()));
        assert_eq!(elicit::ask_for::<Verdict>("Who?"), Ok(elicit::Answer::Cancelled));
        assert!(!secrets::exists("key"));
        reply::phase("planning", Some("one step"));
        reply::thinking("Hm.");
        reply::text("Done.");
        assert_eq!(conversation::summary(), None);
        assert!(matches!(conversation::set_summary("s", 0), Err(Error::Invalid { .. })));
    });
    assert_eq!(host.delegations[0].limits.max_tool_calls, Some(3));
    assert_eq!(host.delegations[0].parameters, json!({"n": 1}));
    assert_eq!(host.phases[0].name, "planning");
    assert_eq!((host.shown.as_str(), host.thoughts.as_str()), ("Done.", "Hm."));
    assert_eq!(host.events, [("step.done".to_owned(), json!({"n": 1}))]);
}

#[test]
fn an_agent_can_run_inside_the_answer_of_another_host() {
    let mut outer = Scripted::new();
    outer.agent("echo", |asked| {
        let mut inner = Scripted::new();
        inner.model(|request| Ok(request.last_text().into()));
        inner.turn::<echo>(&asked.message)
    });
    let (_, text) = ask(outer, || {
        let limits = agents::Attenuation::default();
        agents::delegate("echo", "deep", None::<&()>, &limits).map(|reply| reply.text())
    });
    assert_eq!(text, Ok("deep".to_owned()));
}

#[test]
fn nobody_answers_where_no_test_stands_in() {
    let error = Chat::new().user("Hello?").ask().expect_err("no host");
    assert!(error.to_string().contains("outside a component"), "{error}");
    assert!(tools::list().is_empty());
    assert_eq!(tools::call_all(&[]), []);
}
