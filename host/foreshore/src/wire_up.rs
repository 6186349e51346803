//! The one place that joins concrete types: configuration to engine, loader, door and edge.
//!
//! Deliberately absent: decisions. Whatever is started here is started the same way for a server,
//! for one call, for test cases and for the demonstration; they differ only in their [`Plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use foreshore_broker::Broker;
use foreshore_control::approvals::{ApprovalsConfig, Asks};
use foreshore_control::memory::MeaningUpkeep;
use foreshore_control::{
    BudgetsConfig, Compiler, ConcurrencyConfig, Control, ControlConfig, EgressConfig, EngineConfig,
    Inference, JournalPlace, KeyPlace, LoaderConfig, Origin, Selection, Source, TurnsConfig,
};
use foreshore_domain::component::{ComponentRef, Inspection};
use foreshore_domain::policy::Policies;
use foreshore_gateway::{AuthConfig, Certificates, GatewayConfig, TlsFiles};
use foreshore_scripted_model::{Script, ScriptedServer};
use url::Url;

use crate::cli::exit::Failure;
use crate::config::inference::InferencePlan;
use crate::config::sections::{ConcurrencySection, LoaderSection, RuntimeSection, TlsSection};
use crate::config::{Config, ConfigError};
use crate::nearest::nearest;

/// The hidden command by which the host starts itself to compile a component.
pub(crate) const COMPILE_COMMAND: &str = "__compile";

/// How long the end of a single call waits for what it left behind.
pub(crate) const DRAIN_OF_ONE_CALL: Duration = Duration::from_millis(500);

/// Slots of a pool that serves one person: each costs time to set up.
const SLOTS_OF_ONE_CALL: u32 = 8;

/// What a host is started for.
pub(crate) struct Plan {
    /// What each component may touch and use.
    pub(crate) policies: Policies,
    /// Components that are given, not found.
    pub(crate) sources: Vec<Source>,
    /// Whether the components directory counts.
    pub(crate) uses_directory: bool,
    /// Which of all these are loaded.
    pub(crate) selection: Selection,
    /// Where requests go out.
    pub(crate) egress: EgressConfig,
    /// Whether the host stays or does one thing and ends.
    pub(crate) purpose: Purpose,
}

/// A server keeps a record and takes up what changes; a command does its work and ends; a keeper
/// is a command that changes the components directory; the journal's command works on the
/// journal itself, that of files also watches them, that of agents runs them, and that of memory
/// searches it. An ephemeral server keeps its record in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    Ephemeral,
    Command,
    Keeper,
    Journal,
    Files,
    Agents,
    Memory,
}

impl Plan {
    /// A server: everything there is, and what is added later.
    pub(crate) fn server(config: &Config) -> Self {
        Self { purpose: Purpose::Server, ..Self::command(config, Selection::All) }
    }

    /// A server whose journal is gone when it ends.
    pub(crate) fn ephemeral(config: &Config) -> Self {
        Self { purpose: Purpose::Ephemeral, ..Self::server(config) }
    }

    /// A command that needs these components of all that are installed.
    ///
    /// It records nothing on disk: a server may hold the journal, and whoever sits at the
    /// keyboard sees what happens.
    pub(crate) fn command(config: &Config, selection: Selection) -> Self {
        Self {
            policies: config.policies.clone().into_policies(),
            sources: shipped(),
            uses_directory: true,
            selection,
            egress: EgressConfig::default(),
            purpose: Purpose::Command,
        }
    }

    /// A command that needs one component, which it has in hand.
    pub(crate) fn component(config: &Config, component: Source) -> Self {
        Self {
            sources: vec![component],
            uses_directory: false,
            ..Self::command(config, Selection::All)
        }
    }

    /// A command that puts components in place or takes them away: the directory is made.
    pub(crate) fn keeper(config: &Config) -> Self {
        Self {
            sources: Vec::new(),
            purpose: Purpose::Keeper,
            ..Self::command(config, Selection::All)
        }
    }

    /// A command that brings no component along: it only asks what the host would say of one.
    pub(crate) fn empty(config: &Config) -> Self {
        Self { sources: Vec::new(), uses_directory: false, ..Self::command(config, Selection::All) }
    }

    /// A command that works on the journal in its file, where no server has it.
    pub(crate) fn journal(config: &Config) -> Self {
        Self { purpose: Purpose::Journal, ..Self::empty(config) }
    }
}

