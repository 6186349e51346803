//! From `[components.NAME]` to what the door decides by.
//!
//! Invariant: a section that cannot be turned into a policy stops the start; there is no policy
//! with a part left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use foreshore_domain::component::{ComponentRef, check_name};
use foreshore_domain::grant::{
    Access, Clock, Grant, HttpGrant, MemoryGrant, Mount, NamespaceGrant,
};
use foreshore_domain::limits::{LimitError, Limits, LimitsPatch};
use foreshore_domain::policy::{ComponentPolicy, Policies};
use foreshore_domain::secret::{SecretPlace, SecretUse};

use super::ConfigError;
use super::sections::{
    AccessWord, ClockWord, ComponentSection, MemorySection, MountSection, NamespaceSection,
    SecretSection, Sections,
};
use super::tree::Node;

/// The policies of all components, before they are handed to the host: a command that runs one
/// call still adds the grants of its flags.
#[derive(Clone, Debug, Default)]
pub(crate) struct PolicyTable {
    by_name: BTreeMap<String, ComponentPolicy>,
    /// What the operator says of all components, over the code's defaults.
    limits: Limits,
    limits_patch: LimitsPatch,
}

/// A section that is no policy: which key, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    keys: Vec<String>,
    message: String,
}

impl Refusal {
    pub(crate) fn new(keys: &[&str], message: impl ToString) -> Self {
        Self {
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            message: message.to_string(),
        }
    }

    /// Adds the place where the key was written.
    pub(crate) fn located(self, tree: &Node) -> ConfigError {
        let origin = (0..=self.keys.len())
            .rev()
            .find_map(|depth| tree.at(self.keys[..depth].iter().map(String::as_str)))
            .map(|node| node.origin.clone());
        ConfigError::Refused { origin, key: self.keys.join("."), message: self.message }
    }
}

impl PolicyTable {
    /// Turns sections into policies.
    pub(crate) fn parse(sections: &Sections) -> Result<Self, Refusal> {
        let limits = with_limits(Limits::default(), &sections.limits, &["limits"])?;
        let by_name = sections
            .components
            .iter()
            .map(|(name, section)| Ok((name.clone(), policy(name, section, limits)?)))
            .collect::<Result<_, Refusal>>()?;
        Ok(Self { by_name, limits, limits_patch: sections.limits })
    }

    /// The limits that a shipped component wants where the operator says nothing. What the
    /// operator says, of this component or of all, goes before.
    pub(crate) fn suggest_limits(
        &mut self,
        name: &str,
        suggested: &LimitsPatch,
        sections: &Sections,
    ) -> Result<(), LimitError> {
        let own = sections.components.get(name).map(|section| section.limits).unwrap_or_default();
        let limits = Limits::default().with(suggested)?.with(&self.limits_patch)?.with(&own)?;
        self.entry(name).limits = limits;
        Ok(())
    }

    /// The policy of one component, to be added to.
    pub(crate) fn entry(&mut self, name: &str) -> &mut ComponentPolicy {
        let limits = self.limits;
        self.by_name
            .entry(name.to_owned())
            .or_insert_with(|| ComponentPolicy { grant: Arc::default(), limits })
    }

    /// Each component that a policy was written for.
    pub(crate) fn components(&self) -> impl Iterator<Item = (&str, &ComponentPolicy)> {
        self.by_name.iter().map(|(name, policy)| (name.as_str(), policy))
    }

    /// The limits of each component that a policy was written for.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (&str, &Limits)> {
        self.by_name.iter().map(|(name, policy)| (name.as_str(), &policy.limits))
    }

    /// What the host decides by.
    pub(crate) fn into_policies(self) -> Policies {
        Policies::new(self.by_name, self.limits)
    }
}

fn policy(
    name: &str,
    section: &ComponentSection,
    defaults: Limits,
) -> Result<ComponentPolicy, Refusal> {
    check_reference(name)?;
    let secrets = secrets(name, section.http.as_ref().map_or(&[], |http| &http.secrets))?;
    let grant = Grant {
        mounts: section.mounts.iter().map(mount).collect(),
        http: section.http.as_ref().map(|http| HttpGrant {
            allow: http.allow.iter().map(|rule| rule.0.clone()).collect(),
            networks: http.networks.iter().map(|network| network.0).collect(),
            secrets,
        }),
        config: section.config.clone(),
        memory: section.memory.as_ref().map(MemorySection::grant),
        keyvalue: section.keyvalue,
        env: section.env.clone(),
        clock: match section.clock {
            ClockWord::Coarse => Clock::Coarse,
            ClockWord::Fine => Clock::Fine,
        },
    }
    .checked()
    .map_err(|error| Refusal::new(&["components", name, "mounts"], error))?;
    for variable in section.env.keys() {
        check_variable(variable)
            .map_err(|message| Refusal::new(&["components", name, "env", variable], message))?;
    }
    let limits = with_limits(defaults, &section.limits, &["components", name, "limits"])?;
    Ok(ComponentPolicy { grant: Arc::new(grant), limits })
}

