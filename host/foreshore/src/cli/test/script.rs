//! The servers of a case: one on loopback that plays every host the case names, over HTTP and TLS.
//!
//! The component's requests take the real way out, with every check on it; only the names are
//! resolved by the script, and so no case reaches a real network, whatever it asks for.
//! Invariant: a request that the script does not name gets no made-up answer and fails the case.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use foreshore_control::egress::{EgressConfig, Resolve};
use foreshore_domain::ports::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::case::Exchange;

/// The one address that every scripted name leads to.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A running script. It ends when dropped.
pub(crate) struct Script {
    play: Arc<Play>,
    egress: EgressConfig,
    _servers: Vec<AbortOnDropHandle<()>>,
}

/// What has happened so far.
struct Play {
    exchanges: Vec<(http::Method, url::Url, Exchange)>,
    // A std mutex: nothing awaits while it is held.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: BTreeSet<usize>,
    arrived: Vec<String>,
    unscripted: Vec<String>,
}

impl Script {
    /// Starts the servers.
    ///
    /// # Errors
    /// An exchange that cannot be read, or a machine without a free port.
    pub(crate) async fn start(exchanges: &[Exchange]) -> anyhow::Result<Self> {
        let exchanges = exchanges
            .iter()
            .map(|exchange| {
                let (method, url) = exchange.target().map_err(anyhow::Error::msg)?;
                Ok((method, url, exchange.clone()))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let hosts: BTreeSet<String> =
            exchanges.iter().filter_map(|(_, url, _)| url.host_str().map(str::to_owned)).collect();
        let play = Arc::new(Play { exchanges, state: Mutex::default() });

        let names: Vec<String> = hosts.iter().cloned().collect();
        let certificate = rcgen::generate_simple_self_signed(names).context("certificate")?;
        let plain = listen().await?;
        let encrypted = listen().await?;
        let resolver = ScriptedResolver {
            hosts,
            plain_port: plain.local_addr()?.port(),
            encrypted_port: encrypted.local_addr()?.port(),
        };
        let egress = EgressConfig {
            resolver: Arc::new(resolver),
            additional_roots: vec![certificate.cert.der().clone()],
            ..EgressConfig::default()
        };
        let acceptor = acceptor(&certificate)?;
        let servers = vec![
            AbortOnDropHandle::new(tokio::spawn(serve(plain, None, play.clone()))),
            AbortOnDropHandle::new(tokio::spawn(serve(encrypted, Some(acceptor), play.clone()))),
        ];
        Ok(Self { play, egress, _servers: servers })
    }

    /// The way out that leads here.
    pub(crate) fn egress(&self) -> EgressConfig {
        self.egress.clone()
    }

    /// The requests that arrived, in order, and those among them that no exchange names.
    pub(crate) fn requests(&self) -> (Vec<String>, Vec<String>) {
        let state = self.play.state();
        (state.arrived.clone(), state.unscripted.clone())
    }
}

/// Leads scripted names here, and all others nowhere.
struct ScriptedResolver {
    hosts: BTreeSet<String>,
    plain_port: u16,
    encrypted_port: u16,
}

impl Resolve for ScriptedResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            if self.hosts.contains(host) {
                Ok(vec![IpAddr::V4(ADDRESS)])
            } else {
                let message = "no [[http]] of this case names this host";
                Err(io::Error::new(io::ErrorKind::NotFound, message))
            }
        })
    }

    /// By convention 443 is TLS. A case that wants TLS elsewhere cannot have it.
    fn port(&self, _host: &str, port: u16) -> u16 {
        if port == 443 { self.encrypted_port } else { self.plain_port }
    }
}

async fn listen() -> anyhow::Result<TcpListener> {
    TcpListener::bind((ADDRESS, 0)).await.context("no port for the scripted server")
}

