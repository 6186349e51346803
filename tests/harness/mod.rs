//! What the tests stand on: the binary, the guests it runs, a server process, an HTTP client.

pub mod cache;
pub mod events;
pub mod guests;
pub mod http;
pub mod server;
pub mod web;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The binary under test: the one built with the tests, or that in `FORESHORE_BINARY`.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = || env!("CARGO_BIN_EXE_foreshore").into();
        std::env::var_os("FORESHORE_BINARY").unwrap_or_else(built).into()
    })
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).expect("host/foreshore lies two below the root").to_owned()
}

/// A data directory that all tests share, so that each component is compiled once.
pub fn shared_data() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("foreshore-data");
    std::fs::create_dir_all(&directory).expect("a temporary directory can be made");
    directory
}

/// What a run of the binary gave.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}\n{}", self.stdout, self.stderr))
    }
}

/// Runs the binary to its end, with nothing of this machine's configuration.
pub fn foreshore(arguments: &[&str]) -> Ran {
    let empty = tempfile::tempdir().expect("a temporary directory can be made");
    foreshore_in(empty.path(), arguments)
}

/// The same in a directory of the caller's.
pub fn foreshore_in(directory: &Path, arguments: &[&str]) -> Ran {
    let output = command(directory).args(arguments).output().expect("the binary starts");
    ran(output)
}

/// A command with a clean environment.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", shared_data())
        .env("FORESHORE_DATA", shared_data())
        .stdin(Stdio::null());
    command
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
