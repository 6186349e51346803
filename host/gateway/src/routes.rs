//! Which paths there are and which methods each takes: one table, which the router, the `Allow`
//! field and the test of `/openapi.json` read.

use std::borrow::Cow;

use http::Method;

/// One path of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Tools,
    Tool,
    Call,
    Components,
    Component,
    Namespaces,
    Namespace,
    Record,
    Versions,
    Search,
    Relations,
    Paths,
    FileRoots,
    FileChanges,
    FileVersions,
    FileDiff,
    FileRestore,
    FileApprove,
    FileUndo,
    FileScan,
    Events,
    Audit,
    StoreStats,
    StoreCheck,
    StoreVerify,
    StoreBackup,
    StoreRebuild,
    Agents,
    AgentTurns,
    Turn,
    TurnEvents,
    TurnCancel,
    TurnReplay,
    Approvals,
    Approval,
    Conversations,
    ConversationSearch,
    Conversation,
    ConversationTurns,
    ConversationEvents,
    ConversationFork,
    ConversationExport,
    Variables,
    Variable,
    ChatCompletions,
    Embeddings,
    Models,
    Model,
    OllamaChat,
    OllamaGenerate,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaTags,
    OllamaShow,
    OllamaPs,
    OllamaVersion,
    OllamaChange,
    Budgets,
    Limits,
    OpenApi,
    Health,
    Ready,
}

/// A path, what it is, and the methods it takes as `Allow` lists them. `GET` brings `HEAD`.
pub(crate) const ROUTES: [(&str, Route, &str); 62] = [
    ("/v1/tools", Route::Tools, "GET, HEAD"),
    ("/v1/tools/{tool}", Route::Tool, "GET, HEAD"),
    ("/v1/tools/{tool}/call", Route::Call, "POST"),
    ("/v1/components", Route::Components, "GET, HEAD"),
    ("/v1/components/{name}", Route::Component, "GET, HEAD, PUT, DELETE"),
    ("/v1/memory", Route::Namespaces, "GET, HEAD"),
    ("/v1/memory/{namespace}", Route::Namespace, "GET, HEAD"),
    ("/v1/memory/{namespace}/{key}", Route::Record, "GET, HEAD, PUT, DELETE"),
    ("/v1/memory/{namespace}/{key}/versions", Route::Versions, "GET, HEAD"),
    ("/v1/memory/{namespace}/search", Route::Search, "POST"),
    ("/v1/graph/{namespace}/relations", Route::Relations, "GET, HEAD, POST, DELETE"),
    ("/v1/graph/{namespace}/paths", Route::Paths, "GET, HEAD"),
    ("/v1/files/roots", Route::FileRoots, "GET, HEAD"),
    ("/v1/files/changes", Route::FileChanges, "GET, HEAD"),
    ("/v1/files/versions", Route::FileVersions, "GET, HEAD"),
    ("/v1/files/diff", Route::FileDiff, "GET, HEAD"),
    ("/v1/files/restore", Route::FileRestore, "POST"),
    ("/v1/files/approve", Route::FileApprove, "POST"),
    ("/v1/files/undo", Route::FileUndo, "POST"),
    ("/v1/files/scan", Route::FileScan, "POST"),
    ("/v1/events", Route::Events, "GET, HEAD"),
    ("/v1/audit", Route::Audit, "GET, HEAD"),
    ("/v1/store/stats", Route::StoreStats, "GET, HEAD"),
    ("/v1/store/check", Route::StoreCheck, "POST"),
    ("/v1/store/verify", Route::StoreVerify, "POST"),
    ("/v1/store/backup", Route::StoreBackup, "POST"),
    ("/v1/store/rebuild", Route::StoreRebuild, "POST"),
    ("/v1/agents", Route::Agents, "GET, HEAD"),
    ("/v1/agents/{name}/turns", Route::AgentTurns, "POST"),
    ("/v1/turns/{turn}", Route::Turn, "GET, HEAD"),
    ("/v1/turns/{turn}/events", Route::TurnEvents, "GET, HEAD"),
    ("/v1/turns/{turn}/cancel", Route::TurnCancel, "POST"),
    ("/v1/turns/{turn}/replay", Route::TurnReplay, "POST"),
    ("/v1/approvals", Route::Approvals, "GET, HEAD"),
    ("/v1/approvals/{id}", Route::Approval, "GET, HEAD, POST"),
    ("/v1/conversations", Route::Conversations, "GET, HEAD, POST"),
    ("/v1/conversations/search", Route::ConversationSearch, "POST"),
    ("/v1/conversations/{id}", Route::Conversation, "GET, HEAD, PATCH, DELETE"),
    ("/v1/conversations/{id}/turns", Route::ConversationTurns, "GET, HEAD"),
    ("/v1/conversations/{id}/events", Route::ConversationEvents, "GET, HEAD"),
    ("/v1/conversations/{id}/fork", Route::ConversationFork, "POST"),
    ("/v1/conversations/{id}/export", Route::ConversationExport, "GET, HEAD"),
    ("/v1/conversations/{id}/variables", Route::Variables, "GET, HEAD"),
    ("/v1/conversations/{id}/variables/{name}", Route::Variable, "GET, HEAD, PUT"),
    ("/v1/chat/completions", Route::ChatCompletions, "POST"),
    ("/v1/embeddings", Route::Embeddings, "POST"),
    ("/v1/models", Route::Models, "GET, HEAD"),
    ("/v1/models/{id}", Route::Model, "GET, HEAD"),
    ("/api/chat", Route::OllamaChat, "POST"),
    ("/api/generate", Route::OllamaGenerate, "POST"),
    ("/api/embed", Route::OllamaEmbed, "POST"),
    ("/api/embeddings", Route::OllamaEmbeddings, "POST"),
    ("/api/tags", Route::OllamaTags, "GET, HEAD"),
    ("/api/show", Route::OllamaShow, "POST"),
    ("/api/ps", Route::OllamaPs, "GET, HEAD"),
    ("/api/version", Route::OllamaVersion, "GET, HEAD"),
    ("/api/{change}", Route::OllamaChange, "POST"),
    ("/v1/budgets", Route::Budgets, "GET, HEAD"),
    ("/v1/limits", Route::Limits, "GET, HEAD"),
    ("/openapi.json", Route::OpenApi, "GET, HEAD"),
    ("/healthz", Route::Health, "GET, HEAD"),
    ("/readyz", Route::Ready, "GET, HEAD"),
];

