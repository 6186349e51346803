//! From `[roles.NAME]` to what its holders may do.

use foreshore_domain::agent::ToolPattern;
use foreshore_domain::identity::{Permission, Permissions, Reach, Role, RoleName, Roles};
use serde::Deserialize;

use super::sections::Parsed;
use super::{Config, ConfigError};
use crate::nearest::nearest;

/// One role.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RoleSection {
    /// What its holders may do: `tools.call`, `agents.ask`.
    pub(crate) permissions: Vec<String>,
    /// The tools they may call; all where nothing is said.
    pub(crate) tools: Option<Vec<Parsed<ToolPattern>>>,
    /// The agents they may ask; all where nothing is said.
    pub(crate) agents: Option<Vec<String>>,
}

impl Config {
    /// The roles that every host has, and the operator's own.
    ///
    /// # Errors
    /// A section that cannot be used, with its key and place.
    pub(crate) fn roles(&self) -> Result<Roles, ConfigError> {
        let mut roles = Roles::default();
        for (name, section) in &self.sections.roles {
            let refused = |message: &dyn std::fmt::Display| self.refused(&["roles", name], message);
            let known = RoleName::parse(name).map_err(|error| refused(&error))?;
            let permissions: Result<Permissions, ConfigError> = section
                .permissions
                .iter()
                .map(|text| text.parse().map_err(|_| self.unknown_permission(name, text)))
                .collect();
            let tools = section.tools.as_ref();
            let tools = tools.map(|tools| tools.iter().map(|tool| tool.0.clone()).collect());
            let reach = Reach { tools, agents: section.agents.clone() };
            if !roles.add(known, Role { permissions: permissions?, reach }) {
                return Err(refused(&"every host has a role of this name; choose another"));
            }
        }
        Ok(roles)
    }

    fn unknown_permission(&self, role: &str, text: &str) -> ConfigError {
        let all = Permission::ALL.iter().map(|permission| permission.as_str());
        let message = match nearest(text, all.clone()) {
            Some(near) => format!("\"{text}\" is no permission; did you mean \"{near}\"?"),
            None => {
                let all: Vec<&str> = all.collect();
                format!("\"{text}\" is no permission; there are {}", all.join(", "))
            }
        };
        self.refused(&["roles", role, "permissions"], &message)
    }
}
