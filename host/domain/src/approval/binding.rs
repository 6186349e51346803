//! What an approval is bound to.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::Digest;

/// 128 random bits that no two requests share.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(String);

impl Nonce {
    /// Of random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        use fmt::Write as _;
        Self(bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that an approval is good for: one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// `files.write`.
    pub tool: &'a str,
    /// The component's bytes.
    pub component: Digest,
    /// In the form that [`canonical`] gives.
    pub arguments: &'a str,
    /// The rules and the component's grant.
    pub policy: Digest,
    /// Who asks.
    pub subject: &'a str,
    /// Until when it holds, in milliseconds since 1970.
    pub expires_at_unix_ms: u64,
    /// Makes it differ from every other.
    pub nonce: &'a Nonce,
}

impl Binding<'_> {
    /// SHA-256 of all of it. Each part goes in behind its length, so that no two bindings are
    /// written alike.
    pub fn digest(&self) -> Digest {
        let expires_at = self.expires_at_unix_ms.to_be_bytes();
        let parts: [&[u8]; 7] = [
            self.tool.as_bytes(),
            self.component.as_bytes(),
            self.arguments.as_bytes(),
            self.policy.as_bytes(),
            self.subject.as_bytes(),
            &expires_at,
            self.nonce.0.as_bytes(),
        ];
        let mut bytes = b"foreshore approval v1\0".to_vec();
        for part in parts {
            bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Digest::of(&bytes)
    }
}

/// JSON in one form: members in the order of their names (by UTF-16, as RFC 8785, section 3.2.3,
/// has it), no space, and each text escaped the one shortest way. Numbers are written as they were
/// read: `1` and `1.0` differ.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, to: &mut String) {
    match value {
        Value::Object(members) => {
            to.push('{');
            for (index, (name, value)) in sorted(members).into_iter().enumerate() {
                if index > 0 {
                    to.push(',');
                }
                to.push_str(&Value::from(name.as_str()).to_string());
                to.push(':');
                write(value, to);
            }
            to.push('}');
        }
        Value::Array(values) => {
            to.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    to.push(',');
                }
                write(value, to);
            }
            to.push(']');
        }
        plain => to.push_str(&plain.to_string()),
    }
}

fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    sorted
}

/// The form of arguments that a lasting approval is for: the names of all members, at whatever
/// depth, and the values at the pinned places. Two calls have one shape if both are alike.
pub fn shape(arguments: &Value, pinned: &[String]) -> Digest {
    let mut names = Vec::new();
    gather(arguments, "", &mut names);
    names.sort_unstable();
    names.dedup();
    let pinned: Map<String, Value> = pinned
        .iter()
        .filter_map(|pointer| Some((pointer.clone(), arguments.pointer(pointer)?.clone())))
        .collect();
    let shape = serde_json::json!({ "names": names, "pinned": pinned });
    Digest::of(canonical(&shape).as_bytes())
}

fn gather(value: &Value, at: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                gather(value, &at, names);
                names.push(at);
            }
        }
        Value::Array(values) => {
            let at = format!("{at}/[]");
            values.iter().for_each(|value| gather(value, &at, names));
        }
        _ => {}
    }
}
