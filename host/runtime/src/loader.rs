//! Bytes in, a runnable component out.
//!
//! [`Loader::load`] is the one constructor of a [`Component`], at start-up and for a hot load
//! alike, so neither can lack what the other checks. In order: caps, name, limits, imports
//! against grants, compiled code (from the cache or the compiler), link, definitions. Each
//! refusal is a [`LoadError`].
//!
//! Definitions are kept in the cache beside the artifact, under the same MAC, so that a cold
//! start runs no guest. That is safe because they are what these very bytes (the digest) said
//! once, in a sandbox with no grants, where the contract asks for the same answer each time; a
//! component that would answer otherwise next time is held to its first answer; and they are
//! checked on every load as if they were new.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use foreshore_domain::agent::AgentDefinition;
use foreshore_domain::component::{
    ComponentKind, ComponentRef, Inspection, NameError, ToolDefinition,
};
use foreshore_domain::id::Digest;
use foreshore_domain::policy::Policies;
use semver::Version;

use crate::agent::Agent;
use crate::aot_cache::{AotCache, CacheError, EntryKind};
use crate::compile::{Compilation, CompileLimits, Compiler};
use crate::component::{Component, Origin, Parts, Runs};
use crate::definitions;
use crate::engine_hash::EngineHash;
use crate::inspect::{self, Caps, InspectError};
use crate::load_error::{LoadError, LoadFailure};
use crate::sandbox::{Linked, Sandbox};
use crate::turn::LinkedAgent;
use crate::{agent, artifact, imports, open_files};

/// Settings of the loader. They bound what any component may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Size of a component.
    pub component_max_bytes: u64,
    /// Functions in a component, over all modules inside.
    pub functions_max: u64,
    /// Size of one function body: the compiler's time grows faster than linearly in it.
    pub function_max_bytes: u64,
    /// Where compiled components are kept; made, for the host's user alone, if it is missing.
    pub cache_directory: PathBuf,
    /// Size of all that is kept there; past it, what was used longest ago goes.
    pub cache_max_bytes: u64,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// CPU time of a compilation.
    pub compile_cpu_s: u64,
    /// Wall-clock time of a compilation.
    pub compile_wall_s: u64,
    /// Address space of the compile process.
    pub compile_memory_max_bytes: u64,
    /// Size of what a component compiles to.
    pub artifact_max_bytes: u64,
}

impl LoaderConfig {
    /// The defaults, for these two places.
    pub fn new(cache_directory: PathBuf, compiler: Compiler) -> Self {
        Self {
            component_max_bytes: 8 << 20,
            functions_max: 20_000,
            function_max_bytes: 128 << 10,
            cache_directory,
            cache_max_bytes: 4 << 30,
            compiler,
            compile_cpu_s: 10,
            compile_wall_s: 60,
            compile_memory_max_bytes: 512 << 20,
            artifact_max_bytes: 128 << 20,
        }
    }

    fn caps(&self) -> Caps {
        Caps {
            component_max_bytes: self.component_max_bytes,
            functions_max: self.functions_max,
            function_max_bytes: self.function_max_bytes,
        }
    }
}

/// The loader could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoaderError {
    /// A setting of zero.
    #[error("{setting} = 0 is refused: a limit is at least 1")]
    Zero {
        /// The setting of [`LoaderConfig`].
        setting: &'static str,
    },
    /// The cache cannot be opened.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A component before it is loaded.
#[derive(Clone, Debug)]
pub struct Source {
    /// The component.
    pub bytes: Bytes,
    /// `name` or `name@1.2.3`. With a version, it overrides what the component says of itself.
    pub file_stem: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Makes runnable components of bytes. Cheap to clone.
#[derive(Clone)]
pub struct Loader(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    caps: Caps,
    engine: EngineHash,
    cache: AotCache,
    compilation: Compilation,
}

impl Loader {
    /// A loader for this sandbox. Also raises this process's soft limit on open files, since
    /// each loaded component keeps one open.
    ///
    /// # Errors
    /// A limit of zero, or a cache directory that cannot be used.
    pub fn new(sandbox: Sandbox, config: LoaderConfig) -> Result<Self, LoaderError> {
        check(&config)?;
        open_files::raise();
        let engine = EngineHash::of(sandbox.engine());
        let cache = AotCache::open(&config.cache_directory, engine, config.cache_max_bytes)?;
        let caps = config.caps();
        let compilation = Compilation::new(
            config.compiler,
            CompileLimits {
                cpu_s: config.compile_cpu_s,
                wall_s: config.compile_wall_s,
                memory_max_bytes: config.compile_memory_max_bytes,
                artifact_max_bytes: config.artifact_max_bytes,
            },
        );
        Ok(Self(Arc::new(Inner { sandbox, caps, engine, cache, compilation })))
    }

