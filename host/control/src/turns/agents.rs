//! The seam to agents' components: those of the registry, or plain Rust in tests.

use std::sync::Arc;

use foreshore_domain::agent::{AgentDefinition, Reply, Turn};
use foreshore_domain::call::{CallContext, CallError};
use foreshore_domain::component::ComponentRef;
use foreshore_domain::effect::AgentError;
use foreshore_domain::id::Digest;
use foreshore_domain::limits::Limits;
use foreshore_domain::ports::BoxFuture;

/// The agents' components there are now.
pub(crate) trait Agents: Send + Sync + 'static {
    /// The component of this name, if it can be run as an agent.
    ///
    /// # Errors
    /// Why not, in words for whoever asked.
    fn find(&self, component: &str) -> Result<Arc<dyn AgentComponent>, String>;
}

/// One component that is an agent.
pub(crate) trait AgentComponent: Send + Sync + 'static {
    fn reference(&self) -> &ComponentRef;
    /// Which bytes it is.
    fn digest(&self) -> Digest;
    /// What its author says of it.
    fn definition(&self) -> Option<&AgentDefinition>;
    fn limits(&self) -> Limits;

    /// Holds parameters to the agent's schema.
    ///
    /// # Errors
    /// JSON Pointer to the part at fault, and what is wrong with it.
    fn check_parameters(&self, parameters: &serde_json::Value) -> Result<(), (String, String)>;

    /// Takes one turn in a fresh sandbox. Dropping the future stops it.
    fn run(&self, context: Arc<CallContext>, turn: Turn) -> BoxFuture<'static, Ran>;
}

/// What became of one run. Facts only.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) result: Result<Reply, Stopped>,
    /// What the guest itself computed.
    pub(crate) fuel: u64,
}

/// Why a run ended without a reply.
#[derive(Clone, Debug)]
pub(crate) enum Stopped {
    /// The agent's own words.
    Agent(AgentError),
    /// A limit, a crash, or the host's will.
    Call(CallError),
}
