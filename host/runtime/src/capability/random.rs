//! `wasi:random`: random bytes, bounded per request by `random_max_bytes`.
//!
//! Needs no grant. All three interfaces draw from the host's cryptographic generator: the
//! insecure ones gain nothing from being predictable.

use foreshore_domain::call::FiredLimit;
use rand::RngExt;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::random::insecure_seed;

use crate::bindings::asynchronous::{insecure, random};
use crate::limiter::{LimitFired, size};
use crate::state::State;

/// What is drawn at once: a guest that asks for much lets others run in between.
const PIECE_BYTES: usize = 64 << 10;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    insecure::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    insecure_seed::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl State {
    async fn random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.scope.count_operation()?;
        let allowed = self.scope.context.limits.random_max_bytes.get();
        if length > allowed {
            return Err(LimitFired { limit: FiredLimit::HostCall, allowed }.into());
        }
        let mut bytes = vec![0; size(length)];
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            self.scope.timed(|| rand::rng().fill(piece));
            self.scope.breathe().await;
        }
        Ok(bytes)
    }
}

impl random::Host for State {
    async fn get_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.random_bytes(length).await
    }

    async fn get_random_u64(&mut self) -> Result<u64> {
        Ok(rand::rng().random())
    }
}

impl insecure::Host for State {
    async fn get_insecure_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.random_bytes(length).await
    }

    async fn get_insecure_random_u64(&mut self) -> Result<u64> {
        Ok(rand::rng().random())
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok(rand::rng().random())
    }
}
