//! An agent against the sandbox: the probe agent, the real engine, and a door that remembers
//! what it was asked and says what a test wants it to say.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use foreshore_domain::agent::{Finish, Reply, Turn, TurnContext};
use foreshore_domain::call::{CallContext, CallError, Denials, FiredLimit, Interruption, Meter};
use foreshore_domain::component::{ImportVerdict, ToolHints};
use foreshore_domain::effect::{
    AgentEffect, AgentError, AgentOutcome, AgentTool, Answer, BudgetKind, Effect, EffectError,
    EffectOutcome, OtherAgent, Recalled, Remaining, Remembered, ReplyPart, Said, VariableEntry,
};
use foreshore_domain::id::{CallId, TurnId};
use foreshore_domain::inference::{
    Completion, Embeddings, FinishReason, Message, Model, Role, ServedBy, Step, TokenUsage,
};
use foreshore_domain::limits::{Limits, LimitsPatch};
use foreshore_domain::memory::{Conversation, JsonType};
use foreshore_domain::outcome::{Content, ContentBody, ToolResult};
use foreshore_domain::policy::Policies;
use foreshore_domain::ports::{BoxFuture, Effects};
use foreshore_runtime::{
    Compiler, Component, EngineConfig, Loader, LoaderConfig, Origin, Sandbox, Source, TurnFailure,
    TurnReport,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const BEGAN: u64 = 1_800_000_000_123;
/// How far each effect moves the clock.
const STEP_MS: u64 = 1_500;

/// What the door does with the effects of an agent.
#[derive(Clone, Default)]
enum Does {
    /// Gives what was asked for.
    #[default]
    Give,
    /// The same, once somebody opens the gate.
    GiveLate(Arc<Semaphore>),
    /// Interrupts the turn at this kind of effect.
    InterruptAt(&'static str, Interruption),
    /// Gives something else.
    GiveOther,
    /// Says no.
    Refuse(AgentError),
    /// Cannot record it.
    NotRecorded,
}

#[derive(Default)]
struct Door {
    does: Does,
    asked: Mutex<Vec<Value>>,
    parts: Mutex<Vec<ReplyPart>>,
    waiting: AtomicU64,
    notes: AtomicU64,
}

impl Effects for Door {
    fn perform<'a>(
        &'a self,
        call: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        let Effect::Agent(effect) = effect else {
            panic!("{} is no effect of an agent", effect.kind())
        };
        let asked = serde_json::to_value(&*effect).expect("an effect serializes");
        self.asked.lock().expect("lock").push(asked);
        Box::pin(async move {
            match &self.does {
                Does::Give => {}
                Does::GiveLate(gate) => {
                    self.waiting.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.expect("open").forget();
                }
                Does::InterruptAt(kind, interruption) if *kind == effect.kind() => {
                    return Err(interruption.clone().into());
                }
                Does::InterruptAt(..) => {}
                Does::GiveOther => {
                    return Ok(EffectOutcome::Agent(Box::new(AgentOutcome::Secret(true))));
                }
                Does::Refuse(error) => return Err(error.clone().into()),
                Does::NotRecorded => return Err(EffectError::NotRecorded("disk full".to_owned())),
            }
            let turn = call.turn.as_ref().expect("a turn");
            turn.advance_to(turn.now_unix_ms() + STEP_MS);
            Ok(EffectOutcome::Agent(Box::new(outcome(*effect))))
        })
    }

    fn note(&self, _: &CallContext, effect: Effect) {
        match effect {
            Effect::Reply(part) => self.parts.lock().expect("lock").push(part),
            _ => {
                self.notes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn completion(text: &str) -> Completion {
    Completion {
        message: Message::text(Role::Assistant, text),
        finish: FinishReason::Stop,
        usage: TokenUsage { input_tokens: u64::MAX, output_tokens: 2, ..TokenUsage::default() },
        served_by: served_by(),
    }
}

fn served_by() -> ServedBy {
    let (backend, model) = ("here".to_owned(), "small".to_owned());
    ServedBy { backend, model, step: Step::Fallback }
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).expect("JSON")
}

/// What each effect is given.
fn outcome(effect: AgentEffect) -> AgentOutcome {
    match effect {
        AgentEffect::Infer { .. } => AgentOutcome::Inferred(completion("I see")),
        AgentEffect::InferAll(requests) => AgentOutcome::InferredAll(
            requests
                .iter()
                .map(|request| match request.messages[0].plain_text().as_str() {
                    "a" => Ok(completion("A")),
                    _ => Err(AgentError::Unavailable(Some(7))),
                })
                .collect(),
        ),
        AgentEffect::Embed(_) => AgentOutcome::Embedded(Embeddings {
            vectors: vec![vec![0.25, 0.5]],
            served_by: served_by(),
            usage: TokenUsage::default(),
        }),
        AgentEffect::Models => AgentOutcome::Models(vec![Model {
            name: "small".to_owned(),
            backends: Vec::new(),
            context_length: Some(4_096),
            tools: true,
            vision: false,
            thinking: false,
            embedding: false,
            details: Default::default(),
        }]),
        AgentEffect::Tools => AgentOutcome::Tools(vec![AgentTool {
            name: "files.read".to_owned(),
            description: "Reads.".to_owned(),
            input_schema: "{}".to_owned(),
            read_only: true,
            destructive: false,
            idempotent: true,
            open_world: false,
            needs_approval: true,
        }]),
        AgentEffect::CallTools(calls) => AgentOutcome::Called(
            calls
                .into_iter()
                .map(|call| match call.name.as_str() {
                    "files.read" => Ok(ToolResult {
                        is_error: false,
                        content: vec![Content::text("bytes")],
                        structured: Some(raw("{\"n\": 1}")),
                    }),
                    other => Err(AgentError::UnknownOutcome(other.to_owned())),
                })
                .collect(),
        ),
        AgentEffect::Agents => AgentOutcome::Agents(vec![OtherAgent {
            name: "other".to_owned(),
            description: "Helps.".to_owned(),
        }]),
        AgentEffect::Delegate(_) => AgentOutcome::Delegated(Reply {
            message: vec![Content::text("done for you")],
            finish: Finish::Budget,
        }),
        AgentEffect::Recall(_) => AgentOutcome::Recalled(Recalled::Entry(None)),
        AgentEffect::Remember(_) => AgentOutcome::Remembered(Remembered::Version(3)),
        AgentEffect::Variables => AgentOutcome::Variables(vec![VariableEntry {
            name: "plan".to_owned(),
            version: 2,
            json_type: JsonType::Array,
            size_bytes: 3,
            first_line: "[1]".to_owned(),
        }]),
        AgentEffect::GetVariable { .. } => AgentOutcome::Variable(raw("[1]")),
        AgentEffect::SetVariable { .. } => AgentOutcome::VariableSet(3),
        AgentEffect::RecentMessages { .. } => AgentOutcome::Messages(vec![Said {
            turn: 4,
            message: Message::text(Role::User, "before"),
        }]),
        AgentEffect::Summary => AgentOutcome::Summary(Some(("so far".to_owned(), 2))),
        AgentEffect::Ask { .. } => AgentOutcome::Answered(Answer::Accepted(raw("{\"x\":1}"))),
        AgentEffect::SetSummary { .. }
        | AgentEffect::Approve { .. }
        | AgentEffect::Emit { .. }
        | AgentEffect::WakeAt { .. } => AgentOutcome::Done,
        AgentEffect::Budget | AgentEffect::Iteration => AgentOutcome::Budget(Remaining {
            tokens: 10,
            cost_micros: 20,
            tool_calls: u64::MAX,
            iterations: 40,
            wall_ms: 50,
        }),
        AgentEffect::SecretExists { .. } => AgentOutcome::Secret(true),
    }
}

/// A host with the probe loaded.
struct Bench {
    door: Arc<Door>,
    probe: Component,
}

impl Bench {
    async fn new(does: Does) -> Self {
        Self::with(does, EngineConfig { slots: 8, ..EngineConfig::default() }).await
    }

    async fn with(does: Does, config: EngineConfig) -> Self {
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

    async fn told(&self, message: Value) -> TurnReport {
        self.run(message, &[], &turn([7; 32], Duration::from_secs(60))).await
    }

    async fn run(
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

    fn context(&self, limits: &[(&str, u64)], turn: Option<Arc<TurnContext>>) -> Arc<CallContext> {
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

    fn kinds(&self) -> Vec<String> {
        let asked = self.door.asked.lock().expect("lock");
        let kind = |value: &Value| match value {
            Value::String(kind) => kind.clone(),
            value => value.as_object().and_then(|o| o.keys().next()).expect("a kind").clone(),
        };
        asked.iter().map(kind).collect()
    }
}

fn turn(seed: [u8; 32], wall: Duration) -> Arc<TurnContext> {
    let conversation = Conversation::parse("c-1").expect("a name");
    let (id, agent) = (TurnId::new(BEGAN), "probe".into());
    Arc::new(TurnContext::new(id, conversation, 5, agent, seed, BEGAN, wall))
}

fn probe() -> &'static [u8] {
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
fn shared_cache() -> &'static Path {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    CACHE.get_or_init(|| tempfile::tempdir().expect("a directory")).path()
}

#[track_caller]
fn seen(report: &TurnReport) -> Value {
    let reply = report.result.as_ref().expect("a reply");
    assert_eq!(reply.finish, Finish::GaveUp, "as the probe says");
    match &reply.message[0].body {
        ContentBody::Text(text) => serde_json::from_str(text).expect("JSON"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn call_error(report: TurnReport) -> CallError {
    match report.result {
        Err(TurnFailure::Call(error)) => error,
        other => panic!("it did not end by itself: {other:?}"),
    }
}

#[tokio::test]
async fn an_agent_says_what_it_is_and_all_that_it_may_ask_is_linked() {
    let bench = Bench::new(Does::Give).await;
    let agent = bench.probe.agent().expect("an agent");
    assert_eq!(agent.definition.name, "probe");
    assert!(agent.check_parameters(&json!({"depth": 2})).is_ok());
    assert_eq!(
        agent.check_parameters(&json!({"depth": "x"})).expect_err("no number").pointer,
        "/depth"
    );
    assert!(bench.probe.tools().is_empty());
    let imports = &bench.probe.inspection().imports;
    for interface in [
        "inference",
        "tools",
        "agents",
        "memory",
        "variables",
        "conversation",
        "reply",
        "approval",
        "events",
        "budget",
        "elicit",
        "secrets",
        "progress",
        "log",
    ] {
        let name = format!("foreshore:{interface}/{interface}@0.1.0");
        let import = imports.iter().find(|import| import.name == name);
        assert_eq!(import.map(|import| &import.verdict), Some(&ImportVerdict::Linked), "{name}");
    }
}

#[tokio::test]
async fn a_turn_is_given_to_the_agent_as_it_is() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "turn"})).await;
    assert_eq!(seen(&report), json!(["c-1", 5, "{\"depth\":2}"]));
    assert!(report.usage.fuel > 0);
}

#[tokio::test]
async fn each_import_comes_to_the_door_as_its_effect_and_back_as_its_outcome() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "everything"})).await;
    let seen = seen(&report);
    let mut kinds = bench.kinds();
    let known: Vec<&str> = AgentEffect::KINDS.to_vec();
    assert_eq!(kinds.len(), known.len(), "the last four are refused before they are effects");
    kinds.sort();
    let mut sorted = known.clone();
    sorted.sort_unstable();
    assert_eq!(kinds, sorted, "each kind once");

    let asked = bench.door.asked.lock().expect("lock").clone();
    let infer = &asked[0]["infer"];
    assert_eq!(infer["stream_to_reply"], true);
    assert_eq!(infer["request"]["model"], "small");
    assert_eq!(infer["request"]["sampling"], json!({"temperature": 0.5, "seed": 7}));
    assert_eq!(infer["request"]["messages"][0]["content"][1]["image"]["mime_type"], "image/png");
    let all = asked[1]["infer-all"].as_array().expect("requests");
    assert_eq!(all.len(), 2, "the malformed one is none of the effect");
    let find = |kind: &str| asked.iter().find_map(|one| one.get(kind)).expect("asked").clone();
    assert_eq!(find("call-tools")[1]["name"], "files.write");
    assert_eq!(find("delegate")["limits"]["tool_calls_max"], 1);
    assert_eq!(find("recent-messages")["limit"], 200, "no more than the interface says");
    assert_eq!(find("set-variable"), json!({"name": "plan", "value": [1]}));

    let says = |at: usize, words: &[&str]| {
        let text = seen[at].as_str().expect("text");
        for word in words {
            assert!(text.contains(word), "{at}: {text} lacks {word}");
        }
    };
    says(0, &["I see", "Fallback", "4294967295"]);
    says(1, &["\"A\"", "/config/temperature", "Unavailable(Some(7))"]);
    says(2, &["0.25, 0.5"]);
    says(3, &["4096"]);
    says(4, &["READ_ONLY", "IDEMPOTENT", "needs-approval: true"]);
    says(5, &["bytes", "{\\\"n\\\": 1}", "UnknownOutcome(\"files.write\")"]);
    says(7, &["done for you", "Budget"]);
    says(9, &["Ok(3)"]);
    says(13, &["turn: 4", "before"]);
    says(14, &["so far", "2"]);
    says(16, &["Accepted"]);
    says(20, &["tool-calls: 4294967295"]);
    says(23, &["/name"]);
    says(24, &["/value", "not JSON"]);
    says(25, &["30 days"]);
    says(26, &["/kind"]);

    let parts = bench.door.parts.lock().expect("lock").clone();
    assert_eq!(
        parts,
        [
            ReplyPart::Phase { name: "asking".to_owned(), message: Some("everything".to_owned()) },
            ReplyPart::Text("so ".to_owned()),
            ReplyPart::Thinking("hm".to_owned()),
        ]
    );
    assert_eq!(report.logs.lines.len(), 1);
}

#[tokio::test]
async fn clocks_show_the_last_effect_and_stand_still_in_between() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "clocks"})).await;
    let after = json!([BEGAN + STEP_MS, STEP_MS]);
    assert_eq!(seen(&report), json!([[BEGAN, 0], [BEGAN, 0], after]));
}

