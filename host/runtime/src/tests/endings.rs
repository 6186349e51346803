//! How calls end: results, the guest's own errors, crashes, and callers who go away.

use std::time::Duration;

use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::outcome::{ContentBody, LogLevel};

use super::*;

/// Stores `text` at `at`.
fn data(at: u32, text: &str) -> String {
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {at}) \"{escaped}\")")
}

/// Returns the error of this number whose payload is one or two strings.
fn error(number: u32, first: &str, second: &str) -> String {
    let definitions =
        format!("(memory (export \"memory\") 1) {} {}", data(1_000, first), data(2_000, second));
    let body = format!(
        "(i32.store8 (i32.const 0) (i32.const 1))
         (i32.store8 (i32.const 4) (i32.const {number}))
         (i32.store (i32.const 8) (i32.const 1000)) (i32.store (i32.const 12) (i32.const {}))
         (i32.store (i32.const 16) (i32.const 2000)) (i32.store (i32.const 20) (i32.const {}))
         (i32.const 0)",
        first.len(),
        second.len()
    );
    tool_with("", &definitions, &body)
}

fn structured(json: &str) -> String {
    tool_with(
        "",
        &format!("(memory (export \"memory\") 1) {}", data(1_000, json)),
        &format!(
            "(i32.store8 (i32.const 12) (i32.const 1))
             (i32.store (i32.const 16) (i32.const 1000))
             (i32.store (i32.const 20) (i32.const {}))
             (i32.const 0)",
            json.len()
        ),
    )
}

#[tokio::test]
async fn a_result_comes_back_with_what_the_call_used() {
    let report = Host::new().call(&structured("{\"a\": [1]}"), &[]).await;
    let result = report.result.expect("a result");
    assert_eq!(result.structured.expect("structured").get(), "{\"a\": [1]}");
    assert!(!result.is_error);
    assert!(report.usage.fuel > 0 && report.usage.wall_us > 0, "{:?}", report.usage);
    assert_eq!(report.usage.peak_memory_bytes, 64 << 10);
}

