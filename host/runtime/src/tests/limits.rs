//! Every limit, by a guest that runs into it; each test names the limit that fired.

use std::time::{Duration, Instant};

use super::*;

const SPIN: &str = "(loop $again (br $again)) (i32.const 0)";
const MIB: u64 = 1 << 20;

#[tokio::test]
async fn fuel_ends_a_guest_that_spins() {
    let host = Host::new();
    let report = host.call(&tool(SPIN), &[("fuel", 3_000_000)]).await;
    assert_eq!(report.usage.fuel, 3_000_000);
    assert_eq!(fired(report), (FiredLimit::Fuel, 3_000_000));
}

#[tokio::test]
async fn the_deadline_ends_a_guest_that_spins() {
    let host = Host::new();
    let linked = host.link(&[], &tool(SPIN), &Arc::default());
    let context = context(&Arc::default(), &[("deadline_ms", 50), ("fuel", 1_000_000_000_000)]);
    let started = Instant::now();
    let report = linked.call(context, "test", "{}").await;
    assert!(started.elapsed() < Duration::from_millis(1_000), "{:?}", started.elapsed());
    assert!(report.usage.fuel > 0 && report.usage.wall_us >= 50_000, "{:?}", report.usage);
    assert_eq!(fired(report), (FiredLimit::Deadline, 50));
}

#[tokio::test]
async fn the_deadline_ends_a_guest_that_sleeps_in_the_host() {
    let imports = r#"
        (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration"
            (func $sleep (param i64) (result i32)))
        (import "wasi:io/poll@0.2.6" "[method]pollable.block" (func $block (param i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 1)",
        "(call $block (call $sleep (i64.const 60000000000))) (i32.const 0)",
    );
    let host = Host::new();
    let interfaces = ["wasi:clocks/monotonic-clock@0.2.6", "wasi:io/poll@0.2.6"];
    let report = host.call_with(&interfaces, &module, &[("deadline_ms", 50)]).await;
    assert!(report.usage.host_us >= 40_000, "{:?}", report.usage);
    assert_eq!(fired(report), (FiredLimit::Deadline, 50));
}

#[tokio::test]
async fn memory_ends_a_guest_that_grows() {
    let host = Host::new();
    let grow = "(drop (memory.grow (i32.const 64))) (i32.const 0)";
    let report = host.call(&tool(grow), &[("memory_max_bytes", 2 * MIB)]).await;
    assert_eq!(report.usage.peak_memory_bytes, 64 << 10, "what it held before");
    assert_eq!(fired(report), (FiredLimit::Memory, 2 * MIB));
    let report = host.call(&tool(grow), &[("memory_max_bytes", 8 * MIB)]).await;
    assert_eq!(report.usage.peak_memory_bytes, 65 << 16);
    assert!(report.result.is_ok());
}

#[tokio::test]
async fn memory_ends_a_guest_that_starts_too_large_or_outgrows_its_slot() {
    let host = Host::new();
    let large = tool_with("", "(memory (export \"memory\") 64)", "(i32.const 0)");
    let report = host.call(&large, &[("memory_max_bytes", 2 * MIB)]).await;
    assert_eq!(fired(report), (FiredLimit::Memory, 2 * MIB));
    let beyond_slot = tool("(drop (memory.grow (i32.const 2000))) (i32.const 0)");
    let report = host.call(&beyond_slot, &[("memory_max_bytes", 1 << 30)]).await;
    assert_eq!(fired(report).0, FiredLimit::Memory);
}

#[tokio::test]
async fn memory_ends_a_guest_with_too_many_memories() {
    let host = Host::new();
    let many =
        tool_with("", "(memory (export \"memory\") 1) (memory 1) (memory 1)", "(i32.const 0)");
    let report = host.call(&many, &[("memories_max", 2), ("memory_max_bytes", MIB)]).await;
    assert_eq!(fired(report), (FiredLimit::Memory, 2 * MIB));
    let report = host.call(&many, &[("memories_max", 3)]).await;
    assert_eq!(report.usage.peak_memory_bytes, 3 << 16, "over all memories");
}

#[tokio::test]
async fn tables_end_a_guest_that_grows_one_or_has_too_many() {
    let host = Host::new();
    let grow = tool_with(
        "",
        "(memory (export \"memory\") 1) (table $t 1 funcref)",
        "(drop (table.grow $t (ref.null func) (i32.const 5000))) (i32.const 0)",
    );
    let report = host.call(&grow, &[("table_elements_max", 4_000)]).await;
    assert_eq!(fired(report), (FiredLimit::Table, 4_000));
    let many = tool_with(
        "",
        "(memory (export \"memory\") 1) (table 1 funcref) (table 1 funcref) (table 1 funcref)",
        "(i32.const 0)",
    );
    let report = host.call(&many, &[("tables_max", 2), ("table_elements_max", 10)]).await;
    assert_eq!(fired(report), (FiredLimit::Table, 20));
}

#[tokio::test]
async fn instances_end_a_guest_with_too_many() {
    let host = Host::new();
    // An import makes the encoder add an instance of its own for the shims.
    let imports = r#"(import "wasi:random/random@0.2.6" "get-random-bytes"
        (func (param i64 i32)))"#;
    let module = tool_with(imports, "(memory (export \"memory\") 1)", "(i32.const 0)");
    let report =
        host.call_with(&["wasi:random/random@0.2.6"], &module, &[("instances_max", 1)]).await;
    assert_eq!(fired(report), (FiredLimit::Instances, 1));
}

