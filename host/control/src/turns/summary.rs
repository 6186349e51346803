//! An effect in one line, for people who compare two runs.

use foreshore_domain::effect::{AgentEffect, MemoryReadKind, MemoryWriteKind, ToolRequest};

use crate::record::shortened;

/// The most characters of a line.
const LINE_MAX_CHARS: usize = 160;

/// What is asked, in one line.
pub(crate) fn summary(effect: &AgentEffect) -> String {
    let line = match effect {
        AgentEffect::Infer { request, .. } => {
            let model = request.model.as_deref().unwrap_or("the default model");
            let last = request.messages.last().map(|message| message.plain_text());
            let count = request.messages.len();
            format!("{model}, {count} messages: {}", last.unwrap_or_default())
        }
        AgentEffect::InferAll(requests) => format!("{} requests", requests.len()),
        AgentEffect::Embed(request) => format!("{} texts", request.texts.len()),
        AgentEffect::CallTools(requests) => {
            let calls: Vec<String> = requests.iter().map(call).collect();
            calls.join("; ")
        }
        AgentEffect::Delegate(delegation) => format!("to {}", delegation.agent),
        AgentEffect::Recall(read) => match &read.kind {
            MemoryReadKind::Get { key } => format!("get {key}"),
            MemoryReadKind::Versions { key, .. } => format!("versions of {key}"),
            MemoryReadKind::List { prefix, .. } => format!("list {prefix}"),
            MemoryReadKind::Search { text, .. } => format!("search {text}"),
            MemoryReadKind::Neighbours { key, .. } => format!("neighbours of {key}"),
            MemoryReadKind::Paths { from, to } => format!("paths from {from} to {to}"),
        },
        AgentEffect::Remember(write) => match &write.kind {
            MemoryWriteKind::Put(record) => format!("put {}", record.key),
            MemoryWriteKind::Delete { key } => format!("delete {key}"),
            MemoryWriteKind::Relate(relation) => {
                format!("{} {} {}", relation.subject, relation.predicate, relation.object)
            }
        },
        AgentEffect::GetVariable { name, .. } => name.to_string(),
        AgentEffect::SetVariable { name, value } => format!("{name} = {}", value.get()),
        AgentEffect::SetSummary { through_turn, .. } => format!("through turn {through_turn}"),
        AgentEffect::Ask { message, .. } => message.clone(),
        AgentEffect::Approve { action, .. } => action.clone(),
        AgentEffect::Emit { kind, .. } => kind.clone(),
        AgentEffect::WakeAt { at_unix_ms } => format!("until {at_unix_ms}"),
        AgentEffect::SecretExists { name } => name.clone(),
        AgentEffect::Models
        | AgentEffect::Tools
        | AgentEffect::Agents
        | AgentEffect::Variables
        | AgentEffect::RecentMessages { .. }
        | AgentEffect::Summary
        | AgentEffect::Budget
        | AgentEffect::Iteration => String::new(),
    };
    shortened(&line, LINE_MAX_CHARS)
}

/// The tools that an effect calls.
pub(crate) fn tools_of(effect: &AgentEffect) -> Vec<String> {
    match effect {
        AgentEffect::CallTools(requests) => {
            requests.iter().map(|request| request.name.clone()).collect()
        }
        _ => Vec::new(),
    }
}

fn call(request: &ToolRequest) -> String {
    format!("{}({})", request.name, request.arguments)
}
