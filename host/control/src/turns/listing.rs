//! The agents there are, for people.

use std::sync::Arc;

use foreshore_domain::agent::AgentPolicy;
use serde_json::Value;

use super::Turns;

/// A configured agent.
#[derive(Clone, Debug)]
pub struct AgentSummary {
    /// Its name in the configuration.
    pub name: String,
    /// What it may reach and use.
    pub policy: Arc<AgentPolicy>,
    /// Its component, and what that says of itself; or why it cannot run now.
    pub component: Result<AgentComponentSummary, String>,
}

/// What an agent's component says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentComponentSummary {
    /// `assistant@0.1.0`.
    pub reference: String,
    /// For people.
    pub title: Option<String>,
    /// For people and models.
    pub description: String,
    /// JSON Schema of a turn's parameters, if it takes any.
    pub parameters_schema: Option<Value>,
}

impl Turns {
    /// The configured agents, by name.
    pub fn agents(&self) -> Vec<AgentSummary> {
        let summary = |(name, policy): (&String, &Arc<AgentPolicy>)| {
            let component = self.0.host.agents.find(&policy.component).map(|component| {
                let definition = component.definition();
                AgentComponentSummary {
                    reference: component.reference().to_string(),
                    title: definition.and_then(|definition| definition.title.clone()),
                    description: definition
                        .map(|definition| definition.description.clone())
                        .unwrap_or_default(),
                    parameters_schema: definition
                        .and_then(|definition| definition.parameters_schema.clone()),
                }
            });
            AgentSummary { name: name.clone(), policy: Arc::clone(policy), component }
        };
        self.policies().iter().map(summary).collect()
    }
}
