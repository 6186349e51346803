//! From `[auth]` to whose tokens count.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use foreshore_domain::event::Tenant;
use foreshore_domain::identity::RoleName;
use foreshore_gateway::{AuthConfig, AuthMode, OwnIssuer, Source, TrustedIssuer};
use serde::Deserialize;

use super::{Config, ConfigError};

/// The most that a file of keys holds.
const KEYS_MAX_BYTES: u64 = 256 << 10;
/// How far the clocks of other issuers may differ where nothing is said, in seconds.
const LEEWAY_S: u64 = 30;
/// The longest time that a token of another issuer may have left where nothing is said.
const LIFETIME_MAX_S: u64 = 24 * 3_600;

/// Who is let in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AuthSection {
    /// Our own access tokens.
    pub(crate) tokens: TokensSection,
    /// Other issuers whose access tokens count, by the name that records call them.
    pub(crate) issuers: std::collections::BTreeMap<String, IssuerSection>,
}

/// This host as an issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TokensSection {
    pub(crate) enabled: bool,
    pub(crate) audience: String,
    pub(crate) access_s: NonZeroU64,
    pub(crate) refresh_s: NonZeroU64,
}

impl Default for TokensSection {
    fn default() -> Self {
        const fn of(value: u64) -> NonZeroU64 {
            match NonZeroU64::new(value) {
                Some(value) => value,
                None => panic!("a default is zero"),
            }
        }
        Self {
            enabled: true,
            audience: "foreshore".to_owned(),
            access_s: const { of(30 * 60) },
            refresh_s: const { of(24 * 3_600) },
        }
    }
}

/// Another issuer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerSection {
    /// What its tokens say in `iss`.
    pub(crate) issuer: String,
    /// What its tokens say in `aud`: one of these.
    pub(crate) audiences: Vec<String>,
    /// Its keys: a file of PEM (`PUBLIC KEY`), or a JSON Web Key Set.
    pub(crate) keys_file: PathBuf,
    pub(crate) leeway_s: Option<u64>,
    pub(crate) lifetime_max_s: Option<NonZeroU64>,
    /// Whose data its subjects see.
    pub(crate) tenant: Option<String>,
    /// The claim that says so.
    pub(crate) tenant_claim: Option<String>,
    /// What its subjects may do.
    pub(crate) roles: Option<Vec<String>>,
    /// The claim that says so: a list, or one text with spaces.
    pub(crate) roles_claim: Option<String>,
}

impl Config {
    /// Whose tokens count. Reads the files of keys.
    ///
    /// # Errors
    /// A section that cannot be used, with its key and place.
    pub(crate) fn issuers(&self) -> Result<Vec<TrustedIssuer>, ConfigError> {
        let roles = self.roles()?;
        let sections = self.sections.auth.issuers.iter();
        sections.map(|(name, section)| self.issuer(name, section, &roles)).collect()
    }

    fn issuer(
        &self,
        name: &str,
        section: &IssuerSection,
        roles: &foreshore_domain::identity::Roles,
    ) -> Result<TrustedIssuer, ConfigError> {
        let refused = |key: &str, message: &dyn std::fmt::Display| {
            self.refused(&["auth", "issuers", name, key], message)
        };
        if name == "foreshore" {
            return Err(self.refused(
                &["auth", "issuers", name],
                &"this host itself is called so; choose another name",
            ));
        }
        if section.audiences.is_empty() {
            return Err(refused("audiences", &"give at least one: a token for others is not ours"));
        }
        let tenant = match (&section.tenant, &section.tenant_claim) {
            (None, None) => Source::Fixed(Tenant::DEFAULT),
            (Some(tenant), None) => {
                Source::Fixed(Tenant::parse(tenant).map_err(|error| refused("tenant", &error))?)
            }
            (None, Some(claim)) => Source::Claim(claim.clone()),
            (Some(_), Some(_)) => {
                return Err(refused("tenant", &"either tenant or tenant_claim, not both"));
            }
        };
        let roles = match (&section.roles, &section.roles_claim) {
            (Some(names), None) => {
                let read = |name: &String| {
                    let role = RoleName::parse(name).map_err(|error| refused("roles", &error))?;
                    if roles.get(&role).is_none() {
                        return Err(refused("roles", &format!("there is no role \"{role}\"")));
                    }
                    Ok(role)
                };
                Source::Fixed(names.iter().map(read).collect::<Result<_, _>>()?)
            }
            (None, Some(claim)) => Source::Claim(claim.clone()),
            (None, None) => {
                let message =
                    "say what its subjects may do: roles = [\"caller\"] or roles_claim = \"roles\"";
                return Err(refused("roles", &message));
            }
            (Some(_), Some(_)) => {
                return Err(refused("roles", &"either roles or roles_claim, not both"));
            }
        };
        let keys = read(&section.keys_file).map_err(|error| refused("keys_file", &error))?;
        Ok(TrustedIssuer {
            name: name.to_owned(),
            issuer: section.issuer.clone(),
            audiences: section.audiences.clone(),
            leeway_s: section.leeway_s.unwrap_or(LEEWAY_S).min(300),
            lifetime_max_s: section.lifetime_max_s.map_or(LIFETIME_MAX_S, NonZeroU64::get),
            keys,
            tenant,
            roles,
        })
    }

    /// Who is let in to a server, whose own signing key is made if there is none yet.
    ///
    /// # Errors
    /// A section that cannot be used; a key that cannot be read or written.
    pub(crate) fn auth(&self, mode: AuthMode) -> anyhow::Result<AuthConfig> {
        let tokens = &self.sections.auth.tokens;
        let own = match tokens.enabled {
            false => None,
            true => {
                let file = self.data.join("issuer.pem");
                let key = crate::token_file::signing_key(&file)
                    .with_context(|| file.display().to_string())?;
                let TokensSection { audience, access_s, refresh_s, .. } = tokens.clone();
                Some(OwnIssuer { key, audience, access_s, refresh_s })
            }
        };
        Ok(AuthConfig { mode, issuers: self.issuers()?, own })
    }
}

fn read(file: &Path) -> Result<String, String> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let size = std::fs::metadata(file).map_err(|error| said(&error))?.len();
    if size > KEYS_MAX_BYTES {
        return Err(said(&format!("larger than {KEYS_MAX_BYTES} bytes")));
    }
    std::fs::read_to_string(file).map_err(|error| said(&error))
}
