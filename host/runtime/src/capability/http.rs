//! `wasi:http/outgoing-handler`: requests to the outside.
//!
//! Granted by `Grant::http`; linked only for components that have it. This file translates:
//! each request goes to the door as [`Effect::HttpRequest`], and what the door answers comes
//! back as a response or as the error code that `wasi:http` has for it. Nothing here connects
//! anywhere, resolves a name or decides.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use foreshore_domain::effect::{
    Effect, EffectError, EffectOutcome, HttpBodyError, HttpRequest, HttpResponse, HttpTimeouts,
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;
use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttp, WasiHttpCtxView, WasiHttpHooks,
};

use crate::limiter::count;
use crate::state::{CallScope, State};

/// Hands requests to the door. A type of its own, since it is borrowed beside the rest of
/// the store's data.
pub(crate) struct HttpDoor {
    scope: Arc<CallScope>,
}

impl HttpDoor {
    pub(crate) fn new(scope: Arc<CallScope>) -> Self {
        Self { scope }
    }
}

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    let options = types::LinkOptions::default();
    types::add_to_linker::<State, WasiHttp>(linker, &options, State::http)?;
    outgoing_handler::add_to_linker::<State, WasiHttp>(linker, State::http)
}

impl State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http_door, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Reports what happens to the rest of a message after its head; nothing does here.
type Completion = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(::http::Response<WasiBody>, Completion), Error>;

impl WasiHttpHooks for HttpDoor {
    fn send_request(
        &mut self,
        request: ::http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Completion,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let scope = Arc::clone(&self.scope);
        Box::new(async move { send(&scope, request, options.unwrap_or_default()).await })
    }
}

async fn send(
    scope: &CallScope,
    request: ::http::Request<WasiBody>,
    options: RequestOptions,
) -> Answer {
    scope.count_operation().map_err(|fired| Error::InternalError(Some(fired.to_string())))?;
    let (head, body) = request.into_parts();
    let (body, unread) = Lent::new(body);
    let request = HttpRequest {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body: body.boxed_unsync(),
        timeouts: HttpTimeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        },
    };
    match scope.effects.perform(&scope.context, Effect::HttpRequest(request)).await {
        Ok(EffectOutcome::HttpResponse(response)) => {
            Ok((translated(response), Box::new(async { Ok(()) })))
        }
        Ok(_) => Err(Error::InternalError(None)),
        Err(error) => {
            swallow(unread, scope.context.limits.http_request_max_bytes.get());
            Err(error_code(error))
        }
    }
}

/// Reads what is left of the body of a request that failed, and forgets it. A guest that is
/// still writing would otherwise find its stream closed, and report that instead of the
/// reason. The task ends with the guest's side of the body, at the latest with the call.
fn swallow(mut unread: oneshot::Receiver<WasiBody>, max_bytes: u64) {
    let Ok(mut body) = unread.try_recv() else { return };
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let mut left = max_bytes;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| count(data.len()));
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    });
}

/// A request body that comes back if it is dropped before it was read to its end.
struct Lent {
    body: Option<WasiBody>,
    owner: Option<oneshot::Sender<WasiBody>>,
}

impl Lent {
    fn new(body: WasiBody) -> (Self, oneshot::Receiver<WasiBody>) {
        let (owner, unread) = oneshot::channel();
        (Self { body: Some(body), owner: Some(owner) }, unread)
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        Pin::new(body)
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(|e| HttpBodyError::Broken(e.to_string()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(UnsyncBoxBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, UnsyncBoxBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(owner)) = (self.body.take(), self.owner.take()) {
            // Nobody takes it back if the request went well.
            let _ = owner.send(body);
        }
    }
}

fn translated(response: HttpResponse) -> ::http::Response<WasiBody> {
    let body = response.body.map_err(|error| match error {
        HttpBodyError::TooLarge { max_bytes } => Error::HttpResponseBodySize(Some(max_bytes)),
        HttpBodyError::Stalled { .. } => Error::ConnectionReadTimeout,
        _ => Error::HttpResponseIncomplete,
    });
    let mut translated = ::http::Response::new(body.boxed_unsync());
    *translated.status_mut() = response.status;
    *translated.headers_mut() = response.headers;
    translated
}

/// The code of `wasi:http` that comes nearest. The text of a denial stays on the host, in the
/// call's denials.
fn error_code(error: EffectError) -> Error {
    match error {
        EffectError::Denied(_) => Error::HttpRequestDenied,
        EffectError::NameNotResolved { .. } => {
            Error::DnsError { rcode: Some("name does not resolve".to_owned()), info_code: None }
        }
        EffectError::ConnectionFailed { .. } => Error::ConnectionRefused,
        EffectError::TlsFailed { .. } => Error::TlsProtocolError,
        EffectError::TimedOut { what: "connecting", .. } => Error::ConnectionTimeout,
        EffectError::TimedOut { .. } => Error::HttpResponseTimeout,
        EffectError::BadResponse { .. } => Error::HttpProtocolError,
        EffectError::RequestBody(HttpBodyError::TooLarge { max_bytes }) => {
            Error::HttpRequestBodySize(Some(max_bytes))
        }
        error => Error::InternalError(Some(error.to_string())),
    }
}
