//! Credentials: who has which, and who somebody is that shows one.
//!
//! > issue -> (shown once) -> authenticate, many times -> expire or revoke
//!
//! An API key is `fsk_ID_SECRET`, a refresh token `fsr_ID_SECRET`: the id finds the record, the
//! secret is 256 random bits of which only a digest is kept. What is kept is in the journal; a
//! map of it in memory answers, so that a key costs one digest and one look-up, and a revocation
//! holds for the next request.
//!
//! Deliberately absent: signed tokens, which are `gateway`'s. The invariants: nobody gives more
//! than they have; a refresh token works once; the secret part of a credential is nowhere but
//! with whom it was given to.

mod fault;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use foreshore_domain::conversation::Name;
use foreshore_domain::event::{NewEvent, Stream, Tenant};
use foreshore_domain::id::KeyId;
use foreshore_domain::identity::{
    FamilyRevoked, FamilyRotated, FamilyStarted, KeyIssued, KeyRevoked, Permission, Permissions,
    Principal, Reach, Refused, RevokedBecause, RoleName, Roles, SecretHash, Subject,
};
use foreshore_store::credentials::{FamilyEntry, KeyEntry};
use foreshore_store::{AppendError, Commit, Condition, Journal};

pub use self::fault::{AuthFault, IdentityFault};
pub use self::secret::{Kind, SecretText};
use self::secret::{Shown, fresh};
use crate::clock;

/// How many credentials there may be: each is a line in memory.
pub const CREDENTIALS_MAX: usize = 10_000;
/// How many refused requests are recorded in a second. What is above that is counted.
const REFUSED_MAX_PER_S: u64 = 200;
/// Attempts at a change of a stream that others change too.
const ATTEMPTS: usize = 4;

/// Everything about credentials. Cheap to clone.
#[derive(Clone)]
pub struct Identities(Arc<Inner>);

struct Inner {
    journal: Journal,
    roles: Roles,
    known: RwLock<Known>,
    refused: Refusals,
}

#[derive(Default)]
struct Known {
    keys: HashMap<KeyId, Key>,
    families: HashMap<KeyId, FamilyEntry>,
}

struct Key {
    hash: SecretHash,
    principal: Arc<Principal>,
    expires_at_unix_ms: Option<u64>,
    is_revoked: bool,
}

/// A credential to be made.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// What for: a key's name, or the subject of tokens.
    pub name: Name,
    /// Whose data it sees.
    pub tenant: Tenant,
    /// What it may do.
    pub roles: Vec<RoleName>,
    /// With which tools and agents, at most.
    pub reach: Reach,
    /// When it ends, in milliseconds since 1970. Refresh tokens always end.
    pub expires_at_unix_ms: Option<u64>,
}

/// What an access token is about: what a line of refresh tokens gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grantee {
    /// Which line: an access token counts no longer than this does.
    pub family: KeyId,
    /// The `sub`.
    pub subject: Name,
    /// Whose data it sees.
    pub tenant: Tenant,
    /// What it may do.
    pub roles: Vec<RoleName>,
    /// With which tools and agents, at most.
    pub reach: Reach,
    /// When the refresh token ends, in milliseconds since 1970.
    pub expires_at_unix_ms: u64,
}

/// A credential as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// An API key.
    Key(KeyEntry),
    /// A line of refresh tokens.
    Family(FamilyEntry),
}

impl Identities {
    /// Reads what there is.
    ///
    /// # Errors
    /// [`IdentityFault`]: the journal cannot be read.
    pub fn open(journal: Journal, roles: Roles) -> Result<Self, IdentityFault> {
        let reader = journal.credentials()?;
        let mut known = Known::default();
        for entry in reader.keys()? {
            known.keys.insert(entry.issued.key, Key::new(&entry, &roles));
        }
        for entry in reader.families()? {
            known.families.insert(entry.started.family, entry);
        }
        let refused = Refusals::default();
        Ok(Self(Arc::new(Inner { journal, roles, known: RwLock::new(known), refused })))
    }

    /// The roles of this host.
    pub fn roles(&self) -> &Roles {
        &self.0.roles
    }

