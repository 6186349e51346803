//! What this host makes of each thing a component may import: the one table.
//!
//! A component whose table says "linked" still reaches nothing by it: mounts, hosts and values
//! are decided call by call, at the door. The table only says what exists, what exists but is
//! always denied, and what must be granted before the component is loaded at all.
//!
//! Invariant: an import that is `Linked` here links in the real linker, and one that is not in
//! this table is `NotLinked`. Deny is the default.

use foreshore_domain::component::{ComponentKind, Import, ImportVerdict};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::grant::{Access, Grant, keyvalue_grant, memory_grant};

/// What the host does with an interface.
#[derive(Clone, Copy)]
enum Rule {
    /// Always there.
    Linked,
    /// There, since standard libraries ask for it, and every use of it is denied.
    LinkedDenied,
    /// Only for a component with a grant for HTTP.
    NeedsHttp,
    /// Only for a component with configuration values.
    NeedsConfig,
    /// Only for a component with namespaces of memory.
    NeedsMemory,
    /// Only for a component with a bucket.
    NeedsKeyvalue,
    /// Only for an agent.
    AgentOnly,
}

/// As what a component runs: an agent is linked to other things than a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunsAs {
    /// `foreshore:tool/tool`.
    Tool,
    /// `foreshore:agent/agent`.
    Agent,
}

impl RunsAs {
    /// As what a component of these kinds runs.
    pub(crate) fn of(kinds: &[ComponentKind]) -> Self {
        if kinds.contains(&ComponentKind::Agent) { Self::Agent } else { Self::Tool }
    }
}

