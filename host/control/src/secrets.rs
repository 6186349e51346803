//! Secrets: set by people, kept sealed, held in memory while the host runs, and given to nobody.
//!
//! > set -> (sealed, on disk) -> put into requests that a grant covers -> removed
//!
//! What is kept is in the journal: the value sealed, never itself. [`Custody`] holds the values of
//! a running host; the door puts them into requests and looks for them in all that guests send,
//! keep and are given. Deliberately absent: any way to read a value back.
//!
//! The invariants: a value is sealed before it is recorded and recorded before it is used; a host
//! that cannot open what it keeps does not start.

pub(crate) mod custody;
mod fault;
mod scrub;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use foreshore_domain::event::{NewEvent, Tenant};
use foreshore_domain::identity::Principal;
use foreshore_domain::secret::{SecretName, SecretRemoved, SecretResealed, SecretSet};
pub use foreshore_secrets::{KeyPlace, SECRETS_MAX_BYTES};
use foreshore_secrets::{Keyring, VALUE_MIN_BYTES, Zeroizing};
use foreshore_store::secrets::SecretEntry;
use foreshore_store::{Commit, Journal};

pub use self::custody::Custody;
use self::custody::Values;
pub use self::fault::SecretFault;
use crate::clock;

/// How many secrets there may be.
pub const SECRETS_MAX: usize = 256;
/// The most bytes of one value: a private key of 4,096 bits and its certificate.
pub const VALUE_MAX_BYTES: usize = 8 << 10;

/// Everything about secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    journal: Journal,
    place: KeyPlace,
    /// The keys as they were last read or made.
    keyring: Mutex<Option<Arc<Keyring>>>,
    custody: Custody,
    /// One change at a time: what is held is what is on disk.
    changing: tokio::sync::Mutex<()>,
}

impl Secrets {
    /// Reads and opens what there is.
    ///
    /// # Errors
    /// [`SecretFault`]: the journal or the key cannot be read, or does not open what is kept.
    pub fn open(journal: Journal, place: KeyPlace) -> Result<Self, SecretFault> {
        let entries = journal.secrets()?.all()?;
        let keyring = place.read()?;
        let custody = Custody::default();
        if !entries.is_empty() {
            let keyring = keyring.as_ref().ok_or(SecretFault::NoKey { secrets: entries.len() })?;
            custody.hold(opened(keyring, &entries)?)?;
        }
        let keyring = Mutex::new(keyring.map(Arc::new));
        let changing = tokio::sync::Mutex::default();
        Ok(Self(Arc::new(Inner { journal, place, keyring, custody, changing })))
    }

    /// The values, for the door.
    pub fn custody(&self) -> &Custody {
        &self.0.custody
    }

    /// What there is, by name; never a value.
    ///
    /// # Errors
    /// [`SecretFault`]: the journal cannot be read.
    pub fn list(&self) -> Result<Vec<SecretEntry>, SecretFault> {
        Ok(self.0.journal.secrets()?.all()?)
    }

    /// The id of the key that seals; `None` before there is one.
    pub fn key_id(&self) -> Option<String> {
        let keyring = self.0.keyring.lock().unwrap_or_else(PoisonError::into_inner);
        keyring.as_ref().map(|keyring| keyring.id().to_owned())
    }

    /// Gives a secret a value, which counts from when this returns. Whether there was one before.
    ///
    /// # Errors
    /// [`SecretFault`].
    pub async fn set(
        &self,
        name: SecretName,
        value: Zeroizing<Vec<u8>>,
        by: &Principal,
    ) -> Result<bool, SecretFault> {
        check(&value)?;
        let _changing = self.0.changing.lock().await;
        let mut values = self.0.custody.values();
        let was_set = values.insert(name.clone(), Arc::new(value)).is_some();
        if values.len() > SECRETS_MAX {
            return Err(SecretFault::Full { max: SECRETS_MAX });
        }
        // Built before anything is recorded: what cannot be looked for is not taken.
        let scanned = tokio::task::spawn_blocking(move || Custody::scanned(values)).await;
        let held = scanned.map_err(|error| SecretFault::Store { message: error.to_string() })??;
        let keyring = self.keyring()?;
        let value = held.value(&name).ok_or(SecretFault::NotFound { name: name.to_string() })?;
        let sealed = keyring.seal(&place(&name), value)?;
        let set = SecretSet { name, sealed, by: by.name() };
        self.0.journal.append(set.event(clock::now_unix_ms())).await?;
        self.0.custody.replace(held);
        Ok(was_set)
    }

