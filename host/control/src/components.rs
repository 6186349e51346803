//! The components: from sources (embedded, files, the API) to what the registry serves.
//!
//! Every source becomes a component through one constructor, `Loader::load`. What does not load
//! replaces nothing: the version that was served stays, and the refusal is shown beside it. One
//! change is made at a time, under the lock of the catalog; calls take no lock and see each
//! change whole. Invariant: **after `put` or `remove` returned, no new call runs what was
//! there before, and a restart serves the same.**

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use foreshore_domain::call::Blame;
use foreshore_domain::component::ComponentRef;
use foreshore_domain::event::EventKind;
use foreshore_domain::id::Digest;
use foreshore_domain::policy::Policies;
use foreshore_runtime::{
    Component, LoadError, LoadFailure, Loader, Origin, Refused, Registry, Source,
};
use semver::Version;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

use crate::catalog::Catalog;
use crate::directory::{Directory, Stamp, file_of, stem};
use crate::error::{PutError, RemoveError};
use crate::record::{ComponentFacts, Recorder};

/// Which components are loaded at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All there are.
    #[default]
    All,
    /// Those of one name, which is what a single call needs; all, if none has it, so that the
    /// answer can say which name was meant.
    Named(String),
}

pub(crate) struct Components {
    loader: Loader,
    policies: Policies,
    registry: Registry,
    recorder: Recorder,
    directory: Option<Directory>,
    component_max_bytes: u64,
    catalog: Mutex<Catalog<Component>>,
    /// How many load at once; compiling takes a core each.
    loads: Semaphore,
}

impl Components {
    pub(crate) fn new(
        loader: Loader,
        policies: Policies,
        recorder: Recorder,
        directory: Option<Directory>,
        component_max_bytes: u64,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            loader,
            policies,
            registry: Registry::new(),
            recorder,
            directory,
            component_max_bytes,
            catalog: Mutex::default(),
            loads: Semaphore::new(cores),
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    pub(crate) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Loads without serving: for `doctor`.
    pub(crate) async fn load(&self, source: Source) -> Result<Component, LoadFailure> {
        let _slot = self.loads.acquire().await.expect("invariant: this semaphore is not closed");
        self.loader.load(source, &self.policies).await
    }

    /// Loads what is embedded and what lies in the directory.
    ///
    /// # Errors
    /// The directory cannot be read. A component that does not load is no error.
    pub(crate) async fn load_all(
        self: &Arc<Self>,
        embedded: Vec<Source>,
        selection: &Selection,
    ) -> io::Result<()> {
        let mut found: Vec<Found> = embedded.into_iter().map(Found::Embedded).collect();
        for (name, stamp) in self.files().await? {
            match self.read(&name).await {
                Ok(bytes) => {
                    let source = self.file_source(&name, bytes);
                    found.push(Found::File { source, name, stamp });
                }
                Err(error) => self.refuse(unreadable(&error), self.file_origin(&name)).await,
            }
        }
        if let Selection::Named(name) = selection {
            let (named, others): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|found| self.is_called(found.source(), name));
            found = if named.is_empty() { others } else { named };
        }
        let mut loads = JoinSet::new();
        for found in found {
            let components = Arc::clone(self);
            loads.spawn(async move {
                let loaded = components.load(found.source().clone()).await;
                components.take_up(found, loaded).await;
            });
        }
        while let Some(loaded) = loads.join_next().await {
            if let Err(error) = loaded {
                tracing::error!(%error, "loading a component panicked");
            }
        }
        Ok(())
    }

    /// Whether a source would be a component of this name.
    fn is_called(&self, source: &Source, name: &str) -> bool {
        let stem = source.file_stem.as_deref().unwrap_or_default();
        match stem.split_once('@') {
            Some((stem_name, _)) => stem_name == name,
            // Only embedded components are sure to be called as their file is.
            None if source.origin == Origin::Embedded => stem == name,
            None => {
                let stated = self.loader.inspect(&source.bytes).ok().and_then(|i| i.name);
                stated.as_deref().unwrap_or(stem) == name
            }
        }
    }

