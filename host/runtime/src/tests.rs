//! One guest against the sandbox: guests in a few lines of WebAssembly text, the real engine,
//! and a door that says what a test wants it to say.

mod endings;
mod files;
mod limits;
mod requests;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use foreshore_domain::call::{CallContext, CallError, Denials, FiredLimit, Meter, Progress};
use foreshore_domain::component::{ComponentRef, ToolHints};
use foreshore_domain::effect::{Effect, EffectError, EffectOutcome, FileChangeKind};
use foreshore_domain::grant::Grant;
use foreshore_domain::id::{CallId, Digest};
use foreshore_domain::limits::{Limits, LimitsPatch};
use foreshore_domain::outcome::LogLine;
use foreshore_domain::ports::{BoxFuture, Effects};
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::call::CallReport;
use crate::engine::EngineConfig;
use crate::sandbox::{Linked, Sandbox};

/// A door that lets everything through and remembers it.
#[derive(Default)]
struct OpenDoor {
    changes: Mutex<Vec<FileChangeKind>>,
    lines: Mutex<Vec<LogLine>>,
    reports: Mutex<Vec<Progress>>,
    requests: AtomicU32,
}

impl Effects for OpenDoor {
    fn perform<'a>(
        &'a self,
        _: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        match effect {
            Effect::ChangeFile(change) => self.changes.lock().expect("lock").push(change.kind),
            Effect::HttpRequest(_) => {
                self.requests.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("{} is noted, not performed", other.kind()),
        }
        Box::pin(async { Ok(EffectOutcome::Done) })
    }

    fn note(&self, _: &CallContext, effect: Effect) {
        match effect {
            Effect::Log(line) => self.lines.lock().expect("lock").push(line),
            Effect::Progress(report) => self.reports.lock().expect("lock").push(report),
            other => panic!("{} is performed, not noted", other.kind()),
        }
    }
}

/// The interfaces that test guests import, cut down to what they use.
const WIT: &str = concat!(include_str!("tests/guest.wit"), include_str!("tests/filesystem.wit"));

/// A component out of a core module. `imports` names interfaces of [`WIT`].
fn component(engine: &wasmtime::Engine, imports: &[&str], module: &str) -> Component {
    let mut resolve = Resolve::default();
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
    resolve.push_path(contract).expect("the contract parses");
    let imports: String = imports.iter().map(|import| format!("import {import};\n")).collect();
    let wit = WIT.replace("%IMPORTS%", &imports);
    let package = resolve.push_str("guest.wit", &wit).expect("the test world parses");
    let world = resolve.select_world(&[package], Some("guest")).expect("a world");
    let mut module = wat::parse_str(module).expect("valid text");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embeds");
    let bytes = ComponentEncoder::default()
        .module(&module)
        .expect("a module of this world")
        .validate(true)
        .encode()
        .expect("encodes");
    Component::new(engine, bytes).expect("compiles")
}

/// A module whose `call` runs `body`, which leaves the address of its result on the stack.
/// The result at address 0 is an empty success: memory starts as zeros.
fn tool(body: &str) -> String {
    tool_with("", "(memory (export \"memory\") 1)", body)
}

/// The same with imports, which stand first, and other definitions.
fn tool_with(imports: &str, definitions: &str, body: &str) -> String {
    format!(
        r#"(module
            {imports}
            {definitions}
            (global $free (mut i32) (i32.const 32768))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $free))
                (global.set $free (i32.and
                    (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 7))
                    (i32.const -8)))
                (local.get $at))
            (func (export "foreshore:tool/tool@0.1.0#definitions") (result i32) (i32.const 0))
            (func (export "cabi_post_foreshore:tool/tool@0.1.0#definitions") (param i32))
            (func (export "foreshore:tool/tool@0.1.0#call")
                (param $name i32) (param $name_len i32)
                (param $arguments i32) (param $arguments_len i32) (result i32)
                {body})
            (func (export "cabi_post_foreshore:tool/tool@0.1.0#call") (param i32)))"#
    )
}

struct Host {
    sandbox: Sandbox,
    door: Arc<OpenDoor>,
}

impl Host {
    fn new() -> Self {
        Self::with(EngineConfig { slots: 8, ..EngineConfig::default() })
    }

    fn with(config: EngineConfig) -> Self {
        let door = Arc::new(OpenDoor::default());
        let effects: Arc<dyn Effects> = door.clone();
        Self { sandbox: Sandbox::new(&config, effects, None).expect("a sandbox"), door }
    }

    fn link(&self, imports: &[&str], module: &str, grant: &Arc<Grant>) -> Linked {
        let component = component(self.sandbox.engine(), imports, module);
        self.sandbox.link(&component, grant).expect("links")
    }

    async fn call(&self, module: &str, limits: &[(&str, u64)]) -> CallReport {
        self.call_with(&[], module, limits).await
    }

    async fn call_with(
        &self,
        imports: &[&str],
        module: &str,
        limits: &[(&str, u64)],
    ) -> CallReport {
        let grant = Arc::default();
        let linked = self.link(imports, module, &grant);
        linked.call(context(&grant, limits), "test", "{}").await
    }
}

fn reference() -> ComponentRef {
    ComponentRef::new("guest", semver::Version::new(1, 0, 0)).expect("valid")
}

fn context(grant: &Arc<Grant>, limits: &[(&str, u64)]) -> Arc<CallContext> {
    let mut patch = LimitsPatch::default();
    for (name, value) in limits {
        patch.set(name, *value).expect("a limit");
    }
    Arc::new(CallContext {
        call_id: CallId::new(1),
        component: reference(),
        digest: Digest::of(b""),
        tool: "test".into(),
        hints: ToolHints::default(),
        principal: foreshore_domain::identity::Principal::host(),
        grant: Arc::clone(grant),
        limits: Limits::default().with(&patch).expect("valid limits"),
        turn: None,
        observer: None,
        meter: Meter::default(),
        denials: Denials::default(),
    })
}

/// The limit that ended a call, and how much of it there was.
#[track_caller]
fn fired(report: CallReport) -> (FiredLimit, u64) {
    match report.result {
        Err(CallError::Limit { limit, allowed, .. }) => (limit, allowed),
        other => panic!("no limit fired: {other:?}"),
    }
}

#[test]
fn a_call_can_be_spawned() {
    fn is_send(_: &impl Send) {}
    let host = Host::new();
    let grant = Arc::default();
    let linked = host.link(&[], &tool("(i32.const 0)"), &grant);
    is_send(&linked.call(context(&grant, &[]), "test", "{}"));
}
