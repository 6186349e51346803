//! How often a client may ask, and how much of it at once: per principal, and per address.
//!
//! Deliberately absent: the clock of the wall, and anything on disk; a restart forgets. Health
//! and approvals have a lane of their own ([`Lane`]): whoever used up what is for work can still
//! be seen to be well, and can still say no. The invariant: nobody can make these tables grow
//! beyond their bounds, by however many names or addresses.

mod keyed;
mod quota;
mod standing;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foreshore_domain::event::Tenant;
use foreshore_domain::identity::{Principal, Subject};
use tokio::time::Instant;

use self::keyed::Keyed;
pub(crate) use self::quota::Quota;
use self::quota::Taken;
pub(crate) use self::standing::Standing;
use crate::config::EdgeRates;
use crate::problem::{Problem, Refusal};
use crate::routes::Route;

/// The most keys that are kept of a kind.
const KEYS_MAX: usize = 10_000;

/// What a request is counted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// All that asks something of the host.
    Work,
    /// Probes, and what people decide: answered while the host has no place for work.
    Vital,
}

impl Lane {
    pub(crate) fn of(route: Option<Route>) -> Self {
        match route {
            Some(Route::Health | Route::Ready | Route::Approvals | Route::Approval) => Self::Vital,
            _ => Self::Work,
        }
    }
}

/// Whom a principal is counted as.
type Who = (Subject, Tenant, Lane);

/// What has been asked, by whom.
pub(crate) struct Rates {
    start: Instant,
    config: EdgeRates,
    per_principal: Quota,
    per_address: Quota,
    failures: Quota,
    principals: Mutex<Keyed<Who>>,
    addresses: Mutex<Keyed<(IpAddr, Lane)>>,
    failed: Mutex<Keyed<IpAddr>>,
    at_work: Arc<Counts<Who>>,
    connections: Arc<Counts<IpAddr>>,
}

impl Rates {
    pub(crate) fn new(config: &EdgeRates) -> Self {
        let per_min = config.failed_auth_per_min;
        Self {
            start: Instant::now(),
            config: config.clone(),
            per_principal: Quota::per_second("principal", config.per_principal_per_s, config.burst),
            per_address: Quota::per_second("address", config.per_address_per_s, config.burst),
            failures: Quota::per_minute("failed-authentication", per_min),
            principals: Mutex::new(Keyed::new(KEYS_MAX)),
            addresses: Mutex::new(Keyed::new(KEYS_MAX)),
            failed: Mutex::new(Keyed::new(KEYS_MAX)),
            at_work: Arc::default(),
            connections: Arc::default(),
        }
    }

    /// A place for one more connection of an address; `None` if it has too many.
    pub(crate) fn connection(&self, address: IpAddr) -> Option<Counted<IpAddr>> {
        let max = self.config.connections_per_address.get();
        Counts::enter(&self.connections, network(address), max)
    }

    /// One more request from an address.
    pub(crate) fn of_address(
        &self,
        address: IpAddr,
        lane: Lane,
    ) -> Result<(), (Standing, Refusal)> {
        let taken = self.take(&self.addresses, self.per_address, (network(address), lane));
        match taken {
            Taken::Yes { .. } => Ok(()),
            Taken::No { .. } => {
                let allowed = self.config.per_address_per_s;
                let problem = Problem::rate_limited("per_address_per_s", allowed, taken.wait());
                Err((Standing::new(self.per_address, taken), problem))
            }
        }
    }

    /// One more request of a principal: how it stands, and whether it is served.
    pub(crate) fn of_principal(
        &self,
        principal: &Principal,
        lane: Lane,
    ) -> (Standing, Result<(), Refusal>) {
        let taken = self.take(&self.principals, self.per_principal, who(principal, lane));
        let answer = match taken {
            Taken::Yes { .. } => Ok(()),
            Taken::No { .. } => {
                let allowed = self.config.per_principal_per_s;
                Err(Problem::rate_limited("per_principal_per_s", allowed, taken.wait()))
            }
        };
        (Standing::new(self.per_principal, taken), answer)
    }

    /// A place among what a principal has at work.
    pub(crate) fn begin(&self, principal: &Principal, lane: Lane) -> Result<AtWork, Refusal> {
        let max = self.config.concurrent_per_principal;
        Counts::enter(&self.at_work, who(principal, lane), max.get())
            .ok_or_else(|| Problem::too_many_at_work(max))
    }

    /// Whether an address is still heard when it shows a credential.
    pub(crate) fn is_heard(&self, address: IpAddr) -> Result<(), (Standing, Refusal)> {
        let now_ns = self.now_ns();
        let seen = self.failures.look(lock(&self.failed).peek(&network(address)), now_ns);
        match seen {
            Taken::Yes { .. } => Ok(()),
            Taken::No { .. } => {
                let allowed = self.config.failed_auth_per_min;
                let problem = Problem::rate_limited("failed_auth_per_min", allowed, seen.wait());
                Err((Standing::new(self.failures, seen), problem))
            }
        }
    }

    /// A credential from an address did not count.
    pub(crate) fn auth_failed(&self, address: IpAddr) {
        self.take(&self.failed, self.failures, network(address));
    }

    fn take<K: Eq + Hash>(&self, table: &Mutex<Keyed<K>>, quota: Quota, key: K) -> Taken {
        let now_ns = self.now_ns();
        quota.take(lock(table).of(key), now_ns)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn who(principal: &Principal, lane: Lane) -> Who {
    (principal.subject.clone(), principal.tenant.clone(), lane)
}

/// Whoever has one address of IPv6 has the 2^64 beside it (RFC 6177), so these count as one.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A std mutex: nothing awaits while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many there are of each key. It holds only keys of which there is one, so it is bounded by
/// the connections that are open.
struct Counts<K>(Mutex<HashMap<K, u64>>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    fn enter(counts: &Arc<Self>, key: K, max: u64) -> Option<Counted<K>> {
        let mut keys = lock(&counts.0);
        let count = keys.entry(key.clone()).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Counted { counts: Arc::clone(counts), key })
    }
}

/// A place; dropping it gives it back.
pub(crate) struct Counted<K: Clone + Eq + Hash> {
    counts: Arc<Counts<K>>,
    key: K,
}

/// A place among what a principal has at work.
pub(crate) type AtWork = Counted<Who>;

impl<K: Clone + Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut keys = lock(&self.counts.0);
        if let Entry::Occupied(mut entry) = keys.entry(self.key.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
