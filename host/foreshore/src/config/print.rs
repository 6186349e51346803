//! Writes configuration as TOML in which each line says where its value comes from.
//!
//! Values of `env` and `config` and the URL of a webhook may be secrets, so they are shown only on request.

use std::fmt::Write as _;

use foreshore_domain::limits::Limits;

use super::Config;
use super::sections::{LogSection, RuntimeSection, ServerSection};
use super::tree::{Node, Origin, Table, Value};
use crate::wire_up;

/// Whether values that may be secrets are written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secrets {
    Redacted,
    Shown,
}

impl Config {
    /// What was written, without what nobody wrote.
    pub(crate) fn written(&self, secrets: Secrets) -> String {
        document(&self.tree, secrets)
    }

    /// Every setting in force.
    pub(crate) fn effective(&self, secrets: Secrets) -> String {
        let mut tree = self.defaults_tree();
        tree.overlay(self.tree.clone());
        document(&tree, secrets)
    }

    fn defaults_tree(&self) -> Node {
        let mut tree = Node::table(Origin::Default);
        let mut put = |keys: &[&str], value: Value| tree.put(keys, value, &Origin::Default);
        let path = |path: &std::path::Path| Value::Text(path.display().to_string());
        put(&["data"], path(&self.data));
        put(&["components_directory"], path(&self.components_directory));
        let server = ServerSection::default();
        put(&["server", "listen"], Value::Text(server.listen.0.0.to_string()));
        put(&["server", "hosts"], Value::List(Vec::new()));
        put(&["server", "origins"], Value::List(Vec::new()));
        for row in server.limits.table() {
            put(&["server", "limits", row.name], integer(row.value));
        }
        put(&["server", "trusted_proxies"], Value::List(Vec::new()));
        for row in server.rates.table() {
            put(&["server", "rates", row.name], integer(row.value));
        }
        let engine = wire_up::engine(&RuntimeSection::default());
        put(&["runtime", "slots"], integer(engine.slots.into()));
        put(&["runtime", "memory_ceiling_bytes"], integer(engine.memory_ceiling_bytes));
        put(&["runtime", "table_elements_ceiling"], integer(engine.table_elements_ceiling));
        put(&["runtime", "first_slice_ms"], integer(engine.first_slice_ms));
        put(&["runtime", "fuel_yield_interval"], integer(engine.fuel_yield_interval));
        put(&["runtime", "wasm_stack_bytes"], integer(engine.wasm_stack_bytes));
        let loader = wire_up::default_loader();
        put(&["loader", "component_max_bytes"], integer(loader.component_max_bytes));
        put(&["loader", "functions_max"], integer(loader.functions_max));
        put(&["loader", "function_max_bytes"], integer(loader.function_max_bytes));
        put(&["loader", "cache_max_bytes"], integer(loader.cache_max_bytes));
        put(&["loader", "compile_cpu_s"], integer(loader.compile_cpu_s));
        put(&["loader", "compile_wall_s"], integer(loader.compile_wall_s));
        put(&["loader", "compile_memory_max_bytes"], integer(loader.compile_memory_max_bytes));
        let concurrency = wire_up::concurrency(&self.sections.concurrency);
        put(&["concurrency", "calls_max"], count(concurrency.calls_max));
        put(&["concurrency", "queue_max"], count(concurrency.queue_max));
        let wait_ms = u64::try_from(concurrency.queue_wait_max.as_millis()).unwrap_or(u64::MAX);
        put(&["concurrency", "queue_wait_max_ms"], integer(wait_ms));
        let files = super::files::FilesSection::default();
        put(&["files", "mounts"], Value::Text(files.mounts.as_str().to_owned()));
        put(&["files", "host"], Value::Text(files.host.as_str().to_owned()));
        let log = LogSection::default();
        put(&["log", "filter"], Value::Text(log.filter));
        put(&["log", "format"], Value::Text("text".to_owned()));
        for row in Limits::default().table() {
            put(&["limits", row.name], integer(row.value));
        }
        tree
    }
}

fn count(value: usize) -> Value {
    integer(u64::try_from(value).unwrap_or(u64::MAX))
}

/// A number too large for TOML is no setting's default; it would be shown as the largest.
fn integer(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn document(tree: &Node, secrets: Secrets) -> String {
    let mut text = String::new();
    if let Value::Table(table) = &tree.value {
        section(&mut text, table, &mut Vec::new(), secrets);
    }
    text
}

fn section(text: &mut String, table: &Table, keys: &mut Vec<String>, secrets: Secrets) {
    let is_table = |node: &Node| matches!(node.value, Value::Table(_));
    let mut leaves = table.iter().filter(|(_, node)| !is_table(node)).peekable();
    if leaves.peek().is_some() || (table.is_empty() && !keys.is_empty()) {
        if !keys.is_empty() {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{}]", keys.join("."));
        }
        for (name, node) in leaves {
            let value = if secrets == Secrets::Redacted && may_be_secret(keys, name) {
                "\"<redacted>\"".to_owned()
            } else {
                inline(&node.value)
            };
            let line = format!("{} = {value}", key(name));
            let _ = writeln!(text, "{line:<48} # {}", node.origin);
        }
    }
    for (name, node) in table {
        if let Value::Table(table) = &node.value {
            keys.push(key(name));
            section(text, table, keys, secrets);
            keys.pop();
        }
    }
}

fn may_be_secret(keys: &[String], name: &str) -> bool {
    match keys {
        [components, _, kind] => components == "components" && (kind == "env" || kind == "config"),
        [journal] => journal == "journal" && name == "checkpoint_webhook",
        _ => false,
    }
}

/// A key as TOML wants it: bare where it can be.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => toml::Value::Float(*value).to_string(),
        Value::Text(text) => quoted(text),
        // What is a TOML value is shown as that, so that the document reads as it works.
        Value::Untyped(text) => match toml::de::ValueDeserializer::parse(text) {
            Ok(_) => text.trim().to_owned(),
            Err(_) => quoted(text),
        },
        Value::List(list) => {
            let elements: Vec<String> = list.iter().map(|node| inline(&node.value)).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Table(table) => {
            let entries: Vec<String> = table
                .iter()
                .map(|(name, node)| format!("{} = {}", key(name), inline(&node.value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}
