//! What the operator decided for each component.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::component::ComponentRef;
use crate::grant::Grant;
use crate::limits::Limits;
use crate::secret::SecretName;

/// What one component may touch and use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentPolicy {
    /// What it may touch.
    pub grant: Arc<Grant>,
    /// What each of its calls may use.
    pub limits: Limits,
}

/// What every component may touch and use. A component that is not named gets no grant and the
/// default limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    by_name: BTreeMap<String, ComponentPolicy>,
    limits: Limits,
}

impl Policies {
    /// Policies for the components named; `limits` are those of all others.
    pub fn new(by_name: BTreeMap<String, ComponentPolicy>, limits: Limits) -> Self {
        Self { by_name, limits }
    }

    /// The limits of a component that is not named.
    pub fn default_limits(&self) -> &Limits {
        &self.limits
    }

    /// To how many audiences the grants send a secret.
    pub fn secret_audiences(&self, name: &SecretName) -> usize {
        let granted = self.by_name.values().filter_map(|policy| policy.grant.http.as_ref());
        let uses = granted.flat_map(|http| &http.secrets).filter(|each| each.name == *name);
        let audiences: BTreeSet<String> = uses.map(|each| each.audience.to_string()).collect();
        audiences.len()
    }

    /// The policy of one component: by `name@version` if there is such an entry, else by name.
    pub fn of(&self, component: &ComponentRef) -> ComponentPolicy {
        self.by_name
            .get(&component.to_string())
            .or_else(|| self.by_name.get(&*component.name))
            .cloned()
            .unwrap_or_else(|| ComponentPolicy { grant: Arc::default(), limits: self.limits })
    }
}