#[tokio::test]
async fn a_result_that_is_not_json_is_the_guests_crash() {
    let report = Host::new().call(&structured("{\"a\""), &[]).await;
    match report.result {
        Err(CallError::Trap { message, .. }) => assert!(message.contains("not JSON"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failure_is_a_result_and_a_refusal_is_not() {
    let host = Host::new();
    let failed = host.call(&error(7, "no such luck", ""), &[]).await.result.expect("a result");
    assert!(failed.is_error);
    assert!(matches!(&failed.content[0].body, ContentBody::Text(text) if text == "no such luck"));
    let refused = host.call(&error(1, "they said no", ""), &[]).await.result;
    assert!(matches!(refused, Err(CallError::Refused { message }) if message == "they said no"));
    let invalid = host.call(&error(2, "/path", "is empty"), &[]).await.result;
    assert!(matches!(
        invalid,
        Err(CallError::InvalidArguments { tool, pointer, message })
            if tool == "guest.test" && pointer == "/path" && message == "is empty"
    ));
}

#[tokio::test]
async fn a_denial_is_told_in_the_hosts_words() {
    let host = Host::new();
    let grant = Arc::default();
    let linked = host.link(&[], &error(0, "mount_not_granted", "/data/x"), &grant);
    let denied = linked.call(context(&grant, &[]), "test", "{}").await.result;
    assert!(matches!(
        denied,
        Err(CallError::Denied(Denial { code: DenialCode::MountNotGranted, grant, .. }))
            if grant.contains("[components.guest] mounts")
    ));
    // What the host noted itself is told, whatever the guest says.
    let context = context(&grant, &[]);
    let noted = Denial { code: DenialCode::HttpNotGranted, subject: "x".into(), grant: "y".into() };
    context.denials.push(noted.clone());
    let denied = linked.call(context, "test", "{}").await.result;
    assert!(matches!(denied, Err(CallError::Denied(denial)) if denial == noted));
}

#[tokio::test]
async fn a_guest_cannot_forge_a_code() {
    let forged = Host::new().call(&error(0, "import_not_granted", "trust me"), &[]).await.result;
    assert!(matches!(
        forged,
        Err(CallError::Denied(Denial { code: DenialCode::DeniedByTool, subject, grant }))
            if subject == "trust me" && grant.is_empty()
    ));
}

#[tokio::test]
async fn a_crash_is_told_in_the_guests_last_words() {
    let imports = r#"
        (import "wasi:cli/stderr@0.2.6" "get-stderr" (func $stderr (result i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.blocking-write-and-flush"
            (func $write (param i32 i32 i32 i32)))"#;
    let said = "thread 'main' panicked at src/lib.rs:7:5:\nno cheese left";
    let module = tool_with(
        imports,
        &format!("(memory (export \"memory\") 1) {}", data(1_000, said)),
        &format!(
            "(call $write (call $stderr) (i32.const 1000) (i32.const {}) (i32.const 64))
             unreachable",
            said.len()
        ),
    );
    let host = Host::new();
    let interfaces = ["wasi:cli/stderr@0.2.6", "wasi:io/streams@0.2.6"];
    let report = host.call_with(&interfaces, &module, &[]).await;
    assert!(
        matches!(&report.result, Err(CallError::Trap { message, .. }) if message == said),
        "{:?}",
        report.result
    );
    assert_eq!(report.logs.lines.len(), 2);
    assert_eq!(report.logs.lines[1].level, LogLevel::Warn);
    assert_eq!(*host.door.lines.lock().expect("lock"), report.logs.lines);
}

#[tokio::test]
async fn a_crash_without_words_names_the_trap() {
    let report = Host::new().call(&tool("unreachable"), &[]).await;
    assert!(
        matches!(&report.result, Err(CallError::Trap { message, .. }) if message.contains("unreachable")),
        "{:?}",
        report.result
    );
}

#[tokio::test]
async fn a_line_without_end_costs_one_line() {
    let imports = r#"
        (import "wasi:cli/stdout@0.2.6" "get-stdout" (func $stdout (result i32)))
        (import "wasi:io/streams@0.2.6" "[method]output-stream.write"
            (func $write (param i32 i32 i32 i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 17)",
        "(local $out i32) (local $left i32)
         (local.set $out (call $stdout))
         (local.set $left (i32.const 64))
         (memory.fill (i32.const 65536) (i32.const 97) (i32.const 1048576))
         (loop $again
            (call $write (local.get $out) (i32.const 65536) (i32.const 1048576) (i32.const 64))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
         (i32.const 0)",
    );
    let interfaces = ["wasi:cli/stdout@0.2.6", "wasi:io/streams@0.2.6"];
    let report = Host::new().call_with(&interfaces, &module, &[("deadline_ms", 60_000)]).await;
    assert!(report.result.is_ok(), "{:?}", report.result);
    assert_eq!(report.logs.lines.len(), 1);
    assert_eq!(report.logs.lines[0].message.len(), 1_024);
}

#[tokio::test]
async fn lines_too_many_are_counted_and_dropped() {
    let imports = r#"(import "foreshore:log/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 1)",
        "(local $left i32)
         (local.set $left (i32.const 300))
         (loop $again
            (call $log (i32.const 2) (i32.const 1000) (i32.const 1))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
         (i32.const 0)",
    );
    let host = Host::new();
    let report = host.call_with(&["foreshore:log/log@0.1.0"], &module, &[]).await;
    assert_eq!((report.logs.lines.len(), report.logs.dropped), (256, 44));
    assert_eq!(host.door.lines.lock().expect("lock").len(), 256);
}

#[tokio::test]
async fn the_last_report_of_progress_is_never_lost() {
    let imports = r#"(import "foreshore:progress/progress@0.1.0" "report"
        (func $report (param f64 i32 f64 i32 i32 i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 1)",
        "(local $done i32)
         (loop $again
            (local.set $done (i32.add (local.get $done) (i32.const 1)))
            (call $report (f64.convert_i32_u (local.get $done))
                (i32.const 1) (f64.const 5000) (i32.const 0) (i32.const 0) (i32.const 0))
            (br_if $again (i32.lt_u (local.get $done) (i32.const 5000))))
         (i32.const 0)",
    );
    let host = Host::new();
    let report = host.call_with(&["foreshore:progress/progress@0.1.0"], &module, &[]).await;
    assert!(report.result.is_ok(), "{:?}", report.result);
    let reports = host.door.reports.lock().expect("lock");
    assert_eq!(reports.last().map(|report| report.done), Some(5_000.0));
    let most = report.usage.wall_us / 10_000 + 2;
    assert!(u64::try_from(reports.len()).expect("few") <= most, "{} of {most}", reports.len());
}

#[tokio::test]
async fn exit_is_not_a_way_to_return() {
    let imports = r#"(import "wasi:cli/exit@0.2.6" "exit" (func $exit (param i32)))"#;
    let module = tool_with(
        imports,
        "(memory (export \"memory\") 1)",
        "(call $exit (i32.const 0)) (i32.const 0)",
    );
    let report = Host::new().call_with(&["wasi:cli/exit@0.2.6"], &module, &[]).await;
    assert!(
        matches!(&report.result, Err(CallError::Trap { message, .. }) if message.contains("exit with code 0")),
        "{:?}",
        report.result
    );
}

#[tokio::test]
async fn a_caller_who_goes_away_stops_the_guest_and_frees_its_slot() {
    let host = Host::with(EngineConfig { slots: 1, ..EngineConfig::default() });
    let grant = Arc::default();
    let spin = host.link(&[], &tool("(loop $again (br $again)) (i32.const 0)"), &grant);
    let quick = host.link(&[], &tool("(i32.const 0)"), &grant);
    for _ in 0..50 {
        let limits = [("fuel", 1_000_000_000_000)];
        let call = spin.call(context(&grant, &limits), "test", "{}");
        assert!(tokio::time::timeout(Duration::from_millis(3), call).await.is_err());
        let report = quick.call(context(&grant, &[]), "test", "{}").await;
        assert!(report.result.is_ok(), "{:?}", report.result);
    }
}

#[tokio::test]
async fn a_full_pool_is_overload_not_a_crash() {
    let host = Host::with(EngineConfig { slots: 1, ..EngineConfig::default() });
    let grant = Arc::default();
    let spin = host.link(&[], &tool("(loop $again (br $again)) (i32.const 0)"), &grant);
    let limits = [("fuel", 1_000_000_000_000), ("deadline_ms", 200)];
    let (first, second) = tokio::join!(
        spin.call(context(&grant, &limits), "test", "{}"),
        spin.call(context(&grant, &limits), "test", "{}"),
    );
    assert_eq!(fired(first).0, FiredLimit::Deadline);
    assert!(matches!(second.result, Err(CallError::Overloaded { .. })), "{:?}", second.result);
}

#[tokio::test]
async fn nothing_of_one_call_is_left_for_the_next() {
    let host = Host::with(EngineConfig { slots: 1, ..EngineConfig::default() });
    let grant = Arc::default();
    // Fails if any byte of its two megabytes is not zero, then fills them with a canary.
    let module = tool_with(
        "",
        "(memory (export \"memory\") 32)",
        "(local $at i32)
         (local.set $at (i32.const 65536))
         (loop $again
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $again (i32.lt_u (local.get $at) (i32.const 2097152))))
         (memory.fill (i32.const 65536) (i32.const 165) (i32.const 2031616))
         (i32.const 0)",
    );
    let linked = host.link(&[], &module, &grant);
    for round in 0..200 {
        let report = linked.call(context(&grant, &[]), "test", "{}").await;
        assert!(report.result.is_ok(), "round {round}: {:?}", report.result);
    }
}

#[tokio::test]
async fn definitions_run_without_grants() {
    let host = Host::new();
    let linked = host.link(&[], &tool("(i32.const 0)"), &Arc::default());
    let defined = linked.definitions(&reference(), Digest::of(b"")).await;
    assert_eq!(defined.expect("a list"), []);
}