impl Plan {
    /// A command that asks agents, where no server has the journal.
    pub(crate) fn agents(config: &Config) -> Self {
        Self { purpose: Purpose::Agents, ..Self::command(config, Selection::All) }
    }

    /// A command about memory, where no server has the journal.
    pub(crate) fn memory(config: &Config) -> Self {
        Self { purpose: Purpose::Memory, ..Self::empty(config) }
    }

    /// A command about the files that a server watches.
    pub(crate) fn files(config: &Config) -> Self {
        Self { purpose: Purpose::Files, ..Self::empty(config) }
    }
}

/// Where the journal is.
pub(crate) fn journal_path(config: &Config) -> PathBuf {
    config.data.join("journal.redb")
}

/// Starts a host.
///
/// # Errors
/// Whatever keeps it from starting, with what to do about it.
pub(crate) async fn start(config: &Config, plan: Plan) -> Result<Arc<Control>, Failure> {
    let sections = &config.sections;
    let mut engine = engine(&sections.runtime);
    let is_server = matches!(plan.purpose, Purpose::Server | Purpose::Ephemeral);
    let runs_agents = is_server || plan.purpose == Purpose::Agents;
    let watch = is_server && plan.uses_directory;
    let journal = match plan.purpose {
        Purpose::Server | Purpose::Journal | Purpose::Files | Purpose::Agents | Purpose::Memory => {
            JournalPlace::File(journal_path(config))
        }
        Purpose::Ephemeral | Purpose::Command | Purpose::Keeper => JournalPlace::InMemory,
    };
    if !is_server {
        engine.slots = SLOTS_OF_ONE_CALL;
    }
    if matches!(journal, JournalPlace::File(_)) || is_server {
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("data directory {}", config.data.display()))
            .map_err(Failure::Start)?;
    }
    // A command that only looks does not leave a directory behind.
    let directory = Some(&config.components_directory)
        .filter(|path| plan.uses_directory && (plan.purpose != Purpose::Command || path.is_dir()));
    let roots = match plan.purpose {
        Purpose::Server | Purpose::Ephemeral | Purpose::Files | Purpose::Agents => {
            config.watched_roots()?
        }
        Purpose::Command | Purpose::Keeper | Purpose::Journal | Purpose::Memory => Vec::new(),
    };
    let searches = runs_agents || plan.purpose == Purpose::Memory;
    let meaning = if searches { config.meaning()? } else { None };
    let webhook = sections.journal.checkpoint_webhook.clone().map(|url| url.0);
    let control = ControlConfig {
        engine,
        roots,
        roles: config.roles()?,
        policies: plan.policies,
        // What is kept in memory is sealed with a key that is.
        secrets_key: match journal {
            JournalPlace::File(_) => crate::secrets_key::place(&config.data)?,
            JournalPlace::InMemory => KeyPlace::InMemory,
        },
        journal,
        checkpoint_webhook: webhook.filter(|_| is_server),
        components_directory: directory.cloned(),
        embedded: plan.sources,
        selection: plan.selection,
        concurrency: concurrency(&sections.concurrency),
        agents: if runs_agents { config.agents()? } else { BTreeMap::new() },
        inference: if runs_agents || meaning.is_some() { Some(inference(config)?) } else { None },
        meaning,
        meaning_upkeep: if is_server { MeaningUpkeep::Keeps } else { MeaningUpkeep::Leaves },
        turns: turns(&sections.concurrency),
        budgets: if runs_agents { config.budgets()? } else { BudgetsConfig::default() },
        approvals: ApprovalsConfig {
            policy: config.approval_policy()?,
            // Whoever runs one call from this machine's keyboard has decided by doing so.
            asks: if runs_agents { Asks::People } else { Asks::Nobody },
            webhook: if is_server { config.approval_webhook()? } else { None },
        },
        egress: plan.egress,
        watch,
        ..ControlConfig::new(loader(config)?)
    };
    Control::start(control).await.map_err(|error| Failure::Start(error.into()))
}

/// Models, and whoever answers by rules within this process.
///
/// # Errors
/// A section that cannot be used, a script that cannot be read.
fn inference(config: &Config) -> Result<Inference, Failure> {
    let InferencePlan { mut broker, scripted } = config.inference()?;
    let mut servers = Vec::with_capacity(scripted.len());
    for backend in scripted {
        let script = match &backend.script {
            None => Script::demo(),
            Some(path) => crate::cli::scripted_model::read(path).map_err(Failure::Start)?,
        };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = ScriptedServer::start(script, address)
            .context("a scripted model")
            .map_err(Failure::Start)?;
        if let Some(configured) = broker.backends.get_mut(backend.index) {
            configured.url = Url::parse(&server.url())
                .context("the address of a scripted model")
                .map_err(Failure::Start)?;
        }
        servers.push(server);
    }
    let broker = Broker::new(broker).context("[inference]").map_err(Failure::Start)?;
    Ok(Inference::with_servers(broker, servers))
}

