//! What the `component` commands say, for people and for programs.

use foreshore_control::{Agent, Component, ComponentState, ComponentSummary, LoadFailure, Origin};
use foreshore_domain::agent::AgentDefinition;
use foreshore_domain::component::{
    ComponentKind, ComponentRef, ImportVerdict, Inspection, ToolDefinition,
};
use serde_json::{Value as Json, json};

use super::super::exit::denied;
use super::super::output::{Paint, TextTable, bytes, grouped, printable};
use super::LoadError;

/// What is in a component.
pub(super) struct Report {
    pub(super) reference: ComponentRef,
    pub(super) inspection: Inspection,
    /// Its tools, or why it cannot be asked for them.
    pub(super) tools: Result<Component, LoadFailure>,
}

impl Report {
    pub(super) fn json(&self) -> Json {
        let inspection = &self.inspection;
        let tools = match &self.tools {
            Ok(component) => component.tools().iter().map(|t| tool_json(&t.definition)).collect(),
            Err(_) => Json::Null,
        };
        let imports: Vec<Json> = inspection
            .imports
            .iter()
            .map(|import| {
                let (verdict, grant) = verdict_words(&import.verdict);
                json!({ "name": import.name, "verdict": verdict, "grant": grant })
            })
            .collect();
        json!({
            "name": self.reference.name,
            "version": self.reference.version.to_string(),
            "digest": inspection.digest.to_string(),
            "size_bytes": inspection.size_bytes,
            "kinds": inspection.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
            "functions": inspection.functions,
            "largest_function_bytes": inspection.largest_function_bytes,
            "exports": inspection.exports,
            "imports": imports,
            "tools": tools,
            "agent": self.tools.as_ref().ok().and_then(Component::agent).map(agent_json),
            "refused": self.tools.as_ref().err().map(failure_json),
        })
    }

    pub(super) fn text(&self, paint: &Paint) -> String {
        let inspection = &self.inspection;
        let kinds: Vec<&str> = inspection.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds =
            if kinds.is_empty() { "nothing this host runs".to_owned() } else { kinds.join(", ") };
        let mut text = format!(
            "{}\n  digest     {}\n  size       {}, {} functions, the largest {}\n  kinds      {kinds}\n",
            paint.bold(&self.reference.to_string()),
            inspection.digest,
            bytes(inspection.size_bytes),
            grouped(inspection.functions),
            bytes(inspection.largest_function_bytes),
        );
        let is_agent = inspection.kinds.contains(&ComponentKind::Agent);
        text += &format!("\n{}\n", paint.bold(if is_agent { "agent" } else { "tools" }));
        match &self.tools {
            Ok(component) => {
                if let Some(agent) = component.agent() {
                    text += &agent_text(&agent.definition, paint);
                }
                for tool in component.tools() {
                    text += &tool_text(&tool.definition, paint);
                }
            }
            Err(failure) => {
                text += &format!("  not known: {}\n", printable(&failure.error.to_string()));
            }
        }
        text += &format!("\n{}\n", paint.bold("imports"));
        for import in &inspection.imports {
            let (verdict, grant) = verdict_words(&import.verdict);
            let verdict = match import.verdict {
                ImportVerdict::Linked => paint.green(verdict),
                ImportVerdict::LinkedDenied => paint.dim(verdict),
                ImportVerdict::NotGranted { .. } | ImportVerdict::NotLinked => paint.red(verdict),
            };
            text += &format!("  {}  {verdict}\n", printable(&import.name));
            if let Some(grant) = grant {
                text += &format!("      to allow it: {grant}\n");
            }
        }
        text
    }
}

fn verdict_words(verdict: &ImportVerdict) -> (&'static str, Option<&str>) {
    match verdict {
        ImportVerdict::Linked => ("linked", None),
        ImportVerdict::LinkedDenied => ("linked, every use denied", None),
        ImportVerdict::NotGranted { grant } => ("not granted", Some(grant)),
        ImportVerdict::NotLinked => ("this host has no such interface", None),
    }
}

fn tool_json(tool: &ToolDefinition) -> Json {
    json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "hints": {
            "read_only": tool.hints.read_only,
            "destructive": tool.hints.destructive,
            "idempotent": tool.hints.idempotent,
            "open_world": tool.hints.open_world,
        },
    })
}

fn agent_json(agent: &Agent) -> Json {
    let agent = &agent.definition;
    json!({
        "name": agent.name,
        "title": agent.title,
        "description": agent.description,
        "parameters_schema": agent.parameters_schema,
    })
}

fn agent_text(agent: &AgentDefinition, paint: &Paint) -> String {
    let mut text = format!("  {}\n", paint.cyan(&printable(&agent.name)));
    if let Some(line) = agent.description.lines().next() {
        text += &format!("      {}\n", printable(line));
    }
    text + &agent.parameters_schema.as_ref().map_or_else(String::new, properties_text)
}

fn tool_text(tool: &ToolDefinition, paint: &Paint) -> String {
    let hints: Vec<&str> = [
        (tool.hints.read_only, "read-only"),
        (tool.hints.destructive, "destructive"),
        (tool.hints.idempotent, "idempotent"),
        (tool.hints.open_world, "open world"),
    ]
    .into_iter()
    .filter_map(|(holds, word)| holds.then_some(word))
    .collect();
    let mut text =
        format!("  {}  {}\n", paint.cyan(&printable(&tool.name)), paint.dim(&hints.join(", ")));
    if let Some(line) = tool.description.lines().next() {
        text += &format!("      {}\n", printable(line));
    }
    text + &properties_text(&tool.input_schema)
}

