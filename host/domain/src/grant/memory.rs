//! Which namespaces of memory a component may reach.
//!
//! Deliberately absent: the bucket of `wasi:keyvalue`, which is granted as a whole and has no
//! name that a guest or a grant could say. The invariant: **no pattern covers a namespace that
//! starts with `kv.`**, so what one component keeps there is out of reach of every other.

use std::fmt;
use std::str::FromStr;

use super::{Access, Grant};
use crate::component::ComponentRef;
use crate::denial::{Denial, DenialCode};
use crate::id::Digest;
use crate::memory::Namespace;

/// How the namespaces begin that hold the buckets of `wasi:keyvalue`.
const BUCKETS: &str = "kv.";

/// Where a component may remember and recall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryGrant {
    /// The first that names a namespace exactly decides; else the longest prefix that covers it.
    pub namespaces: Vec<NamespaceGrant>,
}

impl MemoryGrant {
    /// What both let do.
    pub fn and(&self, other: &Self) -> Self {
        let mut namespaces: Vec<NamespaceGrant> = Vec::new();
        for own in &self.namespaces {
            for its in &other.namespaces {
                let Some(pattern) = own.pattern.and(&its.pattern) else { continue };
                // Not the access of these two: a closer one of either list may cover it too.
                let (own, its) = (self.access_to(&pattern), other.access_to(&pattern));
                let access = match (own, its) {
                    (Some(Access::ReadWrite), Some(Access::ReadWrite)) => Access::ReadWrite,
                    _ => Access::ReadOnly,
                };
                if namespaces.iter().all(|granted| granted.pattern != pattern) {
                    namespaces.push(NamespaceGrant { pattern, access });
                }
            }
        }
        Self { namespaces }
    }

    /// What may be done wherever a pattern leads.
    fn access_to(&self, pattern: &NamespacePattern) -> Option<Access> {
        let covering =
            self.namespaces.iter().filter(|granted| granted.pattern.contains(pattern)).rev();
        let closest = covering.max_by_key(|granted| granted.pattern.closeness());
        closest.map(|granted| granted.access)
    }
}

/// Namespaces, and what may be done in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceGrant {
    /// Which.
    pub pattern: NamespacePattern,
    /// What may be done there.
    pub access: Access,
}

/// One namespace by its name, or all whose names begin so: `notes`, `team-*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacePattern {
    start: String,
    is_prefix: bool,
}

impl NamespacePattern {
    /// Whether it is this namespace, or one of these.
    pub fn covers(&self, namespace: &Namespace) -> bool {
        let name = namespace.as_str();
        let is_meant =
            if self.is_prefix { name.starts_with(&self.start) } else { name == self.start };
        is_meant && !name.starts_with(BUCKETS)
    }

    /// The namespaces that both cover; `None` if there can be none.
    fn and(&self, other: &Self) -> Option<Self> {
        if self.contains(other) {
            Some(other.clone())
        } else {
            other.contains(self).then(|| self.clone())
        }
    }

    /// Whether it covers all that the other does.
    fn contains(&self, other: &Self) -> bool {
        if self.is_prefix { other.start.starts_with(&self.start) } else { self == other }
    }

    /// How closely it names what it covers; a whole name is closer than any prefix.
    fn closeness(&self) -> (bool, usize) {
        (!self.is_prefix, self.start.len())
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.start, if self.is_prefix { "*" } else { "" })
    }
}

/// A name that cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamespacePatternError {
    /// Not a namespace, nor the start of one with `*` after it.
    #[error(
        "this is no namespace: write its name, such as notes, or the start of names and *, such as team-*"
    )]
    Form,
    /// A bucket of `wasi:keyvalue`.
    #[error(
        "namespaces that start with \"{BUCKETS}\" belong to one component each and are not granted by name: write keyvalue = true for the component's own"
    )]
    Bucket,
}

impl FromStr for NamespacePattern {
    type Err = NamespacePatternError;