#[tokio::test]
async fn random_numbers_follow_from_the_seed_and_from_nothing_else() {
    let bench = Bench::new(Does::Give).await;
    let wall = Duration::from_secs(60);
    let mut runs = Vec::new();
    for seed in [1, 1, 2] {
        let report = bench.run(json!({"do": "random"}), &[], &turn([seed; 32], wall)).await;
        runs.push(seen(&report));
    }
    assert_eq!(runs[0], runs[1], "of one seed");
    let drawn = |run: usize| runs[run].as_array().expect("numbers").clone();
    for (one, other) in drawn(0).into_iter().zip(drawn(2)) {
        assert_ne!(one, other, "of another seed");
    }
}

#[tokio::test]
async fn a_sleep_is_over_at_once_and_shows_on_no_clock() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "sleep"})).await;
    assert_eq!(seen(&report), json!({"slept_ms": 0}));
    assert!(report.usage.wall_us < 3_600_000_000);
}

#[tokio::test]
async fn an_agent_has_no_files_no_environment_and_no_input() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "surroundings"})).await;
    assert_eq!(
        seen(&report),
        json!({
            "environment": 0, "arguments": 0, "mounts": 0,
            "opened": false, "written": false, "stdin": "",
        })
    );
    assert!(bench.kinds().is_empty());
}

