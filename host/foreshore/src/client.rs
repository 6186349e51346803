//! One way to ask: over HTTP, of the server that has the data directory, or of a host that is
//! started in this process for the length of the command.
//!
//! Deliberately absent: a second path to the store. What a command reads and writes goes through
//! the same routes whoever answers, so it is checked, recorded and refused the same way.

mod pinned;
mod stream;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use foreshore_control::Control;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) use self::stream::{EventStream, ServerEvent};
use crate::cli::exit::Failure;
use crate::config::Config;
use crate::server_file::{Scheme, ServerFile};
use crate::token_file;
use crate::wire_up::{self, Plan};

/// How long a server that is there has to say so.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// What needs no escape in a part of a path or of a query (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why the other side did not do what was asked (RFC 9457).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiProblem {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) pointer: Option<String>,
    pub(crate) grant: Option<String>,
    pub(crate) allowed: Option<u64>,
}

/// Where a server is, and what it is held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    address: SocketAddr,
    /// SHA-256 of its certificate; it speaks TLS then.
    certificate_sha256: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Whom to ask.
pub(crate) struct Client {
    place: Place,
    /// What it shows.
    token: Option<String>,
    own: Option<OwnHost>,
}

/// A host of this process.
struct OwnHost {
    control: Arc<Control>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// Asks a question of whoever has the data directory, and ends what was started for it.
///
/// # Errors
/// Nobody can be asked, or the question's own.
pub(crate) fn ask<T>(
    config: &Config,
    question: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    ask_by(config, Plan::journal(config), question)
}

/// As [`ask`], of a host that also watches the directories of the configuration.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_about_files<T>(
    config: &Config,
    question: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    ask_by(config, Plan::files(config), question)
}

/// As [`ask`], of a host that also runs agents and tools.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_agents<T>(
    config: &Config,
    question: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    ask_by(config, Plan::agents(config), question)
}

/// As [`ask`], of a host for some purpose.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_by<T>(
    config: &Config,
    plan: Plan,
    question: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    wire_up::block_on(async {
        let client = Client::find(config, plan).await?;
        let answer = question(&client).await;
        client.end().await;
        answer
    })
}

/// The server that has a data directory, if one answers.
pub(crate) async fn running(config: &Config) -> Option<Place> {
    let file = ServerFile::read(&config.data)?;
    let address = file.reachable();
    let place = Place { address, certificate_sha256: file.certificate_sha256 };
    let answer = exchange((&place, None), "GET", "/healthz", None, "application/json");
    let answer = tokio::time::timeout(ANSWERS_WITHIN, answer).await.ok()?.ok()?;
    answer.status().is_success().then_some(place)
}

impl Client {
    /// Asks the server that listens there, and shows it a token.
    pub(crate) fn at(address: SocketAddr, token: String) -> Self {
        Self { place: Place { address, certificate_sha256: None }, token: Some(token), own: None }
    }

    async fn find(config: &Config, plan: Plan) -> Result<Self, Failure> {
        if let Some(place) = running(config).await {
            let token = token_file::of_command(&config.data)?;
            return Ok(Self { place, token, own: None });
        }
        let control = wire_up::start(config, plan).await;
        let control = control.map_err(|failure| held(config, failure))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("a free port").map_err(Failure::Start)?;
        let address = listener.local_addr().context("a free port").map_err(Failure::Start)?;
        let token = control.identities().own_key().context("a key").map_err(Failure::Start)?;
        let token = Some(token.reveal().to_owned());
        let (stop, stopped) = oneshot::channel();
        let (served_by, gateway) = (Arc::clone(&control), wire_up::gateway(config));
        let served = tokio::spawn(async move {
            let stopped = async move {
                // A command that ends without a word stops its host too.
                stopped.await.unwrap_or_default();
            };
            let served = foreshore_gateway::serve(listener, served_by, gateway, stopped).await;
            if let Err(error) = served {
                tracing::error!(%error, "the host of this command stopped serving");
            }
        });
        let place = Place { address, certificate_sha256: None };
        Ok(Self { place, token, own: Some(OwnHost { control, stop, served }) })
    }

