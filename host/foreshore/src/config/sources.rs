//! Where configuration is written: which file, which variables, which flags; each becomes a tree.
//!
//! Deliberately absent: what the keys mean, except for the few that hold paths, because a path in a
//! file is relative to that file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ConfigError;
use super::tree::{Node, Origin, Table, Value};

/// Names of the file, in the order in which they are looked for in each directory.
const FILE_NAMES: [&str; 3] = ["foreshore.toml", "foreshore.yaml", "foreshore.yml"];

/// `FORESHORE_SECTION__KEY`.
const VARIABLE_PREFIX: &str = "FORESHORE_";

/// Keys without a section that a variable can set, such as `FORESHORE_DATA`. Other variables
/// without `__` belong to other programs (`FORESHORE_COMPONENTS` to the build).
const KEYS_WITHOUT_SECTION: [&str; 2] = ["data", "components_directory"];

/// A limit on what is read into memory: no sane configuration is larger.
const FILE_MAX_BYTES: u64 = 4 << 20;

/// The first configuration file there is: in the working directory, then in the user's
/// configuration directory, then in the machine's.
///
/// # Errors
/// Two files side by side: which of them counts should not be a matter of luck.
pub(crate) fn find_file(working_directory: &Path) -> Result<Option<PathBuf>, ConfigError> {
    let user = user_directory("XDG_CONFIG_HOME", ".config");
    let directories =
        [Some(working_directory.to_owned()), user, Some(PathBuf::from("/etc/foreshore"))];
    for directory in directories.into_iter().flatten() {
        let mut found = FILE_NAMES.iter().map(|name| directory.join(name)).filter(|p| p.is_file());
        if let Some(first) = found.next() {
            return match found.next() {
                None => Ok(Some(first)),
                Some(second) => Err(ConfigError::TwoFiles { first, second }),
            };
        }
    }
    Ok(None)
}

/// `$XDG_.../foreshore`, or the same below the home directory.
pub(crate) fn user_directory(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        // The XDG specification: a relative path is invalid and to be ignored.
        std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
        .map(|directory| directory.join("foreshore"))
}

/// Reads one file.
///
/// # Errors
/// A file that cannot be read, is no TOML or YAML, or is unreasonably large.
pub(crate) fn read_file(path: &Path) -> Result<Node, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let size_bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if size_bytes > FILE_MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned(), max_bytes: FILE_MAX_BYTES });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let mut tree = match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => parse_yaml(&text, path)?,
        _ => parse_toml(&text, path)?,
    };
    if let Some(base) = path.parent() {
        for keys in [
            &["data"][..],
            &["components_directory"],
            &["components", "*", "mounts", "*", "host"],
            &["server", "tls", "*"],
        ] {
            tree.rebase_path(keys, base);
        }
    }
    Ok(tree)
}

pub(crate) fn parse_toml(text: &str, path: &Path) -> Result<Node, ConfigError> {
    let syntax = |error: toml::de::Error| ConfigError::Syntax {
        path: path.to_owned(),
        message: error.to_string().trim_end().to_owned(),
    };
    let document = toml::de::DeTable::parse(text).map_err(syntax)?;
    let file = File { path: path.into(), text };
    let entries = document.into_inner();
    Ok(Node::new(Value::Table(file.toml_table(entries)?), file.origin(0..0)))
}

