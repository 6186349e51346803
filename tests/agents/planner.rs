//! The planner through the real door: it divides a goal, has each step done with the tools of that
//! step and no more, keeps its plan on record, plans anew after a failure, and survives a crash in
//! the middle of a step.

use std::path::Path;

use foreshore_scripted_model::{Format, Script, ScriptedServer};
use serde_json::{Value, json};

use super::{begin, crash, ended, turn, until};
use crate::harness::events::{Event, Events};
use crate::harness::server::Server;

/// A goal whose second step cannot be done, and a plan around it. The first plan that is written
/// names a tool that the planner does not have.
const SORTING: &str = r#"
[[models]]
name = "demo"
loaded = true
capabilities = ["completion", "tools"]

[[rules]]
name = "a plan that can be carried out"
when = { system = "You plan. Take", last_user = { regex = 'Sort the charts[\s\S]*your_last_plan_was_wrong[\s\S]*files\.delete' } }
answer.json = { steps = [
  { id = "look", description = "look at the chart", tools = ["files.read"], depends_on = [] },
  { id = "lock", description = "lock the drawer", tools = [], depends_on = ["look"] },
  { id = "tell", description = "tell of it", tools = [], depends_on = ["lock"] },
] }
[[rules]]
name = "a plan with a tool that is not there"
when = { system = "You plan. Take", last_user = "Sort the charts" }
answer.json = { steps = [{ id = "drop", description = "drop it", tools = ["files.delete"], depends_on = [] }] }
[[rules]]
name = "a new plan"
when = { system = "You plan. A plan could not", last_user = "lock" }
answer.json = { steps = [{ id = "around", description = "write it down", tools = ["files.write"], depends_on = ["look"] }] }
[[rules]]
name = "the end"
when.system = "A plan was carried out"
answer.text = "All is sorted."

[[rules]]
name = "what the step has no tool for is tried all the same"
when = { last_user = "with its result: look at", tool_result = false }
answer.tool_calls = [
  { name = "files__read", arguments = { path = "/notes/chart.txt" } },
  { name = "files__delete", arguments = { path = "/notes/chart.txt" } },
]
[[rules]]
when = { last_user = "with its result: look at", tool_content = { regex = '(\d+ fathoms)' } }
answer.text = "{{1}}"
[[rules]]
name = "nothing is said, and so nothing is done"
when.last_user = "with its result: lock the"
answer.text = ""
[[rules]]
when = { last_user = { regex = 'with its result: write it down[\s\S]*"result":"([^"]*)"' }, tool_result = false }
answer.tool_calls = [{ name = "files__write", arguments = { path = "/notes/sorted.txt", text = "{{1}}" } }]
[[rules]]
when.last_user = "with its result: write it down"
answer.text = "It is written."
"#;

fn parsed(script: &str) -> Script {
    Script::parse(script, Format::Toml).expect("the script is sound")
}

fn scripted(script: &str) -> ScriptedServer {
    ScriptedServer::start(parsed(script), ([127, 0, 0, 1], 0).into()).expect("a port")
}

fn server(model: &ScriptedServer, notes: &Path) -> Server {
    let configuration = format!(
        r#"
        [inference]
        default_model = "demo"
        [[inference.backends]]
        name = "script"
        kind = "ollama"
        url = "{}"
        [inference.models.demo]
        [agents.planner]
        tools = ["files.read", "files.write", "files.append", "files.stat"]
        agents = ["assistant", "probe"]
        [agents.assistant]
        tools = ["files.*"]
        [agents.probe]
        tools = ["files.*"]
        [components.files]
        mounts = [{{ host = {notes:?}, guest = "/notes", access = "read-write" }}]
        "#,
        model.url()
    );
    Server::start(&configuration, &[("probe-agent", "probe")])
}

fn recorded(server: &Server, turn: &str) -> Vec<Event> {
    let path = format!("/v1/turns/{turn}/events");
    Events::open(server.address, &path, None, None).expect("events").collect()
}

