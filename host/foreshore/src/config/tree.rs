//! Configuration before it is understood: a tree in which every value remembers where it came from.
//!
//! Files, environment and flags each become such a tree; later ones are laid over earlier ones, and
//! only the sum is read (in `reader.rs`). So an error can name the file and line, variable or flag
//! that a person has to change, and `config print` can say where each value is from.
//! Deliberately absent: any knowledge of which keys there are.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value was written. Ordered as the layers are: a later one wins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// Nobody wrote it.
    Default,
    /// A line of a file; 0 where the format does not tell lines.
    File { path: Arc<Path>, line: usize },
    /// A variable of the environment.
    Environment(Arc<str>),
    /// A flag of the command line.
    Flag(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// A table's entries, by key.
pub(crate) type Table = BTreeMap<String, Node>;

/// What TOML and YAML have in common, and text whose type its reader decides.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Table),
    /// From the environment: `5000` is a number where a number is wanted and text elsewhere.
    Untyped(String),
}

impl Node {
    pub(crate) fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin }
    }

    pub(crate) fn table(origin: Origin) -> Self {
        Self::new(Value::Table(Table::new()), origin)
    }

    /// The node below the given keys, if it is there.
    pub(crate) fn at<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        keys.into_iter().try_fold(self, |node, key| match &node.value {
            Value::Table(table) => table.get(key),
            _ => None,
        })
    }

    /// Puts a value below the given keys and makes the tables on the way there.
    pub(crate) fn put(&mut self, keys: &[&str], value: Value, origin: &Origin) {
        let Some((first, rest)) = keys.split_first() else {
            *self = Self::new(value, origin.clone());
            return;
        };
        if !matches!(self.value, Value::Table(_)) {
            *self = Self::table(origin.clone());
        }
        if let Value::Table(table) = &mut self.value {
            table
                .entry((*first).to_owned())
                .or_insert_with(|| Self::table(origin.clone()))
                .put(rest, value, origin);
        }
    }

    /// Lays `over` over this tree: tables are joined key by key, everything else is replaced.
    pub(crate) fn overlay(&mut self, over: Self) {
        match (&mut self.value, over.value) {
            (Value::Table(under), Value::Table(over)) => {
                for (key, node) in over {
                    match under.get_mut(&key) {
                        Some(old) => old.overlay(node),
                        None => {
                            under.insert(key, node);
                        }
                    }
                }
            }
            (_, value) => *self = Self::new(value, over.origin),
        }
    }

    /// Makes the relative path below the given keys relative to `base` instead; `*` in `keys` is
    /// every entry of a table or list. Whatever is no text is left for the reader to refuse.
    pub(crate) fn rebase_path(&mut self, keys: &[&str], base: &Path) {
        match (&mut self.value, keys) {
            (Value::Text(text) | Value::Untyped(text), []) => {
                let path = base.join(PathBuf::from(&*text));
                // `join` leaves an absolute path alone. A base that is not UTF-8 cannot be
                // written into text; the path then stays as the operator wrote it.
                if let Some(joined) = path.to_str() {
                    *text = joined.to_owned();
                }
            }
            (Value::List(list), ["*", rest @ ..]) => {
                list.iter_mut().for_each(|node| node.rebase_path(rest, base));
            }
            (Value::Table(table), ["*", rest @ ..]) => {
                table.values_mut().for_each(|node| node.rebase_path(rest, base));
            }
            (Value::Table(table), [key, rest @ ..]) => {
                if let Some(node) = table.get_mut(*key) {
                    node.rebase_path(rest, base);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag() -> Origin {
        Origin::Flag("--x".into())
    }

    fn variable() -> Origin {
        Origin::Environment("FORESHORE_A__B".into())
    }

    #[test]
    fn a_later_layer_replaces_values_and_joins_tables() {
        let mut tree = Node::table(variable());
        tree.put(&["a", "b"], Value::Integer(1), &variable());
        tree.put(&["a", "c"], Value::Integer(2), &variable());
        let mut over = Node::table(flag());
        over.put(&["a", "b"], Value::Integer(3), &flag());
        tree.overlay(over);
        let b = tree.at(["a", "b"]).expect("there");
        assert_eq!((&b.value, &b.origin), (&Value::Integer(3), &flag()));
        assert_eq!(tree.at(["a", "c"]).expect("there").value, Value::Integer(2));
    }

    #[test]
    fn relative_paths_become_relative_to_the_file_and_absolute_ones_stay() {
        let mut tree = Node::table(flag());
        tree.put(&["relative"], Value::Text("notes".into()), &flag());
        tree.put(&["absolute"], Value::Text("/notes".into()), &flag());
        tree.rebase_path(&["*"], Path::new("/etc/foreshore"));
        assert_eq!(
            tree.at(["relative"]).expect("there").value,
            Value::Text("/etc/foreshore/notes".into())
        );
        assert_eq!(tree.at(["absolute"]).expect("there").value, Value::Text("/notes".into()));
    }
}