/// The properties that a schema names, a line each.
fn properties_text(schema: &Json) -> String {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let mut text = String::new();
    for (name, schema) in properties {
        let optional = if required.contains(&name.as_str()) { "" } else { ", optional" };
        text += &format!("      - {}: {}{optional}\n", printable(name), type_of(schema));
    }
    text
}

/// `string`, `integer or null`; a schema that says it another way is just a value.
fn type_of(schema: &Json) -> String {
    let words: Vec<&str> = match &schema["type"] {
        Json::String(word) => vec![word],
        Json::Array(words) => words.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    if words.is_empty() { "value".to_owned() } else { printable(&words.join(" or ")) }
}

/// The table of `component list`.
pub(super) fn table(components: &[ComponentSummary], paint: &Paint) -> String {
    let mut table = TextTable::new(&["component", "from", "size", "state", "tools"]);
    let mut reasons = String::new();
    for component in components {
        let name = named(component);
        let (size, state, tools) = match &component.state {
            ComponentState::Loaded { inspection, tools, .. } => {
                let mut tools: Vec<&str> = tools.iter().map(|tool| &**tool).collect();
                if inspection.kinds.contains(&ComponentKind::Agent) {
                    tools.push("(an agent)");
                }
                (bytes(inspection.size_bytes), "loaded".to_owned(), tools.join(" "))
            }
            ComponentState::Refused { code, message, denial, .. } => {
                let reason = match denial {
                    Some(denial) => denied(paint, denial),
                    None => format!("{}: {}", paint.red(code), printable(message)),
                };
                reasons += &format!("\n{name}: {reason}\n");
                (String::new(), format!("refused: {code}"), String::new())
            }
        };
        table.row([name, origin(&component.origin), size, state, tools]);
    }
    table.render(paint) + &reasons
}

fn named(component: &ComponentSummary) -> String {
    let reference = component.reference.as_ref();
    reference.map_or_else(|| component.digest.to_string(), ToString::to_string)
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Embedded => "built in".to_owned(),
        Origin::Api => "API".to_owned(),
        Origin::Directory(path) => path.display().to_string(),
    }
}

/// One element of `component list --json`.
pub(super) fn summary_json(component: &ComponentSummary) -> Json {
    let mut json = json!({
        "name": component.reference.as_ref().map(|reference| reference.name.to_string()),
        "version": component.reference.as_ref().map(|reference| reference.version.to_string()),
        "digest": component.digest.to_string(),
        "origin": origin(&component.origin),
    });
    match &component.state {
        ComponentState::Loaded { inspection, tools, .. } => {
            json["state"] = json!("loaded");
            json["size_bytes"] = json!(inspection.size_bytes);
            json["tools"] = json!(tools);
            let kinds = inspection.kinds.iter().map(|kind| kind.as_str());
            json["kinds"] = json!(kinds.collect::<Vec<_>>());
        }
        ComponentState::Refused { code, message, denial, .. } => {
            json["state"] = json!("refused");
            json["code"] = json!(code);
            json["message"] = json!(message);
            json["grant"] = json!(denial.as_ref().map(|denial| &denial.grant));
        }
    }
    json
}

fn failure_json(failure: &LoadFailure) -> Json {
    json!({ "code": failure.error.code(), "message": failure.error.to_string() })
}

/// Imports that are not given, and the grants that would give them.
pub(super) type Missing = [(String, Option<String>)];

/// The answer of `doctor` for programs.
pub(super) fn verdict_json(result: &Result<Component, LoadFailure>, missing: &Missing) -> Json {
    let missing: Vec<Json> =
        missing.iter().map(|(import, grant)| json!({ "import": import, "grant": grant })).collect();
    match result {
        Ok(component) => json!({
            "loads": true,
            "component": component.reference().to_string(),
            "tools": component.tools().iter().map(|tool| &*tool.name).collect::<Vec<_>>(),
            "agent": component.agent().map(|agent| &agent.definition.name),
        }),
        Err(failure) => json!({
            "loads": false,
            "component": failure.reference.as_ref().map(ToString::to_string),
            "code": failure.error.code(),
            "message": failure.error.to_string(),
            "missing": missing,
        }),
    }
}

/// The answer of `doctor` for people.
pub(super) fn verdict(
    result: &Result<Component, LoadFailure>,
    missing: &Missing,
    paint: &Paint,
) -> String {
    let failure = match result {
        Ok(component) => {
            if let Some(agent) = component.agent() {
                return format!(
                    "{} {} loads; it is the agent {}",
                    paint.green("ok"),
                    component.reference(),
                    agent.definition.name
                );
            }
            let tools: Vec<&str> = component.tools().iter().map(|tool| &*tool.name).collect();
            return format!(
                "{} {} loads; its tools: {}",
                paint.green("ok"),
                component.reference(),
                tools.join(", ")
            );
        }
        Err(failure) => failure,
    };
    let named = failure.reference.as_ref().map_or("it".to_owned(), ToString::to_string);
    let mut text = format!("{} {named} would not load\n", paint.red("no"));
    if missing.is_empty() || !matches!(failure.error, LoadError::Denied(_)) {
        let code = paint.red(failure.error.code());
        text += &format!("  {code}: {}\n", printable(&failure.error.to_string()));
    }
    for (import, grant) in missing {
        let import = printable(import);
        text += &match grant {
            Some(grant) => {
                format!("  it imports {import}, which is not granted\n    to allow it: {grant}\n")
            }
            None => {
                format!("  it imports {import}, which this host does not have; build it without\n")
            }
        };
    }
    text
}
