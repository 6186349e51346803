//! The door: every effect of every guest, in one order.
//!
//! > identify -> policy -> approval -> budget -> journal -> perform -> record
//!
//! *Identify* is done by the time an effect arrives: the runtime hands over the context of the
//! call that asks, and a guest has no way to name another. *Approval* has its place between
//! policy and budget, marked below; this version asks nobody, so what policy allows needs no
//! approval. Deliberately absent: how HTTP is done (`egress`) and how files are changed (the
//! runtime, through the handle of the mount, once the door let it through). Memory is looked up
//! and changed in `effects/memory.rs`; what only an agent asks is in `effects/agent.rs`.
//!
//! Invariants: an effect that changes something outside is performed only after its intent is
//! on disk, and a denial is in `call.denials` before the guest hears of it. `invoke` records
//! the denials of a call from there, so those the runtime finds by itself are recorded too.

pub(crate) mod agent;
mod memory;

use std::sync::Arc;

use foreshore_domain::call::{CallContext, Progress};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{
    Effect, EffectError, EffectOutcome, FileChange, FileChangeKind, HttpRequest, HttpResponse,
    ReplyPart,
};
use foreshore_domain::grant::{Access, mount_grant};
use foreshore_domain::id::CallId;
use foreshore_domain::outcome::{LogLevel, LogLine};
use foreshore_domain::ports::{BoxFuture, Effects};

use crate::egress::Egress;
use crate::egress::secrets::leak;
use crate::intents::Intents;
use crate::memory::Memory;
use crate::record::{HttpEnd, Recorder, shortened};
use crate::secrets::Custody;
use crate::secrets::custody::Sink;
use crate::turns::running::Running;

/// The door. See the module.
pub struct Door {
    egress: Egress,
    recorder: Recorder,
    intents: Intents,
    memory: Memory,
    running: Arc<Running>,
}

/// The longest message of a guest's progress that is passed on.
const PROGRESS_MESSAGE_MAX_CHARS: usize = 1_024;

impl Door {
    pub(crate) fn new(egress: Egress, recorder: Recorder, memory: Memory) -> Self {
        let running = Arc::default();
        Self { egress, recorder, intents: Intents::default(), memory, running }
    }

    /// The turns that run, whose effects come here.
    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// The secrets that no guest may tell of.
    pub(crate) fn custody(&self) -> &Custody {
        self.egress.custody()
    }

    /// Forgets what it kept of a call that has ended.
    pub(crate) fn call_ended(&self, call_id: CallId) {
        self.intents.forget(call_id);
        self.custody().call_ended(call_id);
    }

    async fn http(
        &self,
        call: &Arc<CallContext>,
        request: HttpRequest,
    ) -> Result<HttpResponse, EffectError> {
        let subject = http_subject(&request);
        // Approval will stand here: after policy, which `egress` asks first, and before budget.
        if !request.method.is_safe() {
            self.egress.check(call, &request)?;
            self.recorder
                .intended(call, "http-request", &subject, None)
                .await
                .map_err(|error| EffectError::NotRecorded(error.to_string()))?;
        }
        let result = self.egress.send(call, request).await;
        let end = match &result {
            Ok(response) => HttpEnd::Status(response.status.as_u16()),
            // Recorded as the denial that it is, with the others of the call.
            Err(EffectError::Denied(_)) => return result,
            Err(error) => HttpEnd::Error(error.to_string()),
        };
        self.recorder.http_performed(call, subject, end);
        result
    }

    async fn change_file(&self, call: &CallContext, change: FileChange) -> Result<(), EffectError> {
        let path = guest_path(&change, &change.path);
        self.check_names(call, &path, &change)?;
        if let Some(denial) = deny_change(call, &change, &path) {
            call.denials.push(denial.clone());
            return Err(denial.into());
        }
        // Approval will stand here. The budget of bytes and entries is the mount's quota, which
        // the runtime holds to as it performs: only there is it known what a write adds.
        if self.intents.covers(call.call_id, &path, &change.kind) {
            return Ok(());
        }
        let (verb, detail) = file_words(&change);
        let subject = format!("{verb} {path}");
        self.recorder
            .intended(call, "change-file", &subject, detail.as_deref())
            .await
            .map_err(|error| EffectError::NotRecorded(error.to_string()))?;
        self.intents.note(call.call_id, path, &change.kind);
        Ok(())
    }
}

impl Door {
    /// Names of files outlive the call, and are recorded.
    fn check_names(
        &self,
        call: &CallContext,
        path: &str,
        change: &FileChange,
    ) -> Result<(), EffectError> {
        let Some(held) = self.custody().held() else { return Ok(()) };
        let to = match &change.kind {
            FileChangeKind::Rename { to } | FileChangeKind::Link { to } => to,
            FileChangeKind::Symlink { target } => target,
            _ => "",
        };
        let found = held.scanner.find(path.as_bytes());
        match found.or_else(|| held.scanner.find(to.as_bytes())) {
            None => Ok(()),
            Some(name) => Err(leak(call, "the name of a file", name).into()),
        }
    }

    /// A text that goes out at once, without secrets. What a turn says is cut anew at each run, so
    /// of that nothing is kept.
    fn said(&self, call: &CallContext, sink: Sink, text: &mut String) {
        let Some(held) = self.custody().held() else { return };
        if call.turn.is_some() {
            held.text(text);
        } else if let Some(redacted) = self.custody().said(call.call_id, sink, text) {
            *text = redacted;
        }
    }
}

