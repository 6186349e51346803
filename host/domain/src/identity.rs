//! Who asks, and what they may do.
//!
//! > a credential names a **principal**; a principal has **roles**; a role is a set of
//! > **permissions** and, where the operator says so, of tools and agents
//!
//! Deliberately absent: credentials themselves and how they are checked, which is `control`'s
//! (keys) and `gateway`'s (signed tokens). The invariants: nothing here widens what a principal
//! may do, and a role that is not known gives nothing.

mod permission;
mod record;
mod role;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::permission::{Permission, Permissions, UnknownPermission};
pub use self::record::{
    FamilyId, FamilyRevoked, FamilyRotated, FamilyStarted, KeyIssued, KeyRevoked, Refused,
    RevokedBecause, SecretHash, kind,
};
pub use self::role::{BuiltIn, Reach, Role, RoleName, RoleNameError, Roles};

use crate::component::ToolName;
use crate::conversation::Name;
use crate::event::Tenant;
use crate::id::KeyId;

/// Who asks, once that is known. Cheap to clone by its [`Arc`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What it is known by in records: see [`Subject`].
    pub subject: Subject,
    /// Whose data it sees. All of it, and nobody else's.
    pub tenant: Tenant,
    /// The roles it has, for rules that name one. What they let do is the permissions.
    pub roles: Vec<RoleName>,
    /// What it may do.
    pub permissions: Permissions,
    /// Which tools and agents that is about.
    pub reach: Reach,
}

impl Principal {
    /// Whoever works this host's own keyboard: a command without a server, or a server's own
    /// upkeep. There is no credential for it.
    pub fn host() -> Arc<Self> {
        Arc::new(Self {
            subject: Subject::Host,
            tenant: Tenant::DEFAULT,
            roles: vec![BuiltIn::Admin.name()],
            permissions: Permissions::ALL,
            reach: Reach::ALL,
        })
    }

    /// What records call it.
    pub fn name(&self) -> Name {
        let text = self.subject.to_string();
        Name::cut(&text).or_else(|| Name::cut("-")).expect("invariant: a dash is a name")
    }

    /// Whether it may do a thing.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.has(permission)
    }

    /// Whether it has a role.
    pub fn has_role(&self, role: &RoleName) -> bool {
        self.roles.contains(role)
    }

    /// Whether it may call a tool.
    pub fn may_call(&self, tool: &ToolName) -> bool {
        self.may(Permission::CallTools) && self.reach.has_tool(tool)
    }

    /// Whether it may ask an agent.
    pub fn may_ask(&self, agent: &str) -> bool {
        self.may(Permission::AskAgents) && self.reach.has_agent(agent)
    }
}

/// What a principal is known by in records. No two credentials share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The host itself.
    Host,
    /// Anybody at all, on a server without authentication.
    Anybody,
    /// An API key.
    Key(KeyId),
    /// Whoever an issuer says: the issuer's name in the configuration, and its `sub`.
    Token {
        /// `foreshore` for our own.
        issuer: Arc<str>,
        /// As the issuer names it.
        subject: Arc<str>,
    },
}

impl Subject {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "host" => Some(Self::Host),
            "anybody" => Some(Self::Anybody),
            text => KeyId::parse(text).map(Self::Key).or_else(|| {
                let (issuer, subject) = text.split_once(':')?;
                Some(Self::Token { issuer: issuer.into(), subject: subject.into() })
            }),
        }
    }
}

/// On whose behalf a turn is taken, as it is recorded with it: what happens in it later is held
/// to that, whoever has become of the credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// What it is known by.
    pub subject: Name,
    /// Which tools and agents it may use.
    #[serde(default = "Reach::all", skip_serializing_if = "Reach::is_all")]
    pub reach: Reach,
    /// The roles it had, for rules that name one: here they let do nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<RoleName>,
}

impl AskedBy {
    /// What is recorded of a principal.
    pub fn of(principal: &Principal) -> Self {
        Self {
            subject: principal.name(),
            reach: principal.reach.clone(),
            roles: principal.roles.clone(),
        }
    }

    /// Who acts in the turn: with tools and agents, and nothing else.
    pub fn principal(&self, tenant: Tenant) -> Arc<Principal> {
        const ACTS: Permissions = Permissions::of(&[Permission::CallTools, Permission::AskAgents]);
        Arc::new(Principal {
            subject: Subject::parse(self.subject.as_str()).unwrap_or(Subject::Anybody),
            tenant,
            roles: self.roles.clone(),
            permissions: ACTS,
            reach: self.reach.clone(),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Anybody => f.write_str("anybody"),
            Self::Key(id) => write!(f, "{id}"),
            Self::Token { issuer, subject } => write!(f, "{issuer}:{subject}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(roles: &[&str]) -> Principal {
        let known = Roles::default();
        let names: Vec<RoleName> =
            roles.iter().map(|role| RoleName::parse(role).expect("a name")).collect();
        let (permissions, reach) = known.of(&names);
        let (subject, tenant) = (Subject::Anybody, Tenant::DEFAULT);
        Principal { subject, tenant, roles: names, permissions, reach }
    }

    #[test]
    fn a_caller_calls_and_a_viewer_looks() {
        let tool: ToolName = "files.read".parse().expect("a tool");
        let caller = principal(&["caller"]);
        assert!(caller.may_call(&tool) && caller.may_ask("assistant"));
        assert!(!caller.may(Permission::DecideApprovals) && !caller.may(Permission::ReadAudit));
        let viewer = principal(&["viewer"]);
        assert!(!viewer.may_call(&tool) && !viewer.may_ask("assistant"));
        assert!(viewer.may(Permission::ReadTools));
    }

    #[test]
    fn a_role_that_nobody_knows_gives_nothing() {
        let nobody = principal(&["chief"]);
        assert_eq!(nobody.permissions, Permissions::NONE);
        assert!(!nobody.reach.has_agent("assistant"));
        assert_eq!(principal(&[]).permissions, Permissions::NONE);
    }

    #[test]
    fn only_the_host_and_an_administrator_may_do_everything() {
        assert!(Permission::ALL.iter().all(|p| Principal::host().may(*p)));
        assert!(Permission::ALL.iter().all(|p| principal(&["admin"]).may(*p)));
        for role in ["operator", "approver", "caller", "viewer"] {
            assert!(!principal(&[role]).may(Permission::ManageTokens), "{role}");
        }
    }
}