/// How turns are run.
fn turns(section: &ConcurrencySection) -> TurnsConfig {
    let mut turns = TurnsConfig::default();
    if let Some(agents_max) = section.agents_max {
        turns.agents_max = agents_max.get();
    }
    if let Some(queue_max) = section.turns_queue_max {
        turns.queue_max = queue_max.get();
    }
    turns
}

/// Runs a future on a runtime of its own, as every command does.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    foreshore_control::egress::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("invariant: a machine that cannot start a thread cannot run a host");
    let result = runtime.block_on(future);
    // What still blocks then, such as the resolving of a name, is not waited for.
    runtime.shutdown_background();
    result
}

/// The components that the binary carries.
pub(crate) fn shipped() -> Vec<Source> {
    let source = |shipped: &foreshore_shipped::Shipped| Source {
        bytes: Bytes::from_static(shipped.bytes),
        file_stem: Some(format!("{}@{}", shipped.name, shipped.version)),
        origin: Origin::Embedded,
    };
    foreshore_shipped::components().iter().map(source).collect()
}

/// Gives the shipped components the limits they want, where the operator says nothing.
///
/// # Errors
/// A suggestion above a ceiling: a fault of this build.
pub(crate) fn suggest_limits(config: &mut Config) -> Result<(), ConfigError> {
    for shipped in foreshore_shipped::components() {
        config.suggest_limits(shipped.name, &shipped.limits)?;
    }
    Ok(())
}

/// Reads a component from a file.
///
/// # Errors
/// A file that cannot be read. Whether it is a component is for the loader to say, which also
/// bounds it; here only what could not even be read is refused.
pub(crate) fn read_component(file: &Path) -> Result<Source, Failure> {
    let bytes = std::fs::read(file).with_context(|| format!("component {}", file.display()))?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(Source { bytes: bytes.into(), file_stem: stem, origin: Origin::Directory(file.to_owned()) })
}

/// A component's name and what is in it, without starting a host.
///
/// # Errors
/// Bytes that are no component, or one beyond the caps.
pub(crate) fn examine(
    config: &Config,
    source: &Source,
) -> Result<(ComponentRef, Inspection), Failure> {
    let policies = config.policies.clone().into_policies();
    let loader = loader(config)?;
    foreshore_runtime::examine(source, &loader, &policies)
        .map_err(|error| Failure::Other(error.into()))
}

/// Names that the configuration has a policy for and that no component has. Often a slip; always
/// harmless, so a reason to warn and not to refuse.
pub(crate) fn policies_without_component(config: &Config) -> Vec<String> {
    let mut names: BTreeSet<String> =
        foreshore_shipped::components().iter().map(|shipped| shipped.name.to_owned()).collect();
    let entries = std::fs::read_dir(&config.components_directory).into_iter().flatten();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "wasm")
            && let Ok(source) = read_component(&path)
            && let Ok((reference, _)) = examine(config, &source)
        {
            names.insert(reference.name.to_string());
        }
    }
    let of = |policy: &str| policy.split('@').next().unwrap_or_default().to_owned();
    config
        .policies
        .limits()
        .filter(|(policy, _)| !names.contains(&of(policy)))
        .map(|(policy, _)| {
            let near = nearest(&of(policy), names.iter().map(String::as_str));
            let hint = near.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
            format!("[components.{policy}] is for a component that is not there{hint}")
        })
        .collect()
}

/// The settings of the HTTP edge.
pub(crate) fn gateway(config: &Config) -> GatewayConfig {
    let server = &config.sections.server;
    GatewayConfig {
        hosts: server.hosts.clone(),
        origins: server.origins.clone(),
        limits: server.limits.clone(),
        rates: server.rates.clone(),
        trusted_proxies: server.trusted_proxies.iter().map(|network| network.0).collect(),
        tls: None,
        auth: AuthConfig::default(),
    }
}

/// The certificate of a server, if it is to have one.
///
/// # Errors
/// Its files cannot be used.
pub(crate) fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>, ConfigError> {
    let Some(tls) = &config.sections.server.tls else { return Ok(None) };
    let TlsSection { certificate, key } = tls.clone();
    let opened = Certificates::open(TlsFiles { certificate, key });
    opened.map(Some).map_err(|error| config.refused(&["server", "tls"], &error))
}