    /// Who shows this key.
    ///
    /// # Errors
    /// [`AuthFault`].
    pub fn authenticate(&self, text: &str) -> Result<Arc<Principal>, AuthFault> {
        let shown = Shown::parse(Kind::Key, text).ok_or(AuthFault::Malformed)?;
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        // The digest is made whether the key is known or not: the time says nothing of it.
        let hash = shown.hash();
        let key = known.keys.get(&shown.id).filter(|key| key.hash == hash);
        let key = key.ok_or(AuthFault::Unknown)?;
        if key.is_revoked {
            return Err(AuthFault::Revoked);
        }
        if key.expires_at_unix_ms.is_some_and(|end| end <= clock::now_unix_ms()) {
            return Err(AuthFault::Expired);
        }
        Ok(Arc::clone(&key.principal))
    }

    /// What somebody may do who has these roles, with these tools and agents at most: for tokens
    /// that say of themselves what they are for.
    pub fn principal(
        &self,
        subject: Subject,
        tenant: Tenant,
        roles: &[RoleName],
        reach: &Reach,
    ) -> Arc<Principal> {
        Arc::new(principal(&self.0.roles, subject, tenant, roles, reach))
    }

    /// Whether the access tokens of a line count.
    pub fn is_live(&self, family: KeyId) -> bool {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.families.get(&family).is_some_and(|entry| entry.revoked.is_none())
    }

    /// Whether somebody's key still counts: for answers that go on for long after it was shown.
    /// Access tokens end by themselves soon, and are not asked about.
    pub fn still_counts(&self, principal: &Principal) -> bool {
        let Subject::Key(id) = &principal.subject else { return true };
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys.get(id).is_some_and(|key| {
            let has_ended = key.expires_at_unix_ms.is_some_and(|end| end <= clock::now_unix_ms());
            !key.is_revoked && !has_ended
        })
    }