    /// Looks at a component without compiling it. Verdicts are those of a component without
    /// grants.
    ///
    /// # Errors
    /// Bytes that are not a component, or one beyond the caps.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, InspectError> {
        inspect::inspect(bytes, Digest::of(bytes), &self.0.caps)
    }

    /// Loads a component.
    ///
    /// # Errors
    /// Why it is refused; nothing of it stays but, possibly, its compiled code in the cache.
    pub async fn load(
        &self,
        source: Source,
        policies: &Policies,
    ) -> Result<Component, LoadFailure> {
        let loader = self.clone();
        let (digest, inspected) = on_a_blocking_thread(move || {
            let digest = Digest::of(&source.bytes);
            (digest, (inspect::inspect(&source.bytes, digest, &loader.0.caps), source))
        })
        .await;
        let (inspection, source) = inspected;
        let failure = |reference, error| LoadFailure { reference, digest, error };
        let inspection = inspection.map_err(|error| failure(None, error.into()))?;
        let reference = reference(&inspection, &source).map_err(|error| failure(None, error))?;
        self.finish(source, inspection, reference.clone(), policies)
            .await
            .map_err(|error| failure(Some(reference), error))
    }

    async fn finish(
        &self,
        source: Source,
        mut inspection: Inspection,
        reference: ComponentRef,
        policies: &Policies,
    ) -> Result<Component, LoadError> {
        let policy = policies.of(&reference);
        self.0.sandbox.check_limits(&policy.limits)?;
        inspect::judge(&mut inspection, &reference.name, &policy.grant);
        if let Some(denial) = inspection.imports.iter().find_map(imports::denial) {
            return Err(denial.into());
        }
        let is = |kind| inspection.kinds.contains(&kind);
        let (is_tools, is_agent) = (is(ComponentKind::Tool), is(ComponentKind::Agent));
        if is_tools && is_agent {
            return Err(LoadError::ToolsAndAgent);
        }
        if !is_tools && !is_agent {
            let exports = match inspection.exports.join(", ") {
                none if none.is_empty() => "nothing".to_owned(),
                some => some,
            };
            return Err(LoadError::NoTools { exports });
        }
        let compiled = self.compiled(source.bytes, inspection.digest).await?;
        let digest = inspection.digest;
        let runs = if is_agent {
            let linked = LinkedAgent::new(&self.0.sandbox, &compiled)?;
            let agent = self.description(&linked, &reference, digest).await?;
            let agent = on_a_blocking_thread(move || Agent::new(agent)).await?;
            Runs::Agent(Box::new(agent), linked)
        } else {
            let linked = self.0.sandbox.link(&compiled, &policy.grant)?;
            let tools = self.definitions(&linked, &reference, digest).await?;
            let tools = on_a_blocking_thread(move || definitions::tools(tools)).await?;
            Runs::Tools(tools, linked)
        };
        let origin = source.origin;
        Ok(Component::new(Parts { reference, inspection, policy, origin, runs }))
    }

    /// From the cache, or compiled. Whoever waited for the compiler looks into the cache again:
    /// the one before may have compiled the same bytes.
    async fn compiled(
        &self,
        wasm: Bytes,
        digest: Digest,
    ) -> Result<wasmtime::component::Component, LoadError> {
        if let Some(component) = self.cached(digest).await {
            return Ok(component);
        }
        let turn = self.0.compilation.turn().await;
        if let Some(component) = self.cached(digest).await {
            return Ok(component);
        }
        let engine = self.0.sandbox.engine();
        let compiled = turn.compile(engine, &self.0.engine, wasm).await?;
        let loader = self.clone();
        let (compiled, stored) = on_a_blocking_thread(move || {
            let stored = loader.0.cache.store(EntryKind::Artifact, &digest, compiled.bytes());
            (compiled, stored)
        })
        .await;
        if let Err(error) = stored {
            tracing::warn!(%digest, %error, "a compiled component cannot be kept");
        }
        // Mapped from the cache it costs no memory of its own; without a cache it is copied.
        if let Some(component) = self.cached(digest).await {
            return Ok(component);
        }
        artifact::load_compiled(engine, &compiled)
            .map_err(|error| LoadError::Host { message: format!("{error:#}") })
    }

