//! Compiling in a child process, with real children: this binary starts itself again as the
//! compile process, which a libtest binary cannot, so it has a `main` of its own.
//!
//! Each case asserts which limit fired, and that no child is left behind.

mod fixture;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixture::Fixture;
use foreshore_domain::call::CallContext;
use foreshore_domain::effect::{Effect, EffectError, EffectOutcome};
use foreshore_domain::policy::Policies;
use foreshore_domain::ports::{BoxFuture, Effects};
use foreshore_runtime::{
    CompileError, Compiler, Component, EngineConfig, LoadError, Loader, LoaderConfig, Origin,
    Sandbox, Source, compile_child_main,
};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("__compile") {
        return compile_child_main();
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        case("a_component_compiles_in_a_child_and_only_once", compiles_once()).await;
        case("a_compile_bomb_ends_at_the_cpu_limit", cpu()).await;
        case("a_compile_bomb_ends_at_the_memory_limit", memory()).await;
        case("a_compile_bomb_ends_at_the_wall_limit", wall()).await;
        case("an_invalid_component_is_refused_by_the_compiler", invalid()).await;
        case("an_artifact_out_of_proportion_is_refused", artifact_too_large()).await;
        case("a_load_that_is_dropped_takes_its_child_with_it", dropped()).await;
        case("a_program_that_is_not_the_compiler_is_an_error", other_programs()).await;
    });
    ExitCode::SUCCESS
}

/// A panic ends the run with the case's name above it.
async fn case(name: &str, body: impl Future<Output = ()>) {
    let start = Instant::now();
    println!("case {name} ...");
    body.await;
    assert_eq!(children(), 0, "{name} left a child behind");
    println!("case {name} ok ({:.1} s)", start.elapsed().as_secs_f64());
}

async fn compiles_once() {
    let place = tempfile::tempdir().expect("a directory");
    let loader = loader(place.path(), |_| {});
    let bytes = Fixture::named("words", "1.2.3").encode();
    let component = load(&loader, &bytes).await.expect("it loads");
    assert_eq!(component.reference().to_string(), "words@1.2.3");
    assert_eq!(component.tools().len(), 1);
    // A loader whose compiler cannot run loads it all the same: from the cache.
    let cached = self::loader(place.path(), |config| {
        config.compiler = Compiler::Child { program: "/nonexistent".into(), arguments: vec![] };
    });
    let component = load(&cached, &bytes).await.expect("it is in the cache");
    assert_eq!(component.tools()[0].definition.name, "run");
}

async fn cpu() {
    let error = refused(&bomb(12_000), |config| config.compile_cpu_s = 1).await;
    assert_eq!(error, CompileError::CpuExhausted { cpu_s: 1 });
}

async fn memory() {
    let max_bytes = 160 << 20;
    let error = refused(&bomb(12_000), |config| config.compile_memory_max_bytes = max_bytes).await;
    assert_eq!(error, CompileError::MemoryExhausted { max_bytes });
}

async fn wall() {
    let start = Instant::now();
    let error = refused(&bomb(12_000), |config| config.compile_wall_s = 1).await;
    assert_eq!(error, CompileError::WallExceeded { wall_s: 1 });
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

async fn invalid() {
    let mut bytes = Fixture::named("words", "1.2.3");
    bytes.fields = "(func $marked (result i32) (i32.const 305419896))".to_owned();
    let mut bytes = bytes.encode();
    // i32.const becomes i64.const: well-formed, and of the wrong type.
    let constant = [&[0x41][..], &leb128(305_419_896)].concat();
    let at = bytes.windows(constant.len()).position(|window| window == constant);
    bytes[at.expect("the constant is there")] = 0x42;
    let error = refused(&bytes, |_| {}).await;
    let CompileError::Invalid { message } = error else { panic!("{error:?}") };
    assert!(message.contains("type mismatch"), "{message}");
}

async fn artifact_too_large() {
    let bytes = Fixture::named("words", "1.2.3").encode();
    let error = refused(&bytes, |config| config.artifact_max_bytes = 1_000).await;
    assert_eq!(error, CompileError::ArtifactTooLarge { max_bytes: 1_000 });
}

async fn dropped() {
    let place = tempfile::tempdir().expect("a directory");
    let loader = loader(place.path(), |config| config.function_max_bytes = 1 << 20);
    let bytes = bomb(12_000);
    let load = tokio::time::timeout(Duration::from_millis(400), load(&loader, &bytes)).await;
    assert!(load.is_err(), "it is still compiling: {:?}", load.map(|ended| ended.err()));
    let start = Instant::now();
    while children() > 0 && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // And the next in line gets its turn.
    let bytes = Fixture::named("words", "1.2.3").encode();
    self::load(&loader, &bytes).await.expect("it loads");
}

async fn other_programs() {
    let bytes = Fixture::named("words", "1.2.3").encode();
    let with = |program: &'static str| {
        refused(&bytes, move |config| {
            config.compiler = Compiler::Child { program: program.into(), arguments: vec![] };
        })
    };
    let error = with("/nonexistent").await;
    assert!(matches!(error, CompileError::Child { .. }), "{error:?}");
    for program in ["/bin/true", "/bin/cat"] {
        let error = with(program).await;
        assert!(matches!(error, CompileError::Crashed { .. }), "{program}: {error:?}");
    }
}

