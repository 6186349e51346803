//! Credentials: the API keys and the lines of refresh tokens that there are.
//!
//! ```text
//! k key    -> KeyEntry, as JSON
//! f family -> FamilyEntry, as JSON
//! ```
//!
//! What ended [`KEPT_MS`] ago goes when the next credential is made. Deliberately absent: clocks
//! (a credential that is over is still listed), and who may use one.

use foreshore_domain::conversation::Name;
use foreshore_domain::id::KeyId;
use foreshore_domain::identity::{
    FamilyRevoked, FamilyRotated, FamilyStarted, KeyIssued, KeyRevoked, RevokedBecause, SecretHash,
    kind,
};
use redb::ReadableTable as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::{self, Definition, ReadRows, Readable};
use super::{EventRef, Receipt, ViewError, payload, storage};

/// How long a credential that ended is listed: 30 days, in milliseconds.
pub const KEPT_MS: u64 = 30 * 86_400_000;
/// How many refresh tokens of a line are known after they were replaced.
pub const REPLACED_KEPT: usize = 64;

const TABLE: Definition = Definition::new("credentials_v1");
const MALFORMED: ViewError = ViewError::Malformed { what: "credentials" };

/// An API key, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// Whose.
    pub tenant: String,
    /// As it was made.
    pub issued: KeyIssued,
    /// When, in milliseconds since 1970.
    pub issued_at_unix_ms: u64,
    /// That it counts no longer.
    pub revoked: Option<Revocation>,
}

/// A line of refresh tokens, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyEntry {
    /// Whose.
    pub tenant: String,
    /// As it began, but for the digest and the end, which are those of the newest token.
    pub started: FamilyStarted,
    /// When, in milliseconds since 1970.
    pub started_at_unix_ms: u64,
    /// How many tokens were replaced.
    pub rotations: u64,
    /// Digests of those, the newest [`REPLACED_KEPT`], the newest last: whoever shows one of them
    /// shows that there are two who have it.
    pub replaced: Vec<SecretHash>,
    /// That it counts no longer.
    pub revoked: Option<Revocation>,
}

/// How a credential came to its end before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Why.
    pub because: RevokedBecause,
    /// By whom.
    pub by: Name,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

impl KeyEntry {
    fn ended_at(&self) -> Option<u64> {
        ended_at(self.revoked.as_ref(), self.issued.expires_at_unix_ms)
    }
}

impl FamilyEntry {
    fn ended_at(&self) -> Option<u64> {
        ended_at(self.revoked.as_ref(), Some(self.started.expires_at_unix_ms))
    }
}

fn ended_at(revoked: Option<&Revocation>, expires: Option<u64>) -> Option<u64> {
    let revoked = revoked.map(|revoked| revoked.at_unix_ms);
    revoked.into_iter().chain(expires).min()
}

/// Whether [`apply`] follows events of a kind.
pub(crate) fn follows(kind: &str) -> bool {
    kind::ALL.iter().any(|known| known.as_str() == kind)
}

