//! Outgoing HTTP: what is let out, where it may connect, and how much may come back.
//!
//! One request is one decision and one connection. In this order: the request's own form
//! (`target`, `fields`), the rules of the grant, the budget of requests, the addresses behind the
//! name (`addresses`), the connection to one of exactly those addresses (`connection`), and a
//! response that is decompressed and bounded while it is read (`response`).
//!
//! Deliberately absent, because each has been a hole somewhere: redirects (a 3xx goes to the
//! guest, whose next request is a new decision), a pool (no connection ever serves a grant it was
//! not checked for), proxies, and a second look-up between the check and the connection. The
//! caller records.
//!
//! Invariant: no packet goes to an address that the grant does not allow, and what is sent is
//! rebuilt from what was checked, not copied from what the guest wrote.

use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::call::CallContext;
use foreshore_domain::effect::{EffectError, HttpRequest, HttpResponse};
use rustls::pki_types::CertificateDer;

pub use self::resolver::{Resolve, SystemResolver};
use self::target::Target;
pub(crate) use self::tls::TlsClient;
pub use self::tls::install_crypto_provider;

mod addresses;
mod connection;
mod denials;
mod fields;
mod request_body;
mod resolver;
mod response;
mod target;
mod tls;

/// How the host reaches out. A guest can ask for shorter times, never for longer ones.
#[derive(Clone)]
pub struct EgressConfig {
    /// Where addresses come from.
    pub resolver: Arc<dyn Resolve>,
    /// Certificates to trust besides the platform's.
    pub additional_roots: Vec<CertificateDer<'static>>,
    /// The most that name, connection and TLS together may take: 5 s.
    pub connect_timeout: Duration,
    /// The most that may pass until the head of the response is there: 60 s.
    pub first_byte_timeout: Duration,
    /// The most that may pass between two parts of the response: 30 s.
    pub between_bytes_timeout: Duration,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            resolver: Arc::new(SystemResolver::default()),
            additional_roots: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(30),
        }
    }
}

/// Cannot reach out at all.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// A timeout of zero would refuse everything.
    #[error("egress {setting} = 0 is refused: a timeout is at least 1 ms")]
    ZeroTimeout {
        /// Which.
        setting: &'static str,
    },
}

/// The way out.
pub struct Egress {
    config: EgressConfig,
    tls: TlsClient,
}

impl Egress {
    /// Costs next to nothing: certificates are read when the first TLS connection is made.
    ///
    /// # Errors
    /// A timeout of zero.
    pub fn new(config: EgressConfig) -> Result<Self, EgressError> {
        for (setting, timeout) in [
            ("connect_timeout", config.connect_timeout),
            ("first_byte_timeout", config.first_byte_timeout),
            ("between_bytes_timeout", config.between_bytes_timeout),
        ] {
            if timeout.is_zero() {
                return Err(EgressError::ZeroTimeout { setting });
            }
        }
        let tls = TlsClient::new(config.additional_roots.clone());
        Ok(Self { config, tls })
    }

    /// Policy alone, and nothing is sent or used up: whether the request is one that a rule lets
    /// out. The door asks before it writes down the intent of a request that changes something;
    /// [`Self::send`] asks again, and looks at the addresses too.
    ///
    /// # Errors
    /// A denial, which has been added to `call.denials` by then.
    pub fn check(&self, call: &CallContext, request: &HttpRequest) -> Result<(), EffectError> {
        allowed(call, &Target::checked(call, &request.method, &request.uri)?)
    }

    /// Checks a request, sends it and gives back the response once its head is there. Dropping
    /// the future, or the response, ends the connection.
    ///
    /// # Errors
    /// A denial, which has been added to `call.denials` by then, or what went wrong on the way.
    pub async fn send(
        &self,
        call: &Arc<CallContext>,
        request: HttpRequest,
    ) -> Result<HttpResponse, EffectError> {
        let HttpRequest { method, uri, headers, body, timeouts } = request;
        let within = |wanted: Option<Duration>, most: Duration| wanted.unwrap_or(most).min(most);

        let target = Target::checked(call, &method, &uri)?;
        let headers = fields::checked(call, &target, &uri, headers)?;
        allowed(call, &target)?;
        let request_max_bytes = call.limits.http_request_max_bytes.get();
        request_body::check_announced(&headers, &body, request_max_bytes)?;
        reserved(call, &target)?;

        let connect_timeout = within(timeouts.connect, self.config.connect_timeout);
        let connecting = async {
            let resolver = &*self.config.resolver;
            let addresses = addresses::checked(call, &target, resolver).await?;
            connection::open(call, &target, &addresses, &self.tls).await
        };
        let connection = timed("connecting", connect_timeout, connecting).await?;

        let (body, body_failure) = request_body::bounded(body, request_max_bytes);
        let asked = response::Asked {
            target: &target,
            body_failure,
            between_bytes: within(timeouts.between_bytes, self.config.between_bytes_timeout),
            max_bytes: call.limits.http_response_max_bytes.get(),
            fields_max_bytes: call.limits.http_fields_max_bytes.get(),
        };
        let first_byte_timeout = within(timeouts.first_byte, self.config.first_byte_timeout);
        let answering = response::of(connection, target.request(headers, body)?, asked);
        timed("the first byte", first_byte_timeout, answering).await
    }
}

/// The rules of the grant.
fn allowed(call: &CallContext, target: &Target) -> Result<(), EffectError> {
    let allowed = call.grant.http.as_ref().is_some_and(|grant| {
        grant.allow.iter().any(|rule| rule.allows(&target.method, &target.url))
    });
    if allowed { Ok(()) } else { Err(denials::not_granted(call, target)) }
}

/// The budget of requests; asked after the rules, so that what is denied costs none of it.
fn reserved(call: &CallContext, target: &Target) -> Result<(), EffectError> {
    let max = call.limits.http_requests_max.get();
    if call.meter.reserve_http_request(max) {
        Ok(())
    } else {
        Err(denials::requests_exhausted(call, target, max))
    }
}

async fn timed<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, EffectError>>,
) -> Result<T, EffectError> {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    tokio::time::timeout(limit, work).await.unwrap_or(Err(EffectError::TimedOut { what, limit_ms }))
}
