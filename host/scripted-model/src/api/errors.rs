//! Errors, in the shape of the face that they go to.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::body::{Broken, Payload, whole};
use crate::record::Outcome;
use crate::shelf::Refused;

/// Why a request gets no answer.
pub(crate) struct Failure {
    kind: Kind,
    headers: Vec<(HeaderName, HeaderValue)>,
}

enum Kind {
    Said {
        status: StatusCode,
        text: String,
    },
    /// All of the body.
    Raw {
        status: StatusCode,
        body: String,
    },
    /// The connection is closed.
    Broken,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { kind: Kind::Said { status, text: text.into() }, headers: Vec::new() }
    }

    pub(crate) fn raw(status: StatusCode, body: String) -> Self {
        Self { kind: Kind::Raw { status, body }, headers: Vec::new() }
    }

    pub(crate) fn broken() -> Self {
        Self { kind: Kind::Broken, headers: Vec::new() }
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(crate) fn internal(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// No model of that name.
    pub(crate) fn no_model(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("model '{name}' not found"))
    }

    pub(crate) fn refused(refused: Refused, model: &str) -> Self {
        match refused {
            // The words of Ollama, two spaces included.
            Refused::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server busy, please try again.  maximum pending requests exceeded",
            ),
            Refused::Stopped => {
                let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
                Self::new(status, "request canceled")
            }
            Refused::Gone => Self::no_model(model),
        }
    }

    /// Names and values were checked when the script was parsed.
    pub(crate) fn with_headers(mut self, headers: &BTreeMap<String, String>) -> Self {
        self.headers = checked(headers);
        self
    }

    /// What becomes of a request that gets this.
    pub(crate) fn outcome(&self) -> Outcome {
        match &self.kind {
            Kind::Said { status, .. } | Kind::Raw { status, .. } => {
                Outcome::Answered(status.as_u16())
            }
            Kind::Broken => Outcome::Broken,
        }
    }

    /// # Errors
    /// The connection is to be closed instead.
    pub(crate) fn response(self, openai: bool) -> Result<Response<Payload>, Broken> {
        let (status, body) = match self.kind {
            Kind::Broken => return Err(Broken),
            Kind::Raw { status, body } => (status, body),
            Kind::Said { status, text } if openai => {
                (status, openai_shape(status, &text).to_string())
            }
            Kind::Said { status, text } => (status, json!({ "error": text }).to_string()),
        };
        let mut response = Response::new(whole(body));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response.headers_mut().extend(self.headers);
        Ok(response)
    }
}

/// Headers of a script.
pub(crate) fn checked(headers: &BTreeMap<String, String>) -> Vec<(HeaderName, HeaderValue)> {
    let headers = headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    headers.collect()
}

/// An error as OpenAI writes it.
pub(crate) fn openai_shape(status: StatusCode, text: &str) -> Value {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    };
    let code = match status {
        StatusCode::NOT_FOUND => json!("model_not_found"),
        StatusCode::UNAUTHORIZED => json!("invalid_api_key"),
        _ => Value::Null,
    };
    json!({ "error": { "message": text, "type": kind, "param": null, "code": code } })
}
