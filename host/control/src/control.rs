//! The host: its parts put together, started, asked and brought down in order.
//!
//! The order of the start is that of who needs whom: journal, door, sandbox, loader, components,
//! watcher. The order of the end is the reverse, and the journal is last, so that everything that
//! ends can still be recorded. Every task is in one tracker, which a drain waits for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foreshore_domain::agent::AgentPolicy;
use foreshore_domain::call::CallError;
use foreshore_domain::component::{ComponentRef, Inspection, ToolName};
use foreshore_domain::event::EventKind;
use foreshore_domain::id::CallId;
use foreshore_domain::identity::Roles;
use foreshore_domain::limits::Limits;
use foreshore_domain::outcome::{CallFailure, Outcome};
use foreshore_domain::policy::Policies;
use foreshore_integrity::RootConfig;
use foreshore_runtime::{
    Component, EngineConfig, InspectError, LoadFailure, Loader, LoaderConfig, Sandbox, Source,
};
use foreshore_store::{Health, Journal, JournalConfig, ReadError};
use semver::Version;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, ConcurrencyConfig, Permit};
use crate::approvals::{Approvals, ApprovalsConfig};
use crate::budgets::{Budgets, BudgetsConfig};
use crate::checkpoints::{self, Patience, Webhook, WebhookUrl};
use crate::clock;
use crate::components::{Components, Selection};
use crate::conversations::Conversations;
use crate::directory::Directory;
use crate::effects::Door;
use crate::egress::{Egress, EgressConfig, TlsClient};
use crate::error::{PutError, RemoveError, StartError};
use crate::events::{EventFilter, Page};
use crate::identities::Identities;
use crate::integrity::Integrity;
use crate::invoke::{Invocation, Invoker, failure};
use crate::memory::{Meaning, MeaningConfig, MeaningUpkeep, Memory};
use crate::record::Recorder;
use crate::secrets::{KeyPlace, Secrets};
use crate::summary::{Check, ComponentSummary, Readiness, ToolSummary};

use crate::inference::Inference;
use crate::turns::models::NoModels;
use crate::turns::registry::Registered;
use crate::turns::{Models, Turns, TurnsConfig, TurnsHost};
use crate::upkeep::Upkeep;
use crate::watch::Watch;

/// What a host is made of.
pub struct ControlConfig {
    /// The sandbox.
    pub engine: EngineConfig,
    /// What a component may be.
    pub loader: LoaderConfig,
    /// What each component may touch and use.
    pub policies: Policies,
    /// Where the journal is.
    pub journal: JournalPlace,
    /// Where its checkpoints are sent.
    pub checkpoint_webhook: Option<WebhookUrl>,
    /// Where components are looked for and kept; made if it is missing.
    pub components_directory: Option<PathBuf>,
    /// Components that come with the binary.
    pub embedded: Vec<Source>,
    /// Which components are loaded at start.
    pub selection: Selection,
    /// How many calls at once.
    pub concurrency: ConcurrencyConfig,
    /// How to reach out.
    pub egress: EgressConfig,
    /// Take up what changes in the components directory.
    pub watch: bool,
    /// Directories whose files are watched for changes.
    pub roots: Vec<RootConfig>,
    /// Where the key of secrets is.
    pub secrets_key: KeyPlace,
    /// Roles, besides those that every host has.
    pub roles: Roles,
    /// The agents, by name.
    pub agents: BTreeMap<String, AgentPolicy>,
    /// Who asks models, for agents and for people; a host without has none.
    pub inference: Option<Inference>,
    /// How memory is searched by meaning, through [`Self::inference`]; by words alone without.
    pub meaning: Option<MeaningConfig>,
    /// Whether this host sees to the vectors of records.
    pub meaning_upkeep: MeaningUpkeep,
    /// Who asks models for agents, where it is not [`Self::inference`]: for tests.
    pub models: Option<Arc<dyn Models>>,
    /// How turns are run.
    pub turns: TurnsConfig,
    /// Who may spend how much on models.
    pub budgets: BudgetsConfig,
    /// Which calls wait for a person.
    pub approvals: ApprovalsConfig,
}

