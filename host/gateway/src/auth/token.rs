//! Signed access tokens: JWT with RS256, of issuers that the configuration trusts (RFC 7519,
//! RFC 8725).
//!
//! What a token's own header says decides nothing but which of the known keys is tried: no
//! algorithm but RS256, no key from the token or from a URL in it, and nothing is ever fetched.
//! Deliberately absent: what a principal may do, and whether our own tokens were revoked, which
//! `control` knows.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rsa::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foreshore_control::Identities;
use foreshore_domain::event::Tenant;
use foreshore_domain::id::KeyId;
use foreshore_domain::identity::{Principal, Reach, RoleName, Subject};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::own::{OWN, OwnIssuer, Signer};

/// The largest token that is looked at, in bytes.
const TOKEN_MAX_BYTES: usize = 8 << 10;
/// How many verified tokens are known, so that a signature is checked once.
const VERIFIED_MAX: usize = 4_096;
/// Sizes of keys, in bits: below, one can be factored; above, checking is a way to keep us busy.
const KEY_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// An issuer whose tokens count here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// What records call it.
    pub name: String,
    /// What its tokens say in `iss`, exactly.
    pub issuer: String,
    /// What its tokens say in `aud`: one of these.
    pub audiences: Vec<String>,
    /// How far clocks may differ, in seconds.
    pub leeway_s: u64,
    /// The longest time that a token may have left, in seconds.
    pub lifetime_max_s: u64,
    /// Its keys: PEM (`PUBLIC KEY`), or a JSON Web Key Set.
    pub keys: String,
    /// Whose data its subjects see.
    pub tenant: Source<Tenant>,
    /// What its subjects may do.
    pub roles: Source<Vec<RoleName>>,
}

/// Where a property of a principal comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<T> {
    /// It is the same for all tokens of the issuer.
    Fixed(T),
    /// A claim of this name says it.
    Claim(String),
}

/// An issuer's keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the issuer \"{issuer}\": {message}")]
pub struct KeysError {
    pub(super) issuer: String,
    pub(super) message: String,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// It is no such token, or nobody here signed it.
    Unknown,
    /// It ended.
    Expired,
    /// Its line was revoked.
    Revoked,
}

/// Everybody whose tokens count.
pub(crate) struct Tokens {
    issuers: Vec<Issuer>,
    pub(crate) signer: Option<Signer>,
    verified: Mutex<HashMap<[u8; 32], Verified>>,
}

#[derive(Clone)]
struct Verified {
    principal: Arc<Principal>,
    ends_at_unix_s: u64,
    /// Of our own tokens: the line that they end with.
    family: Option<KeyId>,
}

struct Issuer {
    name: Arc<str>,
    keys: Keys,
    validation: Validation,
    lifetime_max_s: u64,
    is_own: bool,
    tenant: Source<Tenant>,
    roles: Source<Vec<RoleName>>,
}

/// The keys of an issuer.
struct Keys {
    by_id: BTreeMap<String, DecodingKey>,
    /// The one for tokens that name none: where there is one key only.
    only: Option<DecodingKey>,
}

/// What is read of a header. What could name a key elsewhere is refused, not ignored.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    jku: Option<IgnoredAny>,
    jwk: Option<IgnoredAny>,
    x5u: Option<IgnoredAny>,
    x5c: Option<IgnoredAny>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    /// Of our own.
    fam: Option<KeyId>,
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

impl Tokens {
    pub(crate) fn new(
        trusted: &[TrustedIssuer],
        own: Option<&OwnIssuer>,
    ) -> Result<Self, KeysError> {
        let mut issuers = trusted.iter().map(Issuer::new).collect::<Result<Vec<_>, _>>()?;
        let signer = own.map(Signer::new).transpose()?;
        if let (Some(own), Some(signer)) = (own, &signer) {
            issuers.push(Issuer::own(own, signer)?);
        }
        Ok(Self { issuers, signer, verified: Mutex::default() })
    }

