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
use foreshore_domain::component::{
    ComponentKind, ComponentRef, Inspection, NameError, ToolDefinition,
};
use foreshore_domain::id::Digest;
use foreshore_domain::policy::Policies;
use semver::Version;

use crate::aot_cache::{AotCache, CacheError, EntryKind};
use crate::compile::{Compilation, CompileLimits, Compiler};
use crate::component::{Component, Origin, Parts};
use crate::definitions;
use crate::engine_hash::EngineHash;
use crate::inspect::{self, Caps, InspectError};
use crate::load_error::{LoadError, LoadFailure};
use crate::sandbox::{Linked, Sandbox};
use crate::{artifact, imports};

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
    /// # Errors
    /// A limit of zero, or a cache directory that cannot be used.
    pub fn new(sandbox: Sandbox, config: LoaderConfig) -> Result<Self, LoaderError> {
        check(&config)?;
        let engine = EngineHash::of(sandbox.engine());
        let cache = AotCache::open(&config.cache_directory, engine, config.cache_max_bytes)?;
        let compilation = Compilation::new(
            config.compiler,
            CompileLimits {
                cpu_s: config.compile_cpu_s,
                wall_s: config.compile_wall_s,
                memory_max_bytes: config.compile_memory_max_bytes,
                artifact_max_bytes: config.artifact_max_bytes,
            },
        );
        let caps = Caps {
            component_max_bytes: config.component_max_bytes,
            functions_max: config.functions_max,
            function_max_bytes: config.function_max_bytes,
        };
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
        if !inspection.kinds.contains(&ComponentKind::Tool) {
            let exports = match inspection.exports.join(", ") {
                none if none.is_empty() => "nothing".to_owned(),
                some => some,
            };
            return Err(LoadError::NoTools { exports });
        }
        let compiled = self.compiled(source.bytes, inspection.digest).await?;
        let linked = self.0.sandbox.link(&compiled, &policy.grant)?;
        let tools = self.definitions(&linked, &reference, inspection.digest).await?;
        let tools = definitions::tools(tools)?;
        let origin = source.origin;
        Ok(Component::new(Parts { reference, inspection, policy, origin, tools, linked }))
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
        let cache = &self.0.cache;
        let kept = cache.load(EntryKind::Definitions, &digest).and_then(|e| e.read().ok());
        if let Some(definitions) = kept.and_then(|bytes| definitions::decode(&bytes)) {
            return Ok(definitions);
        }
        let definitions = linked
            .definitions(reference, digest)
            .await
            .map_err(|error| LoadError::Definitions { error })?;
        let bytes = definitions::encode(&definitions);
        if let Err(error) = cache.store(EntryKind::Definitions, &digest, &bytes) {
            tracing::warn!(%digest, %error, "a component's definitions cannot be kept");
        }
        Ok(definitions)
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
    let caps = Caps {
        component_max_bytes: config.component_max_bytes,
        functions_max: config.functions_max,
        function_max_bytes: config.function_max_bytes,
    };
    let mut inspection = inspect::inspect(&source.bytes, Digest::of(&source.bytes), &caps)?;
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

/// Hashing, walking and reading a component takes milliseconds: too long for a thread that
/// serves calls.
async fn on_a_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