impl Effects for Door {
    fn perform<'a>(
        &'a self,
        call: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        Box::pin(async move {
            match effect {
                Effect::HttpRequest(request) => {
                    self.http(call, request).await.map(EffectOutcome::HttpResponse)
                }
                Effect::ChangeFile(change) => {
                    self.change_file(call, change).await.map(|()| EffectOutcome::Done)
                }
                Effect::Recall(read) => self.recall(call, read).await.map(EffectOutcome::Recalled),
                Effect::Remember(write) => {
                    self.remember(call, write).await.map(EffectOutcome::Remembered)
                }
                Effect::Agent(effect) => {
                    let outcome = self.agent(call, *effect).await?;
                    Ok(EffectOutcome::Agent(Box::new(outcome)))
                }
                effect @ (Effect::Reply(_) | Effect::Progress(_) | Effect::Log(_)) => {
                    self.note(call, effect);
                    Ok(EffectOutcome::Done)
                }
            }
        })
    }

    fn note(&self, call: &CallContext, effect: Effect) {
        match effect {
            Effect::Progress(_) | Effect::Log(_) if self.is_on_record(call) => {}
            Effect::Progress(mut progress) => {
                if let Some(message) = &mut progress.message {
                    self.said(call, Sink::Progress, message);
                }
                note_progress(call, progress);
            }
            Effect::Log(mut line) => {
                self.said(call, Sink::Log, &mut line.message);
                note_log(call, &line);
            }
            Effect::Reply(mut part) => {
                match &mut part {
                    ReplyPart::Text(text) | ReplyPart::Thinking(text) => {
                        self.said(call, Sink::Reply, text);
                    }
                    ReplyPart::Phase { name, message } => {
                        for text in std::iter::once(name).chain(message) {
                            self.said(call, Sink::Reply, text);
                        }
                    }
                }
                self.reply(call, part);
            }
            // Only what nobody waits for can be noted; the rest was not asked of `perform`, so
            // it is not done.
            Effect::Agent(_)
            | Effect::HttpRequest(_)
            | Effect::ChangeFile(_)
            | Effect::Recall(_)
            | Effect::Remember(_) => {
                tracing::error!(effect = effect.kind(), "an effect was noted instead of performed");
            }
        }
    }
}

fn note_progress(call: &CallContext, mut progress: Progress) {
    let Some(observer) = &call.observer else { return };
    progress.message =
        progress.message.map(|message| shortened(&message, PROGRESS_MESSAGE_MAX_CHARS));
    observer.progress(&progress);
}

/// A line goes to whoever watches and to the operator's log, there under the guest's name. The
/// runtime has cut it, escaped it and counted it; the log gets nothing that it did not check.
fn note_log(call: &CallContext, line: &LogLine) {
    if let Some(observer) = &call.observer {
        observer.log(line);
    }
    macro_rules! emit {
        ($level:ident) => {
            tracing::event!(
                target: "foreshore::guest",
                tracing::Level::$level,
                call_id = %call.call_id,
                component = %call.component,
                tool = %call.tool,
                "{}",
                Escaped(&line.message)
            )
        };
    }
    match line.level {
        LogLevel::Trace => emit!(TRACE),
        LogLevel::Debug => emit!(DEBUG),
        LogLevel::Info => emit!(INFO),
        LogLevel::Warn => emit!(WARN),
        LogLevel::Error => emit!(ERROR),
    }
}

/// A text without control characters, made only if it is written out.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Where a request goes, without the query, which may hold what nobody wants kept.
fn http_subject(request: &HttpRequest) -> String {
    let uri = &request.uri;
    format!(
        "{} {}://{}{}",
        request.method,
        uri.scheme_str().unwrap_or("http"),
        uri.authority().map_or("", |authority| authority.as_str()),
        uri.path(),
    )
}

/// The denial of a change, if policy does not allow it: the mount must be one of the call's own
/// and let itself be written, and so must wherever the change leads.
fn deny_change(call: &CallContext, change: &FileChange, path: &str) -> Option<Denial> {
    let granted = call.grant.mounts.contains(&change.mount);
    if !granted || change.mount.access == Access::ReadOnly {
        let code = if granted { DenialCode::MountReadOnly } else { DenialCode::MountNotGranted };
        let host = change.mount.host.display().to_string();
        let guest = change.mount.guest.as_str();
        let grant = mount_grant(&call.component, &host, guest, Access::ReadWrite);
        return Some(Denial { code, subject: path.to_owned(), grant });
    }
    match &change.kind {
        FileChangeKind::Rename { to } | FileChangeKind::Link { to } => {
            call.grant.deny_path(&call.component, &guest_path(change, to), Access::ReadWrite)
        }
        _ => None,
    }
}

/// A path as the guest sees it.
fn guest_path(change: &FileChange, path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", change.mount.guest.as_str().trim_end_matches('/'))
    }
}

fn file_words(change: &FileChange) -> (&'static str, Option<String>) {
    match &change.kind {
        FileChangeKind::Write { truncate: true, .. } => ("write", Some("truncate".to_owned())),
        FileChangeKind::Write { .. } => ("write", None),
        FileChangeKind::Resize { size_bytes } => ("resize", Some(format!("{size_bytes} bytes"))),
        FileChangeKind::CreateDirectory => ("create-directory", None),
        FileChangeKind::RemoveFile => ("remove-file", None),
        FileChangeKind::RemoveDirectory => ("remove-directory", None),
        FileChangeKind::Rename { to } => ("rename", Some(guest_path(change, to))),
        FileChangeKind::Link { to } => ("link", Some(guest_path(change, to))),
        FileChangeKind::Symlink { target } => ("symlink", Some(target.clone())),
        FileChangeKind::SetTimes => ("set-times", None),
    }
}
