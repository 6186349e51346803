//! Which paths there are, which methods each takes, and who is let in: one table, which the
//! router, the `Allow` field, the check of permissions and the test of `/openapi.json` read.

use std::borrow::Cow;

use foreshore_domain::identity::{Permission, Permission as P, Principal};
use http::Method;

use self::Access::{Either, Known, Needs, Public};
use self::Verb::{Delete, Get, Patch, Post, Put};

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
    OllamaDelete,
    Budgets,
    Concurrency,
    Limits,
    OpenApi,
    Health,
    Ready,
    WhoAmI,
    Tokens,
    Token,
    Refresh,
    Secrets,
    Secret,
    Rekey,
}

/// Who is let in to a method of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody at all: probes of health, and what brings its own credential in its body.
    Public,
    /// Whoever has a credential.
    Known,
    /// Whoever has this permission.
    Needs(Permission),
    /// Whoever has one of the two; the handler asks for the one that counts.
    Either(Permission, Permission),
}

impl Access {
    /// Whether a principal is let in.
    pub(crate) fn admits(self, principal: &Principal) -> bool {
        match self {
            Self::Public | Self::Known => true,
            Self::Needs(permission) => principal.may(permission),
            Self::Either(one, other) => principal.may(one) || principal.may(other),
        }
    }
}

