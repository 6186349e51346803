//! The library of models: lists, details, and what changes it.
//!
//! Source of the shapes: `api/types.go` and `server/routes.go` of Ollama. A digest is the hash of
//! the model's name, since there is nothing else to hash.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::errors::Failure;
use super::{Answer, Asked, embeddings, openai, pause, response};
use crate::body::{Gone, Writer, lines, whole};
use crate::clock;
use crate::record::Outcome;
use crate::script::full_name;
use crate::script::settings::{Capability, ModelSettings};
use crate::shelf::{Listed, Running, Shelf};

/// Answers what asks for no text.
pub(crate) async fn answer(asked: &mut Asked) -> Answer {
    let path = asked.path.clone();
    match (&asked.method, path.as_str()) {
        (&Method::GET | &Method::HEAD, "/") => {
            asked.ends(Outcome::Answered(200));
            response(StatusCode::OK, "text/plain; charset=utf-8", whole("Ollama is running"))
        }
        (&Method::GET | &Method::HEAD, "/api/version") => {
            let version = asked.shared.playing().script.server.version.clone();
            asked.json(StatusCode::OK, &json!({ "version": version }))
        }
        (&Method::GET | &Method::HEAD, "/api/tags") => {
            let models: Value = asked.shared.shelf.list().iter().map(listed).collect();
            asked.json(StatusCode::OK, &json!({ "models": models }))
        }
        (&Method::GET, "/api/ps") => {
            let models: Value = asked.shared.shelf.running().iter().map(running).collect();
            asked.json(StatusCode::OK, &json!({ "models": models }))
        }
        (&Method::POST, "/api/show") => show(asked),
        (&Method::POST, "/api/copy") => copy(asked),
        (&Method::DELETE, "/api/delete") => delete(asked),
        (&Method::POST, "/api/pull") => pull(asked).await,
        (&Method::POST, "/api/create") => create(asked).await,
        (&Method::POST, "/api/embed") => embeddings::ollama(asked).await,
        (&Method::POST, "/api/embeddings") => embeddings::ollama_old(asked).await,
        (&Method::POST, "/v1/embeddings") => embeddings::openai(asked).await,
        (&Method::GET, "/v1/models") => openai::models(asked),
        (&Method::GET, one) if one.starts_with("/v1/models/") => {
            openai::one_model(asked, one.trim_start_matches("/v1/models/"))
        }
        (method, path) => Err(Failure::new(
            StatusCode::NOT_FOUND,
            format!("there is no {method} {path} in what a model server does"),
        )),
    }
}

fn details(settings: &ModelSettings) -> Value {
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": settings.family,
        "families": [settings.family],
        "parameter_size": settings.parameter_size,
        "quantization_level": settings.quantization,
    })
}