/// `structured` of `length` bytes at address 1024.
fn structured(length: u64) -> String {
    format!(
        "(i32.store8 (i32.const 12) (i32.const 1))
         (i32.store (i32.const 16) (i32.const 1024))
         (i32.store (i32.const 20) (i32.const {length}))
         (memory.fill (i32.const 1024) (i32.const 49) (i32.const {length}))
         (i32.const 0)"
    )
}

#[tokio::test]
async fn the_result_size_ends_a_call_that_returns_too_much() {
    let host = Host::new();
    let module = tool_with("", "(memory (export \"memory\") 160)", &structured(3_000));
    let report = host.call(&module, &[("result_max_bytes", 2_999)]).await;
    assert_eq!(fired(report), (FiredLimit::Result, 2_999));
    let report = host.call(&module, &[("result_max_bytes", 3_000)]).await;
    assert!(report.result.is_ok());
    // Larger than the host copies at all: it is the result that is too large, not a host call.
    let module = tool_with("", "(memory (export \"memory\") 160)", &structured(9 * MIB));
    let report = host.call(&module, &[]).await;
    assert_eq!(fired(report), (FiredLimit::Result, MIB));
}

#[tokio::test]
async fn the_host_call_size_ends_a_guest_that_hands_over_too_much() {
    let imports = r#"(import "foreshore:log/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 160)",
        "(call $log (i32.const 2) (i32.const 0) (i32.const 9000000)) (i32.const 0)",
    );
    let host = Host::new();
    let report = host.call_with(&["foreshore:log/log@0.1.0"], &module, &[]).await;
    assert_eq!(fired(report), (FiredLimit::HostCall, 4 * MIB));
}

#[tokio::test]
async fn the_host_call_size_ends_a_guest_that_asks_for_too_much_randomness() {
    let imports = r#"(import "wasi:random/random@0.2.6" "get-random-bytes"
        (func $random (param i64 i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 1)",
        "(call $random (i64.const -1) (i32.const 64)) (i32.const 0)",
    );
    let host = Host::new();
    let limits = [("random_max_bytes", 100)];
    let report = host.call_with(&["wasi:random/random@0.2.6"], &module, &limits).await;
    assert_eq!(fired(report), (FiredLimit::HostCall, 100));
}

