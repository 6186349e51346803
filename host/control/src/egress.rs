//! Outgoing HTTP: what is let out, where it may connect, and how much may come back.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use foreshore_domain::call::CallContext;
use foreshore_domain::effect::{EffectError, HttpRequest, HttpResponse};
use foreshore_domain::ports::BoxFuture;
use rustls::pki_types::CertificateDer;

/// Turns a name into addresses.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of a name, in the order in which to try them.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// The port to connect to where the URL says `port`. Only a script of a test changes it: its
    /// server cannot have port 443. The address is checked in any case.
    fn port(&self, _host: &str, port: u16) -> u16 {
        port
    }
}

/// The machine's own resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

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
            resolver: Arc::new(SystemResolver),
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

/// Makes ring the provider of cryptography. First thing in `main`, and in tests that use TLS.
pub fn install_crypto_provider() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The way out.
pub struct Egress {
    config: EgressConfig,
}

impl Egress {
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
        Ok(Self { config })
    }

    /// Checks a request, sends it and gives back the response.
    ///
    /// # Errors
    /// A denial, which has been added to `call.denials` by then, or what went wrong on the way.
    pub async fn send(
        &self,
        _call: &Arc<CallContext>,
        request: HttpRequest,
    ) -> Result<HttpResponse, EffectError> {
        let _ = &self.config;
        Err(EffectError::ConnectionFailed {
            authority: request.uri.to_string(),
            message: "not there yet".to_owned(),
        })
    }
}
