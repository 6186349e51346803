//! A host with the probe loaded, and what becomes of its turns.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foreshore_domain::agent::{Finish, Turn, TurnContext};
use foreshore_domain::call::{CallContext, CallError, Denials, Meter};
use foreshore_domain::component::ToolHints;
use foreshore_domain::id::{CallId, TurnId};
use foreshore_domain::limits::{Limits, LimitsPatch};
use foreshore_domain::memory::Conversation;
use foreshore_domain::outcome::{Content, ContentBody};
use foreshore_domain::policy::Policies;
use foreshore_runtime::{
    Compiler, Component, EngineConfig, Loader, LoaderConfig, Origin, Sandbox, Source, TurnFailure,
    TurnReport,
};
use serde_json::Value;

use crate::door::{BEGAN, Does, Door, raw};

/// A host with the probe loaded.
pub(crate) struct Bench {
    pub(crate) door: Arc<Door>,
    pub(crate) probe: Component,
}

impl Bench {
    pub(crate) async fn new(does: Does) -> Self {
        Self::with(does, EngineConfig { slots: 8, ..EngineConfig::default() }).await
    }

    pub(crate) async fn with(does: Does, config: EngineConfig) -> Self {
        let door = Arc::new(Door { does, ..Door::default() });
        let sandbox = Sandbox::new(&config, door.clone(), None).expect("a sandbox");
        let config = LoaderConfig::new(shared_cache().to_owned(), Compiler::InProcess);
        let loader = Loader::new(sandbox, config).expect("a loader");
        let source = Source {
            bytes: probe().to_vec().into(),
            file_stem: Some("probe@1.0.0".to_owned()),
            origin: Origin::Api,
        };
        let probe = loader.load(source, &Policies::default()).await.expect("the probe loads");
        Self { door, probe }
    }

    pub(crate) async fn told(&self, message: Value) -> TurnReport {
        self.run(message, &[], &turn([7; 32], Duration::from_secs(60))).await
    }

    pub(crate) async fn run(
        &self,
        message: Value,
        limits: &[(&str, u64)],
        turn: &Arc<TurnContext>,
    ) -> TurnReport {
        let given = Turn {
            conversation: turn.conversation.clone(),
            number: turn.number,
            message: vec![Content::text(message.to_string())],
            parameters: Some(raw("{\"depth\":2}")),
        };
        self.probe.run_turn(self.context(limits, Some(Arc::clone(turn))), given).await
    }

    pub(crate) fn context(
        &self,
        limits: &[(&str, u64)],
        turn: Option<Arc<TurnContext>>,
    ) -> Arc<CallContext> {
        let mut patch = LimitsPatch::default();
        for (name, value) in limits {
            patch.set(name, *value).expect("a limit");
        }
        Arc::new(CallContext {
            call_id: CallId::new(1),
            component: self.probe.reference().clone(),
            digest: self.probe.digest(),
            tool: "run".into(),
            hints: ToolHints::default(),
            principal: foreshore_domain::identity::Principal::host(),
            grant: Arc::default(),
            limits: Limits::default().with(&patch).expect("valid limits"),
            turn,
            observer: None,
            meter: Meter::default(),
            denials: Denials::default(),
        })
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        let asked = self.door.asked.lock().expect("lock");
        let kind = |value: &Value| match value {
            Value::String(kind) => kind.clone(),
            value => value.as_object().and_then(|o| o.keys().next()).expect("a kind").clone(),
        };
        asked.iter().map(kind).collect()
    }
}

pub(crate) fn turn(seed: [u8; 32], wall: Duration) -> Arc<TurnContext> {
    let conversation = Conversation::parse("c-1").expect("a name");
    let (id, agent) = (TurnId::new(BEGAN), "probe".into());
    Arc::new(TurnContext::new(id, conversation, 5, agent, seed, BEGAN, wall))
}

pub(crate) fn probe() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        let built = foreshore_guest_builder::build(&workspace, &target).expect("the guests build");
        let is_probe = |name: &str| name.replace('_', "-") == "probe-agent";
        built.into_iter().find(|one| is_probe(&one.name)).expect("the probe is there").bytes
    })
}

/// The probe is compiled once for all tests.
pub(crate) fn shared_cache() -> &'static Path {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().expect("a directory")).path()
}

#[track_caller]
pub(crate) fn seen(report: &TurnReport) -> Value {
    let reply = report.result.as_ref().expect("a reply");
    assert_eq!(reply.finish, Finish::GaveUp, "as the probe says");
    match &reply.message[0].body {
        ContentBody::Text(text) => serde_json::from_str(text).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn call_error(report: TurnReport) -> CallError {
    match report.result {
        Err(TurnFailure::Call(error)) => error,
        other => panic!("it did not end by itself: {other:?}"),
    }
}