    /// Whether a text could be such a token: three parts.
    pub(crate) fn is_one(text: &str) -> bool {
        text.len() <= TOKEN_MAX_BYTES && text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who shows this token, at a time.
    pub(crate) fn authenticate(
        &self,
        text: &str,
        identities: &Identities,
        now_unix_s: u64,
    ) -> Result<Arc<Principal>, TokenFault> {
        let digest = *blake3::hash(text.as_bytes()).as_bytes();
        let known = self.known(&digest);
        let verified = match known {
            Some(verified) => verified,
            None => {
                let verified = self.verify(text, identities, now_unix_s)?;
                let mut all = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
                if all.len() >= VERIFIED_MAX {
                    all.clear();
                }
                all.insert(digest, verified.clone());
                verified
            }
        };
        if verified.ends_at_unix_s <= now_unix_s {
            return Err(TokenFault::Expired);
        }
        match verified.family {
            Some(family) if !identities.is_live(family) => Err(TokenFault::Revoked),
            _ => Ok(verified.principal),
        }
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Verified> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(digest).cloned()
    }

    fn verify(
        &self,
        text: &str,
        identities: &Identities,
        now_unix_s: u64,
    ) -> Result<Verified, TokenFault> {
        let head = head(text).ok_or(TokenFault::Unknown)?;
        let issuer = self.issuer(text).ok_or(TokenFault::Unknown)?;
        let key = issuer.keys.get(head.kid.as_deref()).ok_or(TokenFault::Unknown)?;
        let decoded = jsonwebtoken::decode::<Claims>(text, key, &issuer.validation);
        let claims = decoded.map_err(|error| fault(&error))?.claims;
        let ends_at_unix_s = claims.exp.saturating_add(issuer.validation.leeway);
        if claims.exp > now_unix_s.saturating_add(issuer.lifetime_max_s) {
            return Err(TokenFault::Unknown);
        }
        let principal = issuer.principal(&claims, identities).ok_or(TokenFault::Unknown)?;
        let family = claims.fam.filter(|_| issuer.is_own);
        Ok(Verified { principal, ends_at_unix_s, family })
    }

    /// Whose it claims to be: only which keys are tried follows from that.
    fn issuer(&self, text: &str) -> Option<&Issuer> {
        #[derive(Deserialize)]
        struct Claimed {
            iss: String,
        }
        let claims = URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?;
        let Claimed { iss } = serde_json::from_slice(&claims).ok()?;
        let is_its = |issuer: &&Issuer| {
            issuer.validation.iss.as_ref().is_some_and(|known| known.contains(&iss))
        };
        self.issuers.iter().find(is_its)
    }
}

fn head(text: &str) -> Option<Head> {
    let head = URL_SAFE_NO_PAD.decode(text.split('.').next()?).ok()?;
    let head: Head = serde_json::from_slice(&head).ok()?;
    let names_a_key = [&head.jku, &head.jwk, &head.x5u, &head.x5c, &head.crit, &head.b64]
        .iter()
        .any(|field| field.is_some());
    (head.alg == "RS256" && !names_a_key).then_some(head)
}

fn fault(error: &jsonwebtoken::errors::Error) -> TokenFault {
    match error.kind() {
        jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenFault::Expired,
        _ => TokenFault::Unknown,
    }
}

impl Issuer {
    fn new(trusted: &TrustedIssuer) -> Result<Self, KeysError> {
        let keys = Keys::read(&trusted.keys)
            .map_err(|message| KeysError { issuer: trusted.name.clone(), message })?;
        Ok(Self {
            name: trusted.name.as_str().into(),
            keys,
            validation: validation(&trusted.issuer, &trusted.audiences, trusted.leeway_s),
            lifetime_max_s: trusted.lifetime_max_s,
            is_own: false,
            tenant: trusted.tenant.clone(),
            roles: trusted.roles.clone(),
        })
    }

    fn own(own: &OwnIssuer, signer: &Signer) -> Result<Self, KeysError> {
        let only = Some(signer.verifying_key()?);
        Ok(Self {
            name: OWN.into(),
            keys: Keys { by_id: BTreeMap::new(), only },
            validation: validation(OWN, std::slice::from_ref(&own.audience), 0),
            lifetime_max_s: own.access_s.get(),
            is_own: true,
            tenant: Source::Fixed(Tenant::DEFAULT),
            roles: Source::Fixed(Vec::new()),
        })
    }