    /// Whether a server answers, and not this process.
    pub(crate) fn is_server(&self) -> bool {
        self.own.is_none()
    }

    /// Where it is asked: `http://127.0.0.1:7433`.
    pub(crate) fn url(&self) -> String {
        let has_tls = self.place.certificate_sha256.is_some();
        let scheme = if has_tls { Scheme::Https } else { Scheme::Http };
        format!("{scheme}://{}", self.place)
    }

    fn whom(&self) -> (&Place, Option<&str>) {
        (&self.place, self.token.as_deref())
    }

    async fn end(self) {
        let Some(own) = self.own else { return };
        let _ = own.stop.send(());
        // The journal is closed by the drain: connections that linger are not waited for.
        own.control.drain(wire_up::DRAIN_OF_ONE_CALL).await;
        own.served.abort();
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send("GET", path, None).await
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// [`Failure::Api`] if it was refused; [`Failure::Other`] if nobody answered.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let body = body.map(ToString::to_string);
        let answer = exchange(self.whom(), method, path, body, "application/json").await;
        let answer = answer.with_context(|| format!("the server at {}", self.place))?;
        read(answer).await
    }

    /// Sends a component and reads the answer.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn send_component(&self, path: &str, wasm: Bytes) -> Result<Value, Failure> {
        let body = Some(("application/wasm", wasm));
        let answer = exchange_body(self.whom(), "POST", path, body, "application/json").await;
        let answer = answer.with_context(|| format!("the server at {}", self.place))?;
        read(answer).await
    }

    /// Whether the host takes calls, and why or why not: an answer in either case.
    ///
    /// # Errors
    /// [`Failure::Other`] if nobody answered.
    pub(crate) async fn readiness(&self) -> Result<Value, Failure> {
        let path = "/readyz?verbose";
        let answer = exchange(self.whom(), "GET", path, None, "application/json").await;
        let answer = answer.with_context(|| format!("the server at {}", self.place))?;
        let body = answer.into_body().collect().await.context("the answer broke off")?.to_bytes();
        Ok(serde_json::from_slice(&body).context("the answer is no JSON")?)
    }

    /// Reads an answer that is text: lines of JSON.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let answer = exchange(self.whom(), "GET", path, None, "*/*").await;
        let answer = answer.with_context(|| format!("the server at {}", self.place))?;
        if !answer.status().is_success() {
            return read(answer).await.map(|value| value.to_string());
        }
        let body = answer.into_body().collect().await.context("the answer broke off")?.to_bytes();
        Ok(String::from_utf8(body.into()).context("the answer is no UTF-8")?)
    }

    /// Reads a page of CSV, and what the next begins after; none at the end.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn csv(&self, path: &str) -> Result<(String, Option<u64>), Failure> {
        let answer = exchange(self.whom(), "GET", path, None, "text/csv").await;
        let answer = answer.with_context(|| format!("the server at {}", self.url()))?;
        if !answer.status().is_success() {
            return read(answer).await.and(Err(Failure::Other(anyhow!("no CSV came"))));
        }
        let next = answer.headers().get("foreshore-next-after");
        let next = next.and_then(|next| next.to_str().ok()?.parse().ok());
        let body = answer.into_body().collect().await.context("the answer broke off")?.to_bytes();
        Ok((String::from_utf8(body.into()).context("the answer is no UTF-8")?, next))
    }

    /// Sends a request that is answered with server-sent events.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn events(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<EventStream, Failure> {
        let body = body.map(ToString::to_string);
        let answer = exchange(self.whom(), method, path, body, "text/event-stream").await;
        let answer = answer.with_context(|| format!("the server at {}", self.place))?;
        if answer.status().is_success() {
            return Ok(EventStream::new(answer.into_body()));
        }
        read(answer).await.and(Err(Failure::Other(anyhow!("no stream of events came"))))
    }

    /// Begins to follow server-sent events.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn follow(&self, path: &str) -> Result<Incoming, Failure> {
        let answer = exchange(self.whom(), "GET", path, None, "text/event-stream").await;
        let answer = answer.with_context(|| format!("the server at {}", self.place))?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        read(answer).await.and(Err(Failure::Other(anyhow!("no stream of events came"))))
    }
}

