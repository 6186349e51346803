//! A component that is ready to be called: inspected, linked, its tools checked, its policy
//! attached. Only [`crate::Loader`] makes one.
//!
//! Cheap to clone: a call holds a clone, so a component that is replaced lives on until its
//! last call has ended.

use std::path::PathBuf;
use std::sync::Arc;

use foreshore_domain::call::CallContext;
use foreshore_domain::component::{ComponentRef, Inspection};
use foreshore_domain::id::Digest;
use foreshore_domain::policy::ComponentPolicy;

use crate::call::CallReport;
use crate::definitions::Tool;
use crate::sandbox::Linked;

/// A component that is ready to be called.
#[derive(Clone)]
pub struct Component(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) reference: ComponentRef,
    pub(crate) inspection: Inspection,
    pub(crate) policy: ComponentPolicy,
    pub(crate) origin: Origin,
    pub(crate) tools: Box<[Tool]>,
    pub(crate) linked: Linked,
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

    /// Its tools, in its own order.
    pub fn tools(&self) -> &[Tool] {
        &self.0.tools
    }

    /// The tool of this name.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.0.tools.iter().find(|tool| &*tool.name == name)
    }

    /// Runs one tool in a fresh sandbox. `arguments` have been checked by
    /// [`Tool::check_arguments`]. Dropping the future stops the guest.
    pub async fn call(
        &self,
        context: Arc<CallContext>,
        tool: &Tool,
        arguments: &str,
    ) -> CallReport {
        self.0.linked.call(context, &tool.name, arguments).await
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Component({}, {})", self.reference(), self.digest())
    }
}
