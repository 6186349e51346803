//! The keys of `foreshore.toml`: what may be written, and what holds where nothing is.
//!
//! These are wire types. They are read whole from the laid-over layers and turned at once into the
//! types of the crates that use them (`policies.rs`, `wire_up.rs`); nothing else sees them.
//! Invariant: every key here is used. An unknown key is refused, a limit of zero is refused.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use foreshore_control::WebhookUrl;
use foreshore_domain::grant::{GuestPath, NamespacePattern};
use foreshore_domain::http_rule::HttpRule;
use foreshore_domain::limits::LimitsPatch;
use foreshore_domain::secret::{Audience, SecretName};
use foreshore_gateway::{EdgeLimits, EdgeRates};
use serde::{Deserialize, Deserializer};

use super::agents::AgentSection;
use super::approvals::ApprovalsSection;
use super::auth::AuthSection;
use super::budgets::BudgetsSection;
use super::files::FilesSection;
use super::inference::InferenceSection;
use super::roles::RoleSection;

/// The whole of the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sections {
    pub(crate) server: ServerSection,
    /// Where the journal and the compiled components are kept.
    pub(crate) data: Option<PathBuf>,
    /// Components to load besides the embedded ones; watched while the host serves.
    pub(crate) components_directory: Option<PathBuf>,
    pub(crate) runtime: RuntimeSection,
    pub(crate) loader: LoaderSection,
    pub(crate) concurrency: ConcurrencySection,
    /// The limits of every component that names none of its own.
    pub(crate) limits: LimitsPatch,
    /// What each component may touch, by name or by `name@version`.
    pub(crate) components: BTreeMap<String, ComponentSection>,
    /// Directories whose files are watched for changes.
    pub(crate) files: FilesSection,
    pub(crate) journal: JournalSection,
    /// How memory is searched.
    pub(crate) memory: SearchSection,
    /// Models and their servers.
    pub(crate) inference: InferenceSection,
    /// What each agent may touch and use, by name.
    pub(crate) agents: BTreeMap<String, AgentSection>,
    /// Which calls wait for a person.
    pub(crate) approvals: ApprovalsSection,
    /// Who is let in.
    pub(crate) auth: AuthSection,
    /// Roles, besides admin, operator, approver, caller and viewer.
    pub(crate) roles: BTreeMap<String, RoleSection>,
    /// What may be spent on models.
    pub(crate) budgets: BudgetsSection,
    pub(crate) log: LogSection,
}

/// The HTTP edge.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerSection {
    pub(crate) listen: Parsed<ListenAddress>,
    /// Listen beyond loopback without TLS, behind a proxy that has it.
    pub(crate) plaintext: bool,
    /// Names under which clients reach this host, besides loopback names and addresses.
    pub(crate) hosts: Vec<String>,
    /// Origins of web pages that may change things here.
    pub(crate) origins: Vec<String>,
    /// What a connection and a request may use.
    pub(crate) limits: EdgeLimits,
    /// How often a client may ask.
    pub(crate) rates: EdgeRates,
    /// Networks of proxies that say where a request comes from.
    pub(crate) trusted_proxies: Vec<Parsed<ipnet::IpNet>>,
    /// The certificate to speak TLS with.
    pub(crate) tls: Option<TlsSection>,
}

/// Files of a certificate and its key, as PEM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSection {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            listen: Parsed(ListenAddress(SocketAddr::from(([127, 0, 0, 1], 7433)))),
            plaintext: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            limits: EdgeLimits::default(),
            rates: EdgeRates::default(),
            trusted_proxies: Vec::new(),
            tls: None,
        }
    }
}

/// The engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RuntimeSection {
    pub(crate) slots: Option<NonZeroU32>,
    pub(crate) memory_ceiling_bytes: Option<NonZeroU64>,
    pub(crate) table_elements_ceiling: Option<NonZeroU64>,
    pub(crate) heavy_permits: Option<NonZeroUsize>,
    pub(crate) first_slice_ms: Option<NonZeroU64>,
    pub(crate) fuel_yield_interval: Option<NonZeroU64>,
    pub(crate) wasm_stack_bytes: Option<NonZeroU64>,
}

/// What a component may cost before it runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LoaderSection {
    pub(crate) component_max_bytes: Option<NonZeroU64>,
    pub(crate) functions_max: Option<NonZeroU64>,
    pub(crate) function_max_bytes: Option<NonZeroU64>,
    pub(crate) cache_max_bytes: Option<NonZeroU64>,
    pub(crate) compile_cpu_s: Option<NonZeroU64>,
    pub(crate) compile_wall_s: Option<NonZeroU64>,
    pub(crate) compile_memory_max_bytes: Option<NonZeroU64>,
}

