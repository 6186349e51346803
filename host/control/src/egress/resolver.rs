//! From names to addresses.
//!
//! The system's resolver blocks a thread and cannot be stopped, so only a few look-ups run at a
//! time: a name server that hangs must not use up the threads that other calls read files with.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use foreshore_domain::ports::BoxFuture;
use tokio::sync::Semaphore;

/// Turns a name into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a name, in the order in which to try them.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// The port to connect to where the URL says `port`. Only a script of a test changes it: its
    /// server cannot have port 443. The address is checked in any case.
    fn port(&self, _host: &str, port: u16) -> u16 {
        port
    }
}

/// The machine's own resolver.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    permits: Arc<Semaphore>,
}

impl SystemResolver {
    /// Look-ups that run at a time.
    const CONCURRENCY: usize = 32;
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(Self::CONCURRENCY)) }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let permit =
                Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
            let look_up = move || {
                // The thread keeps the permit even if nobody waits for the answer any more.
                let _permit = permit;
                let found = (host.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            };
            tokio::task::spawn_blocking(look_up).await.map_err(io::Error::other)?
        })
    }
}
