//! A component that is ready to be called: inspected, linked, its tools checked, its policy
//! attached. Only [`crate::Loader`] makes one.
//!
//! Cheap to clone: a call holds a clone, so a component that is replaced lives on until its
//! last call has ended.

use std::path::PathBuf;
use std::sync::Arc;

use foreshore_domain::agent::Turn;
use foreshore_domain::call::CallContext;
use foreshore_domain::component::{ComponentRef, Inspection};
use foreshore_domain::id::Digest;
use foreshore_domain::policy::ComponentPolicy;

use crate::agent::Agent;
use crate::call::CallReport;
use crate::definitions::Tool;
use crate::sandbox::Linked;
use crate::turn::{LinkedAgent, TurnReport};

/// A component that is ready to be called.
#[derive(Clone)]
pub struct Component(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) reference: ComponentRef,
    pub(crate) inspection: Inspection,
    pub(crate) policy: ComponentPolicy,
    pub(crate) origin: Origin,
    pub(crate) runs: Runs,
}

/// What a component is, with what it is linked to.
pub(crate) enum Runs {
    /// A set of tools, in its own order.
    Tools(Box<[Tool]>, Linked),
    /// An agent.
    Agent(Box<Agent>, LinkedAgent),
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Shipped inside the host's binary.
    Embedded,
    /// A file of the components directory.
    Directory(PathBuf),
    /// Sent to the API.
    Api,
}

impl Component {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Name and version.
    pub fn reference(&self) -> &ComponentRef {
        &self.0.reference
    }

    /// Digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.inspection.digest
    }

    /// What can be said of it without running it.
    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    /// What it may touch and use.
    pub fn policy(&self) -> &ComponentPolicy {
        &self.0.policy
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// Its tools, in its own order; an agent has none.
    pub fn tools(&self) -> &[Tool] {
        match &self.0.runs {
            Runs::Tools(tools, _) => tools,
            Runs::Agent(..) => &[],
        }
    }

    /// Its agent, if it is one.
    pub fn agent(&self) -> Option<&Agent> {
        match &self.0.runs {
            Runs::Tools(..) => None,
            Runs::Agent(agent, _) => Some(agent),
        }
    }

    /// The tool of this name.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools().iter().find(|tool| &*tool.name == name)
    }

    /// Runs one tool in a fresh sandbox. `arguments` have been checked by
    /// [`Tool::check_arguments`]. Dropping the future stops the guest.
    pub async fn call(
        &self,
        context: Arc<CallContext>,
        tool: &Tool,
        arguments: &str,
    ) -> CallReport {
        match &self.0.runs {
            Runs::Tools(_, linked) => linked.call(context, &tool.name, arguments).await,
            Runs::Agent(..) => CallReport::not_started(format!(
                "{} is an agent and has no tools",
                self.0.reference
            )),
        }
    }

    /// Has the agent take a turn in a fresh sandbox, with `context.turn` for its clocks, its
    /// random numbers and its deadline. `turn.parameters` have been checked by
    /// [`Agent::check_parameters`]. Dropping the future stops the guest.
    pub async fn run_turn(&self, context: Arc<CallContext>, turn: Turn) -> TurnReport {
        match &self.0.runs {
            Runs::Agent(_, linked) => linked.run_turn(context, turn).await,
            Runs::Tools(..) => TurnReport::not_started(format!("{} is no agent", self.0.reference)),
        }
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Component({}, {})", self.reference(), self.digest())
    }
}
