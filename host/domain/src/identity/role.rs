//! Roles: names for sets of permissions.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::permission::{Permission, Permissions};
use crate::agent::{AgentPolicy, ToolPattern};
use crate::component::ToolName;

/// The name of a role: `[a-z0-9][a-z0-9_-]{0,31}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleName(String);

/// A text that is no role's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no role: use 1 to 32 of a-z, 0-9, '_' and '-', a letter or digit first")]
pub struct RoleNameError {
    text: String,
}

impl RoleName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`RoleNameError`]: it is not of the form above.
    pub fn parse(text: &str) -> Result<Self, RoleNameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let well_formed = bytes.len() <= 32
            && bytes.first().is_some_and(|first| plain(*first))
            && bytes.iter().all(|byte| plain(*byte) || b"_-".contains(byte));
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(RoleNameError { text: text.chars().take(32).collect() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RoleName {
    type Error = RoleNameError;

    fn try_from(text: String) -> Result<Self, RoleNameError> {
        Self::parse(&text)
    }
}

impl From<RoleName> for String {
    fn from(name: RoleName) -> Self {
        name.0
    }
}

/// The roles that every host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Everything.
    Admin,
    /// Runs the host: everything but credentials, secrets' values and saying yes for others.
    Operator,
    /// Says yes or no, and sees what that is about.
    Approver,
    /// Uses tools, agents and models.
    Caller,
    /// Looks.
    Viewer,
}

impl BuiltIn {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Admin, Self::Operator, Self::Approver, Self::Caller, Self::Viewer];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Caller => "caller",
            Self::Viewer => "viewer",
        }
    }

    /// Its name, as a name.
    pub fn name(self) -> RoleName {
        RoleName(self.as_str().to_owned())
    }

    /// What it may do.
    pub const fn permissions(self) -> Permissions {
        use Permission as P;
        match self {
            Self::Admin => Permissions::ALL,
            Self::Operator => Permissions::ALL.without(Permissions::of(&[
                P::ManageTokens,
                P::ManageSecrets,
                P::DecideApprovals,
            ])),
            Self::Approver => Permissions::of(&[
                P::ReadTools,
                P::ReadAgents,
                P::ReadComponents,
                P::ReadConversations,
                P::ReadFiles,
                P::ReadApprovals,
                P::DecideApprovals,
                P::ReadEvents,
            ]),
            Self::Caller => Permissions::of(&[
                P::ReadTools,
                P::CallTools,
                P::ReadAgents,
                P::AskAgents,
                P::ReadModels,
                P::UseModels,
                P::ReadConversations,
                P::WriteConversations,
                P::ReadMemory,
                P::WriteMemory,
                P::ReadApprovals,
            ]),
            Self::Viewer => Permissions::of(&[
                P::ReadTools,
                P::ReadAgents,
                P::ReadModels,
                P::ReadConversations,
                P::ReadMemory,
                P::ReadFiles,
                P::ReadComponents,
                P::ReadApprovals,
                P::ReadEvents,
                P::ReadStore,
                P::ReadSystem,
            ]),
        }
    }
}

/// Which tools and agents somebody may use; `None` for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reach {
    /// Tools by pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<ToolPattern>>,
    /// Agents by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<String>>,
}

impl Reach {
    /// Every tool and agent.
    pub const ALL: Self = Self { tools: None, agents: None };
    /// No tool and no agent.
    pub const NONE: Self = Self { tools: Some(Vec::new()), agents: Some(Vec::new()) };

    /// Every tool and agent.
    pub(super) fn all() -> Self {
        Self::ALL
    }

    /// Whether it is every tool and agent.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// Whether a tool is among them.
    pub fn has_tool(&self, tool: &ToolName) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.iter().any(|known| known.covers(tool)))
    }

    /// Whether an agent is among them.
    pub fn has_agent(&self, agent: &str) -> bool {
        self.agents.as_ref().is_none_or(|agents| agents.iter().any(|known| known == agent))
    }

    /// Takes away from an agent what is not among them.
    pub fn narrow(&self, policy: &mut AgentPolicy) {
        if let Some(tools) = &self.tools {
            policy.keep_tools(tools);
        }
        policy.agents.retain(|agent| self.has_agent(agent));
    }

    /// What both have.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let tools = match (&self.tools, &other.tools) {
            (None, tools) | (tools, None) => tools.clone(),
            (Some(one), Some(two)) => Some(
                one.iter().flat_map(|own| two.iter().filter_map(|other| own.and(other))).collect(),
            ),
        };
        let agents = match (&self.agents, &other.agents) {
            (None, agents) | (agents, None) => agents.clone(),
            (Some(one), Some(two)) => {
                Some(one.iter().filter(|agent| two.contains(agent)).cloned().collect())
            }
        };
        Self { tools, agents }
    }

    /// What either has.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            tools: either(self.tools.as_deref(), other.tools.as_deref()),
            agents: either(self.agents.as_deref(), other.agents.as_deref()),
        }
    }
}