async fn exchange(
    whom: (&Place, Option<&str>),
    method: &str,
    path: &str,
    body: Option<String>,
    accept: &str,
) -> anyhow::Result<http::Response<Incoming>> {
    let body = body.map(|json| ("application/json", Bytes::from(json)));
    exchange_body(whom, method, path, body, accept).await
}

async fn exchange_body(
    (place, token): (&Place, Option<&str>),
    method: &str,
    path: &str,
    body: Option<(&str, Bytes)>,
    accept: &str,
) -> anyhow::Result<http::Response<Incoming>> {
    let mut sender = connect(place).await?;
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, place.to_string())
        .header(http::header::ACCEPT, accept);
    if let Some((content_type, _)) = body {
        request = request.header(http::header::CONTENT_TYPE, content_type);
    }
    if let Some(token) = token {
        request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = body.map(|(_, bytes)| bytes).unwrap_or_default();
    let request = request.body(Full::new(body))?;
    Ok(sender.send_request(request).await?)
}

async fn connect(place: &Place) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(place.address).await.context("cannot be reached")?;
    let Some(sha256) = &place.certificate_sha256 else {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        return Ok(sender);
    };
    let name = ServerName::from(place.address.ip());
    let stream = pinned::connector(sha256)?.connect(name, stream).await.context("TLS")?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(answer: http::Response<Incoming>) -> Result<Value, Failure> {
    let status = answer.status();
    let body = answer.into_body().collect().await.context("the answer broke off")?.to_bytes();
    if status == http::StatusCode::NO_CONTENT {
        return Ok(Value::Null);
    }
    if status.is_success() {
        return serde_json::from_slice(&body)
            .context("the answer is no JSON")
            .map_err(Failure::Other);
    }
    let problem = serde_json::from_slice(&body).unwrap_or_else(|_| ApiProblem {
        status: status.as_u16(),
        code: "no_problem".to_owned(),
        detail: format!("the server answered {status}, and does not say why"),
        ..ApiProblem::default()
    });
    Err(Failure::Api(Box::new(problem)))
}

/// Says who has the journal, if a start failed because somebody has.
fn held(config: &Config, failure: Failure) -> Failure {
    use foreshore_control::{StartError, store::OpenError};
    let Failure::Start(error) = failure else { return failure };
    match error.downcast_ref::<StartError>() {
        Some(StartError::Journal(OpenError::InUse { path })) => in_use(config, path),
        _ => Failure::Start(error),
    }
}

/// The journal is in use, and nobody answers for it.
pub(crate) fn in_use(config: &Config, journal: &std::path::Path) -> Failure {
    let who = match ServerFile::read(&config.data) {
        Some(ServerFile { address, pid, .. }) => {
            format!("process {pid}, which does not answer at {address}")
        }
        None => "a process that says nowhere where it listens".to_owned(),
    };
    Failure::Start(anyhow!("the journal {} is in use by {who}", journal.display()))
}

/// A path of the API: each part is escaped.
pub(crate) fn path(parts: &[&str]) -> String {
    parts.iter().fold("/v1".to_owned(), |path, part| {
        path + "/" + &utf8_percent_encode(part, ESCAPED).to_string()
    })
}

/// A query: what has a value, escaped.
pub(crate) fn query(parameters: &[(&str, Option<String>)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters {
        if let Some(value) = value {
            text.push(if text.is_empty() { '?' } else { '&' });
            text += &format!("{name}={}", utf8_percent_encode(value, ESCAPED));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_so_that_they_stay_one_part_of_a_path() {
        assert_eq!(path(&["memory", "a b", "x/y?z"]), "/v1/memory/a%20b/x%2Fy%3Fz");
        assert_eq!(query(&[("prefix", Some("a&b".to_owned())), ("cursor", None)]), "?prefix=a%26b");
        assert_eq!(query(&[("cursor", None)]), "");
    }
}
