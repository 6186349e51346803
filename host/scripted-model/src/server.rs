//! The server: a port, a thread that serves it, and what a test wants to know of both.
//!
//! It runs on a thread and a runtime of its own, so that it can be started and stopped from
//! anywhere, and stopping it ends all that it was doing, as the end of a process would. Invariant:
//! after [`ScriptedServer::stop`] nothing listens on the port and no connection is open.

mod connection;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub(crate) use self::connection::Line;
use crate::playing::Playing;
use crate::record::{Listener, Log, Recorded};
use crate::script::Script;
use crate::shelf::Shelf;

/// A model server that plays a script. Dropping it stops it.
pub struct ScriptedServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

/// What all connections share.
pub(crate) struct Shared {
    playing: Mutex<Arc<Playing>>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) log: Arc<Log>,
    connections: AtomicU64,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl ScriptedServer {
    /// Serves `script` on `address`; port 0 is any free one.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn start(script: Script, address: SocketAddr) -> io::Result<Self> {
        Self::open(script, address, None)
    }

    /// As [`ScriptedServer::start`]; `record` is told of each request once it has ended, on the
    /// server's thread.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn start_recording(
        script: Script,
        address: SocketAddr,
        record: impl Fn(&Recorded) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::open(script, address, Some(Box::new(record)))
    }

    fn open(script: Script, address: SocketAddr, listener: Option<Listener>) -> io::Result<Self> {
        let port = TcpListener::bind(address)?;
        let shared = Arc::new(Shared {
            shelf: Arc::new(Shelf::new(&script)),
            playing: Mutex::new(Arc::new(Playing::new(script))),
            log: Arc::new(Log::new(listener)),
            connections: AtomicU64::new(0),
        });
        let address = port.local_addr()?;
        let running = Mutex::new(Some(Running::start(port, Arc::clone(&shared))?));
        Ok(Self { shared, address, running })
    }

    /// Where it listens, or did before it was stopped.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:40123`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked since the last [`ScriptedServer::clear`], oldest first; the newest
    /// 20,000 at most. Requests that are being answered are among them.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.all()
    }

    /// How many requests there were since the start; [`ScriptedServer::clear`] leaves it.
    pub fn request_count(&self) -> u64 {
        self.shared.log.count()
    }

    /// How many connections were accepted since the start. A backend that was left alone has
    /// as many as before.
    pub fn connection_count(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many requests are being answered.
    pub fn in_flight(&self) -> usize {
        self.shared.log.open()
    }

    /// The most requests that were being answered at one moment.
    pub fn most_in_flight(&self) -> usize {
        self.shared.log.most_open()
    }

    /// How many requests wait for a load or their turn at a model.
    pub fn waiting(&self) -> u32 {
        self.shared.shelf.waiting()
    }

    /// How often a model was loaded into memory.
    pub fn loads(&self, model: &str) -> u64 {
        self.shared.shelf.loads(model)
    }

    /// Forgets what it was asked.
    pub fn clear(&self) {
        self.shared.log.clear();
    }

    /// Plays another script from the next request on. Models that are in memory stay there.
    pub fn set_script(&self, script: Script) {
        self.shared.shelf.follow(&script);
        *self.shared.lock() = Arc::new(Playing::new(script));
    }

    /// Stops listening and closes all connections: from now on the port refuses.
    pub fn stop(&self) {
        let running = self.lock().take();
        if let Some(running) = running {
            running.end();
            self.shared.shelf.forget_loads();
        }
    }

    /// Listens on the same port again, with no model in memory but those that the script says
    /// are there from the start. A server that runs is stopped first.
    ///
    /// # Errors
    /// The port cannot be listened on: somebody else has it by now.
    pub fn restart(&self) -> io::Result<()> {
        self.stop();
        let port = TcpListener::bind(self.address)?;
        *self.lock() = Some(Running::start(port, Arc::clone(&self.shared))?);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// The script as it is at this moment.
    pub(crate) fn playing(&self) -> Arc<Playing> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Playing>> {
        // A std mutex: nothing awaits while it is held.
        self.playing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn start(port: TcpListener, shared: Arc<Shared>) -> io::Result<Self> {
        port.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let port = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(port)?
        };
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    never = connection::accept_all(port, shared) => match never {},
                }
            });
            // Dropping the runtime drops all tasks, and with them their connections.
        };
        let thread = std::thread::Builder::new().name("scripted-model".to_owned()).spawn(serve)?;
        Ok(Self { stop, thread })
    }

    fn end(self) {
        drop(self.stop);
        // A panic there was of a test's own recorder; whoever stops the server goes on.
        let _ = self.thread.join();
    }
}
