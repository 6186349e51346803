//! Lists of models: `/api/tags`, `/api/ps`, `/api/show`.

use foreshore_domain::inference::{Model, RunningModel};
use serde::Serialize;

/// A model or an agent, as `/api/tags` lists it.
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a str,
    /// `None` for an agent.
    pub(crate) model: Option<&'a Model>,
}

/// A model in memory, as `/api/ps` lists it.
pub(crate) type Loaded<'a> = &'a RunningModel;

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    model: &'a str,
    modified_at: &'a str,
    size: u64,
    digest: &'a str,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    parent_model: &'static str,
    format: &'static str,
    family: &'a str,
    families: Vec<&'a str>,
    parameter_size: &'a str,
    quantization_level: &'a str,
}

/// A time for what has none, as Ollama writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn details(model: Option<&Model>) -> Details<'_> {
    let said = model.map(|model| &model.details);
    let family = said.map_or("agent", |said| said.family.as_str());
    Details {
        parent_model: "",
        format: if model.is_some() { "gguf" } else { "wasm" },
        family,
        families: vec![family],
        parameter_size: said.map_or("", |said| said.parameter_size.as_str()),
        quantization_level: said.map_or("", |said| said.quantization.as_str()),
    }
}

/// `/api/tags`.
pub(crate) fn tags(listed: &[Listed<'_>]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tags<'a> {
        models: Vec<Entry<'a>>,
    }
    let models = listed
        .iter()
        .map(|one| {
            let said = one.model.map(|model| &model.details);
            Entry {
                name: one.name,
                model: one.name,
                modified_at: said.and_then(|said| said.modified_at.as_deref()).unwrap_or(NEVER),
                size: said.and_then(|said| said.size_bytes).unwrap_or(0),
                digest: said.map_or("", |said| said.digest.as_str()),
                details: details(one.model),
            }
        })
        .collect();
    serde_json::to_vec(&Tags { models }).unwrap_or_default()
}

/// `/api/ps`.
pub(crate) fn running(loaded: &[Loaded<'_>]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Running<'a> {
        models: Vec<One<'a>>,
    }
    #[derive(Serialize)]
    struct One<'a> {
        name: &'a str,
        model: &'a str,
        size: u64,
        size_vram: u64,
        expires_at: &'a str,
    }
    let models = loaded
        .iter()
        .map(|one| One {
            name: &one.name,
            model: &one.name,
            size: one.size_bytes,
            size_vram: one.size_vram_bytes,
            expires_at: one.expires_at.as_deref().unwrap_or(NEVER),
        })
        .collect();
    serde_json::to_vec(&Running { models }).unwrap_or_default()
}

/// `/api/show`.
pub(crate) fn show(listed: &Listed<'_>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Show<'a> {
        details: Details<'a>,
        model_info: serde_json::Map<String, serde_json::Value>,
        capabilities: Vec<&'static str>,
        modified_at: &'a str,
    }
    let mut model_info = serde_json::Map::new();
    let mut capabilities = Vec::new();
    match listed.model {
        None => capabilities.push("completion"),
        Some(model) => {
            let said = [
                (!model.embedding, "completion"),
                (model.embedding, "embedding"),
                (model.tools, "tools"),
                (model.vision, "vision"),
                (model.thinking, "thinking"),
            ];
            capabilities.extend(said.into_iter().filter_map(|(is, name)| is.then_some(name)));
            let family =
                if model.details.family.is_empty() { "model" } else { &model.details.family };
            model_info.insert("general.architecture".to_owned(), family.into());
            if let Some(length) = model.context_length {
                model_info.insert(format!("{family}.context_length"), length.into());
            }
        }
    }
    let modified_at = listed.model.and_then(|model| model.details.modified_at.as_deref());
    serde_json::to_vec(&Show {
        details: details(listed.model),
        model_info,
        capabilities,
        modified_at: modified_at.unwrap_or(NEVER),
    })
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use foreshore_domain::inference::ModelDetails;
    use serde_json::Value;

    use super::*;

    #[test]
    fn models_and_agents_are_listed_alike() {
        let model = Model {
            name: "small".into(),
            backends: vec!["b".into()],
            context_length: Some(4_096),
            tools: true,
            vision: false,
            thinking: false,
            embedding: false,
            details: ModelDetails { family: "llama".into(), ..ModelDetails::default() },
        };
        let listed = [
            Listed { name: "small", model: Some(&model) },
            Listed { name: "agent:a", model: None },
        ];
        let value: Value = serde_json::from_slice(&tags(&listed)).expect("JSON");
        assert_eq!(value["models"][0]["details"]["family"], "llama");
        assert_eq!(value["models"][1]["name"], "agent:a");
        let shown: Value = serde_json::from_slice(&show(&listed[0])).expect("JSON");
        assert_eq!(shown["model_info"]["llama.context_length"], 4_096);
        assert_eq!(shown["capabilities"], serde_json::json!(["completion", "tools"]));
    }
}
