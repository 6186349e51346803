//! What all components share, and a component linked to it.
//!
//! Everything that does not depend on a call is done here, once: the engine, one linker for
//! each set of needs, the typed exports of a component, its mounts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foreshore_domain::call::{CallContext, CallError, Denials, Meter};
use foreshore_domain::component::{ComponentRef, ToolDefinition, ToolHints};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{Effect, EffectError, EffectOutcome};
use foreshore_domain::grant::Grant;
use foreshore_domain::id::{CallId, Digest};
use foreshore_domain::limits::Limits;
use foreshore_domain::ports::{BoxFuture, Effects, FileChanges};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::bindings::ToolComponentPre;
use crate::call::{self, CallReport, Run};
use crate::capability::filesystem::{MountTable, Mounts};
use crate::capability::{
    agent, clock, config, filesystem, http, io, keyvalue, log, memory, progress, random, sockets,
    stdio,
};
use crate::engine::{EngineConfig, new_engine};
use crate::error::{EngineError, LinkError};
use crate::result;
use crate::scheduler::Scheduler;
use crate::state::{CallScope, State};

/// Everything that all components share. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox(Arc<Shared>);

struct Shared {
    engine: Engine,
    linkers: Linkers,
    agent_linker: Linker<State>,
    scheduler: Scheduler,
    effects: Arc<dyn Effects>,
    changes: Option<Arc<dyn FileChanges>>,
    mounts: MountTable,
    config: EngineConfig,
}

impl Sandbox {
    /// A sandbox whose guests reach the world through `effects`, and whose changes to the mounts
    /// that are watched are announced to `changes`.
    ///
    /// # Errors
    /// A setting out of range, or a machine that does not give the pool its address space.
    pub fn new(
        config: &EngineConfig,
        effects: Arc<dyn Effects>,
        changes: Option<Arc<dyn FileChanges>>,
    ) -> Result<Self, EngineError> {
        let engine = new_engine(config)?;
        let linkers = Linkers::new(&engine)
            .map_err(|error| EngineError::Link { message: format!("{error:#}") })?;
        let agent_linker = agent_linker(&engine)
            .map_err(|error| EngineError::Link { message: format!("{error:#}") })?;
        let first_slice = Duration::from_millis(config.first_slice_ms);
        Ok(Self(Arc::new(Shared {
            engine,
            linkers,
            agent_linker,
            scheduler: Scheduler::new(config.heavy_permits, first_slice),
            effects,
            changes,
            mounts: MountTable::default(),
            config: config.clone(),
        })))
    }

    /// The engine, for the loader to deserialize artifacts in.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether the pool can hold to these limits; to be asked before a component is loaded.
    ///
    /// # Errors
    /// [`LinkError::Ceiling`].
    pub fn check_limits(&self, limits: &Limits) -> Result<(), LinkError> {
        let config = &self.0.config;
        for (limit, value, setting, ceiling) in [
            (
                "memory_max_bytes",
                limits.memory_max_bytes.get(),
                "memory_ceiling_bytes",
                config.memory_ceiling_bytes,
            ),
            (
                "table_elements_max",
                limits.table_elements_max.get(),
                "table_elements_ceiling",
                config.table_elements_ceiling,
            ),
        ] {
            if value > ceiling {
                return Err(LinkError::Ceiling { limit, value, setting, ceiling });
            }
        }
        Ok(())
    }

    /// Links a component to the interfaces that its grant gives, and opens its mounts.
    ///
    /// # Errors
    /// An import that is not linked, an export that is missing, a mount that does not open.
    pub(crate) fn link(
        &self,
        component: &Component,
        grant: &Arc<Grant>,
    ) -> Result<Linked, LinkError> {
        let does_not_fit =
            |error: wasmtime::Error| LinkError::Interface { message: format!("{error:#}") };
        let linker = self.0.linkers.of(grant).map_err(does_not_fit)?;
        let pre = linker
            .instantiate_pre(component)
            .and_then(ToolComponentPre::new)
            .map_err(does_not_fit)?;
        let mounts = self.open_mounts(grant)?;
        Ok(Linked { sandbox: self.clone(), pre, grant: Arc::clone(grant), mounts })
    }

    /// What agents are linked to; it is the same for all of them.
    pub(crate) fn agent_linker(&self) -> &Linker<State> {
        &self.0.agent_linker
    }

    /// The door.
    pub(crate) fn effects(&self) -> Arc<dyn Effects> {
        Arc::clone(&self.0.effects)
    }

    /// By what guests take turns on the processors: the scheduler, and the fuel between two
    /// yields.
    pub(crate) fn turns(&self) -> (&Scheduler, u64) {
        (&self.0.scheduler, self.0.config.fuel_yield_interval)
    }

    fn open_mounts(&self, grant: &Grant) -> Result<Mounts, LinkError> {
        Mounts::open(grant, &self.0.mounts, self.0.changes.as_deref())
    }
}

fn agent_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    agent::link(&mut linker)?;
    Ok(linker)
}

type Link = fn(&mut Linker<State>) -> wasmtime::Result<()>;
type IsGranted = fn(&Grant) -> bool;

/// What every component is linked to.
const ALWAYS: [Link; 8] = [
    clock::link,
    filesystem::link,
    io::link,
    log::link,
    progress::link,
    random::link,
    sockets::link,
    stdio::link,
];

