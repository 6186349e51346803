//! The list of models: `GET /v1/models`. Agents are models that are called `agent:NAME`.

use serde::Serialize;

/// A model as the list has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ListedModel {
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) owned_by: String,
}

#[derive(Serialize)]
struct One<'a> {
    object: &'static str,
    #[serde(flatten)]
    model: &'a ListedModel,
}

/// The whole list.
pub(crate) fn models(listed: &[ListedModel]) -> Vec<u8> {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<One<'a>>,
    }
    let data = listed.iter().map(|model| One { object: "model", model }).collect();
    serde_json::to_vec(&List { object: "list", data }).unwrap_or_default()
}

/// One of them.
pub(crate) fn model(listed: &ListedModel) -> Vec<u8> {
    serde_json::to_vec(&One { object: "model", model: listed }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_listed_as_clients_expect() {
        let listed = ListedModel { id: "agent:a".into(), created: 5, owned_by: "foreshore".into() };
        let list: serde_json::Value =
            serde_json::from_slice(&models(std::slice::from_ref(&listed))).expect("JSON");
        assert_eq!(list["data"][0]["object"], "model");
        let one: serde_json::Value = serde_json::from_slice(&model(&listed)).expect("JSON");
        assert_eq!(one, list["data"][0]);
    }
}
