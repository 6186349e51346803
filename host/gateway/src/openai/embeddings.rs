//! Embeddings: `POST /v1/embeddings`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foreshore_domain::inference::{EmbedRequest, Embeddings};
use serde::{Deserialize, Serialize};

use super::error::OpenAiError;

/// What is asked for.
pub(crate) struct EmbeddingsAsked {
    pub(crate) request: EmbedRequest,
    /// Little-endian `f32`s in base64, as the Python client asks for by default.
    pub(crate) base64: bool,
}

#[derive(Deserialize)]
struct Wire {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Option<String>,
    #[serde(default)]
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Several(Vec<String>),
    Tokens(#[allow(dead_code, reason = "only that it was given matters")] serde::de::IgnoredAny),
}

impl EmbeddingsAsked {
    /// Reads the body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, OpenAiError> {
        let wire: Wire = serde_json::from_slice(body).map_err(|error| {
            OpenAiError::invalid("", format!("the body cannot be read: {error}"))
        })?;
        let texts = match wire.input {
            Input::One(text) => vec![text],
            Input::Several(texts) => texts,
            Input::Tokens(_) => {
                return Err(OpenAiError::invalid(
                    "input",
                    "it is a text or a list of texts, not tokens",
                ));
            }
        };
        if texts.is_empty() {
            return Err(OpenAiError::invalid("input", "there must be at least one text"));
        }
        let base64 = match wire.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                return Err(OpenAiError::invalid("encoding_format", "it is float or base64"));
            }
        };
        let request = EmbedRequest { model: Some(wire.model), texts, dimensions: wire.dimensions };
        Ok(Self { request, base64 })
    }
}

/// The answer.
pub(crate) fn embeddings(model: &str, answer: &Embeddings, base64: bool) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer<'a> {
        object: &'static str,
        data: Vec<One<'a>>,
        model: &'a str,
        usage: Usage,
    }
    #[derive(Serialize)]
    struct One<'a> {
        object: &'static str,
        index: usize,
        embedding: Vector<'a>,
    }
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Vector<'a> {
        Floats(&'a [f32]),
        Base64(String),
    }
    #[derive(Serialize)]
    struct Usage {
        prompt_tokens: u64,
        total_tokens: u64,
    }
    let vector = |vector: &'_ [f32]| -> String {
        STANDARD.encode(vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    };
    let data = answer
        .vectors
        .iter()
        .enumerate()
        .map(|(index, values)| One {
            object: "embedding",
            index,
            embedding: if base64 { Vector::Base64(vector(values)) } else { Vector::Floats(values) },
        })
        .collect();
    let tokens = answer.usage.input_tokens;
    let usage = Usage { prompt_tokens: tokens, total_tokens: tokens };
    serde_json::to_vec(&Answer { object: "list", data, model, usage }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use foreshore_domain::inference::{ServedBy, Step, TokenUsage};

    use super::*;

    #[test]
    fn one_text_or_several_are_read_and_tokens_are_refused() {
        let one = EmbeddingsAsked::read(br#"{"model": "e", "input": "a"}"#).expect("read");
        assert_eq!((one.request.texts, one.base64), (vec!["a".to_owned()], false));
        let two = EmbeddingsAsked::read(
            br#"{"model": "e", "input": ["a", "b"], "encoding_format": "base64"}"#,
        )
        .expect("read");
        assert!(two.base64 && two.request.texts.len() == 2);
        for bad in [
            &br#"{"model": "e", "input": [1, 2]}"#[..],
            br#"{"model": "e", "input": []}"#,
            br#"{"model": "e", "input": "a", "encoding_format": "hex"}"#,
        ] {
            assert!(EmbeddingsAsked::read(bad).is_err());
        }
    }

    #[test]
    fn base64_is_little_endian_floats() {
        let answer = Embeddings {
            vectors: vec![vec![1.0, -2.5]],
            served_by: ServedBy { backend: "b".into(), model: "e".into(), step: Step::Primary },
            usage: TokenUsage { input_tokens: 2, ..TokenUsage::default() },
        };
        let value: serde_json::Value =
            serde_json::from_slice(&embeddings("e", &answer, true)).expect("JSON");
        let bytes = STANDARD
            .decode(value["data"][0]["embedding"].as_str().expect("a text"))
            .expect("base64");
        assert_eq!(bytes, [1.0_f32.to_le_bytes(), (-2.5_f32).to_le_bytes()].concat());
        let floats: serde_json::Value =
            serde_json::from_slice(&embeddings("e", &answer, false)).expect("JSON");
        assert_eq!(floats["data"][0]["embedding"][1], -2.5);
    }
}
