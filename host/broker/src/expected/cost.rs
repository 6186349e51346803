//! What checking an answer against a schema can cost, found before it is checked.
//!
//! A schema of a few lines can keep a validator busy for ever: a reference to itself never ends,
//! and two references to the same double the work at each step. So references are followed here
//! first, all of them, and what comes out is counted. Deliberately absent: schemas that contain
//! themselves, which few model servers can follow either.

use serde_json::Value;

/// Levels of a schema, its references followed.
const DEPTH_MAX: usize = 64;
/// Parts of a schema, its references followed.
const PARTS_MAX: u64 = 20_000;
/// Parts of the schema times parts of the answer: some tenths of a second.
const WORK_MAX: u64 = 20_000_000;
/// A part of an answer takes about this many bytes.
const BYTES_PER_PART: usize = 8;
/// Keywords that name schemas by anything but their place.
const REFUSED: [&str; 6] =
    ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"];

/// The parts of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaCost(u64);

impl SchemaCost {
    /// # Errors
    /// Why the schema is not used.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let mut parts = 0;
        count(schema, schema, 0, &mut parts)?;
        Ok(Self(parts))
    }

    /// An answer of so many bytes can be checked.
    pub(super) fn allows(self, bytes: usize) -> bool {
        let parts = u64::try_from(bytes / BYTES_PER_PART + 1).unwrap_or(u64::MAX);
        self.0.saturating_mul(parts) <= WORK_MAX
    }
}

fn count(part: &Value, root: &Value, depth: usize, parts: &mut u64) -> Result<(), String> {
    *parts += 1;
    if depth > DEPTH_MAX || *parts > PARTS_MAX {
        let said = "the schema of the answer contains itself, nests too deep or is too large; \
                    use fewer and smaller parts";
        return Err(said.to_owned());
    }
    match part {
        Value::Object(members) => {
            for (name, member) in members {
                if member.is_string() && REFUSED.contains(&name.as_str()) {
                    return Err(format!(
                        "the schema of the answer uses {name}; use $ref with \"#/$defs/...\""
                    ));
                }
                match (name.as_str(), member.as_str()) {
                    ("$ref", Some(reference)) => {
                        count(referred(reference, root)?, root, depth + 1, parts)?;
                    }
                    // What is only referred to costs where it is.
                    ("$defs" | "definitions", _) => {}
                    _ => count(member, root, depth + 1, parts)?,
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                count(item, root, depth + 1, parts)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn referred<'a>(reference: &str, root: &'a Value) -> Result<&'a Value, String> {
    let found = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
    found.ok_or_else(|| {
        format!("the schema of the answer refers to \"{reference}\", which is not in it")
    })
}
