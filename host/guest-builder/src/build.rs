//! One workspace of guests, built.
//!
//! Flags for the compiler are the workspace's own affair (`.cargo/config.toml` and profile), so that
//! `cargo build --release --target wasm32-wasip2` by hand gives the same components.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::environment;

const TARGET: &str = "wasm32-wasip2";

/// A component that was built, or was found prebuilt.
#[derive(Clone, Debug)]
pub struct BuiltComponent {
    /// The package's name.
    pub name: String,
    /// The version that it states, or the package's.
    pub version: String,
    /// Where it lies. The next build may replace it.
    pub path: PathBuf,
    /// Its bytes, read while no other build could replace them.
    pub bytes: Vec<u8>,
}

/// Builds every component of a workspace, and tells cargo what to watch.
///
/// `target_directory` is used by guests alone ([`crate::guest_target_directory`]); two builds of
/// one workspace at a time take turns. Crates that are in cargo's cache need no network.
///
/// # Errors
/// [`BuildError`], with the compiler's own words.
pub fn build(workspace: &Path, target_directory: &Path) -> Result<Vec<BuiltComponent>, BuildError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::File { path, source }
    };
    let workspace = workspace.canonicalize().map_err(at(workspace))?;
    fs::create_dir_all(target_directory).map_err(at(target_directory))?;
    let lock_path = target_directory.join(".building");
    let lock = File::create(&lock_path).map_err(at(&lock_path))?;
    lock.lock().map_err(at(&lock_path))?;

    let packages = packages(&workspace)?;
    watch(&workspace.join("Cargo.toml"));
    watch(&workspace.join("Cargo.lock"));
    let configuration = workspace.join(".cargo/config.toml");
    if configuration.exists() {
        watch(&configuration);
    }
    // Before building: a build that fails must be tried again once its sources have changed.
    for package in &packages {
        watch(&package.manifest);
        watch(&package.manifest.with_file_name("src"));
    }
    run_cargo(&workspace, target_directory)?;

    let release = target_directory.join(TARGET).join("release");
    let mut components = Vec::new();
    for package in packages {
        let file = release.join(package.library.replace('-', "_"));
        watch_sources(&file.with_extension("d"));
        let path = file.with_extension("wasm");
        let bytes = fs::read(&path).map_err(at(&path))?;
        components.push(BuiltComponent {
            name: package.name,
            version: package.version,
            path,
            bytes,
        });
    }
    components.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(components)
}

/// The names of a workspace's components, without building them.
///
/// # Errors
/// [`BuildError`], for a workspace that cargo does not understand.
pub(crate) fn component_names(workspace: &Path) -> Result<Vec<String>, BuildError> {
    let mut names: Vec<String> =
        packages(workspace)?.into_iter().map(|package| package.name).collect();
    names.sort();
    Ok(names)
}

/// A member of the workspace that is a component.
struct Package {
    name: String,
    version: String,
    manifest: PathBuf,
    library: String,
}

fn packages(workspace: &Path) -> Result<Vec<Package>, BuildError> {
    let output = environment::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace)
        .output()
        .map_err(BuildError::Cargo)?;
    if !output.status.success() {
        return Err(BuildError::failed(workspace, &output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(BuildError::Metadata)?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(packages.iter().filter_map(component).collect())
}

/// The package, if one of its targets is a `cdylib`.
fn component(package: &Value) -> Option<Package> {
    let is_cdylib = |target: &&Value| {
        target["crate_types"].as_array().is_some_and(|types| types.iter().any(|t| t == "cdylib"))
            && target["kind"].as_array().is_some_and(|kinds| kinds.iter().all(|k| k != "example"))
    };
    let library = package["targets"].as_array()?.iter().find(is_cdylib)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(Package {
        name: text(&package["name"])?,
        version: text(&package["version"])?,
        manifest: PathBuf::from(package["manifest_path"].as_str()?),
        library: text(&library["name"])?,
    })
}

fn run_cargo(workspace: &Path, target_directory: &Path) -> Result<(), BuildError> {
    let output = environment::cargo()
        .args(["build", "--release", "--locked", "--workspace", "--lib", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_directory)
        // Cargo reads `.cargo/config.toml` from where it runs.
        .current_dir(workspace)
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .map_err(BuildError::Cargo)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(BuildError::failed(workspace, &output.stderr))
    }
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// Watches what cargo noted beside an artifact: every source it came from, those of path
/// dependencies included. Without the note the sources of the workspace itself are watched.
fn watch_sources(note: &Path) {
    let Ok(note) = fs::read_to_string(note) else { return };
    for path in sources(&note) {
        watch(Path::new(&path));
    }
}

/// The prerequisites of a make rule; spaces in paths are escaped.
fn sources(note: &str) -> Vec<String> {
    let rule = note.lines().next().unwrap_or_default();
    let Some((_, list)) = rule.split_once(": ") else { return Vec::new() };
    let marked = list.replace("\\ ", "\0");
    marked.split_whitespace().map(|path| path.replace('\0', " ")).collect()
}

/// Why guests were not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A file or directory.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// There is no cargo to run.
    #[error("cargo does not run")]
    Cargo(#[source] io::Error),
    /// Cargo's description of the workspace.
    #[error("cargo metadata is not understood")]
    Metadata(#[source] serde_json::Error),
    /// Guests that do not compile.
    #[error("the guests of {} do not build:\n{said}", workspace.display())]
    Failed {
        /// Which workspace.
        workspace: PathBuf,
        /// The end of what cargo said, from its first error on.
        said: String,
    },
}

impl BuildError {
    fn failed(workspace: &Path, stderr: &[u8]) -> Self {
        const LINES_MAX: usize = 60;
        let stderr = String::from_utf8_lossy(stderr);
        let lines: Vec<&str> = stderr.lines().collect();
        let first = lines.iter().position(|line| line.starts_with("error")).unwrap_or_default();
        let said = lines[first..].iter().take(LINES_MAX).copied().collect::<Vec<_>>().join("\n");
        Self::Failed { workspace: workspace.to_owned(), said }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_the_note_beside_an_artifact() {
        let note = "/t/files.wasm: /a/src/lib.rs /b\\ c/lib.rs\n\n/a/src/lib.rs:\n";
        assert_eq!(sources(note), ["/a/src/lib.rs", "/b c/lib.rs"]);
        assert!(sources("").is_empty());
    }

    #[test]
    fn an_error_starts_at_the_first_error() {
        let stderr = b"   Compiling x\nwarning: y\nerror[E0001]: z\n  --> here\n";
        let error = BuildError::failed(Path::new("/w"), stderr).to_string();
        assert_eq!(error, "the guests of /w do not build:\nerror[E0001]: z\n  --> here");
    }

    #[test]
    fn only_cdylibs_are_components() {
        let package = |types: &str, kind: &str| {
            serde_json::json!({
                "name": "word-count", "version": "0.1.0", "manifest_path": "/w/Cargo.toml",
                "targets": [{"name": "word_count", "crate_types": [types], "kind": [kind]}],
            })
        };
        assert!(component(&package("cdylib", "cdylib")).is_some());
        assert!(component(&package("lib", "lib")).is_none());
        assert!(component(&package("cdylib", "example")).is_none());
    }
}
