//! Requests: read, noted, held to the rules, and answered.
//!
//! Each face has a file. What cannot be understood gets an error in the shape of the face that it
//! came to. Invariant: a request is noted before anything is done about it.

mod embeddings;
mod errors;
mod library;
mod ollama;
mod openai;
mod speaker;
mod text;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use self::errors::Failure;
use crate::body::{Broken, Payload, whole};
use crate::playing::Choice;
use crate::prompt::{Prompt, Role, Said};
use crate::record::{Log, Outcome, Ticket};
use crate::script::answer::{Break, BreakKind, Said as Answered};
use crate::server::{Line, Shared};

/// The longest body that is read, in bytes. Blobs are not kept and have a limit of their own.
const BODY_MAX_BYTES: usize = 64 * 1024 * 1024;

/// A request that was read.
pub(crate) struct Asked {
    pub(crate) shared: Arc<Shared>,
    pub(crate) line: Line,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// Of the request, from 1.
    pub(crate) number: u64,
    /// Whoever answers later takes it along.
    pub(crate) ticket: Option<Ticket>,
    bearer: Option<String>,
}

/// A response, or why there is none.
pub(crate) type Answer = Result<Response<Payload>, Failure>;

/// Answers one request.
///
/// # Errors
/// The connection is to be closed without an answer.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    line: Line,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Broken> {
    let path = request.uri().path().to_owned();
    if let Some(digest) = path.strip_prefix("/api/blobs/") {
        return Ok(uploads::answer(&shared, digest, request).await);
    }
    let method = request.method().clone();
    let bearer = request
        .headers()
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer ").map(str::to_owned));
    let read = read(request).await;
    let (body, bytes, failure) = match read {
        Ok(bytes) => match parse(&bytes) {
            Ok(value) => (value, bytes.len(), None),
            Err(error) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                (Value::String(text), bytes.len(), Some(Failure::bad_request(error)))
            }
        },
        Err(failure) => (Value::Null, 0, Some(failure)),
    };
    let ticket = Log::enter(&shared.log, method.as_str(), &path, body.clone(), bytes);
    let openai = path.starts_with("/v1/");
    let (number, ticket) = (ticket.number, Some(ticket));
    let mut asked = Asked { shared, line, method, path, body, number, ticket, bearer };
    let answered = match failure {
        Some(failure) => Err(failure),
        None => asked.answered().await,
    };
    answered.or_else(|failure| {
        asked.ends(failure.outcome());
        failure.response(openai)
    })
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Failure> {
    match Limited::new(request.into_body(), BODY_MAX_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body cannot be read, or has more than {BODY_MAX_BYTES} bytes: {error}"),
        )),
    }
}

/// No body at all is null.
fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|error| format!("invalid JSON in the body: {error}"))
}

impl Asked {
    async fn answered(&mut self) -> Answer {
        if self.path.starts_with("/v1/") {
            openai::authorized(self)?;
        }
        match self.path.as_str() {
            "/api/chat" | "/api/generate" | "/v1/chat/completions" => text::answer(self).await,
            _ => self.other().await,
        }
    }

    /// Paths that ask for no text: only a rule that names them applies, and only its waits and
    /// failures.
    async fn other(&mut self) -> Answer {
        let playing = self.shared.playing();
        let prompt = self.as_prompt();
        if let Some(choice) = playing.choose(&self.path, &prompt, false) {
            self.rule(&choice.rule);
            before_headers(self, &choice).await?;
        }
        library::answer(self).await
    }

    /// Enough of a request to hold rules to it.
    fn as_prompt(&self) -> Prompt {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Array(list) => {
                let texts = list.iter().filter_map(Value::as_str);
                Some(texts.collect::<Vec<_>>().join("\n"))
            }
            _ => None,
        };
        let said = ["input", "prompt"].iter().find_map(|field| text(self.body.get(*field)?));
        let message = said.map(|text| Said { role: Role::User, text, ..Said::default() });
        Prompt {
            model: self.model().unwrap_or_default().to_owned(),
            messages: message.into_iter().collect(),
            stream: self.streams(),
            ..Prompt::default()
        }
    }

    /// The model that is named, under either of the two words for it.
    pub(crate) fn model(&self) -> Option<&str> {
        let named = |field: &str| self.body.get(field)?.as_str().filter(|it| !it.is_empty());
        named("model").or_else(|| named("name"))
    }

    /// Streams are what Ollama does unless it is told not to.
    pub(crate) fn streams(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool).unwrap_or(true)
    }

    pub(crate) fn rule(&mut self, rule: &str) {
        self.ticket.iter_mut().for_each(|ticket| ticket.answered_by(rule));
    }

    pub(crate) fn ends(&mut self, outcome: Outcome) {
        self.ticket.iter_mut().for_each(|ticket| ticket.ends(outcome));
    }

    /// An answer that is all there.
    pub(crate) fn json(&mut self, status: StatusCode, body: &impl serde::Serialize) -> Answer {
        let text =
            serde_json::to_vec(body).map_err(|error| Failure::internal(error.to_string()))?;
        self.ends(Outcome::Answered(status.as_u16()));
        response(status, "application/json; charset=utf-8", whole(text))
    }

    /// An answer without a body.
    pub(crate) fn bare(&mut self, status: StatusCode) -> Answer {
        self.ends(Outcome::Answered(status.as_u16()));
        response(status, "text/plain; charset=utf-8", whole(Bytes::new()))
    }
}

pub(crate) fn response(status: StatusCode, kind: &str, body: Payload) -> Answer {
    Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, kind)
        .body(body)
        .map_err(|error| Failure::internal(error.to_string()))
}

/// What an answer does before its headers: waits, refuses, or breaks the connection.
pub(crate) async fn before_headers(asked: &mut Asked, choice: &Choice<'_>) -> Result<(), Failure> {
    let answer = choice.answer;
    pause(answer.delay).await;
    if let Some(Break { after: None, with, .. }) = &answer.breaks {
        return Err(breaks(asked, *with).await);
    }
    refusal(choice)
}

/// Breaks a connection on which nothing was sent.
pub(crate) async fn breaks(asked: &mut Asked, with: BreakKind) -> Failure {
    asked.ends(Outcome::Broken);
    match with {
        BreakKind::Stall => std::future::pending().await,
        BreakKind::Reset => asked.line.reset(),
        BreakKind::Cut | BreakKind::Error | BreakKind::Garbage | BreakKind::Truncate => {}
    }
    Failure::broken()
}

fn refusal(choice: &Choice<'_>) -> Result<(), Failure> {
    let Answered::Refusal { status, error, body } = &choice.answer.said else { return Ok(()) };
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let failure = match (body, error) {
        (Some(body), _) => Failure::raw(status, body.clone()),
        (None, Some(error)) => Failure::new(status, error.render(&choice.facts)),
        (None, None) => {
            let text = status.canonical_reason().unwrap_or("error").to_lowercase();
            Failure::new(status, text)
        }
    };
    Err(failure.with_headers(&choice.answer.headers))
}

pub(crate) async fn pause(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