    /// Looks at the directory and takes up what changed there; `true` if something was left for
    /// another look. `is_complete` says of which files
    /// it is known that nobody writes them any more; others are left until two looks find them
    /// the same.
    pub(crate) async fn rescan(
        &self,
        look: &mut Look,
        is_complete: impl Fn(&str) -> bool,
    ) -> io::Result<bool> {
        let files = self.files().await?;
        let mut left = false;
        for (name, stamp) in &files {
            if !self.is_new(name, stamp).await {
                continue;
            }
            let seen_before = look.files.iter().any(|(n, s)| n == name && s == stamp);
            if !seen_before && !is_complete(name) {
                left = true;
                continue;
            }
            // Gone or unreadable by now: the next look will tell.
            let Ok(bytes) = self.read(name).await else { continue };
            let source = self.file_source(name, bytes);
            let loaded = self.load(source.clone()).await;
            let found = Found::File { source, name: name.clone(), stamp: stamp.clone() };
            left |= !self.take_up(found, loaded).await;
        }
        // A file that is being renamed is gone and not yet settled under its new name, so as
        // long as something is unsettled, what is missing stays. Not forever: somebody may
        // write without end.
        look.unsettled = if left { look.unsettled + 1 } else { 0 };
        if !left || look.unsettled > UNSETTLED_LOOKS_MAX {
            self.drop_missing().await?;
        }
        look.files = files;
        Ok(left)
    }

    async fn is_new(&self, name: &str, stamp: &Stamp) -> bool {
        let catalog = self.catalog.lock().await;
        catalog.file(name).and_then(|file| file.stamp.as_ref()) != Some(stamp)
    }

    /// Puts a load's result in place: served, or shown as refused. `false` if the file has
    /// changed since it was read, perhaps by a `put`: then the result is of no use.
    async fn take_up(&self, found: Found, loaded: Result<Component, LoadFailure>) -> bool {
        let mut catalog = self.catalog.lock().await;
        if let Found::File { name, stamp, .. } = &found
            && self.stamp(name).await.ok().as_ref() != Some(stamp)
        {
            return false;
        }
        match (found, loaded) {
            (Found::Embedded(source), Ok(component)) => {
                catalog.add_embedded(component.clone());
                self.settle(&catalog, component.reference());
                self.record_loaded(&component, &source.origin).await;
            }
            (Found::Embedded(source), Err(failure)) => self.refuse(failure, source.origin).await,
            (Found::File { source, name, stamp }, Ok(component)) => {
                let file = catalog.file_mut(&name);
                file.stamp = Some(stamp);
                file.refused = None;
                let before = file.component.replace(component.clone());
                self.registry.forget_refusal(&source.origin);
                self.settle(&catalog, component.reference());
                self.record_loaded(&component, &source.origin).await;
                if let Some(before) = before
                    && before.reference() != component.reference()
                {
                    self.let_go(&catalog, &before, &source.origin).await;
                }
            }
            (Found::File { source, name, stamp }, Err(failure)) => {
                let file = catalog.file_mut(&name);
                // What failed for want of resources is tried again at the next look.
                let is_final = failure.error.blame() != Blame::Host;
                let again = file.refused.as_ref().is_some_and(|(d, _)| *d == failure.digest);
                file.stamp = is_final.then_some(stamp);
                file.refused = Some((failure.digest, failure.reference.clone()));
                if !again {
                    self.refuse(failure, source.origin).await;
                }
            }
        }
        true
    }

    /// Forgets the files that are no longer there: now, not when the look began.
    async fn drop_missing(&self) -> io::Result<()> {
        let mut catalog = self.catalog.lock().await;
        let files = self.files().await?;
        let is_missing = |name: &&String| !files.iter().any(|(present, _)| present == *name);
        let missing: Vec<String> = catalog.file_names().filter(is_missing).cloned().collect();
        for name in missing {
            self.drop_file(&mut catalog, &name).await;
        }
        Ok(())
    }

