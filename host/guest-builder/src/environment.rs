//! The environment of a nested cargo: what the outer one, or its user, set for the outer build must
//! not reach the guests. `RUSTFLAGS` of a coverage run, clippy's wrapper or an outer target
//! directory would build other guests, or none.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Settings of where crates come from, which hold for every build on this machine.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];

/// Set by cargo for a build script, or by a user for the outer build.
const DROPPED: &[&str] = &[
    "CARGO",
    "__CARGO_",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_LINKER",
    "RUSTC_BOOTSTRAP",
    "RUSTDOC",
    "CLIPPY_",
    "LLVM_PROFILE_FILE",
    "MAKEFLAGS",
    "MFLAGS",
    "DEP_",
    "DEBUG",
    "OPT_LEVEL",
    "PROFILE",
    "TARGET",
    "HOST",
    "NUM_JOBS",
    "OUT_DIR",
];

/// The cargo that runs this build script, or the one on the path, in a clean environment.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(cargo_path());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_dropped) {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn cargo_path() -> PathBuf {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")).into()
}

fn is_dropped(name: &str) -> bool {
    // An entry that ends in `_` is a prefix, as is `CARGO`; the rest are whole names.
    let matches = |entry: &&str| {
        name == *entry
            || (entry.ends_with('_') && name.starts_with(*entry))
            || (*entry == "CARGO" && name.starts_with("CARGO_"))
    };
    DROPPED.iter().any(matches) && !KEPT.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_for_the_outer_build_stays_outside() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_MAKEFLAGS",
            "OUT_DIR",
            "CARGO",
        ] {
            assert!(is_dropped(name), "{name}");
        }
    }

    #[test]
    fn where_crates_come_from_is_kept() {
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "CARGO_REGISTRIES_X_INDEX",
            "PATH",
            "RUSTC",
            "RUSTUP_TOOLCHAIN",
            "HOME",
            "TARGETS",
            "HTTPS_PROXY",
        ] {
            assert!(!is_dropped(name), "{name}");
        }
    }
}
