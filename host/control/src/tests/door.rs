//! The door alone, with a real journal and a real socket: in which order it does things, and
//! what it does when one of them fails.

use std::sync::Mutex;

use foreshore_domain::call::{CallContext, Denials, Meter, Observer, Progress};
use foreshore_domain::component::{ComponentRef, ToolHints};
use foreshore_domain::denial::DenialCode;
use foreshore_domain::effect::{
    Effect, EffectError, EffectOutcome, FileChange, FileChangeKind, HttpRequest, HttpTimeouts,
    MemoryRead, MemoryReadKind, MemoryRecord, MemoryRefusal, MemoryWrite, MemoryWriteKind,
    Recalled, Remembered, Space,
};
use foreshore_domain::grant::{Access, Grant, HttpGrant, MemoryGrant, Mount, NamespaceGrant};
use foreshore_domain::id::{CallId, Digest};
use foreshore_domain::limits::Limits;
use foreshore_domain::outcome::{LogLevel, LogLine};
use foreshore_domain::ports::Effects as _;
use foreshore_store::{Journal, JournalConfig};
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::Door;
use crate::egress::{Egress, EgressConfig};
use crate::memory::Memory;
use crate::record::Recorder;

struct Fixture {
    door: Door,
    journal: Journal,
}

impl Fixture {
    fn new() -> Self {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
        let egress = Egress::new(EgressConfig::default()).expect("valid");
        let (recorder, memory) = (Recorder::new(journal.clone()), Memory::new(journal.clone()));
        Self { door: Door::new(egress, recorder, memory), journal }
    }

    async fn change(
        &self,
        call: &Arc<CallContext>,
        change: FileChange,
    ) -> Result<EffectOutcome, EffectError> {
        self.door.perform(call, Effect::ChangeFile(change)).await
    }

    async fn send(
        &self,
        call: &Arc<CallContext>,
        method: &str,
        uri: &str,
    ) -> Result<EffectOutcome, EffectError> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = HttpRequest {
            method: method.parse().expect("a method"),
            uri: uri.parse().expect("a URI"),
            headers: http::HeaderMap::new(),
            body,
            timeouts: HttpTimeouts::default(),
        };
        self.door.perform(call, Effect::HttpRequest(request)).await
    }

    /// What is on disk without waiting for more.
    fn recorded(&self) -> Vec<(String, serde_json::Value)> {
        let events = self.journal.read(1, 100).expect("readable");
        events.into_iter().map(kind_and_payload).collect()
    }
}

fn context(grant: Grant, observer: Option<Arc<dyn Observer>>) -> Arc<CallContext> {
    Arc::new(CallContext {
        call_id: CallId::new(1),
        component: ComponentRef::new("guest", "1.0.0".parse().expect("a version")).expect("a name"),
        digest: Digest::of(b""),
        tool: "run".into(),
        hints: ToolHints::default(),
        principal: foreshore_domain::identity::Principal::host(),
        grant: Arc::new(grant),
        limits: Limits::default(),
        turn: None,
        observer,
        meter: Meter::default(),
        denials: Denials::default(),
    })
}

fn mount(text: &str) -> Mount {
    text.parse().expect("a mount")
}

fn change(mount: &Mount, path: &str, kind: FileChangeKind) -> FileChange {
    FileChange { mount: mount.clone(), path: path.to_owned(), kind }
}

const WRITE: FileChangeKind = FileChangeKind::Write { create: true, truncate: true };

#[tokio::test]
async fn the_intent_of_a_change_is_on_disk_before_it_is_let_through_and_once_for_one_file() {
    let fixture = Fixture::new();
    let notes = mount("./notes:/notes:rw");
    let call = context(Grant { mounts: vec![notes.clone()], ..Grant::default() }, None);
    let write = change(&notes, "a.txt", WRITE);
    fixture.change(&call, write.clone()).await.expect("let through");
    let events = fixture.recorded();
    assert_eq!(kinds(&events), ["effect.intended"]);
    assert_eq!(events[0].1["effect"], "change-file");
    assert_eq!(events[0].1["subject"], "write /notes/a.txt");
    let resize = change(&notes, "a.txt", FileChangeKind::Resize { size_bytes: 3 });
    fixture.change(&call, resize).await.expect("let through");
    fixture.change(&call, write.clone()).await.expect("let through");
    assert_eq!(fixture.recorded().len(), 1, "one file, one commit");
    let remove = change(&notes, "a.txt", FileChangeKind::RemoveFile);
    fixture.change(&call, remove).await.expect("let through");
    assert_eq!(fixture.recorded()[1].1["subject"], "remove-file /notes/a.txt");
    fixture.door.call_ended(call.call_id);
    fixture.change(&call, write).await.expect("let through");
    assert_eq!(fixture.recorded().len(), 3, "another call has intents of its own");
}