fn either<T: Clone>(one: Option<&[T]>, other: Option<&[T]>) -> Option<Vec<T>> {
    Some([one?, other?].concat())
}

/// What a role lets do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// What.
    pub permissions: Permissions,
    /// With which tools and agents.
    pub reach: Reach,
}

/// The roles of a host: those that every host has, and the operator's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeMap<RoleName, Role>);

impl Default for Roles {
    fn default() -> Self {
        let built_in = BuiltIn::ALL.map(|role| {
            let (permissions, reach) = (role.permissions(), Reach::ALL);
            (role.name(), Role { permissions, reach })
        });
        Self(built_in.into())
    }
}

impl Roles {
    /// Adds a role of the operator's; `false` if there is one of that name.
    pub fn add(&mut self, name: RoleName, role: Role) -> bool {
        let is_new = !self.0.contains_key(&name);
        if is_new {
            self.0.insert(name, role);
        }
        is_new
    }

    /// A role by name.
    pub fn get(&self, name: &RoleName) -> Option<&Role> {
        self.0.get(name)
    }

    /// Every role, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&RoleName, &Role)> {
        self.0.iter()
    }

    /// What several roles let do together. One that is not known gives nothing. Reach is joined
    /// as a whole: who may call some tools by one role and read all by another calls only those.
    pub fn of(&self, names: &[RoleName]) -> (Permissions, Reach) {
        let mut known = names.iter().filter_map(|name| self.0.get(name));
        let Some(first) = known.next() else { return (Permissions::NONE, Reach::NONE) };
        known.fold((first.permissions, first.reach.clone()), |(permissions, reach), role| {
            (permissions.or(role.permissions), join(permissions, reach, role))
        })
    }
}

/// The reach of a role counts only where it lets act.
fn join(permissions: Permissions, reach: Reach, role: &Role) -> Reach {
    const ACTS: Permissions = Permissions::of(&[Permission::CallTools, Permission::AskAgents]);
    let acts = |permissions: Permissions| permissions.and(ACTS) != Permissions::NONE;
    match (acts(permissions), acts(role.permissions)) {
        (true, false) => reach,
        (false, true) => role.reach.clone(),
        _ => reach.or(&role.reach),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(tools: &[&str], agents: &[&str]) -> Reach {
        Reach {
            tools: Some(tools.iter().map(|tool| tool.parse().expect("a pattern")).collect()),
            agents: Some(agents.iter().map(ToString::to_string).collect()),
        }
    }

    fn tool(text: &str) -> ToolName {
        text.parse().expect("a tool")
    }

    #[test]
    fn of_two_reaches_the_common_part_is_in_both() {
        let both = reach(&["files.*", "fetch.get"], &["a", "b"]).and(&reach(&["*"], &["b", "c"]));
        assert!(both.has_tool(&tool("files.read")) && !both.has_tool(&tool("shell.run")));
        assert!(both.has_agent("b") && !both.has_agent("a") && !both.has_agent("c"));
        let none = reach(&["files.read"], &[]).and(&reach(&["files.write"], &["a"]));
        assert!(!none.has_tool(&tool("files.read")) && !none.has_agent("a"));
        assert_eq!(Reach::ALL.and(&Reach::NONE), Reach::NONE);
    }

    #[test]
    fn a_role_that_only_looks_does_not_widen_what_another_may_call() {
        let mut roles = Roles::default();
        let name = RoleName::parse("robot").expect("a name");
        let permissions = Permissions::of(&[Permission::CallTools]);
        let role = Role { permissions, reach: reach(&["files.read"], &[]) };
        assert!(roles.add(name.clone(), role));
        for names in
            [vec![name.clone(), BuiltIn::Viewer.name()], vec![BuiltIn::Viewer.name(), name]]
        {
            let (permissions, reach) = roles.of(&names);
            assert!(permissions.has(Permission::ReadMemory));
            assert!(reach.has_tool(&tool("files.read")) && !reach.has_tool(&tool("files.write")));
        }
    }

    #[test]
    fn a_built_in_role_keeps_its_meaning() {
        let mut roles = Roles::default();
        let role = Role { permissions: Permissions::ALL, reach: Reach::ALL };
        assert!(!roles.add(BuiltIn::Viewer.name(), role));
        let (permissions, _) = roles.of(&[BuiltIn::Viewer.name()]);
        assert_eq!(permissions, BuiltIn::Viewer.permissions());
    }

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["admin", "a", "0-x_y"] {
            assert_eq!(RoleName::parse(good).map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "Admin", "a.b", "a b", "é", &"x".repeat(33)] {
            assert!(RoleName::parse(bad).is_err(), "{bad}");
        }
    }
}