/// A TOML file on its way into a tree: knows which line an offset is on.
struct File<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl File<'_> {
    fn origin(&self, span: std::ops::Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or_default();
        Origin::File { path: self.path.clone(), line: before.matches('\n').count() + 1 }
    }

    fn toml_table(&self, table: toml::de::DeTable<'_>) -> Result<Table, ConfigError> {
        table
            .into_iter()
            .map(|(key, value)| {
                // The key's line, not the value's: a table made by dotted keys has no line.
                let origin = self.origin(key.span());
                Ok((key.into_inner().into_owned(), self.toml_node(value.into_inner(), origin)?))
            })
            .collect()
    }

    fn toml_node(&self, value: toml::de::DeValue<'_>, origin: Origin) -> Result<Node, ConfigError> {
        use toml::de::DeValue;
        let value = match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(moment) => Value::Text(moment.to_string()),
            DeValue::Integer(number) => {
                let value = i64::from_str_radix(number.as_str(), number.radix());
                Value::Integer(value.map_err(|_| self.number(number.as_str(), origin.clone()))?)
            }
            DeValue::Float(number) => {
                let value = number.as_str().parse();
                Value::Float(value.map_err(|_| self.number(number.as_str(), origin.clone()))?)
            }
            DeValue::Array(list) => Value::List(
                list.into_iter()
                    .map(|element| {
                        let origin = self.origin(element.span());
                        self.toml_node(element.into_inner(), origin)
                    })
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::Table(table) => Value::Table(self.toml_table(table)?),
        };
        Ok(Node::new(value, origin))
    }

    fn number(&self, text: &str, origin: Origin) -> ConfigError {
        ConfigError::Refused {
            origin: Some(origin),
            key: format!("the number {text}"),
            message: "it does not fit in 64 bits".to_owned(),
        }
    }
}

pub(crate) fn parse_yaml(text: &str, path: &Path) -> Result<Node, ConfigError> {
    let origin = Origin::File { path: path.into(), line: 0 };
    if text.trim().is_empty() {
        return Ok(Node::table(origin));
    }
    let document: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| {
        ConfigError::Syntax { path: path.to_owned(), message: error.to_string() }
    })?;
    json_node(document, &origin).ok_or_else(|| ConfigError::Syntax {
        path: path.to_owned(),
        message: "a null or a number out of range".to_owned(),
    })
}

/// `None` for what configuration has no use for: null, and numbers beyond 64 bits.
fn json_node(value: serde_json::Value, origin: &Origin) -> Option<Node> {
    use serde_json::Value as Json;
    let value = match value {
        Json::Null => return None,
        Json::Bool(value) => Value::Boolean(value),
        Json::Number(number) => {
            number.as_i64().map(Value::Integer).or_else(|| number.as_f64().map(Value::Float))?
        }
        Json::String(text) => Value::Text(text),
        Json::Array(list) => Value::List(
            list.into_iter().map(|element| json_node(element, origin)).collect::<Option<_>>()?,
        ),
        Json::Object(entries) => Value::Table(
            entries
                .into_iter()
                .map(|(key, value)| Some((key, json_node(value, origin)?)))
                .collect::<Option<_>>()?,
        ),
    };
    Some(Node::new(value, origin.clone()))
}

/// The variables that configure: `FORESHORE_LIMITS__FUEL=5000` is `limits.fuel`.
///
/// # Errors
/// A variable of ours that is not UTF-8.
pub(crate) fn read_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Option<Node>, ConfigError> {
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter_map(|(name, value)| Some((keys_of(&name)?, name, value)))
        .collect();
    variables.sort();
    let mut tree: Option<Node> = None;
    for (keys, name, value) in variables {
        let value =
            value.into_string().map_err(|_| ConfigError::NotUtf8 { variable: name.clone() })?;
        let origin = Origin::Environment(name.into());
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        tree.get_or_insert_with(|| Node::table(origin.clone())).put(
            &keys,
            Value::Untyped(value),
            &origin,
        );
    }
    Ok(tree)
}

fn keys_of(variable: &str) -> Option<Vec<String>> {
    let name = variable.strip_prefix(VARIABLE_PREFIX)?;
    let mut keys: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
    if let [components, _, env, variables @ ..] = keys.as_mut_slice()
        && components == "components"
        && env == "env"
    {
        // The names of a guest's own variables: here, upper and lower case differ.
        let written = name.split("__").skip(3);
        variables.iter_mut().zip(written).for_each(|(key, written)| written.clone_into(key));
    }
    let ours = match keys.as_slice() {
        [key] => KEYS_WITHOUT_SECTION.contains(&key.as_str()),
        keys => keys.iter().all(|key| !key.is_empty()),
    };
    ours.then_some(keys)
}
