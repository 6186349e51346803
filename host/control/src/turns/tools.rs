//! The seam to tools: those of the registry, by the one path to a guest; or plain Rust in tests.

use std::sync::Arc;

use foreshore_domain::call::CallError;
use foreshore_domain::component::{ComponentRef, ToolHints, ToolName};
use foreshore_domain::effect::AgentTool;
use foreshore_domain::grant::Grant;
use foreshore_domain::id::{ApprovalId, CallId, Digest};
use foreshore_domain::identity::Principal;
use foreshore_domain::outcome::ToolResult;
use foreshore_domain::ports::BoxFuture;

use super::payload::Entry;
use crate::invoke::Caller;

/// What is recorded together with the end of a call, made when the end is known.
pub(crate) type Beside = Box<dyn FnOnce(&Result<ToolResult, CallError>) -> Entry + Send>;

/// The tools there are now.
pub(crate) trait Tools: Send + Sync + 'static {
    /// All of them, each under the name it is called by.
    fn list(&self) -> Vec<(ToolName, AgentTool)>;

    /// The tool that a name leads to now.
    ///
    /// # Errors
    /// [`CallError`]: it is not there, or would not be run.
    fn find(&self, tool: &ToolName) -> Result<ToolFacts, CallError>;

    /// Makes a call. Dropping the future stops what only reads, and nothing else.
    fn call(&self, call: ToolCall) -> BoxFuture<'static, Result<ToolResult, CallError>>;
}

/// A tool as it is now.
#[derive(Clone, Debug)]
pub(crate) struct ToolFacts {
    pub(crate) component: ComponentRef,
    pub(crate) digest: Digest,
    /// Its name within its component.
    pub(crate) tool: Arc<str>,
    pub(crate) hints: ToolHints,
    pub(crate) grant: Arc<Grant>,
}

/// A call that a turn makes.
pub(crate) struct ToolCall {
    /// Made before, so that the turn's intent names it.
    pub(crate) call_id: CallId,
    pub(crate) tool: ToolName,
    /// A JSON object as text, as the agent wrote it or people changed it; not checked yet.
    pub(crate) arguments: String,
    pub(crate) caller: Caller,
    /// What people agreed to, where a rule asks them.
    pub(crate) approval: Option<ApprovalId>,
    /// On whose behalf.
    pub(crate) principal: Arc<Principal>,
    /// For a call that may change something: with its end, in one commit.
    pub(crate) beside: Option<Beside>,
}
