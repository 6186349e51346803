//! A temporary directory mounted at `/data`, for tests of this component alone.

use std::fs;
use std::path::Path;

use crate::mounts::{Access, Mount, Mounts};

#[derive(Debug)]
pub(crate) struct Sandbox {
    directory: tempfile::TempDir,
    pub(crate) mounts: Mounts,
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
        let mount = Mount::new("/data", access, directory.path().to_owned());
        Self { directory, mounts: Mounts::new(vec![mount]) }
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).expect("a file")
    }

    /// The names in the mount, to show that nothing is left behind.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("utf-8"))
            .collect();
        names.sort();
        names
    }
}