impl ControlConfig {
    /// Defaults, no grants, no components, and a journal in memory.
    pub fn new(loader: LoaderConfig) -> Self {
        Self {
            engine: EngineConfig::default(),
            loader,
            policies: Policies::default(),
            journal: JournalPlace::InMemory,
            checkpoint_webhook: None,
            components_directory: None,
            embedded: Vec::new(),
            selection: Selection::All,
            concurrency: ConcurrencyConfig::default(),
            egress: EgressConfig::default(),
            watch: false,
            roots: Vec::new(),
            secrets_key: KeyPlace::InMemory,
            roles: Roles::default(),
            agents: BTreeMap::new(),
            inference: None,
            meaning: None,
            meaning_upkeep: MeaningUpkeep::default(),
            models: None,
            turns: TurnsConfig::default(),
            budgets: BudgetsConfig::default(),
            approvals: ApprovalsConfig::default(),
        }
    }
}

/// Where the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalPlace {
    /// Nowhere: gone with the process.
    InMemory,
    /// In this file.
    File(PathBuf),
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every call that was accepted ended.
    Completely,
    /// Patience ran out first.
    Partly {
        /// Calls that were still running.
        running: usize,
    },
}

/// The host. See the module.
pub struct Control {
    admission: Arc<Admission>,
    invoker: Arc<Invoker>,
    components: Arc<Components>,
    journal: Journal,
    memory: Memory,
    conversations: Conversations,
    turns: Turns,
    inference: Option<Inference>,
    identities: Identities,
    secrets: Secrets,
    approvals: Approvals,
    budgets: Option<Budgets>,
    integrity: Arc<Integrity>,
    upkeep: Upkeep,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Control {
    /// Puts a host together and loads its components. A component that does not load does not
    /// keep it from starting: it is shown as refused.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(config: ControlConfig) -> Result<Arc<Self>, StartError> {
        check(&config.concurrency)?;
        check_turns(&config.turns)?;
        let journal = match &config.journal {
            JournalPlace::InMemory => Journal::in_memory(&JournalConfig::default())?,
            JournalPlace::File(path) => Journal::open(path, &JournalConfig::default())?,
        };
        let recorder = Recorder::new(journal.clone());
        recorder.host(EventKind::HostStarted).await?;

        let identities = Identities::open(journal.clone(), config.roles)?;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let memory = match (config.meaning, &config.inference) {
            (Some(meaning), Some(inference)) => {
                let embedder = Arc::new(inference.clone());
                let meaning = Meaning::new(meaning, embedder, tasks.clone(), stop.clone());
                Memory::with_meaning(journal.clone(), meaning)
            }
            _ => Memory::new(journal.clone()),
        };
        let integrity = Arc::new(Integrity::open(journal.clone(), config.roots)?);
        let secrets = Secrets::open(journal.clone(), config.secrets_key)?;
        let egress = Egress::new(config.egress)?.holding(secrets.custody().clone());
        let door = Arc::new(Door::new(egress, recorder.clone(), memory.clone()));
        let sandbox = Sandbox::new(&config.engine, door.clone(), integrity.announcements())?;
        let component_max_bytes = config.loader.component_max_bytes;
        let loader = Loader::new(sandbox, config.loader)?;
        let directory = match &config.components_directory {
            None => None,
            Some(path) => Some(Directory::open(path).map_err(|e| unusable(path, e))?),
        };
        // Before the first look, so that no change falls between the two.
        let watch = match directory.as_ref().filter(|_| config.watch) {
            None => None,
            Some(directory) => Some(Watch::new(directory)?),
        };
        let components = Arc::new(Components::new(
            loader,
            config.policies,
            recorder.clone(),
            directory,
            component_max_bytes,
        ));
        components.load_all(config.embedded, &config.selection).await.map_err(|error| {
            unusable(&config.components_directory.clone().unwrap_or_default(), error)
        })?;

        if let Some(watch) = watch {
            tasks.spawn(watch.run(Arc::clone(&components), stop.clone()));
        }
        let watching = Arc::clone(&integrity);
        tasks.spawn_blocking(move || watching.watch());
        tasks.spawn(Arc::clone(&integrity).keep_bounds(stop.clone()));
        let upkeep = Upkeep::new(journal.clone(), &config.journal);
        tasks.spawn(memory.clone().sweep(stop.clone()));
        if config.meaning_upkeep == MeaningUpkeep::Keeps {
            tasks.spawn(memory.clone().keep_meanings());
        }
        if let Some(checkpoints) = journal.checkpoints() {
            if let Some(url) = config.checkpoint_webhook {
                let webhook = Webhook::new(url, TlsClient::new(Vec::new()), Patience::default());
                tasks.spawn(checkpoints::send(checkpoints.clone(), webhook, stop.clone()));
            }
            tasks.spawn(checkpoints::log(checkpoints, stop.clone()));
        }
        let admission = Arc::new(Admission::new(config.concurrency, tasks.clone()));
        let running = Arc::clone(door.running());
        let ApprovalsConfig { policy, asks, webhook } = config.approvals;
        let (approvals, woken, outbox) = Approvals::new(journal.clone(), policy, asks);
        if let Some(webhook) = webhook {
            tasks.spawn(outbox.send(webhook, stop.clone()));
        }
        let invoker = Arc::new(Invoker {
            door,
            recorder: recorder.clone(),
            approvals: approvals.clone(),
            tasks: tasks.clone(),
        });
        let registered = Arc::new(Registered {
            components: Arc::clone(&components),
            invoker: Arc::clone(&invoker),
            admission: Arc::clone(&admission),
        });
        let conversations = Conversations::new(journal.clone());
        let agents = config.agents.into_iter().map(|(name, policy)| (name, Arc::new(policy)));
        let models: Arc<dyn Models> = match (config.models, &config.inference) {
            (Some(models), _) => models,
            (None, Some(inference)) => Arc::new(inference.clone()),
            (None, None) => Arc::new(NoModels),
        };
        let mut budgets = None;
        if let Some(inference) = &config.inference {
            tasks.spawn(inference.broker().probing(stop.clone()));
            let ledger = inference.broker().budgets().clone();
            let now = clock::now_unix_ms();
            let opened = Budgets::open(ledger, &config.budgets, journal.clone(), now)?;
            tasks.spawn(opened.clone().keep(stop.clone()));
            budgets = Some(opened);
        }
        let turns = Turns::new(TurnsHost {
            journal: journal.clone(),
            custody: secrets.custody().clone(),
            memory: memory.clone(),
            conversations: conversations.clone(),
            recorder,
            models,
            tools: registered.clone(),
            agents: registered,
            policies: agents.collect(),
            config: config.turns,
            approvals: approvals.clone(),
            budgets: budgets.clone(),
            running,
            tasks: tasks.clone(),
            drain: stop.clone(),
        });
        let open = turns.resume()?;
        if open > 0 {
            tracing::info!(open, "turns that had not ended go on");
        }
        tasks.spawn(turns.clone().keep_time());
        tasks.spawn(turns.clone().wake_decided(woken));
        tasks.spawn(approvals.clone().keep_time(stop.clone()));
        Ok(Arc::new(Self {
            admission,
            invoker,
            components,
            journal,
            memory,
            conversations,
            turns,
            inference: config.inference,
            identities,
            secrets,
            approvals,
            budgets,
            integrity,
            upkeep,
            tasks,
            stop,
        }))
    }

