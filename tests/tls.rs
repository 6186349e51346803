//! TLS from the outside: a certificate of one's own, a server that has it, and commands that hold
//! the server to it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness;

struct Server {
    child: Child,
    said: String,
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(listen: &str) -> Self {
        let directory = tempfile::tempdir().expect("made");
        harness::cache::lend(&directory.path().join("data"));
        let made = run(directory.path(), &["cert", "--host", "localhost", "--out", "tls"]);
        assert_eq!(made.code, 0, "{made:?}");
        std::fs::write(directory.path().join("foreshore.toml"), &made.stdout).expect("written");
        let mut child = harness::command(directory.path())
            .args(["serve", "--listen", listen, "--data", "data"])
            .stdout(Stdio::piped())
            .stderr(Stdio::from(
                std::fs::File::create(directory.path().join("stderr")).expect("made"),
            ))
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("piped");
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said).expect("a line");
        Self { child, said, directory }
    }

    fn run(&self, arguments: &[&str]) -> harness::Ran {
        run(self.directory.path(), &[arguments, &["--data", "data"]].concat())
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("data/server.json")
    }

    fn says(&self) -> Value {
        let text = std::fs::read_to_string(self.file()).expect("there");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn run(directory: &Path, arguments: &[&str]) -> harness::Ran {
    harness::foreshore_in(directory, arguments)
}

#[test]
fn commands_speak_tls_to_a_server_that_has_it_and_hold_it_to_its_certificate() {
    let server = Server::start("127.0.0.1:0");
    assert!(server.said.starts_with("listening on https://127.0.0.1:"), "{}", server.said);
    let said = server.says();
    assert_eq!(said["scheme"], "https");
    let who = server.run(&["token", "whoami", "--json"]);
    assert_eq!(who.code, 0, "{who:?}");
    assert!(who.stdout.contains("tokens.manage"), "{who:?}");

    // A certificate that changes under way is followed.
    let first = said["certificate_sha256"].clone();
    let made = run(server.directory.path(), &["cert", "--out", "tls", "--force"]);
    assert_eq!(made.code, 0, "{made:?}");
    let end = Instant::now() + Duration::from_secs(30);
    while server.says()["certificate_sha256"] == first {
        assert!(Instant::now() < end, "the new certificate is taken up");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.run(&["token", "whoami", "--json"]).code, 0);

    // Another certificate than the one in the file is nobody's.
    let mut forged = server.says();
    forged["certificate_sha256"] = first;
    std::fs::write(server.file(), forged.to_string()).expect("written");
    let refused = server.run(&["token", "whoami", "--json"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("in use"), "{refused:?}");
}

#[test]
fn beyond_loopback_a_server_listens_with_a_certificate() {
    let server = Server::start("0.0.0.0:0");
    assert!(server.said.starts_with("listening on https://0.0.0.0:"), "{}", server.said);
    let who = server.run(&["token", "whoami"]);
    assert_eq!(who.code, 0, "{who:?}");

    let elsewhere = tempfile::tempdir().expect("made");
    let plain = run(elsewhere.path(), &["serve", "--listen", "0.0.0.0:0", "--data", "data"]);
    assert_ne!(plain.code, 0);
    assert!(plain.stderr.contains("[server.tls]"), "{plain:?}");
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let directory = tempfile::tempdir().expect("made");
    let made = run(directory.path(), &["cert", "--out", "tls"]);
    assert_eq!(made.code, 0, "{made:?}");
    let again = run(directory.path(), &["cert", "--out", "tls"]);
    assert!(again.code != 0 && again.stderr.contains("--force"), "{again:?}");
    std::fs::write(directory.path().join("foreshore.toml"), &made.stdout).expect("written");
    let fine = run(directory.path(), &["config", "check"]);
    assert_eq!(fine.code, 0, "{fine:?}");
    std::fs::write(directory.path().join("tls/server.crt"), "nonsense").expect("written");
    let refused = run(directory.path(), &["config", "check"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("holds no certificate"), "{refused:?}");
}
