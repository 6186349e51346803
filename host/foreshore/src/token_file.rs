//! `admin.token` in the data directory: the administrator's key that the first start makes, so
//! that nothing is ever open and the commands of whoever owns the directory need no set-up.
//!
//! The file is its owner's alone (mode 0600), and one that others can read is refused, as ssh
//! refuses such a key. Deliberately absent: any way to read it over HTTP.

use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use foreshore_control::Identities;
use foreshore_control::identities::NewCredential;
use foreshore_domain::conversation::Name;
use foreshore_domain::event::Tenant;
use foreshore_domain::identity::{BuiltIn, Principal, Reach};
use foreshore_gateway::OwnIssuer;

use crate::cli::exit::Failure;

/// The most that such a file holds.
const MAX_BYTES: u64 = 8 << 10;
/// Variables that say which credential a command shows.
const TOKEN: &str = "FORESHORE_TOKEN";
const TOKEN_FILE: &str = "FORESHORE_TOKEN_FILE";

/// Where it is.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// The credential that a command shows a server: of the environment, or of the data directory.
///
/// # Errors
/// A file that is named cannot be read, or is not its owner's alone.
pub(crate) fn of_command(data: &Path) -> Result<Option<String>, Failure> {
    if let Some(token) = std::env::var_os(TOKEN) {
        let token = token.into_string();
        return token
            .map(|token| Some(token.trim().to_owned()))
            .map_err(|_| Failure::Usage(format!("{TOKEN} is not UTF-8")));
    }
    if let Some(file) = std::env::var_os(TOKEN_FILE) {
        let file = PathBuf::from(file);
        let token = read(&file).with_context(|| format!("{TOKEN_FILE}: {}", file.display()));
        return token.map(Some).map_err(Failure::Other);
    }
    let file = path(data);
    match read(&file) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Other(anyhow!("{}: {error}", file.display()))),
    }
}

/// The credential in a file.
///
/// # Errors
/// It cannot be read, or is not its owner's alone.
pub(crate) fn read(file: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(file)?;
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        let message = format!("its mode is {mode:o}, so others can use it: chmod 600 it");
        return Err(io::Error::other(message));
    }
    if metadata.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes: no token")));
    }
    Ok(std::fs::read_to_string(file)?.trim().to_owned())
}

/// Sees to it that somebody can administer a host: the first start makes a key.
///
/// # Errors
/// The file cannot be read or written; the journal takes nothing.
pub(crate) async fn ensure(data: &Path, identities: &Identities) -> anyhow::Result<()> {
    let file = path(data);
    let known = match read(&file) {
        Ok(token) => Some(token),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    match known {
        Some(token) if identities.authenticate(&token).is_ok() => return Ok(()),
        Some(_) if identities.has_administrator() => {
            tracing::warn!(file = %file.display(), "the token in this file does not count any more");
            return Ok(());
        }
        None if identities.has_administrator() => return Ok(()),
        _ => {}
    }
    let new = NewCredential {
        name: Name::parse("administrator, made at the first start").context("a name")?,
        tenant: Tenant::DEFAULT,
        roles: vec![BuiltIn::Admin.name()],
        reach: Reach::ALL,
        expires_at_unix_ms: None,
    };
    let (entry, text) = identities.issue(new, &Principal::host()).await?;
    write(&file, text.reveal()).with_context(|| file.display().to_string())?;
    tracing::info!(file = %file.display(), key = %entry.issued.key, "an administrator's token was made");
    Ok(())
}

/// The same for a host that keeps its journal in memory: a token that is there counts, and one
/// is written where none is.
///
/// # Errors
/// As [`ensure`].
pub(crate) async fn lend(data: &Path, identities: &Identities) -> anyhow::Result<()> {
    let file = path(data);
    match read(&file) {
        Ok(token) if identities.adopt(&token) => Ok(()),
        Ok(_) => Err(anyhow!("{} holds no token: remove it", file.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write(&file, identities.own_key()?.reveal()).with_context(|| file.display().to_string())
        }
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

/// The key that this host signs access tokens with, made if there is none.
///
/// # Errors
/// It cannot be read or written, or is not its owner's alone.
pub(crate) fn signing_key(file: &Path) -> anyhow::Result<String> {
    match read(file) {
        Ok(key) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = OwnIssuer::generate()?;
            write(file, key.trim())?;
            Ok(key)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whole or not at all, and nobody else's at any moment.
fn write(file: &Path, token: &str) -> io::Result<()> {
    let part = file.with_extension(format!("{}.part", std::process::id()));
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut written = options.open(&part)?;
    writeln!(written, "{token}")?;
    written.sync_all()?;
    std::fs::rename(&part, file)
}

#[cfg(test)]
mod tests {
    use foreshore_control::store::{Journal, JournalConfig};
    use foreshore_domain::identity::Roles;

    use super::*;

    fn identities() -> Identities {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        Identities::open(journal, Roles::default()).expect("readable")
    }

    #[tokio::test]
    async fn the_first_start_makes_a_token_and_a_later_one_keeps_it() {
        let directory = tempfile::tempdir().expect("made");
        let (data, identities) = (directory.path(), identities());
        ensure(data, &identities).await.expect("made");
        let token = read(&path(data)).expect("written");
        assert!(identities.authenticate(&token).is_ok());
        let mode = std::fs::metadata(path(data)).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        ensure(data, &identities).await.expect("kept");
        assert_eq!(read(&path(data)).expect("there"), token);

        std::fs::remove_file(path(data)).expect("removed");
        ensure(data, &identities).await.expect("nothing to do");
        assert!(!path(data).exists(), "there is an administrator: whoever removed it meant to");
    }

    #[tokio::test]
    async fn a_token_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().expect("made");
        let data = directory.path();
        write(&path(data), "fsk_x").expect("written");
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(path(data), mode).expect("set");
        let failed = ensure(data, &identities()).await.expect_err("others can use it");
        assert!(format!("{failed:#}").contains("chmod 600"), "{failed:#}");
    }

    #[tokio::test]
    async fn a_host_in_memory_takes_the_token_that_is_there() {
        let directory = tempfile::tempdir().expect("made");
        let (data, kept, lent) = (directory.path(), identities(), identities());
        ensure(data, &kept).await.expect("made");
        let token = read(&path(data)).expect("written");
        assert!(lent.authenticate(&token).is_err());
        lend(data, &lent).await.expect("taken");
        assert!(lent.authenticate(&token).is_ok());
    }
}
