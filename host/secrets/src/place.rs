//! Where the key is: given by the operator, or in a file of the host's own that is made when the
//! first secret is.
//!
//! A key file is its owner's alone. The invariant: a new key is on disk before anything is sealed
//! with it, and an old one goes only when nothing is sealed with it any more.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::seal::{Keyring, KeyringError};

/// The most that a key file holds.
const MAX_BYTES: u64 = 16 << 10;

/// Where the key is.
pub enum KeyPlace {
    /// In memory, for a host whose journal is: gone with the process.
    InMemory,
    /// Given in full: by a variable of this name.
    Given {
        /// The name of the variable.
        variable: &'static str,
        /// What it holds.
        text: Zeroizing<String>,
    },
    /// In a file that the operator keeps; it is read and never written.
    Kept(PathBuf),
    /// In a file of the host's own, made when it is needed.
    Own(PathBuf),
}

/// The key cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// A file.
    #[error("the key of secrets in {path:?} cannot be used: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What it holds is no key.
    #[error("{place}: {source}")]
    Form {
        /// A file or a variable.
        place: String,
        /// Why.
        source: KeyringError,
    },
    /// No key could be made.
    #[error(transparent)]
    Made(#[from] KeyringError),
}

impl KeyPlace {
    /// The keys; `None` where there are none yet.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn read(&self) -> Result<Option<Keyring>, PlaceError> {
        let form = |place: String| move |source| PlaceError::Form { place, source };
        match self {
            Self::InMemory => Ok(None),
            Self::Given { variable, text } => {
                Keyring::parse(text).map(Some).map_err(form((*variable).to_owned()))
            }
            // Who may share such a file is the operator's to say; the world may not.
            Self::Kept(path) => parsed(path, 0o007).map(Some),
            Self::Own(path) => match parsed(path, 0o077) {
                Err(PlaceError::File { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Ok(None)
                }
                read => read.map(Some),
            },
        }
    }

    /// Whether the host itself keeps the key, and so may make another.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::InMemory | Self::Own(_))
    }

    /// Keeps keys where the host itself does; whole or not at all.
    ///
    /// # Errors
    /// [`PlaceError::File`].
    pub fn keep(&self, keyring: &Keyring) -> Result<(), PlaceError> {
        let Self::Own(path) = self else { return Ok(()) };
        write(path, &keyring.text())
            .map_err(|source| PlaceError::File { path: path.clone(), source })
    }
}

fn parsed(path: &Path, refused_mode: u32) -> Result<Keyring, PlaceError> {
    let read = read(path, refused_mode);
    let text = read.map_err(|source| PlaceError::File { path: path.to_owned(), source })?;
    Keyring::parse(&text)
        .map_err(|source| PlaceError::Form { place: path.display().to_string(), source })
}

fn read(path: &Path, refused_mode: u32) -> io::Result<Zeroizing<String>> {
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & refused_mode != 0 {
        let message = format!("its mode is {mode:o}, so others can use it: chmod 600 it");
        return Err(io::Error::other(message));
    }
    // Room for all of it, so that no part of it is left behind where the text grew.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_BYTES).unwrap_or(0)));
    std::io::Read::take(&mut file, MAX_BYTES).read_to_string(&mut text)?;
    if metadata.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    // The name too is on disk before anything depends on the key.
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_hosts_own_is_kept_for_its_owner_alone() {
        let directory = tempfile::tempdir().expect("made");
        let path = directory.path().join("secrets.key");
        let place = KeyPlace::Own(path.clone());
        assert!(place.read().expect("nothing there").is_none());
        let ring = Keyring::generate().expect("a key");
        place.keep(&ring).expect("kept");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(place.read().expect("readable").expect("a key").id(), ring.id());

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
        let error = place.read().map(|_| ()).expect_err("others can use it");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert!(KeyPlace::Kept(path.clone()).read().is_ok(), "a group may share a kept one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        assert!(KeyPlace::Kept(path).read().is_err(), "the world may not");
    }

    #[test]
    fn a_kept_key_that_is_missing_or_no_key_is_an_error() {
        let directory = tempfile::tempdir().expect("made");
        let path = directory.path().join("key");
        assert!(KeyPlace::Kept(path.clone()).read().is_err());
        write(&path, "hunter2").expect("written");
        let error = KeyPlace::Own(path).read().map(|_| ()).expect_err("no key");
        assert!(error.to_string().contains("64 hex digits"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let text = Zeroizing::new("ab".repeat(32));
        let place = KeyPlace::Given { variable: "FORESHORE_SECRETS_KEY", text };
        assert!(place.read().expect("a key").is_some() && !place.is_own());
    }
}
