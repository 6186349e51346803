//! The values of a running host, with what finds them.
//!
//! Read by every effect of every guest: a host without secrets pays one atomic load for it. A
//! change makes a new set beside the old one, which ends with the last effect that began under it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use foreshore_domain::id::CallId;
use foreshore_domain::secret::SecretName;
use foreshore_secrets::{Scanner, Tail, Zeroizing};

use super::SecretFault;

/// Secrets with their values.
pub(crate) type Values = BTreeMap<SecretName, Arc<Zeroizing<Vec<u8>>>>;

/// Of more calls than this at once, what they said last is not kept.
const TAILS_MAX: usize = 4_096;

/// The values, for whoever puts them into requests and looks for them. Cheap to clone; empty by
/// default.
#[derive(Clone, Default)]
pub struct Custody(Arc<Inner>);

#[derive(Default)]
struct Inner {
    held: ArcSwapOption<Held>,
    /// What calls that run said last, where it went out at once.
    tails: Mutex<HashMap<(CallId, Sink), Tail>>,
}

/// Where a call says things that go out at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sink {
    Progress,
    Log,
    Reply,
}

/// A set of values, with what finds them.
pub(crate) struct Held {
    values: Values,
    pub(crate) scanner: Scanner,
}

impl Held {
    /// The value of a secret.
    pub(crate) fn value(&self, name: &SecretName) -> Option<&[u8]> {
        self.values.get(name).map(|value| value.as_slice())
    }
}

impl Custody {
    /// What there is; `None` if no secret has a value.
    pub(crate) fn held(&self) -> Option<Arc<Held>> {
        self.0.held.load_full()
    }

    /// Holds these values, and no others any more.
    ///
    /// # Errors
    /// [`SecretFault::Invalid`]: they cannot be looked for.
    pub fn hold(&self, values: Values) -> Result<(), SecretFault> {
        if values.is_empty() {
            self.0.held.store(None);
        } else {
            self.replace(Self::scanned(values)?);
        }
        Ok(())
    }

    pub(super) fn values(&self) -> Values {
        self.held().map(|held| held.values.clone()).unwrap_or_default()
    }

    pub(super) fn scanned(values: Values) -> Result<Held, SecretFault> {
        let each = values.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let none = || SecretFault::Invalid { message: "there is no secret".to_owned() };
        let scanner = Scanner::new(each)?.ok_or_else(none)?;
        Ok(Held { values, scanner })
    }

    pub(super) fn replace(&self, held: Held) {
        self.0.held.store(Some(Arc::new(held)));
    }

    /// What a call says next, without values; also of one whose first part it said before.
    pub(crate) fn said(&self, call_id: CallId, sink: Sink, text: &str) -> Option<String> {
        let held = self.held()?;
        let mut tails = self.0.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tails.contains_key(&(call_id, sink));
        if !known && tails.len() >= TAILS_MAX {
            drop(tails);
            return held.scanner.redacted_text(text);
        }
        tails.entry((call_id, sink)).or_default().redacted(&held.scanner, text)
    }

    /// Forgets what a call said.
    pub(crate) fn call_ended(&self, call_id: CallId) {
        // Nothing was kept where there was nothing to look for.
        let mut tails = self.0.tails.lock().unwrap_or_else(PoisonError::into_inner);
        if !tails.is_empty() {
            tails.retain(|(of, _), _| *of != call_id);
        }
    }
}

impl fmt::Debug for Custody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.held().map(|held| held.values.keys().cloned().collect::<Vec<_>>());
        f.debug_tuple("Custody").field(&names.unwrap_or_default()).finish()
    }
}
