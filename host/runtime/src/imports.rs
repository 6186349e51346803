//! What this host makes of each thing a component may import: the one table.
//!
//! A component whose table says "linked" still reaches nothing by it: mounts, hosts and values
//! are decided call by call, at the door. The table only says what exists, what exists but is
//! always denied, and what must be granted before the component is loaded at all.
//!
//! Invariant: an import that is `Linked` here links in the real linker, and one that is not in
//! this table is `NotLinked`. Deny is the default.

use foreshore_domain::component::{Import, ImportVerdict};
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::grant::Grant;

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
    ("wasi:http/types", Track::Wasi02, Rule::Linked),
    ("wasi:http/outgoing-handler", Track::Wasi02, Rule::NeedsHttp),
    ("wasi:config/store", Track::Exactly("0.2.0-rc.1"), Rule::NeedsConfig),
    ("wasi:logging/logging", Track::Exactly("0.1.0-draft"), Rule::Linked),
    ("foreshore:types/types", Track::Foreshore01, Rule::Linked),
    ("foreshore:progress/progress", Track::Foreshore01, Rule::Linked),
    ("foreshore:log/log", Track::Foreshore01, Rule::Linked),
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
pub(crate) fn verdict(import: &str, component: &str, grant: &Grant) -> ImportVerdict {
    let rule = import.rsplit_once('@').and_then(|(interface, version)| {
        TABLE
            .iter()
            .find(|(name, track, _)| *name == interface && track.satisfies(version))
            .map(|(_, _, rule)| *rule)
    });
    match rule {
        None => ImportVerdict::NotLinked,
        Some(Rule::Linked) => ImportVerdict::Linked,
        Some(Rule::LinkedDenied) => ImportVerdict::LinkedDenied,
        Some(Rule::NeedsHttp) if grant.http.is_some() => ImportVerdict::Linked,
        Some(Rule::NeedsHttp) => ImportVerdict::NotGranted {
            grant: format!("[components.{component}.http] allow = [\"GET https://HOST/*\"]"),
        },
        Some(Rule::NeedsConfig) if grant.config.is_some() => ImportVerdict::Linked,
        Some(Rule::NeedsConfig) => ImportVerdict::NotGranted {
            grant: format!("[components.{component}.config] KEY = \"VALUE\""),
        },
    }
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
