//! A world for turns: what outlives a crash of the host, and a host in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foreshore_domain::agent::{AgentDefinition, AgentPolicy, Finish, Reply, Turn};
use foreshore_domain::call::{CallContext, CallError, Denials, Interruption, Meter};
use foreshore_domain::component::{ComponentRef, ToolHints, ToolName};
use foreshore_domain::conversation::{Conversation, TurnEnd};
use foreshore_domain::effect::{
    AgentEffect, AgentError, AgentOutcome, AgentTool, Effect, EffectError, EffectOutcome,
    ReplyPart, ToolRequest,
};
use foreshore_domain::id::{Digest, TurnId};
use foreshore_domain::inference::{
    ChatRequest, Completion, Delta, DeltaSink, EmbedRequest, Embeddings, FinishReason,
    InferenceError, Message, Model, Role, ServedBy, Step, TokenUsage,
};
use foreshore_domain::limits::Limits;
use foreshore_domain::outcome::{Content, ToolResult, Usage};
use foreshore_domain::ports::{BoxFuture, Effects as _};
use foreshore_store::{Journal, JournalConfig};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Door;
use crate::conversations::Conversations;
use crate::egress::{Egress, EgressConfig};
use crate::invoke::Caller;
use crate::memory::Memory;
use crate::record::{CallFacts, Recorder};
use crate::turns::agents::{AgentComponent, Agents, Ran, Stopped};
use crate::turns::tools::{ToolCall, Tools};
use crate::turns::{
    Asker, Ended, Models, NewTurn, TakenTurn, TurnEvent, Turns, TurnsConfig, TurnsHost,
};

/// What an agent does in a turn.
pub(super) type Script =
    Arc<dyn Fn(Agent) -> BoxFuture<'static, Result<Reply, Stopped>> + Send + Sync>;

