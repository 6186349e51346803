//! The wasmtime engine: one pool of instances for all components, tuned so that a fresh
//! sandbox costs microseconds.
//!
//! The invariant: what an artifact depends on (tunables, features, target) is the same for
//! [`Purpose::Run`] and [`Purpose::Compile`] and does not depend on [`EngineConfig`], so what
//! the compile process makes always loads in the pool. Deliberately absent: an epoch ticker;
//! fuel alone stops, yields and bills.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
};

use crate::error::EngineError;

/// Settings of the engine. They bound every component and every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Instances that can be alive at once, at most [`EngineConfig::SLOTS_MAX`].
    pub slots: u32,
    /// The most linear memory any call may be allowed: the size of a slot of the pool.
    pub memory_ceiling_bytes: u64,
    /// The most elements any table may be allowed.
    pub table_elements_ceiling: u64,
    /// How many calls that have used up their first slice may run at once; `None` is half
    /// of the cores, at least one.
    pub heavy_permits: Option<NonZeroUsize>,
    /// How long a call may compute before it needs one of the heavy permits, and how long it
    /// keeps one.
    pub first_slice_ms: u64,
    /// Fuel after which a guest gives its thread to others.
    pub fuel_yield_interval: u64,
    /// Stack of a guest.
    pub wasm_stack_bytes: u64,
}

impl EngineConfig {
    /// A used slot costs six mappings, and Linux allows 65,530 by default.
    pub const SLOTS_MAX: u32 = 8_000;
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            slots: 512,
            memory_ceiling_bytes: 64 << 20,
            table_elements_ceiling: 32_768,
            heavy_permits: None,
            first_slice_ms: 5,
            fuel_yield_interval: 1_000_000,
            wasm_stack_bytes: 512 << 10,
        }
    }
}

/// What an engine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To run guests: instances come from the pool.
    Run,
    /// To compile components; nothing is instantiated, so nothing is reserved.
    Compile,
}

/// Address space of one linear memory. At 4 GiB a 32-bit guest cannot reach beyond it, so
/// compiled code needs no bounds checks; less would cost CPU-heavy guests 1.2 to 2 times.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

/// How much of a freed slot stays resident, so that neither its next use nor the threads of
/// its neighbors pay for page faults and TLB shoot-downs.
const MEMORY_KEPT_WITH_PAGEMAP_BYTES: usize = 1 << 20;
/// Without the page map every kept byte is written on each reuse: keep what a compact guest uses.
const MEMORY_KEPT_BYTES: usize = 192 << 10;
const TABLE_KEPT_BYTES: usize = 64 << 10;
const STACK_KEPT_BYTES: usize = 64 << 10;

/// Stack left to host functions below a guest's own.
const HOST_STACK_BYTES: u64 = 512 << 10;

