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
use foreshore_domain::effect::{EffectError, HttpBodyError, HttpRequest, HttpResponse};
use http_body_util::{BodyExt as _, Full};
use rustls::pki_types::CertificateDer;

use crate::secrets::Custody;
use crate::secrets::custody::Held;

pub use self::resolver::{Resolve, SystemResolver};
use self::secrets::Injected;
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
mod scanned;
pub(crate) mod secrets;
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
    custody: Custody,
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
        Ok(Self { config, tls, custody: Custody::default() })
    }

    /// With secrets, which are put into requests that a grant covers, and looked for in all others.
    #[must_use]
    pub fn holding(self, custody: Custody) -> Self {
        Self { custody, ..self }
    }

    /// The secrets.
    pub(crate) fn custody(&self) -> &Custody {
        &self.custody
    }

    /// Policy alone, and nothing is sent or used up: whether the request is one that a rule lets
    /// out. The door asks before it writes down the intent of a request that changes something;
    /// [`Self::send`] asks again, and looks at the addresses too.
    ///
    /// # Errors
    /// A denial, which has been added to `call.denials` by then.
    pub fn check(&self, call: &CallContext, request: &HttpRequest) -> Result<(), EffectError> {
        if let Some(held) = self.custody.held() {
            secrets::checked(call, &held, request)?;
        }
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
        let held = self.custody.held();
        let Some(held) = held else { return self.send_with(call, request, None).await };
        // Before anything is said of the request: its own words may be what must not be repeated.
        secrets::checked(call, &held, &request)?;
        match self.send_with(call, request, Some(&held)).await {
            Ok(response) => Ok(scanned::incoming(response, held)),
            Err(error) => Err(scanned::failure(error, &held)),
        }
    }

    async fn send_with(
        &self,
        call: &Arc<CallContext>,
        request: HttpRequest,
        held: Option<&Arc<Held>>,
    ) -> Result<HttpResponse, EffectError> {
        let HttpRequest { method, uri, headers, body, timeouts } = request;
        let within = |wanted: Option<Duration>, most: Duration| wanted.unwrap_or(most).min(most);

        let mut target = Target::checked(call, &method, &uri)?;
        let mut headers = fields::checked(call, &target, &uri, headers)?;
        allowed(call, &target)?;
        let injected = Injected::of(call, held, &target, &headers)?;
        let request_max_bytes = call.limits.http_request_max_bytes.get();
        request_body::check_announced(&headers, &body, request_max_bytes)?;
        reserved(call, &target)?;

        let connect_timeout = within(timeouts.connect, self.config.connect_timeout);
        let connecting = async {
            let resolver = &*self.config.resolver;
            let addresses = addresses::checked(call, &target, resolver).await?;
            injected.check_way(call, &target, addresses.as_slice())?;
            connection::open(call, &target, &addresses, &self.tls).await
        };
        let connection = timed("connecting", connect_timeout, connecting).await?;

        let body = match held {
            None => body,
            Some(held) => scanned::outgoing(body, Arc::clone(held), Arc::clone(call)),
        };
        let (mut body, mut body_failure) = request_body::bounded(body, request_max_bytes);
        if injected.is_in_body() {
            let whole = body.collect().await.map_err(|error| match error {
                HttpBodyError::Denied(denial) => EffectError::Denied(denial),
                error => EffectError::RequestBody(error),
            })?;
            let whole = injected.put_into_body(call, &target, &mut headers, whole.to_bytes())?;
            let whole = Full::new(whole).map_err(|never| match never {}).boxed_unsync();
            // As much as the guest may send was counted; what the host adds is not the guest's.
            (body, body_failure) = request_body::bounded(whole, u64::MAX);
        }
        injected.put_into_head(call, &mut target, &mut headers)?;
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
