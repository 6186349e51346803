//! What all components share, and a component linked to it.

use std::sync::Arc;

use foreshore_domain::call::{CallContext, CallError};
use foreshore_domain::component::{ComponentRef, ToolDefinition};
use foreshore_domain::grant::Grant;
use foreshore_domain::id::Digest;
use foreshore_domain::limits::Limits;
use foreshore_domain::ports::Effects;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::call::CallReport;
use crate::engine::EngineConfig;
use crate::error::{EngineError, LinkError};

/// Everything that all components share. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    engine: Engine,
}

impl Sandbox {
    /// # Errors
    /// A setting out of range, or a machine that does not give the pool its address space.
    pub fn new(config: &EngineConfig, effects: Arc<dyn Effects>) -> Result<Self, EngineError> {
        let _ = effects;
        Ok(Self { engine: crate::engine::new_engine(config)? })
    }

    /// The engine, for the loader to deserialize artifacts in.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether the pool can hold to these limits; to be asked before a component is loaded.
    ///
    /// # Errors
    /// [`LinkError::Ceiling`].
    pub fn check_limits(&self, limits: &Limits) -> Result<(), LinkError> {
        let _ = limits;
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
        let _ = (component, grant);
        unimplemented!()
    }
}

/// A component that is ready to be called.
pub(crate) struct Linked {}

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
        let _ = (component, digest);
        unimplemented!()
    }

    /// Runs one tool in a fresh sandbox. Dropping the future stops the guest.
    pub(crate) async fn call(
        &self,
        context: Arc<CallContext>,
        tool: &str,
        arguments: &str,
    ) -> CallReport {
        let _ = (context, tool, arguments);
        unimplemented!()
    }
}
