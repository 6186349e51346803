//! Which source provides which component, and whose version is served where several do.
//!
//! A file of the directory goes before an embedded component of the same name and version, and
//! of two files the one whose name sorts last: so the answer depends on what lies there and not
//! on the order in which it came. No I/O, and nothing is loaded here.

use std::collections::BTreeMap;

use foreshore_domain::component::ComponentRef;
use foreshore_domain::id::Digest;

use crate::directory::Stamp;

/// A component, as far as the catalog cares; the real one is `foreshore_runtime::Component`.
pub(crate) trait Provided: Clone {
    fn reference(&self) -> &ComponentRef;
}

impl Provided for foreshore_runtime::Component {
    fn reference(&self) -> &ComponentRef {
        Self::reference(self)
    }
}

pub(crate) struct Catalog<C> {
    embedded: Vec<C>,
    files: BTreeMap<String, File<C>>,
}

/// What is known of one file.
#[derive(Clone)]
pub(crate) struct File<C> {
    /// The state of the file that was last tried; `None` if it is to be tried again.
    pub(crate) stamp: Option<Stamp>,
    /// What it provides: the last version that loaded, even if the file has changed since.
    pub(crate) component: Option<C>,
    /// The bytes last tried, and what they claimed to be, if they were refused.
    pub(crate) refused: Option<(Digest, Option<ComponentRef>)>,
}

impl<C> Default for File<C> {
    fn default() -> Self {
        Self { stamp: None, component: None, refused: None }
    }
}

impl<C> Default for Catalog<C> {
    fn default() -> Self {
        Self { embedded: Vec::new(), files: BTreeMap::new() }
    }
}

impl<C: Provided> Catalog<C> {
    pub(crate) fn add_embedded(&mut self, component: C) {
        self.embedded.push(component);
    }

    pub(crate) fn file(&self, name: &str) -> Option<&File<C>> {
        self.files.get(name)
    }

    pub(crate) fn file_mut(&mut self, name: &str) -> &mut File<C> {
        self.files.entry(name.to_owned()).or_default()
    }

    pub(crate) fn remove_file(&mut self, name: &str) -> Option<File<C>> {
        self.files.remove(name)
    }

    pub(crate) fn file_names(&self) -> impl Iterator<Item = &String> {
        self.files.keys()
    }

    /// The files that provide a component `wanted`, or were refused as one.
    pub(crate) fn files_of(&self, wanted: impl Fn(&ComponentRef) -> bool) -> Vec<String> {
        let concerns = |file: &File<C>| {
            file.component.as_ref().map(Provided::reference).is_some_and(&wanted)
                || file.refused.as_ref().and_then(|(_, r)| r.as_ref()).is_some_and(&wanted)
        };
        self.files.iter().filter(|(_, file)| concerns(file)).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn embedded_of(&self, wanted: impl Fn(&ComponentRef) -> bool) -> Option<&C> {
        self.embedded.iter().find(|component| wanted(component.reference()))
    }

    /// Whose version of this component is served.
    pub(crate) fn winner(&self, reference: &ComponentRef) -> Option<&C> {
        let is_it = |component: &&C| component.reference() == reference;
        let file = self.files.values().rev().filter_map(|f| f.component.as_ref()).find(is_it);
        file.or_else(|| self.embedded.iter().rev().find(is_it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Fake(ComponentRef, &'static str);

    impl Provided for Fake {
        fn reference(&self) -> &ComponentRef {
            &self.0
        }
    }

    fn reference(version: &str) -> ComponentRef {
        ComponentRef::new("files", version.parse().expect("a version")).expect("a name")
    }

    fn catalog() -> Catalog<Fake> {
        let mut catalog = Catalog::default();
        catalog.add_embedded(Fake(reference("1.0.0"), "embedded"));
        catalog
    }

    fn served(catalog: &Catalog<Fake>, version: &str) -> Option<&'static str> {
        catalog.winner(&reference(version)).map(|fake| fake.1)
    }

    #[test]
    fn a_file_goes_before_what_is_embedded_and_gives_way_when_it_is_gone() {
        let mut catalog = catalog();
        assert_eq!(served(&catalog, "1.0.0"), Some("embedded"));
        catalog.file_mut("files.wasm").component = Some(Fake(reference("1.0.0"), "file"));
        assert_eq!(served(&catalog, "1.0.0"), Some("file"));
        catalog.remove_file("files.wasm");
        assert_eq!(served(&catalog, "1.0.0"), Some("embedded"));
        assert_eq!(served(&catalog, "2.0.0"), None);
    }

    #[test]
    fn of_two_files_the_one_that_sorts_last_is_served_whichever_came_first() {
        for order in [["a.wasm", "b.wasm"], ["b.wasm", "a.wasm"]] {
            let mut catalog = catalog();
            for name in order {
                let label = if name == "a.wasm" { "a" } else { "b" };
                catalog.file_mut(name).component = Some(Fake(reference("1.0.0"), label));
            }
            assert_eq!(served(&catalog, "1.0.0"), Some("b"));
        }
    }

    #[test]
    fn a_refused_file_is_found_by_what_it_claimed_to_be() {
        let mut catalog = catalog();
        catalog.file_mut("x.wasm").refused = Some((Digest::of(b"x"), Some(reference("3.0.0"))));
        assert_eq!(catalog.files_of(|r| r.version.major == 3), ["x.wasm"]);
        assert!(catalog.files_of(|r| r.version.major == 1).is_empty());
    }
}
