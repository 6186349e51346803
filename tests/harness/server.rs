//! A server process, stopped when the test is done with it.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::{self, Response};

/// `foreshore serve`, ready to be spoken to.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    directory: tempfile::TempDir,
    data: PathBuf,
}

/// A server that tests of one file share while any of them runs. A static would never be dropped,
/// and its process would outlive the tests.
pub struct Shared(Mutex<Weak<Server>>);

impl Shared {
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The server there is, or a new one. The thread of the test holds it until the test ends.
    pub fn get(&'static self, start: impl FnOnce() -> Server) -> Arc<Server> {
        thread_local! {
            static HELD: RefCell<Vec<(&'static Shared, Arc<Server>)>> =
                const { RefCell::new(Vec::new()) };
        }
        HELD.with(|held| {
            let mut held = held.borrow_mut();
            if let Some((_, server)) = held.iter().find(|(of, _)| std::ptr::eq(*of, self)) {
                return Arc::clone(server);
            }
            let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let server = shared.upgrade().unwrap_or_else(|| {
                let server = Arc::new(start());
                *shared = Arc::downgrade(&server);
                server
            });
            held.push((self, Arc::clone(&server)));
            server
        })
    }
}

impl Server {
    /// Starts a server with a configuration and guests in its components directory, under the
    /// names given: `("rogue", "rogue")`, `("rogue", "rogue@2.0.0")`.
    pub fn start(configuration: &str, guests: &[(&str, &str)]) -> Self {
        Self::start_with(configuration, guests, &[])
    }

    /// The same with further flags.
    pub fn start_with(configuration: &str, guests: &[(&str, &str)], flags: &[&str]) -> Self {
        let data = super::shared_data().join(format!("server-{}", unique()));
        Self::start_in(configuration, guests, flags, data)
    }

    /// The same with a data directory of the caller's.
    pub fn start_at(configuration: &str, data: &Path) -> Self {
        Self::start_in(configuration, &[], &[], data.to_owned())
    }

    fn start_in(
        configuration: &str,
        guests: &[(&str, &str)],
        flags: &[&str],
        data: PathBuf,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let components = directory.path().join("components");
        std::fs::create_dir(&components).expect("made");
        for (guest, name) in guests {
            std::fs::copy(super::guests::guest(guest), components.join(format!("{name}.wasm")))
                .expect("the guest is copied");
        }
        std::fs::write(directory.path().join("foreshore.toml"), configuration).expect("written");
        for (guest, _) in guests {
            super::cache::compile(super::guests::guest(guest));
        }
        super::cache::lend(&data);
        let (child, address) = Self::spawn(&directory, &data, flags);
        Self { child, address, directory, data }
    }

    fn launch(directory: &tempfile::TempDir, data: &Path, flags: &[&str]) -> Child {
        super::command(directory.path())
            .args(["serve", "--listen", "127.0.0.1:0", "--components"])
            .arg(directory.path().join("components"))
            .arg("--data")
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::from(
                std::fs::File::create(directory.path().join("stderr")).expect("made"),
            ))
            .spawn()
            .expect("the server starts")
    }

    fn spawn(directory: &tempfile::TempDir, data: &Path, flags: &[&str]) -> (Child, SocketAddr) {
        let mut child = Self::launch(directory, data, flags);
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        let Some(address) = line.strip_prefix("listening on http://") else {
            let said = std::fs::read_to_string(directory.path().join("stderr")).unwrap_or_default();
            panic!("the server said {line:?} and\n{said}");
        };
        let address = address.parse().expect("an address");
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap_or_default();
        http::show(address, token.trim());
        (child, address)
    }

    /// Ends the process as a power failure would: nothing in it is told.
    pub fn kill(&mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("the server can be waited for");
    }

    /// Starts the server again and kills it after a while, whether it was ready by then or not.
    pub fn restart_and_kill(&mut self, after: Duration) {
        self.child = Self::launch(&self.directory, &self.data, &[]);
        std::thread::sleep(after);
        self.kill();
    }

    /// Starts the server again where the one was that was killed, at another port.
    pub fn restart(&mut self) {
        (self.child, self.address) = Self::spawn(&self.directory, &self.data, &[]);
    }

    /// Changes its configuration, for the next start.
    pub fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        let file = self.directory.path().join("foreshore.toml");
        let text = std::fs::read_to_string(&file).expect("readable");
        std::fs::write(&file, change(text)).expect("written");
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn components_directory(&self) -> PathBuf {
        self.directory.path().join("components")
    }

    pub fn get(&self, path: &str) -> Response {
        http::send(self.address, "GET", path, &[], b"").expect("the server answers")
    }

    /// Sends JSON and reads the whole answer.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        self.send_with(method, path, &[], body)
    }

    /// The same with further headers.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Response {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        http::send(self.address, method, path, &all, body.to_string().as_bytes())
            .expect("the server answers")
    }

    pub fn call(&self, tool: &str, arguments: &Value) -> Response {
        self.call_with(tool, arguments, &[])
    }

    pub fn call_with(&self, tool: &str, arguments: &Value, headers: &[(&str, &str)]) -> Response {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        let path = format!("/v1/tools/{tool}/call");
        http::send(self.address, "POST", &path, &all, arguments.to_string().as_bytes())
            .expect("the server answers")
    }

    pub fn put_component(&self, name: &str, wasm: &[u8]) -> Response {
        let path = format!("/v1/components/{name}");
        http::send(self.address, "PUT", &path, &[("content-type", "application/wasm")], wasm)
            .expect("the server answers")
    }

    /// What the server wrote to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// Resident memory now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the server runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a VmRSS line");
        let kibibytes: u64 =
            line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        kibibytes * 1_024
    }

    /// Sends SIGTERM and waits for the end; the exit code.
    pub fn terminate(mut self, patience: Duration) -> i32 {
        self.signal_term();
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the server can be waited for") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < end, "the server did not stop in {patience:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGTERM and goes on.
    pub fn signal_term(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::TERM)
            .expect("the server runs");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
