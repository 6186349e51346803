//! `/api/pull`, `/api/create`, `/api/copy` and `/api/delete`: models brought in, made, named and
//! taken away at the backend that can, as Ollama's API does. For whoever manages models.
//!
//! Deliberately absent: `push`, which needs the account of the backend's owner at a registry.

use std::sync::Arc;

use foreshore_control::ModelProgress;
use foreshore_domain::inference::InferenceError;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json as object};
use tokio::sync::mpsc;

use super::ollama::{Failure, NDJSON, answered};
use super::openai::inference;
use crate::body::{Body, whole};
use crate::connection::Peer;
use crate::ollama::Unusable;
use crate::request::{Answer, json};
use crate::streaming::{Lines, alive, joined, streamed, task};

/// Lines of progress that wait for a client; more are left out, since each says all again.
const WAITING_MAX: usize = 64;

/// What all of them read.
#[derive(Deserialize)]
struct Asked {
    /// Ollama's older clients call it `name`.
    #[serde(alias = "name", default)]
    model: String,
    stream: Option<bool>,
}

#[derive(Deserialize)]
struct Copy {
    source: String,
    destination: String,
}

/// Change the models of a backend, as Ollama's API does.
///
/// The first backend that is an Ollama does it. `push` is not served: it needs the account of the
/// backend's owner.
#[utoipa::path(
    post,
    path = "/api/{change}",
    operation_id = "ollamaChange",
    tag = "ollama",
    params(("change" = String, Path, description = "`pull`, `create` or `copy`")),
    request_body(content = Object, description = "As Ollama's API", content_type = "application/json"),
    responses(
        (status = 200, description = "Lines of progress, or one object", body = Object, content_type = "application/x-ndjson"),
        (status = 403, description = "The credential does not permit it", body = Object),
    ),
)]
pub(crate) async fn change(peer: &Arc<Peer>, body: Incoming, change: &str) -> Answer {
    answered(try_change(peer, body, change).await)
}

/// Delete a model, as Ollama's API does.
#[utoipa::path(
    delete,
    path = "/api/delete",
    operation_id = "ollamaDelete",
    tag = "ollama",
    request_body(content = Object, description = "As Ollama's API", content_type = "application/json"),
    responses(
        (status = 200, description = "It is gone"),
        (status = 404, description = "There is none", body = Object),
    ),
)]
pub(crate) async fn delete(peer: &Arc<Peer>, body: Incoming) -> Answer {
    answered(try_delete(peer, body).await)
}

async fn try_change(
    peer: &Arc<Peer>,
    body: Incoming,
    change: &str,
) -> Result<Response<Body>, Failure> {
    let body = whole(peer, body).await?;
    match change {
        "pull" => {
            let asked: Asked = read(&body)?;
            let inference = inference(peer)?.clone();
            let model = named(&asked)?;
            let work = async move |tell: mpsc::Sender<Vec<u8>>| {
                inference.broker().pull(None, &model, teller(tell)).await
            };
            told(peer, asked.stream, work).await
        }
        "create" => {
            let definition: Value = read(&body)?;
            let asked: Asked = read(&body)?;
            named(&asked)?;
            let inference = inference(peer)?.clone();
            let work = async move |tell: mpsc::Sender<Vec<u8>>| {
                inference.broker().create(None, &definition, teller(tell)).await
            };
            told(peer, asked.stream, work).await
        }
        "copy" => {
            let Copy { source, destination } = read(&body)?;
            let broker = inference(peer)?.broker();
            let copied = alive(peer, broker.copy(None, &source, &destination)).await;
            copied.map_err(|error| Failure::from(&error))?;
            Ok(Response::new(Body::from(bytes::Bytes::new())))
        }
        "push" => {
            let text = "models are pushed at their backend, with the account of its owner";
            Err(Failure::new(StatusCode::NOT_IMPLEMENTED, text))
        }
        other => {
            let text = format!("there is no /api/{}", other.escape_default());
            Err(Failure::new(StatusCode::NOT_FOUND, &text))
        }
    }
}

async fn try_delete(peer: &Arc<Peer>, body: Incoming) -> Result<Response<Body>, Failure> {
    let body = whole(peer, body).await?;
    let model = named(&read(&body)?)?;
    let deleted = alive(peer, inference(peer)?.broker().delete(None, &model)).await;
    deleted.map_err(|error| Failure::from(&error))?;
    Ok(Response::new(Body::from(bytes::Bytes::new())))
}

/// Does what takes long, and tells how it goes. A failure before the first word has its status.
async fn told<F>(
    peer: &Arc<Peer>,
    stream: Option<bool>,
    work: impl FnOnce(mpsc::Sender<Vec<u8>>) -> F,
) -> Result<Response<Body>, Failure>
where
    F: Future<Output = Result<(), InferenceError>> + Send + 'static,
{
    let (tell, mut told) = mpsc::channel(WAITING_MAX);
    let mut work = task(work(tell));
    if stream == Some(false) {
        joined(alive(peer, &mut work).await).map_err(|error| Failure::from(&error))?;
        return Ok(json(success().into()));
    }
    // The channel closes with the work, so this waits for a first word or for the end.
    let first = alive(peer, told.recv()).await;
    let Some(first) = first else {
        joined(work.await).map_err(|error| Failure::from(&error))?;
        return Ok(json(success().into()));
    };
    let lines = async move |lines: Lines| {
        lines.send(first).await?;
        while let Some(line) = told.recv().await {
            lines.send(line).await?;
        }
        let last = match joined(work.await) {
            Ok(()) => success(),
            Err(error) => Failure::from(&error).line,
        };
        lines.send(last).await
    };
    Ok(streamed(peer, NDJSON, lines))
}

/// Passes progress on where there is room. The last word is said once, when it is over here too.
fn teller(tell: mpsc::Sender<Vec<u8>>) -> impl FnMut(ModelProgress) + Send {
    move |progress| {
        if progress.status != "success" {
            let _ = tell.try_send(line(&progress));
        }
    }
}

fn success() -> Vec<u8> {
    b"{\"status\":\"success\"}\n".to_vec()
}

fn line(progress: &ModelProgress) -> Vec<u8> {
    let mut line = object!({ "status": progress.status });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            line[name] = value;
        }
    };
    put("digest", progress.digest.clone().map(Value::from));
    put("total", progress.total_bytes.map(Value::from));
    put("completed", progress.completed_bytes.map(Value::from));
    let mut line = line.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn named(asked: &Asked) -> Result<String, Failure> {
    if asked.model.is_empty() {
        return Err(Unusable("model: which one?".to_owned()).into());
    }
    Ok(asked.model.clone())
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Unusable(error.to_string()).into())
}
