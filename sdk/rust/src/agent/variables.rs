//! Named values of the conversation, with versions. A big value lives in a variable and is named
//! in the prompt, so that the prompt stays small.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ask;
use super::bindings::foreshore::variables::variables as wit;
use crate::Error;

pub use wit::Summary;

/// What there is, by name.
pub fn index() -> Vec<Summary> {
    ask(|host| host.variables())
}

/// The latest version of a variable; `None` if there is none of this name.
///
/// # Errors
/// [`Error::Failed`] for a value that is no `T`.
pub fn get<T: DeserializeOwned>(name: &str) -> Result<Option<T>, Error> {
    read(name, None)
}

/// A version of a variable, from 1; `None` if there is none.
///
/// # Errors
/// [`Error::Failed`] for a value that is no `T`.
pub fn version<T: DeserializeOwned>(name: &str, version: u64) -> Result<Option<T>, Error> {
    read(name, Some(version))
}

/// Writes a variable; the version written. A name is 1 to 64 of a-z, 0-9, `-` and `_`, first a
/// letter or digit.
///
/// # Errors
/// [`Error::Invalid`] for another name, [`Error::Exhausted`] over quota.
pub fn set<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<u64, Error> {
    let value = serde_json::to_string(value)?;
    ask(|host| host.set_variable(name, &value))
}

fn read<T: DeserializeOwned>(name: &str, version: Option<u64>) -> Result<Option<T>, Error> {
    match ask(|host| host.variable(name, version)) {
        Ok(value) => serde_json::from_str(&value)
            .map(Some)
            .map_err(|error| Error::failed(format!("the variable \"{name}\": {error}"))),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
