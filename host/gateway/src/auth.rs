//! Who asks: from the `Authorization` field to a [`Principal`], before anything else of a request
//! is looked at.
//!
//! Deliberately absent: what a principal may do with which tool, agent or tenant's data, which is
//! `control`'s. The invariants: whatever goes wrong here is a refusal, each refusal is recorded
//! under the request's id, and no credential is ever written to a log.

mod own;
mod token;

use std::sync::Arc;

use foreshore_control::identities::AuthFault;
use foreshore_control::{Conversations, Turns, now_unix_ms};
use foreshore_domain::event::Tenant;
use foreshore_domain::identity::{Permission, Permissions, Principal, Reach, Refused, Subject};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

pub use self::own::OwnIssuer;
pub(crate) use self::own::Signer;
use self::token::TokenFault;
pub(crate) use self::token::Tokens;
pub use self::token::{KeysError, Source, TrustedIssuer};
use crate::connection::Peer;
use crate::forwarded::{Client, is_shared};
use crate::problem::{Problem, Refusal};
use crate::rates::{Lane, Standing};
use crate::request::{Edge, Seen};
use crate::routes::{Access, Route};

/// The most of a path that goes into a record.
const PATH_MAX_CHARS: usize = 256;

/// Who is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// Whether anybody is.
    pub mode: AuthMode,
    /// Issuers whose access tokens count.
    pub issuers: Vec<TrustedIssuer>,
    /// This host as an issuer; without, there are API keys alone.
    pub own: Option<OwnIssuer>,
}

/// Whether credentials are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// Each request shows one.
    #[default]
    Required,
    /// Whoever connects from this machine may do everything. For trying things out.
    Insecure,
}

/// Why a credential is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// None was shown.
    Missing,
    /// The field is not `Bearer TOKEN`, or there are several.
    Form,
    /// It does not count.
    Credential(AuthFault),
    /// It is a signed token, and does not count.
    Token(TokenFault),
    /// Somebody connects from elsewhere to a server without authentication.
    NotLoopback,
}

impl Fault {
    /// The stable code, for the record.
    fn code(self) -> &'static str {
        match self {
            Self::Missing => "credential_missing",
            Self::Form => "credential_malformed",
            Self::Credential(fault) => fault.code(),
            Self::Token(TokenFault::Unknown) => "token_invalid",
            Self::Token(TokenFault::Expired) => "token_expired",
            Self::Token(TokenFault::Revoked) => "token_revoked",
            Self::NotLoopback => "loopback_only",
        }
    }

    /// What whoever asked is told. A guess learns nothing; who has a credential that ended is
    /// told that.
    fn problem(self) -> Refusal {
        match self {
            Self::Missing => Problem::unauthenticated(),
            Self::Form
            | Self::Credential(AuthFault::Malformed | AuthFault::Unknown)
            | Self::Token(TokenFault::Unknown) => {
                Problem::invalid_token("it is not known here".to_owned())
            }
            Self::Token(TokenFault::Expired) => {
                Problem::invalid_token("the access token has expired".to_owned())
            }
            Self::Token(TokenFault::Revoked) => {
                Problem::invalid_token("the access token was revoked".to_owned())
            }
            Self::Credential(fault) => Problem::invalid_token(fault.to_string()),
            Self::NotLoopback => Problem::loopback_only(),
        }
    }
}

/// Lets a request in, or says why not. The principal goes along in the request's extensions,
/// where [`principal`] finds it. How often somebody may ask comes before whether they may at all.
pub(crate) fn admit(
    peer: &Peer,
    head: &mut Parts,
    id: &HeaderValue,
    route: Option<(Route, Option<Access>)>,
    seen: &mut Seen,
) -> Result<(), Refusal> {
    let lane = Lane::of(route.map(|(route, _)| route));
    let rates = &peer.edge.rates;
    let from = client(peer, head).address;
    if !is_shared(&peer.edge.config.trusted_proxies, from) {
        rates.of_address(from, lane).map_err(|refused| stands(seen, refused))?;
    }
    if let Some((_, Some(Access::Public))) = route {
        return Ok(());
    }
    heard(peer, head).map_err(|refused| stands(seen, refused))?;
    let principal = known(peer, head, id)?;
    let (standing, answer) = rates.of_principal(&principal, lane);
    seen.standing = Some(standing);
    let limited = |problem: Refusal| {
        record(peer, head, id, Some(&principal), (problem.code, None));
        problem
    };
    answer.map_err(limited)?;
    seen.at_work = Some(rates.begin(&principal, lane).map_err(limited)?);
    if let Some((_, Some(access))) = route {
        permitted(peer, head, id, &principal, access)?;
    }
    head.extensions.insert(principal);
    Ok(())
}

fn stands(seen: &mut Seen, (standing, problem): (Standing, Refusal)) -> Refusal {
    seen.standing = Some(standing);
    problem
}

/// Whether who asks is still listened to, after credentials that did not count.
pub(crate) fn heard(peer: &Peer, head: &Parts) -> Result<(), (Standing, Refusal)> {
    let from = client(peer, head).address;
    if is_shared(&peer.edge.config.trusted_proxies, from) {
        return Ok(());
    }
    peer.edge.rates.is_heard(from)
}

/// Notes that a credential did not count.
pub(crate) fn failed(peer: &Peer, head: &Parts) {
    let from = client(peer, head).address;
    if !is_shared(&peer.edge.config.trusted_proxies, from) {
        peer.edge.rates.auth_failed(from);
    }
}

/// Where a request comes from.
fn client(peer: &Peer, head: &Parts) -> Client {
    Client::found(head).unwrap_or_else(|| peer.client(&head.headers))
}