/// Whether the parts would accept their settings; nothing is started.
///
/// # Errors
/// The first setting that would be refused.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    crate::telemetry::filter(&config.sections.log)?;
    config.watched_roots()?;
    config.agents()?;
    config.roles()?;
    certificates(config)?;
    config.issuers()?;
    config.approval_policy()?;
    config.approval_webhook()?;
    config.budgets()?;
    config.inference()?;
    config.meaning()?;
    gateway(config).checked().map_err(|error| config.refused(&["server"], &error))?;
    let ceiling = engine(&config.sections.runtime).memory_ceiling_bytes;
    for (name, limits) in config.policies.limits() {
        if limits.memory_max_bytes.get() > ceiling {
            let message = format!(
                "memory_max_bytes = {} of component \"{name}\" is above runtime.memory_ceiling_bytes = {ceiling}; raise that or lower the limit",
                limits.memory_max_bytes
            );
            return Err(
                config.refused(&["components", name, "limits", "memory_max_bytes"], &message)
            );
        }
    }
    Ok(())
}

/// The loader's settings where nobody says otherwise.
pub(crate) fn default_loader() -> LoaderConfig {
    LoaderConfig::new(PathBuf::new(), Compiler::InProcess)
}

/// The loader's settings.
///
/// # Errors
/// The path of this program is not known.
pub(crate) fn loader(config: &Config) -> Result<LoaderConfig, Failure> {
    let program = std::env::current_exe()
        .context("this program cannot find itself, which it needs to compile components")
        .map_err(Failure::Start)?;
    let compiler = Compiler::Child { program, arguments: vec![COMPILE_COMMAND.into()] };
    let mut loader = LoaderConfig::new(config.data.join("compiled"), compiler);
    let LoaderSection {
        component_max_bytes,
        functions_max,
        function_max_bytes,
        cache_max_bytes,
        compile_cpu_s,
        compile_wall_s,
        compile_memory_max_bytes,
    } = config.sections.loader;
    for (setting, value) in [
        (&mut loader.component_max_bytes, component_max_bytes),
        (&mut loader.functions_max, functions_max),
        (&mut loader.function_max_bytes, function_max_bytes),
        (&mut loader.cache_max_bytes, cache_max_bytes),
        (&mut loader.compile_cpu_s, compile_cpu_s),
        (&mut loader.compile_wall_s, compile_wall_s),
        (&mut loader.compile_memory_max_bytes, compile_memory_max_bytes),
    ] {
        if let Some(value) = value {
            *setting = value.get();
        }
    }
    Ok(loader)
}

/// The engine's settings.
pub(crate) fn engine(section: &RuntimeSection) -> EngineConfig {
    let RuntimeSection {
        slots,
        memory_ceiling_bytes,
        table_elements_ceiling,
        heavy_permits,
        first_slice_ms,
        fuel_yield_interval,
        wasm_stack_bytes,
    } = *section;
    let mut engine = EngineConfig::default();
    if let Some(slots) = slots {
        engine.slots = slots.get();
    }
    for (setting, value) in [
        (&mut engine.memory_ceiling_bytes, memory_ceiling_bytes),
        (&mut engine.table_elements_ceiling, table_elements_ceiling),
        (&mut engine.first_slice_ms, first_slice_ms),
        (&mut engine.fuel_yield_interval, fuel_yield_interval),
        (&mut engine.wasm_stack_bytes, wasm_stack_bytes),
    ] {
        if let Some(value) = value {
            *setting = value.get();
        }
    }
    engine.heavy_permits = heavy_permits.or(engine.heavy_permits);
    engine
}

/// How many calls at once.
pub(crate) fn concurrency(section: &ConcurrencySection) -> ConcurrencyConfig {
    let ConcurrencySection { calls_max, queue_max, queue_wait_max_ms, .. } = *section;
    let mut concurrency = ConcurrencyConfig::default();
    if let Some(calls_max) = calls_max {
        concurrency.calls_max = calls_max.get();
        // Twice as many may wait, unless the operator says otherwise.
        concurrency.queue_max = calls_max.get().saturating_mul(2);
    }
    if let Some(queue_max) = queue_max {
        concurrency.queue_max = queue_max.get();
    }
    if let Some(wait_ms) = queue_wait_max_ms {
        concurrency.queue_wait_max = Duration::from_millis(wait_ms.get());
    }
    concurrency
}
