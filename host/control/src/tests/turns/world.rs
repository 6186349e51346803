//! A world for turns: what outlives a crash of the host, and a host in it.

mod agent;
mod fakes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foreshore_domain::agent::AgentPolicy;
use foreshore_domain::approval::{ApprovalPolicy, Destructive, Rule, Terms, Verdict};
use foreshore_domain::call::{CallError, Interruption};
use foreshore_domain::conversation::{Conversation, TurnEnd};
use foreshore_domain::id::TurnId;
use foreshore_domain::inference::ChatRequest;
use foreshore_domain::outcome::Content;
use foreshore_store::{Journal, JournalConfig};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::agent::{Agent, Script, infer, script, text, words};
use self::fakes::{Fake, Scripts};
use crate::Door;
use crate::approvals::{Approvals, Asks};
use crate::conversations::Conversations;
use crate::egress::{Egress, EgressConfig};
use crate::memory::Memory;
use crate::record::Recorder;
use crate::turns::agents::Stopped;
use crate::turns::{Ended, NewTurn, TakenTurn, TurnEvent, Turns, TurnsConfig, TurnsHost};

/// What outlives a host: agents, tools' effects, and when the next crash is. Cheap to clone.
#[derive(Clone)]
pub(super) struct World(Arc<Inner>);

struct Inner {
    directory: tempfile::TempDir,
    scripts: Mutex<BTreeMap<String, Script>>,
    policies: Mutex<BTreeMap<String, AgentPolicy>>,
    /// What people are asked about.
    rules: Mutex<Vec<Rule>>,
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
            rules: Mutex::default(),
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

    /// Has people asked about a tool.
    pub(super) fn asks_for(&self, tool: &str, terms: Terms) {
        let mut rule = Rule::of_all(Verdict::Ask, terms);
        rule.tool = Some(tool.to_owned());
        lock(&self.0.rules).push(rule);
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
    pub(super) approvals: Approvals,
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
        let policy = ApprovalPolicy::new(lock(&world.0.rules).clone(), Destructive::Allow);
        let (approvals, woken, _) = Approvals::new(journal.clone(), policy, Asks::People);
        let tools =
            Fake { world: world.clone(), recorder: recorder.clone(), approvals: approvals.clone() };
        let tools = Arc::new(tools);
        let turns = Turns::new(TurnsHost {
            custody: door.custody().clone(),
            journal: journal.clone(),
            memory,
            conversations: conversations.clone(),
            recorder,
            models: tools.clone(),
            tools,
            agents: Arc::new(Scripts { world: world.clone(), door: Arc::clone(&door) }),
            policies: policies.map(|(name, policy)| (name, Arc::new(policy))).collect(),
            config,
            approvals: approvals.clone(),
            budgets: None,
            running: Arc::clone(door.running()),
            tasks: tasks.clone(),
            drain: drain.clone(),
        });
        turns.resume().expect("readable");
        tasks.spawn(turns.clone().keep_time());
        tasks.spawn(turns.clone().wake_decided(woken));
        tasks.spawn(approvals.clone().keep_time(drain.clone()));
        Self { turns, journal, conversations, approvals, drain, tasks }
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
        principal: foreshore_domain::identity::Principal::host(),
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
