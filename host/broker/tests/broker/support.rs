//! Brokers with short limits, and servers that play scripts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshore_broker::{
    BackendConfig, BackendKind, Broker, BrokerConfig, Caller, ModelConfig, Priority,
};
use foreshore_domain::inference::{
    ChatRequest, Completion, Delta, DeltaSink, InferenceError, Message, Role,
};
use foreshore_scripted_model::{Format, Script, ScriptedServer};

/// A server that plays a script in TOML.
pub(crate) fn server(script: &str) -> ScriptedServer {
    ScriptedServer::start(parsed(script), SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port")
}

pub(crate) fn parsed(script: &str) -> Script {
    Script::parse(script, Format::Toml).expect("the script is sound")
}

/// Says `text` to everything, by a model `m` that is in memory.
pub(crate) fn saying(text: &str) -> ScriptedServer {
    server(&format!(
        "[[rules]]\nanswer.text = \"{text}\"\n[[models]]\nname = \"m\"\nloaded = true\n"
    ))
}

/// A configuration with these backends and the model `m`; waits between retries are short.
pub(crate) fn config(servers: &[(&str, &ScriptedServer)]) -> BrokerConfig {
    let backends = servers.iter().map(|(name, server)| backend(name, server));
    let mut config = BrokerConfig { backends: backends.collect(), ..BrokerConfig::default() };
    config.models.insert("m".to_owned(), ModelConfig::default());
    config.retries.base_ms = 1;
    config.retries.cap_ms = 2;
    config
}

pub(crate) fn backend(name: &str, server: &ScriptedServer) -> BackendConfig {
    let url = server.url().parse().expect("a URL");
    BackendConfig::new(name, BackendKind::Ollama, url)
}

pub(crate) fn broker(config: BrokerConfig) -> Broker {
    Broker::new(config).expect("the configuration is good")
}

pub(crate) fn caller() -> Caller {
    Caller::new("tenant", "tester", Priority::Agent)
}

pub(crate) fn asking(text: &str) -> ChatRequest {
    ChatRequest::new(Some("m".to_owned()), vec![Message::text(Role::User, text)])
}

pub(crate) async fn ask(broker: &Broker, text: &str) -> Result<Completion, InferenceError> {
    broker.chat(asking(text), caller(), None).await
}

/// Bodies that were sent to a path.
pub(crate) fn sent(server: &ScriptedServer, path: &str) -> Vec<serde_json::Value> {
    let of_path = server.requests().into_iter().filter(|request| request.path == path);
    of_path.map(|request| request.body).collect()
}

/// Chats that ask something; loads do not.
pub(crate) fn chats(server: &ScriptedServer) -> usize {
    let asks = |body: &&serde_json::Value| {
        body["messages"].as_array().is_some_and(|messages| !messages.is_empty())
    };
    sent(server, "/api/chat").iter().filter(asks).count()
}

/// Failures that the breaker of the model `m` at this backend counts.
pub(crate) fn failures(broker: &Broker, backend: &str) -> u32 {
    let health = broker.health();
    let backend = health.iter().find(|one| one.name == backend).expect("it is configured");
    backend.models.iter().find(|one| one.model == "m").expect("it is configured").failures
}

/// Waits for what happens soon, with much patience.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in 30 s: {what}");
}

/// Collects pieces.
#[derive(Default)]
pub(crate) struct Pieces(Mutex<Vec<String>>);

impl Pieces {
    pub(crate) fn sink() -> (Arc<Self>, Option<Arc<dyn DeltaSink>>) {
        let pieces = Arc::new(Self::default());
        let sink: Arc<dyn DeltaSink> = Arc::<Self>::clone(&pieces);
        (pieces, Some(sink))
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").clone()
    }
}

impl DeltaSink for Pieces {
    fn delta(&self, delta: Delta<'_>) {
        let written = match delta {
            Delta::Text(text) => text.to_owned(),
            Delta::Thinking(text) => format!("({text})"),
            Delta::ToolCall(call) => format!("{}{}", call.name, call.arguments_json),
        };
        self.0.lock().expect("not poisoned").push(written);
    }
}
