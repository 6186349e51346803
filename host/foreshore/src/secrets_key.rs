//! Where the key of secrets is: in the environment, in a file that the operator keeps, in a
//! credential of systemd, or in a file of the data directory that the first secret makes.
//!
//! Deliberately absent: the key on the command line or in the configuration file.

use std::path::{Path, PathBuf};

use foreshore_control::KeyPlace;

use crate::cli::exit::Failure;

/// Variables that say which key it is, or where it is. Each may hold several keys: the first
/// seals, all open.
const KEY: &str = "FORESHORE_SECRETS_KEY";
const KEY_FILE: &str = "FORESHORE_SECRETS_KEY_FILE";
/// What systemd's `LoadCredential=` calls it.
const CREDENTIAL: &str = "foreshore-secrets-key";

/// Where the key is.
///
/// # Errors
/// A variable that is not text.
pub(crate) fn place(data: &Path) -> Result<KeyPlace, Failure> {
    if let Some(text) = std::env::var_os(KEY) {
        let text = text.into_string().map_err(|_| Failure::Usage(format!("{KEY} is not UTF-8")))?;
        return Ok(KeyPlace::Given { variable: KEY, text: text.into() });
    }
    if let Some(file) = std::env::var_os(KEY_FILE) {
        return Ok(KeyPlace::Kept(file.into()));
    }
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    if let Some(file) = directory.map(|path| path.join(CREDENTIAL)).filter(|file| file.exists()) {
        return Ok(KeyPlace::Kept(file));
    }
    Ok(KeyPlace::Own(data.join("secrets.key")))
}