fn known(peer: &Peer, head: &Parts, id: &HeaderValue) -> Result<Arc<Principal>, Refusal> {
    // A proxy on this machine is no client of this machine.
    let is_local = peer.remote.is_loopback() && client(peer, head).address.is_loopback();
    authenticate(&peer.edge, is_local, &head.headers).map_err(|fault| {
        if !matches!(fault, Fault::Missing | Fault::NotLoopback) {
            failed(peer, head);
        }
        record(peer, head, id, None, (fault.code(), None));
        fault.problem()
    })
}

fn permitted(
    peer: &Peer,
    head: &Parts,
    id: &HeaderValue,
    principal: &Principal,
    access: Access,
) -> Result<(), Refusal> {
    if access.admits(principal) {
        return Ok(());
    }
    let problem = Problem::permission_denied(access);
    let missing = problem.grant.clone();
    record(peer, head, id, Some(principal), (problem.code, missing));
    Err(problem)
}

/// Lets in whoever has a permission, on a route that is public otherwise.
pub(crate) fn require(
    peer: &Peer,
    head: &Parts,
    id: &HeaderValue,
    permission: Permission,
) -> Result<(), Refusal> {
    let principal = known(peer, head, id)?;
    permitted(peer, head, id, &principal, Access::Needs(permission))
}

/// Who asks. Every handler but those of public routes has one.
pub(crate) fn principal(head: &Parts) -> Arc<Principal> {
    head.extensions.get::<Arc<Principal>>().map_or_else(nobody, Arc::clone)
}

/// Whether whoever asks may have a permission that the route alone does not say.
pub(crate) fn may(principal: &Principal, permission: Permission) -> Result<(), Refusal> {
    if principal.may(permission) {
        return Ok(());
    }
    Err(Problem::permission_denied(Access::Needs(permission)))
}

/// The turns that whoever asks can see.
pub(crate) fn turns(peer: &Peer, head: &Parts) -> Turns {
    peer.edge.control.turns().of(&principal(head).tenant)
}

/// The conversations that whoever asks can see.
pub(crate) fn conversations(peer: &Peer, head: &Parts) -> Conversations {
    peer.edge.control.conversations().of(&principal(head).tenant)
}

/// May do nothing: what a handler gets that nobody was let in to.
fn nobody() -> Arc<Principal> {
    Arc::new(Principal {
        subject: Subject::Anybody,
        tenant: Tenant::DEFAULT,
        roles: Vec::new(),
        permissions: Permissions::NONE,
        reach: Reach::NONE,
    })
}

fn authenticate(edge: &Edge, is_local: bool, headers: &HeaderMap) -> Result<Arc<Principal>, Fault> {
    if edge.config.auth.mode == AuthMode::Insecure {
        return if is_local { Ok(anybody()) } else { Err(Fault::NotLoopback) };
    }
    let token = bearer(headers)?;
    let identities = edge.control.identities();
    if Tokens::is_one(token) {
        let now_unix_s = now_unix_ms() / 1_000;
        return edge.auth.authenticate(token, identities, now_unix_s).map_err(Fault::Token);
    }
    identities.authenticate(token).map_err(Fault::Credential)
}

/// May do everything: whoever connects to a server without authentication.
fn anybody() -> Arc<Principal> {
    Arc::new(Principal { subject: Subject::Anybody, ..Principal::clone(&Principal::host()) })
}

/// The token of the one `Authorization` field (RFC 6750, section 2.1; the scheme's case does not
/// matter by RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Fault> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        let is_missing = !headers.contains_key(AUTHORIZATION);
        return Err(if is_missing { Fault::Missing } else { Fault::Form });
    };
    let text = field.to_str().map_err(|_| Fault::Form)?;
    let (scheme, token) = text.split_once(' ').ok_or(Fault::Form)?;
    let plain = |byte: u8| byte.is_ascii_graphic();
    let token = token.trim_start_matches(' ');
    let is_token =
        scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(plain);
    if is_token { Ok(token) } else { Err(Fault::Form) }
}

pub(crate) fn record(
    peer: &Peer,
    head: &Parts,
    id: &HeaderValue,
    principal: Option<&Principal>,
    (code, permission): (&str, Option<String>),
) {
    let refused = Refused {
        request: id.to_str().unwrap_or_default().to_owned(),
        code: code.to_owned(),
        principal: principal.map(|principal| principal.subject.to_string()),
        address: client(peer, head).address.to_string(),
        method: head.method.as_str().chars().take(16).collect(),
        path: head.uri.path().chars().take(PATH_MAX_CHARS).collect(),
        permission,
    };
    let tenant = principal.map_or(Tenant::DEFAULT, |principal| principal.tenant.clone());
    peer.edge.control.identities().refused(&refused, tenant);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[&str]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_str(field).expect("a field"));
        }
        bearer(&headers).map(str::to_owned).map_err(Fault::code)
    }

    #[test]
    fn one_bearer_token_is_wanted() {
        for fine in ["Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(of(&[fine]).as_deref(), Ok("abc"), "{fine}");
        }
        assert_eq!(of(&[]), Err("credential_missing"));
        for bad in ["", "abc", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer a\tb"] {
            assert_eq!(of(&[bad]), Err("credential_malformed"), "{bad:?}");
        }
        assert_eq!(of(&["Bearer abc", "Bearer abc"]), Err("credential_malformed"));
    }

    #[test]
    fn whoever_was_not_let_in_may_do_nothing() {
        let (head, ()) = http::Request::new(()).into_parts();
        let nobody = principal(&head);
        assert_eq!(nobody.permissions, Permissions::NONE);
        assert!(!nobody.reach.has_agent("assistant"));
    }
}
