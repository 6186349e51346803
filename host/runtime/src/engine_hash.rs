//! Which engine an artifact is for.

use std::hash::{Hash as _, Hasher};

use wasmtime::Engine;

/// Everything that an artifact depends on (target, flags, tunables, features, version of
/// wasmtime), in 32 bytes. Equal hashes mean that artifacts can be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EngineHash([u8; 32]);

impl EngineHash {
    pub(crate) fn of(engine: &Engine) -> Self {
        let mut hasher = Blake3(blake3::Hasher::new_derive_key("foreshore engine hash 1"));
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize().into())
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hex digits: enough to tell files apart.
    pub(crate) fn short_hex(&self) -> String {
        self.0[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// BLAKE3 in the form that `std::hash` speaks, since a hash of 64 bits could be met by chance.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("invariant: 32 bytes have 8"))
    }
}