    async fn drop_file(&self, catalog: &mut Catalog<Component>, name: &str) {
        let Some(file) = catalog.remove_file(name) else { return };
        let origin = self.file_origin(name);
        self.registry.forget_refusal(&origin);
        if let Some(component) = file.component {
            self.let_go(catalog, &component, &origin).await;
        }
    }

    /// Where a component is kept, if components are kept.
    pub(crate) fn path_of(&self, reference: &ComponentRef) -> Option<std::path::PathBuf> {
        Some(self.directory.as_ref()?.path_of(&file_of(reference)))
    }

    /// Loads a component, writes it into the directory, and serves it.
    ///
    /// # Errors
    /// [`PutError`]; what was served before is served still.
    pub(crate) async fn put(
        &self,
        bytes: Bytes,
        name: Option<&str>,
    ) -> Result<ComponentRef, PutError> {
        let directory = self.directory.as_ref().ok_or(PutError::NoDirectory)?;
        let file_stem = name.map(str::to_owned);
        let source = Source { bytes: bytes.clone(), file_stem, origin: Origin::Api };
        let component = self.load(source).await?;
        let reference = component.reference().clone();
        let file_name = file_of(&reference);

        let mut catalog = self.catalog.lock().await;
        let stamp = blocking({
            let (directory, file_name) = (directory.clone(), file_name.clone());
            move || directory.write(&file_name, &bytes)
        })
        .await
        .map_err(|source| PutError::Write { file: directory.path_of(&file_name), source })?;
        // Another file of the same name and version would come back at the next start.
        for other in catalog.files_of(|r| *r == reference) {
            if other != file_name {
                self.remove_file(directory, &other).await.map_err(|source| PutError::Write {
                    file: directory.path_of(&other),
                    source,
                })?;
                self.registry.forget_refusal(&self.file_origin(&other));
                catalog.remove_file(&other);
            }
        }
        let file = catalog.file_mut(&file_name);
        file.stamp = Some(stamp);
        file.refused = None;
        file.component = Some(component.clone());
        self.registry.forget_refusal(&self.file_origin(&file_name));
        self.settle(&catalog, &reference);
        self.record_loaded(&component, &Origin::Api).await;
        Ok(reference)
    }

