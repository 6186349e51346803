//! `wasi:clocks`, `wasi:random` and `wasi:cli/environment` of an agent: the same in each run of
//! a turn.
//!
//! Both clocks show the time of the last effect, and stand still in between. **A guest that
//! sleeps goes on at once**: on a clock that stands still it would else wait for ever. Who wants
//! to wait for a time asks `foreshore:events` (`wake-at`), which is an effect.
//! Random numbers are one stream that follows from the turn's seed, whichever of the three
//! interfaces draws from it. The environment is empty.
//!
//! The invariant: nothing here depends on when, where or how often the turn runs.

use foreshore_domain::agent::TurnContext;
use foreshore_domain::call::FiredLimit;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::p2::bindings::cli::environment;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::insecure_seed;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi_io::async_trait;

use super::fault;
use crate::bindings::asynchronous::{insecure, random};
use crate::limiter::{LimitFired, size};
use crate::state::State;

/// What is drawn at once: a guest that asks for much lets others run in between.
const PIECE_BYTES: usize = 64 << 10;
/// What the stream of a turn is derived for. Part of the record's format.
const RANDOM_CONTEXT: &str = "foreshore 2026-11 random numbers of a turn";
const MILLISECOND_NS: u64 = 1_000_000;

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    wall_clock::add_to_linker::<State, OfTheTurn>(linker, |state| InTurn(state))?;
    monotonic_clock::add_to_linker::<State, OfTheTurn>(linker, |state| InTurn(state))?;
    random::add_to_linker::<State, OfTheTurn>(linker, |state| InTurn(state))?;
    insecure::add_to_linker::<State, OfTheTurn>(linker, |state| InTurn(state))?;
    insecure_seed::add_to_linker::<State, OfTheTurn>(linker, |state| InTurn(state))?;
    environment::add_to_linker::<State, OfTheTurn>(linker, |state| InTurn(state))
}

/// The store's data, for the implementations that follow from the turn alone. Those of tools
/// are on [`State`] itself.
struct InTurn<'a>(&'a mut State);

struct OfTheTurn;

impl HasData for OfTheTurn {
    type Data<'a> = InTurn<'a>;
}

/// A sleep on a clock that stands still.
struct AtOnce;

#[async_trait]
impl Pollable for AtOnce {
    async fn ready(&mut self) {}
}

impl InTurn<'_> {
    fn turn(&self) -> Result<&TurnContext> {
        let turn = self.0.scope.context.turn.as_deref();
        turn.ok_or_else(|| fault("clock", "an agent runs without a turn"))
    }

    fn sleep(&mut self) -> Result<Resource<DynPollable>> {
        self.0.scope.count_operation()?;
        let sleep = self.0.table.push(AtOnce)?;
        subscribe(&mut self.0.table, sleep)
    }

    fn stream(&mut self) -> Result<&mut blake3::OutputReader> {
        let seed = self.turn()?.seed;
        Ok(self.0.random.get_or_insert_with(|| {
            let mut hasher = blake3::Hasher::new_derive_key(RANDOM_CONTEXT);
            hasher.update(&seed);
            Box::new(hasher.finalize_xof())
        }))
    }

    fn draw_u64(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.stream()?.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    async fn draw_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.0.scope.count_operation()?;
        let allowed = self.0.scope.context.limits.random_max_bytes.get();
        if length > allowed {
            return Err(LimitFired { limit: FiredLimit::HostCall, allowed }.into());
        }
        let mut bytes = vec![0; size(length)];
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            let scope = std::sync::Arc::clone(&self.0.scope);
            let stream = self.stream()?;
            scope.timed(|| stream.fill(piece));
            scope.breathe().await;
        }
        Ok(bytes)
    }
}

impl wall_clock::Host for InTurn<'_> {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        let now_ms = self.turn()?.now_unix_ms();
        let nanoseconds = u32::try_from(now_ms % 1_000 * MILLISECOND_NS).unwrap_or(0);
        Ok(wall_clock::Datetime { seconds: now_ms / 1_000, nanoseconds })
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}

impl monotonic_clock::Host for InTurn<'_> {
    /// Counts from the beginning of the turn.
    fn now(&mut self) -> Result<monotonic_clock::Instant> {
        let turn = self.turn()?;
        let since_ms = turn.now_unix_ms().saturating_sub(turn.began_at_unix_ms);
        Ok(since_ms.saturating_mul(MILLISECOND_NS))
    }

    fn resolution(&mut self) -> Result<monotonic_clock::Duration> {
        Ok(MILLISECOND_NS)
    }

    fn subscribe_instant(
        &mut self,
        _when: monotonic_clock::Instant,
    ) -> Result<Resource<DynPollable>> {
        self.sleep()
    }

    fn subscribe_duration(
        &mut self,
        _duration: monotonic_clock::Duration,
    ) -> Result<Resource<DynPollable>> {
        self.sleep()
    }
}

impl random::Host for InTurn<'_> {
    async fn get_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.draw_bytes(length).await
    }

    async fn get_random_u64(&mut self) -> Result<u64> {
        self.draw_u64()
    }
}

impl insecure::Host for InTurn<'_> {
    async fn get_insecure_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.draw_bytes(length).await
    }

    async fn get_insecure_random_u64(&mut self) -> Result<u64> {
        self.draw_u64()
    }
}

impl insecure_seed::Host for InTurn<'_> {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((self.draw_u64()?, self.draw_u64()?))
    }
}

impl environment::Host for InTurn<'_> {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}
