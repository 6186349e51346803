//! Outgoing HTTP: what reaches the door, and what of its answers reaches the guest.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{HttpBodyError, HttpResponse};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::*;
use crate::capability::http::HttpDoor;
use crate::state::CallScope;

/// What a door answers to a request.
type Answer = fn() -> Result<EffectOutcome, EffectError>;

struct Scripted(Answer);

impl Effects for Scripted {
    fn perform<'a>(
        &'a self,
        _: &'a Arc<CallContext>,
        effect: Effect,
    ) -> BoxFuture<'a, Result<EffectOutcome, EffectError>> {
        let Effect::HttpRequest(request) = effect else { panic!("a request") };
        assert_eq!(request.uri, "https://api.example.org/v1?x=y");
        assert_eq!(request.headers["host"], "api.example.org");
        assert_eq!(request.timeouts.connect, Some(Duration::from_secs(3)));
        Box::pin(async { (self.0)() })
    }

    fn note(&self, _: &CallContext, _: Effect) {}
}

async fn send(answer: Answer, body: WasiBody) -> Result<http::Response<WasiBody>, Error> {
    let context = context(&Arc::default(), &[]);
    let scope = Arc::new(CallScope::new(context, Arc::new(Scripted(answer))));
    let request = http::Request::post("https://api.example.org/v1?x=y")
        .header("host", "api.example.org")
        .body(body)
        .expect("a request");
    let options = RequestOptions {
        connect_timeout: Some(Duration::from_secs(3)),
        ..RequestOptions::default()
    };
    let done = Box::new(async { Ok(()) });
    Pin::from(HttpDoor::new(scope).send_request(request, Some(options), done))
        .await
        .map(|(response, _)| response)
}

fn text(text: &'static str) -> WasiBody {
    Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

#[tokio::test]
async fn a_response_comes_back_with_its_status_fields_and_body() {
    let answer = || {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-answer", http::HeaderValue::from_static("42"));
        let body = Full::new(Bytes::from_static(b"hello"));
        Ok(EffectOutcome::HttpResponse(HttpResponse {
            status: http::StatusCode::CREATED,
            headers,
            body: body.map_err(|never| match never {}).boxed_unsync(),
        }))
    };
    let response = send(answer, text("question")).await.expect("a response");
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["x-answer"], "42");
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "hello");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_an_error_of_the_response() {
    let answer = || {
        let broken = futures_stream(Err(HttpBodyError::TooLarge { max_bytes: 7 }));
        Ok(EffectOutcome::HttpResponse(HttpResponse {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: broken,
        }))
    };
    let response = send(answer, text("")).await.expect("a response");
    let error = response.into_body().collect().await.expect_err("too large");
    assert!(matches!(error, Error::HttpResponseBodySize(Some(7))), "{error:?}");
}

fn futures_stream(item: Result<Bytes, HttpBodyError>) -> foreshore_domain::effect::HttpBody {
    let (sender, mut receiver) = mpsc::channel(1);
    sender.try_send(item.map(Frame::data)).expect("room");
    drop(sender);
    http_body_util::BodyExt::boxed_unsync(PollBody(Box::new(move |context| {
        receiver.poll_recv(context)
    })))
}

type PollFrame = dyn FnMut(
        &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, HttpBodyError>>>
    + Send;

struct PollBody(Box<PollFrame>);

impl http_body::Body for PollBody {
    type Data = Bytes;
    type Error = HttpBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, HttpBodyError>>> {
        (self.0)(context)
    }
}

#[tokio::test]
async fn each_failure_has_its_code() {
    let denied = || {
        Err(EffectError::Denied(Denial {
            code: DenialCode::HttpNotGranted,
            subject: String::new(),
            grant: String::new(),
        }))
    };
    let error = send(denied, text("x")).await.expect_err("denied");
    assert!(matches!(error, Error::HttpRequestDenied), "{error:?}");
    let slow = || Err(EffectError::TimedOut { what: "connecting", limit_ms: 1 });
    let error = send(slow, text("x")).await.expect_err("slow");
    assert!(matches!(error, Error::ConnectionTimeout), "{error:?}");
    let lost = || Err(EffectError::NameNotResolved { host: String::new(), message: String::new() });
    let error = send(lost, text("x")).await.expect_err("lost");
    assert!(matches!(error, Error::DnsError { .. }), "{error:?}");
    let unrecorded = || Err(EffectError::NotRecorded("full".to_owned()));
    let error = send(unrecorded, text("x")).await.expect_err("unrecorded");
    assert!(matches!(error, Error::InternalError(Some(_))), "{error:?}");
}

#[tokio::test]
async fn a_guest_that_still_writes_a_denied_request_is_not_cut_off() {
    let denied = || {
        Err(EffectError::Denied(Denial {
            code: DenialCode::HttpNotGranted,
            subject: String::new(),
            grant: String::new(),
        }))
    };
    let (sender, mut receiver) = mpsc::channel::<Result<Frame<Bytes>, HttpBodyError>>(1);
    let body = PollBody(Box::new(move |context| receiver.poll_recv(context)))
        .map_err(|_| Error::InternalError(None))
        .boxed_unsync();
    assert!(!body.is_end_stream());
    let error = send(denied, body).await.expect_err("denied");
    assert!(matches!(error, Error::HttpRequestDenied), "{error:?}");
    for _ in 0..100 {
        let frame = Frame::data(Bytes::from_static(b"more"));
        sender.send(Ok(frame)).await.expect("somebody still reads");
    }
    // But not without end: at `http_request_max_bytes` the reader stops.
    let flood = async {
        while sender.send(Ok(Frame::data(Bytes::from(vec![0; 64 << 10])))).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(10), flood).await.expect("the reader stops");
}
