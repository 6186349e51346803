//! XChaCha20-Poly1305 under keys of 256 bits, each with an id.
//!
//! A sealed text is `v1.KEY.DATA`: the id of the key, then nonce and ciphertext in base64url. What
//! the text is of (a table, a name) is its associated data, so that no sealed text can be moved to
//! another place. Nonces are random: 192 bits never meet twice.
//!
//! The invariant: a key is never used as it was given; sealing and the id each derive their own.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const VERSION: &str = "v1";
const SEALING: &str = "foreshore 2026-11 secrets: the key that seals";
const NAMING: &str = "foreshore 2026-11 secrets: the id of a key";

/// The keys there are: the first seals, all of them open.
pub struct Keyring(Vec<Key>);

struct Key {
    given: Zeroizing<[u8; KEY_BYTES]>,
    id: String,
}

/// A text that is no keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// There is no key in it.
    #[error("there is no key in it: write 64 hex digits, such as `openssl rand -hex 32` prints")]
    Empty,
    /// A line is no key. What it is instead is nobody's business.
    #[error("key {number} is none: write 64 hex digits, such as `openssl rand -hex 32` prints")]
    Form {
        /// Which, from 1.
        number: usize,
    },
    /// The system has no random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(String),
}

/// A text was not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It is not of the form of a sealed text.
    #[error("it is no sealed text")]
    Form,
    /// It was sealed with a key that is not here.
    #[error("it is sealed with the key {key}, which is not among those given ({known})")]
    UnknownKey {
        /// The id of the key.
        key: String,
        /// The ids of those there are.
        known: String,
    },
    /// It was changed, or it is of something else.
    #[error("it does not open: it was changed, or moved here from somewhere else")]
    Changed,
    /// The system has no random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(String),
}