#[tokio::test]
async fn an_interruption_stops_the_agent_at_once_and_gives_its_place_back() {
    let waiting = Interruption::Waiting;
    let config = EngineConfig { slots: 1, ..EngineConfig::default() };
    let bench = Bench::with(Does::InterruptAt("iteration", waiting.clone()), config).await;
    for _ in 0..3 {
        let report = bench.told(json!({"do": "iterate", "many": 1_000_000})).await;
        let CallError::Interrupted(found) = call_error(report) else { panic!("another ending") };
        assert_eq!(found, waiting);
    }
    assert_eq!(bench.kinds().len(), 3, "not one effect after it");
}

#[tokio::test]
async fn an_interruption_is_never_told_whatever_was_asked() {
    for kind in AgentEffect::KINDS {
        let bench = Bench::new(Does::InterruptAt(kind, Interruption::Cancelled)).await;
        let report = bench.told(json!({"do": "everything"})).await;
        let error = call_error(report);
        assert!(
            matches!(error, CallError::Interrupted(Interruption::Cancelled)),
            "{kind}: {error}"
        );
        assert_eq!(bench.kinds().last().map(String::as_str), Some(*kind), "the last one asked");
    }
}

#[tokio::test]
async fn an_agent_does_not_go_on_from_what_is_not_recorded() {
    let bench = Bench::new(Does::NotRecorded).await;
    let report = bench.told(json!({"do": "everything"})).await;
    let CallError::Interrupted(Interruption::NotRecorded { message }) = call_error(report) else {
        panic!("another ending")
    };
    assert_eq!(message, "disk full");
    assert_eq!(bench.kinds(), ["infer"]);
}