    fn from_str(text: &str) -> Result<Self, NamespacePatternError> {
        let (start, is_prefix) = match text.strip_suffix('*') {
            Some(start) => (start, true),
            None => (text, false),
        };
        let is_form = (is_prefix && start.is_empty()) || Namespace::parse(start).is_ok();
        if !is_form {
            return Err(NamespacePatternError::Form);
        }
        if start.starts_with(BUCKETS) {
            return Err(NamespacePatternError::Bucket);
        }
        Ok(Self { start: start.to_owned(), is_prefix })
    }
}

impl Grant {
    /// The denial of a namespace that no grant covers, or that one only lets read; `None` if
    /// the grants allow it.
    pub fn deny_namespace(
        &self,
        component: &ComponentRef,
        namespace: &Namespace,
        access: Access,
    ) -> Option<Denial> {
        let granted = self.memory.iter().flat_map(|memory| &memory.namespaces);
        let closest = granted
            .filter(|granted| granted.pattern.covers(namespace))
            .rev()
            .max_by_key(|granted| granted.pattern.closeness());
        let code = match (closest, access) {
            (None, _) => DenialCode::MemoryNotGranted,
            (Some(granted), Access::ReadWrite) if granted.access == Access::ReadOnly => {
                DenialCode::MemoryReadOnly
            }
            (Some(_), _) => return None,
        };
        // Nothing grants another component's bucket, so no line is named.
        let grant = if namespace.as_str().starts_with(BUCKETS) {
            String::new()
        } else {
            memory_grant(&component.name, namespace.as_str(), access)
        };
        Some(Denial { code, subject: format!("memory {namespace}"), grant })
    }

    /// The denial of a component's own bucket; `None` if it has one.
    pub fn deny_bucket(&self, component: &ComponentRef) -> Option<Denial> {
        (!self.keyvalue).then(|| Denial {
            code: DenialCode::MemoryNotGranted,
            subject: "memory of wasi:keyvalue".to_owned(),
            grant: keyvalue_grant(&component.name),
        })
    }
}

/// The line that grants a namespace.
pub fn memory_grant(component: &str, namespace: &str, access: Access) -> String {
    format!(
        "[components.{component}.memory] namespaces = [{{ name = \"{namespace}\", access = \"{}\" }}]",
        access.as_str()
    )
}

/// The line that grants a component its bucket.
pub fn keyvalue_grant(component: &str) -> String {
    format!("[components.{component}] keyvalue = true")
}

