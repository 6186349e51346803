//! What can be permitted: a closed list, so that a route or an action without a rule does not
//! compile.

use std::fmt;
use std::str::FromStr;

macro_rules! permissions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// One thing that somebody may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Permission {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name in configuration, tokens and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

permissions! {
    /// See which tools there are.
    ReadTools = "tools.read",
    /// Call tools.
    CallTools = "tools.call",
    /// See which agents there are.
    ReadAgents = "agents.read",
    /// Give agents turns, and answer what they ask in these.
    AskAgents = "agents.ask",
    /// See which models there are.
    ReadModels = "models.read",
    /// Ask models without an agent in between.
    UseModels = "models.use",
    /// Bring models in and take them away.
    ManageModels = "models.manage",
    /// Read conversations, turns and variables.
    ReadConversations = "conversations.read",
    /// Begin, rename, fork and delete conversations.
    WriteConversations = "conversations.write",
    /// Read memory.
    ReadMemory = "memory.read",
    /// Change memory.
    WriteMemory = "memory.write",
    /// Read what is known of watched files.
    ReadFiles = "files.read",
    /// Restore, approve and undo changes of watched files.
    WriteFiles = "files.write",
    /// See which components there are.
    ReadComponents = "components.read",
    /// Put components in place and take them away.
    WriteComponents = "components.write",
    /// See what waits for a person.
    ReadApprovals = "approvals.read",
    /// Say yes or no to what waits for a person.
    DecideApprovals = "approvals.decide",
    /// Follow events.
    ReadEvents = "events.read",
    /// Read the audit record.
    ReadAudit = "audit.read",
    /// See how the journal stands.
    ReadStore = "store.read",
    /// Check, back up and rebuild the journal.
    ManageStore = "store.manage",
    /// See limits, budgets, readiness and metrics.
    ReadSystem = "system.read",
    /// Reload and change what the host is configured with.
    ManageSystem = "system.manage",
    /// See which secrets there are, never their values.
    ReadSecrets = "secrets.read",
    /// Set and remove secrets.
    ManageSecrets = "secrets.manage",
    /// Issue, list and revoke credentials.
    ManageTokens = "tokens.manage",
}

/// A text that names no permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no permission")]
pub struct UnknownPermission {
    /// What was given, cut short.
    pub text: String,
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        let found = Self::ALL.iter().copied().find(|permission| permission.as_str() == text);
        found.ok_or_else(|| UnknownPermission { text: text.chars().take(64).collect() })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u64);

impl Permissions {
    /// None.
    pub const NONE: Self = Self(0);
    /// Every one.
    pub const ALL: Self = Self::of(Permission::ALL);

    /// What concerns the host as a whole, and so all tenants: for the tenant `default` alone, which
    /// is the operator's.
    pub const HOST: Self = Self::of(&[
        Permission::ManageModels,
        Permission::ReadFiles,
        Permission::WriteFiles,
        Permission::WriteComponents,
        Permission::ReadStore,
        Permission::ManageStore,
        Permission::ReadSystem,
        Permission::ManageSystem,
    ]);

    /// These.
    pub const fn of(permissions: &[Permission]) -> Self {
        let (mut set, mut at) = (0, 0);
        while at < permissions.len() {
            set |= bit(permissions[at]);
            at += 1;
        }
        Self(set)
    }

    /// Whether one is among them.
    pub const fn has(self, permission: Permission) -> bool {
        self.0 & bit(permission) != 0
    }

    /// Those of both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those of either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are not among the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// One by one, in the order of the list.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.iter().copied().filter(move |permission| self.has(*permission))
    }
}

#[allow(clippy::as_conversions, reason = "a discriminant of repr(u8), in const context")]
const fn bit(permission: Permission) -> u64 {
    1 << permission as u8
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Permission::as_str)).finish()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, |set, one| set.or(Self::of(&[one])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_its_permission() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(*permission));
        }
        for bad in ["", "tools", "tools.*", "TOOLS.READ", "tools.read "] {
            assert!(bad.parse::<Permission>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_permission_is_a_bit_of_its_own() {
        assert!(Permission::ALL.len() <= 64);
        let all: Vec<Permission> = Permissions::ALL.iter().collect();
        assert_eq!(all, Permission::ALL);
        let one = Permissions::of(&[Permission::ReadAudit]);
        assert_eq!(one.iter().collect::<Vec<_>>(), [Permission::ReadAudit]);
        assert_eq!(Permissions::ALL.without(one).and(one), Permissions::NONE);
    }
}