/// The methods that any path takes. `GET` brings `HEAD` (RFC 9110, section 9.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Self> {
        Some(match *method {
            Method::GET | Method::HEAD => Self::Get,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A path, what it is, and who is let in to each method that it takes: a route without a rule
/// does not compile.
pub(crate) struct Row {
    pub(crate) path: &'static str,
    pub(crate) route: Route,
    pub(crate) rules: &'static [(Verb, Access)],
}

const fn row(path: &'static str, route: Route, rules: &'static [(Verb, Access)]) -> Row {
    Row { path, route, rules }
}

pub(crate) const ROUTES: &[Row] = &[
    row("/v1/tools", Route::Tools, &[(Get, Needs(P::ReadTools))]),
    row("/v1/tools/{tool}", Route::Tool, &[(Get, Needs(P::ReadTools))]),
    row("/v1/tools/{tool}/call", Route::Call, &[(Post, Needs(P::CallTools))]),
    row("/v1/components", Route::Components, &[(Get, Needs(P::ReadComponents))]),
    row(
        "/v1/components/{name}",
        Route::Component,
        &[
            (Get, Needs(P::ReadComponents)),
            (Put, Needs(P::WriteComponents)),
            (Delete, Needs(P::WriteComponents)),
        ],
    ),
    row("/v1/memory", Route::Namespaces, &[(Get, Needs(P::ReadMemory))]),
    row("/v1/memory/{namespace}", Route::Namespace, &[(Get, Needs(P::ReadMemory))]),
    row(
        "/v1/memory/{namespace}/{key}",
        Route::Record,
        &[
            (Get, Needs(P::ReadMemory)),
            (Put, Needs(P::WriteMemory)),
            (Delete, Needs(P::WriteMemory)),
        ],
    ),
    row("/v1/memory/{namespace}/{key}/versions", Route::Versions, &[(Get, Needs(P::ReadMemory))]),
    row("/v1/memory/{namespace}/search", Route::Search, &[(Post, Needs(P::ReadMemory))]),
    row(
        "/v1/graph/{namespace}/relations",
        Route::Relations,
        &[
            (Get, Needs(P::ReadMemory)),
            (Post, Needs(P::WriteMemory)),
            (Delete, Needs(P::WriteMemory)),
        ],
    ),
    row("/v1/graph/{namespace}/paths", Route::Paths, &[(Get, Needs(P::ReadMemory))]),
    row("/v1/files/roots", Route::FileRoots, &[(Get, Needs(P::ReadFiles))]),
    row("/v1/files/changes", Route::FileChanges, &[(Get, Needs(P::ReadFiles))]),
    row("/v1/files/versions", Route::FileVersions, &[(Get, Needs(P::ReadFiles))]),
    row("/v1/files/diff", Route::FileDiff, &[(Get, Needs(P::ReadFiles))]),
    row("/v1/files/restore", Route::FileRestore, &[(Post, Needs(P::WriteFiles))]),
    row("/v1/files/approve", Route::FileApprove, &[(Post, Needs(P::WriteFiles))]),
    row("/v1/files/undo", Route::FileUndo, &[(Post, Needs(P::WriteFiles))]),
    row("/v1/files/scan", Route::FileScan, &[(Post, Needs(P::WriteFiles))]),
    row("/v1/events", Route::Events, &[(Get, Needs(P::ReadEvents))]),
    row("/v1/audit", Route::Audit, &[(Get, Needs(P::ReadAudit))]),
    row("/v1/store/stats", Route::StoreStats, &[(Get, Needs(P::ReadStore))]),
    row("/v1/store/check", Route::StoreCheck, &[(Post, Needs(P::ManageStore))]),
    row("/v1/store/verify", Route::StoreVerify, &[(Post, Needs(P::ManageStore))]),
    row("/v1/store/backup", Route::StoreBackup, &[(Post, Needs(P::ManageStore))]),
    row("/v1/store/rebuild", Route::StoreRebuild, &[(Post, Needs(P::ManageStore))]),
    row("/v1/agents", Route::Agents, &[(Get, Needs(P::ReadAgents))]),
    row("/v1/agents/{name}/turns", Route::AgentTurns, &[(Post, Needs(P::AskAgents))]),
    row("/v1/turns/{turn}", Route::Turn, &[(Get, Needs(P::ReadConversations))]),
    row("/v1/turns/{turn}/events", Route::TurnEvents, &[(Get, Needs(P::ReadConversations))]),
    row("/v1/turns/{turn}/cancel", Route::TurnCancel, &[(Post, Needs(P::AskAgents))]),
    row("/v1/turns/{turn}/replay", Route::TurnReplay, &[(Post, Needs(P::AskAgents))]),
    row("/v1/approvals", Route::Approvals, &[(Get, Needs(P::ReadApprovals))]),
    row(
        "/v1/approvals/{id}",
        Route::Approval,
        &[(Get, Needs(P::ReadApprovals)), (Post, Either(P::DecideApprovals, P::AskAgents))],
    ),
    row(
        "/v1/conversations",
        Route::Conversations,
        &[(Get, Needs(P::ReadConversations)), (Post, Needs(P::WriteConversations))],
    ),
    row(
        "/v1/conversations/search",
        Route::ConversationSearch,
        &[(Post, Needs(P::ReadConversations))],
    ),
    row(
        "/v1/conversations/{id}",
        Route::Conversation,
        &[
            (Get, Needs(P::ReadConversations)),
            (Patch, Needs(P::WriteConversations)),
            (Delete, Needs(P::WriteConversations)),
        ],
    ),
    row(
        "/v1/conversations/{id}/turns",
        Route::ConversationTurns,
        &[(Get, Needs(P::ReadConversations))],
    ),
    row(
        "/v1/conversations/{id}/events",
        Route::ConversationEvents,
        &[(Get, Needs(P::ReadConversations))],
    ),
    row(
        "/v1/conversations/{id}/fork",
        Route::ConversationFork,
        &[(Post, Needs(P::WriteConversations))],
    ),
    row(
        "/v1/conversations/{id}/export",
        Route::ConversationExport,
        &[(Get, Needs(P::ReadConversations))],
    ),
    row(
        "/v1/conversations/{id}/variables",
        Route::Variables,
        &[(Get, Needs(P::ReadConversations))],
    ),
    row(
        "/v1/conversations/{id}/variables/{name}",
        Route::Variable,
        &[(Get, Needs(P::ReadConversations)), (Put, Needs(P::WriteConversations))],
    ),
    row(
        "/v1/chat/completions",
        Route::ChatCompletions,
        &[(Post, Either(P::AskAgents, P::UseModels))],
    ),
    row("/v1/embeddings", Route::Embeddings, &[(Post, Needs(P::UseModels))]),
    row("/v1/models", Route::Models, &[(Get, Needs(P::ReadModels))]),
    row("/v1/models/{id}", Route::Model, &[(Get, Needs(P::ReadModels))]),
    row("/api/chat", Route::OllamaChat, &[(Post, Either(P::AskAgents, P::UseModels))]),
    row("/api/generate", Route::OllamaGenerate, &[(Post, Needs(P::UseModels))]),
    row("/api/embed", Route::OllamaEmbed, &[(Post, Needs(P::UseModels))]),
    row("/api/embeddings", Route::OllamaEmbeddings, &[(Post, Needs(P::UseModels))]),
    row("/api/tags", Route::OllamaTags, &[(Get, Needs(P::ReadModels))]),
    row("/api/show", Route::OllamaShow, &[(Post, Needs(P::ReadModels))]),
    row("/api/ps", Route::OllamaPs, &[(Get, Needs(P::ReadModels))]),
    row("/api/version", Route::OllamaVersion, &[(Get, Known)]),
    row("/api/delete", Route::OllamaDelete, &[(Delete, Needs(P::ManageModels))]),
    row("/api/{change}", Route::OllamaChange, &[(Post, Needs(P::ManageModels))]),
    row("/v1/budgets", Route::Budgets, &[(Get, Needs(P::ReadSystem))]),
    row(
        "/v1/concurrency",
        Route::Concurrency,
        &[(Get, Needs(P::ReadSystem)), (Patch, Needs(P::ManageSystem))],
    ),
    row("/v1/limits", Route::Limits, &[(Get, Needs(P::ReadSystem))]),
    row("/openapi.json", Route::OpenApi, &[(Get, Known)]),
    row("/healthz", Route::Health, &[(Get, Public)]),
    row("/readyz", Route::Ready, &[(Get, Public)]),
    row("/v1/whoami", Route::WhoAmI, &[(Get, Known)]),
    row(
        "/v1/tokens",
        Route::Tokens,
        &[(Get, Needs(P::ManageTokens)), (Post, Needs(P::ManageTokens))],
    ),
    row("/v1/auth/refresh", Route::Refresh, &[(Post, Public)]),
    row("/v1/tokens/{id}", Route::Token, &[(Delete, Needs(P::ManageTokens))]),
    row("/v1/secrets", Route::Secrets, &[(Get, Needs(P::ReadSecrets))]),
    row(
        "/v1/secrets/{name}",
        Route::Secret,
        &[(Put, Needs(P::ManageSecrets)), (Delete, Needs(P::ManageSecrets))],
    ),
    row("/v1/rekey", Route::Rekey, &[(Post, Needs(P::ManageSecrets))]),
];

/// Every path with its methods and who is let in to each, for whoever holds the edge to it.
pub fn rules() -> impl Iterator<Item = (&'static str, Vec<(&'static str, Access)>)> {
    let of = |row: &Row| row.rules.iter().map(|(verb, access)| (verb.as_str(), *access)).collect();
    ROUTES.iter().map(move |row| (row.path, of(row)))
}

impl Row {
    /// Who is let in to a method; `None` if it does not take it.
    pub(crate) fn access(&self, method: &Method) -> Option<Access> {
        let verb = Verb::of(method)?;
        self.rules.iter().find(|(known, _)| *known == verb).map(|(_, access)| *access)
    }

    /// The methods it takes, as the `Allow` field lists them.
    pub(crate) fn allow(&self) -> String {
        let verbs: Vec<&str> = self.rules.iter().map(|(verb, _)| verb.as_str()).collect();
        verbs.join(", ").replace("GET", "GET, HEAD")
    }
}

/// The router, built once.
pub(crate) struct Routes(matchit::Router<&'static Row>);

/// What a path leads to.
pub(crate) struct Matched<'path> {
    /// The route, with its rules.
    pub(crate) row: &'static Row,
    /// The name in the path; empty where the route has none.
    pub(crate) name: Cow<'path, str>,
    /// The second name in the path.
    pub(crate) second: Cow<'path, str>,
}

impl Routes {
    pub(crate) fn new() -> Self {
        let mut router = matchit::Router::new();
        for row in ROUTES {
            router.insert(row.path, row).expect("invariant: the table holds no path twice");
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
        let (row, second) = match matched.value.route {
            Route::Search if *method != Method::POST => (row_of(Route::Record)?, "search"),
            _ => (*matched.value, second),
        };
        Some(Matched { row, name: decoded(name)?, second: decoded(second)? })
    }
}

fn row_of(route: Route) -> Option<&'static Row> {
    ROUTES.iter().find(|row| row.route == route)
}

#[cfg(test)]
mod tests {
    use foreshore_domain::identity::BuiltIn;

    use super::*;

    fn find(path: &str) -> Option<(Route, String)> {
        let routes = Routes::new();
        let found = routes.find(&Method::GET, path);
        found.map(|matched| (matched.row.route, matched.name.into_owned()))
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
        let row = |route| row_of(route).expect("in the table");
        let access = |route, method| row(route).access(&method);
        assert_eq!(access(Route::Call, Method::POST), Some(Needs(P::CallTools)));
        assert_eq!(access(Route::Call, Method::GET), None);
        assert_eq!(access(Route::Component, Method::HEAD), Some(Needs(P::ReadComponents)));
        assert_eq!(access(Route::Component, Method::PUT), Some(Needs(P::WriteComponents)));
        assert_eq!(row(Route::Component).allow(), "GET, HEAD, PUT, DELETE");
        for row in ROUTES {
            assert!(row.access(&Method::CONNECT).is_none() && row.access(&Method::TRACE).is_none());
            assert_eq!(ROUTES.iter().filter(|other| other.route == row.route).count(), 1);
        }
    }

    #[test]
    fn nobody_is_let_in_unseen_but_to_probes_and_to_what_brings_its_credential() {
        let open: Vec<&str> = ROUTES
            .iter()
            .filter(|row| row.rules.iter().any(|(_, access)| *access == Public))
            .map(|row| row.path)
            .collect();
        assert_eq!(open, ["/healthz", "/readyz", "/v1/auth/refresh"]);
    }

    #[test]
    fn who_is_let_in_where_is_as_it_was() {
        let roles = BuiltIn::ALL.map(|role| Principal {
            permissions: role.permissions(),
            ..Principal::clone(&Principal::host())
        });
        let mut table = String::new();
        for row in ROUTES {
            for (verb, access) in row.rules {
                let admitted = BuiltIn::ALL.iter().zip(&roles).map(|(role, principal)| {
                    if access.admits(principal) { role.as_str() } else { "-" }
                });
                let admitted: Vec<&str> = admitted.collect();
                let line = format!("{:6} {}  {}\n", verb.as_str(), row.path, admitted.join(" "));
                table += &line;
            }
        }
        insta::assert_snapshot!("matrix", table);
    }
}