#[tokio::test]
async fn a_change_that_no_mount_allows_is_denied_and_noted() {
    let fixture = Fixture::new();
    let (fixed, open) = (mount("./fixed:/fixed:ro"), mount("./open:/open:rw"));
    let mounts = vec![fixed.clone(), open.clone()];
    let call = context(Grant { mounts, ..Grant::default() }, None);
    let stranger = mount("./other:/open:rw");
    let into = |to: &str| FileChangeKind::Rename { to: to.to_owned() };
    let cases = [
        (change(&fixed, "a", WRITE), DenialCode::MountReadOnly, "/fixed/a"),
        (change(&stranger, "a", WRITE), DenialCode::MountNotGranted, "/open/a"),
        (change(&open, "a", into("/fixed/a")), DenialCode::MountReadOnly, "/fixed/a"),
        (change(&open, "a", into("/open/../etc/a")), DenialCode::MountNotGranted, "/open/../etc/a"),
    ];
    for (change, code, subject) in cases {
        let Err(EffectError::Denied(denial)) = fixture.change(&call, change).await else {
            panic!("{subject} was let through")
        };
        assert_eq!((denial.code, denial.subject.as_str()), (code, subject));
        assert!(denial.grant.contains("[components.guest] mounts"), "{}", denial.grant);
        assert_eq!(call.denials.last(), Some(denial), "the call does not know");
    }
    assert!(fixture.recorded().is_empty(), "what is denied is not intended");
}

#[tokio::test]
async fn nothing_is_changed_or_sent_that_cannot_be_recorded() {
    let fixture = Fixture::new();
    let (listener, grant) = listener("POST").await;
    let notes = mount("./notes:/notes:rw");
    let call = context(Grant { mounts: vec![notes.clone()], ..grant }, None);
    fixture.journal.clone().close().await;
    let changed = fixture.change(&call, change(&notes, "a", WRITE)).await;
    assert!(matches!(changed, Err(EffectError::NotRecorded(_))));
    let uri = format!("http://{}/", listener.local_addr().expect("bound"));
    let sent = fixture.send(&call, "POST", &uri).await;
    assert!(matches!(sent, Err(EffectError::NotRecorded(_))));
    let came = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(came.is_err(), "it was sent");
}

#[tokio::test]
async fn a_request_that_changes_something_is_intended_before_it_is_sent() {
    let fixture = Fixture::new();
    let (listener, grant) = listener("GET,POST").await;
    let address = listener.local_addr().expect("bound");
    let call = context(grant, None);
    // What was on disk when each request came in.
    let journal = fixture.journal.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            for _ in 0..2 {
                let (mut socket, _) = listener.accept().await.expect("a connection");
                let mut head = [0; 1_024];
                assert!(socket.read(&mut head).await.expect("a request") > 0);
                seen.lock().expect("lock").push(journal.tip().seq);
                let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                socket.write_all(answer.as_bytes()).await.expect("answered");
            }
        }
    });
    let uri = format!("http://{address}/path?secret=1");
    for method in ["GET", "POST"] {
        fixture.send(&call, method, &uri).await.expect("a response");
        fixture.journal.flush().await;
    }
    server.await.expect("no panic");
    assert_eq!(*seen.lock().expect("lock"), [0, 2], "after GET's result: the intent of POST");
    let events = fixture.recorded();
    assert_eq!(kinds(&events), ["effect.performed", "effect.intended", "effect.performed"]);
    assert_eq!(events[1].1["subject"], format!("POST http://{address}/path"));
    assert_eq!(events[2].1["status"], 204);
    assert!(events.iter().all(|(_, payload)| !payload.to_string().contains("secret")));
}

#[tokio::test]
async fn a_request_that_no_rule_allows_is_denied_and_not_intended() {
    let fixture = Fixture::new();
    let (listener, grant) = listener("GET").await;
    let call = context(grant, None);
    let uri = format!("http://{}/", listener.local_addr().expect("bound"));
    let sent = fixture.send(&call, "POST", &uri).await;
    let Err(EffectError::Denied(denial)) = sent else { panic!("it was sent") };
    assert_eq!(denial.code, DenialCode::HttpNotGranted);
    assert_eq!(call.denials.take(), [denial], "noted once");
    fixture.journal.flush().await;
    assert!(fixture.recorded().is_empty());
}

#[tokio::test]
async fn a_request_that_fails_is_recorded_as_failed() {
    let fixture = Fixture::new();
    let (listener, grant) = listener("GET").await;
    let uri = format!("http://{}/", listener.local_addr().expect("bound"));
    drop(listener);
    let sent = fixture.send(&context(grant, None), "GET", &uri).await;
    assert!(matches!(sent, Err(EffectError::ConnectionFailed { .. })));
    fixture.journal.flush().await;
    let events = fixture.recorded();
    assert_eq!(kinds(&events), ["effect.performed"]);
    assert!(events[0].1["error"].as_str().is_some_and(|text| text.contains("no connection")));
}

#[derive(Default)]
struct Watcher {
    reports: Mutex<Vec<Progress>>,
    lines: Mutex<Vec<LogLine>>,
}

