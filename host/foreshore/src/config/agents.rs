//! From `[agents.NAME]` to what the door decides by.
//!
//! The agents that come with the binary are there without a section too, under their components'
//! names, with the default model and budget; they reach nothing, but the planner may delegate to
//! the assistant.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use foreshore_domain::agent::{AgentPolicy, ToolPattern, TurnBudget};
use foreshore_domain::component::check_name;
use serde::Deserialize;

use super::sections::{MemorySection, Parsed, Written};
use super::{Config, ConfigError};

/// One agent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AgentSection {
    /// The component that is run; the one of the same name where none is said.
    pub(crate) component: Option<String>,
    pub(crate) model: Option<String>,
    /// The models it may name besides.
    pub(crate) models: Vec<String>,
    pub(crate) tools: Vec<Parsed<ToolPattern>>,
    /// The agents it may delegate to.
    pub(crate) agents: Vec<String>,
    pub(crate) memory: Option<MemorySection>,
    pub(crate) budget: BudgetSection,
    /// A turn's parameters where the caller gives none of that name.
    pub(crate) parameters: BTreeMap<String, serde_json::Value>,
}

/// What each turn may use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BudgetSection {
    pub(crate) tokens: Option<NonZeroU64>,
    /// In millionths of the operator's currency.
    pub(crate) cost_micros: Option<NonZeroU64>,
    pub(crate) tool_calls: Option<NonZeroU64>,
    pub(crate) iterations: Option<NonZeroU64>,
    pub(crate) wall_ms: Option<NonZeroU64>,
}

impl Written for ToolPattern {
    const EXAMPLE: Option<&'static str> = None;
}

impl BudgetSection {
    fn over(&self, default: TurnBudget) -> TurnBudget {
        TurnBudget {
            tokens: self.tokens.unwrap_or(default.tokens),
            cost_micros: self.cost_micros.unwrap_or(default.cost_micros),
            tool_calls: self.tool_calls.unwrap_or(default.tool_calls),
            iterations: self.iterations.unwrap_or(default.iterations),
            wall_ms: self.wall_ms.unwrap_or(default.wall_ms),
        }
    }
}

/// The agents that come with the binary, and to whom each may delegate.
const SHIPPED: [(&str, &[&str]); 3] =
    [("assistant", &[]), ("planner", &["assistant"]), ("panel", &[])];

impl Config {
    /// The agents that the operator names, and the shipped ones.
    ///
    /// # Errors
    /// A section that cannot be used, with its key and place.
    pub(crate) fn agents(&self) -> Result<BTreeMap<String, AgentPolicy>, ConfigError> {
        let shipped = SHIPPED.iter().map(|(name, agents)| {
            let mut policy = AgentPolicy::of_component(*name);
            policy.agents = agents.iter().map(|agent| (*agent).to_owned()).collect();
            ((*name).to_owned(), policy)
        });
        let mut all: BTreeMap<String, AgentPolicy> = shipped.collect();
        all.extend(self.named_agents()?);
        Ok(all)
    }

    fn named_agents(&self) -> Result<BTreeMap<String, AgentPolicy>, ConfigError> {
        let sections = &self.sections.agents;
        sections
            .iter()
            .map(|(name, section)| {
                let refused = |key: &str, message: &dyn std::fmt::Display| {
                    self.refused(&["agents", name, key], message)
                };
                check_name("agent", name)
                    .map_err(|error| self.refused(&["agents", name], &error))?;
                let component = section.component.clone().unwrap_or_else(|| name.clone());
                check_name("component", &component)
                    .map_err(|error| refused("component", &error))?;
                for other in &section.agents {
                    check_name("agent", other).map_err(|error| refused("agents", &error))?;
                }
                let parameters = section
                    .parameters
                    .iter()
                    .map(|(key, value)| {
                        let raw = serde_json::value::to_raw_value(value)
                            .map_err(|error| refused("parameters", &error))?;
                        Ok((key.clone(), raw))
                    })
                    .collect::<Result<_, ConfigError>>()?;
                let policy = AgentPolicy {
                    component,
                    model: section.model.clone(),
                    models: section.models.clone(),
                    tools: section.tools.iter().map(|pattern| pattern.0.clone()).collect(),
                    agents: section.agents.clone(),
                    memory: section.memory.as_ref().map(MemorySection::grant),
                    budget: section.budget.over(TurnBudget::default()),
                    parameters,
                };
                Ok((name.clone(), policy))
            })
            .collect()
    }
}