/// Follows the events of credentials. A credential is made once; one that is revoked stays so.
pub(crate) fn apply(
    transaction: &redb::WriteTransaction,
    event: &EventRef<'_>,
) -> Result<Receipt, ViewError> {
    let mut rows = transaction.open_table(TABLE).map_err(storage)?;
    let refused = |message: &str| Err(ViewError::payload(event, &message));
    let (key, row) = match event.kind {
        kind::KEY_ISSUED => {
            let issued: KeyIssued = payload(event)?;
            let key = of(b'k', issued.key);
            if rows.get(&*key).map_err(storage)?.is_some() {
                return refused("it was issued before");
            }
            forget(&mut rows, event.at_unix_ms)?;
            let (tenant, issued_at_unix_ms) = (event.tenant.to_owned(), event.at_unix_ms);
            (key, row(&KeyEntry { tenant, issued, issued_at_unix_ms, revoked: None })?)
        }
        kind::KEY_REVOKED => {
            let revoked: KeyRevoked = payload(event)?;
            let key = of(b'k', revoked.key);
            let Some(mut entry) = read::<KeyEntry>(&rows, &key)? else {
                return refused("there is no such key");
            };
            let (because, by) = (RevokedBecause::Revoked, revoked.by);
            let at_unix_ms = event.at_unix_ms;
            entry.revoked.get_or_insert(Revocation { because, by, at_unix_ms });
            (key, row(&entry)?)
        }
        kind::FAMILY_STARTED => {
            let started: FamilyStarted = payload(event)?;
            let key = of(b'f', started.family);
            if rows.get(&*key).map_err(storage)?.is_some() {
                return refused("it was started before");
            }
            forget(&mut rows, event.at_unix_ms)?;
            let (tenant, started_at_unix_ms) = (event.tenant.to_owned(), event.at_unix_ms);
            let entry = FamilyEntry {
                tenant,
                started,
                started_at_unix_ms,
                rotations: 0,
                replaced: Vec::new(),
                revoked: None,
            };
            (key, row(&entry)?)
        }
        kind::FAMILY_ROTATED => {
            let rotated: FamilyRotated = payload(event)?;
            let key = of(b'f', rotated.family);
            let Some(mut entry) = read::<FamilyEntry>(&rows, &key)? else {
                return refused("there is no such line of tokens");
            };
            if entry.replaced.len() == REPLACED_KEPT {
                entry.replaced.remove(0);
            }
            entry.replaced.push(entry.started.hash);
            entry.started.hash = rotated.hash;
            entry.started.expires_at_unix_ms = rotated.expires_at_unix_ms;
            entry.rotations = entry.rotations.saturating_add(1);
            (key, row(&entry)?)
        }
        kind::FAMILY_REVOKED => {
            let revoked: FamilyRevoked = payload(event)?;
            let key = of(b'f', revoked.family);
            let Some(mut entry) = read::<FamilyEntry>(&rows, &key)? else {
                return refused("there is no such line of tokens");
            };
            let FamilyRevoked { because, by, .. } = revoked;
            let at_unix_ms = event.at_unix_ms;
            entry.revoked.get_or_insert(Revocation { because, by, at_unix_ms });
            (key, row(&entry)?)
        }
        _ => return Err(ViewError::Kind { seq: event.seq, kind: event.kind.to_owned() }),
    };
    rows.insert(&*key, &*row).map_err(storage)?;
    Ok(Receipt::NONE)
}

/// Takes away what ended long before a time.
fn forget(
    rows: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    now_unix_ms: u64,
) -> Result<(), ViewError> {
    let is_over =
        |ended: Option<u64>| ended.is_some_and(|at| at.saturating_add(KEPT_MS) < now_unix_ms);
    let mut over = Vec::new();
    for row in rows.iter().map_err(storage)? {
        let (key, row) = row.map_err(storage)?;
        let ended = match key.value().first() {
            Some(b'k') => parse::<KeyEntry>(row.value())?.ended_at(),
            _ => parse::<FamilyEntry>(row.value())?.ended_at(),
        };
        if is_over(ended) {
            over.push(key.value().to_vec());
        }
    }
    for key in over {
        rows.remove(&*key).map_err(storage)?;
    }
    Ok(())
}

/// Takes every row away.
pub(crate) fn clear(transaction: &redb::WriteTransaction) -> Result<(), ViewError> {
    transaction.delete_table(TABLE).map(drop).map_err(storage)
}

/// Every row, in order.
pub(crate) fn dump(transaction: &redb::ReadTransaction) -> Result<Vec<u8>, ViewError> {
    codec::dump(transaction, TABLE, None)
}

/// Reads credentials as they stood at one moment. Every function can fail with
/// [`ViewError::Storage`] and [`ViewError::Malformed`].
pub struct CredentialsReader {
    rows: Option<ReadRows>,
}

impl CredentialsReader {
    /// The credentials of all tenants.
    ///
    /// # Errors
    /// [`ViewError::Storage`].
    pub fn open(transaction: &redb::ReadTransaction) -> Result<Self, ViewError> {
        Ok(Self { rows: codec::open(transaction, TABLE)? })
    }

    /// Every key, the oldest first.
    ///
    /// # Errors
    /// See [`CredentialsReader`].
    pub fn keys(&self) -> Result<Vec<KeyEntry>, ViewError> {
        self.all(b'k')
    }

    /// Every line of refresh tokens, the oldest first.
    ///
    /// # Errors
    /// See [`CredentialsReader`].
    pub fn families(&self) -> Result<Vec<FamilyEntry>, ViewError> {
        self.all(b'f')
    }

    fn all<T: DeserializeOwned>(&self, letter: u8) -> Result<Vec<T>, ViewError> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        let range = rows.range::<&[u8]>(&[letter][..]..&[letter + 1][..]).map_err(storage)?;
        range.map(|row| parse(row.map_err(storage)?.1.value())).collect()
    }
}

