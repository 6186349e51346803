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

use crate::agent::Agent;
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

    /// The components that are agents, by name and version.
    pub fn agents(&self) -> impl Iterator<Item = (&Component, &Agent)> {
        self.components().filter_map(|component| Some((component, component.agent()?)))
    }

    /// The component of this name that is an agent: `assistant` is the highest version that is
    /// one, `assistant@1.2.3` that version.
    pub fn find_agent(&self, name: &str) -> Option<(&Component, &Agent)> {
        let (name, version) = match name.split_once('@') {
            Some((name, version)) => (name, Some(version.parse::<Version>().ok()?)),
            None => (name, None),
        };
        let versions = self.by_name.get(name)?;
        let mut versions = versions.iter().rev();
        versions.find_map(|(has, component)| {
            let is_meant = version.as_ref().is_none_or(|wanted| wanted == has);
            is_meant.then_some(component).and_then(|one| Some((one, one.agent()?)))
        })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;
    use crate::fixture::{Fixture, FixtureTool};
    use crate::loader::Loader;
    use crate::testing::{load, loader};

    struct Bench {
        _place: tempfile::TempDir,
        loader: Loader,
    }

    impl Bench {
        fn new() -> Self {
            let place = tempfile::tempdir().expect("a directory");
            let loader = loader(place.path());
            Self { _place: place, loader }
        }

        async fn component(&self, name: &str, version: &str, tools: &[&str]) -> Component {
            let mut fixture = Fixture::named(name, version);
            fixture.tools = tools.iter().map(|tool| FixtureTool::named(tool)).collect();
            load(&self.loader, &fixture).await.expect("it loads")
        }
    }

    fn name(text: &str) -> ToolName {
        text.parse().expect("a tool name")
    }

    fn refused(text: &str, origin: Origin) -> Refused {
        let (name, version) = text.split_once('@').expect("name@version");
        let version = version.parse().expect("a version");
        Refused {
            reference: Some(ComponentRef::new(name, version).expect("a name")),
            digest: Digest::of(text.as_bytes()),
            origin,
            error: Arc::new(LoadError::Nameless),
        }
    }

    #[tokio::test]
    async fn versions_live_side_by_side_and_the_name_alone_means_the_highest() {
        let bench = Bench::new();
        let registry = Registry::new();
        for version in ["1.9.0", "1.10.0", "1.2.0"] {
            registry.insert(bench.component("words", version, &["count"]).await);
        }
        let snapshot = registry.snapshot();
        let version = |text| {
            snapshot.find(&name(text)).expect("found").component().reference().version.to_string()
        };
        assert_eq!(version("words.count"), "1.10.0");
        assert_eq!(version("words@1.2.0.count"), "1.2.0");
        assert!(snapshot.find(&name("words@3.0.0.count")).is_err());
        assert_eq!(snapshot.components().count(), 3);
        assert_eq!(
            snapshot.find(&name("words.count")).expect("found").tool().definition.name,
            "count"
        );
    }

    #[tokio::test]
    async fn a_snapshot_that_somebody_holds_does_not_change() {
        let bench = Bench::new();
        let registry = Registry::new();
        let first = bench.component("words", "1.0.0", &["count"]).await;
        let digest = first.digest();
        assert!(registry.insert(first).is_none());
        let before = registry.snapshot();
        let replaced = registry.insert(bench.component("words", "1.0.0", &["count", "sort"]).await);
        assert_eq!(replaced.map(|component| component.digest()), Some(digest));
        assert_eq!(registry.remove("words", None).len(), 1);
        assert!(before.find(&name("words.count")).is_ok());
        assert!(before.find(&name("words.sort")).is_err());
        let after = registry.snapshot();
        assert!(after.find(&name("words.count")).is_err());
        assert_eq!(before.generation() + 2, after.generation());
    }

    #[tokio::test]
    async fn one_version_is_removed_and_the_others_stay() {
        let bench = Bench::new();
        let registry = Registry::new();
        for version in ["1.0.0", "2.0.0"] {
            registry.insert(bench.component("words", version, &["count"]).await);
        }
        let removed = registry.remove("words", Some(&Version::new(2, 0, 0)));
        assert_eq!(removed.len(), 1);
        let found = registry.snapshot().find(&name("words.count")).expect("the other");
        assert_eq!(found.component().reference().version, Version::new(1, 0, 0));
        assert!(registry.remove("words", Some(&Version::new(9, 0, 0))).is_empty());
        assert!(registry.remove("nothing", None).is_empty());
    }

    #[tokio::test]
    async fn a_wrong_name_is_answered_with_the_nearest() {
        let bench = Bench::new();
        let registry = Registry::new();
        registry.insert(bench.component("files", "1.0.0", &["search", "read", "write"]).await);
        registry.insert(bench.component("fetch", "1.0.0", &["request"]).await);
        let suggestion =
            |text| registry.snapshot().find(&name(text)).expect_err("wrong").suggestion;
        assert_eq!(suggestion("files.serach").as_deref(), Some("files.search"));
        assert_eq!(suggestion("fiels.read").as_deref(), Some("files.read"));
        assert_eq!(suggestion("file.serch").as_deref(), Some("files.search"));
        assert_eq!(suggestion("files@1.0.0.reed").as_deref(), Some("files@1.0.0.read"));
        assert_eq!(suggestion("files@2.0.0.read").as_deref(), Some("files.read"));
        assert_eq!(suggestion("weather.today"), None);
        assert_eq!(suggestion("files.delete"), None);
    }

    #[tokio::test]
    async fn a_refusal_is_kept_with_its_verdict_until_it_is_obsolete() {
        let bench = Bench::new();
        let registry = Registry::new();
        let file = Origin::Directory("words.wasm".into());
        registry.refuse(refused("words@1.0.0", file.clone()));
        let not_found = registry.snapshot().find(&name("words.count")).expect_err("refused");
        let verdict = not_found.refused.expect("the verdict");
        assert_eq!(verdict.error.code(), "component_nameless");
        let other = registry.snapshot().find(&name("words@2.0.0.count")).expect_err("not there");
        assert!(other.refused.is_none());

        registry.refuse(refused("words@1.0.1", file));
        assert_eq!(registry.snapshot().refused().count(), 1, "one file, one verdict");
        registry.refuse(refused("words@1.0.0", Origin::Api));
        registry.insert(bench.component("words", "1.0.0", &["count"]).await);
        let left: Vec<String> = registry
            .snapshot()
            .refused()
            .filter_map(|refused| Some(refused.reference.as_ref()?.to_string()))
            .collect();
        assert_eq!(left, ["words@1.0.1"]);
        registry.remove("words", None);
        assert_eq!(registry.snapshot().refused().count(), 0);
    }

    #[test]
    fn refusals_are_bounded() {
        let registry = Registry::new();
        for n in 0..REFUSED_MAX + 5 {
            registry.refuse(refused(&format!("c{n}@1.0.0"), Origin::Api));
        }
        let snapshot = registry.snapshot();
        assert_eq!(snapshot.refused().count(), REFUSED_MAX);
        let first = snapshot.refused().next().and_then(|refused| refused.reference.clone());
        assert_eq!(first.map(|reference| reference.to_string()).as_deref(), Some("c5@1.0.0"));
    }

    /// Readers that look for a tool all the time, during a thousand swaps of its component.
    #[tokio::test]
    async fn no_reader_ever_misses_a_tool_that_is_swapped() {
        let bench = Bench::new();
        let registry = Registry::new();
        let versions = [
            bench.component("words", "1.0.0", &["count"]).await,
            bench.component("words", "1.0.0", &["count", "sort"]).await,
        ];
        registry.insert(versions[0].clone());
        let (done, looks) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut generation = 0;
                    while !done.load(Ordering::Acquire) {
                        let snapshot = registry.snapshot();
                        let found = snapshot.find(&name("words.count")).expect("never missing");
                        assert_eq!(found.tool().definition.name, "count");
                        assert!(snapshot.generation() >= generation, "time runs forward");
                        generation = snapshot.generation();
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            // The swaps begin once somebody looks.
            while looks.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            for swap in 0..1_000_usize {
                let replaced = registry.insert(versions[swap % 2].clone());
                assert!(replaced.is_some());
                // Whoever asks after the swap was acknowledged sees the new one.
                let found = registry.snapshot().find(&name("words.count")).expect("there");
                assert_eq!(found.component().digest(), versions[swap % 2].digest());
            }
            done.store(true, Ordering::Release);
        });
        assert_eq!(registry.snapshot().generation(), 1_001);
    }
}
