//! The models of a server: which there are, which are in memory, and who waits for one.
//!
//! It behaves as Ollama's scheduler does: a cold model is loaded once for all who wait, options
//! of the runner that differ load it again, a model that nobody asks is unloaded in time, and a
//! request beyond the queue is refused. Invariant: the lock is never held across a wait.

mod admission;
pub(crate) mod keep_alive;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub(crate) use self::admission::{Admitted, Refused};
use crate::script::settings::ModelSettings;
use crate::script::{Script, full_name};

/// The models of one server.
pub(crate) struct Shelf {
    books: Mutex<Books>,
    /// Requests that wait for a load or for their turn.
    waiting: AtomicU32,
    /// Moves whenever a load or a turn ends.
    moves: watch::Sender<()>,
}

struct Books {
    /// Whatever is asked for exists.
    any: bool,
    parallel: u32,
    queue: u32,
    models: BTreeMap<String, Entry>,
    blobs: BTreeSet<String>,
}

struct Entry {
    settings: Arc<ModelSettings>,
    /// It need not be pulled any more.
    present: bool,
    modified: String,
    state: State,
    turns: Arc<Semaphore>,
    users: u32,
    loads: u64,
    /// The newest load that was stopped.
    stopped: u64,
}

enum State {
    Cold,
    /// The number of the load.
    Loading(u64),
    Loaded(Loaded),
}

struct Loaded {
    runner: Map<String, Value>,
    /// When nobody uses it. `None`: never.
    until: Option<Instant>,
}

/// A model that is in memory.
pub(crate) struct Running {
    pub(crate) settings: Arc<ModelSettings>,
    pub(crate) context_length: u64,
    /// `None`: it stays.
    pub(crate) stays: Option<Duration>,
}

/// A model that can be asked.
pub(crate) struct Listed {
    pub(crate) settings: Arc<ModelSettings>,
    pub(crate) modified: String,
}

/// Models that a server may come to have.
const MODELS_MAX: usize = 1000;
/// Blobs that are remembered.
const BLOBS_MAX: usize = 10_000;

impl Shelf {
    pub(crate) fn new(script: &Script) -> Self {
        let shelf = Self {
            books: Mutex::new(Books {
                any: true,
                parallel: 1,
                queue: 0,
                models: BTreeMap::new(),
                blobs: BTreeSet::new(),
            }),
            waiting: AtomicU32::new(0),
            moves: watch::Sender::new(()),
        };
        shelf.follow(script);
        shelf
    }

    /// Takes the models of another script. What is in memory and still exists stays there.
    pub(crate) fn follow(&self, script: &Script) {
        let mut books = self.lock();
        let mut before = std::mem::take(&mut books.models);
        books.any = script.models.is_empty();
        books.parallel = script.server.parallel.get();
        books.queue = script.server.queue;
        let unnamed = [ModelSettings::named("scripted")];
        let models = if books.any { &unnamed[..] } else { &script.models[..] };
        for settings in models {
            let entry = Entry::new(settings.clone(), books.parallel);
            let name = full_name(&settings.name);
            let entry = match before.remove(&name) {
                Some(before) => entry.after(before),
                None => entry,
            };
            books.models.insert(name, entry);
        }
        if books.any {
            books.models.append(&mut before);
        }
        drop(books);
        self.moved();
    }

    /// All models leave memory, but those that are there from the start: a server that starts
    /// again knows nothing of before.
    pub(crate) fn forget_loads(&self) {
        for entry in self.lock().models.values_mut() {
            entry.state = State::first(&entry.settings);
            entry.users = 0;
        }
        self.moved();
    }

    /// The model of that name.
    pub(crate) fn find(&self, name: &str) -> Option<Listed> {
        let mut books = self.lock();
        let name = full_name(name);
        if !books.models.contains_key(&name) && books.any {
            books.add(ModelSettings::named(name.strip_suffix(":latest").unwrap_or(&name)));
        }
        let entry = books.models.get(&name).filter(|entry| entry.present)?;
        Some(entry.listed())
    }

    /// All that can be asked, by name.
    pub(crate) fn list(&self) -> Vec<Listed> {
        self.lock().models.values().filter(|it| it.present).map(Entry::listed).collect()
    }

    /// All that is in memory.
    pub(crate) fn running(&self) -> Vec<Running> {
        let mut books = self.lock();
        books.models.values_mut().filter_map(Entry::running).collect()
    }

