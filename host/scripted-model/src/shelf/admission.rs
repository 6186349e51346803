//! The way to a model: loaded, and one's turn.
//!
//! Who waits takes a place in the queue; a place, a turn and a load that was begun are given
//! back when they are dropped, which is what a client that goes away does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::keep_alive::KeepAlive;
use super::{Loaded, Shelf, State};
use crate::script::full_name;
use crate::script::settings::OnCancel;

/// Why a model cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full.
    Busy,
    /// The load was stopped because the request that began it went away.
    Stopped,
    /// The model was taken away.
    Gone,
}

/// One's turn at a loaded model.
pub(crate) struct Admitted {
    /// How long the load took that was waited for.
    pub(crate) load: Duration,
    // In this order: the model is left before the next one's turn begins.
    _user: User,
    _turn: OwnedSemaphorePermit,
}

/// One who keeps a model in memory.
struct User {
    shelf: Arc<Shelf>,
    name: String,
    keep_alive: KeepAlive,
}

/// A place in the queue.
struct Place<'a>(&'a Shelf);

/// A load that ends when the request does that began it.
struct Load {
    shelf: Arc<Shelf>,
    name: String,
    number: u64,
    runner: Map<String, Value>,
    ended: bool,
}

/// What is to be done next.
enum Step {
    /// It is loaded, and has one more user.
    Ready,
    /// Somebody loads it, or uses it with other options.
    Wait {
        load: Option<u64>,
    },
    Begin {
        load: Load,
        takes: Duration,
        on_cancel: OnCancel,
    },
}

impl Shelf {
    /// Waits until the model is loaded with these options and it is one's turn.
    ///
    /// # Errors
    /// The queue is full, the load was stopped, or the model is gone.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        name: &str,
        runner: &Map<String, Value>,
        keep_alive: Option<KeepAlive>,
    ) -> Result<Admitted, Refused> {
        let name = full_name(name);
        let (turns, default) = {
            let books = self.lock();
            let entry = books.models.get(&name).ok_or(Refused::Gone)?;
            (Arc::clone(&entry.turns), KeepAlive::For(entry.settings.keep_alive))
        };
        let began = Instant::now();
        let user = self.load(&name, runner, keep_alive.unwrap_or(default)).await?;
        let load = began.elapsed();
        let turn = match Arc::clone(&turns).try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => {
                let place = self.place()?;
                let turn = turns.acquire_owned().await.map_err(|_| Refused::Gone)?;
                drop(place);
                turn
            }
        };
        Ok(Admitted { load, _user: user, _turn: turn })
    }

    async fn load(
        self: &Arc<Self>,
        name: &str,
        runner: &Map<String, Value>,
        keep_alive: KeepAlive,
    ) -> Result<User, Refused> {
        let mut place = None;
        let mut waited_for = None;
        let mut own = None;
        let mut moves = self.moves.subscribe();
        loop {
            moves.mark_unchanged();
            match self.step(name, runner, waited_for)? {
                Step::Ready => {
                    let shelf = Arc::clone(self);
                    return Ok(User { shelf, name: name.to_owned(), keep_alive });
                }
                Step::Wait { load } => {
                    waited_for = load;
                    // Who began a load is no longer in the queue.
                    if place.is_none() && (own.is_none() || own != load) {
                        place = Some(self.place()?);
                    }
                    // The sender is part of the shelf, and lives as long.
                    let _ = moves.changed().await;
                }
                Step::Begin { load, takes, on_cancel } => {
                    own = Some(load.number);
                    if on_cancel == OnCancel::KeepLoad && !takes.is_zero() {
                        tokio::spawn(load.run(takes));
                    } else {
                        load.run(takes).await;
                    }
                }
            }
        }
    }

    fn step(
        self: &Arc<Self>,
        name: &str,
        runner: &Map<String, Value>,
        waited_for: Option<u64>,
    ) -> Result<Step, Refused> {
        let mut books = self.lock();
        let entry = books.models.get_mut(name).filter(|it| it.present).ok_or(Refused::Gone)?;
        entry.expire();
        if waited_for.is_some_and(|load| load <= entry.stopped) {
            return Err(Refused::Stopped);
        }
        match &entry.state {
            State::Loading(number) => return Ok(Step::Wait { load: Some(*number) }),
            State::Loaded(loaded) if loaded.serves(runner) => {
                entry.users += 1;
                return Ok(Step::Ready);
            }
            State::Loaded(_) if entry.users > 0 => return Ok(Step::Wait { load: None }),
            State::Loaded(_) | State::Cold => {}
        }
        entry.loads += 1;
        let number = entry.loads;
        entry.state = State::Loading(number);
        let (takes, on_cancel) = (entry.settings.load, entry.settings.on_cancel);
        let shelf = Arc::clone(self);
        let runner = runner.clone();
        let load = Load { shelf, name: name.to_owned(), number, runner, ended: false };
        Ok(Step::Begin { load, takes, on_cancel })
    }

    fn place(&self) -> Result<Place<'_>, Refused> {
        let most = self.lock().queue;
        let take = |waiting: u32| (waiting < most).then_some(waiting + 1);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(Place(self)),
            Err(_) => Err(Refused::Busy),
        }
    }

    /// How many wait for a load or their turn.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Loaded {
    /// A request that says nothing of an option takes it as it is.
    fn serves(&self, runner: &Map<String, Value>) -> bool {
        runner.iter().all(|(name, value)| self.runner.get(name) == Some(value))
    }
}

impl Load {
    async fn run(mut self, takes: Duration) {
        if !takes.is_zero() {
            sleep(takes).await;
        }
        self.ended = true;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let mut books = self.shelf.lock();
        if let Some(entry) = books.models.get_mut(&self.name)
            && matches!(&entry.state, State::Loading(number) if *number == self.number)
        {
            if self.ended {
                let runner = std::mem::take(&mut self.runner);
                entry.state = State::Loaded(Loaded { runner, until: None });
            } else {
                entry.state = State::Cold;
                entry.stopped = self.number;
            }
        }
        drop(books);
        self.shelf.moved();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.shelf.leave(&self.name, self.keep_alive);
    }
}

impl Shelf {
    fn leave(&self, name: &str, keep_alive: KeepAlive) {
        let mut books = self.lock();
        if let Some(entry) = books.models.get_mut(name) {
            entry.users = entry.users.saturating_sub(1);
            if let State::Loaded(loaded) = &mut entry.state {
                loaded.until = match keep_alive {
                    KeepAlive::Forever => None,
                    KeepAlive::For(time) => Instant::now().checked_add(time),
                };
            }
            entry.expire();
        }
        drop(books);
        self.moved();
    }
}