/// One function of so many branches, each of which writes locals that all later ones read: a
/// control-flow graph and live ranges that cost the compiler far more than their bytes.
fn bomb(branches: usize) -> Vec<u8> {
    let mut body = String::new();
    for branch in 0..branches {
        let (a, b, c) = (branch % 50, (branch * 7 + 1) % 50, (branch * 13 + 2) % 50);
        write!(
            body,
            "(if (i32.lt_s (local.get {a}) (local.get {b}))
                (then (local.set {c} (i32.add (local.get {a}) (i32.mul (local.get {c}) (local.get {b})))))
                (else (br_if 0 (i32.eqz (local.get {c}))) (local.set {a} (i32.xor (local.get {b}) (local.get {c})))))"
        )
        .expect("a string");
    }
    let mut fixture = Fixture::named("bomb", "1.0.0");
    fixture.fields = format!(
        "(func (export \"bomb\") (param i32) (result i32) (local {}) {body} (local.get 1))",
        "i32 ".repeat(49)
    );
    fixture.encode()
}

async fn refused(bytes: &[u8], change: impl FnOnce(&mut LoaderConfig)) -> CompileError {
    let place = tempfile::tempdir().expect("a directory");
    let loader = loader(place.path(), |config| {
        config.function_max_bytes = 8 << 20;
        config.compile_cpu_s = 120;
        config.compile_memory_max_bytes = 4 << 30;
        change(config);
    });
    match load(&loader, bytes).await {
        Err(LoadError::Compile(error)) => error,
        other => panic!("expected a compile error, got {other:?}"),
    }
}

fn loader(cache: &Path, change: impl FnOnce(&mut LoaderConfig)) -> Loader {
    let engine = EngineConfig { slots: 4, ..EngineConfig::default() };
    let sandbox = Sandbox::new(&engine, Arc::new(NoEffects), None).expect("a sandbox");
    let compiler = Compiler::Child {
        program: std::env::current_exe().expect("this binary"),
        arguments: vec!["__compile".into()],
    };
    let mut config = LoaderConfig::new(cache.join("cache"), compiler);
    change(&mut config);
    Loader::new(sandbox, config).expect("a loader")
}

async fn load(loader: &Loader, bytes: &[u8]) -> Result<Component, LoadError> {
    let source = Source { bytes: bytes.to_vec().into(), file_stem: None, origin: Origin::Api };
    loader.load(source, &Policies::default()).await.map_err(|failure| failure.error)
}

/// Processes whose parent is this one, the dead that nobody reaped included.
fn children() -> usize {
    let me = std::process::id().to_string();
    let stat = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("stat")).ok();
    // "pid (name) state parent ...": the name may hold anything, so from its end.
    let parent =
        |stat: String| stat.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned);
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    processes.filter_map(stat).filter_map(parent).filter(|parent| *parent == me).count()
}

fn leb128(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7f).expect("seven bits");
        value >>= 7;
        if value == 0 && low & 0x40 == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Nothing is called here, so nothing reaches the door.
struct NoEffects;

impl Effects for NoEffects {
    fn perform<'a>(
        &'a self,
        _call: &'a Arc<CallContext>,
        _effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        Box::pin(async { unreachable!("no guest runs but for its definitions") })
    }

    fn note(&self, _call: &CallContext, _effect: Effect) {}
}