const STDOUT: &str = r#"
    (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
    (import "wasi:io/streams@0.2.6" "[method]output-stream.write"
        (func $write (param i32 i32 i32 i32)))"#;
const STDOUT_INTERFACES: &[&str] = &["wasi:cli/stdout@0.2.6", "wasi:io/streams@0.2.6"];

#[tokio::test]
async fn resources_end_a_guest_that_hoards_streams() {
    let module = tool_with(
        STDOUT,
        "(memory (export \"memory\") 1)",
        "(loop $again (drop (call $stdout)) (br $again)) (i32.const 0)",
    );
    let host = Host::new();
    let limits = [("resources_max", 10)];
    let report = host.call_with(STDOUT_INTERFACES, &module, &limits).await;
    assert_eq!(fired(report), (FiredLimit::Handles, 10));
    let limits = [("handles_max", 20)];
    let report = host.call_with(STDOUT_INTERFACES, &module, &limits).await;
    assert_eq!(fired(report), (FiredLimit::Handles, 20));
}

#[tokio::test]
async fn host_operations_end_a_guest_that_writes_nothing_forever() {
    let module = tool_with(
        STDOUT,
        "(memory (export \"memory\") 1)",
        "(local $out i32)
         (local.set $out (call $stdout))
         (loop $again
            (call $write (local.get $out) (i32.const 0) (i32.const 0) (i32.const 64))
            (br $again))
         (i32.const 0)",
    );
    let host = Host::new();
    let limits = [("host_operations_max", 1_000)];
    let report = host.call_with(STDOUT_INTERFACES, &module, &limits).await;
    assert_eq!(fired(report), (FiredLimit::HostOperations, 1_000));
}

#[tokio::test]
async fn host_operations_end_a_guest_that_polls_without_end() {
    let imports = r#"
        (import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration"
            (func $sleep (param i64) (result i32)))
        (import "wasi:io/poll@0.2.6" "poll" (func $poll (param i32 i32 i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 1)",
        "(i32.store (i32.const 256) (call $sleep (i64.const 0)))
         (i32.store (i32.const 260) (i32.load (i32.const 256)))
         (loop $again
            (call $poll (i32.const 256) (i32.const 2) (i32.const 64))
            (global.set $free (i32.const 32768))
            (br $again))
         (i32.const 0)",
    );
    let host = Host::new();
    let interfaces = ["wasi:clocks/monotonic-clock@0.2.6", "wasi:io/poll@0.2.6"];
    let limits = [("host_operations_max", 1_001)];
    let report = host.call_with(&interfaces, &module, &limits).await;
    assert_eq!(fired(report), (FiredLimit::HostOperations, 1_001));
}

#[tokio::test]
async fn the_stack_ends_a_guest_that_recurses() {
    let host = Host::new();
    let module = tool_with(
        "",
        "(memory (export \"memory\") 1) (func $deep (call $deep))",
        "(call $deep) (i32.const 0)",
    );
    let report = host.call(&module, &[]).await;
    assert_eq!(fired(report).0, FiredLimit::Stack);
}

#[tokio::test]
async fn a_limit_above_what_the_pool_can_hold_is_refused_by_the_name_of_the_setting() {
    let host = Host::new();
    let mut patch = LimitsPatch::default();
    patch.set("memory_max_bytes", 65 * MIB).expect("a limit");
    let limits = Limits::default().with(&patch).expect("valid");
    let error = host.sandbox.check_limits(&limits).expect_err("above");
    assert!(error.to_string().contains("raise memory_ceiling_bytes"), "{error}");
    host.sandbox.check_limits(&Limits::default()).expect("the defaults fit");
}

/// Host calls cost a guest next to no fuel, so fuel alone neither makes it yield nor stops it.
#[tokio::test]
async fn a_guest_that_only_calls_the_host_lets_others_run_and_is_stopped_in_time() {
    let log = r#"(import "foreshore:log/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
    let large_lines = tool_with(
        log,
        "(memory (export \"memory\") 64)",
        "(loop $again
            (call $log (i32.const 2) (i32.const 0) (i32.const 4000000)) (br $again))
         (i32.const 0)",
    );
    let random = r#"(import "wasi:random/random@0.2.6" "get-random-bytes"
        (func $random (param i64 i32)))"#;
    let randomness = tool_with(
        random,
        "(memory (export \"memory\") 32)",
        "(loop $again
            (global.set $free (i32.const 32768))
            (call $random (i64.const 1000000) (i32.const 64)) (br $again))
         (i32.const 0)",
    );
    let host = Host::new();
    for (interface, module) in
        [("foreshore:log/log@0.1.0", large_lines), ("wasi:random/random@0.2.6", randomness)]
    {
        let ticks = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&ticks);
        let neighbor = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let linked = host.link(&[interface], &module, &Arc::default());
        let context = context(&Arc::default(), &[("deadline_ms", 200)]);
        let started = Instant::now();
        let report = linked.call(context, "test", "{}").await;
        let took = started.elapsed();
        neighbor.abort();
        assert_eq!(fired(report), (FiredLimit::Deadline, 200), "{interface}");
        // Without the guard neither would come to pass at all; how soon is a matter of benchmarks.
        assert!(took < Duration::from_secs(10), "{interface}: {took:?}");
        let ticks = ticks.load(Ordering::Relaxed);
        assert!(ticks >= 3, "{interface}: the neighbor ran {ticks} times");
    }
}