/// What a component is linked to if it was granted.
const NEEDS: [(IsGranted, Link); 4] = [
    (|grant| grant.http.is_some(), http::link),
    (|grant| grant.config.is_some(), config::link),
    (|grant| grant.memory.is_some(), memory::link),
    (|grant| grant.keyvalue, keyvalue::link),
];

/// Of [`NEEDS`], which are met.
type Met = [bool; NEEDS.len()];

/// One linker for each set of needs, made when a component first has it. What is not granted
/// is not linked.
struct Linkers {
    engine: Engine,
    made: Mutex<BTreeMap<Met, Arc<Linker<State>>>>,
}

impl Linkers {
    /// Makes the one that links everything, so that a build in which that fails does not start.
    fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let linkers = Self { engine: engine.clone(), made: Mutex::default() };
        linkers.meeting([true; NEEDS.len()])?;
        Ok(linkers)
    }

    fn of(&self, grant: &Grant) -> wasmtime::Result<Arc<Linker<State>>> {
        self.meeting(NEEDS.map(|(is_granted, _)| is_granted(grant)))
    }

    fn meeting(&self, met: Met) -> wasmtime::Result<Arc<Linker<State>>> {
        // A std mutex: nothing awaits while it is held.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(linker) = made.get(&met) {
            return Ok(Arc::clone(linker));
        }
        let mut linker = Linker::new(&self.engine);
        for link in ALWAYS {
            link(&mut linker)?;
        }
        for (_, link) in NEEDS.iter().zip(met).filter(|(_, met)| *met).map(|(need, _)| need) {
            link(&mut linker)?;
        }
        let linker = Arc::new(linker);
        made.insert(met, Arc::clone(&linker));
        Ok(linker)
    }
}

/// A component that is ready to be called.
pub(crate) struct Linked {
    sandbox: Sandbox,
    pre: ToolComponentPre<State>,
    grant: Arc<Grant>,
    mounts: Mounts,
}

impl Linked {
    /// The component's tools; runs in a sandbox with no grants and default limits.
    ///
    /// # Errors
    /// As for any call; a definition that is malformed is the component's crash.
    pub(crate) async fn definitions(
        &self,
        component: &ComponentRef,
        digest: Digest,
    ) -> Result<Vec<ToolDefinition>, CallError> {
        let context = Arc::new(CallContext {
            call_id: CallId::new(0),
            component: component.clone(),
            digest,
            tool: "definitions".into(),
            hints: ToolHints::default(),
            principal: foreshore_domain::identity::Principal::host(),
            grant: Arc::default(),
            limits: Limits::default(),
            turn: None,
            observer: None,
            meter: Meter::default(),
            denials: Denials::default(),
        });
        let scope = Arc::new(CallScope::new(context, Arc::new(NoEffects)));
        let run = self
            .run(scope, Mounts::none(), async |pre, store| {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.foreshore_tool_tool().call_definitions(store).await
            })
            .await;
        result::definitions(run.returned?)
            .map_err(|message| CallError::Trap { component: component.clone(), message })
    }

    /// Runs one tool in a fresh sandbox. Dropping the future stops the guest.
    pub(crate) async fn call(
        &self,
        context: Arc<CallContext>,
        tool: &str,
        arguments: &str,
    ) -> CallReport {
        let mounts = match self.mounts_of(&context.grant) {
            Ok(mounts) => mounts,
            Err(error) => return CallReport::not_started(error.to_string()),
        };
        let effects = self.sandbox.effects();
        let scope = Arc::new(CallScope::new(Arc::clone(&context), effects));
        // What wit-bindgen makes of a type alias is borrowed as the owned type.
        let arguments = arguments.to_owned();
        let run = self
            .run(scope, mounts, async |pre, store| {
                let guest = pre.instantiate_async(&mut *store).await?;
                guest.foreshore_tool_tool().call_call(store, tool, &arguments).await
            })
            .await;
        CallReport {
            result: run.returned.and_then(|returned| result::call_result(&context, returned)),
            usage: run.usage,
            logs: run.logs,
        }
    }

    async fn run<R>(
        &self,
        scope: Arc<CallScope>,
        mounts: Mounts,
        function: impl AsyncFnOnce(
            &ToolComponentPre<State>,
            &mut wasmtime::Store<State>,
        ) -> wasmtime::Result<R>,
    ) -> Run<R> {
        let (scheduler, interval) = self.sandbox.turns();
        call::run(self.pre.engine(), &self.pre, scheduler, interval, scope, mounts, function).await
    }

    /// The mounts are open since the component was linked, unless this call has other grants.
    fn mounts_of(&self, grant: &Arc<Grant>) -> Result<Mounts, LinkError> {
        if Arc::ptr_eq(grant, &self.grant) || grant.mounts == self.grant.mounts {
            Ok(self.mounts.clone())
        } else {
            self.sandbox.open_mounts(grant)
        }
    }
}

/// The door of a component that is only asked what it is: closed.
pub(crate) struct NoEffects;

impl Effects for NoEffects {
    fn perform<'a>(
        &'a self,
        _: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        let denial = Denial {
            code: DenialCode::DeniedByTool,
            subject: format!("{} while it says what it is", effect.kind()),
            grant: String::new(),
        };
        Box::pin(async { Err(denial.into()) })
    }

    fn note(&self, _: &CallContext, _: Effect) {}
}