impl Observer for Watcher {
    fn progress(&self, progress: &Progress) {
        self.reports.lock().expect("lock").push(progress.clone());
    }

    fn log(&self, line: &LogLine) {
        self.lines.lock().expect("lock").push(line.clone());
    }
}

#[tokio::test]
async fn whoever_watches_sees_progress_and_lines_and_no_control_characters() {
    let fixture = Fixture::new();
    let watcher = Arc::new(Watcher::default());
    let call = context(Grant::default(), Some(watcher.clone()));
    let message = Some(format!("\u{1b}[2J{}", "x".repeat(5_000)));
    let progress = Progress { done: 1.0, total: Some(2.0), message };
    fixture.door.note(&call, Effect::Progress(progress.clone()));
    fixture.door.perform(&call, Effect::Progress(progress)).await.expect("noted");
    let line = LogLine { level: LogLevel::Info, message: "a line".to_owned() };
    fixture.door.note(&call, Effect::Log(line.clone()));
    let reports = watcher.reports.lock().expect("lock");
    assert_eq!(reports.len(), 2);
    let message = reports[0].message.as_deref().expect("a message");
    assert!(message.starts_with("\\u{1b}[2Jx") && message.len() < 1_100, "{message}");
    assert_eq!(*watcher.lines.lock().expect("lock"), [line]);
}

/// A socket on loopback, and the grant that lets these methods reach it.
async fn listener(methods: &str) -> (TcpListener, Grant) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let http = HttpGrant {
        allow: vec![format!("{methods} http://{address}/**").parse().expect("a rule")],
        networks: vec!["127.0.0.1/32".parse().expect("a network")],
        secrets: Vec::new(),
    };
    (listener, Grant { http: Some(http), ..Grant::default() })
}

fn namespace(name: &str) -> Space {
    Space::Namespace(name.to_owned().try_into().expect("a namespace"))
}

fn memory_call(name: &str, access: Access) -> Arc<CallContext> {
    let granted = NamespaceGrant { pattern: name.parse().expect("a pattern"), access };
    let memory = Some(MemoryGrant { namespaces: vec![granted] });
    context(Grant { memory, ..Grant::default() }, None)
}

fn put(space: Space, expected_version: Option<u64>) -> Effect {
    let record = MemoryRecord {
        key: "a".to_owned().try_into().expect("a key"),
        value: foreshore_domain::memory::JsonText::parse("\"tide\"").expect("JSON"),
        tags: Default::default(),
        importance: Default::default(),
        ttl: None,
        expected_version,
    };
    Effect::Remember(MemoryWrite { space, kind: MemoryWriteKind::Put(record) })
}

fn get(space: Space) -> Effect {
    let key = "a".to_owned().try_into().expect("a key");
    Effect::Recall(MemoryRead { space, kind: MemoryReadKind::Get { key } })
}

#[tokio::test]
async fn a_change_of_memory_is_on_disk_with_the_calls_own_event_before_its_version_is_told() {
    let fixture = Fixture::new();
    let call = memory_call("notes", Access::ReadWrite);
    let told = fixture.door.perform(&call, put(namespace("notes"), None)).await.expect("written");
    assert!(matches!(told, EffectOutcome::Remembered(Remembered::Version(1))));
    let events = fixture.recorded();
    assert_eq!(kinds(&events), ["memory.put", "effect.performed"]);
    assert_eq!(events[0].1["origin"], "tool:guest");
    assert_eq!(events[1].1["effect"], "remember");
    assert_eq!(events[1].1["subject"], "put notes/a");
    let stale = fixture.door.perform(&call, put(namespace("notes"), Some(7))).await;
    let Err(EffectError::Memory(MemoryRefusal::Conflict { actual, .. })) = stale else {
        panic!("a conflict")
    };
    assert_eq!(actual, 1);
    assert_eq!(fixture.recorded().len(), 2, "what did not happen is not recorded as done");
}

#[tokio::test]
async fn memory_that_is_not_granted_is_denied_noted_and_unchanged() {
    let fixture = Fixture::new();
    let call = memory_call("notes", Access::ReadOnly);
    for (effect, code) in [
        (put(namespace("notes"), None), DenialCode::MemoryReadOnly),
        (put(namespace("notes2"), None), DenialCode::MemoryNotGranted),
        (get(namespace("notes2")), DenialCode::MemoryNotGranted),
        (get(namespace("kv.guest")), DenialCode::MemoryNotGranted),
        (put(Space::Bucket, None), DenialCode::MemoryNotGranted),
    ] {
        let Err(EffectError::Denied(denial)) = fixture.door.perform(&call, effect).await else {
            panic!("denied")
        };
        assert_eq!(denial.code, code);
        assert_eq!(call.denials.last(), Some(denial));
    }
    assert!(fixture.recorded().is_empty());
    let told = fixture.door.perform(&call, get(namespace("notes"))).await.expect("allowed");
    assert!(matches!(told, EffectOutcome::Recalled(Recalled::Entry(None))));
}
