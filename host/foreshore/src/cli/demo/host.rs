//! A host in a process of its own, with a data directory of its own, that can be killed.

use std::fs::DirBuilder;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail};

use crate::client::Client;
use crate::token_file;

/// Where a host keeps what it compiled, in its data directory.
const COMPILED: &str = "compiled";
/// Settings of the environment are no part of the demonstration.
const VARIABLES: &str = "FORESHORE_";

/// The directory of a host: configuration, data, and what its tools may write to.
pub(super) struct Home(PathBuf);

impl Home {
    /// Makes one in an empty directory. What `lender`, a data directory, has compiled is taken
    /// from there.
    pub(super) fn make(directory: &Path, lender: &Path) -> anyhow::Result<Self> {
        let home = Self(directory.to_owned());
        for part in [directory.to_owned(), home.notes(), home.components()] {
            std::fs::create_dir(&part).with_context(|| part.display().to_string())?;
        }
        DirBuilder::new().mode(0o700).create(home.data())?;
        let compiled = home.data().join(COMPILED);
        DirBuilder::new().mode(0o700).create(&compiled)?;
        for entry in std::fs::read_dir(lender.join(COMPILED)).into_iter().flatten().flatten() {
            // One that cannot be taken is compiled.
            let _ = std::fs::copy(entry.path(), compiled.join(entry.file_name()));
        }
        Ok(home)
    }

    pub(super) fn configure(&self, configuration: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.configuration(), configuration)?)
    }

    pub(super) fn notes(&self) -> PathBuf {
        self.0.join("notes")
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn components(&self) -> PathBuf {
        self.0.join("components")
    }

    fn configuration(&self) -> PathBuf {
        self.0.join("foreshore.toml")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Starts the host, and waits until it takes calls.
    ///
    /// # Errors
    /// It does not start; with what it says.
    pub(super) fn serve(&self) -> anyhow::Result<Host> {
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(VARIABLES) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--config"])
            .arg(self.configuration())
            .arg("--data")
            .arg(self.data())
            .arg("--components")
            .arg(self.components())
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        // From here on whatever happens ends the process.
        let mut host = Host { child, address: ([127, 0, 0, 1], 0).into(), token: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let said = std::fs::read_to_string(self.log()).unwrap_or_default();
            bail!("the host does not start: {}", said.trim());
        };
        host.address = address.parse()?;
        host.token =
            token_file::read(&token_file::path(&self.data())).context("the host's token")?;
        Ok(host)
    }
}

/// A host that runs. It ends with its owner.
pub(super) struct Host {
    child: Child,
    address: SocketAddr,
    token: String,
}

impl Host {
    pub(super) fn client(&self) -> Client {
        Client::at(self.address, self.token.clone())
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: nothing in it is told.
    pub(super) fn kill(mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
