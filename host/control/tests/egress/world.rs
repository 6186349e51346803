//! A component with a grant, a resolver with a script, and the way out.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use foreshore_control::egress::{Egress, EgressConfig, Resolve};
use foreshore_control::secrets::Custody;
use foreshore_domain::call::{CallContext, Denials, Meter};
use foreshore_domain::component::{ComponentRef, ToolHints};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::HttpTimeouts;
use foreshore_domain::effect::{EffectError, HttpBody, HttpBodyError, HttpRequest, HttpResponse};
use foreshore_domain::grant::{Grant, HttpGrant};
use foreshore_domain::id::{CallId, Digest};
use foreshore_domain::limits::{Limits, LimitsPatch};
use foreshore_domain::ports::BoxFuture;
use foreshore_domain::secret::SecretUse;
use http_body_util::{BodyExt, Full};

/// Answers from a script: for each name its answers in order, the last one again and again.
/// A name without a script gets the answers of `*`.
#[derive(Default)]
pub(crate) struct Script {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let address = |text: &&str| text.parse().unwrap();
        let answer = |answer: &&[&str]| answer.iter().map(address).collect();
        let answers = answers
            .iter()
            .map(|(name, answers)| ((*name).to_owned(), answers.iter().map(answer).collect()))
            .collect();
        Arc::new(Self { answers, asked: Mutex::default() })
    }

    /// Every name leads to 127.0.0.1.
    pub(crate) fn loopback() -> Arc<Self> {
        Self::new(&[("*", &[&["127.0.0.1"]])])
    }

    /// The names that were looked up.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Resolve for Script {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let turn = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(host.to_owned());
            asked.iter().filter(|name| *name == host).count() - 1
        };
        let answers = self.answers.get(host).or_else(|| self.answers.get("*"));
        let answer = answers.map(|answers| answers[turn.min(answers.len() - 1)].clone());
        Box::pin(async move { answer.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)) })
    }
}

/// The way out of one call.
pub(crate) struct World {
    pub(crate) egress: Egress,
    pub(crate) call: Arc<CallContext>,
    pub(crate) resolver: Arc<Script>,
}

/// How a world is made.
pub(crate) struct WorldBuilder {
    resolver: Arc<Script>,
    config: EgressConfig,
    grant: HttpGrant,
    custody: Custody,
    limits: Limits,
}

impl WorldBuilder {
    pub(crate) fn new(rules: &[&str]) -> Self {
        let allow = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Self {
            resolver: Script::loopback(),
            config: EgressConfig::default(),
            grant: HttpGrant { allow, networks: Vec::new(), secrets: Vec::new() },
            custody: Custody::default(),
            limits: Limits::default(),
        }
    }

    pub(crate) fn networks(mut self, networks: &[&str]) -> Self {
        self.grant.networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        self
    }

    pub(crate) fn secrets(mut self, secrets: Vec<SecretUse>) -> Self {
        self.grant.secrets = secrets;
        self
    }

    pub(crate) fn holding(mut self, custody: Custody) -> Self {
        self.custody = custody;
        self
    }

    pub(crate) fn resolver(mut self, resolver: Arc<Script>) -> Self {
        self.resolver = resolver;
        self
    }

    pub(crate) fn limit(mut self, name: &str, value: u64) -> Self {
        let mut patch = LimitsPatch::default();
        patch.set(name, value).unwrap();
        self.limits = self.limits.with(&patch).unwrap();
        self
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut EgressConfig)) -> Self {
        change(&mut self.config);
        self
    }

    pub(crate) fn build(mut self) -> World {
        let resolver = Arc::clone(&self.resolver);
        self.config.resolver = resolver;
        let grant = Grant { http: Some(self.grant), ..Grant::default() };
        let call = CallContext {
            call_id: CallId::new(1),
            component: ComponentRef::new("fetch", semver::Version::new(0, 1, 0)).unwrap(),
            digest: Digest::of(b"fetch"),
            tool: "request".into(),
            hints: ToolHints::default(),
            principal: foreshore_domain::identity::Principal::host(),
            grant: Arc::new(grant),
            limits: self.limits,
            turn: None,
            observer: None,
            meter: Meter::default(),
            denials: Denials::default(),
        };
        let egress = Egress::new(self.config).unwrap().holding(self.custody);
        World { egress, call: Arc::new(call), resolver: self.resolver }
    }
}

/// A world in which everything on loopback is granted.
pub(crate) fn open_world() -> WorldBuilder {
    WorldBuilder::new(&["* http://allowed.test:*/**"]).networks(&["127.0.0.0/8"])
}

pub(crate) fn request(method: &str, uri: &str) -> HttpRequest {
    HttpRequest {
        method: method.parse().unwrap(),
        uri: uri.parse().unwrap(),
        headers: http::HeaderMap::new(),
        body: body(b""),
        timeouts: HttpTimeouts::default(),
    }
}

pub(crate) fn body(bytes: &[u8]) -> HttpBody {
    let bytes = Full::new(Bytes::copy_from_slice(bytes));
    bytes.map_err(|never| match never {}).boxed_unsync()
}

impl World {
    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, EffectError> {
        self.egress.send(&self.call, request).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Result<HttpResponse, EffectError> {
        self.send(request("GET", uri)).await
    }

    /// The denial of a request; it must be the one that was added to the call's denials.
    pub(crate) async fn denial(&self, request: HttpRequest) -> Denial {
        match self.send(request).await {
            Err(EffectError::Denied(denial)) => {
                assert_eq!(self.call.denials.last().as_ref(), Some(&denial), "not noted");
                denial
            }
            Err(other) => panic!("not denied, but: {other}"),
            Ok(response) => panic!("not denied, but answered: {}", response.status),
        }
    }

    #[track_caller]
    pub(crate) fn assert_denied(denial: &Denial, code: DenialCode, in_grant: &str) {
        assert_eq!(denial.code, code, "{denial}");
        assert!(denial.grant.contains(in_grant), "{denial}");
    }
}

/// The whole body.
pub(crate) async fn read(response: HttpResponse) -> Result<Bytes, HttpBodyError> {
    Ok(response.body.collect().await?.to_bytes())
}

pub(crate) fn soon() -> Duration {
    Duration::from_millis(200)
}
