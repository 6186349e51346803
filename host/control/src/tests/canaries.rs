//! Canaries: secrets of every kind, in every spelling, against every way out of a guest. None gets
//! through: not to whoever watches, not to whoever called, not into the journal.

use std::sync::Mutex;

use foreshore_domain::call::{CallContext, CallError, Denials, Meter, Observer, Progress};
use foreshore_domain::component::{ComponentRef, ToolHints};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{
    Effect, EffectError, FileChange, FileChangeKind, HttpRequest, HttpTimeouts, MemoryRecord,
    MemoryWrite, MemoryWriteKind, Space,
};
use foreshore_domain::grant::{Access, Grant, HttpGrant, MemoryGrant, Mount, NamespaceGrant};
use foreshore_domain::id::{CallId, Digest};
use foreshore_domain::limits::Limits;
use foreshore_domain::memory::JsonText;
use foreshore_domain::outcome::{
    Content, ContentBody, LogLevel, LogLine, Logs, Media, Resource, ResourceBody, ToolResult,
};
use foreshore_domain::ports::Effects as _;
use foreshore_domain::secret::SecretName;
use foreshore_secrets::Zeroizing;
use foreshore_store::{Journal, JournalConfig};
use http_body_util::{BodyExt as _, Full};
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use super::guest::{Body, guest};
use super::*;
use crate::Door;
use crate::egress::{Egress, EgressConfig};
use crate::memory::Memory;
use crate::record::Recorder;
use crate::secrets::Custody;

#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "shared with tests that say so of themselves"
)]
#[path = "../../../secrets/tests/canaries/spelled.rs"]
mod spelled;

use self::spelled::{WAYS, kinds, leaks};

fn custody() -> Custody {
    let custody = Custody::default();
    let value = |(name, value): (&str, String)| {
        let name = SecretName::parse(name).expect("a name");
        (name, Arc::new(Zeroizing::new(value.into_bytes())))
    };
    custody.hold(kinds().map(value).into()).expect("held");
    custody
}

/// Each canary in each spelling, as `(what, spelled)`.
fn each() -> impl Iterator<Item = (String, Vec<u8>)> {
    kinds().into_iter().flat_map(|(kind, value)| {
        WAYS.iter().map(move |(way, spell)| (format!("{kind} in {way}"), spell(&value)))
    })
}

/// Those that are text.
fn texts() -> impl Iterator<Item = (String, String)> {
    each().filter_map(|(what, spelled)| Some((what, String::from_utf8(spelled).ok()?)))
}

#[derive(Default)]
struct Seen(Mutex<Vec<u8>>);

impl Observer for Seen {
    fn progress(&self, progress: &Progress) {
        let text = progress.message.clone().unwrap_or_default();
        self.0.lock().expect("lock").extend(text.into_bytes());
    }

    fn log(&self, line: &LogLine) {
        self.0.lock().expect("lock").extend(line.message.bytes());
    }
}

struct Fixture {
    door: Door,
    journal: Journal,
    grant: Grant,
    mount: Mount,
    address: std::net::SocketAddr,
    listener: TcpListener,
}