impl Route {
    /// The methods it takes, as the `Allow` field lists them.
    pub(crate) fn allow(self) -> &'static str {
        ROUTES.iter().find(|(_, route, _)| *route == self).map_or("", |(_, _, allow)| allow)
    }

    /// Whether it takes this method.
    pub(crate) fn takes(self, method: &Method) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method.as_str())
    }
}

/// The router, built once.
pub(crate) struct Routes(matchit::Router<Route>);

/// What a path leads to.
pub(crate) struct Matched<'path> {
    /// The route.
    pub(crate) route: Route,
    /// The name in the path; empty where the route has none.
    pub(crate) name: Cow<'path, str>,
    /// The second name in the path.
    pub(crate) second: Cow<'path, str>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        let mut router = matchit::Router::new();
        for (path, route, _) in ROUTES {
            router.insert(path, route).expect("invariant: the table holds no path twice");
        }
        Self(router)
    }

    /// Finds the route of a request; `None` if there is none, or if a name in its path is no
    /// UTF-8 text.
    ///
    /// A record may be called `search` as the search of its namespace is: the method tells them
    /// apart.
    pub(crate) fn find<'path>(&self, method: &Method, path: &'path str) -> Option<Matched<'path>> {
        let matched = self.0.at(path).ok()?;
        let mut names = matched.params.iter().map(|(_, name)| name);
        let (name, second) = (names.next().unwrap_or(""), names.next().unwrap_or(""));
        let decoded = |text| percent_encoding::percent_decode_str(text).decode_utf8().ok();
        let (route, second) = match matched.value {
            Route::Search if *method != Method::POST => (Route::Record, "search"),
            route => (*route, second),
        };
        Some(Matched { route, name: decoded(name)?, second: decoded(second)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str) -> Option<(Route, String)> {
        let routes = Routes::new();
        let found = routes.find(&Method::GET, path);
        found.map(|matched| (matched.route, matched.name.into_owned()))
    }

    #[test]
    fn a_tool_is_found_by_its_name_and_by_name_and_version() {
        assert_eq!(find("/v1/tools/files.search"), Some((Route::Tool, "files.search".into())));
        assert_eq!(
            find("/v1/tools/files@0.1.0.search/call"),
            Some((Route::Call, "files@0.1.0.search".into()))
        );
        assert_eq!(
            find("/v1/tools/files%400.1.0.search"),
            Some((Route::Tool, "files@0.1.0.search".into()))
        );
        assert_eq!(find("/v1/tools"), Some((Route::Tools, String::new())));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_found() {
        for path in [
            "/",
            "/v1",
            "/v1/tools/",
            "/v1/tools/a/b",
            "/v1/tools//call",
            "//v1/tools",
            "/V1/tools",
            "/v1/tools/%ff",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn each_route_takes_the_methods_it_lists_and_no_other() {
        assert!(Route::Call.takes(&Method::POST) && !Route::Call.takes(&Method::GET));
        assert!(Route::Component.takes(&Method::PUT) && Route::Component.takes(&Method::HEAD));
        for (_, route, allow) in ROUTES {
            assert_eq!(route.allow(), allow);
            assert!(!route.takes(&Method::CONNECT) && !route.takes(&Method::TRACE));
        }
    }
}
