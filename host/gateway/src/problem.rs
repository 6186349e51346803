//! A request that is not served: what it is answered with (RFC 9457), and the refusals that the
//! edge itself has. How failures of `control` become problems is in [`crate::error`].
//!
//! A problem's `detail` is for the client. What is only for the operator is logged where the
//! problem is made, and never sent.

use std::num::NonZeroU64;
use std::time::Duration;

use foreshore_domain::id::CallId;
use foreshore_domain::outcome::Usage;
use http::header::{ACCEPT, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::routes::Access;

/// A request that is not served, boxed because it is the rare case.
pub(crate) type Refusal = Box<Problem>;

/// Why a request is not served (RFC 9457).
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable; part of the API.
    pub(crate) code: &'static str,
    /// The same for every problem of one code.
    pub(crate) title: &'static str,
    pub(crate) detail: String,
    /// The field that goes with the status: `Allow`, `Accept`, `Retry-After`.
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
    /// What is left of the request is not read, so the connection cannot go on.
    pub(crate) closes: bool,
    pub(crate) call_id: Option<CallId>,
    pub(crate) usage: Option<Usage>,
    pub(crate) grant: Option<String>,
    pub(crate) setting: Option<String>,
    pub(crate) allowed: Option<u64>,
    pub(crate) pointer: Option<String>,
    pub(crate) suggestion: Option<String>,
    pub(crate) actual_version: Option<u64>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Refusal {
        Box::new(Self {
            status,
            code,
            title,
            detail: detail.into(),
            header: None,
            closes: false,
            call_id: None,
            usage: None,
            grant: None,
            setting: None,
            allowed: None,
            pointer: None,
            suggestion: None,
            actual_version: None,
        })
    }

    fn closing(mut self: Box<Self>) -> Refusal {
        self.closes = true;
        self
    }

    fn with_header(mut self: Box<Self>, name: HeaderName, value: HeaderValue) -> Refusal {
        self.header = Some((name, value));
        self
    }

    fn with_edge_limit(mut self: Box<Self>, name: &str, allowed: NonZeroU64) -> Refusal {
        self.setting = Some(format!("server.limits.{name}"));
        self.allowed = Some(allowed.get());
        self
    }

    pub(crate) fn with_retry_after(self: Box<Self>, retry_after: Duration) -> Refusal {
        // Whole seconds (RFC 9110, section 10.2.3), rounded up: zero would mean "at once".
        let seconds = retry_after.as_millis().div_ceil(1_000).max(1);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    // The head of a request.

    pub(crate) fn target_form() -> Refusal {
        Self::new(
            StatusCode::BAD_REQUEST,
            "target_form",
            "The request's target has a form that only proxies take",
            "this is no proxy: write the target as a path, such as /v1/tools",
        )
        .closing()
    }

    pub(crate) fn target_too_long(allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::URI_TOO_LONG,
            "target_too_long",
            "The request's target is too long",
            format!("path and query take at most {allowed} bytes"),
        )
        .with_edge_limit("target_max_bytes", allowed)
        .closing()
    }

    pub(crate) fn too_many_headers(allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too_many_headers",
            "The request has too many header fields",
            format!("a request takes at most {allowed} header fields"),
        )
        .with_edge_limit("headers_max", allowed)
        .closing()
    }

    pub(crate) fn head_too_large(allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head_too_large",
            "The request's header is too large",
            format!("request line and header fields take at most {allowed} bytes together"),
        )
        .with_edge_limit("head_max_bytes", allowed)
        .closing()
    }

    pub(crate) fn host_required() -> Refusal {
        Self::new(
            StatusCode::BAD_REQUEST,
            "host_required",
            "The request does not name one host",
            "send exactly one Host field, with a name or an address and perhaps a port",
        )
        .closing()
    }

    pub(crate) fn host_not_allowed(host: &str) -> Refusal {
        let mut problem = Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_not_allowed",
            "This server does not go by that name",
            format!("\"{host}\" is not among the names of this server"),
        )
        .closing();
        problem.grant = Some(format!("[server] hosts = [\"{host}\"]"));
        problem
    }

    pub(crate) fn origin_not_allowed() -> Refusal {
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "A page of another origin cannot change things here",
            "the Origin field names an origin that is not this server's",
        )
        .closing();
        problem.grant = Some("[server] origins = [\"https://ORIGIN\"]".to_owned());
        problem
    }

    // Who asks.

    pub(crate) fn unauthenticated() -> Refusal {
        let mut problem = Self::new(
            StatusCode::UNAUTHORIZED,
            "authentication_required",
            "The request does not say who asks",
            "send Authorization: Bearer TOKEN, with an API key or an access token",
        )
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"foreshore\""));
        problem.grant = Some("foreshore token issue NAME --role caller".to_owned());
        problem
    }

    pub(crate) fn invalid_token(why: String) -> Refusal {
        let challenge =
            HeaderValue::from_static("Bearer realm=\"foreshore\", error=\"invalid_token\"");
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "The credential does not count", why)
            .with_header(WWW_AUTHENTICATE, challenge)
    }

    pub(crate) fn loopback_only() -> Refusal {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "loopback_only",
            "A server without authentication serves this machine alone",
            "the server runs with --insecure-no-auth; connect from the machine that it runs on",
        )
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"foreshore\""))
    }

    pub(crate) fn permission_denied(access: Access) -> Refusal {
        let wanted = match access {
            Access::Public | Access::Known => String::new(),
            Access::Needs(permission) => permission.to_string(),
            Access::Either(one, other) => format!("{one} or {other}"),
        };
        let mut problem = Self::new(
            StatusCode::FORBIDDEN,
            "permission_denied",
            "The credential does not permit this",
            format!("this takes the permission {wanted}"),
        );
        problem.grant = Some(format!("a role with {wanted}"));
        problem
    }

    // How often.

    pub(crate) fn rate_limited(
        setting: &'static str,
        allowed: NonZeroU64,
        wait: Duration,
    ) -> Refusal {
        Self::too_many(setting, allowed, "this client has asked too often; come back later")
            .with_retry_after(wait)
    }

    pub(crate) fn too_many_at_work(allowed: NonZeroU64) -> Refusal {
        let detail = format!("{allowed} requests of this principal are at work; let one end first");
        Self::too_many("concurrent_per_principal", allowed, detail)
            .with_retry_after(Duration::from_secs(1))
    }

    fn too_many(setting: &str, allowed: NonZeroU64, detail: impl Into<String>) -> Refusal {
        let (status, title) = (StatusCode::TOO_MANY_REQUESTS, "The client asks too much");
        let mut problem = Self::new(status, "rate_limited", title, detail);
        problem.setting = Some(format!("server.rates.{setting}"));
        problem.allowed = Some(allowed.get());
        problem
    }

    // What is asked for.

    pub(crate) fn not_found(what: &str) -> Refusal {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such thing here", what)
    }

    pub(crate) fn unknown_component(name: &str) -> Refusal {
        Self::no_component(format!("no component is called \"{}\"", name.escape_default()))
    }

    pub(crate) fn no_component(detail: String) -> Refusal {
        Self::new(StatusCode::NOT_FOUND, "unknown_component", "No component has this name", detail)
    }

    pub(crate) fn method_not_allowed(allow: &str) -> Refusal {
        let methods = HeaderValue::from_str(allow).unwrap_or(HeaderValue::from_static(""));
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This path does not take that method",
            format!("this path takes {allow}"),
        )
        .with_header(ALLOW, methods)
    }

    pub(crate) fn not_acceptable(offered: &'static str) -> Refusal {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "No form of the answer is acceptable to the client",
            format!("this path answers with {offered}"),
        )
    }

    pub(crate) fn unsupported_media_type(wanted: &'static str) -> Refusal {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "The body is of a type that this path does not take",
            format!("send the body as {wanted}, without a content coding"),
        )
        .with_header(ACCEPT, HeaderValue::from_static(wanted))
    }

    pub(crate) fn invalid_limits(code: &'static str, detail: String) -> Refusal {
        Self::new(
            StatusCode::BAD_REQUEST,
            code,
            "The Foreshore-Limits field cannot be read",
            detail,
        )
    }

    pub(crate) fn invalid_query(detail: &str) -> Refusal {
        Self::new(StatusCode::BAD_REQUEST, "invalid_query", "The query cannot be read", detail)
    }

    // The body of a request.

    /// A body whose parts are not what they should be; `pointer` is where (RFC 6901).
    pub(crate) fn invalid_body(pointer: &str, detail: impl Into<String>) -> Refusal {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let mut problem = Self::new(status, "invalid_body", "The body cannot be taken", detail);
        problem.pointer = Some(pointer.to_owned());
        problem
    }

    pub(crate) fn json_too_deep(allowed: NonZeroU64) -> Refusal {
        let detail = format!("arrays and objects lie within each other at most {allowed} deep");
        Self::invalid_body("", detail).with_edge_limit("json_depth_max", allowed)
    }

    pub(crate) fn name_twice(name: &str) -> Refusal {
        let shown: String = name.chars().take(64).collect();
        let shown = shown.escape_default();
        Self::invalid_body("", format!("the name \"{shown}\" stands twice in one object"))
    }

    pub(crate) fn body_too_large(setting: &'static str, allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The request's body is too large",
            format!("the body takes at most {allowed} bytes"),
        )
        .with_edge_limit(setting, allowed)
        .closing()
    }

    pub(crate) fn body_broken() -> Refusal {
        Self::new(
            StatusCode::BAD_REQUEST,
            "body_broken",
            "The request's body ended early or was malformed",
            "the body did not arrive as its header promised",
        )
        .closing()
    }

    pub(crate) fn body_timeout(allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "The request's body did not arrive in time",
            format!("the body has to arrive within {allowed} ms"),
        )
        .with_edge_limit("body_timeout_ms", allowed)
        .closing()
    }

    pub(crate) fn too_many_slow_bodies(allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "The host has too much to do",
            "too many bodies arrive slowly; send the body at once, or try again later",
        )
        .with_edge_limit("slow_bodies_max", allowed)
        .with_retry_after(Duration::from_secs(1))
        .closing()
    }

    pub(crate) fn too_many_uploads(allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "overloaded",
            "The host has too much to do",
            "too many components are uploaded at once; try again later",
        )
        .with_edge_limit("uploads_max", allowed)
        .with_retry_after(Duration::from_secs(1))
        .closing()
    }

    // The host.

    pub(crate) fn request_timeout(allowed: NonZeroU64) -> Refusal {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "request_timeout",
            "The request took too long",
            format!("a request has to be answered within {allowed} ms"),
        )
        .with_edge_limit("request_timeout_ms", allowed)
        .with_retry_after(Duration::from_secs(1))
        .closing()
    }

    /// A fault of the host. `internal` goes to the operator's log alone.
    pub(crate) fn host(internal: &str) -> Refusal {
        tracing::error!(error = internal, "a request failed for the host's own fault");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "host_error",
            "The host failed",
            "the fault is the host's; its log has more under this request's id",
        )
    }
}
