//! Principals and credentials.

use std::num::NonZeroU64;

use foreshore_control::identities::Listed;
use foreshore_control::store::credentials::{FamilyEntry, KeyEntry, Revocation};
use foreshore_domain::identity::{Principal, Reach, RevokedBecause, RoleName};
use serde::{Deserialize, Serialize};

use foreshore_domain::moment::rfc3339;

/// Who asks, and what they may do.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PrincipalSchema<'a> {
    /// What records call it: a key's id, or `ISSUER:SUBJECT`.
    subject: String,
    /// Whose data it sees.
    tenant: &'a str,
    /// What it may do.
    permissions: Vec<&'static str>,
    #[serde(flatten)]
    reach: ReachSchema,
}

/// Tools and agents; absent for all of them.
#[derive(Serialize, utoipa::ToSchema)]
struct ReachSchema {
    /// Tools by pattern: `files.*`. Absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Vec<String>>,
    /// Agents by name. Absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<Vec<String>>,
}

impl ReachSchema {
    fn new(reach: &Reach) -> Self {
        let tools = reach.tools.as_ref();
        let tools = tools.map(|tools| tools.iter().map(ToString::to_string).collect());
        Self { tools, agents: reach.agents.clone() }
    }
}

impl<'a> PrincipalSchema<'a> {
    pub(crate) fn new(principal: &'a Principal) -> Self {
        Self {
            subject: principal.subject.to_string(),
            tenant: principal.tenant.as_str(),
            permissions: principal.permissions.iter().map(|one| one.as_str()).collect(),
            reach: ReachSchema::new(&principal.reach),
        }
    }
}

/// A credential to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCredentialSchema {
    /// `key` if absent.
    #[serde(default)]
    pub(crate) kind: CredentialKindSchema,
    /// What for, for people: 1 to 255 bytes. The `sub` of tokens.
    pub(crate) name: String,
    /// What it may do: `admin`, `operator`, `approver`, `caller`, `viewer`, or a role of the
    /// configuration.
    pub(crate) roles: Vec<String>,
    /// Whose data it sees; the maker's own if absent.
    pub(crate) tenant: Option<String>,
    /// Tools it may call at most: `files.*`. All that the roles let call if absent.
    pub(crate) tools: Option<Vec<String>>,
    /// Agents it may ask at most. All that the roles let ask if absent.
    pub(crate) agents: Option<Vec<String>>,
    /// When it ends, in seconds from now. Never if absent; tokens can be refreshed for a day.
    #[schema(value_type = Option<u64>)]
    pub(crate) expires_in_s: Option<NonZeroU64>,
}

/// What to make.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CredentialKindSchema {
    /// An API key.
    #[default]
    Key,
    /// An access token, and a refresh token for the next.
    Access,
}

/// A refresh token to be exchanged.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshSchema {
    pub(crate) refresh_token: String,
}

/// An access token, and what brings the next.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TokensSchema {
    /// Of the line: what `DELETE /v1/tokens/{id}` takes.
    pub(crate) id: String,
    /// For `Authorization: Bearer`.
    pub(crate) access_token: String,
    /// `Bearer`.
    pub(crate) token_type: &'static str,
    /// How long the access token counts, in seconds.
    pub(crate) expires_in: u64,
    /// Works once, at `POST /v1/auth/refresh`.
    pub(crate) refresh_token: String,
    /// When the refresh token ends.
    pub(crate) refresh_expires_at: String,
}

/// The credentials there are.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct CredentialsSchema {
    pub(crate) tokens: Vec<CredentialSchema>,
}

/// A credential that was just made.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct IssuedSchema {
    #[serde(flatten)]
    pub(crate) token: CredentialSchema,
    /// Its text: for `Authorization: Bearer`. It is not shown again.
    pub(crate) secret: String,
}

/// A credential, without its text.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct CredentialSchema {
    id: String,
    /// `key` or `refresh`.
    kind: &'static str,
    name: String,
    tenant: String,
    roles: Vec<String>,
    #[serde(flatten)]
    reach: ReachSchema,
    /// `active`, `expired` or `revoked`.
    state: &'static str,
    issued_at: String,
    issued_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_by: Option<String>,
    /// `revoked`, or `reused`: somebody showed a refresh token that had been replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_because: Option<&'static str>,
}

impl CredentialSchema {
    pub(crate) fn new(listed: &Listed, now_unix_ms: u64) -> Self {
        match listed {
            Listed::Key(entry) => Self::key(entry, now_unix_ms),
            Listed::Family(entry) => Self::family(entry, now_unix_ms),
        }
    }

    pub(crate) fn key(entry: &KeyEntry, now_unix_ms: u64) -> Self {
        let KeyEntry { tenant, issued, issued_at_unix_ms, revoked } = entry;
        Self {
            id: issued.key.to_string(),
            kind: "key",
            name: issued.name.as_str().to_owned(),
            tenant: tenant.clone(),
            roles: names(&issued.roles),
            reach: ReachSchema::new(&issued.reach),
            state: state(revoked.as_ref(), issued.expires_at_unix_ms, now_unix_ms),
            issued_at: rfc3339(*issued_at_unix_ms),
            issued_by: issued.by.as_str().to_owned(),
            expires_at: issued.expires_at_unix_ms.map(rfc3339),
            ..Self::revoked(revoked.as_ref())
        }
    }

    fn family(entry: &FamilyEntry, now_unix_ms: u64) -> Self {
        let FamilyEntry { tenant, started, started_at_unix_ms, revoked, .. } = entry;
        let end = Some(started.expires_at_unix_ms);
        Self {
            id: started.family.to_string(),
            kind: "refresh",
            name: started.subject.as_str().to_owned(),
            tenant: tenant.clone(),
            roles: names(&started.roles),
            reach: ReachSchema::new(&started.reach),
            state: state(revoked.as_ref(), end, now_unix_ms),
            issued_at: rfc3339(*started_at_unix_ms),
            issued_by: started.by.as_str().to_owned(),
            expires_at: end.map(rfc3339),
            ..Self::revoked(revoked.as_ref())
        }
    }

    /// Only what is said of a revocation.
    fn revoked(revoked: Option<&Revocation>) -> Self {
        Self {
            id: String::new(),
            kind: "",
            name: String::new(),
            tenant: String::new(),
            roles: Vec::new(),
            reach: ReachSchema { tools: None, agents: None },
            state: "",
            issued_at: String::new(),
            issued_by: String::new(),
            expires_at: None,
            revoked_at: revoked.map(|revoked| rfc3339(revoked.at_unix_ms)),
            revoked_by: revoked.map(|revoked| revoked.by.as_str().to_owned()),
            revoked_because: revoked.map(|revoked| match revoked.because {
                RevokedBecause::Revoked => "revoked",
                RevokedBecause::Reused => "reused",
            }),
        }
    }
}

fn names(roles: &[RoleName]) -> Vec<String> {
    roles.iter().map(|role| role.as_str().to_owned()).collect()
}

fn state(revoked: Option<&Revocation>, end: Option<u64>, now_unix_ms: u64) -> &'static str {
    match (revoked, end) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now_unix_ms => "expired",
        _ => "active",
    }
}