impl Fixture {
    async fn new() -> Self {
        let journal = Journal::in_memory(&JournalConfig::default()).expect("opens");
        let egress = Egress::new(EgressConfig::default()).expect("valid").holding(custody());
        let (recorder, memory) = (Recorder::new(journal.clone()), Memory::new(journal.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let http = HttpGrant {
            allow: vec![format!("* http://{address}/**").parse().expect("a rule")],
            networks: vec!["127.0.0.1/32".parse().expect("a network")],
            secrets: Vec::new(),
        };
        let notes = NamespaceGrant {
            pattern: "notes".parse().expect("a pattern"),
            access: Access::ReadWrite,
        };
        let mount: Mount = "./notes:/notes:rw".parse().expect("a mount");
        let grant = Grant {
            http: Some(http),
            memory: Some(MemoryGrant { namespaces: vec![notes] }),
            mounts: vec![mount.clone()],
            ..Grant::default()
        };
        let door = Door::new(egress, recorder, memory);
        Self { door, journal, grant, mount, address, listener }
    }

    fn call(&self, id: u128, observer: Option<Arc<dyn Observer>>) -> Arc<CallContext> {
        Arc::new(CallContext {
            call_id: CallId::new(u64::try_from(id).expect("small")),
            component: ComponentRef::new("guest", "1.0.0".parse().expect("a version"))
                .expect("a name"),
            digest: Digest::of(b""),
            tool: "run".into(),
            hints: ToolHints::default(),
            principal: foreshore_domain::identity::Principal::host(),
            grant: Arc::new(self.grant.clone()),
            limits: Limits::default(),
            turn: None,
            observer,
            meter: Meter::default(),
            denials: Denials::default(),
        })
    }

    /// The effect is refused as a leak, which repeats nothing of it.
    async fn refused(&self, what: &str, spelled: &[u8], effect: Effect) {
        let call = self.call(1, None);
        let Err(EffectError::Denied(denial)) = self.door.perform(&call, effect).await else {
            panic!("{what} was let through")
        };
        assert_eq!(denial.code, DenialCode::SecretLeak, "{what}: {denial}");
        assert!(!leaks(spelled, denial.to_string().as_bytes()), "{what}: {denial}");
        assert_eq!(call.denials.take(), [denial], "{what}");
    }

    fn request(&self, path: &str, field: Option<&[u8]>, body: &[u8]) -> Option<Effect> {
        let mut headers = http::HeaderMap::new();
        if let Some(field) = field {
            headers.insert("x-field", http::HeaderValue::from_bytes(field).ok()?);
        }
        let body = Full::new(Bytes::copy_from_slice(body)).map_err(|never| match never {});
        Some(Effect::HttpRequest(HttpRequest {
            method: http::Method::GET,
            uri: format!("http://{}{path}", self.address).parse().ok()?,
            headers,
            body: body.boxed_unsync(),
            timeouts: HttpTimeouts::default(),
        }))
    }
}

#[tokio::test]
async fn no_request_file_name_or_memory_holds_a_secret_in_any_spelling() {
    let fixture = Fixture::new().await;
    let mut counts = [0_usize; 6];
    for (what, spelled) in each() {
        let text = String::from_utf8(spelled.clone()).unwrap_or_default();
        // What comes after a number sign is no part of what is sent.
        let url = (!text.contains('#')).then_some(text.as_str());
        let path = url.and_then(|text| fixture.request(&format!("/{text}"), None, b""));
        let query = url.and_then(|text| fixture.request(&format!("/?q={text}"), None, b""));
        let header = fixture.request("/", Some(&spelled), b"");
        let name = (!text.is_empty()).then(|| {
            let kind = FileChangeKind::CreateDirectory;
            let mount = fixture.mount.clone();
            Effect::ChangeFile(FileChange { mount, path: text.clone(), kind })
        });
        let put = |key: &str, value: &str| {
            let record = MemoryRecord {
                key: key.to_owned().try_into().ok()?,
                value: JsonText::parse(value).ok()?,
                tags: Default::default(),
                importance: Default::default(),
                ttl: None,
                expected_version: None,
            };
            let space = Space::Namespace("notes".to_owned().try_into().ok()?);
            Some(Effect::Remember(MemoryWrite { space, kind: MemoryWriteKind::Put(record) }))
        };
        let written = serde_json::Value::from(text.as_str()).to_string();
        let value = (!text.is_empty()).then(|| put("key", &written)).flatten();
        let key = (!text.is_empty()).then(|| put(&text, "1")).flatten();
        let sinks = [path, query, header, name, value, key];
        for (count, effect) in counts.iter_mut().zip(sinks) {
            if let Some(effect) = effect {
                *count += 1;
                fixture.refused(&what, &spelled, effect).await;
            }
        }
    }
    // A fragment, a control character or a blank is none of a URL's or a header's.
    assert!(counts[0] > 90 && counts[1] > 90 && counts[2] > 140, "{counts:?}");
    assert!(counts[3] > 150 && counts[4] > 150 && counts[5] > 40, "{counts:?}");
    println!("refused by path, query, header, file name, memory value, memory key: {counts:?}");
    fixture.journal.flush().await;
    assert!(fixture.journal.read(1, 10).expect("readable").is_empty(), "nothing was intended");
    let came =
        tokio::time::timeout(std::time::Duration::from_millis(20), fixture.listener.accept());
    assert!(came.await.is_err(), "nothing was sent");
}

#[tokio::test]
async fn whoever_watches_sees_no_secret_in_any_spelling() {
    let fixture = Fixture::new().await;
    for (number, (what, text)) in texts().enumerate() {
        let number = u128::try_from(number).expect("small");
        for effect in [
            Effect::Progress(Progress { done: 1.0, total: None, message: Some(text.clone()) }),
            Effect::Log(LogLine { level: LogLevel::Info, message: text.clone() }),
        ] {
            let seen = Arc::new(Seen::default());
            let call = fixture.call(number, Some(seen.clone()));
            fixture.door.note(&call, effect);
            let seen = seen.0.lock().expect("lock").clone();
            assert!(!leaks(text.as_bytes(), &seen), "{what}: {}", String::from_utf8_lossy(&seen));
            assert!(String::from_utf8_lossy(&seen).contains("[secret:"), "{what}");
            fixture.door.call_ended(call.call_id);
        }
    }
}

#[tokio::test]
async fn a_secret_that_is_cut_in_two_lines_is_not_told_in_full() {
    let fixture = Fixture::new().await;
    let (_, token) = &kinds()[0];
    let seen = Arc::new(Seen::default());
    let call = fixture.call(1, Some(seen.clone()));
    for part in [&token[..9], &token[9..]] {
        let line = LogLine { level: LogLevel::Info, message: part.to_owned() };
        fixture.door.note(&call, Effect::Log(line));
    }
    let seen = String::from_utf8(seen.0.lock().expect("lock").clone()).expect("text");
    assert_eq!(seen, format!("{}[secret:token]", &token[..9]));
}

#[test]
fn no_result_line_or_error_holds_a_secret_in_any_spelling() {
    let held = custody().held().expect("held");
    for (what, spelled) in each() {
        let media = |data: &[u8]| Media { data: data.to_vec(), mime_type: "image/png".to_owned() };
        let mut result = ToolResult::default();
        let content = |body| Content { body, annotations: None };
        result.content.push(content(ContentBody::Image(media(&spelled))));
        let mut logs = Logs::default();
        let mut errors = Vec::new();
        if let Ok(text) = String::from_utf8(spelled.clone()) {
            let json = || {
                let value = serde_json::json!({ "a": [{ text.clone(): 1 }, text.clone()] });
                serde_json::value::to_raw_value(&value).expect("JSON")
            };
            result.structured = Some(json());
            result.content.push(Content::text(format!("here: {text}")));
            result.content.push(content(ContentBody::Json(json())));
            result.content.push(content(ContentBody::Resource(Resource {
                uri: format!("file:///{text}"),
                name: text.clone(),
                description: Some(text.clone()),
                mime_type: Some(text.clone()),
                body: ResourceBody::Text(text.clone()),
            })));
            let line =
                |message: &str| LogLine { level: LogLevel::Info, message: message.to_owned() };
            logs.lines.push(line(&text));
            let component = ComponentRef::new("guest", "1.0.0".parse().expect("a version"));
            let component = component.expect("a name");
            errors.push(CallError::Trap { component, message: text.clone() });
            let (subject, grant) = (text.clone(), String::new());
            let denial = Denial { code: DenialCode::DeniedByTool, subject, grant };
            errors.push(CallError::Denied(denial));
            errors.push(CallError::Refused { message: text.clone() });
        }
        held.scrub_result(&mut result);
        held.scrub_logs(&mut logs);
        errors.iter_mut().for_each(|error| held.scrub_error(error));
        // Of bytes, debug output says numbers.
        let ContentBody::Image(media) = result.content.remove(0).body else { panic!("an image") };
        assert!(!leaks(&spelled, &media.data), "{what}");
        let out = format!("{errors:?}{logs:?}{result:?}");
        assert!(!leaks(&spelled, out.as_bytes()), "{what}: {out}");
        if let Some(structured) = &result.structured {
            assert!(!leaks(&spelled, structured.get().as_bytes()), "{what}");
            serde_json::from_str::<serde_json::Value>(structured.get()).expect("still JSON");
        }
    }
}

#[test]
fn a_json_text_stays_json_whatever_a_secret_is_spread_over() {
    let custody = Custody::default();
    let digits = Arc::new(Zeroizing::new(b"123456789012".to_vec()));
    custody.hold([(SecretName::parse("pin").expect("a name"), digits)].into()).expect("held");
    let held = custody.held().expect("held");
    for (given, told) in [
        (r#"{"a":"\u0031\u0032\u0033456789012"}"#, r#"{"a":"[secret:pin]"}"#),
        (r#"{"a":123456789012}"#, r#""[secret:pin]""#),
        (r#"{"a":12345678901}"#, r#"{"a":12345678901}"#),
    ] {
        let mut json = RawValue::from_string(given.to_owned()).expect("JSON");
        let mut result = ToolResult { structured: Some(json.clone()), ..ToolResult::default() };
        held.scrub_result(&mut result);
        json = result.structured.expect("there");
        assert_eq!(json.get(), told);
    }
}

#[tokio::test]
async fn what_a_guest_gives_back_is_marked_and_its_log_too() {
    let place = Place::new();
    let control = start(place.config(&[&guest("echo@1.2.3", Body::Echo).build()])).await;
    let arguments = r#"{"a": "it is sk-live-9fQ2xLr7TzVb4Wc8NmKe, is it not"}"#;
    let before = call(&control, "echo.run", arguments).await.expect("an outcome");
    assert_eq!(before.result.structured.expect("structured").get(), arguments);

    let name = SecretName::parse("token").expect("a name");
    let value = Zeroizing::new(b"sk-live-9fQ2xLr7TzVb4Wc8NmKe".to_vec());
    let by = foreshore_domain::identity::Principal::host();
    control.secrets().set(name.clone(), value, &by).await.expect("set");
    let after = call(&control, "echo.run", arguments).await.expect("an outcome");
    let told = after.result.structured.expect("structured");
    assert_eq!(told.get(), r#"{"a":"it is [secret:token], is it not"}"#);
    let events = control.journal().read(1, usize::MAX).expect("readable");
    let recorded: Vec<u8> = events.iter().flat_map(|event| event.payload.iter().copied()).collect();
    assert!(!leaks(b"sk-live-9fQ2xLr7TzVb4Wc8NmKe", &recorded));

    control.secrets().remove(&name, &by).await.expect("removed");
    let gone = call(&control, "echo.run", arguments).await.expect("an outcome");
    assert_eq!(gone.result.structured.expect("structured").get(), arguments);
}
