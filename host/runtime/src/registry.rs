//! Which components there are, right now.
//!
//! Readers take a [`Snapshot`] and keep it as long as they like; a change makes a new one and
//! swaps it in. No lock is held across a call, and nothing in flight is touched: a call that
//! has found its component keeps it alive.
//!
//! Invariant: between an insert that replaces and the snapshot before it there is no moment
//! without the component.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use foreshore_domain::component::{ComponentRef, ToolName};
use foreshore_domain::id::Digest;
use semver::Version;

use crate::component::{Component, Origin};
use crate::definitions::Tool;
use crate::load_error::LoadError;

/// Refusals kept; past it, the oldest goes.
const REFUSED_MAX: usize = 1_000;

/// All components.
#[derive(Debug, Default)]
pub struct Registry {
    current: ArcSwap<Snapshot>,
    /// Held by writers only, so that each sees the snapshot that it replaces.
    writing: Mutex<()>,
}

/// All components at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    by_name: BTreeMap<Arc<str>, BTreeMap<Version, Component>>,
    refused: Vec<Arc<Refused>>,
    generation: u64,
}

/// A component that was not loaded.
#[derive(Debug)]
pub struct Refused {
    /// Its name, where that much is known.
    pub reference: Option<ComponentRef>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Where it comes from.
    pub origin: Origin,
    /// Why.
    pub error: Arc<LoadError>,
}

/// A tool and the component that has it.
#[derive(Clone, Debug)]
pub struct Found {
    component: Component,
    index: usize,
}

impl Found {
    /// The component; the caller's clone keeps it alive.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The tool.
    pub fn tool(&self) -> &Tool {
        &self.component.tools()[self.index]
    }
}

/// No tool has the name.
#[derive(Clone, Debug)]
pub struct NotFound {
    /// The nearest name there is.
    pub suggestion: Option<String>,
    /// The component is there, and was refused: why.
    pub refused: Option<Arc<Refused>>,
}

impl Registry {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The components of this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a component in place; the one of the same name and version that was there before.
    /// Refusals that it makes obsolete (same name and version, or same file) are forgotten.
    pub fn insert(&self, component: Component) -> Option<Component> {
        self.change(|next| {
            let reference = component.reference().clone();
            next.refused.retain(|refused| {
                refused.reference.as_ref() != Some(&reference)
                    && !same_file(&refused.origin, component.origin())
            });
            let versions = next.by_name.entry(reference.name).or_default();
            versions.insert(reference.version, component)
        })
    }

    /// Keeps the verdict on a component that was not loaded, in place of an earlier one on the
    /// same file or bytes. What was loaded under its name stays.
    pub fn refuse(&self, refused: Refused) {
        self.change(|next| {
            next.refused.retain(|other| {
                other.digest != refused.digest && !same_file(&other.origin, &refused.origin)
            });
            if next.refused.len() == REFUSED_MAX {
                next.refused.remove(0);
            }
            next.refused.push(Arc::new(refused));
        });
    }

    /// Forgets why a file was refused: it is gone, or holds something else now.
    pub fn forget_refusal(&self, origin: &Origin) {
        let is_known = self.snapshot().refused.iter().any(|r| same_file(&r.origin, origin));
        if is_known {
            self.change(|next| next.refused.retain(|r| !same_file(&r.origin, origin)));
        }
    }

    /// Takes out one version, or all; also the refusals of that name.
    pub fn remove(&self, name: &str, version: Option<&Version>) -> Vec<Component> {
        self.change(|next| {
            let concerns = |reference: &ComponentRef| {
                &*reference.name == name && version.is_none_or(|v| *v == reference.version)
            };
            next.refused.retain(|refused| !refused.reference.as_ref().is_some_and(concerns));
            let Some(versions) = next.by_name.get_mut(name) else { return Vec::new() };
            let removed = match version {
                None => std::mem::take(versions).into_values().collect(),
                Some(version) => versions.remove(version).into_iter().collect(),
            };
            if versions.is_empty() {
                next.by_name.remove(name);
            }
            removed
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        // A std mutex: nothing awaits while it is held, and readers never take it.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.current.load());
        let result = change(&mut next);
        next.generation += 1;
        self.current.store(Arc::new(next));
        result
    }
}

fn same_file(one: &Origin, other: &Origin) -> bool {
    matches!((one, other), (Origin::Directory(a), Origin::Directory(b)) if a == b)
}

impl Snapshot {
    /// The tool of this name; without a version, of the highest version of its component.
    ///
    /// # Errors
    /// [`NotFound`], with the nearest name, and with the verdict if the component was refused.
    pub fn find(&self, name: &ToolName) -> Result<Found, NotFound> {
        let component = self.component(&name.component, name.version.as_ref());
        let found = component.and_then(|component| {
            let index = component.tools().iter().position(|tool| *tool.name == *name.tool)?;
            Some(Found { component: component.clone(), index })
        });
        found.ok_or_else(|| NotFound {
            suggestion: self.nearest(name),
            refused: self.refusal(name).cloned(),
        })
    }

    /// The component of this name and version, or of the highest version.
    pub fn component(&self, name: &str, version: Option<&Version>) -> Option<&Component> {
        let versions = self.by_name.get(name)?;
        match version {
            Some(version) => versions.get(version),
            None => versions.last_key_value().map(|(_, component)| component),
        }
    }

    /// All components, by name and version.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        self.by_name.values().flat_map(BTreeMap::values)
    }

    /// The components that were not loaded.
    pub fn refused(&self) -> impl Iterator<Item = &Arc<Refused>> {
        self.refused.iter()
    }

    /// Grows by one with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn refusal(&self, name: &ToolName) -> Option<&Arc<Refused>> {
        self.refused.iter().rev().find(|refused| {
            refused.reference.as_ref().is_some_and(|reference| {
                *reference.name == *name.component
                    && name.version.as_ref().is_none_or(|version| *version == reference.version)
            })
        })
    }

    /// First the component, then the tool: so a wrong name costs a pass over the components and
    /// not over all of their tools.
    fn nearest(&self, name: &ToolName) -> Option<String> {
        let component = match self.component(&name.component, name.version.as_ref()) {
            Some(component) => component,
            None => {
                let names = self.by_name.keys().map(|name| &**name);
                self.component(nearest(&name.component, names)?, None)?
            }
        };
        let tool = nearest(&name.tool, component.tools().iter().map(|tool| &*tool.name))?;
        let version = name.version.clone().filter(|v| *v == component.reference().version);
        let component = component.reference().name.to_string();
        Some(ToolName { component, version, tool: tool.to_owned() }.to_string())
    }
}

/// The name that takes the fewest edits, if those are few for its length.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let edits_max = (wanted.len() / 3).clamp(1, 3);
    names
        .filter(|name| name.len().abs_diff(wanted.len()) <= edits_max)
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(edits, _)| *edits <= edits_max)
        .min()
        .map(|(_, name)| name)
}
