//! `/openapi.json`, made from the wire types and the notes on the handlers.
//!
//! Tests hold it to the table of routes in both directions, so neither can grow alone.

use std::sync::OnceLock;

use bytes::Bytes;
use utoipa::OpenApi;

use crate::api;
use crate::wire;

/// The document, as this version of the host serves it.
pub fn document() -> String {
    Api::openapi().to_pretty_json().expect("invariant: the document is JSON")
}

/// The document, written once.
pub(crate) fn text() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| document().into()).clone()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Foreshore",
        description = "Runs agents and tools that nobody has to trust. Every failure is an RFC 9457 problem with a stable `code`; a denial names the configuration that would allow it (`grant`), a limit the setting that raises it (`setting`).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        api::tools::list,
        api::tools::show,
        api::calls::call,
        api::components::list,
        api::components::show,
        api::components::put,
        api::components::delete,
        api::memory::namespaces,
        api::memory::list,
        api::memory::show,
        api::memory::put,
        api::memory::delete,
        api::memory::versions,
        api::memory::search,
        api::graph::neighbours,
        api::graph::relate,
        api::graph::unrelate,
        api::graph::paths,
        api::journal::events,
        api::journal::audit,
        api::files::roots,
        api::files::changes,
        api::files::versions,
        api::files::diff,
        api::files::restore,
        api::files::approve,
        api::files::undo,
        api::files::scan,
        api::store::stats,
        api::store::check,
        api::store::verify,
        api::store::backup,
        api::store::rebuild,
        api::agents::list,
        api::agents::take_turn,
        api::turns::show,
        api::turns::events,
        api::turns::cancel,
        api::replay::replay,
        api::turns::approvals,
        api::turns::show_approval,
        api::turns::decide,
        api::conversations::list,
        api::conversations::create,
        api::conversations::show,
        api::conversations::change,
        api::conversations::delete,
        api::conversations::list_turns,
        api::conversations::export,
        api::conversations::fork,
        api::conversations::events,
        api::conversations::search,
        api::conversations::variables,
        api::conversations::show_variable,
        api::conversations::set_variable,
        api::openai::chat,
        api::openai::embeddings,
        api::openai::models,
        api::openai::model,
        api::ollama::chat,
        api::ollama::generate,
        api::ollama::embed,
        api::ollama::embeddings,
        api::ollama::tags,
        api::ollama::show,
        api::ollama::running,
        api::ollama::version,
        api::models::change,
        api::models::delete,
        api::budgets::list,
        api::concurrency::show,
        api::concurrency::change,
        api::limits::show,
        api::health::openapi,
        api::health::health,
        api::health::ready,
        api::identity::whoami,
        api::identity::list,
        api::identity::issue,
        api::identity::refresh,
        api::identity::revoke,
        api::secrets::list,
        api::secrets::set,
        api::secrets::remove,
        api::secrets::rekey,
    ),
    components(schemas(wire::ProgressSchema<'static>, wire::LogSchema<'static>)),
    tags(
        (name = "tools", description = "List and call tools"),
        (name = "agents", description = "Ask agents; what they ask people"),
        (name = "conversations", description = "What was said, and variables"),
        (name = "openai", description = "As OpenAI's API, for its clients; agents are models called `agent:NAME`"),
        (name = "ollama", description = "As Ollama's API, for its clients; agents are models called `agent:NAME`"),
        (name = "components", description = "What is loaded, what is refused and why"),
        (name = "memory", description = "Records in namespaces, their versions, a graph and a search"),
        (name = "files", description = "Watched directories: what changed, who did it, putting it back"),
        (name = "journal", description = "What happened"),
        (name = "identity", description = "Who asks, and the credentials there are"),
        (name = "secrets", description = "Values that the host puts into requests, and nobody reads"),
        (name = "host", description = "The host itself"),
    ),
)]
struct Api;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::ROUTES;

    #[test]
    fn every_route_is_documented_and_every_documented_path_is_a_route() {
        let document: serde_json::Value = serde_json::from_str(&document()).expect("JSON");
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("a path item").keys();
                methods.map(move |method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let routed: BTreeSet<(String, String)> = ROUTES
            .iter()
            // HEAD is GET without the body (RFC 9110, section 9.3.2): documented with it.
            .flat_map(|row| {
                row.rules.iter().map(|(verb, _)| (row.path.to_owned(), verb.as_str().to_owned()))
            })
            .collect();
        assert_eq!(documented, routed);
    }

    #[test]
    fn the_document_is_as_it_was() {
        insta::assert_snapshot!("openapi", document());
    }
}