    /// `None` for one of which this host cannot say what it may do.
    fn principal(&self, claims: &Claims, identities: &Identities) -> Option<Arc<Principal>> {
        let subject = Subject::Token {
            issuer: Arc::clone(&self.name),
            subject: claims.sub.chars().take(200).collect::<String>().into(),
        };
        if self.is_own {
            // What it may do is on record: the token only says which record.
            let grantee = identities.grantee(claims.fam?)?;
            return (grantee.subject.as_str() == claims.sub).then(|| {
                identities.principal(subject, grantee.tenant, &grantee.roles, &grantee.reach)
            });
        }
        let tenant = match &self.tenant {
            Source::Fixed(tenant) => tenant.clone(),
            Source::Claim(name) => Tenant::parse(claims.others.get(name)?.as_str()?).ok()?,
        };
        let roles = match &self.roles {
            Source::Fixed(roles) => roles.clone(),
            Source::Claim(name) => roles(claims.others.get(name)?)?,
        };
        Some(identities.principal(subject, tenant, &roles, &Reach::ALL))
    }
}

/// A list, or one text with spaces between (RFC 8693, section 4.2). What is no role's name here
/// gives nothing, and others may be meant for other hosts.
fn roles(claim: &Value) -> Option<Vec<RoleName>> {
    let names: Vec<&str> = match claim {
        Value::String(text) => text.split(' ').collect(),
        Value::Array(names) => names.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    Some(names.into_iter().filter_map(|name| RoleName::parse(name).ok()).collect())
}

fn validation(issuer: &str, audiences: &[String], leeway_s: u64) -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&[issuer]);
    validation.set_audience(audiences);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    validation.leeway = leeway_s;
    validation
}

impl Keys {
    fn read(text: &str) -> Result<Self, String> {
        if text.trim_start().starts_with('{') { Self::jwks(text) } else { Self::pem(text) }
    }

    fn pem(text: &str) -> Result<Self, String> {
        let pem = pem::parse(text).map_err(|error| error.to_string())?;
        if pem.tag() != "PUBLIC KEY" {
            return Err(format!("a PEM of {:?}; PUBLIC KEY is wanted", pem.tag()));
        }
        let key = PublicKey::from_der(pem.contents()).map_err(|error| error.to_string())?;
        sized(8 * key.modulus_len())?;
        let key = DecodingKey::from_rsa_pem(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self { by_id: BTreeMap::new(), only: Some(key) })
    }

    /// A key set (RFC 7517). What is not for RS256 signatures is left out; of what is, each must
    /// be sound.
    fn jwks(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Key>,
        }
        #[derive(Deserialize)]
        struct Key {
            kty: String,
            kid: Option<String>,
            alg: Option<String>,
            #[serde(rename = "use")]
            purpose: Option<String>,
            n: Option<String>,
            e: Option<String>,
        }
        let Set { keys } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut by_id = BTreeMap::new();
        let mut unnamed = Vec::new();
        for key in keys {
            let is_for_this = key.kty == "RSA"
                && key.alg.as_deref().is_none_or(|alg| alg == "RS256")
                && key.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
            let (true, Some(n), Some(e)) = (is_for_this, key.n, key.e) else { continue };
            let modulus = URL_SAFE_NO_PAD.decode(&n).map_err(|error| format!("n: {error}"))?;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            sized(8 * (modulus.len() - zeros))?;
            let usable = DecodingKey::from_rsa_components(&n, &e).map_err(|e| e.to_string())?;
            match key.kid {
                Some(kid) if by_id.contains_key(&kid) => {
                    return Err(format!("two keys have the kid {kid:?}"));
                }
                Some(kid) => drop(by_id.insert(kid, usable)),
                None => unnamed.push(usable),
            }
        }
        let only = match (by_id.len(), unnamed.len()) {
            (0, 0) => return Err("no RSA key for signatures is among them".to_owned()),
            (0, 1) => unnamed.pop(),
            (1, 0) => by_id.values().next().cloned(),
            (_, 0) => None,
            _ => return Err("of several keys, each needs a kid".to_owned()),
        };
        Ok(Self { by_id, only })
    }

    fn get(&self, kid: Option<&str>) -> Option<&DecodingKey> {
        match kid {
            Some(kid) if !self.by_id.is_empty() => self.by_id.get(kid),
            _ => self.only.as_ref(),
        }
    }
}

fn sized(bits: usize) -> Result<(), String> {
    if KEY_BITS.contains(&bits) {
        return Ok(());
    }
    Err(format!("a key of {bits} bits; {} to {} are taken", KEY_BITS.start(), KEY_BITS.end()))
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.issuers.iter().map(|issuer| &issuer.name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests;
