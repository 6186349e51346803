//! From `[files]` and the mounts of components to the directories that are watched.
//!
//! Roots do not overlap: of two that lie in each other the outer one is watched, so that no
//! change is recorded twice. What the operator names goes before what follows from mounts.

use std::path::{Path, PathBuf};

use foreshore_control::RootConfig;
use foreshore_domain::grant::Access;
use foreshore_domain::integrity::{EntryPath, RootPolicy};
use serde::Deserialize;

use super::policies::Refusal;
use super::{Config, ConfigError};

/// The root of the components directory.
const HOST_COMPONENTS: &str = "host:components";

/// What is watched besides what the operator names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FilesSection {
    /// What is done about changes from outside in directories that components may change.
    pub(crate) mounts: PolicyWord,
    /// The same for the components directory and the configuration file.
    pub(crate) host: PolicyWord,
    /// Directories by name.
    pub(crate) roots: Vec<RootSection>,
}

impl Default for FilesSection {
    fn default() -> Self {
        Self { mounts: PolicyWord::Record, host: PolicyWord::Alert, roots: Vec::new() }
    }
}

/// A directory that the operator names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootSection {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    #[serde(default)]
    pub(crate) policy: PolicyWord,
    /// Globs of paths that are not looked at.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    pub(crate) entries_max: Option<std::num::NonZeroU64>,
}

/// What is done about a change from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyWord {
    /// Nothing is watched.
    Off,
    #[default]
    Record,
    Alert,
    Restore,
    Quarantine,
}

impl PolicyWord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Record => "record",
            Self::Alert => "alert",
            Self::Restore => "restore",
            Self::Quarantine => "quarantine",
        }
    }

    fn policy(self) -> Option<RootPolicy> {
        match self {
            Self::Off => None,
            Self::Record => Some(RootPolicy::Record),
            Self::Alert => Some(RootPolicy::Alert),
            Self::Restore => Some(RootPolicy::Restore),
            Self::Quarantine => Some(RootPolicy::Quarantine),
        }
    }
}

impl Config {
    /// The directories that a server watches.
    ///
    /// # Errors
    /// A root that the operator names and that cannot be one.
    pub(crate) fn watched_roots(&self) -> Result<Vec<RootConfig>, ConfigError> {
        self.roots().map_err(|refusal| refusal.located(&self.tree))
    }

    fn roots(&self) -> Result<Vec<RootConfig>, Refusal> {
        let section = &self.sections.files;
        let refused = |message: String| Refusal::new(&["files", "roots"], message);
        let mut roots: Vec<RootConfig> = Vec::new();
        for named in &section.roots {
            let Some(policy) = named.policy.policy() else { continue };
            let path = named
                .path
                .canonicalize()
                .map_err(|error| refused(format!("{}: {error}", named.path.display())))?;
            if let Some(other) = roots.iter().find(|root| overlap(&root.path, &path)) {
                let (path, other) = (path.display(), other.path.display());
                return Err(refused(format!("{path} and {other} lie in each other")));
            }
            let name = named.name.parse().map_err(|error| refused(format!("{error}")))?;
            if roots.iter().any(|root| root.name == name) {
                return Err(refused(format!("two roots are called \"{name}\"")));
            }
            let mut root = self.root(RootConfig::new(name, path), policy);
            root.ignore.clone_from(&named.ignore);
            if let Some(entries_max) = named.entries_max {
                root.entries_max = entries_max.get();
            }
            roots.push(root);
        }
        let mut others = Vec::new();
        if let Some(policy) = section.mounts.policy() {
            for (component, policy_of) in self.policies.components() {
                let changes = |access: &Access| matches!(access, Access::ReadWrite);
                for mount in policy_of.grant.mounts.iter().filter(|mount| changes(&mount.access)) {
                    others.push((
                        format!("{component}:{}", mount.guest),
                        mount.host.clone(),
                        policy,
                        None,
                    ));
                }
            }
        }
        if let Some(policy) = section.host.policy() {
            let components = self.components_directory.clone();
            others.push((HOST_COMPONENTS.to_owned(), components, policy, None));
            if let Some(file) = &self.file
                && let (Some(directory), Some(name)) = (file.parent(), file.file_name())
            {
                let directory =
                    if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
                let only = EntryPath::root().join(name.as_encoded_bytes()).ok();
                others.push(("host:config".to_owned(), directory.to_owned(), policy, only));
            }
        }
        for (name, path, policy, only) in others {
            // A directory that is not there is its component's trouble, and no server's.
            let Ok(path) = path.canonicalize() else { continue };
            let is_watched = |root: &RootConfig| {
                root.only.is_empty() && only.is_none() && overlap(&root.path, &path)
            };
            if roots.iter().any(is_watched) {
                continue;
            }
            let Ok(name) = name.parse() else { continue };
            let mut root = self.root(RootConfig::new(name, path), policy);
            if name_is_components(&root) {
                // What the host writes there has a hidden name until it is whole.
                root.ignore = vec![".*".to_owned()];
            }
            root.only = only.into_iter().collect();
            roots.push(root);
        }
        Ok(roots)
    }

    fn root(&self, root: RootConfig, policy: RootPolicy) -> RootConfig {
        let quarantine = self.data.join("quarantine");
        let quarantine = (policy == RootPolicy::Quarantine).then_some(quarantine);
        RootConfig { policy, quarantine, ..root }
    }
}

fn name_is_components(root: &RootConfig) -> bool {
    root.name.as_str() == HOST_COMPONENTS
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