    /// Takes a component out of the directory, in one version or in all. What is embedded under
    /// its name is served again.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub(crate) async fn remove(
        &self,
        name: &str,
        version: Option<&Version>,
    ) -> Result<Vec<ComponentRef>, RemoveError> {
        let concerns =
            |r: &ComponentRef| *r.name == *name && version.is_none_or(|v| *v == r.version);
        let mut catalog = self.catalog.lock().await;
        let files = catalog.files_of(concerns);
        let Some(directory) = self.directory.as_ref().filter(|_| !files.is_empty()) else {
            return Err(match catalog.embedded_of(concerns) {
                Some(component) => {
                    RemoveError::Embedded { reference: component.reference().clone() }
                }
                None => RemoveError::NotFound { name: name.to_owned(), version: version.cloned() },
            });
        };
        let mut removed = Vec::new();
        for file_name in files {
            self.remove_file(directory, &file_name).await.map_err(|source| {
                RemoveError::Remove { file: directory.path_of(&file_name), source }
            })?;
            let file = catalog.file(&file_name).cloned().unwrap_or_default();
            let refused = file.refused.and_then(|(_, reference)| reference);
            removed.extend(file.component.map(|c| c.reference().clone()).or(refused));
            self.drop_file(&mut catalog, &file_name).await;
        }
        Ok(removed)
    }

    async fn remove_file(&self, directory: &Directory, name: &str) -> io::Result<()> {
        let (directory, name) = (directory.clone(), name.to_owned());
        blocking(move || directory.remove(&name)).await
    }

    /// Makes the registry serve what the catalog says of this name and version.
    fn settle(&self, catalog: &Catalog<Component>, reference: &ComponentRef) {
        match catalog.winner(reference) {
            Some(component) => {
                self.registry.insert(component.clone());
            }
            None => {
                self.registry.remove(&reference.name, Some(&reference.version));
            }
        }
    }

    /// A source no longer provides a component: another one does, or nobody.
    async fn let_go(&self, catalog: &Catalog<Component>, component: &Component, origin: &Origin) {
        self.settle(catalog, component.reference());
        tracing::info!(component = %component.reference(), "component removed");
        let origin = origin_words(origin);
        let facts = ComponentFacts {
            reference: Some(component.reference()),
            digest: component.digest(),
            origin: &origin,
            refusal: None,
        };
        self.recorder.component(EventKind::ComponentRemoved, facts).await;
    }

    async fn refuse(&self, failure: LoadFailure, origin: Origin) {
        let LoadFailure { reference, digest, error } = failure;
        let origin_words = origin_words(&origin);
        tracing::warn!(origin = %origin_words, code = error.code(), %error, "component refused");
        let error: Arc<LoadError> = Arc::new(error);
        let refused =
            Refused { reference: reference.clone(), digest, origin, error: Arc::clone(&error) };
        self.registry.refuse(refused);
        let facts = ComponentFacts {
            reference: reference.as_ref(),
            digest,
            origin: &origin_words,
            refusal: Some((error.code(), &error.to_string())),
        };
        self.recorder.component(EventKind::ComponentRefused, facts).await;
    }

    async fn record_loaded(&self, component: &Component, origin: &Origin) {
        tracing::info!(component = %component.reference(), digest = %component.digest(), "component loaded");
        let origin = origin_words(origin);
        let facts = ComponentFacts {
            reference: Some(component.reference()),
            digest: component.digest(),
            origin: &origin,
            refusal: None,
        };
        self.recorder.component(EventKind::ComponentLoaded, facts).await;
    }

    async fn files(&self) -> io::Result<Vec<(String, Stamp)>> {
        let Some(directory) = self.directory.clone() else { return Ok(Vec::new()) };
        blocking(move || directory.list()).await
    }

    async fn stamp(&self, name: &str) -> io::Result<Stamp> {
        let Some(directory) = self.directory.clone() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let name = name.to_owned();
        blocking(move || directory.stamp(&name)).await
    }

    async fn read(&self, name: &str) -> io::Result<Bytes> {
        let Some(directory) = self.directory.clone() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let (name, max_bytes) = (name.to_owned(), self.component_max_bytes);
        blocking(move || directory.read(&name, max_bytes)).await
    }

    fn file_source(&self, name: &str, bytes: Bytes) -> Source {
        let (file_stem, origin) = (Some(stem(name).to_owned()), self.file_origin(name));
        Source { bytes, file_stem, origin }
    }

    fn file_origin(&self, name: &str) -> Origin {
        let path = self.directory.as_ref().map_or_else(|| name.into(), |d| d.path_of(name));
        Origin::Directory(path)
    }
}

/// What the watcher remembers from one look at the directory to the next.
#[derive(Default)]
pub(crate) struct Look {
    files: Vec<(String, Stamp)>,
    /// How many looks in a row left something for another one.
    unsettled: u32,
}

/// Two seconds, at ten looks a second.
const UNSETTLED_LOOKS_MAX: u32 = 20;

/// A source that was found.
enum Found {
    Embedded(Source),
    File { name: String, stamp: Stamp, source: Source },
}

impl Found {
    fn source(&self) -> &Source {
        match self {
            Self::Embedded(source) | Self::File { source, .. } => source,
        }
    }
}

fn unreadable(error: &io::Error) -> LoadFailure {
    let message = format!("its file cannot be read: {error}");
    let error = LoadError::Host { message };
    LoadFailure { reference: None, digest: Digest::of(&[]), error }
}

fn origin_words(origin: &Origin) -> String {
    match origin {
        Origin::Embedded => "embedded".to_owned(),
        Origin::Api => "api".to_owned(),
        Origin::Directory(path) => path.display().to_string(),
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
