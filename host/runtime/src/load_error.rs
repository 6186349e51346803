//! Why a component is not loaded. Each refusal names the thing, the limit and the way on, and
//! has a stable code.

use foreshore_domain::call::{Blame, CallError};
use foreshore_domain::component::{ComponentRef, NameError};
use foreshore_domain::denial::Denial;
use foreshore_domain::id::Digest;

use crate::agent::AgentDefinitionError;
use crate::compile::CompileError;
use crate::definitions::DefinitionError;
use crate::error::LinkError;
use crate::inspect::InspectError;

/// A component that was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", named(.reference, .digest))]
pub struct LoadFailure {
    /// Its name, where that much is known.
    pub reference: Option<ComponentRef>,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Why.
    pub error: LoadError,
}

/// Why a component is not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Its bytes are not a component, or one beyond the caps.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Nobody says what it is called.
    #[error("the component has no name: build it with the SDK, or name its file NAME@VERSION.wasm")]
    Nameless,
    /// A name or version of the wrong form.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It imports what is not granted or not there.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// It exports nothing that this host runs.
    #[error(
        "the component exports neither foreshore:tool/tool@0.1 nor foreshore:agent/agent@0.1, which is what this host runs; it exports {exports}"
    )]
    NoTools {
        /// What it does export.
        exports: String,
    },
    /// It exports tools and an agent, which run with different reach.
    #[error(
        "the component exports both foreshore:tool/tool and foreshore:agent/agent: an agent is linked to nothing but its own interfaces, which is not what tools need; make it two components"
    )]
    ToolsAndAgent,
    /// It does not compile, or not within the limits of compiling.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It does not fit the host, or its policy does not.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It does not say what its tools are.
    #[error("the component does not say what its tools are: {error}")]
    Definitions {
        /// How its `definitions()` ended.
        error: CallError,
    },
    /// What it says of its tools is refused.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// What it says of its agent is refused.
    #[error(transparent)]
    AgentDefinition(#[from] AgentDefinitionError),
    /// It does not say what its agent is.
    #[error("the component does not say what its agent is: {error}")]
    Description {
        /// How its `describe()` ended.
        error: CallError,
    },
    /// The host's own fault.
    #[error("{message}")]
    Host {
        /// What failed; for the operator's log.
        message: String,
    },
}

impl LoadError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inspect(error) => error.code(),
            Self::Nameless => "component_nameless",
            Self::Name(_) => "component_name_invalid",
            Self::Denied(denial) => denial.code.as_str(),
            Self::NoTools { .. } => "component_without_tools",
            Self::Compile(error) => error.code(),
            Self::Link(LinkError::Mount { .. }) => "mount_unavailable",
            Self::Link(LinkError::Ceiling { .. }) => "limit_above_ceiling",
            Self::Link(_) => "component_does_not_link",
            Self::Definitions { .. } => "definitions_failed",
            Self::ToolsAndAgent => "component_is_tools_and_agent",
            Self::Description { .. } => "description_failed",
            Self::Definition(_) | Self::AgentDefinition(_) => "definition_refused",
            Self::Host { .. } => "host_error",
        }
    }

    /// Who has to do something about it.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Denied(_)
            | Self::Nameless
            | Self::Link(LinkError::Mount { .. } | LinkError::Ceiling { .. }) => Blame::Operator,
            Self::Host { .. } | Self::Compile(CompileError::Child { .. }) => Blame::Host,
            _ => Blame::Guest,
        }
    }
}

fn named(reference: &Option<ComponentRef>, digest: &Digest) -> String {
    reference.as_ref().map_or_else(|| digest.to_string(), ComponentRef::to_string)
}
