//! What the binary carries: the components of `components/`, built by this crate's build script,
//! and the files of a new project.
//!
//! It loads nothing and grants nothing: a shipped component goes through the same constructor as
//! any other, under the same policy. The limits here are defaults below the operator's.

pub mod project;

use std::sync::LazyLock;

use foreshore_domain::limits::LimitsPatch;

/// A component in the binary.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// What it is called.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The component itself.
    pub bytes: &'static [u8],
    /// Where it needs other limits than the host's defaults; an operator's own come on top.
    pub limits: LimitsPatch,
}

/// What stands behind `foreshore bench`: carried, and never served unless it is added by hand.
const BENCHMARK_GUESTS: &[&str] = &["bench", "bench-agent", "bench-http"];

/// The components in the binary, in the order of their names.
pub fn components() -> &'static [Shipped] {
    static COMPONENTS: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
        embedded().filter(|shipped| !BENCHMARK_GUESTS.contains(&shipped.name)).collect()
    });
    &COMPONENTS
}

/// A guest of the benchmarks: `bench`, `bench-agent` or `bench-http`.
pub fn benchmark_guest(name: &str) -> Option<Shipped> {
    embedded().find(|shipped| shipped.name == name && BENCHMARK_GUESTS.contains(&name))
}

fn embedded() -> impl Iterator<Item = Shipped> {
    let embedded: &[(&'static str, &'static str, &'static [u8])] =
        include!(concat!(env!("OUT_DIR"), "/components.rs"));
    embedded.iter().map(|&(name, version, bytes)| {
        // A file of cargo's has the name of the library.
        let name = match name {
            "bench_agent" => "bench-agent",
            "bench_http" => "bench-http",
            name => name,
        };
        Shipped { name, version, bytes, limits: limits(name) }
    })
}

/// What a class of tool is given beyond the defaults: estimates, not measurements.
fn limits(name: &str) -> LimitsPatch {
    let default = LimitsPatch::default();
    match name {
        // Runs a stranger's program in an interpreter in a sandbox: some fifty instructions to one.
        "interpret" => LimitsPatch {
            fuel: Some(10_000_000_000),
            memory_max_bytes: Some(64 << 20),
            deadline_ms: Some(10_000),
            ..default
        },
        // Holds a whole document as values, at several times its size.
        "query" => {
            LimitsPatch { fuel: Some(5_000_000_000), memory_max_bytes: Some(64 << 20), ..default }
        }
        // Reads trees of files; each step of that is the host's time.
        "files" => LimitsPatch { fuel: Some(5_000_000_000), deadline_ms: Some(10_000), ..default },
        // Runs a script over files; holds what is between the stages of a pipeline. What it writes
        // comes twice, as text and as a value, where a byte may take six.
        "shell" => LimitsPatch {
            fuel: Some(10_000_000_000),
            memory_max_bytes: Some(64 << 20),
            deadline_ms: Some(10_000),
            result_max_bytes: Some(4 << 20),
            ..default
        },
        // Waits for others.
        "fetch" => LimitsPatch { deadline_ms: Some(30_000), ..default },
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use foreshore_domain::limits::Limits;

    use super::*;

    #[test]
    fn the_shipped_components_are_all_there() {
        let names: Vec<_> = components().iter().map(|shipped| shipped.name).collect();
        let agents = ["assistant", "panel", "planner"];
        let tools = ["fetch", "files", "interpret", "memory", "query", "shell"];
        let mut expected: Vec<_> = agents.into_iter().chain(tools).collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
        for shipped in components() {
            // 0x0d 0x00 0x01 0x00 after the magic number: a component, not a module.
            assert_eq!(shipped.bytes[..8], *b"\0asm\x0d\0\x01\0", "{}", shipped.name);
        }
    }

    #[test]
    fn a_component_states_the_name_and_version_it_is_shipped_under() {
        for Shipped { name, version, bytes, .. } in components() {
            let identity =
                format!("foreshore:component{{\"name\":\"{name}\",\"version\":\"{version}\"}}");
            let found = bytes.windows(identity.len()).any(|window| window == identity.as_bytes());
            assert!(found, "{identity}");
        }
    }

    #[test]
    fn the_limits_of_each_are_limits_that_can_be_set() {
        for shipped in components() {
            Limits::default().with(&shipped.limits).expect("within the ceilings");
        }
    }
}
