//! A host with its edge on a port of its own, and a client that writes and reads raw bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foreshore_control::{
    Compiler, ConcurrencyConfig, Control, ControlConfig, EngineConfig, LoaderConfig, Origin,
    RootConfig, Source,
};
use foreshore_gateway::{
    AuthConfig, AuthMode, Drained, EdgeLimits, GatewayConfig, ServeError, serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::guest;

/// Nothing in these tests takes longer, unless it hangs.
pub const HANG: Duration = Duration::from_secs(10);

/// A host that serves the component `probe@1.0.0`.
pub struct Host {
    pub address: SocketAddr,
    pub control: Arc<Control>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<Drained, ServeError>>,
    _directory: tempfile::TempDir,
}

/// The settings of a host that tests change. Nobody is asked who they are, but for the tests of
/// just that.
pub struct Setup {
    pub gateway: GatewayConfig,
    pub concurrency: ConcurrencyConfig,
    pub roots: Vec<RootConfig>,
}

impl Default for Setup {
    fn default() -> Self {
        let auth = AuthConfig { mode: AuthMode::Insecure, ..AuthConfig::default() };
        let gateway = GatewayConfig { auth, ..GatewayConfig::default() };
        Self { gateway, concurrency: ConcurrencyConfig::default(), roots: Vec::new() }
    }
}

impl Setup {
    /// A host that asks who they are.
    pub fn asking() -> Self {
        Self { gateway: GatewayConfig::default(), ..Self::default() }
    }

    /// Defaults but for these limits of the edge.
    pub fn limits(change: impl FnOnce(&mut EdgeLimits)) -> Self {
        let mut setup = Self::default();
        change(&mut setup.gateway.limits);
        setup
    }

    /// One call at a time, and one that waits.
    pub fn one_call(mut self) -> Self {
        self.concurrency.calls_max = 1;
        self.concurrency.queue_max = 1;
        self
    }
}

/// A limit of the edge.
pub fn limit(value: u64) -> std::num::NonZeroU64 {
    std::num::NonZeroU64::new(value).expect("a limit is not zero")
}

impl Host {
    pub async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let loader = LoaderConfig::new(directory.path().join("cache"), Compiler::InProcess);
        let mut config = ControlConfig::new(loader);
        config.engine = EngineConfig { slots: 32, ..EngineConfig::default() };
        config.concurrency = setup.concurrency;
        config.roots = setup.roots;
        config.components_directory = Some(directory.path().join("components"));
        config.embedded = vec![Source {
            bytes: guest::component(0).into(),
            file_stem: Some("probe@1.0.0".to_owned()),
            origin: Origin::Embedded,
        }];
        let control = Control::start(config).await.expect("the host starts");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // A test that ends without stopping its host stops it too.
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(listener, Arc::clone(&control), setup.gateway, stopped));
        Self { address, control, stop, served, _directory: directory }
    }

    pub async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        Client { stream, received: Vec::new() }
    }

    /// One request on a connection of its own.
    pub async fn request(&self, request: &str) -> Response {
        let mut client = self.client().await;
        client.send(request.as_bytes()).await;
        client.response().await.expect("a response")
    }

    /// `GET` on a connection of its own.
    pub async fn get(&self, path: &str) -> Response {
        self.request(&get(path)).await
    }

    /// Tells the edge to stop; what it said in the end.
    pub fn stop(self) -> JoinHandle<Result<Drained, ServeError>> {
        let _ = self.stop.send(());
        self.served
    }
}

/// A `GET` request.
pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// A request with a JSON body.
pub fn post(path: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A call with its arguments.
pub fn call(tool: &str, arguments: &str) -> String {
    call_with(tool, "", arguments)
}

/// A call with more header fields, each with its line break.
pub fn call_with(tool: &str, fields: &str, arguments: &str) -> String {
    format!(
        "POST /v1/tools/{tool}/call HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{fields}\r\n{arguments}",
        arguments.len()
    )
}

pub struct Client {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        // A peer that has heard enough may close while this is written.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next response, or `None` if the connection ended without one.
    pub async fn response(&mut self) -> Option<Response> {
        timeout(HANG, self.read_response()).await.expect("no response and no end of the connection")
    }

    async fn read_response(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            if self.read_more().await == 0 {
                assert!(self.received.is_empty(), "half a head: {:?}", text(&self.received));
                return None;
            }
        };
        let head = text(&self.received[..end]);
        self.received.drain(..end);
        let mut response = Response { head, body: Vec::new() };
        if response.header("transfer-encoding").as_deref() == Some("chunked") {
            while !self.received.ends_with(b"0\r\n\r\n") {
                assert_ne!(self.read_more().await, 0, "half a body");
            }
            response.body = unchunk(&std::mem::take(&mut self.received));
        } else {
            let length = response.header("content-length").map_or(0, |n| n.parse().expect("n"));
            while self.received.len() < length {
                assert_ne!(self.read_more().await, 0, "half a body");
            }
            response.body = self.received.drain(..length).collect();
        }
        Some(response)
    }

    async fn read_more(&mut self) -> usize {
        let mut chunk = [0; 16 << 10];
        let read = self.stream.read(&mut chunk).await.unwrap_or(0);
        self.received.extend_from_slice(&chunk[..read]);
        read
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> String {
        timeout(HANG, async { while self.read_more().await != 0 {} }).await.expect("it ends");
        text(&std::mem::take(&mut self.received))
    }

    /// Everything that is received until these words have come.
    pub async fn until(&mut self, words: &str) -> String {
        let wait = async {
            while find(&self.received, words.as_bytes()).is_none() {
                assert_ne!(self.read_more().await, 0, "it ended: {}", text(&self.received));
            }
        };
        timeout(HANG, wait).await.expect("these words");
        text(&self.received)
    }

    /// Whether the other side ends the connection in time, without a word.
    pub async fn is_closed_within(&mut self, time: Duration) -> bool {
        timeout(time, self.read_more()).await == Ok(0)
    }
}

#[derive(Debug)]
pub struct Response {
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head[9..12].parse().expect("a status line")
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }

    pub fn text(&self) -> String {
        text(&self.body)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The code of a problem, once it is known to be one that is whole.
    pub fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type").as_deref(),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        let code = problem["code"].as_str().expect("a code").to_owned();
        assert_eq!(problem["status"], self.status());
        assert_eq!(problem["type"], format!("urn:foreshore:problem:{code}"));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        assert_eq!(problem["request_id"].as_str().map(str::to_owned), self.header("x-request-id"));
        code
    }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = find(bytes, b"\r\n") {
        let length = usize::from_str_radix(&text(&bytes[..at]), 16).expect("a chunk's length");
        body.extend_from_slice(&bytes[at + 2..at + 2 + length]);
        bytes = &bytes[at + 4 + length..];
    }
    body
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|here| here == wanted)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
