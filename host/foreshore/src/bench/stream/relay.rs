//! A relay that passes bytes on and notes when each piece of an answer left it.
//!
//! Threads and blocking sockets: it shares no runtime with what is measured.

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::ticks::Ticks;

type Left = BTreeMap<usize, Instant>;

/// A port before a server. Its threads end with the process.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    left: Arc<Mutex<Left>>,
}

impl Relay {
    pub(super) fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let left = Arc::new(Mutex::new(Left::new()));
        let noted = Arc::clone(&left);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                // A connection that breaks is noticed by whoever waits for its answer.
                let _ = join(client, server, noted);
            }
        });
        Ok(Self { address, left })
    }

    /// Forgets what left so far.
    pub(super) fn forget(&self) {
        lock(&self.left).clear();
    }

    /// When each piece left for the first time since then.
    pub(super) fn left(&self) -> Left {
        lock(&self.left).clone()
    }
}

fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

fn join(client: TcpStream, server: SocketAddr, left: Arc<Mutex<Left>>) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (asks, asked) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || pass(asks, asked, |_| {}));
    std::thread::spawn(move || {
        let mut ticks = Ticks::default();
        pass(server, client, |bytes| {
            let now = Instant::now();
            for tick in ticks.read(bytes) {
                lock(&left).entry(tick).or_insert(now);
            }
        })
    });
    Ok(())
}

/// Passes on what comes until one side ends.
fn pass(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut buffer = [0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        note(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
