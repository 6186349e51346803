//! The addresses behind a name, each of them checked.
//!
//! Invariant: [`CheckedAddresses`] is made here alone, and a connection takes nothing else, so
//! nothing can be dialled that was not checked. One address that is not allowed refuses the whole
//! answer: a name that leads to a public and to a private address is an attack, not a choice.

use std::net::{IpAddr, SocketAddr};

use foreshore_domain::address::{AddressClass, unmapped};
use foreshore_domain::call::CallContext;
use foreshore_domain::effect::EffectError;
use url::Host;

use super::denials;
use super::resolver::Resolve;
use super::target::Target;

/// Addresses that the grant allows, in the order in which to try them; at least one.
pub(super) struct CheckedAddresses(Vec<SocketAddr>);

impl CheckedAddresses {
    /// The most that are tried.
    const MAX: usize = 8;

    pub(super) fn as_slice(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// Looks a name up, once, and checks every address of the answer.
///
/// # Errors
/// A name without addresses; a denial.
pub(super) async fn checked(
    call: &CallContext,
    target: &Target,
    resolver: &dyn Resolve,
) -> Result<CheckedAddresses, EffectError> {
    let (found, port) = match &target.host {
        Host::Ipv4(address) => (vec![IpAddr::V4(*address)], target.port),
        Host::Ipv6(address) => (vec![IpAddr::V6(*address)], target.port),
        Host::Domain(name) => (looked_up(name, resolver).await?, resolver.port(name, target.port)),
    };
    // What is checked is what is dialled: a mapped address would be dialled as IPv4.
    let found: Vec<IpAddr> = found.into_iter().map(unmapped).collect();
    let networks = call.grant.http.as_ref().map_or(&[][..], |grant| &grant.networks);
    let allowed = |address: &IpAddr| {
        AddressClass::of(*address).is_global() || networks.iter().any(|n| n.contains(address))
    };
    let mut refused: Vec<IpAddr> = found.iter().copied().filter(|a| !allowed(a)).collect();
    if !refused.is_empty() {
        refused.sort_unstable();
        refused.dedup();
        refused.truncate(CheckedAddresses::MAX);
        return Err(denials::address_not_granted(call, target, &refused));
    }
    let dialled = found.into_iter().take(CheckedAddresses::MAX);
    Ok(CheckedAddresses(dialled.map(|address| SocketAddr::new(address, port)).collect()))
}

async fn looked_up(name: &str, resolver: &dyn Resolve) -> Result<Vec<IpAddr>, EffectError> {
    let unresolved =
        |message: String| EffectError::NameNotResolved { host: name.to_owned(), message };
    match resolver.resolve(name).await {
        Ok(found) if found.is_empty() => Err(unresolved("it has no address".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(unresolved(error.to_string())),
    }
}
