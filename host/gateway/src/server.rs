//! Accepting connections, and ending them in order.
//!
//! The caller owns port, clock and stop signal. A place is taken before a connection is accepted,
//! so a flood waits in the kernel. On the stop signal nothing that was accepted is lost: what
//! waits to be accepted is accepted, every answer says that the connection closes, idle
//! connections get a moment to bring one more request, and only then does patience run.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foreshore_control::Control;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::auth::{KeysError, Tokens};
use crate::config::{ConfigError, GatewayConfig, duration, size};
use crate::connection::{Peer, run};
use crate::forwarded::is_shared;
use crate::request::Edge;
use crate::tls::{Acceptor, TlsError};

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended by themselves after the stop signal.
    pub finished: usize,
    /// Connections that were cut off because patience ran out.
    pub cut_off: usize,
}

/// Why the server does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Keys that cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The listening socket is not usable.
    #[error("the listening socket failed: {0}")]
    Listener(#[from] io::Error),
}

/// Serves HTTP/1.1, over TLS if there is a certificate, on `listener` until `shutdown` completes, then drains.
///
/// Dropping the future closes the listener and leaves open connections to end by themselves.
///
/// # Errors
/// A setting that cannot be used, or a listener that is none.
pub async fn serve(
    listener: TcpListener,
    control: Arc<Control>,
    config: GatewayConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<Drained, ServeError> {
    let config = config.checked()?;
    listener.local_addr()?;
    let auth = Tokens::new(&config.auth.issuers, config.auth.own.as_ref())?;
    let tls = config.tls.as_ref();
    let tls = tls.map(|tls| Acceptor::new(Arc::clone(tls), &config.limits)).transpose()?;
    let server = Server::new(Arc::new(Edge::new(control, config, auth, tls)));
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        biased;
        () = &mut shutdown => {}
        never = server.accept_all(&listener) => match never {},
        never = server.keep_certificates() => match never {},
    }
    Ok(server.drain(listener).await)
}

struct Server {
    edge: Arc<Edge>,
    places: Arc<Semaphore>,
    open: Arc<Open>,
}

impl Server {
    fn new(edge: Arc<Edge>) -> Self {
        let places = size(edge.config.limits.connections_max);
        Self { edge, places: Arc::new(Semaphore::new(places)), open: Arc::default() }
    }

    async fn keep_certificates(&self) -> Infallible {
        match &self.edge.config.tls {
            Some(certificates) => Arc::clone(certificates).keep().await,
            None => std::future::pending().await,
        }
    }

    async fn accept_all(&self, listener: &TcpListener) -> Infallible {
        loop {
            let place = self.place().await;
            match listener.accept().await {
                Ok((stream, _)) => self.start(stream, place),
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// A place for one more connection. While there is none, quiet connections are asked to go,
    /// so that clients which only hold connections open do not keep out those which use them.
    async fn place(&self) -> OwnedSemaphorePermit {
        const ASK_AGAIN: Duration = Duration::from_millis(100);
        loop {
            let place = Arc::clone(&self.places).acquire_owned();
            match timeout(ASK_AGAIN, place).await {
                Ok(place) => return place.expect("invariant: the semaphore is never closed"),
                Err(_) => self.open.each(|peer| peer.pulse.make_room()),
            }
        }
    }

    fn start(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
        let (local, remote) = (local.ip().to_canonical(), remote.ip().to_canonical());
        let proxies = &self.edge.config.trusted_proxies;
        let counted = match is_shared(proxies, remote) {
            true => None,
            false => match self.edge.rates.connection(remote) {
                Some(counted) => Some(counted),
                None => {
                    tracing::debug!(address = %remote, "an address has too many connections");
                    return;
                }
            },
        };
        // Answers are written whole, so waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let peer = Peer::new(Arc::clone(&self.edge), local, remote);
        let entry = Open::enter(&self.open, Arc::clone(&peer));
        tokio::spawn(async move {
            run(stream, peer).await;
            drop(counted);
            drop(entry);
            drop(place);
        });
    }

    async fn drain(self, listener: TcpListener) -> Drained {
        let limits = &self.edge.config.limits;
        self.edge.draining.store(true, Ordering::Relaxed);
        self.accept_waiting(&listener).await;
        drop(listener);
        let before = self.open.count();
        let patience = Instant::now() + duration(limits.drain_patience_ms);
        let _ = timeout(duration(limits.drain_linger_ms), self.all_closed()).await;
        self.open.each(|peer| peer.pulse.close_when_quiet());
        let cut_off = match timeout_at(patience, self.all_closed()).await {
            Ok(()) => 0,
            Err(_) => self.open.count(),
        };
        self.open.each(|peer| peer.pulse.close_now());
        self.all_closed().await;
        Drained { finished: before.saturating_sub(cut_off), cut_off }
    }

    /// Accepts what the kernel has already accepted: to those clients the connection is open.
    async fn accept_waiting(&self, listener: &TcpListener) {
        while let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            // One turn of the loop tells whether a connection waits.
            match timeout(Duration::ZERO, listener.accept()).await {
                Ok(Ok((stream, _))) => self.start(stream, place),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    async fn all_closed(&self) {
        let all = u32::try_from(self.edge.config.limits.connections_max.get())
            .expect("invariant: the ceiling of connections is far below");
        // It has all places once nobody else has one. The semaphore is never closed.
        let _ = self.places.acquire_many(all).await;
    }
}

/// Accepting fails for one connection, or because the host is out of descriptors: then trying
/// again at once would only spin.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "no connection can be accepted; trying again");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The connections that are open. Locked when one opens or ends and when all get an order.
#[derive(Default)]
struct Open(Mutex<OpenPeers>);

#[derive(Default)]
struct OpenPeers {
    next: u64,
    peers: HashMap<u64, Arc<Peer>>,
}

impl Open {
    fn enter(open: &Arc<Self>, peer: Arc<Peer>) -> Entry {
        let mut peers = open.lock();
        let number = peers.next;
        peers.next += 1;
        peers.peers.insert(number, peer);
        Entry { open: Arc::clone(open), number }
    }

    fn each(&self, order: impl Fn(&Peer)) {
        self.lock().peers.values().for_each(|peer| order(peer));
    }

    fn count(&self) -> usize {
        self.lock().peers.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenPeers> {
        // A std mutex: nothing awaits while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry among the open ones; dropping it takes it out.
struct Entry {
    open: Arc<Open>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.open.lock().peers.remove(&self.number);
    }
}