/// Interfaces by the name without version, and the version track that satisfies them: an import
/// matches if it is compatible by semantic versioning, which is how the linker matches too.
const TABLE: &[(&str, Track, Rule)] = &[
    ("wasi:cli/environment", Track::Wasi02, Rule::Linked),
    ("wasi:cli/exit", Track::Wasi02, Rule::Linked),
    ("wasi:cli/stdin", Track::Wasi02, Rule::Linked),
    ("wasi:cli/stdout", Track::Wasi02, Rule::Linked),
    ("wasi:cli/stderr", Track::Wasi02, Rule::Linked),
    ("wasi:cli/terminal-input", Track::Wasi02, Rule::Linked),
    ("wasi:cli/terminal-output", Track::Wasi02, Rule::Linked),
    ("wasi:cli/terminal-stdin", Track::Wasi02, Rule::Linked),
    ("wasi:cli/terminal-stdout", Track::Wasi02, Rule::Linked),
    ("wasi:cli/terminal-stderr", Track::Wasi02, Rule::Linked),
    ("wasi:clocks/monotonic-clock", Track::Wasi02, Rule::Linked),
    ("wasi:clocks/wall-clock", Track::Wasi02, Rule::Linked),
    ("wasi:filesystem/types", Track::Wasi02, Rule::Linked),
    ("wasi:filesystem/preopens", Track::Wasi02, Rule::Linked),
    ("wasi:io/error", Track::Wasi02, Rule::Linked),
    ("wasi:io/poll", Track::Wasi02, Rule::Linked),
    ("wasi:io/streams", Track::Wasi02, Rule::Linked),
    ("wasi:random/random", Track::Wasi02, Rule::Linked),
    ("wasi:random/insecure", Track::Wasi02, Rule::Linked),
    ("wasi:random/insecure-seed", Track::Wasi02, Rule::Linked),
    ("wasi:sockets/network", Track::Wasi02, Rule::LinkedDenied),
    ("wasi:sockets/instance-network", Track::Wasi02, Rule::LinkedDenied),
    ("wasi:sockets/ip-name-lookup", Track::Wasi02, Rule::LinkedDenied),
    ("wasi:sockets/tcp", Track::Wasi02, Rule::LinkedDenied),
    ("wasi:sockets/tcp-create-socket", Track::Wasi02, Rule::LinkedDenied),
    ("wasi:sockets/udp", Track::Wasi02, Rule::LinkedDenied),
    ("wasi:sockets/udp-create-socket", Track::Wasi02, Rule::LinkedDenied),
    ("wasi:http/types", Track::Wasi02, Rule::NeedsHttp),
    ("wasi:http/outgoing-handler", Track::Wasi02, Rule::NeedsHttp),
    ("wasi:config/store", Track::Exactly("0.2.0-rc.1"), Rule::NeedsConfig),
    ("wasi:keyvalue/store", Track::Exactly("0.2.0-draft"), Rule::NeedsKeyvalue),
    ("wasi:keyvalue/atomics", Track::Exactly("0.2.0-draft"), Rule::NeedsKeyvalue),
    ("wasi:logging/logging", Track::Exactly("0.1.0-draft"), Rule::Linked),
    ("foreshore:types/types", Track::Foreshore01, Rule::Linked),
    ("foreshore:progress/progress", Track::Foreshore01, Rule::Linked),
    ("foreshore:log/log", Track::Foreshore01, Rule::Linked),
    ("foreshore:memory/memory", Track::Foreshore01, Rule::NeedsMemory),
    ("foreshore:inference/inference", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:tools/tools", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:agents/agents", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:variables/variables", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:conversation/conversation", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:reply/reply", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:approval/approval", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:events/events", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:budget/budget", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:elicit/elicit", Track::Foreshore01, Rule::AgentOnly),
    ("foreshore:secrets/secrets", Track::Foreshore01, Rule::AgentOnly),
];

/// The versions that satisfy an import.
#[derive(Clone, Copy)]
enum Track {
    /// Any 0.2.x: before 1.0 the minor version is the one that breaks.
    Wasi02,
    /// Any 0.1.x.
    Foreshore01,
    /// A pre-release is compatible with itself alone.
    Exactly(&'static str),
}

impl Track {
    fn satisfies(self, version: &str) -> bool {
        let minor = |wanted: u64| {
            semver::Version::parse(version)
                .is_ok_and(|v| v.major == 0 && v.minor == wanted && v.pre.is_empty())
        };
        match self {
            Self::Wasi02 => minor(2),
            Self::Foreshore01 => minor(1),
            Self::Exactly(wanted) => version == wanted,
        }
    }
}

/// What the host makes of an import of the component called `component` under `grant`.
pub(crate) fn verdict(
    import: &str,
    runs_as: RunsAs,
    component: &str,
    grant: &Grant,
) -> ImportVerdict {
    let rule = import.rsplit_once('@').and_then(|(interface, version)| {
        TABLE
            .iter()
            .find(|(name, track, _)| *name == interface && track.satisfies(version))
            .map(|(_, _, rule)| *rule)
    });
    if runs_as == RunsAs::Agent {
        return agent_verdict(rule);
    }
    match rule {
        None | Some(Rule::AgentOnly) => ImportVerdict::NotLinked,
        Some(Rule::Linked) => ImportVerdict::Linked,
        Some(Rule::LinkedDenied) => ImportVerdict::LinkedDenied,
        Some(Rule::NeedsHttp) => linked_if(grant.http.is_some(), || {
            format!(
                "[components.{component}.http] allow = [\"GET https://HOST/*\"] (or, for one call: --allow-http 'GET https://HOST/*')"
            )
        }),
        Some(Rule::NeedsConfig) => linked_if(grant.config.is_some(), || {
            format!("[components.{component}.config] KEY = \"VALUE\"")
        }),
        Some(Rule::NeedsMemory) => linked_if(grant.memory.is_some(), || {
            memory_grant(component, "notes", Access::ReadWrite)
        }),
        Some(Rule::NeedsKeyvalue) => linked_if(grant.keyvalue, || keyvalue_grant(component)),
    }
}

/// An agent has what is always there, but nothing that reaches out of the sandbox by another way
/// than an effect of its own. Its memory is decided at the door, like all that it asks for.
fn agent_verdict(rule: Option<Rule>) -> ImportVerdict {
    match rule {
        Some(Rule::Linked | Rule::AgentOnly | Rule::NeedsMemory) => ImportVerdict::Linked,
        None
        | Some(Rule::LinkedDenied | Rule::NeedsHttp | Rule::NeedsConfig | Rule::NeedsKeyvalue) => {
            ImportVerdict::NotLinked
        }
    }
}

fn linked_if(is_granted: bool, grant: impl FnOnce() -> String) -> ImportVerdict {
    if is_granted { ImportVerdict::Linked } else { ImportVerdict::NotGranted { grant: grant() } }
}

/// The denial that an import means, if it means one.
pub(crate) fn denial(import: &Import) -> Option<Denial> {
    let (code, grant) = match &import.verdict {
        ImportVerdict::Linked | ImportVerdict::LinkedDenied => return None,
        ImportVerdict::NotGranted { grant } => (DenialCode::ImportNotGranted, grant.clone()),
        ImportVerdict::NotLinked => (DenialCode::ImportNotLinked, String::new()),
    };
    Some(Denial { code, subject: format!("import {}", import.name), grant })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use foreshore_domain::grant::{HttpGrant, MemoryGrant};
    use foreshore_domain::limits::Limits;
    use foreshore_domain::policy::{ComponentPolicy, Policies};

    use super::*;
    use crate::fixture::{Fixture, FixtureImport};
    use crate::testing::{load, loader, source};

    const fn import(
        interface: &'static str,
        function: &'static str,
        signature: &'static str,
    ) -> FixtureImport {
        FixtureImport { interface, function, signature }
    }

    /// Of each row of the table, one function or resource.
    const PROOFS: &[FixtureImport] = &[
        import("wasi:cli/environment@0.2.0", "get-environment", "(param i32)"),
        import("wasi:cli/exit@0.2.0", "exit", "(param i32)"),
        import("wasi:cli/stdin@0.2.0", "get-stdin", "(result i32)"),
        import("wasi:cli/stdout@0.2.0", "get-stdout", "(result i32)"),
        import("wasi:cli/stderr@0.2.0", "get-stderr", "(result i32)"),
        import("wasi:cli/terminal-input@0.2.0", "[resource-drop]terminal-input", "(param i32)"),
        import("wasi:cli/terminal-output@0.2.0", "[resource-drop]terminal-output", "(param i32)"),
        import("wasi:cli/terminal-stdin@0.2.0", "get-terminal-stdin", "(param i32)"),
        import("wasi:cli/terminal-stdout@0.2.0", "get-terminal-stdout", "(param i32)"),
        import("wasi:cli/terminal-stderr@0.2.0", "get-terminal-stderr", "(param i32)"),
        import("wasi:clocks/monotonic-clock@0.2.0", "now", "(result i64)"),
        import("wasi:clocks/wall-clock@0.2.0", "now", "(param i32)"),
        import("wasi:filesystem/types@0.2.0", "[resource-drop]descriptor", "(param i32)"),
        import("wasi:filesystem/preopens@0.2.0", "get-directories", "(param i32)"),
        import("wasi:io/error@0.2.0", "[resource-drop]error", "(param i32)"),
        import("wasi:io/poll@0.2.0", "[resource-drop]pollable", "(param i32)"),
        import("wasi:io/streams@0.2.0", "[resource-drop]input-stream", "(param i32)"),
        import("wasi:random/random@0.2.0", "get-random-u64", "(result i64)"),
        import("wasi:random/insecure@0.2.0", "get-insecure-random-u64", "(result i64)"),
        import("wasi:random/insecure-seed@0.2.0", "insecure-seed", "(param i32)"),
        import("wasi:sockets/network@0.2.0", "[resource-drop]network", "(param i32)"),
        import("wasi:sockets/instance-network@0.2.0", "instance-network", "(result i32)"),
        import(
            "wasi:sockets/ip-name-lookup@0.2.0",
            "[resource-drop]resolve-address-stream",
            "(param i32)",
        ),
        import("wasi:sockets/tcp@0.2.0", "[resource-drop]tcp-socket", "(param i32)"),
        import("wasi:sockets/tcp-create-socket@0.2.0", "create-tcp-socket", "(param i32 i32)"),
        import("wasi:sockets/udp@0.2.0", "[resource-drop]udp-socket", "(param i32)"),
        import("wasi:sockets/udp-create-socket@0.2.0", "create-udp-socket", "(param i32 i32)"),
        import("wasi:http/types@0.2.0", "[resource-drop]outgoing-request", "(param i32)"),
        import("wasi:http/outgoing-handler@0.2.0", "handle", "(param i32 i32 i32 i32)"),
        import("wasi:config/store@0.2.0-rc.1", "get", "(param i32 i32 i32)"),
        import("wasi:logging/logging@0.1.0-draft", "log", "(param i32 i32 i32 i32 i32)"),
        import("foreshore:progress/progress@0.1.0", "report", "(param f64 i32 f64 i32 i32 i32)"),
        import("foreshore:log/log@0.1.0", "log", "(param i32 i32 i32)"),
        import("foreshore:memory/memory@0.1.0", "get", "(param i32 i32 i32 i32 i32)"),
        import("wasi:keyvalue/store@0.2.0-draft", "open", "(param i32 i32 i32)"),
        import("wasi:keyvalue/atomics@0.2.0-draft", "increment", "(param i32 i32 i32 i64 i32)"),
    ];

    fn granted() -> Grant {
        Grant {
            http: Some(HttpGrant::default()),
            config: Some(BTreeMap::new()),
            memory: Some(MemoryGrant::default()),
            keyvalue: true,
            ..Grant::default()
        }
    }

    #[tokio::test]
    async fn what_the_table_says_is_linked_links_in_the_real_linker() {
        let place = tempfile::tempdir().expect("a directory");
        let loader = loader(place.path());
        let policy = ComponentPolicy { grant: granted().into(), limits: Limits::default() };
        let policies = Policies::new([("proof".to_owned(), policy)].into(), Limits::default());
        for (interface, _, rule) in TABLE {
            // Only types: nothing to link, and every fixture imports it. What only agents have
            // is proved by the probe agent (`tests/agents.rs`).
            if *interface == "foreshore:types/types" || matches!(rule, Rule::AgentOnly) {
                continue;
            }
            let proof = PROOFS.iter().find(|proof| {
                proof.interface.split_once('@').is_some_and(|(name, _)| name == *interface)
            });
            let proof = proof.unwrap_or_else(|| panic!("no proof for {interface}"));
            let mut fixture = Fixture::named("proof", "1.0.0");
            fixture.imports = vec![*proof];
            let component = loader.load(source(fixture.encode()), &policies).await;
            let component = component.unwrap_or_else(|failure| panic!("{proof:?}: {failure}"));
            let imports = &component.inspection().imports;
            assert!(
                imports.iter().any(|import| import.name == proof.interface),
                "{proof:?} is not in {imports:?}"
            );
        }
    }

    #[tokio::test]
    async fn an_import_that_is_not_linked_is_refused_by_its_name() {
        let place = tempfile::tempdir().expect("a directory");
        let mut fixture = Fixture::named("words", "1.0.0");
        fixture.imports = vec![import(
            "foreshore:secrets/secrets@0.1.0",
            "exists",
            "(param i32 i32) (result i32)",
        )];
        let error = load(&loader(place.path()), &fixture).await.expect_err("refused");
        let crate::LoadError::Denied(denial) = error else { panic!("{error:?}") };
        assert_eq!(denial.code, DenialCode::ImportNotLinked);
        assert_eq!(denial.subject, "import foreshore:secrets/secrets@0.1.0");
    }

    /// A component that exports these and imports this, and is nothing else.
    fn shell(import: &str, exports: &[&str]) -> Vec<u8> {
        let exports: String =
            exports.iter().map(|name| format!("(export \"{name}\" (instance $empty))")).collect();
        let text =
            format!("(component (import \"{import}\" (instance)) (instance $empty) {exports})");
        wat::parse_str(text).expect("valid text")
    }

    #[tokio::test]
    async fn an_agent_that_imports_more_than_its_world_is_refused_whatever_is_granted() {
        let place = tempfile::tempdir().expect("a directory");
        let loader = loader(place.path());
        let policy = ComponentPolicy { grant: granted().into(), limits: Limits::default() };
        let policies = Policies::new([("words".to_owned(), policy)].into(), Limits::default());
        for interface in [
            "wasi:http/types@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:sockets/tcp-create-socket@0.2.0",
            "wasi:sockets/ip-name-lookup@0.2.0",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:keyvalue/store@0.2.0-draft",
            "foreshore:improve/improve@0.1.0",
        ] {
            let mut source = source(shell(interface, &["foreshore:agent/agent@0.1.0"]));
            source.file_stem = Some("words".to_owned());
            let failure = loader.load(source, &policies).await.expect_err("refused");
            let crate::LoadError::Denied(denial) = failure.error else { panic!("{failure:?}") };
            assert_eq!(denial.code, DenialCode::ImportNotLinked, "{interface}");
            assert_eq!(denial.subject, format!("import {interface}"));
        }
    }

    #[tokio::test]
    async fn tools_and_an_agent_in_one_component_are_refused() {
        let place = tempfile::tempdir().expect("a directory");
        let exports = ["foreshore:agent/agent@0.1.0", "foreshore:tool/tool@0.1.0"];
        let mut source = source(shell("foreshore:log/log@0.1.0", &exports));
        source.file_stem = Some("words".to_owned());
        let loaded = loader(place.path()).load(source, &Policies::default()).await;
        let error = loaded.expect_err("refused").error;
        assert_eq!(error.code(), "component_is_tools_and_agent");
    }

    #[tokio::test]
    async fn an_import_that_is_not_granted_is_refused_with_the_line_that_grants_it() {
        let place = tempfile::tempdir().expect("a directory");
        let loader = loader(place.path());
        let http = "[components.words.http] allow = [\"GET https://HOST/*\"] (or, for one call: --allow-http 'GET https://HOST/*')";
        for (interface, grant) in [
            ("wasi:http/types@0.2.0", http),
            ("wasi:http/outgoing-handler@0.2.0", http),
            ("wasi:config/store@0.2.0-rc.1", "[components.words.config] KEY = \"VALUE\""),
            (
                "foreshore:memory/memory@0.1.0",
                "[components.words.memory] namespaces = [{ name = \"notes\", access = \"read-write\" }]",
            ),
            ("wasi:keyvalue/store@0.2.0-draft", "[components.words] keyvalue = true"),
            ("wasi:keyvalue/atomics@0.2.0-draft", "[components.words] keyvalue = true"),
        ] {
            let proof = PROOFS.iter().find(|proof| proof.interface == interface);
            let mut fixture = Fixture::named("words", "1.0.0");
            fixture.imports = vec![*proof.expect("in the list")];
            let error = load(&loader, &fixture).await.expect_err("refused");
            let crate::LoadError::Denied(denial) = error else { panic!("{error:?}") };
            assert_eq!(denial.code, DenialCode::ImportNotGranted);
            assert_eq!(denial.grant, grant);
        }
    }

    #[test]
    fn a_version_matches_by_its_track() {
        let is_linked =
            |name: &str| verdict(name, RunsAs::Tool, "c", &granted()) == ImportVerdict::Linked;
        for linked in [
            "wasi:cli/environment@0.2.0",
            "wasi:cli/environment@0.2.99",
            "wasi:config/store@0.2.0-rc.1",
            "foreshore:log/log@0.1.7",
        ] {
            assert!(is_linked(linked), "{linked}");
        }
        for other in [
            "wasi:cli/environment",
            "wasi:cli/environment@0.3.0",
            "wasi:cli/environment@1.2.0",
            "wasi:cli/environment@0.2.0-rc.1",
            "wasi:cli/environment@",
            "wasi:cli/environment@0.2",
            "wasi:config/store@0.2.0",
            "foreshore:log/log@0.2.0",
            "wasi:nn/tensor@0.2.0",
            "wasi:cli/environment@0.2.0@0.2.0",
            "",
        ] {
            assert_eq!(
                verdict(other, RunsAs::Tool, "c", &granted()),
                ImportVerdict::NotLinked,
                "{other}"
            );
        }
    }

    #[test]
    fn without_grants_sockets_are_denied_and_nothing_that_needs_a_grant_is_linked() {
        for (interface, _, rule) in TABLE {
            let proof = PROOFS.iter().find(|proof| proof.interface.starts_with(interface));
            let name = match (rule, proof) {
                (Rule::AgentOnly, _) => format!("{interface}@0.1.0"),
                (_, Some(proof)) => proof.interface.to_owned(),
                (_, None) => continue,
            };
            let found = verdict(&name, RunsAs::Tool, "c", &Grant::default());
            match rule {
                Rule::AgentOnly => {
                    assert_eq!(found, ImportVerdict::NotLinked, "{interface}");
                    let agents = verdict(&name, RunsAs::Agent, "c", &Grant::default());
                    assert_eq!(agents, ImportVerdict::Linked, "{interface}");
                }
                Rule::Linked => assert_eq!(found, ImportVerdict::Linked, "{interface}"),
                Rule::LinkedDenied => assert_eq!(found, ImportVerdict::LinkedDenied, "{interface}"),
                Rule::NeedsHttp | Rule::NeedsConfig | Rule::NeedsMemory | Rule::NeedsKeyvalue => {
                    assert!(matches!(found, ImportVerdict::NotGranted { .. }), "{interface}");
                }
            }
        }
    }
}