#[tokio::test]
async fn an_outcome_of_another_effect_is_the_hosts_fault() {
    let bench = Bench::new(Does::GiveOther).await;
    let error = call_error(bench.told(json!({"do": "iterate"})).await);
    assert!(matches!(error, CallError::Host { .. }), "{error:?}");
    assert!(error.to_string().contains("iteration"), "{error}");
}

#[tokio::test]
async fn an_agent_is_told_why_not_and_goes_on() {
    let bench = Bench::new(Does::Refuse(AgentError::Exhausted(BudgetKind::Cost))).await;
    let report = bench.told(json!({"do": "big-string", "many": 3})).await;
    let text = seen(&report).to_string();
    assert!(text.contains("Exhausted") && text.to_lowercase().contains("cost"), "{text}");
}

#[tokio::test]
async fn an_agents_own_error_is_kept_as_its_own() {
    let bench = Bench::new(Does::Give).await;
    let report = bench.told(json!({"do": "fail"})).await;
    let Err(TurnFailure::Agent(error)) = report.result else { panic!("{report:?}") };
    assert_eq!(error, AgentError::NotFound("what was asked for".to_owned()));
}

#[tokio::test]
async fn each_limit_holds_for_agents() {
    let bench = Bench::new(Does::Give).await;
    let long = turn([0; 32], Duration::from_secs(60));
    let short = turn([0; 32], Duration::from_millis(300));
    for (told, limits, turn, fired, allowed) in [
        (json!({"do": "spin"}), ("fuel", 50_000_000), &long, FiredLimit::Fuel, 50_000_000),
        (json!({"do": "spin"}), ("fuel", 900_000_000_000), &short, FiredLimit::Deadline, 300),
        (
            json!({"do": "eat-memory"}),
            ("memory_max_bytes", 8 << 20),
            &long,
            FiredLimit::Memory,
            8 << 20,
        ),
        (
            json!({"do": "big-string", "many": 70_000}),
            ("hostcall_max_bytes", 65_536),
            &long,
            FiredLimit::HostCall,
            65_536,
        ),
        (
            json!({"do": "huge-reply", "many": 70_000}),
            ("result_max_bytes", 65_536),
            &long,
            FiredLimit::Result,
            65_536,
        ),
        (
            json!({"do": "iterate", "many": 1_000_000}),
            ("host_operations_max", 100),
            &long,
            FiredLimit::HostOperations,
            100,
        ),
    ] {
        let error = call_error(bench.run(told.clone(), &[limits], turn).await);
        let CallError::Limit { limit, allowed: had, .. } = error else { panic!("{told}: {error}") };
        assert_eq!((limit, had), (fired, allowed), "{told}");
    }
}

