//! The one wrapper around every request: its id, the checks of its head, its route, and the one
//! place where a refusal becomes a response.
//!
//! The invariant: a request gets exactly one response, whatever its handler does. A handler that
//! panics or takes too long ends its own request and nothing else.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use foreshore_control::Control;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::api;
use crate::auth::{self, Tokens};
use crate::body::Body;
use crate::config::{GatewayConfig, size};
use crate::connection::Peer;
use crate::guard;
use crate::problem::{Problem, Refusal};
use crate::pulse::Phase;
use crate::routes::{Route, Routes};
use crate::wire;

/// What a handler answers.
pub(crate) type Answer = Result<Response<Body>, Refusal>;

/// What all requests share. Made once.
pub(crate) struct Edge {
    pub(crate) control: Arc<Control>,
    pub(crate) config: GatewayConfig,
    pub(crate) routes: Routes,
    pub(crate) auth: Tokens,
    pub(crate) tools: api::tools::Listing,
    pub(crate) slow_bodies: Semaphore,
    pub(crate) uploads: Semaphore,
    /// Set once, when the server was told to stop.
    pub(crate) draining: AtomicBool,
    request_ids: RequestIds,
}

impl Edge {
    pub(crate) fn new(control: Arc<Control>, config: GatewayConfig, auth: Tokens) -> Self {
        Self {
            control,
            auth,
            slow_bodies: Semaphore::new(size(config.limits.slow_bodies_max)),
            uploads: Semaphore::new(size(config.limits.uploads_max)),
            config,
            routes: Routes::new(),
            tools: api::tools::Listing::new(),
            draining: AtomicBool::new(false),
            request_ids: RequestIds::new(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Answers one request.
pub(crate) async fn respond(
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    peer.pulse.begin_request(!request.body().is_end_stream());
    let id = peer.edge.request_ids.of(request.headers());
    let span = tracing::debug_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
        traceparent = traceparent(request.headers()),
    );
    let answer = {
        let mut handler = pin!(answer(&peer, request, &id).instrument(span));
        poll_fn(|cx| poll_contained(&peer, handler.as_mut(), cx)).await
    };
    let mut response = answer.unwrap_or_else(|problem| refuse(&problem, &id));
    tracing::debug!(
        id = id.to_str().unwrap_or_default(),
        status = response.status().as_u16(),
        "answered"
    );
    finish(&peer, &mut response, id);
    Ok(response)
}

/// Polls a handler; its panic or its lateness becomes its answer.
fn poll_contained<F>(peer: &Peer, handler: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Answer>
where
    F: Future<Output = Answer>,
{
    let limits = &peer.edge.config.limits;
    match peer.pulse.expired() {
        None => {}
        Some(Phase::Body) => {
            return Poll::Ready(Err(Problem::body_timeout(limits.body_timeout_ms)));
        }
        Some(_) => {
            return Poll::Ready(Err(Problem::request_timeout(limits.request_timeout_ms)));
        }
    }
    poll_caught(handler, cx)
}

fn poll_caught<F>(handler: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Answer>
where
    F: Future<Output = Answer>,
{
    // The handler is not polled again after a panic, so nobody sees what it left behind.
    catch_unwind(AssertUnwindSafe(|| handler.poll(cx)))
        .unwrap_or_else(|_| Poll::Ready(Err(Problem::host("a handler panicked"))))
}

async fn answer(peer: &Arc<Peer>, request: Request<Incoming>, id: &HeaderValue) -> Answer {
    let (mut head, body) = request.into_parts();
    guard::check(&peer.edge.config, peer.local, &head)?;
    let path = head.uri.path().to_owned();
    let matched = peer.edge.routes.find(&head.method, &path);
    // Who asks comes before what is asked for: a stranger learns of no path.
    let access = matched.as_ref().map(|found| (found.row.route, found.row.access(&head.method)));
    if let Err(problem) = auth::admit(peer, &mut head, id, access) {
        return shaped(access.map(|(route, _)| route), problem);
    }
    let matched = matched
        .ok_or_else(|| Problem::not_found("no such path; /openapi.json lists those there are"))?;
    if matched.row.access(&head.method).is_none() {
        return Err(Problem::method_not_allowed(&matched.row.allow()));
    }
    let name = &*matched.name;
    match matched.row.route {
        Route::Call => api::calls::call(peer, &head, body, name, id).await,
        Route::Tools => api::tools::list(&peer.edge, &head),
        Route::Tool => api::tools::show(&peer.edge, &head, name),
        Route::Components => api::components::list(&peer.edge, &head),
        Route::Component => api::components::one(peer, &head, body, name).await,
        Route::Namespaces => api::memory::namespaces(peer, &head).await,
        Route::Namespace => api::memory::list(peer, &head, name),
        Route::Record => api::memory::record(peer, &head, body, (name, &matched.second)).await,
        Route::Versions => api::memory::versions(peer, &head, (name, &matched.second)),
        Route::Search => api::memory::search(peer, &head, body, name).await,
        Route::Relations => api::graph::relations(peer, &head, body, name).await,
        Route::Paths => api::graph::paths(peer, &head, name).await,
        Route::FileRoots => api::files::roots(peer, &head).await,
        Route::FileChanges => api::files::changes(peer, &head).await,
        Route::FileVersions => api::files::versions(peer, &head).await,
        Route::FileDiff => api::files::diff(peer, &head).await,
        Route::FileRestore => api::files::restore(peer, &head, body).await,
        Route::FileApprove => api::files::approve(peer, &head, body).await,
        Route::FileUndo => api::files::undo(peer, &head, body).await,
        Route::FileScan => api::files::scan(peer, &head, body).await,
        Route::Events => api::journal::events(peer, &head).await,
        Route::Audit => api::journal::audit(peer, &head).await,
        Route::StoreStats => api::store::stats(peer, &head).await,
        Route::StoreCheck => api::store::check(peer, &head).await,
        Route::StoreVerify => api::store::verify(peer, &head, body).await,
        Route::StoreBackup => api::store::backup(peer, &head).await,
        Route::StoreRebuild => api::store::rebuild(peer, &head).await,
        Route::Agents => api::agents::list(peer, &head),
        Route::AgentTurns => api::agents::take_turn(peer, &head, body, name).await,
        Route::Turn => api::turns::show(peer, &head, name),
        Route::TurnEvents => api::turns::events(peer, &head, name),
        Route::TurnCancel => api::turns::cancel(peer, &head, name).await,
        Route::TurnReplay => api::replay::replay(peer, &head, body, name).await,
        Route::Approvals => api::turns::approvals(peer, &head),
        Route::Approval => api::turns::approval(peer, &head, body, name).await,
        Route::Conversations => api::conversations::all(peer, &head, body).await,
        Route::ConversationSearch => api::conversations::search(peer, &head, body).await,
        Route::Conversation => api::conversations::one(peer, &head, body, name).await,
        Route::ConversationTurns => api::conversations::list_turns(peer, &head, name),
        Route::ConversationEvents => api::conversations::events(peer, &head, name),
        Route::ConversationFork => api::conversations::fork(peer, &head, body, name).await,
        Route::ConversationExport => api::conversations::export(peer, &head, name),
        Route::Variables => api::conversations::variables(peer, &head, name),
        Route::Variable => {
            api::conversations::variable(peer, &head, body, (name, &matched.second)).await
        }
        Route::ChatCompletions => api::openai::chat(peer, &head, body).await,
        Route::Embeddings => api::openai::embeddings(peer, &head, body).await,
        Route::Models => api::openai::models(peer, &head).await,
        Route::Model => api::openai::model(peer, &head, name).await,
        Route::OllamaChat => api::ollama::chat(peer, &head, body).await,
        Route::OllamaGenerate => api::ollama::generate(peer, &head, body).await,
        Route::OllamaEmbed => api::ollama::embed(peer, &head, body).await,
        Route::OllamaEmbeddings => api::ollama::embeddings(peer, &head, body).await,
        Route::OllamaTags => api::ollama::tags(peer, &head).await,
        Route::OllamaShow => api::ollama::show(peer, &head, body).await,
        Route::OllamaPs => api::ollama::running(peer, &head).await,
        Route::OllamaVersion => api::ollama::version(),
        Route::OllamaChange => api::models::change(peer, body, name).await,
        Route::OllamaDelete => api::models::delete(peer, body).await,
        Route::Budgets => api::budgets::list(&peer.edge, &head),
        Route::Concurrency => api::concurrency::concurrency(peer, &head, body).await,
        Route::Limits => api::limits::show(&peer.edge, &head),
        Route::OpenApi => api::health::openapi(&head),
        Route::Health => api::health::health(),
        Route::Ready => api::health::ready(peer, &head, id),
        Route::WhoAmI => api::identity::whoami(peer, &head),
        Route::Tokens => api::identity::tokens(peer, &head, body).await,
        Route::Refresh => api::identity::refresh(peer, &head, body, id).await,
        Route::Token => api::identity::revoke(peer, &head, name).await,
        Route::Secrets => api::secrets::list(peer, &head),
        Route::Secret => api::secrets::secret(peer, &head, name, body).await,
        Route::Rekey => api::secrets::rekey(peer, &head).await,
    }
}

/// A refusal as the clients of a path read it.
fn shaped(route: Option<Route>, problem: Refusal) -> Answer {
    match route {
        Some(Route::ChatCompletions | Route::Embeddings | Route::Models | Route::Model) => {
            let header = problem.header.clone();
            Ok(with(api::openai::refused(&problem.into()), header))
        }
        Some(
            Route::OllamaChat
            | Route::OllamaGenerate
            | Route::OllamaEmbed
            | Route::OllamaEmbeddings
            | Route::OllamaTags
            | Route::OllamaShow
            | Route::OllamaPs
            | Route::OllamaVersion
            | Route::OllamaChange
            | Route::OllamaDelete,
        ) => {
            let header = problem.header.clone();
            Ok(with(api::ollama::refused(problem), header))
        }
        _ => Err(problem),
    }
}

fn with(mut response: Response<Body>, field: Option<(HeaderName, HeaderValue)>) -> Response<Body> {
    if let Some((name, value)) = field {
        response.headers_mut().insert(name, value);
    }
    response
}

/// A response with a JSON text.
pub(crate) fn json(text: Bytes) -> Response<Body> {
    typed(text.into(), HeaderValue::from_static("application/json"))
}

/// A response with a body of some type.
pub(crate) fn typed(body: Body, content_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn refuse(problem: &Problem, id: &HeaderValue) -> Response<Body> {
    let text = wire::json(&wire::ProblemSchema::new(problem, id.to_str().unwrap_or_default()), 512);
    let mut response = typed(text.into(), HeaderValue::from_static("application/problem+json"));
    *response.status_mut() = problem.status;
    if let Some((name, value)) = &problem.header {
        response.headers_mut().insert(name, value.clone());
    }
    if problem.closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What every response has.
fn finish(peer: &Peer, response: &mut Response<Body>, id: HeaderValue) {
    if matches!(response.body(), Body::Whole(_)) {
        peer.pulse.enter(Phase::Idle);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if peer.edge.is_draining() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Gives requests their ids: the client's own if it is harmless, else one of ours.
struct RequestIds {
    /// Differs from one start of the host to the next.
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let start = uuid::Uuid::now_v7().simple().to_string();
        // The random tail; the head is the time, which the log has anyway.
        Self { prefix: format!("req_{}", &start[20..]), next: AtomicU64::new(1) }
    }

    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(REQUEST_ID) {
            Some(id) if is_harmless(id) => id.clone(),
            _ => self.fresh(),
        }
    }

    fn fresh(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = String::with_capacity(self.prefix.len() + 17);
        let _ = write!(text, "{}-{number:x}", self.prefix);
        HeaderValue::from_maybe_shared(Bytes::from(text))
            .unwrap_or(HeaderValue::from_static("req_unknown"))
    }
}

/// An id goes into logs and problems, so it is short and plain.
fn is_harmless(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

/// The trace that the client is part of, if its field is well-formed (W3C Trace Context).
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let hex = |part: Option<&str>, length: usize| {
        part.is_some_and(|part| {
            part.len() == length
                && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let fine = hex(parts.next(), 2)
        && hex(parts.next(), 32)
        && hex(parts.next(), 16)
        && hex(parts.next(), 2)
        && parts.next().is_none();
    fine.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harmless_request_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new();
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            ids.of(&headers).to_str().expect("plain").to_owned()
        };
        assert_eq!(of("a-b_c.1:2"), "a-b_c.1:2");
        for bad in ["", "a b", "a\"b", "<script>", "a\tb"] {
            assert!(of(bad).starts_with("req_"), "{bad:?}");
        }
        assert_ne!(ids.fresh(), ids.fresh());
    }

    #[tokio::test]
    async fn a_panic_is_the_answer_to_its_request_and_no_more() {
        let mut handler = pin!(async {
            tokio::task::yield_now().await;
            panic!("in a handler")
        });
        let answer = poll_fn(|cx| poll_caught(handler.as_mut(), cx)).await;
        let problem = answer.err().expect("a refusal");
        assert_eq!((problem.status.as_u16(), problem.code), (500, "host_error"));
    }

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(text));
            traceparent(&headers).is_some()
        };
        assert!(of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for bad in [
            "",
            "00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(!of(bad), "{bad}");
        }
    }
}