    async fn cached(&self, digest: Digest) -> Option<wasmtime::component::Component> {
        let loader = self.clone();
        on_a_blocking_thread(move || {
            let entry = loader.0.cache.load(EntryKind::Artifact, &digest)?;
            artifact::load_cached(loader.0.sandbox.engine(), &entry)
                .inspect_err(
                    |error| tracing::warn!(%digest, "a cache entry does not load: {error:#}"),
                )
                .ok()
        })
        .await
    }

    async fn definitions(
        &self,
        linked: &Linked,
        reference: &ComponentRef,
        digest: Digest,
    ) -> Result<Vec<ToolDefinition>, LoadError> {
        let kept = self.kept(EntryKind::Definitions, digest, definitions::decode);
        if let Some(definitions) = kept.await {
            return Ok(definitions);
        }
        let definitions = linked
            .definitions(reference, digest)
            .await
            .map_err(|error| LoadError::Definitions { error })?;
        self.keep(EntryKind::Definitions, digest, definitions::encode(&definitions)).await;
        Ok(definitions)
    }

    async fn description(
        &self,
        linked: &LinkedAgent,
        reference: &ComponentRef,
        digest: Digest,
    ) -> Result<AgentDefinition, LoadError> {
        if let Some(kept) = self.kept(EntryKind::Description, digest, agent::decode).await {
            return Ok(kept);
        }
        let described = linked
            .describe(reference, digest)
            .await
            .map_err(|error| LoadError::Description { error })?;
        self.keep(EntryKind::Description, digest, agent::encode(&described)).await;
        Ok(described)
    }

    /// What the component said of itself when it was first loaded.
    async fn kept<T: Send + 'static>(
        &self,
        kind: EntryKind,
        digest: Digest,
        decode: fn(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let loader = self.clone();
        on_a_blocking_thread(move || {
            let entry = loader.0.cache.load(kind, &digest)?;
            decode(&entry.read().ok()?)
        })
        .await
    }

    async fn keep(&self, kind: EntryKind, digest: Digest, bytes: Vec<u8>) {
        let loader = self.clone();
        on_a_blocking_thread(move || {
            if let Err(error) = loader.0.cache.store(kind, &digest, &bytes) {
                tracing::warn!(%digest, %error, "what a component says of itself cannot be kept");
            }
        })
        .await;
    }
}

/// What can be said of a component without a host: its name, and what is in it, with the
/// verdicts that these policies give its imports. Nothing is compiled.
///
/// # Errors
/// Bytes that are not a component, or one beyond the caps; a component without a name.
pub fn examine(
    source: &Source,
    config: &LoaderConfig,
    policies: &Policies,
) -> Result<(ComponentRef, Inspection), LoadError> {
    let digest = Digest::of(&source.bytes);
    let mut inspection = inspect::inspect(&source.bytes, digest, &config.caps())?;
    let reference = reference(&inspection, source)?;
    inspect::judge(&mut inspection, &reference.name, &policies.of(&reference).grant);
    Ok((reference, inspection))
}

fn check(config: &LoaderConfig) -> Result<(), LoaderError> {
    let settings = [
        ("component_max_bytes", config.component_max_bytes),
        ("functions_max", config.functions_max),
        ("function_max_bytes", config.function_max_bytes),
        ("cache_max_bytes", config.cache_max_bytes),
        ("compile_cpu_s", config.compile_cpu_s),
        ("compile_wall_s", config.compile_wall_s),
        ("compile_memory_max_bytes", config.compile_memory_max_bytes),
        ("artifact_max_bytes", config.artifact_max_bytes),
    ];
    match settings.into_iter().find(|(_, value)| *value == 0) {
        Some((setting, _)) => Err(LoaderError::Zero { setting }),
        None => Ok(()),
    }
}

/// `name@1.2.3` as the file's name wins; then what the component says; then the file's name.
fn reference(inspection: &Inspection, source: &Source) -> Result<ComponentRef, LoadError> {
    let stem = source.file_stem.as_deref();
    let (name, version) = match (stem.and_then(|s| s.split_once('@')), &inspection.name, stem) {
        (Some((name, version)), _, _) => {
            let text = || version.chars().take(64).flat_map(char::escape_default).collect();
            (name, version.parse().map_err(|_| NameError::Version { text: text() })?)
        }
        (None, Some(name), _) => {
            (name.as_str(), inspection.version.clone().unwrap_or(Version::new(0, 0, 0)))
        }
        (None, None, Some(stem)) => (stem, Version::new(0, 0, 0)),
        (None, None, None) => return Err(LoadError::Nameless),
    };
    Ok(ComponentRef::new(name, version)?)
}

