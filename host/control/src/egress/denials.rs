//! What a "no" says: the code, what was asked for, and the line that would allow it.
//!
//! Queries are left out: they hold what people searched for, and keys.

use std::net::IpAddr;

use foreshore_domain::address::AddressClass;
use foreshore_domain::call::CallContext;
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::EffectError;
use foreshore_domain::http_rule::HttpRule;

use super::target::Target;

/// No rule allows the request.
pub(super) fn not_granted(call: &CallContext, target: &Target) -> EffectError {
    let component = &call.component.name;
    let grant = HttpRule::exactly(&target.method, &target.url).map_or_else(String::new, |rule| {
        format!(
            "[components.{component}.http] allow = [\"{rule}\"] (or, for one call: --allow-http '{rule}')"
        )
    });
    denied(call, DenialCode::HttpNotGranted, target.to_string(), grant)
}

/// The name leads to addresses that need the second key.
pub(super) fn address_not_granted(
    call: &CallContext,
    target: &Target,
    addresses: &[IpAddr],
) -> EffectError {
    let listed = |each: &dyn Fn(&IpAddr) -> String| {
        addresses.iter().map(each).collect::<Vec<_>>().join(", ")
    };
    let described = listed(&|address| format!("{address} ({})", AddressClass::of(*address)));
    let networks = listed(&|address| format!("\"{}\"", ipnet::IpNet::from(*address)));
    let subject = format!("{target} leads to {described}");
    let flags: Vec<_> = addresses
        .iter()
        .map(|address| format!("--allow-network {}", ipnet::IpNet::from(*address)))
        .collect();
    let grant = format!(
        "[components.{}.http] networks = [{networks}] (or, for one call: {})",
        call.component.name,
        flags.join(" ")
    );
    denied(call, DenialCode::HttpAddressNotGranted, subject, grant)
}

/// All requests of the call are used.
pub(super) fn requests_exhausted(call: &CallContext, target: &Target, max: u64) -> EffectError {
    let subject = format!("{target} would be request {} of {max}", max.saturating_add(1));
    let grant = format!(
        "[components.{}.limits] http_requests_max = {}",
        call.component.name,
        max.saturating_mul(2),
    );
    denied(call, DenialCode::HttpRequestsExhausted, subject, grant)
}

/// Nothing would let this out.
pub(super) fn not_allowed(call: &CallContext, request: &str, reason: &str) -> EffectError {
    let request: String = request.chars().take(512).flat_map(char::escape_default).collect();
    let subject = format!("{request}: {reason}");
    denied(call, DenialCode::HttpRequestNotAllowed, subject, String::new())
}

fn denied(call: &CallContext, code: DenialCode, subject: String, grant: String) -> EffectError {
    let denial = Denial { code, subject, grant };
    call.denials.push(denial.clone());
    EffectError::Denied(denial)
}