    /// What the access tokens of a line are about, while they count.
    pub fn grantee(&self, family: KeyId) -> Option<Grantee> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let entry = known.families.get(&family).filter(|entry| entry.revoked.is_none())?;
        grantee(entry).ok()
    }

    /// Whether somebody could still administer this host with a key.
    pub fn has_administrator(&self) -> bool {
        let now = clock::now_unix_ms();
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys.values().any(|key| {
            !key.is_revoked
                && key.expires_at_unix_ms.is_none_or(|end| end > now)
                && key.principal.tenant == Tenant::DEFAULT
                && key.principal.permissions == Permissions::ALL
        })
    }

    /// Makes a key of this process's own: it may do everything, is in no record, and ends with the
    /// process. For whoever started the host and asks it over HTTP.
    ///
    /// # Errors
    /// [`IdentityFault::Random`].
    pub fn own_key(&self) -> Result<SecretText, IdentityFault> {
        let key = KeyId::new(clock::now_unix_ms());
        let (text, hash) = fresh(Kind::Key, key)?;
        self.remember(key, hash);
        Ok(text)
    }

    /// Takes a key that another process of the same operator was given, as [`Self::own_key`];
    /// `false` if the text is none.
    pub fn adopt(&self, text: &str) -> bool {
        let Some(shown) = Shown::parse(Kind::Key, text) else { return false };
        self.remember(shown.id, shown.hash());
        true
    }

    fn remember(&self, key: KeyId, hash: SecretHash) {
        let principal = Principal::host();
        let entry = Key { hash, principal, expires_at_unix_ms: None, is_revoked: false };
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.keys.insert(key, entry);
    }

    /// Makes an API key. Its text is shown here and never again.
    ///
    /// # Errors
    /// [`IdentityFault`].
    pub async fn issue(
        &self,
        new: NewCredential,
        by: &Principal,
    ) -> Result<(KeyEntry, SecretText), IdentityFault> {
        let now = clock::now_unix_ms();
        self.check(&new, by, now)?;
        let key = KeyId::new(now);
        let (text, hash) = fresh(Kind::Key, key)?;
        let NewCredential { name, tenant, roles, reach, expires_at_unix_ms } = new;
        let by = by.name();
        let issued = KeyIssued { key, name, roles, reach, hash, expires_at_unix_ms, by };
        self.0.journal.append(issued.event(now, tenant.clone())).await?;
        let tenant = tenant.as_str().to_owned();
        let entry = KeyEntry { tenant, issued, issued_at_unix_ms: now, revoked: None };
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.keys.insert(key, Key::new(&entry, &self.0.roles));
        Ok((entry, text))
    }

    /// Begins a line of refresh tokens. The text of the first is shown here and never again.
    ///
    /// # Errors
    /// [`IdentityFault`].
    pub async fn start_tokens(
        &self,
        new: NewCredential,
        by: &Principal,
    ) -> Result<(Grantee, SecretText), IdentityFault> {
        let now = clock::now_unix_ms();
        self.check(&new, by, now)?;
        let expires_at_unix_ms = new.expires_at_unix_ms.ok_or_else(|| IdentityFault::Invalid {
            pointer: "/expires_at",
            message: "refresh tokens have an end: give one".to_owned(),
        })?;
        let family = KeyId::new(now);
        let (text, hash) = fresh(Kind::Refresh, family)?;
        let NewCredential { name: subject, tenant, roles, reach, .. } = new;
        let by = by.name();
        let started = FamilyStarted { family, subject, roles, reach, hash, expires_at_unix_ms, by };
        self.0.journal.append(started.event(now, tenant.clone())).await?;
        let entry = FamilyEntry {
            tenant: tenant.as_str().to_owned(),
            started,
            started_at_unix_ms: now,
            rotations: 0,
            replaced: Vec::new(),
            revoked: None,
        };
        let grantee = grantee(&entry)?;
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.families.insert(family, entry);
        Ok((grantee, text))
    }

    /// Takes a refresh token and gives the next, which ends `lifetime_ms` from now. One that was
    /// taken before ends its whole line.
    ///
    /// # Errors
    /// [`IdentityFault::Refresh`] if it does not count; else the store's.
    pub async fn rotate(
        &self,
        text: &str,
        lifetime_ms: u64,
    ) -> Result<(Grantee, SecretText), IdentityFault> {
        let shown = Shown::parse(Kind::Refresh, text).ok_or(AuthFault::Malformed)?;
        let family = shown.id;
        let stream = Stream::Credential(family);
        for _ in 0..ATTEMPTS {
            let now = clock::now_unix_ms();
            let tenant = tenant(&self.family(family).ok_or(AuthFault::Unknown)?)?;
            // In this order: what is read after the number is at least what the number is of.
            let seq = self.0.journal.stream_head(&tenant, &stream)?;
            let entry = self.reread(family)?;
            let hash = shown.hash();
            if entry.replaced.contains(&hash) {
                let by = Principal::host().name();
                self.revoke_family(&entry, RevokedBecause::Reused, by).await?;
                return Err(AuthFault::Reused.into());
            }
            if entry.started.hash != hash {
                return Err(AuthFault::Unknown.into());
            }
            if entry.revoked.is_some() {
                return Err(AuthFault::Revoked.into());
            }
            if entry.started.expires_at_unix_ms <= now {
                return Err(AuthFault::Expired.into());
            }
            let (next, hash) = fresh(Kind::Refresh, family)?;
            let expires_at_unix_ms = now.saturating_add(lifetime_ms);
            let rotated = FamilyRotated { family, hash, expires_at_unix_ms };
            let condition =
                Condition::StreamAt { tenant: tenant.clone(), stream: stream.clone(), seq };
            match self.commit(rotated.event(now, tenant), condition).await {
                Ok(()) => {
                    let entry = self.reread(family)?;
                    return Ok((grantee(&entry)?, next));
                }
                // Somebody else has used it, or revoked it: what they did is read.
                Err(AppendError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(IdentityFault::Contended)
    }

    /// Ends a credential, at once.
    ///
    /// # Errors
    /// [`IdentityFault::NotFound`]: there is none of this id that `by` could see.
    pub async fn revoke(&self, id: KeyId, by: &Principal) -> Result<(), IdentityFault> {
        if let Some(entry) = self.family(id) {
            if !sees(by, &entry.tenant) {
                return Err(IdentityFault::NotFound { id: id.to_string() });
            }
            return self.revoke_family(&entry, RevokedBecause::Revoked, by.name()).await;
        }
        let keys = self.0.journal.credentials()?.keys()?;
        let entry = keys.into_iter().find(|entry| entry.issued.key == id);
        let entry = entry.filter(|entry| sees(by, &entry.tenant));
        let entry = entry.ok_or_else(|| IdentityFault::NotFound { id: id.to_string() })?;
        let tenant = Tenant::parse(&entry.tenant).map_err(|_| IdentityFault::malformed())?;
        let revoked = KeyRevoked { key: id, by: by.name() };
        self.0.journal.append(revoked.event(clock::now_unix_ms(), tenant)).await?;
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.keys.get_mut(&id) {
            key.is_revoked = true;
        }
        Ok(())
    }

    /// Every credential that `by` can see, the oldest first: those of its tenant, and for an
    /// administrator of the host's own tenant those of all.
    ///
    /// # Errors
    /// [`IdentityFault`]: the journal cannot be read.
    pub fn list(&self, by: &Principal) -> Result<Vec<Listed>, IdentityFault> {
        let reader = self.0.journal.credentials()?;
        let keys = reader.keys()?.into_iter().map(Listed::Key);
        let all = keys.chain(reader.families()?.into_iter().map(Listed::Family));
        Ok(all.filter(|listed| sees(by, listed.tenant())).collect())
    }

    /// Records that a request was refused for who asks. Never blocks: past a bound it counts.
    pub fn refused(&self, refused: &Refused, tenant: Tenant) {
        let now = clock::now_unix_ms();
        if let Some(skipped) = self.0.refused.admit(now) {
            if skipped > 0 {
                tracing::warn!(skipped, "refused requests were not recorded one by one");
            }
            self.0.journal.append_soon(refused.event(now, tenant));
        }
    }

    fn check(&self, new: &NewCredential, by: &Principal, now: u64) -> Result<(), IdentityFault> {
        let invalid = |pointer, message: String| Err(IdentityFault::Invalid { pointer, message });
        if new.roles.is_empty() {
            return invalid("/roles", "give at least one role".to_owned());
        }
        if let Some(unknown) = new.roles.iter().find(|role| self.0.roles.get(role).is_none()) {
            let known: Vec<&str> = self.0.roles.iter().map(|(name, _)| name.as_str()).collect();
            let known = known.join(", ");
            return invalid("/roles", format!("there is no role \"{unknown}\"; there are {known}"));
        }
        if new.expires_at_unix_ms.is_some_and(|end| end <= now) {
            return invalid("/expires_at", "it would have ended before it began".to_owned());
        }
        if !sees(by, new.tenant.as_str()) {
            return Err(IdentityFault::Exceeds {
                what: format!("to act for the tenant \"{}\"", new.tenant),
            });
        }
        let (permissions, reach) = self.0.roles.of(&new.roles);
        let permissions = of_tenant(&new.tenant, permissions);
        if let Some(more) = permissions.without(by.permissions).iter().next() {
            return Err(IdentityFault::Exceeds { what: format!("the permission \"{more}\"") });
        }
        // A narrower reach cannot be told from a wider one by its patterns alone, so whoever has
        // a bounded one gives exactly the part of it that the new one names.
        let reach = reach.and(&new.reach);
        if by.reach != Reach::ALL && reach.and(&by.reach) != reach {
            let what = "to more tools or agents than who issues it".to_owned();
            return Err(IdentityFault::Exceeds { what });
        }
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.keys.len() + known.families.len() >= CREDENTIALS_MAX {
            return Err(IdentityFault::Full { max: CREDENTIALS_MAX });
        }
        Ok(())
    }

    fn family(&self, family: KeyId) -> Option<FamilyEntry> {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        known.families.get(&family).cloned()
    }

    async fn revoke_family(
        &self,
        entry: &FamilyEntry,
        because: RevokedBecause,
        by: Name,
    ) -> Result<(), IdentityFault> {
        let family = entry.started.family;
        let revoked = FamilyRevoked { family, because, by };
        self.0.journal.append(revoked.event(clock::now_unix_ms(), tenant(entry)?)).await?;
        self.reread(family)?;
        Ok(())
    }

    /// Takes a line as the journal has it.
    fn reread(&self, family: KeyId) -> Result<FamilyEntry, IdentityFault> {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        let families = self.0.journal.credentials()?.families()?;
        let entry = families.into_iter().find(|entry| entry.started.family == family);
        let entry = entry.ok_or(AuthFault::Unknown)?;
        known.families.insert(family, entry.clone());
        Ok(entry)
    }

    async fn commit(&self, event: NewEvent, condition: Condition) -> Result<(), AppendError> {
        let commit = Commit { events: vec![event], conditions: vec![condition], blobs: Vec::new() };
        self.0.journal.commit(commit).await.map(drop)
    }
}

impl Key {
    fn new(entry: &KeyEntry, roles: &Roles) -> Self {
        let KeyIssued { key, roles: names, reach, hash, expires_at_unix_ms, .. } = &entry.issued;
        let subject = Subject::Key(*key);
        // A tenant that is none has no data: the name was checked when the key was made.
        let tenant = Tenant::parse(&entry.tenant).unwrap_or(Tenant::DEFAULT);
        Self {
            hash: *hash,
            principal: Arc::new(principal(roles, subject, tenant, names, reach)),
            expires_at_unix_ms: *expires_at_unix_ms,
            is_revoked: entry.revoked.is_some(),
        }
    }
}

impl Listed {
    /// Whose it is.
    pub fn tenant(&self) -> &str {
        match self {
            Self::Key(entry) => &entry.tenant,
            Self::Family(entry) => &entry.tenant,
        }
    }
}

fn principal(
    roles: &Roles,
    subject: Subject,
    tenant: Tenant,
    names: &[RoleName],
    reach: &Reach,
) -> Principal {
    let (permissions, most) = roles.of(names);
    let permissions = of_tenant(&tenant, permissions);
    let known = names.iter().filter(|name| roles.get(name).is_some());
    let roles = known.cloned().collect();
    Principal { subject, tenant, roles, permissions, reach: most.and(reach) }
}

/// What of these permissions a tenant's can have: the host as a whole is the operator's.
fn of_tenant(tenant: &Tenant, permissions: Permissions) -> Permissions {
    if *tenant == Tenant::DEFAULT { permissions } else { permissions.without(Permissions::HOST) }
}

/// Whether somebody may handle credentials of a tenant.
fn sees(by: &Principal, tenant: &str) -> bool {
    let runs_the_host = by.tenant == Tenant::DEFAULT && by.may(Permission::ManageTokens);
    runs_the_host || by.tenant.as_str() == tenant
}

fn tenant(entry: &FamilyEntry) -> Result<Tenant, IdentityFault> {
    Tenant::parse(&entry.tenant).map_err(|_| IdentityFault::malformed())
}

fn grantee(entry: &FamilyEntry) -> Result<Grantee, IdentityFault> {
    let FamilyStarted { family, subject, roles, reach, expires_at_unix_ms, .. } = &entry.started;
    Ok(Grantee {
        family: *family,
        subject: subject.clone(),
        tenant: tenant(entry)?,
        roles: roles.clone(),
        reach: reach.clone(),
        expires_at_unix_ms: *expires_at_unix_ms,
    })
}

/// Bounds how many refusals a second go into the journal, which anybody can cause.
#[derive(Default)]
struct Refusals {
    /// The second, and how many were in it: `second << 32 | count`.
    now: AtomicU64,
    skipped: AtomicU64,
}

impl Refusals {
    /// Whether one more is recorded; if so, how many were not before it.
    fn admit(&self, now_unix_ms: u64) -> Option<u64> {
        let second = (now_unix_ms / 1_000) << 32;
        let next = |now: u64| if now & !0xffff_ffff == second { now + 1 } else { second + 1 };
        let now =
            self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(next(now)));
        let count = next(now.unwrap_or(0)) & 0xffff_ffff;
        if count <= REFUSED_MAX_PER_S {
            return Some(self.skipped.swap(0, Ordering::Relaxed));
        }
        self.skipped.fetch_add(1, Ordering::Relaxed);
        None
    }
}