fn of<'a>(events: &'a [Event], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event.name == name).map(|event| &event.data).collect()
}

fn words<'a>(all: &[&'a Value], name: &str) -> Vec<&'a str> {
    all.iter().filter_map(|one| one[name].as_str()).collect()
}

fn id(turn: &Value) -> &str {
    turn["turn_id"].as_str().expect("an id")
}

/// How far each step of the plan is, in a version of the variable that keeps it.
fn plan(server: &Server, turn: &Value, version: Option<u64>) -> Vec<(String, String)> {
    let conversation = turn["conversation"].as_str().expect("an id");
    let version = version.map(|version| format!("?version={version}")).unwrap_or_default();
    let path = format!("/v1/conversations/{conversation}/variables/plan{version}");
    let plan = server.get(&path).json();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = plan["value"]["steps"].as_array().expect("steps");
    steps.iter().map(|step| (word(&step["id"]), word(&step["progress"]["is"]))).collect()
}

/// The names of the tools that the model was offered for a step.
fn offered(model: &ScriptedServer, step: &str) -> Vec<String> {
    let asks = |body: &&Value| {
        let said = body["messages"].as_array().into_iter().flatten();
        let mut texts = said.filter_map(|message| message["content"].as_str());
        texts.any(|text| text.contains(&format!("with its result: {step}")))
    };
    let requests = model.requests();
    let body = requests.iter().map(|request| &request.body).find(asks).expect("it was asked");
    let names = body["tools"].as_array().into_iter().flatten();
    let mut names: Vec<String> =
        names.filter_map(|tool| Some(tool["function"]["name"].as_str()?.to_owned())).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_goal_is_divided_delegated_with_less_and_planned_anew_after_a_failure() {
    let notes = tempfile::tempdir().expect("made");
    std::fs::write(notes.path().join("chart.txt"), "A bank at 12 fathoms.").expect("written");
    let model = scripted(SORTING);
    let server = server(&model, notes.path());
    let turn = turn(&server, "planner", &json!({"message": "Sort the charts."}));
    assert_eq!(turn["state"], "completed", "{turn}");
    assert_eq!(turn["reply"]["text"], "All is sorted.", "{turn}");
    let written = std::fs::read_to_string(notes.path().join("sorted.txt")).expect("written");
    assert_eq!(written, "12 fathoms", "the step was given the result that it needs");
    assert!(notes.path().join("chart.txt").exists(), "nobody could delete it");

    // The phases, and the plans, in the order in which they were.
    let events = recorded(&server, id(&turn));
    let phases = of(&events, "turn.phase");
    let expected = ["planning", "executing", "executing", "replanning", "executing", "summarizing"];
    assert_eq!(words(&phases, "name"), expected);
    let notes = of(&events, "turn.note");
    let kinds = ["plan.made", "plan.step", "plan.step", "plan.made", "plan.step"];
    assert_eq!(words(&notes, "kind"), kinds);

    // Each step was done in a conversation of its own, by who was asked to.
    let delegated = of(&events, "turn.delegated");
    assert_eq!(delegated.len(), 3, "{events:?}");
    for to in words(&delegated, "to") {
        let done = server.get(&format!("/v1/turns/{to}")).json();
        assert_eq!(done["state"], "completed");
        let path = format!("/v1/conversations/{}", done["conversation"].as_str().expect("an id"));
        let its = server.get(&path).json();
        assert_eq!((&its["agent"], &its["delegated_by"]), (&json!("assistant"), &turn["turn_id"]));
    }
    // What a model is offered for a step is what the step names.
    assert_eq!(offered(&model, "look at"), ["files__read", "variable_get", "variable_set"]);
    assert_eq!(offered(&model, "lock the"), [""; 0]);
    assert_eq!(offered(&model, "write it"), ["files__write", "variable_get", "variable_set"]);

    // The plan was on record before and after each step.
    let step = |id: &str, is: &str| (id.to_owned(), is.to_owned());
    let at = |version| plan(&server, &turn, Some(version));
    assert_eq!(at(1), [step("look", "pending"), step("lock", "pending"), step("tell", "pending")]);
    assert_eq!(at(2)[0], step("look", "begun"));
    assert_eq!(at(3)[0], step("look", "done"));
    assert_eq!(at(5)[1], step("lock", "failed"));
    assert_eq!(at(6), [step("look", "done"), step("around", "pending")]);
    assert_eq!(plan(&server, &turn, None), [step("look", "done"), step("around", "done")]);
}

/// A planner whose steps are for the probe, which does what a step says to the letter.
fn probing(calls: &Value) -> String {
    let told = json!({"do": "call", "calls": calls}).to_string();
    let steps = json!({"steps": [
        {"id": "try", "description": told, "tools": ["files.read"], "depends_on": []},
    ]});
    format!(
        "[[models]]\nname = \"demo\"\nloaded = true\n\
         [[rules]]\nwhen.system = \"You plan. Take\"\nanswer.text = {:?}\n",
        steps.to_string()
    )
}

/// Waits until a denial is on record, which is soon and not at once.
fn is_on_record(server: &Server, subject: &str) {
    until("the denial is on record", || {
        let denied = server.get("/v1/audit?kind=effect.denied&limit=50").json();
        denied.to_string().contains(&format!("\"{subject}\"")).then_some(())
    });
}

#[test]
fn a_step_may_call_what_it_names_and_the_door_denies_it_what_the_planner_has_not() {
    let notes = tempfile::tempdir().expect("made");
    let chart = notes.path().join("chart.txt");
    std::fs::write(&chart, "A bank at 12 fathoms.").expect("written");
    let model = scripted(&probing(&json!([
        ["files.read", {"path": "/notes/chart.txt"}],
        ["files.write", {"path": "/notes/written.txt", "text": "x"}],
        ["files.delete", {"path": "/notes/chart.txt"}],
    ])));
    let server = server(&model, notes.path());
    let body = json!({"message": "Try it.", "parameters": {"agent": "probe", "replans_max": 0}});
    let turn = turn(&server, "planner", &body);
    assert_eq!(turn["reply"]["finish"], "gave-up", "the probe always does: {turn}");
    let events = recorded(&server, id(&turn));
    let delegated = of(&events, "turn.delegated");
    let [to] = words(&delegated, "to")[..] else { panic!("{events:?}") };
    let tried = recorded(&server, to);
    let results = of(&tried, "tool.result");
    assert_eq!(words(&results, "tool"), ["files.read", "files.write", "files.delete"]);
    assert_eq!(results[0]["is_error"], false, "{results:?}");
    assert!(results[0]["text"].to_string().contains("12 fathoms"), "{results:?}");
    // The planner has the second and the step does not name it; the probe has the third, and the
    // planner has not.
    for result in &results[1..] {
        let error = result["error"].as_str().expect("an error");
        let tool = result["tool"].as_str().expect("a name");
        assert_eq!(error, format!("tool {tool} is not granted (tool_not_granted)"));
    }
    assert!(chart.exists() && !notes.path().join("written.txt").exists());
    is_on_record(&server, "tool files.write");
    is_on_record(&server, "tool files.delete");
}

#[test]
fn a_planner_has_nobody_work_for_it_whom_it_was_not_granted() {
    let notes = tempfile::tempdir().expect("made");
    let model = scripted(&probing(&json!([])));
    let server = server(&model, notes.path());
    let body = json!({"message": "Try it.", "parameters": {"agent": "panel"}});
    let turn = turn(&server, "planner", &body);
    assert_eq!((&turn["state"], &turn["reply"]), (&json!("failed"), &Value::Null), "{turn}");
    let message = turn["error"]["message"].as_str().expect("a message");
    assert!(message.contains("agent panel is not granted"), "{message}");
    is_on_record(&server, "agent panel");
    assert!(of(&recorded(&server, id(&turn)), "turn.delegated").is_empty());
}

/// Two steps: a first line, and then the ledger that `crash` fills line by line.
fn filling() -> String {
    let steps = json!({"steps": [
        {"id": "first", "description": "note the day", "tools": ["files.append"], "depends_on": []},
        {"id": "fill", "description": "fill the ledger /notes/NAME",
         "tools": ["files.append", "files.stat"], "depends_on": ["first"]},
    ]});
    let steps = steps.to_string().replace("NAME", "{{1}}");
    let rules = format!(
        r#"
        [[rules]]
        when = {{ system = "You plan. Take", last_user = {{ regex = 'Keep the ledger (\w+)' }} }}
        answer.text = {steps:?}
        [[rules]]
        when.system = "A plan was carried out"
        answer.text = "The ledger is kept."
        [[rules]]
        when = {{ last_user = "with its result: note the", tool_result = true }}
        answer.text = "It is noted."
        [[rules]]
        when.last_user = "with its result: note the"
        answer.tool_calls = [{{ name = "files__append", arguments = {{ path = "/notes/days", text = "a day\n" }} }}]
        "#
    );
    // Each line takes so long that a kill comes before the next ones.
    let script =
        crash::script().replace("answer = { tool_calls", "answer = { delay_ms = 200, tool_calls");
    let (models, rest) = script.split_at(script.find("[[rules]]").expect("rules"));
    format!("{models}{rules}{rest}")
}

#[test]
fn a_planner_that_is_killed_in_the_middle_of_a_delegation_goes_on_there() {
    let notes = tempfile::tempdir().expect("made");
    let model = scripted(&filling());
    let mut server = server(&model, notes.path());
    for (round, results) in [1, 4, 7].into_iter().enumerate() {
        // There is one doubt a crash at most, and the model has one answer to it.
        model.set_script(parsed(&filling()));
        let ledger = format!("ledger{round}");
        let message = format!("Keep the ledger {ledger}.");
        let (planner, _) = begin(&server, "planner", &json!({"message": message}));
        let path = format!("/v1/turns/{planner}/events");
        let told = Events::open(server.address, &path, None, None).expect("events");
        let mut delegated = told.filter(|event| event.name == "turn.delegated");
        let child = delegated.nth(1).expect("two steps").data["to"].clone();
        let child = child.as_str().expect("an id");
        let path = format!("/v1/turns/{child}/events");
        let told = Events::open(server.address, &path, None, None).expect("events");
        let seen = told.filter(|event| event.name == "tool.result").take(results).count();
        server.kill();
        assert_eq!(seen, results, "the step was over");
        server.restart();

        let turn = ended(&server, &planner);
        let what = format!("killed after {results} results: {turn}");
        assert_eq!(turn["state"], "completed", "{what}");
        assert_eq!(turn["reply"]["text"], "The ledger is kept.", "{what}");
        crash::each_line_once(&notes.path().join(&ledger), &what);
        let days = std::fs::read_to_string(notes.path().join("days")).expect("written");
        assert_eq!(days.lines().count(), round + 1, "the step before was not done again, {what}");

        let events = recorded(&server, &planner);
        assert_eq!(of(&events, "turn.resumed").len(), 1, "{what}");
        let delegated = of(&events, "turn.delegated");
        let to = words(&delegated, "to");
        assert_eq!((to.len(), to[1]), (2, child), "the same turn goes on, {what}");
        let of_child = recorded(&server, child);
        assert_eq!(of(&of_child, "turn.resumed").len(), 1, "{what}");
        let phases = of(&events, "turn.phase");
        let expected = ["planning", "executing", "executing", "summarizing"];
        assert_eq!(words(&phases, "name"), expected, "none is told twice, {what}");
        let step = |id: &str| (id.to_owned(), "done".to_owned());
        assert_eq!(plan(&server, &turn, None), [step("first"), step("fill")]);
    }
}
