//! Signed checkpoints: what the chain was, kept outside the database.
//!
//! A hash chain alone does not see a tail that was cut, a rewrite from the first event, or an
//! older file put back. Whoever holds a checkpoint does, since only the holder of the key can
//! make another. Format, so that other programs can check it:
//!
//! ```text
//! line      = JSON {"journal","epoch","seq","hash","at_unix_ms","key","signature"}, bytes in hex
//! signature = Ed25519 (RFC 8032) over
//!             "foreshore journal checkpoint 1\0" | journal:16 | epoch:u64 | seq:u64 | hash:32
//!             | at_unix_ms:u64                              (integers are little-endian)
//! ```

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::facts::Tip;
use crate::frame::Hash;
use crate::meta::Anchor;

const CONTEXT: &[u8] = b"foreshore journal checkpoint 1\0";
const ANCHOR_CONTEXT: &[u8] = b"foreshore journal anchor 1\0";

/// What the chain was at an event, signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which journal: random, from when it was made.
    pub journal_id: [u8; 16],
    /// Goes up when an operator accepts a journal as it is; from 1.
    pub epoch: u64,
    /// The event; 0 before the first.
    pub seq: u64,
    /// The chain's value there.
    pub hash: Hash,
    /// When that event was, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The public key.
    pub key: [u8; 32],
    /// The signature over all of this but the key.
    pub signature: [u8; 64],
}

/// A text that is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a checkpoint: a line of JSON with journal, epoch, seq, hash, at_unix_ms, key and signature"
)]
pub struct CheckpointParseError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    journal: String,
    epoch: u64,
    seq: u64,
    hash: String,
    at_unix_ms: u64,
    key: String,
    signature: String,
}

impl Checkpoint {
    pub(crate) fn sign(
        key: &SigningKey,
        journal_id: [u8; 16],
        epoch: u64,
        tip: Tip,
        at_unix_ms: u64,
    ) -> Self {
        let mut checkpoint = Self {
            journal_id,
            epoch,
            seq: tip.seq,
            hash: tip.hash,
            at_unix_ms,
            key: key.verifying_key().to_bytes(),
            signature: [0; 64],
        };
        checkpoint.signature = key.sign(&checkpoint.signed_bytes()).to_bytes();
        checkpoint
    }

    /// Whether the signature is that of its key. Whose key that is, is for the caller to know.
    pub fn is_signed(&self) -> bool {
        let signature = Signature::from_bytes(&self.signature);
        VerifyingKey::from_bytes(&self.key)
            .is_ok_and(|key| key.verify_strict(&self.signed_bytes(), &signature).is_ok())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = CONTEXT.to_vec();
        bytes.extend_from_slice(&self.journal_id);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(&self.at_unix_ms.to_le_bytes());
        bytes
    }

    /// One line of JSON, without its end.
    pub fn to_line(&self) -> String {
        let line = Line {
            journal: hex(&self.journal_id),
            epoch: self.epoch,
            seq: self.seq,
            hash: hex(&self.hash),
            at_unix_ms: self.at_unix_ms,
            key: hex(&self.key),
            signature: hex(&self.signature),
        };
        serde_json::to_string(&line).expect("invariant: strings and numbers serialize")
    }

    /// Reads what [`Self::to_line`] writes; the signature is not looked at.
    ///
    /// # Errors
    /// [`CheckpointParseError`].
    pub fn parse(line: &str) -> Result<Self, CheckpointParseError> {
        let line: Line = serde_json::from_str(line).map_err(|_| CheckpointParseError)?;
        Ok(Self {
            journal_id: unhex(&line.journal).ok_or(CheckpointParseError)?,
            epoch: line.epoch,
            seq: line.seq,
            hash: unhex(&line.hash).ok_or(CheckpointParseError)?,
            at_unix_ms: line.at_unix_ms,
            key: unhex(&line.key).ok_or(CheckpointParseError)?,
            signature: unhex(&line.signature).ok_or(CheckpointParseError)?,
        })
    }
}

/// Signs that what came up to `base` was archived: nobody but the key's holder can say so.
pub(crate) fn sign_anchor(
    key: &SigningKey,
    journal_id: &[u8; 16],
    base: Tip,
    at_unix_ms: u64,
) -> Anchor {
    let signature = key.sign(&anchor_bytes(journal_id, base, at_unix_ms)).to_bytes();
    Anchor { at_unix_ms, signature }
}

pub(crate) fn is_anchored(
    key: &VerifyingKey,
    journal_id: &[u8; 16],
    base: Tip,
    anchor: &Anchor,
) -> bool {
    let message = anchor_bytes(journal_id, base, anchor.at_unix_ms);
    key.verify_strict(&message, &Signature::from_bytes(&anchor.signature)).is_ok()
}

fn anchor_bytes(journal_id: &[u8; 16], base: Tip, at_unix_ms: u64) -> Vec<u8> {
    let (seq, at) = (base.seq.to_le_bytes(), at_unix_ms.to_le_bytes());
    [ANCHOR_CONTEXT, journal_id, &seq, &base.hash, &at].concat()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_checkpoint_is_signed() {
        let key = SigningKey::from_bytes(&[9; 32]);
        let tip = Tip { seq: 7, hash: [3; 32] };
        let good = Checkpoint::sign(&key, [1; 16], 2, tip, 1_000);
        assert!(good.is_signed());
        assert_eq!(Checkpoint::parse(&good.to_line()), Ok(good));
        let changes: [fn(&mut Checkpoint); 7] = [
            |c| c.journal_id[0] ^= 1,
            |c| c.epoch += 1,
            |c| c.seq += 1,
            |c| c.hash[31] ^= 1,
            |c| c.at_unix_ms += 1,
            |c| c.key = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes(),
            |c| c.signature[5] ^= 1,
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut bad = good;
            change(&mut bad);
            assert!(!bad.is_signed(), "change {n}");
        }
    }
}