    /// Takes a secret's value away: no request that begins after this returned holds it.
    ///
    /// # Errors
    /// [`SecretFault`].
    pub async fn remove(&self, name: &SecretName, by: &Principal) -> Result<(), SecretFault> {
        let _changing = self.0.changing.lock().await;
        let mut values = self.0.custody.values();
        if values.remove(name).is_none() {
            return Err(SecretFault::NotFound { name: name.to_string() });
        }
        let removed = SecretRemoved { name: name.clone(), by: by.name() };
        self.0.journal.append(removed.event(clock::now_unix_ms())).await?;
        self.0.custody.hold(values)
    }

    /// Seals all values anew: under a new key where the host keeps its own, else under the first
    /// of those the operator gives. The id of the key, and how many were sealed.
    ///
    /// A crash at any point leaves keys that open all there is. What the journal recorded before
    /// stays sealed with the key before, which is then nowhere.
    ///
    /// # Errors
    /// [`SecretFault`].
    pub async fn rekey(&self, by: &Principal) -> Result<(String, usize), SecretFault> {
        let _changing = self.0.changing.lock().await;
        let before = self.keyring()?;
        let keyring = if self.0.place.is_own() {
            let both = before.renewed()?;
            self.0.place.keep(&both)?;
            both
        } else {
            self.0.place.read()?.ok_or(SecretFault::NoKey { secrets: 0 })?
        };
        let at = clock::now_unix_ms();
        let mut events: Vec<NewEvent> = Vec::new();
        for (name, value) in self.0.custody.values() {
            let sealed = keyring.seal(&place(&name), &value)?;
            events.push(SecretResealed { name, sealed, by: by.name() }.event(at));
        }
        let sealed = events.len();
        if !events.is_empty() {
            let commit = Commit { events, conditions: Vec::new(), blobs: Vec::new() };
            self.0.journal.commit(commit).await?;
        }
        let keyring = if self.0.place.is_own() { keyring.newest() } else { keyring };
        self.0.place.keep(&keyring)?;
        let id = keyring.id().to_owned();
        *self.0.keyring.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keyring));
        Ok((id, sealed))
    }

    /// The keys, made where there are none and the host keeps its own.
    fn keyring(&self) -> Result<Arc<Keyring>, SecretFault> {
        let mut known = self.0.keyring.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keyring) = &*known {
            return Ok(Arc::clone(keyring));
        }
        let made = Arc::new(Keyring::generate()?);
        self.0.place.keep(&made)?;
        *known = Some(Arc::clone(&made));
        Ok(made)
    }
}

fn check(value: &[u8]) -> Result<(), SecretFault> {
    let bytes = value.len();
    if bytes < VALUE_MIN_BYTES {
        return Err(SecretFault::Invalid {
            message: format!(
                "a secret has at least {VALUE_MIN_BYTES} bytes: a shorter one cannot be told from what is met by chance"
            ),
        });
    }
    if bytes > VALUE_MAX_BYTES {
        return Err(SecretFault::Invalid {
            message: format!("a secret has at most {VALUE_MAX_BYTES} bytes, this one {bytes}"),
        });
    }
    // One byte again and again is in every table and padding.
    if value.iter().all(|byte| value.first() == Some(byte)) {
        let message = "a secret is more than one character again and again".to_owned();
        return Err(SecretFault::Invalid { message });
    }
    Ok(())
}

/// What a sealed value is of.
fn place(name: &SecretName) -> [&str; 3] {
    ["secrets", Tenant::DEFAULT_NAME, name.as_str()]
}

fn opened(keyring: &Keyring, entries: &[SecretEntry]) -> Result<Values, SecretFault> {
    let open = |entry: &SecretEntry| {
        let value = keyring
            .open(&place(&entry.name), &entry.sealed)
            .map_err(|source| SecretFault::Sealed { name: entry.name.to_string(), source })?;
        Ok((entry.name.clone(), Arc::new(value)))
    };
    entries.iter().map(open).collect()
}