/// How much goes on at once.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConcurrencySection {
    pub(crate) calls_max: Option<NonZeroUsize>,
    pub(crate) queue_max: Option<NonZeroUsize>,
    pub(crate) queue_wait_max_ms: Option<NonZeroU64>,
    /// Turns of agents that run at once.
    pub(crate) agents_max: Option<NonZeroUsize>,
    /// Turns that wait in one conversation.
    pub(crate) turns_queue_max: Option<NonZeroUsize>,
}

/// What one component may touch and use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ComponentSection {
    pub(crate) mounts: Vec<MountSection>,
    pub(crate) http: Option<HttpSection>,
    pub(crate) config: Option<BTreeMap<String, String>>,
    pub(crate) memory: Option<MemorySection>,
    /// A bucket of its own for `wasi:keyvalue`.
    pub(crate) keyvalue: bool,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) clock: ClockWord,
    pub(crate) limits: LimitsPatch,
}

/// A directory shown to a component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MountSection {
    pub(crate) host: PathBuf,
    pub(crate) guest: Parsed<GuestPath>,
    #[serde(default)]
    pub(crate) access: AccessWord,
    pub(crate) bytes_max: Option<NonZeroU64>,
    pub(crate) entries_max: Option<NonZeroU64>,
}

/// Where a component may remember and recall.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MemorySection {
    pub(crate) namespaces: Vec<NamespaceSection>,
}

/// A namespace of memory, or all whose names begin as it says before its `*`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamespaceSection {
    pub(crate) name: Parsed<NamespacePattern>,
    #[serde(default)]
    pub(crate) access: AccessWord,
}

/// What may be done in a mount or a namespace; reading, where nothing is said.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AccessWord {
    #[default]
    ReadOnly,
    ReadWrite,
}

/// Where a component may send requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpSection {
    pub(crate) allow: Vec<Parsed<HttpRule>>,
    pub(crate) networks: Vec<Parsed<ipnet::IpNet>>,
    pub(crate) secrets: Vec<SecretSection>,
}

/// A secret that the host puts into requests: into a header, the query or the body, one of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretSection {
    pub(crate) name: Parsed<SecretName>,
    pub(crate) header: Option<String>,
    /// What comes before it in a header: `Bearer `.
    pub(crate) prefix: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) audience: Parsed<Audience>,
}

/// How finely a component's clocks move.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClockWord {
    #[default]
    Coarse,
    Fine,
}

/// The record of everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JournalSection {
    /// Each signed checkpoint is posted there, besides the file beside the journal and the log.
    pub(crate) checkpoint_webhook: Option<Parsed<WebhookUrl>>,
}

/// How memory is searched.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SearchSection {
    /// Embeds records, so that search finds them by what they mean; that of `inference` where
    /// nothing is said, and none where it is empty.
    pub(crate) embedding_model: Option<String>,
    /// How long a search waits for the model before it goes by words alone.
    pub(crate) query_limit_ms: Option<NonZeroU64>,
}

/// What the host says of itself, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSection {
    /// `info`, or a filter such as `warn,foreshore_control=debug`.
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::default() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddress(pub(crate) SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}").parse(),
            None => text.parse::<SocketAddr>(),
        }
        .map_err(|_| "it is no address with a port".to_owned())?;
        Ok(Self(address))
    }
}

/// What is text in configuration, and how to write it where its own error does not say so.
pub(crate) trait Written: FromStr {
    const EXAMPLE: Option<&'static str>;
}

impl Written for GuestPath {
    const EXAMPLE: Option<&'static str> = None;
}

impl Written for NamespacePattern {
    const EXAMPLE: Option<&'static str> = None;
}

impl Written for HttpRule {
    const EXAMPLE: Option<&'static str> = None;
}

impl Written for ipnet::IpNet {
    const EXAMPLE: Option<&'static str> = Some("10.1.0.0/16 or fd00::/8");
}

impl Written for SecretName {
    const EXAMPLE: Option<&'static str> = None;
}

impl Written for Audience {
    const EXAMPLE: Option<&'static str> = None;
}

impl Written for WebhookUrl {
    const EXAMPLE: Option<&'static str> = Some("https://audit.example.org/checkpoints");
}

impl Written for ListenAddress {
    const EXAMPLE: Option<&'static str> = Some("127.0.0.1:7433");
}

/// A value that is text in configuration and is parsed on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parsed<T>(pub(crate) T);

impl<'de, T> Deserialize<'de> for Parsed<T>
where
    T: Written,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|error| {
            let example =
                T::EXAMPLE.map(|example| format!("; write it as {example}")).unwrap_or_default();
            serde::de::Error::custom(format_args!("\"{}\": {error}{example}", text.escape_debug()))
        })
    }
}
