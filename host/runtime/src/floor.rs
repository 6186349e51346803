//! The yardstick of the benchmarks: the cheapest fresh call that bare wasmtime makes of the same
//! guest, with the settings that measure best and nothing of the product around it: no fuel, no
//! limits, no grants, no door, no record.
//!
//! Nothing but a benchmark may use this: a guest called through here can spin for ever.

use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    wasmtime::component::bindgen!({ path: "../../wit", world: "foreshore:worlds/tool" });
}

/// A guest, ready to be called barely.
pub struct Floor {
    engine: Engine,
    pre: bindings::ToolPre<State>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl bindings::foreshore::log::log::Host for State {
    fn log(&mut self, _: bindings::foreshore::log::log::Level, _: String) {}
}

impl bindings::foreshore::progress::progress::Host for State {
    fn report(&mut self, _: f64, _: Option<f64>, _: Option<String>) {}
}

/// Why the yardstick cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("the bare call failed: {0}")]
pub struct FloorError(String);

impl From<wasmtime::Error> for FloorError {
    fn from(error: wasmtime::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

impl Floor {
    /// Compiles the guest for bare calls.
    ///
    /// # Errors
    /// What wasmtime says of the guest.
    pub fn new(wasm: &[u8]) -> Result<Self, FloorError> {
        let engine = Engine::new(&config())?;
        let component = Component::new(&engine, wasm)?;
        let mut linker = Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        bindings::foreshore::log::log::add_to_linker::<_, HasSelf<State>>(&mut linker, |s| s)?;
        bindings::foreshore::progress::progress::add_to_linker::<_, HasSelf<State>>(
            &mut linker,
            |s| s,
        )?;
        let pre = bindings::ToolPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    /// One call in a fresh instance: the length of what came back.
    ///
    /// # Errors
    /// A trap, or the tool's own error.
    pub fn call(&self, tool: &str, arguments: &str) -> Result<usize, FloorError> {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        let instance = self.pre.instantiate(&mut store)?;
        // What the bindings make of a string depends on who else uses them: owned serves both.
        let (tool, arguments) = (&tool.to_owned(), &arguments.to_owned());
        let outcome = instance.foreshore_tool_tool().call_call(&mut store, tool, arguments)?;
        let outcome = outcome.map_err(|error| FloorError(format!("{error:?}")))?;
        Ok(outcome.structured.map_or(0, |text| text.len()))
    }
}

fn config() -> Config {
    const SLOTS: u32 = 64;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS)
        .total_core_instances(SLOTS * 4)
        .total_memories(SLOTS)
        .total_tables(SLOTS * 4)
        .max_unused_warm_slots(SLOTS)
        .max_memory_size(64 << 20)
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(if crate::engine::pagemap_scan_is_safe() {
            Enabled::Yes
        } else {
            Enabled::No
        });
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .memory_init_cow(true)
        .memory_reservation(64 << 20)
        .concurrency_support(false)
        .wasm_backtrace_max_frames(None)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
