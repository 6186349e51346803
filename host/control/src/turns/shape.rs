//! What an agent may reach in one turn: its policy, less what the caller and a delegation took
//! away; and the form in which a turn's first event keeps it.

use foreshore_domain::agent::AgentPolicy;
use foreshore_domain::conversation::{MemoryReach, TurnSettings};
use foreshore_domain::grant::{Access, MemoryGrant, NamespaceGrant};
use foreshore_domain::memory::JsonText;

use super::request::name;

/// The policy as a turn's first event keeps it.
pub(crate) fn settings(policy: &AgentPolicy, parameters: Option<JsonText>) -> TurnSettings {
    let namespaces = policy.memory.iter().flat_map(|memory| &memory.namespaces);
    TurnSettings {
        model: policy.model.as_deref().map(name),
        models: policy.models.iter().map(|model| name(model)).collect(),
        tools: policy.tools.clone(),
        agents: policy.agents.iter().map(|agent| name(agent)).collect(),
        memory: namespaces
            .map(|granted| {
                let pattern = name(&granted.pattern.to_string());
                match granted.access {
                    Access::ReadOnly => MemoryReach::ReadOnly(pattern),
                    Access::ReadWrite => MemoryReach::ReadWrite(pattern),
                }
            })
            .collect(),
        budget: policy.budget,
        parameters,
    }
}

/// The policy of today, less what it did not allow when the turn began: a grant that was taken
/// back since holds at once, and one that was given since is for the next turn.
pub(crate) fn resumed(policy: &AgentPolicy, began: &TurnSettings) -> AgentPolicy {
    let mut policy = policy.clone();
    policy.keep_tools(&began.tools);
    let namespaces = began.memory.iter().filter_map(|reach| {
        let (pattern, access) = match reach {
            MemoryReach::ReadOnly(pattern) => (pattern, Access::ReadOnly),
            MemoryReach::ReadWrite(pattern) => (pattern, Access::ReadWrite),
        };
        Some(NamespaceGrant { pattern: pattern.as_str().parse().ok()?, access })
    });
    policy.keep_memory(Some(&MemoryGrant { namespaces: namespaces.collect() }));
    policy.agents.retain(|agent| began.agents.iter().any(|name| name.as_str() == agent));
    policy.models.retain(|model| began.models.iter().any(|name| name.as_str() == model));
    // As it began: what was used is on record, and a budget that shrank is not one overdrawn.
    policy.budget = began.budget;
    policy
}
