//! An effect as it stands on a turn's record: its kind, its JSON and the digest of both.

use foreshore_domain::conversation::{EffectDigest, Name};
use foreshore_domain::effect::AgentEffect;

/// What a turn asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: &'static str,
    pub(crate) json: String,
    pub(crate) digest: EffectDigest,
}

impl Request {
    /// # Errors
    /// It holds a number that JSON has no word for, such as a temperature that is none.
    pub(crate) fn of(effect: &AgentEffect) -> Result<Self, serde_json::Error> {
        let (kind, json) = (effect.kind(), serde_json::to_string(effect)?);
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.as_bytes()).update(&[0]).update(json.as_bytes());
        let digest = EffectDigest::from_bytes(hasher.finalize().into());
        Ok(Self { kind, json, digest })
    }

    /// The kind, as events name it.
    pub(crate) fn name(&self) -> Name {
        name(self.kind)
    }

    /// For people who look into a divergence.
    pub(crate) fn words(&self) -> String {
        words(self.kind, &self.digest)
    }
}

/// A kind and the start of a digest, for people.
pub(crate) fn words(kind: &str, digest: &EffectDigest) -> String {
    let hex: String = digest.as_bytes().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{kind} {hex}")
}

/// A digest as it is written.
pub(crate) fn hex(digest: &EffectDigest) -> String {
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As much of a text as a name has room for; a text with nothing in it is `-`.
pub(crate) fn name(text: &str) -> Name {
    Name::cut(text).or_else(|| Name::cut("-")).expect("invariant: a dash is a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_the_kind_and_the_json() {
        let of = |effect: &AgentEffect| Request::of(effect).expect("JSON").digest;
        let recent = |limit| AgentEffect::RecentMessages { limit };
        assert_eq!(of(&recent(3)), of(&recent(3)));
        assert_ne!(of(&recent(3)), of(&recent(4)));
        assert_ne!(of(&AgentEffect::Models), of(&AgentEffect::Tools));
        assert_eq!(name("").as_str(), "-");
    }
}
