//! The text of a credential: `fsk_ID_SECRET`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use foreshore_domain::id::KeyId;
use foreshore_domain::identity::SecretHash;

use super::fault::IdentityFault;

/// Bytes of the secret part.
const SECRET_BYTES: usize = 32;
/// What a digest of a secret is for: one of a key is never one of a refresh token (BLAKE3,
/// section 5.4.3, context strings).
const KEY_PURPOSE: &str = "foreshore 2026-11-21 API key";
const REFRESH_PURPOSE: &str = "foreshore 2026-11-21 refresh token";

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is shown with each request.
    Key,
    /// It is shown once, for an access token.
    Refresh,
}

impl Kind {
    /// What its text begins with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Key => "fsk_",
            Self::Refresh => "fsr_",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Key => KEY_PURPOSE,
            Self::Refresh => REFRESH_PURPOSE,
        }
    }
}

/// The text of a credential, to be given to whom it is for. Not shown by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

/// A credential that somebody shows, taken apart.
pub(super) struct Shown {
    pub(super) id: KeyId,
    kind: Kind,
    secret: [u8; SECRET_BYTES],
}

impl Shown {
    pub(super) fn parse(kind: Kind, text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(kind.prefix())?.split_once('_')?;
        let named = format!("key_{id}");
        // Written in one way only: nothing but the text that was given counts.
        let id = KeyId::parse(&named).filter(|id| id.to_string() == named)?;
        let mut bytes = [0; SECRET_BYTES];
        // 43 characters, and nothing in the bits that are left over.
        let length = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        (length == SECRET_BYTES && secret.len() == 43).then_some(Self { id, kind, secret: bytes })
    }

    pub(super) fn hash(&self) -> SecretHash {
        SecretHash::of(self.kind.purpose(), &self.secret)
    }
}

/// A new credential: its text, and the digest that is kept.
pub(super) fn fresh(kind: Kind, id: KeyId) -> Result<(SecretText, SecretHash), IdentityFault> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|error| IdentityFault::Random(error.to_string()))?;
    let id = id.to_string();
    let id = id.strip_prefix("key_").unwrap_or(&id);
    let text = format!("{}{id}_{}", kind.prefix(), URL_SAFE_NO_PAD.encode(secret));
    Ok((SecretText(text), SecretHash::of(kind.purpose(), &secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_read_as_it_was_written_and_in_no_other_form() {
        let id = KeyId::new(1_000);
        let (text, hash) = fresh(Kind::Key, id).expect("random bytes");
        let text = text.reveal();
        let shown = Shown::parse(Kind::Key, text).expect("its own form");
        assert_eq!((shown.id, shown.hash()), (id, hash));
        assert!(Shown::parse(Kind::Refresh, text).is_none(), "a key is no refresh token");
        assert!(
            Shown::parse(Kind::Refresh, &text.replacen("fsk_", "fsr_", 1))
                .is_some_and(|shown| shown.hash() != hash)
        );
        let upper = text.to_ascii_uppercase();
        for bad in [
            "",
            "fsk_",
            &text[..text.len() - 1],
            &format!("{text}A"),
            &format!("{text}="),
            &format!(" {text}"),
            &upper,
            &text.replacen('_', "-", 2),
            &"a".repeat(1 << 20),
        ] {
            assert!(Shown::parse(Kind::Key, bad).is_none(), "{}", &bad[..bad.len().min(90)]);
        }
        assert!(!format!("{:?}", fresh(Kind::Key, id)).contains("fsk_"));
    }
}
