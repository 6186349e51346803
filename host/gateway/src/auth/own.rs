//! This host as an issuer: access tokens for half an hour, signed with a key of its own.

use std::fmt;
use std::num::NonZeroU64;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use foreshore_control::identities::Grantee;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;

use super::token::KeysError;

/// What our own tokens say in `iss`, and what records call us.
pub(super) const OWN: &str = "foreshore";

/// This host as an issuer of tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnIssuer {
    /// Its key: PEM (`PRIVATE KEY`), as [`OwnIssuer::generate`] makes one.
    pub key: String,
    /// What its tokens say in `aud`.
    pub audience: String,
    /// How long an access token counts, in seconds.
    pub access_s: NonZeroU64,
    /// How long a refresh token counts, in seconds.
    pub refresh_s: NonZeroU64,
}

impl fmt::Debug for OwnIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnIssuer").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl OwnIssuer {
    /// A new key of 2,048 bits, as PEM. It takes some tenths of a second.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub fn generate() -> Result<String, KeysError> {
        let failed =
            |_| KeysError { issuer: OWN.to_owned(), message: "a key could not be made".to_owned() };
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?;
        Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref())))
    }
}

/// Signs access tokens.
pub(crate) struct Signer {
    key: EncodingKey,
    public: Vec<u8>,
    audience: String,
    access_s: NonZeroU64,
    refresh_s: NonZeroU64,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    fam: String,
    tenant: &'a str,
}

impl Signer {
    pub(super) fn new(own: &OwnIssuer) -> Result<Self, KeysError> {
        let refused = |message: String| KeysError { issuer: OWN.to_owned(), message };
        let pem = pem::parse(&own.key).map_err(|error| refused(error.to_string()))?;
        let pair =
            KeyPair::from_pkcs8(pem.contents()).map_err(|error| refused(error.to_string()))?;
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .map_err(|_| refused("its public half cannot be written".to_owned()))?;
        let key = EncodingKey::from_rsa_pem(own.key.as_bytes())
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            key,
            public: public.as_ref().to_vec(),
            audience: own.audience.clone(),
            access_s: own.access_s,
            refresh_s: own.refresh_s,
        })
    }

    pub(super) fn verifying_key(&self) -> Result<DecodingKey, KeysError> {
        let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", self.public.clone()));
        DecodingKey::from_rsa_pem(pem.as_bytes())
            .map_err(|error| KeysError { issuer: OWN.to_owned(), message: error.to_string() })
    }

    /// How long an access token counts, in seconds.
    pub(crate) fn access_s(&self) -> u64 {
        self.access_s.get()
    }

    /// How long a refresh token counts, in milliseconds.
    pub(crate) fn refresh_ms(&self) -> u64 {
        self.refresh_s.get().saturating_mul(1_000)
    }

    /// An access token.
    pub(crate) fn sign(&self, grantee: &Grantee, now_unix_s: u64) -> Option<String> {
        let claims = Claims {
            iss: OWN,
            aud: &self.audience,
            sub: grantee.subject.as_str(),
            iat: now_unix_s,
            nbf: now_unix_s,
            exp: now_unix_s.saturating_add(self.access_s.get()),
            jti: uuid::Uuid::new_v4().simple().to_string(),
            fam: grantee.family.to_string(),
            tenant: grantee.tenant.as_str(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key).ok()
    }
}