/// The secrets of a component. One place of requests to one audience has one secret.
fn secrets(component: &str, sections: &[SecretSection]) -> Result<Vec<SecretUse>, Refusal> {
    let refusal = |message: &dyn ToString| {
        Refusal::new(&["components", component, "http", "secrets"], message.to_string())
    };
    let mut uses: Vec<SecretUse> = Vec::with_capacity(sections.len());
    for section in sections {
        let SecretSection { name, header, prefix, query, body, audience } = section;
        let place = match (header, query, body, prefix) {
            (Some(header), None, None, prefix) => {
                SecretPlace::header(header, prefix.as_deref().unwrap_or_default())
            }
            (None, Some(query), None, None) => SecretPlace::query(query),
            (None, None, Some(body), None) => SecretPlace::body(body),
            _ => {
                return Err(refusal(&format!(
                    "the secret \"{}\" goes into one place: give a header (with a prefix, if it has one), a query or a body",
                    name.0
                )));
            }
        };
        let place = place.map_err(|error| refusal(&error))?;
        let is_same = |other: &SecretPlace| match (&place, other) {
            (SecretPlace::Header { name, .. }, SecretPlace::Header { name: other, .. }) => {
                name == other
            }
            (place, other) => *place == *other,
        };
        if uses.iter().any(|each| each.audience == audience.0 && is_same(&each.place)) {
            return Err(refusal(&format!(
                "two secrets go into {place} of requests to {}",
                audience.0
            )));
        }
        uses.push(SecretUse { name: name.0.clone(), place, audience: audience.0.clone() });
    }
    Ok(uses)
}

/// A policy is for `name` or for `name@version`.
fn check_reference(text: &str) -> Result<(), Refusal> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    let refusal = |message: String| Refusal::new(&["components", text], message);
    match version {
        None => check_name("component", name).map_err(|error| refusal(error.to_string())),
        Some(version) => version
            .parse()
            .map_err(|_| refusal(format!("\"{version}\" is no version: write one as 1.2.3")))
            .and_then(|version| {
                ComponentRef::new(name, version)
                    .map(|_| ())
                    .map_err(|error| refusal(error.to_string()))
            }),
    }
}

fn mount(section: &MountSection) -> Mount {
    Mount {
        host: section.host.clone(),
        guest: section.guest.0.clone(),
        access: access(section.access),
        bytes_max: section.bytes_max.unwrap_or(Mount::DEFAULT_BYTES_MAX),
        entries_max: section.entries_max.unwrap_or(Mount::DEFAULT_ENTRIES_MAX),
    }
}

impl MemorySection {
    /// The namespaces as the door knows them.
    pub(crate) fn grant(&self) -> MemoryGrant {
        MemoryGrant { namespaces: self.namespaces.iter().map(namespace).collect() }
    }
}

fn namespace(section: &NamespaceSection) -> NamespaceGrant {
    NamespaceGrant { pattern: section.name.0.clone(), access: access(section.access) }
}

fn access(word: AccessWord) -> Access {
    match word {
        AccessWord::ReadOnly => Access::ReadOnly,
        AccessWord::ReadWrite => Access::ReadWrite,
    }
}

/// What POSIX does not let a variable be called would reach the guest garbled.
pub(crate) fn check_variable(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("\"{}\" cannot be the name of a variable", name.escape_debug()));
    }
    Ok(())
}

fn with_limits(limits: Limits, patch: &LimitsPatch, keys: &[&str]) -> Result<Limits, Refusal> {
    limits.with(patch).map_err(|error| {
        let mut keys = keys.to_vec();
        if let LimitError::Zero { name } | LimitError::TooLarge { name, .. } = &error {
            keys.push(name);
        }
        Refusal::new(&keys, &error)
    })
}
