//! Reads checkpoints, exactly as they are written: a line that is spelled otherwise is none.

use ed25519_dalek::{Signature, VerifyingKey};

use crate::Finding;

const CONTEXT: &[u8] = b"foreshore journal checkpoint 1\0";

/// What the chain was at an event, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub(crate) journal_id: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) at_unix_ms: u64,
    pub(crate) key: [u8; 32],
    pub(crate) signature: [u8; 64],
}

impl Checkpoint {
    /// Every checkpoint of a file. A last line without its end is what a crash leaves.
    ///
    /// # Errors
    /// [`Finding`]: a line is not a checkpoint.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Finding> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |(at, line)| {
            let what = || format!("line {} of the checkpoints is not a checkpoint", at + 1);
            Self::parse(line).ok_or_else(|| Finding::new(0, what()))
        };
        whole.lines().enumerate().map(parse).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let mut rest = line;
        let journal_id = between(&mut rest, "{\"journal\":\"", "\"").and_then(unhex)?;
        let epoch = between(&mut rest, ",\"epoch\":", ",")?.parse().ok()?;
        let seq = between(&mut rest, "\"seq\":", ",")?.parse().ok()?;
        let hash = between(&mut rest, "\"hash\":\"", "\"").and_then(unhex)?;
        let at_unix_ms = between(&mut rest, ",\"at_unix_ms\":", ",")?.parse().ok()?;
        let key = between(&mut rest, "\"key\":\"", "\"").and_then(unhex)?;
        let signature = between(&mut rest, ",\"signature\":\"", "\"").and_then(unhex)?;
        let whole = rest == "}";
        whole.then_some(Self { journal_id, epoch, seq, hash, at_unix_ms, key, signature })
    }

    pub(crate) fn is_signed_by(&self, key: &[u8; 32]) -> bool {
        let mut message = CONTEXT.to_vec();
        message.extend_from_slice(&self.journal_id);
        message.extend_from_slice(&self.epoch.to_le_bytes());
        message.extend_from_slice(&self.seq.to_le_bytes());
        message.extend_from_slice(&self.hash);
        message.extend_from_slice(&self.at_unix_ms.to_le_bytes());
        let signature = Signature::from_bytes(&self.signature);
        self.key == *key
            && VerifyingKey::from_bytes(key)
                .is_ok_and(|key| key.verify_strict(&message, &signature).is_ok())
    }
}

/// A public key: 64 hex digits.
pub fn parse_key(text: &str) -> Option<[u8; 32]> {
    unhex(text.trim())
}

fn between<'a>(rest: &mut &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (part, left) = rest.strip_prefix(before)?.split_once(after)?;
    *rest = left;
    Some(part)
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
