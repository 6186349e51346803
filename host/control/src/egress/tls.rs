//! TLS to the outside: rustls with ring, roots of the platform.
//!
//! Built when it is first needed, so that a host whose components never use TLS reads no
//! certificates. Sessions are not resumed: a ticket got under one grant never serves another.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, Error};
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// Makes ring the provider of cryptography. First thing in `main`, and in tests that use TLS.
pub fn install_crypto_provider() {
    // An error says that one is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Makes TLS connections.
pub(crate) struct TlsClient {
    additional_roots: Vec<CertificateDer<'static>>,
    connector: OnceCell<TlsConnector>,
}

impl TlsClient {
    pub(crate) fn new(additional_roots: Vec<CertificateDer<'static>>) -> Self {
        Self { additional_roots, connector: OnceCell::new() }
    }

    /// The connector; what fails is tried again the next time.
    ///
    /// # Errors
    /// Roots that cannot be read, or none at all.
    pub(crate) async fn connector(&self) -> Result<&TlsConnector, String> {
        self.connector
            .get_or_try_init(|| async {
                let roots = self.additional_roots.clone();
                // Some hundred files are read and parsed.
                let built = tokio::task::spawn_blocking(move || configured(roots)).await;
                match built {
                    Ok(Ok(config)) => Ok(TlsConnector::from(Arc::new(config))),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(panicked) => Err(panicked.to_string()),
                }
            })
            .await
    }
}

fn configured(additional_roots: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(additional_roots, Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
