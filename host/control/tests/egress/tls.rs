//! TLS: the certificate must be of the name that policy checked.

use std::sync::Arc;

use foreshore_domain::effect::EffectError;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::world::{World, WorldBuilder, read};

const AUTHORITY: &[u8] = include_bytes!("certificates/authority.der");

/// Answers every connection with the server name that the client asked for.
async fn serve() -> (u16, AbortOnDropHandle<()>) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from(include_bytes!("certificates/server.der").to_vec());
    let key = PrivatePkcs8KeyDer::from(include_bytes!("certificates/server.key.der").to_vec());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from(key))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let name = stream.get_ref().1.server_name().unwrap_or("none").to_owned();
            let mut request = Vec::new();
            let _ = stream.read_buf(&mut request).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (port, AbortOnDropHandle::new(task))
}

fn world(trusting: bool) -> World {
    let rules =
        ["GET https://secure.test:*/*", "GET https://127.0.0.1:*/*", "GET https://other.test:*/*"];
    WorldBuilder::new(&rules)
        .networks(&["127.0.0.0/8"])
        .config(|config| {
            if trusting {
                config.additional_roots = vec![CertificateDer::from(AUTHORITY.to_vec())];
            }
        })
        .build()
}

#[tokio::test]
async fn a_certificate_of_the_checked_name_is_accepted_and_the_plain_text_counted() {
    let (port, _server) = serve().await;
    let world = world(true);
    let response = world.get(&format!("https://secure.test:{port}/x")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "secure.test");
    let counted = world.call.meter.egress_bytes();
    let sent =
        format!("GET /x HTTP/1.1\r\naccept-encoding: gzip\r\nhost: secure.test:{port}\r\n\r\n");
    assert_eq!(counted, u64::try_from(sent.len()).unwrap());

    let response = world.get(&format!("https://127.0.0.1:{port}/")).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "none");
}

#[tokio::test]
async fn a_certificate_of_another_name_or_authority_is_not() {
    let (port, _server) = serve().await;
    for (trusting, host) in [(true, "other.test"), (false, "secure.test")] {
        let world = world(trusting);
        let error = world.get(&format!("https://{host}:{port}/")).await.err().expect("refused");
        let authority = format!("{host}:{port}");
        assert!(
            matches!(&error, EffectError::TlsFailed { authority: a, .. } if *a == authority),
            "{error}"
        );
        assert_eq!(world.call.meter.egress_bytes(), 0, "something was sent before the check");
    }
}

#[tokio::test]
async fn plain_text_to_a_tls_port_is_no_answer() {
    let (port, _server) = serve().await;
    let rules = ["GET http://secure.test:*/*"];
    let world = WorldBuilder::new(&rules).networks(&["127.0.0.0/8"]).build();
    let error = world.get(&format!("http://secure.test:{port}/")).await.err().expect("no HTTP");
    assert!(
        matches!(error, EffectError::BadResponse { .. } | EffectError::ConnectionFailed { .. }),
        "{error}"
    );
}