#[tokio::test]
async fn a_turn_may_take_longer_than_a_call() {
    let bench = Bench::new(Does::Give).await;
    let long = turn([0; 32], Duration::from_secs(60));
    // The deadline of calls is 1 ms, and the agent computes for longer.
    let told = json!({"do": "work-and-ask", "many": 20_000_000});
    let report = bench.run(told, &[("deadline_ms", 1)], &long).await;
    assert!(report.usage.wall_us > 1_000, "{:?}", report.usage);
    seen(&report);
}

#[tokio::test]
async fn agents_that_wait_hold_no_permit() {
    let gate = Arc::new(Semaphore::new(0));
    let config = EngineConfig {
        slots: 8,
        heavy_permits: std::num::NonZeroUsize::new(1),
        first_slice_ms: 1,
        ..EngineConfig::default()
    };
    let bench = Bench::with(Does::GiveLate(Arc::clone(&gate)), config).await;
    let told = json!({"do": "work-and-ask", "many": 5_000_000});
    let run = || bench.told(told.clone());
    let open = async {
        // All of them past their first slice and in the host at once, with a single permit.
        while bench.door.waiting.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.add_permits(4);
    };
    let (one, two, three, four, ()) = tokio::join!(run(), run(), run(), run(), open);
    for report in [one, two, three, four] {
        seen(&report);
    }
}

#[tokio::test]
async fn a_turn_without_its_context_is_not_started() {
    let bench = Bench::new(Does::Give).await;
    let given = Turn {
        conversation: Conversation::parse("c").expect("a name"),
        number: 0,
        message: Vec::new(),
        parameters: None,
    };
    let report = bench.probe.run_turn(bench.context(&[], None), given).await;
    assert!(matches!(call_error(report), CallError::Host { .. }));
}
