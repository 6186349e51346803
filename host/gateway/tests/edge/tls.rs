//! TLS: 1.3 alone, HTTP/1.1 alone, a certificate that changes under way, and whoever only
//! pretends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foreshore_gateway::{Certificates, TlsFiles};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{HANG, Host, Setup, get, limit};

struct Served {
    host: Host,
    files: TlsFiles,
    _directory: tempfile::TempDir,
}

impl Served {
    async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().expect("made");
        let [certificate, key]: [PathBuf; 2] =
            ["a.crt", "a.key"].map(|name| directory.path().join(name));
        let files = TlsFiles { certificate, key };
        write(&files, &pair());
        let mut setup = setup;
        setup.gateway.tls = Some(Certificates::open(files.clone()).expect("a certificate"));
        Self { host: Host::start(setup).await, files, _directory: directory }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.connect_as(&TLS13, &[]).await.expect("a handshake")
    }

    async fn connect_as(
        &self,
        version: &'static SupportedProtocolVersion,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(Anybody(Arc::clone(&provider)));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.host.address).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
        tokio::time::timeout(HANG, connected).await.expect("no hang")
    }

    /// The answer to a `GET` that is the connection's last.
    async fn get(&self, path: &str) -> String {
        let mut stream = self.connect().await;
        ask(&mut stream, path, "connection: close\r\n").await;
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(HANG, read).await.expect("no hang").expect("an orderly end");
        answer
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str, fields: &str) {
    let request = get(path).replace("\r\n\r\n", &format!("\r\n{fields}\r\n"));
    stream.write_all(request.as_bytes()).await.expect("sent");
}

/// Reads until an answer of `/healthz` has come.
async fn well(stream: &mut TlsStream<TcpStream>) {
    ask(stream, "/healthz", "").await;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(br#"{"status":"ok"}"#) {
        let read = tokio::time::timeout(HANG, stream.read(&mut chunk)).await.expect("no hang");
        let read = read.expect("open");
        assert_ne!(read, 0, "it ended: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
    }
}

fn own(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
    chain[0].clone().into_owned()
}

fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn write(files: &TlsFiles, (certificate, key): &(String, String)) {
    std::fs::write(&files.certificate, certificate).expect("written");
    std::fs::write(&files.key, key).expect("written");
}

/// Takes every certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn requests_are_answered_over_tls_and_browsers_told_to_stay_with_it() {
    let served = Served::start(Setup::default()).await;
    let answer = served.get("/v1/tools").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age="), "{answer}");
    let plain = served.connect_as(&TLS13, &["http/1.1"]).await.expect("a handshake");
    assert_eq!(plain.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let both = served.connect_as(&TLS13, &["h2", "http/1.1"]).await.expect("a handshake");
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn what_is_older_than_1_3_or_speaks_another_protocol_is_refused() {
    let served = Served::start(Setup::default()).await;
    let error = served.connect_as(&TLS12, &[]).await.expect_err("too old").to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    let error = served.connect_as(&TLS13, &["h2"]).await.expect_err("not spoken").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    let mut plain = served.host.client().await;
    plain.send(get("/healthz").as_bytes()).await;
    let said = plain.rest().await;
    assert!(!said.contains("HTTP/1.1"), "nothing is served without TLS: {said:?}");
    assert!(served.get("/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_ends_and_keeps_nobody_out() {
    let served = Served::start(Setup::limits(|limits| {
        limits.handshake_timeout_ms = limit(300);
        limits.handshakes_max = limit(1);
    }))
    .await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(served.host.client().await);
    }
    assert!(served.get("/healthz").await.starts_with("HTTP/1.1 200"), "they take no place");
    for client in &mut silent {
        assert!(client.is_closed_within(Duration::from_secs(5)).await);
    }
    let mut half = served.host.client().await;
    half.send(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").await;
    assert!(half.is_closed_within(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn silent_connections_make_room_for_those_that_go_on() {
    let setup = Setup::limits(|limits| {
        limits.connections_max = limit(4);
        limits.handshake_timeout_ms = limit(60_000);
    });
    let served = Served::start(setup).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(served.host.client().await);
    }
    assert!(served.get("/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let served = Served::start(Setup::default()).await;
    let mut open = served.connect().await;
    well(&mut open).await;
    let first = own(&open);

    std::fs::write(&served.files.certificate, "nonsense").expect("written");
    let end = Instant::now() + HANG;
    while !served.get("/readyz?verbose").await.contains("from before is in force") {
        assert!(Instant::now() < end, "whoever looks is told");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(own(&served.connect().await), first, "the old one stays");
    let answer = served.get("/readyz?verbose").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "it is ready all the same: {answer}");

    write(&served.files, &pair());
    let end = Instant::now() + HANG;
    while own(&served.connect().await) == first {
        assert!(Instant::now() < end, "the new one is taken up");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    well(&mut open).await;
    assert!(!served.get("/readyz?verbose").await.contains("from before"));
}

#[tokio::test]
async fn a_drain_ends_connections_of_tls_in_order() {
    let served = Served::start(Setup::default()).await;
    let mut open = served.connect().await;
    well(&mut open).await;
    let shaking = served.host.client().await;
    let stopped = served.host.stop();
    let drained = tokio::time::timeout(HANG, stopped).await.expect("no hang");
    assert_eq!(drained.expect("no panic").expect("it served").cut_off, 0);
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).await.expect("an orderly end, by TLS's own word");
    drop(shaking);
}