    /// Lets a call in, now or within `queue_wait_max`. To be asked before any work is done for
    /// the call; the permit goes to [`Self::invoke_with`].
    ///
    /// # Errors
    /// [`CallError::Overloaded`], [`CallError::ShuttingDown`].
    pub async fn admit(&self) -> Result<Permit, CallError> {
        self.admission.admit().await
    }

    /// Makes a call: the one path to a guest. If the returned future is dropped, a read-only
    /// call is stopped, and any other runs on to its end.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn invoke(&self, invocation: Invocation) -> Result<Outcome, Box<CallFailure>> {
        match self.admit().await {
            Ok(permit) => self.invoke_with(permit, invocation).await,
            Err(error) => Err(failure(CallId::new(clock::now_unix_ms()), error)),
        }
    }

    /// As [`Self::invoke`], for a call that has been let in.
    ///
    /// # Errors
    /// [`CallFailure`].
    pub async fn invoke_with(
        &self,
        permit: Permit,
        invocation: Invocation,
    ) -> Result<Outcome, Box<CallFailure>> {
        let snapshot = self.components.registry().snapshot();
        self.invoker.invoke(permit, &snapshot, invocation).await
    }

    /// All tools, by component and version, in the order of each component.
    pub fn tools(&self) -> Vec<ToolSummary> {
        let snapshot = self.components.registry().snapshot();
        snapshot
            .components()
            .flat_map(|component| component.tools().iter().map(move |tool| (component, tool)))
            .map(|(component, tool)| ToolSummary::new(&snapshot, component, tool))
            .collect()
    }

    /// One tool.
    ///
    /// # Errors
    /// [`CallError::UnknownTool`], [`CallError::Denied`], [`CallError::Refused`]: as a call of
    /// it would answer.
    pub fn tool(&self, name: &ToolName) -> Result<ToolSummary, CallError> {
        let snapshot = self.components.registry().snapshot();
        let found = snapshot.find(name).map_err(|error| Invoker::not_found(name, error))?;
        Ok(ToolSummary::new(&snapshot, found.component(), found.tool()))
    }

    /// All components: those that can be called, then those that were refused, with the reason.
    pub fn components(&self) -> Vec<ComponentSummary> {
        let snapshot = self.components.registry().snapshot();
        let loaded = snapshot.components().map(ComponentSummary::loaded);
        loaded.chain(snapshot.refused().map(|r| ComponentSummary::refused(r))).collect()
    }

    /// Grows with each change of components; what is derived from them holds until it does.
    pub fn generation(&self) -> u64 {
        self.components.registry().snapshot().generation()
    }

    /// Loads a component, keeps it in the components directory, and serves it: every call that
    /// begins after this returned runs it. `name` is `NAME` or `NAME@VERSION`; the latter
    /// overrides what the component says of itself.
    ///
    /// # Errors
    /// [`PutError`]; what was served before is served still.
    pub async fn put_component(
        &self,
        bytes: Bytes,
        name: Option<&str>,
    ) -> Result<ComponentRef, PutError> {
        if self.admission.is_closed() {
            return Err(PutError::ShuttingDown);
        }
        let _token = self.tasks.token();
        let reference = self.components.put(bytes, name).await?;
        self.approve_own(std::slice::from_ref(&reference)).await;
        Ok(reference)
    }

    /// Removes a component from the components directory, in one version or in all. Calls that
    /// run go on; none begins after this returned. A component of the same name and version that
    /// is built in is served again.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub async fn remove_component(
        &self,
        name: &str,
        version: Option<&Version>,
    ) -> Result<Vec<ComponentRef>, RemoveError> {
        if self.admission.is_closed() {
            return Err(RemoveError::ShuttingDown);
        }
        let _token = self.tasks.token();
        let removed = self.components.remove(name, version).await?;
        self.approve_own(&removed).await;
        Ok(removed)
    }

    /// What the host did to its own components directory is good, where that is watched.
    async fn approve_own(&self, references: &[ComponentRef]) {
        let files: Vec<PathBuf> =
            references.iter().filter_map(|reference| self.components.path_of(reference)).collect();
        let integrity = Arc::clone(&self.integrity);
        let approve = move || files.iter().for_each(|file| integrity.approve_own(file));
        if let Err(error) = tokio::task::spawn_blocking(approve).await {
            tracing::error!(%error, "a component's file was not approved");
        }
    }

    /// Loads a component without serving it: says whether this host would, and if not, why.
    ///
    /// # Errors
    /// [`LoadFailure`].
    pub async fn try_load(&self, source: Source) -> Result<Component, LoadFailure> {
        self.components.load(source).await
    }

    /// What can be said of a component without compiling or running it.
    ///
    /// # Errors
    /// [`InspectError`].
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, InspectError> {
        self.components.loader().inspect(bytes)
    }

    /// The limits of a component that no policy names.
    pub fn limits(&self) -> Limits {
        *self.components.policies().default_limits()
    }

    /// What each component may touch and use.
    pub fn policies(&self) -> &Policies {
        self.components.policies()
    }

    /// Credentials, and who somebody is that shows one.
    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Secrets, which go where a grant says and to nobody else.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Calls that wait for a person, for people; no guest reaches it.
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// Memory, for people; guests reach it through the door.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Conversations, with what was said in them.
    pub fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// Turns of agents: taken, watched, answered, cancelled, replayed.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Models, for people; agents reach them through the door. `None` where the host has none.
    pub fn inference(&self) -> Option<&Inference> {
        self.inference.as_ref()
    }

    /// What may be spent on models, and what was. `None` where the host has none.
    pub fn budgets(&self) -> Option<&Budgets> {
        self.budgets.as_ref()
    }

    /// The watched directories. Its methods block.
    pub fn integrity(&self) -> &Arc<Integrity> {
        &self.integrity
    }

    /// What an operator has done to the journal.
    pub fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// At most `max` events after number `after` that a filter wants.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn events(&self, after: u64, filter: &EventFilter, max: usize) -> Result<Page, ReadError> {
        crate::events::read(&self.journal, &filter.tenant, after, filter, max)
    }

    /// The journal, to read.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether calls can be taken. A journal that is out of order is in the way: nothing with a
    /// side effect would run, though what only reads is served still. A refused component or a
    /// full house is not.
    pub fn readiness(&self) -> Readiness {
        let snapshot = self.components.registry().snapshot();
        let (loaded, refused) = (snapshot.components().count(), snapshot.refused().count());
        let (journal_ok, journal) = match self.journal.health() {
            Health::Open => {
                // A journal in memory has nothing that could be signed and kept elsewhere.
                let place = if self.journal.checkpoints().is_some() { "" } else { " in memory" };
                (true, format!("open{place}, {} events", self.journal.tip().seq))
            }
            Health::Failed { message, since } => {
                let seconds = since.elapsed().as_secs();
                (false, format!("read-only for {seconds} s, being re-opened: {message}"))
            }
            Health::Closed => (false, "closed".to_owned()),
        };
        let is_draining = self.admission.is_closed();
        // A host without a model that answers serves tools, memory and files still, and says so.
        let models = match &self.inference {
            None => "none".to_owned(),
            Some(inference) => inference.summary(),
        };
        let capacity = if self.admission.is_full() { "every slot is taken" } else { "free" };
        let check = |name, is_ok, message| Check { name, is_ok, message };
        Readiness {
            checks: vec![
                check("journal", journal_ok, journal),
                check("components", true, format!("{loaded} loaded, {refused} refused")),
                check("models", true, models),
                check("memory", true, self.memory.meaning_line()),
                check("capacity", true, capacity.to_owned()),
                check(
                    "drain",
                    !is_draining,
                    if is_draining { "draining" } else { "no" }.to_owned(),
                ),
            ],
        }
    }

    /// Takes no new call, waits for those that run, and closes the journal. Another drain waits
    /// for the same end.
    pub async fn drain(&self, patience: Duration) -> Drained {
        self.admission.close();
        self.stop.cancel();
        self.tasks.close();
        let drained = match tokio::time::timeout(patience, self.tasks.wait()).await {
            Ok(()) => Drained::Completely,
            Err(_) => Drained::Partly { running: self.admission.running() },
        };
        if let Some(budgets) = &self.budgets
            && let Err(error) = budgets.record().await
        {
            tracing::warn!(%error, "what was last spent on models was not recorded");
        }
        let integrity = Arc::clone(&self.integrity);
        if let Err(error) = tokio::task::spawn_blocking(move || integrity.stop()).await {
            tracing::error!(%error, "the watches did not end in order");
        }
        if let Err(error) = self.invoker.recorder.host(EventKind::HostStopped).await {
            tracing::warn!(%error, "the end of the host was not recorded");
        }
        self.journal.clone().close().await;
        drained
    }
}

fn check(config: &ConcurrencyConfig) -> Result<(), StartError> {
    let zero = |setting| Err(StartError::Zero { setting });
    match config {
        ConcurrencyConfig { calls_max: 0, .. } => zero("calls_max"),
        ConcurrencyConfig { queue_max: 0, .. } => zero("queue_max"),
        config if config.queue_wait_max.is_zero() => zero("queue_wait_max_ms"),
        _ => Ok(()),
    }
}

fn check_turns(config: &TurnsConfig) -> Result<(), StartError> {
    let TurnsConfig { agents_max, queue_max, question_ttl_ms } = config;
    let zero = |setting| Err(StartError::Zero { setting });
    match (*agents_max, *queue_max, *question_ttl_ms) {
        (0, ..) => zero("agents_max"),
        (_, 0, _) => zero("queue_max"),
        (.., 0) => zero("question_ttl_ms"),
        _ => Ok(()),
    }
}

fn unusable(directory: &std::path::Path, source: std::io::Error) -> StartError {
    StartError::Directory { directory: directory.to_owned(), source }
}