fn of(letter: u8, id: KeyId) -> Vec<u8> {
    [&[letter], id.to_string().as_bytes()].concat()
}

fn row(entry: &impl Serialize) -> Result<Vec<u8>, ViewError> {
    serde_json::to_vec(entry).map_err(|_| MALFORMED)
}

fn parse<T: DeserializeOwned>(row: &[u8]) -> Result<T, ViewError> {
    serde_json::from_slice(row).map_err(|_| MALFORMED)
}

fn read<T: DeserializeOwned>(rows: &impl Readable, key: &[u8]) -> Result<Option<T>, ViewError> {
    rows.get(key).map_err(storage)?.map(|row| parse(row.value())).transpose()
}

#[cfg(test)]
mod tests {
    use foreshore_domain::event::Tenant;
    use foreshore_domain::identity::{BuiltIn, Reach};

    use crate::facts::JournalConfig;
    use crate::journal::Journal;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn issued(key: KeyId, expires_at_unix_ms: Option<u64>) -> KeyIssued {
        KeyIssued {
            key,
            name: name("a robot"),
            roles: vec![BuiltIn::Caller.name()],
            reach: Reach::ALL,
            hash: SecretHash::of("test", b"secret"),
            expires_at_unix_ms,
            by: name("host"),
        }
    }

    #[tokio::test]
    async fn a_credential_is_listed_while_it_counts_and_for_a_while_after() {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        let [short, revoked, stays, late] = [1, 2, 3, 4].map(KeyId::new);
        let tenant = Tenant::parse("other").expect("a tenant");
        for event in [
            issued(short, Some(1_000)).event(10, tenant.clone()),
            issued(revoked, None).event(20, tenant.clone()),
            KeyRevoked { key: revoked, by: name("somebody") }.event(30, tenant.clone()),
            KeyRevoked { key: revoked, by: name("another") }.event(40, tenant.clone()),
            issued(stays, None).event(50, tenant.clone()),
        ] {
            journal.append(event).await.expect("recorded");
        }
        let keys = || journal.credentials().expect("readable").keys().expect("readable");
        assert_eq!(keys().len(), 3);
        let by = keys()[1].revoked.as_ref().map(|revoked| (revoked.at_unix_ms, revoked.by.clone()));
        assert_eq!(by, Some((30, name("somebody"))), "the first word counts");
        let unknown = KeyRevoked { key: late, by: name("somebody") };
        assert!(journal.append(unknown.event(60, tenant.clone())).await.is_err());
        let twice = issued(stays, None).event(60, tenant.clone());
        assert!(journal.append(twice).await.is_err());
        let later = issued(late, None).event(31 + KEPT_MS, tenant);
        journal.append(later).await.expect("recorded");
        let left: Vec<KeyId> = keys().iter().map(|entry| entry.issued.key).collect();
        assert_eq!(left, [short, stays, late], "the one that expires at 1,000 has 969 ms more");
    }

    #[tokio::test]
    async fn a_line_of_tokens_has_the_digest_of_the_newest() {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("a journal");
        let family = KeyId::new(1);
        let started = FamilyStarted {
            family,
            subject: name("ann"),
            roles: vec![BuiltIn::Viewer.name()],
            reach: Reach::ALL,
            hash: SecretHash::of("test", b"first"),
            expires_at_unix_ms: 100,
            by: name("host"),
        };
        let hash = SecretHash::of("test", b"second");
        let because = RevokedBecause::Reused;
        for event in [
            started.event(1, Tenant::DEFAULT),
            FamilyRotated { family, hash, expires_at_unix_ms: 200 }.event(2, Tenant::DEFAULT),
            FamilyRevoked { family, because, by: name("host") }.event(3, Tenant::DEFAULT),
        ] {
            journal.append(event).await.expect("recorded");
        }
        let families = journal.credentials().expect("readable").families().expect("readable");
        let [entry] = &families[..] else { panic!("{families:?}") };
        assert_eq!((entry.started.hash, entry.rotations), (hash, 1));
        assert_eq!(entry.replaced, [SecretHash::of("test", b"first")]);
        assert_eq!(entry.started.expires_at_unix_ms, 200);
        assert_eq!(entry.revoked.as_ref().map(|revoked| revoked.because), Some(because));
    }
}