/// The namespace of a component's bucket: one for each name, whatever the version.
pub fn bucket(component: &ComponentRef) -> Namespace {
    let name = &*component.name;
    Namespace::parse(format!("{BUCKETS}{name}")).unwrap_or_else(|_| {
        // Too long for a namespace. No component's name has a dot, so none is like this one.
        let hex = Digest::of(name.as_bytes()).hex();
        Namespace::parse(format!("{BUCKETS}.{}", &hex[..60]))
            .expect("invariant: 64 characters that a namespace may have")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str) -> ComponentRef {
        ComponentRef::new(name, semver::Version::new(0, 1, 0)).expect("valid")
    }

    fn grant(namespaces: &[(&str, Access)]) -> Grant {
        let namespaces = namespaces
            .iter()
            .map(|(name, access)| NamespaceGrant {
                pattern: name.parse().expect("a pattern"),
                access: *access,
            })
            .collect();
        Grant { memory: Some(MemoryGrant { namespaces }), ..Grant::default() }
    }

    fn denied(grant: &Grant, namespace: &str, access: Access) -> Option<DenialCode> {
        let namespace = Namespace::parse(namespace).expect("a namespace");
        grant.deny_namespace(&component("notes"), &namespace, access).map(|denial| denial.code)
    }

    #[test]
    fn what_two_grants_let_do_together_is_what_each_lets_do() {
        let grants = [
            grant(&[("team-*", Access::ReadWrite), ("notes", Access::ReadOnly)]),
            grant(&[("*", Access::ReadOnly), ("team-a*", Access::ReadWrite)]),
            grant(&[("*", Access::ReadWrite), ("team-*", Access::ReadOnly)]),
            grant(&[("team-a", Access::ReadWrite), ("team-ab", Access::ReadOnly)]),
            grant(&[]),
        ];
        let names = ["notes", "note", "team-", "team-a", "team-ab", "team-b", "other"];
        for (one, other) in grants.iter().flat_map(|one| grants.iter().map(move |o| (one, o))) {
            let memory = |grant: &Grant| grant.memory.clone().expect("a grant");
            let both = memory(one).and(&memory(other));
            let both = Grant { memory: Some(both), ..Grant::default() };
            for (name, access) in
                names.iter().flat_map(|name| [(name, Access::ReadOnly), (name, Access::ReadWrite)])
            {
                let allowed = |grant: &Grant| denied(grant, name, access).is_none();
                assert_eq!(
                    allowed(&both),
                    allowed(one) && allowed(other),
                    "{name} {access:?} of {one:?} and {other:?}"
                );
            }
        }
    }

    #[test]
    fn a_name_covers_itself_and_nothing_that_looks_like_it() {
        let grant = grant(&[("notes", Access::ReadWrite), ("team-*", Access::ReadOnly)]);
        assert_eq!(denied(&grant, "notes", Access::ReadWrite), None);
        assert_eq!(denied(&grant, "team-a", Access::ReadOnly), None);
        for other in ["notes2", "note", "notes.", "notes-", "team", "x-notes", "xteam-a"] {
            let found = denied(&grant, other, Access::ReadOnly);
            assert_eq!(found, Some(DenialCode::MemoryNotGranted), "{other}");
        }
        let found = denied(&grant, "team-a", Access::ReadWrite);
        assert_eq!(found, Some(DenialCode::MemoryReadOnly));
    }

    #[test]
    fn the_closest_name_decides_in_whatever_order_they_stand() {
        let rows = [
            ("team-*", Access::ReadWrite),
            ("team-a*", Access::ReadOnly),
            ("team-ab", Access::ReadWrite),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let grant = grant(&order.map(|index| rows[index]));
            assert_eq!(denied(&grant, "team-b", Access::ReadWrite), None);
            let found = denied(&grant, "team-ac", Access::ReadWrite);
            assert_eq!(found, Some(DenialCode::MemoryReadOnly));
            assert_eq!(denied(&grant, "team-ab", Access::ReadWrite), None);
        }
    }

    #[test]
    fn no_pattern_reaches_a_bucket() {
        for text in ["kv.notes", "kv.*"] {
            let error = text.parse::<NamespacePattern>().expect_err("refused");
            assert_eq!(error, NamespacePatternError::Bucket, "{text}");
        }
        let grant = grant(&[
            ("*", Access::ReadWrite),
            ("k*", Access::ReadWrite),
            ("kv*", Access::ReadWrite),
        ]);
        assert_eq!(denied(&grant, "kv-notes", Access::ReadWrite), None);
        let own = bucket(&component("notes"));
        let denial = grant.deny_namespace(&component("notes"), &own, Access::ReadOnly);
        let denial = denial.expect("denied, although it is its own");
        assert_eq!((denial.code, denial.grant.as_str()), (DenialCode::MemoryNotGranted, ""));
    }

    #[test]
    fn each_component_has_a_bucket_of_its_own_even_with_the_longest_name() {
        assert_eq!(bucket(&component("notes")).as_str(), "kv.notes");
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        let buckets = [bucket(&component(&long)), bucket(&component(&longer))];
        assert_ne!(buckets[0], buckets[1]);
        assert!(buckets.iter().all(|bucket| bucket.as_str().starts_with("kv..")), "{buckets:?}");
    }

    #[test]
    fn what_is_no_namespace_is_refused() {
        for text in ["", "Notes", "a*b", "**", "-a", "a b", ".a*"] {
            let error = text.parse::<NamespacePattern>().expect_err("refused");
            assert_eq!(error, NamespacePatternError::Form, "{text:?}");
        }
        for text in ["*", "notes", "team-*", "a.b_c"] {
            let pattern: NamespacePattern = text.parse().expect("a pattern");
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn a_denied_namespace_names_the_line_that_would_grant_it() {
        let notes = Namespace::parse("notes").expect("a namespace");
        let denial =
            Grant::default().deny_namespace(&component("memory"), &notes, Access::ReadWrite);
        assert_eq!(
            denial.expect("denied").grant,
            "[components.memory.memory] namespaces = [{ name = \"notes\", access = \"read-write\" }]"
        );
    }
}