/// The one place where a wasmtime configuration is made.
pub(crate) fn engine_config(config: &EngineConfig, purpose: Purpose) -> Config {
    let mut wasmtime = Config::new();
    wasmtime
        .strategy(Strategy::Cranelift)
        .wasm_component_model(true)
        .wasm_component_model_async(false)
        .concurrency_support(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .shared_memory(false)
        .gc_support(false)
        .consume_fuel(true)
        .epoch_interruption(false)
        .memory_init_cow(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        // One frame, and only once a guest has trapped: it tells a trap inside the guest from
        // a result that is too large to be copied out.
        .wasm_backtrace_max_frames(NonZeroUsize::new(1))
        .max_wasm_stack(size(config.wasm_stack_bytes))
        .async_stack_size(size(config.wasm_stack_bytes + HOST_STACK_BYTES));
    wasmtime.allocation_strategy(match purpose {
        Purpose::Run => InstanceAllocationStrategy::Pooling(pool(config)),
        Purpose::Compile => InstanceAllocationStrategy::OnDemand,
    });
    wasmtime
}

/// # Errors
/// A setting out of range, or a machine that does not give the pool its address space.
pub(crate) fn new_engine(config: &EngineConfig) -> Result<Engine, EngineError> {
    check(config)?;
    Engine::new(&engine_config(config, Purpose::Run))
        .map_err(|error| EngineError::Pool { slots: config.slots, message: format!("{error:#}") })
}

fn check(config: &EngineConfig) -> Result<(), EngineError> {
    let between = |setting, value: u64, min: u64, max: u64, reason| {
        if (min..=max).contains(&value) {
            Ok(())
        } else {
            Err(EngineError::Setting { setting, value, reason })
        }
    };
    between("slots", config.slots.into(), 1, EngineConfig::SLOTS_MAX.into(), "it is 1 to 8,000")?;
    between(
        "memory_ceiling_bytes",
        config.memory_ceiling_bytes,
        64 << 10,
        1 << 30,
        "it is 64 KiB to 1 GiB",
    )?;
    between(
        "table_elements_ceiling",
        config.table_elements_ceiling,
        1,
        1_000_000,
        "it is 1 to 1,000,000",
    )?;
    between("first_slice_ms", config.first_slice_ms, 1, 1_000, "it is 1 to 1,000 ms")?;
    between(
        "fuel_yield_interval",
        config.fuel_yield_interval,
        10_000,
        100_000_000,
        "it is 10,000 to 100,000,000: below, a guest yields all the time; above, it overruns its deadline",
    )?;
    between("wasm_stack_bytes", config.wasm_stack_bytes, 64 << 10, 8 << 20, "it is 64 KiB to 8 MiB")
}

fn pool(config: &EngineConfig) -> PoolingAllocationConfig {
    let slots = config.slots;
    let pagemap = pagemap_scan_is_safe();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(4))
        .total_memories(slots)
        .total_tables(slots.saturating_mul(4))
        .total_stacks(slots)
        .total_gc_heaps(0)
        .max_memories_per_module(32)
        .max_tables_per_module(64)
        .max_unused_warm_slots(slots)
        .max_memory_size(size(config.memory_ceiling_bytes))
        .table_elements(size(config.table_elements_ceiling))
        .linear_memory_keep_resident(if pagemap {
            MEMORY_KEPT_WITH_PAGEMAP_BYTES
        } else {
            MEMORY_KEPT_BYTES
        })
        .table_keep_resident(TABLE_KEPT_BYTES)
        .async_stack_keep_resident(STACK_KEPT_BYTES)
        .pagemap_scan(if pagemap { Enabled::Yes } else { Enabled::No });
    pool
}

/// The page map finds the pages that a guest wrote, in Linux 6.7 and later. It does not see
/// pages that were swapped out, which the next guest could then read: with swap, never.
pub(crate) fn pagemap_scan_is_safe() -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let swaps = std::fs::read_to_string("/proc/swaps");
    // Unreadable means unknown, and unknown means that there may be swap.
    swaps.is_ok_and(|swaps| !has_swap(&swaps))
        && has_pagemap_scan(&read("/proc/sys/kernel/osrelease"))
}

/// The first line of `/proc/swaps` is its heading.
fn has_swap(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

fn has_pagemap_scan(release: &str) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    let (major, minor): (Option<u32>, Option<u32>) =
        (parts.next().flatten(), parts.next().flatten());
    (major, minor) >= (Some(6), Some(7))
}

/// Sizes are checked to be far below `usize::MAX` before they come here.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    fn compatibility(config: &EngineConfig, purpose: Purpose) -> u64 {
        let engine = Engine::new(&engine_config(config, purpose)).expect("an engine");
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn what_the_compile_process_makes_loads_in_the_pool_whatever_the_settings() {
        let small = EngineConfig { slots: 4, ..EngineConfig::default() };
        let other = EngineConfig {
            slots: 2,
            memory_ceiling_bytes: 128 << 20,
            wasm_stack_bytes: 1 << 20,
            fuel_yield_interval: 10_000,
            ..EngineConfig::default()
        };
        let run = compatibility(&small, Purpose::Run);
        assert_eq!(run, compatibility(&small, Purpose::Compile));
        assert_eq!(run, compatibility(&other, Purpose::Run));
        assert_eq!(run, compatibility(&EngineConfig::default(), Purpose::Compile));
    }

    #[test]
    fn a_setting_out_of_range_is_refused_by_name() {
        for (setting, config) in [
            ("slots", EngineConfig { slots: 8_001, ..EngineConfig::default() }),
            ("slots", EngineConfig { slots: 0, ..EngineConfig::default() }),
            (
                "memory_ceiling_bytes",
                EngineConfig { memory_ceiling_bytes: 0, ..EngineConfig::default() },
            ),
            (
                "fuel_yield_interval",
                EngineConfig { fuel_yield_interval: 0, ..EngineConfig::default() },
            ),
            ("first_slice_ms", EngineConfig { first_slice_ms: 0, ..EngineConfig::default() }),
        ] {
            let error = new_engine(&config).expect_err("out of range");
            assert!(error.to_string().starts_with(setting), "{error}");
        }
    }

    #[test]
    fn swap_is_seen_and_old_kernels_are_told_apart() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!has_swap(heading));
        assert!(has_swap(&format!("{heading}/dev/sda2 partition 1 0 -2\n")));
        assert!(has_pagemap_scan("6.7.0") && has_pagemap_scan("6.18.44-generic"));
        assert!(has_pagemap_scan("7.0"));
        assert!(!has_pagemap_scan("6.6.12") && !has_pagemap_scan("5.15") && !has_pagemap_scan(""));
    }
}
