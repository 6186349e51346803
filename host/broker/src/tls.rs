//! TLS to a model server: rustls with ring, roots of the platform.
//!
//! Built when it is first needed: most servers are on this machine and speak plain HTTP.

use std::sync::Arc;

use rustls::{ClientConfig, Error};
use rustls_platform_verifier::Verifier;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

/// Makes TLS connections.
#[derive(Default)]
pub(crate) struct TlsClient(OnceCell<TlsConnector>);

impl TlsClient {
    /// The connector; what fails is tried again the next time.
    ///
    /// # Errors
    /// Roots that cannot be read, or none at all.
    pub(crate) async fn connector(&self) -> Result<&TlsConnector, String> {
        self.0
            .get_or_try_init(|| async {
                // Some hundred files are read and parsed.
                match tokio::task::spawn_blocking(configured).await {
                    Ok(Ok(config)) => Ok(TlsConnector::from(Arc::new(config))),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(panicked) => Err(panicked.to_string()),
                }
            })
            .await
    }
}

fn configured() -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new(Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