pub(super) fn script<F>(run: impl Fn(Agent) -> F + Send + Sync + 'static) -> Script
where
    F: Future<Output = Result<Reply, Stopped>> + Send + 'static,
{
    Arc::new(move |agent| Box::pin(run(agent)))
}

/// An agent in plain Rust: it has a door, and nothing else.
pub(super) struct Agent {
    pub(super) turn: Turn,
    call: Arc<CallContext>,
    door: Arc<Door>,
    world: World,
}

impl Agent {
    /// Asks for something; `Err` where the run ends.
    pub(super) async fn ask(
        &self,
        effect: AgentEffect,
    ) -> Result<Result<AgentOutcome, AgentError>, Stopped> {
        self.world.moment().await;
        match self.door.perform(&self.call, Effect::Agent(Box::new(effect))).await {
            Ok(EffectOutcome::Agent(outcome)) => Ok(Ok(*outcome)),
            Ok(_) => panic!("an outcome of no agent"),
            Err(EffectError::Agent(error)) => Ok(Err(error)),
            Err(EffectError::Interrupted(interruption)) => {
                Err(Stopped::Call(CallError::Interrupted(interruption)))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`Self::ask`], for what must succeed.
    pub(super) async fn get(&self, effect: AgentEffect) -> Result<AgentOutcome, Stopped> {
        self.ask(effect).await?.map_err(Stopped::Agent)
    }

    /// Calls tools with `{}`.
    pub(super) async fn call(
        &self,
        tools: &[&str],
    ) -> Result<Vec<Result<ToolResult, AgentError>>, Stopped> {
        let requests = tools.iter().map(|tool| request(tool)).collect();
        match self.get(AgentEffect::CallTools(requests)).await? {
            AgentOutcome::Called(results) => Ok(results),
            other => panic!("{other:?}"),
        }
    }

    /// Asks the model something, and gives its answer.
    pub(super) async fn infer(&self, question: &str) -> Result<String, Stopped> {
        match self.get(infer(question)).await? {
            AgentOutcome::Inferred(completion) => Ok(completion.message.plain_text()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn say(&self, text: &str) {
        self.door.note(&self.call, Effect::Reply(ReplyPart::Text(text.to_owned())));
    }

    pub(super) fn phase(&self, name: &str) {
        let part = ReplyPart::Phase { name: name.to_owned(), message: None };
        self.door.note(&self.call, Effect::Reply(part));
    }

    pub(super) fn now(&self) -> u64 {
        self.call.turn.as_ref().expect("a turn").now_unix_ms()
    }

    /// What the person said.
    pub(super) fn message(&self) -> String {
        words(&self.turn.message)
    }
}

pub(super) fn request(tool: &str) -> ToolRequest {
    ToolRequest { name: tool.to_owned(), arguments: "{}".to_owned() }
}

pub(super) fn infer(question: &str) -> AgentEffect {
    let request = ChatRequest::new(None, vec![Message::text(Role::User, question)]);
    AgentEffect::Infer { request, stream_to_reply: true }
}

/// A reply that is one text.
pub(super) fn text(text: impl Into<String>) -> Result<Reply, Stopped> {
    Ok(Reply { message: vec![Content::text(text.into())], finish: Finish::Stop })
}

/// The text of contents.
pub(super) fn words(contents: &[Content]) -> String {
    crate::turns::excerpt(contents)
}

/// What outlives a host: agents, tools' effects, and when the next crash is. Cheap to clone.
#[derive(Clone)]
pub(super) struct World(Arc<Inner>);

struct Inner {
    directory: tempfile::TempDir,
    scripts: Mutex<BTreeMap<String, Script>>,
    policies: Mutex<BTreeMap<String, AgentPolicy>>,
    /// How often each tool really did its work.
    done: Mutex<BTreeMap<String, u32>>,
    /// How often the model was asked.
    asked: AtomicU32,
    /// The requests it was asked.
    requests: Mutex<Vec<ChatRequest>>,
    /// How many more moments pass until everything stops.
    left: Mutex<Option<u32>>,
    crashed: watch::Sender<bool>,
    /// Tools and models wait for this to be true.
    open: watch::Sender<bool>,
    /// Told of each tool and model that begins.
    began: mpsc::UnboundedSender<String>,
    began_rx: Mutex<Option<mpsc::UnboundedReceiver<String>>>,
}

impl World {
    pub(super) fn new() -> Self {
        let (began, began_rx) = mpsc::unbounded_channel();
        Self(Arc::new(Inner {
            directory: tempfile::tempdir().expect("a directory"),
            scripts: Mutex::default(),
            policies: Mutex::default(),
            done: Mutex::default(),
            asked: AtomicU32::new(0),
            requests: Mutex::default(),
            left: Mutex::new(None),
            crashed: watch::Sender::new(false),
            open: watch::Sender::new(true),
            began,
            began_rx: Mutex::new(Some(began_rx)),
        }))
    }

    /// An agent that may call all tools and delegate to all agents.
    pub(super) fn agent(&self, name: &str, script: Script) {
        let mut policy = AgentPolicy::of_component(name);
        policy.tools = vec!["*".parse().expect("a pattern")];
        policy.agents = vec!["helper".to_owned(), "agent".to_owned()];
        policy.memory = Some(foreshore_domain::grant::MemoryGrant {
            namespaces: vec![foreshore_domain::grant::NamespaceGrant {
                pattern: "*".parse().expect("a pattern"),
                access: foreshore_domain::grant::Access::ReadWrite,
            }],
        });
        lock(&self.0.policies).insert(name.to_owned(), policy);
        lock(&self.0.scripts).insert(name.to_owned(), script);
    }

    /// Changes what an agent may do.
    pub(super) fn policy(&self, name: &str, change: impl FnOnce(&mut AgentPolicy)) {
        change(lock(&self.0.policies).get_mut(name).expect("an agent"));
    }

    /// How often a tool did its work.
    pub(super) fn done(&self, tool: &str) -> u32 {
        lock(&self.0.done).get(tool).copied().unwrap_or_default()
    }

    pub(super) fn asked(&self) -> u32 {
        self.0.asked.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> Vec<ChatRequest> {
        lock(&self.0.requests).clone()
    }

    /// Makes everything stop after so many moments.
    pub(super) fn crash_after(&self, moments: u32) {
        *lock(&self.0.left) = Some(moments);
        self.0.crashed.send_replace(false);
    }

    /// No crash any more.
    pub(super) fn go_on(&self) {
        *lock(&self.0.left) = None;
        self.0.crashed.send_replace(false);
    }

    pub(super) fn crashes(&self) -> watch::Receiver<bool> {
        self.0.crashed.subscribe()
    }

    /// Lets tools and models begin, and keeps them from ending; or lets them end.
    pub(super) fn hold(&self, holds: bool) {
        self.0.open.send_replace(!holds);
    }

    pub(super) fn began(&self) -> mpsc::UnboundedReceiver<String> {
        lock(&self.0.began_rx).take().expect("asked for once")
    }

    /// A moment at which the host may be cut off.
    async fn moment(&self) {
        let stops = match &mut *lock(&self.0.left) {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        };
        if stops {
            self.0.crashed.send_replace(true);
            std::future::pending::<()>().await;
        }
    }

    async fn begins(&self, what: &str) {
        let _ = self.0.began.send(what.to_owned());
        let mut open = self.0.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.directory.path().join(name)
    }
}

/// A host in a world.
pub(super) struct Host {
    pub(super) turns: Turns,
    pub(super) journal: Journal,
    pub(super) conversations: Conversations,
    pub(super) drain: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Host {
    /// A host whose journal is in a directory of the world.
    pub(super) fn start(world: &World, name: &str) -> Self {
        Self::with(world, name, TurnsConfig::default())
    }

    pub(super) fn with(world: &World, name: &str, config: TurnsConfig) -> Self {
        let directory = world.path(name);
        std::fs::create_dir_all(&directory).expect("made");
        let journal = Journal::open(&directory.join("journal.redb"), &JournalConfig::default());
        let journal = journal.expect("opens");
        let recorder = Recorder::new(journal.clone());
        let memory = Memory::new(journal.clone());
        let egress = Egress::new(EgressConfig::default()).expect("valid");
        let door = Arc::new(Door::new(egress, recorder.clone(), memory.clone()));
        let (drain, tasks) = (CancellationToken::new(), TaskTracker::new());
        let conversations = Conversations::new(journal.clone());
        let policies = lock(&world.0.policies).clone().into_iter();
        let turns = Turns::new(TurnsHost {
            journal: journal.clone(),
            memory,
            conversations: conversations.clone(),
            recorder: recorder.clone(),
            models: Arc::new(Fake { world: world.clone(), recorder: recorder.clone() }),
            tools: Arc::new(Fake { world: world.clone(), recorder }),
            agents: Arc::new(Scripts { world: world.clone(), door: Arc::clone(&door) }),
            policies: policies.map(|(name, policy)| (name, Arc::new(policy))).collect(),
            config,
            budgets: None,
            running: Arc::clone(door.running()),
            tasks: tasks.clone(),
            drain: drain.clone(),
        });
        turns.resume().expect("readable");
        tasks.spawn(turns.clone().keep_time());
        Self { turns, journal, conversations, drain, tasks }
    }

    /// Takes a message in a new conversation.
    pub(super) async fn say(&self, agent: &str, message: &str) -> TakenTurn {
        self.turns.start(new_turn(agent, None, message)).await.expect("taken")
    }

    /// Takes a message in a conversation.
    pub(super) async fn say_in(&self, conversation: &Conversation, message: &str) -> TakenTurn {
        let new = new_turn("agent", Some(conversation.clone()), message);
        self.turns.start(new).await.expect("taken")
    }

    /// Waits for the end of a turn.
    pub(super) async fn end(&self, turn: TurnId) -> Ended {
        let mut follow = self.turns.follow(turn, None).expect("there");
        let ended = async {
            loop {
                match follow.next().await.expect("it ends").event {
                    TurnEvent::Ended(ended) => return *ended,
                    _ => continue,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends in time")
    }

    /// The reply of a turn that completes.
    pub(super) async fn reply(&self, turn: TurnId) -> String {
        let ended = self.end(turn).await;
        assert_eq!(ended.end, TurnEnd::Completed, "{:?}", ended.error);
        words(&ended.reply)
    }

    /// The code of a turn that does not complete.
    pub(super) async fn code(&self, turn: TurnId) -> String {
        let ended = self.end(turn).await;
        assert_ne!(ended.end, TurnEnd::Completed);
        ended.error.expect("an error").0
    }

    /// Ends in order.
    pub(super) async fn stop(self) {
        self.drain.cancel();
        self.tasks.close();
        let ended = tokio::time::timeout(Duration::from_secs(30), self.tasks.wait());
        ended.await.expect("everything ends");
        self.journal.close().await;
    }

    /// The kinds of a turn's events.
    pub(super) async fn kinds(&self, turn: TurnId) -> Vec<String> {
        self.journal.flush().await;
        let stream = foreshore_domain::event::Stream::Turn(turn);
        let tenant = foreshore_domain::event::Tenant::DEFAULT;
        let events = self.journal.read_stream(&tenant, &stream, 1, 1_000).expect("readable");
        events.into_iter().map(|event| event.kind).collect()
    }
}

pub(super) fn new_turn(agent: &str, conversation: Option<Conversation>, message: &str) -> NewTurn {
    NewTurn {
        agent: agent.to_owned(),
        conversation,
        message: vec![Content::text(message)],
        history: Vec::new(),
        parameters: None,
        budget: None,
    }
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: it never came");
}

/// A copy of a journal's directory as it is on disk now.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

struct Scripts {
    world: World,
    door: Arc<Door>,
}

impl Agents for Scripts {
    fn find(&self, component: &str) -> Result<Arc<dyn AgentComponent>, String> {
        let script = lock(&self.world.0.scripts).get(component).cloned();
        let script = script.ok_or_else(|| format!("component \"{component}\" is not loaded"))?;
        let version = "0.1.0".parse().expect("a version");
        Ok(Arc::new(Scripted {
            reference: ComponentRef::new(component, version).expect("a name"),
            definition: AgentDefinition {
                name: component.to_owned(),
                title: None,
                description: "An agent of a test.".to_owned(),
                parameters_schema: None,
            },
            script,
            world: self.world.clone(),
            door: Arc::clone(&self.door),
        }))
    }
}

struct Scripted {
    reference: ComponentRef,
    definition: AgentDefinition,
    script: Script,
    world: World,
    door: Arc<Door>,
}

impl AgentComponent for Scripted {
    fn reference(&self) -> &ComponentRef {
        &self.reference
    }

    fn digest(&self) -> Digest {
        Digest::of(self.reference.name.as_bytes())
    }

    fn definition(&self) -> Option<&AgentDefinition> {
        Some(&self.definition)
    }

    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn check_parameters(&self, parameters: &serde_json::Value) -> Result<(), (String, String)> {
        match parameters.get("bad") {
            None => Ok(()),
            Some(_) => Err(("/bad".to_owned(), "it is bad".to_owned())),
        }
    }

    fn run(&self, context: Arc<CallContext>, turn: Turn) -> BoxFuture<'static, Ran> {
        let agent =
            Agent { turn, call: context, door: Arc::clone(&self.door), world: self.world.clone() };
        let run = (self.script)(agent);
        Box::pin(async move { Ran { result: run.await, fuel: 7 } })
    }
}

struct Fake {
    world: World,
    recorder: Recorder,
}

/// Tools of the component `t`: what only reads, what may be done twice, and what may not.
const TOOLS: [(&str, bool, bool); 4] =
    [("look", true, false), ("set", false, true), ("add", false, false), ("fail", false, false)];

impl Tools for Fake {
    fn list(&self) -> Vec<(ToolName, AgentTool)> {
        let tool = |(name, read_only, idempotent): &(&str, bool, bool)| {
            let name: ToolName = format!("t.{name}").parse().expect("a name");
            let tool = AgentTool {
                name: name.to_string(),
                description: "A tool of a test.".to_owned(),
                input_schema: r#"{"type":"object"}"#.to_owned(),
                read_only: *read_only,
                destructive: false,
                idempotent: *idempotent,
                open_world: false,
                needs_approval: false,
            };
            (name, tool)
        };
        TOOLS.iter().map(tool).collect()
    }

    fn hints(&self, tool: &ToolName) -> Result<ToolHints, CallError> {
        let found = TOOLS.iter().find(|(name, ..)| tool.component == "t" && tool.tool == *name);
        let unknown = CallError::UnknownTool { tool: tool.to_string(), suggestion: None };
        let (_, read_only, idempotent) = found.ok_or(unknown)?;
        Ok(ToolHints { read_only: *read_only, idempotent: *idempotent, ..ToolHints::default() })
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'static, Result<ToolResult, CallError>> {
        let hints = self.hints(&call.tool).expect("it is there");
        let (world, recorder) = (self.world.clone(), self.recorder.clone());
        let facts = facts(&call, hints);
        Box::pin(async move {
            world.moment().await;
            if !hints.read_only {
                recorder.call_started(&facts).await.expect("recorded");
                world.moment().await;
            }
            world.begins(&call.tool.to_string()).await;
            *lock(&world.0.done).entry(call.tool.tool.clone()).or_default() += 1;
            let result = Ok(ToolResult {
                is_error: call.tool.tool == "fail",
                content: vec![Content::text(format!("{} of {}", call.arguments, call.tool))],
                structured: None,
            });
            if !hints.read_only {
                world.moment().await;
                let beside = call.beside.map(|beside| beside(&result)).unwrap_or_default();
                let completed =
                    recorder.call_completed(&facts, "ok", Usage::default(), beside).await;
                completed.expect("recorded");
            }
            world.moment().await;
            result
        })
    }
}

fn facts(call: &ToolCall, hints: ToolHints) -> CallFacts {
    let context = CallContext {
        call_id: call.call_id,
        component: ComponentRef::new("t", "1.0.0".parse().expect("a version")).expect("a name"),
        digest: Digest::of(b"t"),
        tool: call.tool.tool.as_str().into(),
        hints,
        principal: foreshore_domain::identity::Principal::host(),
        grant: Arc::default(),
        limits: Limits::default(),
        turn: None,
        observer: None,
        meter: Meter::default(),
        denials: Denials::default(),
    };
    assert!(matches!(call.caller, Caller::Turn { .. }), "a call of a turn says so");
    CallFacts::of(&context, call.caller.clone())
}

impl Models for Fake {
    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        _asker: &'a Asker,
        sink: Option<Arc<dyn DeltaSink>>,
    ) -> BoxFuture<'a, Result<Completion, InferenceError>> {
        Box::pin(async move {
            self.world.moment().await;
            self.world.begins("model").await;
            let n = self.world.0.asked.fetch_add(1, Ordering::Relaxed);
            lock(&self.world.0.requests).push(request.clone());
            let question = request.messages.last().map(Message::plain_text).unwrap_or_default();
            // Every answer differs, so an agent that is given another one leaves its record.
            let answer = format!("answer {n} to {question}");
            for delta in answer.split_inclusive(' ') {
                if let Some(sink) = &sink {
                    sink.delta(Delta::Text(delta));
                }
            }
            self.world.moment().await;
            Ok(Completion {
                message: Message::text(Role::Assistant, answer),
                finish: FinishReason::Stop,
                usage: TokenUsage {
                    input_tokens: 10,
                    output_tokens: 5,
                    duration_ms: 1,
                    cost_micros: 3,
                },
                served_by: ServedBy {
                    backend: "fake".to_owned(),
                    model: request.model.unwrap_or_else(|| "small".to_owned()),
                    step: Step::Primary,
                },
            })
        })
    }

    fn embed<'a>(
        &'a self,
        request: EmbedRequest,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Embeddings, InferenceError>> {
        Box::pin(async move {
            Err(InferenceError::ModelNotFound {
                model: request.model.unwrap_or_default(),
                known: Vec::new(),
            })
        })
    }

    fn models<'a>(
        &'a self,
        _asker: &'a Asker,
    ) -> BoxFuture<'a, Result<Vec<Model>, InferenceError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// What a run that was interrupted comes to.
pub(super) fn interrupted(stopped: &Stopped) -> Option<&Interruption> {
    match stopped {
        Stopped::Call(CallError::Interrupted(interruption)) => Some(interruption),
        _ => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
