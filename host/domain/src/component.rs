//! What a component is called, what it exports, and what it asks for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::id::Digest;

/// Name and version of a component: `files@0.1.0`.
///
/// Two versions of one component can be served side by side; the name alone means the
/// highest version.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentRef {
    /// `[a-z0-9][a-z0-9_-]{0,63}`.
    pub name: Arc<str>,
    /// A semantic version.
    pub version: semver::Version,
}

impl ComponentRef {
    /// # Errors
    /// A name that is not of the form above.
    pub fn new(name: &str, version: semver::Version) -> Result<Self, NameError> {
        check_name("component", name)?;
        Ok(Self { name: name.into(), version })
    }
}

impl fmt::Display for ComponentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl fmt::Debug for ComponentRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a caller names a tool: `files.search`, or `files@0.1.0.search` for one version.
///
/// A tool's name holds no dot, so the last dot parts component and tool.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ToolName {
    /// The component's name.
    pub component: String,
    /// The version asked for; `None` is the highest there is.
    pub version: Option<semver::Version>,
    /// The tool's name within the component.
    pub tool: String,
}

impl FromStr for ToolName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (component, tool) =
            text.rsplit_once('.').ok_or_else(|| NameError::NoDot { text: shortened(text) })?;
        let (component, version) = match component.split_once('@') {
            None => (component, None),
            Some((name, version)) => (
                name,
                Some(version.parse().map_err(|_| NameError::Version { text: shortened(version) })?),
            ),
        };
        check_name("component", component)?;
        check_name("tool", tool)?;
        Ok(Self { component: component.to_owned(), version, tool: tool.to_owned() })
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => write!(f, "{}.{}", self.component, self.tool),
            Some(version) => write!(f, "{}@{version}.{}", self.component, self.tool),
        }
    }
}

/// A name that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not `component.tool`.
    #[error("\"{text}\" does not name a tool: write component.tool, such as files.search")]
    NoDot {
        /// What was given, shortened.
        text: String,
    },
    /// A part with letters a name does not have.
    #[error(
        "\"{text}\" is no {what} name: it takes 1 to 64 of a-z, 0-9, \"-\" and \"_\", first a letter or digit"
    )]
    Form {
        /// `component` or `tool`.
        what: &'static str,
        /// What was given, shortened.
        text: String,
    },
    /// Not a semantic version.
    #[error("\"{text}\" is no version: write one as 1.2.3")]
    Version {
        /// What was given, shortened.
        text: String,
    },
}

/// # Errors
/// A text that is not `[a-z0-9][a-z0-9_-]{0,63}`.
pub fn check_name(what: &'static str, text: &str) -> Result<(), NameError> {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fine = (1..=64).contains(&text.len())
        && text.bytes().next().is_some_and(first)
        && text.bytes().all(|b| first(b) || b == b'-' || b == b'_');
    if fine { Ok(()) } else { Err(NameError::Form { what, text: shortened(text) }) }
}

/// The first 64 characters, control characters escaped: safe for an error or a log line.
fn shortened(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}

/// What a component can be used for; one may be several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ComponentKind {
    /// Exports `foreshore:tool/tool`.
    Tool,
    /// Exports `foreshore:agent/agent`.
    Agent,
    /// Exports `foreshore:resources/resources`.
    Resources,
    /// Exports `foreshore:prompts/prompts`.
    Prompts,
    /// Exports `wasi:cli/run`.
    Command,
    /// Exports `wasi:http/incoming-handler`.
    HttpHandler,
}

impl ComponentKind {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Resources => "resources",
            Self::Prompts => "prompts",
            Self::Command => "command",
            Self::HttpHandler => "http-handler",
        }
    }
}

/// How a tool behaves, as its author states it. Hints: policy does not trust them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolHints {
    /// Changes nothing outside the sandbox.
    pub read_only: bool,
    /// May destroy or overwrite what was there.
    pub destructive: bool,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: bool,
    /// Reaches beyond the operator's machine.
    pub open_world: bool,
}

/// One tool as its component defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolDefinition {
    /// The name within the component.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// For models.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: serde_json::Value,
    /// JSON Schema of the structured result.
    pub output_schema: Option<serde_json::Value>,
    /// How it behaves.
    pub hints: ToolHints,
}

/// One thing a component imports, and whether this host gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `wasi:http/outgoing-handler@0.2.6`.
    pub name: String,
    /// What the host makes of it.
    pub verdict: ImportVerdict,
}

/// What the host makes of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportVerdict {
    /// Linked; what it may reach is decided call by call by the grants.
    Linked,
    /// Linked, and every use of it is denied (sockets).
    LinkedDenied,
    /// Could be linked if the operator granted it; the text is the line that grants it.
    NotGranted {
        /// A line of configuration.
        grant: String,
    },
    /// This host has no such interface.
    NotLinked,
}

/// What can be said of a component without running it.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Name that the component itself states, by the SDK's custom section.
    pub name: Option<String>,
    /// Version that the component itself states.
    pub version: Option<semver::Version>,
    /// What it can be used for.
    pub kinds: Vec<ComponentKind>,
    /// Instance and function exports, by their names.
    pub exports: Vec<String>,
    /// What it asks for.
    pub imports: Vec<Import>,
    /// Core functions with a body, over all modules inside.
    pub functions: u64,
    /// Size of the largest function body in bytes.
    pub largest_function_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_name_parses_with_and_without_a_version() {
        let plain: ToolName = "files.search".parse().expect("valid");
        assert_eq!((plain.component.as_str(), plain.tool.as_str()), ("files", "search"));
        assert_eq!(plain.version, None);
        let pinned: ToolName = "files@0.1.0.search".parse().expect("valid");
        assert_eq!(pinned.version, Some(semver::Version::new(0, 1, 0)));
        assert_eq!(pinned.to_string(), "files@0.1.0.search");
    }

    #[test]
    fn a_malformed_tool_name_says_how_to_write_one() {
        for bad in
            ["files", "", ".", "files.", ".search", "Files.search", "a@x.b", "a/b.c", "a.b\n"]
        {
            assert!(bad.parse::<ToolName>().is_err(), "{bad:?}");
        }
        let error = "files".parse::<ToolName>().expect_err("no dot");
        assert!(error.to_string().contains("files.search"));
    }
}