fn digest(name: &str) -> String {
    hex(&Sha256::digest(full_name(name).as_bytes()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn capabilities(settings: &ModelSettings) -> Value {
    settings.capabilities.iter().copied().map(Capability::name).collect()
}

fn listed(listed: &Listed) -> Value {
    let settings = &listed.settings;
    let name = full_name(&settings.name);
    let mut model = json!({
        "name": name,
        "model": name,
        "modified_at": listed.modified,
        "size": settings.size_bytes,
        "digest": digest(&settings.name),
        "capabilities": capabilities(settings),
        "details": details(settings),
    });
    remote(&mut model, settings);
    model
}

fn remote(model: &mut Value, settings: &ModelSettings) {
    let fields = [("remote_host", &settings.remote_host), ("remote_model", &settings.remote_model)];
    for (field, value) in fields {
        if let Some(value) = value {
            model[field] = json!(value);
        }
    }
}

/// What stays for ever expires in a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

fn running(running: &Running) -> Value {
    let settings = &running.settings;
    let name = full_name(&settings.name);
    let expires = clock::since_1970() + running.stays.unwrap_or(FOR_EVER).min(FOR_EVER);
    json!({
        "name": name,
        "model": name,
        "size": settings.size_bytes,
        "size_vram": settings.size_bytes,
        "digest": digest(&settings.name),
        "details": details(settings),
        "expires_at": clock::rfc3339(expires),
        "context_length": running.context_length,
    })
}

fn named(asked: &Asked) -> Result<String, Failure> {
    asked.model().map(str::to_owned).ok_or_else(|| Failure::bad_request("model is required"))
}

fn found(asked: &Asked) -> Result<(String, Listed), Failure> {
    let name = named(asked)?;
    match asked.shared.shelf.find(&name) {
        Some(listed) => Ok((name, listed)),
        None => Err(Failure::no_model(&name)),
    }
}

fn show(asked: &mut Asked) -> Answer {
    let (name, listed) = found(asked)?;
    let settings = &listed.settings;
    let family = &settings.family;
    let mut info = json!({ "general.architecture": family });
    info[format!("{family}.context_length")] = json!(settings.context_length);
    info[format!("{family}.embedding_length")] = json!(settings.embedding_dimensions);
    let mut document = json!({
        "license": "",
        "modelfile": format!("FROM {name}\n"),
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": details(settings),
        "model_info": info,
        "capabilities": capabilities(settings),
        "modified_at": listed.modified,
    });
    remote(&mut document, settings);
    asked.json(StatusCode::OK, &document)
}

fn copy(asked: &mut Asked) -> Answer {
    let text = |field: &str| asked.body.get(field).and_then(Value::as_str).unwrap_or_default();
    let (source, destination) = (text("source").to_owned(), text("destination").to_owned());
    if source.is_empty() || destination.is_empty() {
        return Err(Failure::bad_request("source and destination are required"));
    }
    let Some(listed) = asked.shared.shelf.find(&source) else {
        return Err(Failure::no_model(&source));
    };
    add(&asked.shared.shelf, &listed.settings, &destination)?;
    asked.bare(StatusCode::OK)
}

/// Makes a model under another name, without what must be pulled first.
fn add(shelf: &Shelf, like: &ModelSettings, name: &str) -> Result<(), Failure> {
    let settings = ModelSettings { name: name.to_owned(), pull: None, ..like.clone() };
    match shelf.put(settings) {
        true => Ok(()),
        false => Err(Failure::internal("there are too many models: delete some first")),
    }
}

fn delete(asked: &mut Asked) -> Answer {
    let name = named(asked)?;
    match asked.shared.shelf.remove(&name) {
        true => asked.bare(StatusCode::OK),
        false => Err(Failure::no_model(&name)),
    }
}

async fn pull(asked: &mut Asked) -> Answer {
    let name = named(asked)?;
    let model = asked.shared.shelf.pullable(&name);
    let pull = model.as_ref().and_then(|it| it.pull.clone()).unwrap_or_default();
    let mut steps = vec![json!({ "status": "pulling manifest" })];
    let mut error = pull.error;
    if let Some(model) = &model {
        let digest = digest(&name);
        let status = format!("pulling {}", &digest[..12]);
        let total = model.size_bytes;
        for step in 1..=pull.steps {
            let completed = u128::from(total) * u128::from(step) / u128::from(pull.steps.max(1));
            let completed = u64::try_from(completed).unwrap_or(total);
            let digest = format!("sha256:{digest}");
            steps.push(json!({ "status": status, "digest": digest, "total": total, "completed": completed }));
        }
        for status in ["verifying sha256 digest", "writing manifest"] {
            steps.push(json!({ "status": status }));
        }
    } else {
        error = Some("pull model manifest: file does not exist".to_owned());
    }
    let put = model.filter(|_| error.is_none()).map(|it| (it, name));
    Progress { steps, pause: pull.step, error, put }.send(asked).await
}

async fn create(asked: &mut Asked) -> Answer {
    let name = named(asked)?;
    let from = asked.body.get("from").and_then(Value::as_str).map(str::to_owned);
    let like = match from {
        Some(from) => {
            asked.shared.shelf.find(&from).ok_or_else(|| Failure::no_model(&from))?.settings
        }
        None if asked.body.get("files").is_some_and(Value::is_object) => {
            ModelSettings::named(&name).into()
        }
        None => return Err(Failure::bad_request("neither 'from' or 'files' was specified")),
    };
    let steps = ["reading model metadata", "creating system layer", "writing manifest"];
    let steps = steps.iter().map(|status| json!({ "status": status })).collect();
    let put = Some((like, name));
    Progress { steps, pause: Duration::ZERO, error: None, put }.send(asked).await
}

/// Lines of progress, and what is there at their end.
struct Progress {
    steps: Vec<Value>,
    /// Before each step but the first.
    pause: Duration,
    error: Option<String>,
    put: Option<(std::sync::Arc<ModelSettings>, String)>,
}

impl Progress {
    async fn send(self, asked: &mut Asked) -> Answer {
        let shelf = std::sync::Arc::clone(&asked.shared.shelf);
        if !asked.streams() {
            let steps = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
            pause(self.pause.saturating_mul(steps)).await;
            self.finish(&shelf).map_err(Failure::internal)?;
            return asked.json(StatusCode::OK, &json!({ "status": "success" }));
        }
        let (writer, body) = lines(None);
        let ticket = asked.ticket.take();
        tokio::spawn(async move {
            // Who goes away leaves the entry abandoned, and the model where it was.
            if self.write(&writer).await.is_ok() {
                let last = match self.finish(&shelf) {
                    Ok(()) => json!({ "status": "success" }),
                    Err(error) => json!({ "error": error }),
                };
                if let Some(mut ticket) = ticket {
                    ticket.ends(Outcome::Answered(200));
                }
                let _ = writer.write(Bytes::from(format!("{last}\n"))).await;
            }
        });
        response(StatusCode::OK, "application/x-ndjson", body)
    }

    async fn write(&self, writer: &Writer) -> Result<(), Gone> {
        for (index, step) in self.steps.iter().enumerate() {
            if index > 0 {
                pause(self.pause).await;
            }
            writer.write(Bytes::from(format!("{step}\n"))).await?;
        }
        Ok(())
    }

    fn finish(self, shelf: &Shelf) -> Result<(), String> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Some((like, name)) = self.put else { return Ok(()) };
        let settings = ModelSettings { name, ..(*like).clone() };
        match shelf.put(settings) {
            true => Ok(()),
            false => Err("there are too many models: delete some first".to_owned()),
        }
    }
}
