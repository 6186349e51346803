//! What can be said of the host and its components to whoever asks: plain data, no wire format.

use std::sync::Arc;

use foreshore_domain::call::Blame;
use foreshore_domain::component::{ComponentRef, Inspection, ToolDefinition, ToolName};
use foreshore_domain::denial::Denial;
use foreshore_domain::id::Digest;
use foreshore_domain::policy::ComponentPolicy;
use foreshore_runtime::{Component, LoadError, Origin, Refused, Snapshot, Tool};

/// A component, loaded or refused.
#[derive(Clone, Debug)]
pub struct ComponentSummary {
    /// Its name and version, where that much is known.
    pub reference: Option<ComponentRef>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it can be called.
    pub state: ComponentState,
}

/// Whether a component can be called.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "most are loaded, and the list lives for one answer")]
pub enum ComponentState {
    /// It can.
    Loaded {
        /// What can be said of it without running it.
        inspection: Inspection,
        /// What it may touch and use.
        policy: ComponentPolicy,
        /// Its tools' names, in its own order.
        tools: Vec<Arc<str>>,
    },
    /// It cannot.
    Refused {
        /// The stable code.
        code: &'static str,
        /// Why, for a person.
        message: String,
        /// Who has to do something about it.
        blame: Blame,
        /// What would have to be granted, if that is why.
        denial: Option<Denial>,
    },
}

impl ComponentSummary {
    pub(crate) fn loaded(component: &Component) -> Self {
        Self {
            reference: Some(component.reference().clone()),
            digest: component.digest(),
            origin: component.origin().clone(),
            state: ComponentState::Loaded {
                inspection: component.inspection().clone(),
                policy: component.policy().clone(),
                tools: component.tools().iter().map(|tool| Arc::clone(&tool.name)).collect(),
            },
        }
    }

    pub(crate) fn refused(refused: &Refused) -> Self {
        let error = &*refused.error;
        let denial = match error {
            LoadError::Denied(denial) => Some(denial.clone()),
            _ => None,
        };
        Self {
            reference: refused.reference.clone(),
            digest: refused.digest,
            origin: refused.origin.clone(),
            state: ComponentState::Refused {
                code: error.code(),
                message: error.to_string(),
                blame: error.blame(),
                denial,
            },
        }
    }
}

/// A tool that can be called.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSummary {
    /// How to call it: without a version if its component's version is the highest.
    pub name: ToolName,
    /// Whose it is.
    pub component: ComponentRef,
    /// What it says of itself.
    pub definition: ToolDefinition,
}

impl ToolSummary {
    pub(crate) fn new(snapshot: &Snapshot, component: &Component, tool: &Tool) -> Self {
        let reference = component.reference();
        let is_highest = snapshot
            .component(&reference.name, None)
            .is_some_and(|highest| highest.reference() == reference);
        Self {
            name: ToolName {
                component: reference.name.to_string(),
                version: (!is_highest).then(|| reference.version.clone()),
                tool: tool.name.to_string(),
            },
            component: reference.clone(),
            definition: tool.definition.clone(),
        }
    }
}

/// Whether calls can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which: `journal`, `components`, `capacity`, `drain`.
    pub name: &'static str,
    /// Whether it stands in the way of calls.
    pub is_ok: bool,
    /// One line for a person.
    pub message: String,
}

impl Readiness {
    /// Whether nothing stands in the way of calls.
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.is_ok)
    }
}
