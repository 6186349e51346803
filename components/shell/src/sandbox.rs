//! A temporary directory mounted at `/data`, for tests of this component alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Arguments;
use crate::answer::{Answer, Failure, answer};
use crate::files::{Files, Mode};
use crate::mounts::{Access, Mount, Mounts};

#[derive(Debug)]
pub(crate) struct Sandbox {
    directory: tempfile::TempDir,
    access: Access,
}

/// 2026-05-28 20:26:40 UTC.
fn clock() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_780_000_000)
}

impl Sandbox {
    /// A read-write mount with these files in it.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        Self::mounted(files, Access::ReadWrite)
    }

    /// A read-only mount with these files in it.
    pub(crate) fn read_only(files: &[(&str, &str)]) -> Self {
        Self::mounted(files, Access::ReadOnly)
    }

    fn mounted(files: &[(&str, &str)], access: Access) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("below the directory")).expect("directories");
            fs::write(path, text).expect("a file");
        }
        Self { directory, access }
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).expect("a file")
    }

    fn call(&self, command: &str, stdin: Option<&str>, mode: Mode) -> Result<Answer, Failure> {
        let mount = Mount::new("/data", self.access, self.root().to_owned());
        let arguments = Arguments {
            command: command.to_owned(),
            directory: None,
            stdin: stdin.map(str::to_owned),
            variables: BTreeMap::new(),
        };
        answer(&arguments, Files::new(Mounts::new(vec![mount]), mode), clock)
    }

    pub(crate) fn run(&self, command: &str) -> Result<Answer, Failure> {
        self.call(command, None, Mode::Runs)
    }

    pub(crate) fn look(&self, command: &str) -> Result<Answer, Failure> {
        self.call(command, None, Mode::Looks)
    }

    pub(crate) fn run_with(&self, command: &str, stdin: &str) -> Result<Answer, Failure> {
        self.call(command, Some(stdin), Mode::Runs)
    }
}