    /// How often a model was loaded.
    pub(crate) fn loads(&self, name: &str) -> u64 {
        self.lock().models.get(&full_name(name)).map_or(0, |entry| entry.loads)
    }

    /// The model that a pull would bring; `None` when there is none of that name.
    pub(crate) fn pullable(&self, name: &str) -> Option<Arc<ModelSettings>> {
        let books = self.lock();
        match books.models.get(&full_name(name)) {
            Some(entry) => Some(Arc::clone(&entry.settings)),
            None if books.any => Some(Arc::new(ModelSettings::named(name))),
            None => None,
        }
    }

    /// Makes a model one that can be asked. `false`: there are too many.
    pub(crate) fn put(&self, settings: ModelSettings) -> bool {
        self.lock().add(settings)
    }

    /// Takes a model away. `false`: there was none.
    pub(crate) fn remove(&self, name: &str) -> bool {
        let mut books = self.lock();
        match books.models.get_mut(&full_name(name)).filter(|entry| entry.present) {
            Some(entry) => {
                entry.present = false;
                entry.state = State::Cold;
            }
            None => return false,
        }
        // What a script names can be pulled again; what a client made is gone.
        let scripted =
            books.models.get(&full_name(name)).is_some_and(|it| it.settings.pull.is_some());
        if !scripted && !books.any {
            books.models.remove(&full_name(name));
        }
        true
    }

    pub(crate) fn has_blob(&self, digest: &str) -> bool {
        self.lock().blobs.contains(digest)
    }

    /// Remembers that a blob was sent. `false`: there are too many.
    pub(crate) fn add_blob(&self, digest: String) -> bool {
        let mut books = self.lock();
        if books.blobs.len() >= BLOBS_MAX && !books.blobs.contains(&digest) {
            return false;
        }
        books.blobs.insert(digest);
        true
    }

    fn moved(&self) {
        self.moves.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // A std mutex: nothing awaits while it is held.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn add(&mut self, settings: ModelSettings) -> bool {
        let name = full_name(&settings.name);
        if let Some(entry) = self.models.get_mut(&name) {
            entry.present = true;
            entry.modified = crate::clock::now();
            return true;
        }
        if self.models.len() >= MODELS_MAX {
            return false;
        }
        let mut entry = Entry::new(settings, self.parallel);
        entry.present = true;
        self.models.insert(name, entry);
        true
    }
}

impl State {
    /// As the server starts.
    fn first(settings: &ModelSettings) -> Self {
        match settings.loaded {
            true => Self::Loaded(Loaded { runner: Map::new(), until: None }),
            false => Self::Cold,
        }
    }
}

impl Entry {
    fn new(settings: ModelSettings, parallel: u32) -> Self {
        let parallel = usize::try_from(parallel).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            present: settings.pull.is_none(),
            modified: crate::clock::now(),
            state: State::first(&settings),
            turns: Arc::new(Semaphore::new(parallel)),
            users: 0,
            loads: 0,
            stopped: 0,
            settings: Arc::new(settings),
        }
    }

    /// With what the model of that name had in the script before.
    fn after(mut self, before: Self) -> Self {
        if !matches!(before.state, State::Cold) {
            self.state = before.state;
        }
        self.present |= before.present;
        self.users = before.users;
        self.loads = before.loads;
        self.stopped = before.stopped;
        self
    }

    /// Unloads what has stayed long enough.
    fn expire(&mut self) {
        let State::Loaded(loaded) = &self.state else { return };
        if self.users == 0 && loaded.until.is_some_and(|until| until <= Instant::now()) {
            self.state = State::Cold;
        }
    }

    fn listed(&self) -> Listed {
        Listed { settings: Arc::clone(&self.settings), modified: self.modified.clone() }
    }

    fn running(&mut self) -> Option<Running> {
        self.expire();
        let State::Loaded(loaded) = &self.state else { return None };
        let context_length = loaded.runner.get("num_ctx").and_then(Value::as_u64);
        Some(Running {
            settings: Arc::clone(&self.settings),
            context_length: context_length
                .unwrap_or_else(|| u64::from(self.settings.context_length.get())),
            stays: loaded.until.map(|until| until.saturating_duration_since(Instant::now())),
        })
    }
}