impl Keyring {
    /// Reads keys of 64 hex digits, separated by white space or commas.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let parts = text.split(|c: char| c.is_whitespace() || c == ',').filter(|p| !p.is_empty());
        let keys: Result<Vec<Key>, KeyringError> = parts
            .enumerate()
            .map(|(at, part)| Key::parse(part).ok_or(KeyringError::Form { number: at + 1 }))
            .collect();
        let keys = keys?;
        if keys.is_empty() { Err(KeyringError::Empty) } else { Ok(Self(keys)) }
    }

    /// One new key.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn generate() -> Result<Self, KeyringError> {
        let mut given = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *given).map_err(|error| KeyringError::Random(error.to_string()))?;
        Ok(Self(vec![Key::new(given)]))
    }

    /// A new key that seals, before those there are, which still open.
    ///
    /// # Errors
    /// [`KeyringError::Random`].
    pub fn renewed(&self) -> Result<Self, KeyringError> {
        let mut keys = Self::generate()?.0;
        keys.extend(self.0.iter().map(|key| Key::new(key.given.clone())));
        Ok(Self(keys))
    }

    /// The key that seals, alone.
    pub fn newest(&self) -> Self {
        Self(self.0.first().map(|key| Key::new(key.given.clone())).into_iter().collect())
    }

    /// The text that [`Self::parse`] reads: to be kept where nobody else reads it.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * (2 * KEY_BYTES + 1)));
        for key in &self.0 {
            for byte in key.given.iter() {
                for digit in [byte >> 4, byte & 15] {
                    text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
                }
            }
            text.push('\n');
        }
        text
    }

    /// The id of the key that seals.
    pub fn id(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }

    /// Seals bytes as those of `place`.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn seal(&self, place: &[&str], plain: &[u8]) -> Result<String, SealError> {
        let key = self.0.first().ok_or(SealError::Changed)?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| SealError::Random(error.to_string()))?;
        let aad = associated(place);
        let payload = Payload { msg: plain, aad: &aad };
        let sealed = key.cipher().encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| SealError::Changed)?;
        let data = URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat());
        Ok(format!("{VERSION}.{}.{data}", key.id))
    }

    /// Opens what was sealed as bytes of `place`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, place: &[&str], sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (id, data) = parts(sealed).ok_or(SealError::Form)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(|| {
            let known: Vec<&str> = self.0.iter().map(|key| key.id.as_str()).collect();
            SealError::UnknownKey { key: id.chars().take(16).collect(), known: known.join(", ") }
        })?;
        let data = URL_SAFE_NO_PAD.decode(data).map_err(|_| SealError::Form)?;
        let (nonce, data) = data.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Form)?;
        let aad = associated(place);
        let payload = Payload { msg: data, aad: &aad };
        let plain = key.cipher().decrypt(&XNonce::from(*nonce), payload);
        plain.map(Zeroizing::new).map_err(|_| SealError::Changed)
    }

    /// The id of the key that a text was sealed with; empty if it is no sealed text.
    pub fn key_of(sealed: &str) -> &str {
        parts(sealed).map_or("", |(id, _)| id)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl Key {
    fn new(given: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let named = blake3::derive_key(NAMING, &*given);
        let id = named[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { given, id }
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        let mut given = Zeroizing::new([0; KEY_BYTES]);
        for (byte, pair) in given.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
        }
        Some(Self::new(given))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = Zeroizing::new(blake3::derive_key(SEALING, &*self.given));
        XChaCha20Poly1305::new((&*key).into())
    }
}

fn parts(sealed: &str) -> Option<(&str, &str)> {
    sealed.strip_prefix(VERSION)?.strip_prefix('.')?.split_once('.')
}

/// The parts of a place with their lengths, so that no two places read the same.
fn associated(place: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in place {
        bytes.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: &[&str] = &["secrets", "default", "api-key"];

    #[test]
    fn what_is_sealed_opens_in_its_place_with_its_key_and_nowhere_else() {
        let ring = Keyring::generate().expect("a key");
        let sealed = ring.seal(PLACE, b"hunter2hunter2").expect("sealed");
        assert!(!sealed.contains("hunter2"));
        assert_eq!(*ring.open(PLACE, &sealed).expect("opens"), b"hunter2hunter2");
        assert_ne!(sealed, ring.seal(PLACE, b"hunter2hunter2").expect("sealed"), "a fresh nonce");
        for elsewhere in [&["secrets", "default", "other"][..], &["secrets", "defaulta", "pi-key"]]
        {
            assert_eq!(ring.open(elsewhere, &sealed), Err(SealError::Changed));
        }
        let other = Keyring::generate().expect("a key");
        assert!(matches!(other.open(PLACE, &sealed), Err(SealError::UnknownKey { .. })));
        assert_eq!(ring.open(PLACE, "hunter2"), Err(SealError::Form));
    }

    #[test]
    fn any_change_is_noticed() {
        let ring = Keyring::generate().expect("a key");
        let sealed = ring.seal(PLACE, b"hunter2hunter2").expect("sealed");
        let start = sealed.rfind('.').expect("a dot") + 1;
        for at in start..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            assert!(ring.open(PLACE, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_renewed_ring_seals_with_the_new_key_and_opens_both() {
        let old = Keyring::generate().expect("a key");
        let sealed = old.seal(PLACE, b"hunter2hunter2").expect("sealed");
        let both = Keyring::parse(&old.renewed().expect("a key").text()).expect("its own form");
        assert_ne!(both.id(), old.id());
        assert!(both.open(PLACE, &sealed).is_ok());
        let again = both.seal(PLACE, b"hunter2hunter2").expect("sealed");
        assert_eq!(Keyring::key_of(&again), both.id());
        assert!(both.newest().open(PLACE, &again).is_ok());
        assert!(both.newest().open(PLACE, &sealed).is_err());
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_and_not_repeated() {
        assert_eq!(Keyring::parse(" \n").map(|_| ()), Err(KeyringError::Empty));
        let long = "0".repeat(65);
        for bad in ["hunter2hunter2", &"g".repeat(64), &long, &format!("{},x", "0".repeat(64))] {
            let error = Keyring::parse(bad).map(|_| ()).expect_err("no key");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", Keyring::parse(&"ab".repeat(32))).contains("abab"));
    }
}
