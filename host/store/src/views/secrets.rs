//! Secrets: which there are, sealed as their events brought them.
//!
//! ```text
//! NAME -> SecretEntry, as JSON
//! ```
//!
//! Deliberately absent: keys. Nothing here can be opened, and a view that is made again from the
//! journal needs no key either.

use foreshore_domain::conversation::Name;
use foreshore_domain::secret::{SecretName, SecretRemoved, SecretResealed, SecretSet, kind};
use redb::ReadableTable as _;
use serde::{Deserialize, Serialize};

use super::codec::{self, Definition, ReadRows};
use super::{EventRef, Receipt, ViewError, payload, storage};

const TABLE: Definition = Definition::new("secrets_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "secrets" };

/// A secret that has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretEntry {
    /// Which.
    pub name: SecretName,
    /// The value, sealed.
    pub sealed: String,
    /// By whom it was set.
    pub set_by: Name,
    /// When, in milliseconds since 1970.
    pub set_at_unix_ms: u64,
}

/// Whether [`apply`] follows events of a kind.
pub(crate) fn follows(kind: &str) -> bool {
    kind::ALL.iter().any(|known| known.as_str() == kind)
}

/// Follows the events of secrets. Sealing anew changes neither when nor by whom one was set.
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
) -> Result<Receipt, ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let entry = match event.kind {
        kind::SET => {
            let SecretSet { name, sealed, by } = payload(event)?;
            SecretEntry { name, sealed, set_by: by, set_at_unix_ms: event.at_unix_ms }
        }
        kind::REMOVED => {
            let removed: SecretRemoved = payload(event)?;
            rows.remove(removed.name.as_str().as_bytes()).map_err(storage)?;
            return Ok(Receipt::NONE);
        }
        kind::RESEALED => {
            let resealed: SecretResealed = payload(event)?;
            let row = rows.get(resealed.name.as_str().as_bytes()).map_err(storage)?;
            let Some(row) = row else {
                return Err(ViewError::payload(event, &"there is no such secret"));
            };
            SecretEntry { sealed: resealed.sealed, ..parse(row.value())? }
        }
        _ => return Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() }),
    };
    let row = serde_json::to_vec(&entry).map_err(|_| MALFORMED)?;
    rows.insert(entry.name.as_str().as_bytes(), &*row).map_err(storage)?;
    Ok(Receipt::NONE)
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    transaction.delete_table(TABLE).map(drop).map_err(storage)
}

/// Every row, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    codec::dump(transaction, TABLE, None)
}

/// Reads secrets, sealed, as they stood at one moment.
pub struct SecretsReader {
    rows: Option<ReadRows>,
}

impl SecretsReader {
    /// The secrets of the host.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(transaction: &redb::ReadTransaction) -> Result<Self, ViewError> {
        Ok(Self { rows: codec::open(transaction, TABLE)? })
    }

    /// Every secret that has a value, by name.
    ///
    /// # Errors
    /// [`ViewError::Storage`] and [`ViewError::Malformed`].
    pub fn all(&self) -> Result<Vec<SecretEntry>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let range = rows.range::<&[u8]>(..).map_err(storage)?;
        range.map(|row| parse(row.map_err(storage)?.1.value())).collect()
    }
}

fn parse(row: &[u8]) -> Result<SecretEntry, ViewError> {
    serde_json::from_slice(row).map_err(|_| MALFORMED)
}

#[cfg(test)]
mod tests {
    use crate::facts::JournalConfig;
    use crate::journal::Journal;

    use super::*;

    #[tokio::test]
    async fn a_secret_is_there_from_its_setting_to_its_removal() {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        let name = SecretName::parse("api-key").expect("a name");
        let by = |text: &str| Name::parse(text).expect("a name");
        let sealed = |text: &str| text.to_owned();
        let all = || journal.secrets().expect("readable").all().expect("readable");
        let set = SecretSet { name: name.clone(), sealed: sealed("one"), by: by("ann") };
        journal.append(set.event(1)).await.expect("recorded");
        let again = SecretResealed { name: name.clone(), sealed: sealed("two"), by: by("bob") };
        journal.append(again.event(2)).await.expect("recorded");
        let entry = SecretEntry {
            name: name.clone(),
            sealed: sealed("two"),
            set_by: by("ann"),
            set_at_unix_ms: 1,
        };
        assert_eq!(all(), [entry]);
        let removed = SecretRemoved { name, by: by("ann") };
        journal.append(removed.event(3)).await.expect("recorded");
        assert_eq!(all(), []);
        assert!(journal.append(again.event(4)).await.is_err(), "what is gone is not sealed anew");
    }
}
