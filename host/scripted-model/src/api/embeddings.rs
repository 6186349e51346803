//! `/api/embed`, `/api/embeddings` and `/v1/embeddings`: vectors by hashing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::errors::Failure;
use super::{Answer, Asked};
use crate::embedding::embed_with;
use crate::prompt::tokens;
use crate::script::settings::{Capability, DIMENSIONS_MAX};
use crate::shelf::Admitted;
use crate::shelf::keep_alive::KeepAlive;

/// Numbers in one answer.
const NUMBERS_MAX: usize = 4 * 1024 * 1024;

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    model: String,
    #[serde(default, alias = "prompt")]
    input: Option<Input>,
    truncate: Option<bool>,
    dimensions: Option<u32>,
    encoding_format: Option<String>,
    keep_alive: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Several(Vec<String>),
}

/// Vectors and what they took.
struct Vectors {
    model: String,
    vectors: Vec<Vec<f32>>,
    tokens: u64,
    /// OpenAI's clients ask for base64 unless they are told not to.
    base64: bool,
    began: Instant,
    /// The model's turn ends when the answer is written.
    admitted: Option<Admitted>,
}

#[derive(Serialize)]
struct OllamaVectors<'a> {
    model: &'a str,
    embeddings: &'a [Vec<f32>],
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u64,
}

/// `POST /api/embed`.
pub(crate) async fn ollama(asked: &mut Asked) -> Answer {
    let made = make(asked).await?;
    let nanoseconds =
        |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let document = OllamaVectors {
        model: &made.model,
        embeddings: &made.vectors,
        total_duration: nanoseconds(made.began.elapsed()),
        load_duration: made.admitted.as_ref().map_or(0, |it| nanoseconds(it.load)),
        prompt_eval_count: made.tokens,
    };
    asked.json(StatusCode::OK, &document)
}

#[derive(Serialize)]
struct OldVector<'a> {
    embedding: &'a [f32],
}

/// `POST /api/embeddings`, which takes one text.
pub(crate) async fn ollama_old(asked: &mut Asked) -> Answer {
    let made = make(asked).await?;
    let embedding = made.vectors.first().map_or(&[][..], Vec::as_slice);
    asked.json(StatusCode::OK, &OldVector { embedding })
}

#[derive(Serialize)]
struct OpenAiVectors<'a> {
    object: &'static str,
    data: Vec<OpenAiVector<'a>>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct OpenAiVector<'a> {
    object: &'static str,
    index: usize,
    embedding: Embedding<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Embedding<'a> {
    Numbers(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// `POST /v1/embeddings`.
pub(crate) async fn openai(asked: &mut Asked) -> Answer {
    let made = make(asked).await?;
    let vector = |(index, vector): (usize, &'_ Vec<f32>)| {
        let embedding = match made.base64 {
            true => Embedding::Base64(base64(vector)),
            false => Embedding::Numbers(&made.vectors[index]),
        };
        OpenAiVector { object: "embedding", index, embedding }
    };
    let document = OpenAiVectors {
        object: "list",
        data: made.vectors.iter().enumerate().map(vector).collect(),
        model: &made.model,
        usage: Usage { prompt_tokens: made.tokens, total_tokens: made.tokens },
    };
    asked.json(StatusCode::OK, &document)
}

/// Little-endian numbers of four bytes.
fn base64(vector: &[f32]) -> String {
    STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

async fn make(asked: &mut Asked) -> Result<Vectors, Failure> {
    let began = Instant::now();
    let request = Request::deserialize(&asked.body)
        .map_err(|error| Failure::bad_request(format!("invalid input type: {error}")))?;
    if request.model.is_empty() {
        return Err(Failure::bad_request("model is required"));
    }
    let base64 = match request.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(Failure::bad_request(format!("invalid encoding_format: {other:?}")));
        }
    };
    let shelf = &asked.shared.shelf;
    let listed = shelf.find(&request.model).ok_or_else(|| Failure::no_model(&request.model))?;
    if !listed.settings.can(Capability::Embedding) {
        let text = format!("{:?} does not support embeddings", request.model);
        return Err(Failure::bad_request(text));
    }
    let texts = match request.input {
        None => Vec::new(),
        Some(Input::One(text)) if text.is_empty() => Vec::new(),
        Some(Input::One(text)) => vec![text],
        Some(Input::Several(texts)) => texts,
    };
    let most = u64::from(listed.settings.context_length.get());
    let texts = fit(texts, most, request.truncate.unwrap_or(true))?;
    let keep_alive = request.keep_alive.filter(|it| !it.is_null());
    let keep_alive = keep_alive.as_ref().map(KeepAlive::parse).transpose();
    let keep_alive = keep_alive.map_err(Failure::bad_request)?;
    let dimensions = request.dimensions.filter(|it| *it > 0).map_or_else(
        || listed.settings.embedding_dimensions.get(),
        |wanted| wanted.min(listed.settings.embedding_dimensions.get()),
    );
    let dimensions = usize::try_from(dimensions.min(DIMENSIONS_MAX)).unwrap_or(usize::MAX);
    if texts.len().saturating_mul(dimensions) > NUMBERS_MAX {
        return Err(Failure::bad_request(format!(
            "{} texts of {dimensions} dimensions are more than {NUMBERS_MAX} numbers: send fewer \
             texts at a time",
            texts.len()
        )));
    }
    let synonyms = listed.settings.synonyms.clone();
    let admitted = shelf
        .admit(&request.model, &serde_json::Map::new(), keep_alive)
        .await
        .map_err(|refused| Failure::refused(refused, &request.model))?;
    Ok(Vectors {
        vectors: texts.iter().map(|text| embed_with(text, dimensions, &synonyms)).collect(),
        tokens: texts.iter().map(|text| tokens(text.len())).sum(),
        model: request.model,
        base64,
        began,
        admitted: Some(admitted),
    })
}

/// Cuts texts that are too long, or says so.
fn fit(mut texts: Vec<String>, tokens_max: u64, truncate: bool) -> Result<Vec<String>, Failure> {
    for text in &mut texts {
        if tokens(text.len()) <= tokens_max {
            continue;
        }
        if !truncate {
            return Err(Failure::bad_request("the input length exceeds the context length"));
        }
        let most = usize::try_from(tokens_max.saturating_mul(4)).unwrap_or(usize::MAX);
        text.truncate(text.floor_char_boundary(most));
    }
    Ok(texts)
}