/// Hashing, walking and reading a component, and compiling its schemas, takes milliseconds: too
/// long for a thread that serves calls.
async fn on_a_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use foreshore_domain::call::{CallError, FiredLimit};
    use foreshore_domain::limits::{Limits, LimitsPatch};
    use foreshore_domain::policy::ComponentPolicy;

    use super::*;
    use crate::fixture::{Fixture, FixtureTool};
    use crate::testing::{load, loader, sandbox, source};

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn entries(place: &tempfile::TempDir, extension: &str) -> Vec<PathBuf> {
        let listing = std::fs::read_dir(place.path().join("cache")).expect("a cache");
        listing
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|e| e == extension))
            .collect()
    }

    #[tokio::test]
    async fn a_component_loads_with_its_tools_its_policy_and_its_name() {
        let place = place();
        let mut limits = LimitsPatch::default();
        limits.set("fuel", 1_234).expect("a limit");
        let policy = ComponentPolicy {
            limits: Limits::default().with(&limits).expect("valid"),
            ..ComponentPolicy::default()
        };
        let policies = Policies::new([("words".to_owned(), policy)].into(), Limits::default());
        let mut fixture = Fixture::named("words", "1.2.3");
        fixture.tools = vec![
            FixtureTool::named("count"),
            FixtureTool { output_schema: Some("{}".to_owned()), ..FixtureTool::named("sort") },
        ];
        let bytes = fixture.encode();
        let component =
            loader(place.path()).load(source(bytes.clone()), &policies).await.expect("it loads");
        assert_eq!(component.reference().to_string(), "words@1.2.3");
        assert_eq!(component.digest(), Digest::of(&bytes));
        assert_eq!(component.policy().limits.fuel.get(), 1_234);
        let names: Vec<&str> = component.tools().iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["count", "sort"]);
        let tool = component.tool("count").expect("there");
        let violation = tool.check_arguments(&serde_json::json!({"text": 1})).expect_err("no text");
        assert_eq!(violation.pointer, "/text");
        assert!(component.tool("none").is_none());
    }

    #[tokio::test]
    async fn a_file_name_with_a_version_wins_over_what_the_component_says() {
        let (place, policies) = (place(), Policies::default());
        let loader = loader(place.path());
        let stated = Fixture::named("words", "1.2.3").encode();
        let silent = Fixture { identity: None, ..Fixture::named("", "") }.encode();
        for (bytes, stem, expected) in [
            (&stated, Some("other@2.0.0"), Ok("other@2.0.0")),
            (&stated, Some("other"), Ok("words@1.2.3")),
            (&stated, None, Ok("words@1.2.3")),
            (&silent, Some("other@2.0.0"), Ok("other@2.0.0")),
            (&silent, Some("other"), Ok("other@0.0.0")),
            (&silent, None, Err("component_nameless")),
            (&silent, Some("Other"), Err("component_name_invalid")),
            (&stated, Some("../x@1.0.0"), Err("component_name_invalid")),
            (&stated, Some("other@two"), Err("component_name_invalid")),
        ] {
            let mut source = source(bytes.clone());
            source.file_stem = stem.map(str::to_owned);
            let found = loader.load(source, &policies).await;
            let found = found.map(|c| c.reference().to_string()).map_err(|f| f.error.code());
            assert_eq!(found.as_deref().map_err(|code| *code), expected, "{stem:?}");
        }
    }

    #[tokio::test]
    async fn a_component_that_exports_no_tools_is_refused() {
        let place = place();
        let bytes = wat::parse_str("(component)").expect("valid");
        let mut source = source(bytes);
        source.file_stem = Some("empty".to_owned());
        let failure = loader(place.path()).load(source, &Policies::default()).await;
        let failure = failure.expect_err("refused");
        assert_eq!(failure.error.code(), "component_without_tools");
        assert_eq!(failure.reference.expect("named").to_string(), "empty@0.0.0");
    }

    #[tokio::test]
    async fn definitions_run_under_limits_and_without_grants() {
        let place = place();
        let loader = loader(place.path());
        let with = |prelude: &str| Fixture {
            definitions_prelude: prelude.to_owned(),
            ..Fixture::named("words", "1.0.0")
        };
        let error = load(&loader, &with("unreachable")).await.expect_err("it traps");
        assert!(
            matches!(&error, LoadError::Definitions { error: CallError::Trap { .. } }),
            "{error:?}"
        );
        let error = load(&loader, &with("(loop (br 0))")).await.expect_err("it spins");
        assert!(
            matches!(
                &error,
                LoadError::Definitions {
                    error: CallError::Limit { limit: FiredLimit::Fuel | FiredLimit::Deadline, .. }
                }
            ),
            "{error:?}"
        );
        let grow = "(drop (memory.grow (i32.const 2000)))";
        let error = load(&loader, &with(grow)).await.expect_err("it grows");
        assert!(
            matches!(
                &error,
                LoadError::Definitions {
                    error: CallError::Limit { limit: FiredLimit::Memory, .. }
                }
            ),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_definition_that_is_malformed_refuses_the_component() {
        let place = place();
        let loader = loader(place.path());
        let with = |change: &dyn Fn(&mut FixtureTool)| {
            let mut fixture = Fixture::named("words", "1.0.0");
            change(&mut fixture.tools[0]);
            fixture
        };
        let changes: [&dyn Fn(&mut FixtureTool); 4] = [
            &|tool: &mut FixtureTool| tool.name = "A.b".to_owned(),
            &|tool: &mut FixtureTool| tool.description = "x".repeat(5_000),
            &|tool: &mut FixtureTool| tool.input_schema = r#"{"type":"string"}"#.to_owned(),
            &|tool: &mut FixtureTool| {
                tool.input_schema = r##"{"type":"object","allOf":[{"$ref":"#"}]}"##.to_owned();
            },
        ];
        for change in changes {
            let error = load(&loader, &with(change)).await.expect_err("refused");
            assert_eq!(error.code(), "definition_refused", "{error}");
        }
        let twice = Fixture {
            tools: vec![FixtureTool::named("run"), FixtureTool::named("run")],
            ..Fixture::named("words", "1.0.0")
        };
        let error = load(&loader, &twice).await.expect_err("refused");
        assert_eq!(error.to_string(), "two tools are called \"run\"");
    }

    #[tokio::test]
    async fn a_corrupt_cache_entry_is_compiled_again_and_never_loaded() {
        let place = place();
        let fixture = Fixture::named("words", "1.0.0");
        load(&loader(place.path()), &fixture).await.expect("it loads");
        for extension in ["cwasm", "tools"] {
            let [path] = &*entries(&place, extension) else { panic!("one {extension}") };
            let good = std::fs::read(path).expect("readable");
            let mut bad = good.clone();
            let middle = bad.len() / 2;
            bad[middle] ^= 1;
            std::fs::remove_file(path).expect("removed");
            std::fs::write(path, &bad).expect("written");
            load(&loader(place.path()), &fixture).await.expect("it loads all the same");
            assert_eq!(std::fs::read(path).expect("there again").len(), good.len());
            assert_ne!(std::fs::read(path).expect("there again"), bad);
        }
    }

    #[tokio::test]
    async fn a_component_loads_where_nothing_can_be_kept() {
        let place = place();
        let loader = loader(place.path());
        std::fs::remove_dir_all(place.path().join("cache")).expect("removed");
        load(&loader, &Fixture::named("words", "1.0.0")).await.expect("it loads");
    }

    #[tokio::test]
    async fn a_limit_above_the_pools_ceiling_names_the_setting_that_raises_it() {
        let place = place();
        let mut limits = LimitsPatch::default();
        limits.set("memory_max_bytes", 1 << 30).expect("a limit");
        let limits = Limits::default().with(&limits).expect("valid");
        let policies = Policies::new([].into(), limits);
        let bytes = Fixture::named("words", "1.0.0").encode();
        let failure = loader(place.path()).load(source(bytes), &policies).await;
        let error = failure.expect_err("refused").error;
        assert_eq!(error.code(), "limit_above_ceiling");
        assert!(error.to_string().contains("memory_ceiling_bytes"), "{error}");
    }

    #[test]
    fn a_setting_of_zero_is_refused_by_name() {
        let place = place();
        let mut config = LoaderConfig::new(place.path().join("cache"), Compiler::InProcess);
        config.compile_cpu_s = 0;
        let error = Loader::new(sandbox(), config).err().expect("refused");
        assert!(matches!(error, LoaderError::Zero { setting: "compile_cpu_s" }), "{error}");
    }
}
