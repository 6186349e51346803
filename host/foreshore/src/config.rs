//! The configuration: found, laid over, read, and turned into values that are valid by type.
//!
//! Order, lowest first: what the code has as default, the file, the environment, the flags.
//! Invariant, fail closed: a key that is not known, a limit of zero, a policy that does not parse
//! all stop the start. Nothing is skipped with a warning.

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod auth;
pub(crate) mod budgets;
pub(crate) mod files;
pub(crate) mod inference;
mod memory;
pub(crate) mod policies;
pub(crate) mod print;
mod reader;
pub(crate) mod roles;
pub(crate) mod sections;
mod sources;
pub(crate) mod tree;

pub(crate) use self::sources::parse_toml;

use std::fmt;
use std::path::{Path, PathBuf};

use foreshore_domain::limits::LimitsPatch;
use serde::Deserialize as _;

use self::policies::{PolicyTable, Refusal};
use self::sections::Sections;
use self::tree::{Node, Origin, Value};

/// Why the configuration cannot be used. The host then does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// The file that `--config` names, or one that was found.
    #[error("configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// Larger than any sane configuration.
    #[error("configuration file {} is larger than {max_bytes} bytes", path.display())]
    TooLarge { path: PathBuf, max_bytes: u64 },
    /// No TOML or YAML.
    #[error("{}: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    /// `foreshore.toml` and `foreshore.yaml` side by side.
    #[error(
        "both {} and {} exist; remove one, or name the one that counts with --config",
        first.display(), second.display()
    )]
    TwoFiles { first: PathBuf, second: PathBuf },
    /// A variable of the environment that is no text.
    #[error("environment variable {variable} is not UTF-8")]
    NotUtf8 { variable: String },
    /// A key that does not exist or a value that does not fit.
    #[error(transparent)]
    Read(#[from] reader::ReadError),
    /// A value that fits its type and still cannot hold.
    #[error("{}{key}: {message}", origin.as_ref().map(|o| format!("{o}: ")).unwrap_or_default())]
    Refused { origin: Option<Origin>, key: String, message: String },
    /// There is no place for data.
    #[error("no place for data: neither --data nor XDG_DATA_HOME nor HOME is set")]
    NoDataDirectory,
}

/// Flags that set what a file could set as well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    entries: Vec<(&'static [&'static str], &'static str, String)>,
}

impl Overrides {
    /// Notes a flag, if it was given.
    pub(crate) fn flag(
        mut self,
        keys: &'static [&'static str],
        flag: &'static str,
        value: Option<impl ToString>,
    ) -> Self {
        self.entries.extend(value.map(|value| (keys, flag, value.to_string())));
        self
    }

    fn tree(&self) -> Option<Node> {
        let mut tree: Option<Node> = None;
        for (keys, flag, value) in &self.entries {
            let origin = Origin::Flag((*flag).into());
            tree.get_or_insert_with(|| Node::table(origin.clone())).put(
                keys,
                Value::Text(value.clone()),
                &origin,
            );
        }
        tree
    }
}

/// What the operator wants, valid.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// As written, with defaults.
    pub(crate) sections: Sections,
    /// What each component may touch and use.
    pub(crate) policies: PolicyTable,
    /// Where the journal and compiled components are kept.
    pub(crate) data: PathBuf,
    /// Components to load besides the embedded ones.
    pub(crate) components_directory: PathBuf,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// What was written, with its origins; for `config print`.
    tree: Node,
}

impl Config {
    /// Finds and reads everything: file (`file`, or the first found), environment, flags.
    ///
    /// # Errors
    /// [`ConfigError`], naming the place, the key, the value and the way on.
    pub(crate) fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigError> {
        let found = match file {
            Some(file) => Some(file.to_owned()),
            None => sources::find_file(Path::new(""))?,
        };
        let file_layer = found.as_deref().map(sources::read_file).transpose()?;
        let environment = sources::read_environment(std::env::vars_os())?;
        let layers = [file_layer, environment, overrides.tree()];
        Self::read(layers.into_iter().flatten(), found)
    }

    /// The defaults alone, whatever files and variables there are: for programs such as the
    /// demonstration that must come out the same everywhere.
    ///
    /// # Errors
    /// A flag that does not fit.
    pub(crate) fn defaults(overrides: &Overrides) -> Result<Self, ConfigError> {
        Self::read(overrides.tree(), None)
    }

    /// Limits that a shipped component wants where the operator says nothing.
    ///
    /// # Errors
    /// A suggestion above a ceiling.
    pub(crate) fn suggest_limits(
        &mut self,
        name: &str,
        suggested: &LimitsPatch,
    ) -> Result<(), ConfigError> {
        let suggested = self.policies.suggest_limits(name, suggested, &self.sections);
        suggested.map_err(|error| self.refused(&["components", name, "limits"], &error))
    }

    /// A setting that a part refuses, with the place where it was written.
    pub(crate) fn refused(&self, keys: &[&str], message: &dyn fmt::Display) -> ConfigError {
        Refusal::new(keys, message).located(&self.tree)
    }

    fn read(
        layers: impl IntoIterator<Item = Node>,
        file: Option<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let mut tree = Node::table(Origin::Default);
        layers.into_iter().for_each(|layer| tree.overlay(layer));
        let sections = Sections::deserialize(&tree)?;
        check_listen(&sections).map_err(|refusal| refusal.located(&tree))?;
        let policies = PolicyTable::parse(&sections).map_err(|refusal| refusal.located(&tree))?;
        let data = sections
            .data
            .clone()
            .or_else(|| sources::user_directory("XDG_DATA_HOME", ".local/share"))
            .ok_or(ConfigError::NoDataDirectory)?;
        let components_directory =
            sections.components_directory.clone().unwrap_or_else(|| data.join("components"));
        Ok(Self { sections, policies, data, components_directory, file, tree })
    }
}

/// Credentials do not cross a network without TLS, unless the operator says that a proxy sees to
/// it.
fn check_listen(sections: &Sections) -> Result<(), Refusal> {
    let server = &sections.server;
    let address = server.listen.0.0;
    if address.ip().is_loopback() || server.plaintext || server.tls.is_some() {
        return Ok(());
    }
    let message = format!(
        "{address} is no loopback address, and credentials would cross the network in the clear; give it a certificate ([server.tls]; `foreshore cert` makes one for development), set server.plaintext = true if a proxy in front has TLS, or listen on 127.0.0.1:{}",
        address.port()
    );
    Err(Refusal::new(&["server", "listen"], &message))
}

#[cfg(test)]
mod tests;