fn acceptor(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> anyhow::Result<TlsAcceptor> {
    let key = rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der())
        .map_err(anyhow::Error::msg)?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, play: Arc<Play>) {
    // The connections live and die with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (play, tls) = (play.clone(), tls.clone());
        connections.spawn(async move {
            let scheme = if tls.is_some() { "https" } else { "http" };
            let service = service_fn(move |request| answer(play.clone(), scheme, request));
            let server = hyper::server::conn::http1::Builder::new();
            // How a connection ends is the client's affair.
            match tls {
                None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(server.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        });
    }
}

async fn answer(
    play: Arc<Play>,
    scheme: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let method = request.method().clone();
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let url = format!("{scheme}://{}{}", host.unwrap_or_default(), request.uri());
    // Read, so that a client that still writes is not cut off. The way out bounds it.
    drop(request.into_body().collect().await);
    let Some(exchange) = play.next(&method, &url) else {
        let body = format!("no [[http]] of this case names {method} {url}");
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
        return Ok(response);
    };
    tokio::time::sleep(Duration::from_millis(exchange.delay_ms)).await;
    Ok(response(&exchange))
}

impl Play {
    /// The answer to a request: the first exchange for it that was not used yet, else the last
    /// one for it again.
    fn next(&self, method: &http::Method, url: &str) -> Option<Exchange> {
        let parsed = url.parse::<url::Url>().ok();
        let mut state = self.state();
        let shown = parsed.as_ref().map_or(url, url::Url::as_str);
        state.arrived.push(format!("{method} {shown}"));
        let fitting: Vec<usize> = self
            .exchanges
            .iter()
            .enumerate()
            .filter(|(_, (m, u, _))| m == method && Some(u) == parsed.as_ref())
            .map(|(index, _)| index)
            .collect();
        let unused = fitting.iter().find(|index| !state.used.contains(index));
        let Some(&index) = unused.or(fitting.last()) else {
            state.unscripted.push(format!("{method} {shown}"));
            return None;
        };
        state.used.insert(index);
        Some(self.exchanges[index].2.clone())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn response(exchange: &Exchange) -> Response<Full<Bytes>> {
    let (body, content_type) = match &exchange.body_json {
        Some(json) => (json.to_string(), "application/json"),
        None => (exchange.body.clone(), "text/plain; charset=utf-8"),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() =
        http::StatusCode::from_u16(exchange.status).expect("invariant: the case was checked");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in &exchange.headers {
        let name = http::HeaderName::try_from(name).expect("invariant: the case was checked");
        let value = HeaderValue::try_from(value).expect("invariant: the case was checked");
        headers.insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(requests: &[&str]) -> Play {
        let exchanges = requests
            .iter()
            .map(|request| {
                let text = format!("request = \"{request}\"");
                let exchange: Exchange = toml::from_str(&text).expect("an exchange");
                let (method, url) = exchange.target().expect("a target");
                (method, url, exchange)
            })
            .collect();
        Play { exchanges, state: Mutex::default() }
    }

    #[test]
    fn answers_come_in_order_and_the_last_one_stays() {
        let mut play = play(&["GET http://a.example/x", "GET http://a.example/x"]);
        play.exchanges[0].2.status = 503;
        let statuses: Vec<_> = (0..3)
            .map(|_| play.next(&http::Method::GET, "http://a.example/x").expect("scripted").status)
            .collect();
        assert_eq!(statuses, [503, 200, 200]);
    }

    #[test]
    fn what_is_not_scripted_is_noted_and_not_answered() {
        let play = play(&["GET http://a.example/x"]);
        for (method, url) in [
            (http::Method::POST, "http://a.example/x"),
            (http::Method::GET, "http://a.example/y"),
            (http::Method::GET, "https://a.example/x"),
            (http::Method::GET, "http://b.example/x"),
        ] {
            assert!(play.next(&method, url).is_none(), "{method} {url}");
        }
        assert_eq!(play.state().unscripted.len(), 4);
    }
}
