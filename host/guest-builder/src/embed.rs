//! From a workspace to bytes in a binary.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use crate::build::component_names;
use crate::identity::stated_version;
use crate::{BuildError, BuiltComponent, TargetError, build, ensure_target};

/// Builds the workspace's components, or takes prebuilt ones from the directory that the
/// environment variable names, and writes `components.rs` for the crate to include.
///
/// # Errors
/// [`EmbedError`].
pub fn embed(workspace: &Path, prebuilt_variable: Option<&str>) -> Result<(), EmbedError> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(EmbedError::NoBuildScript)?);
    if let Some(variable) = prebuilt_variable {
        println!("cargo::rerun-if-env-changed={variable}");
        if let Some(directory) = env::var_os(variable).filter(|value| !value.is_empty()) {
            let names = component_names(workspace)?;
            return write(&prebuilt(Path::new(&directory), variable, &names)?, &out);
        }
    }
    ensure_target()?;
    write(&build(workspace, &guest_target_directory(&out, workspace))?, &out)
}

/// [`embed`], and on an error one clear message and the end of the build script.
pub fn embed_or_exit(workspace: &Path, prebuilt_variable: Option<&str>) {
    let Err(error) = embed(workspace, prebuilt_variable) else { return };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    for line in text.lines() {
        println!("cargo::error={line}");
    }
    if let Some(variable) = prebuilt_variable {
        println!(
            "cargo::error=to do without building guests, set {variable} to a directory of prebuilt ones"
        );
    }
    std::process::exit(1);
}

/// Where guests are built: `<target>/guests/<workspace>`, one for every profile of the host, for
/// theirs is always release.
pub fn guest_target_directory(out: &Path, workspace: &Path) -> PathBuf {
    // <target>/<profile>/build/<package>/out
    let build = out.ancestors().find(|path| path.file_name().is_some_and(|name| name == "build"));
    let target = build.and_then(|build| build.ancestors().nth(2)).unwrap_or(out);
    let workspace = workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned());
    let mut parts = workspace.components().rev().map(|part| part.as_os_str().to_string_lossy());
    let name = parts.next().unwrap_or_default();
    // `tests/guests` and another `guests` must not share a directory.
    let parent = parts.next().unwrap_or_default();
    target.join("guests").join(format!("{parent}-{name}"))
}

/// The components of these names in a directory, as `NAME.wasm`.
///
/// # Errors
/// [`EmbedError::NotPrebuilt`] for the first that is missing, [`EmbedError::NoVersion`] for one
/// that does not say which version it is.
pub fn prebuilt(
    directory: &Path,
    variable: &str,
    names: &[String],
) -> Result<Vec<BuiltComponent>, EmbedError> {
    let read = |name: &String| {
        let path = directory.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", path.display());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => {
                return Err(EmbedError::NotPrebuilt {
                    variable: variable.to_owned(),
                    path,
                    source,
                });
            }
        };
        match stated_version(&bytes) {
            Some(version) => Ok(BuiltComponent { name: name.clone(), version, path, bytes }),
            None => Err(EmbedError::NoVersion { path }),
        }
    };
    names.iter().map(read).collect()
}

/// Writes each component and `components.rs` to a directory.
///
/// # Errors
/// [`EmbedError::Write`].
pub fn write(components: &[BuiltComponent], out: &Path) -> Result<(), EmbedError> {
    let put = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        fs::write(&path, bytes).map_err(|source| EmbedError::Write { path, source })
    };
    let mut list = String::from("&[\n");
    for BuiltComponent { name, version, bytes, .. } in components {
        let file = format!("{name}.wasm");
        put(&file, bytes)?;
        writeln!(
            list,
            "    ({name:?}, {version:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))),"
        )
        .expect("invariant: a String takes any text");
    }
    list.push(']');
    put("components.rs", list.as_bytes())
}

/// Why nothing was embedded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// Called from elsewhere.
    #[error("OUT_DIR is not set: components are embedded by a build script")]
    NoBuildScript,
    /// No target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No guests.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A prebuilt component that is not there.
    #[error("{variable} is set, and {} cannot be read", path.display())]
    NotPrebuilt {
        /// The environment variable.
        variable: String,
        /// What was looked for.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A prebuilt component of unknown version.
    #[error("{} does not state its version: it was not built with the SDK's export!", path.display())]
    NoVersion {
        /// Which.
        path: PathBuf,
    },
    /// A file in `OUT_DIR`.
    #[error("{} cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_of_all_profiles_share_a_directory_and_workspaces_do_not() {
        let directory = |out: &str, workspace: &str| {
            guest_target_directory(Path::new(out), Path::new(workspace))
        };
        let debug = directory("/t/debug/build/shipped-0/out", "/nowhere/components");
        let release = directory("/t/release/build/shipped-1/out", "/nowhere/components");
        assert_eq!(debug, Path::new("/t/guests/nowhere-components"));
        assert_eq!(debug, release);
        assert_ne!(debug, directory("/t/debug/build/shipped-0/out", "/nowhere/tests/guests"));
    }

    #[test]
    fn a_prebuilt_component_is_read_and_a_missing_one_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let section = br#"foreshore:component{"name":"one","version":"1.2.3"}"#;
        fs::write(directory.path().join("one.wasm"), section).expect("written");
        fs::write(directory.path().join("two.wasm"), b"no section").expect("written");
        let read = |name: &str| prebuilt(directory.path(), "VARIABLE", &[name.to_owned()]);
        assert_eq!(read("one").expect("found")[0].version, "1.2.3");
        assert!(matches!(read("two"), Err(EmbedError::NoVersion { .. })));
        let missing = read("three").expect_err("missing").to_string();
        assert!(missing.starts_with("VARIABLE is set, and "), "{missing}");
        assert!(missing.contains("three.wasm"), "{missing}");
    }

    #[test]
    fn what_is_written_can_be_included() {
        let directory = tempfile::tempdir().expect("a directory");
        let component = BuiltComponent {
            name: "one".to_owned(),
            version: "1.2.3".to_owned(),
            path: PathBuf::new(),
            bytes: b"bytes".to_vec(),
        };
        write(&[component], directory.path()).expect("written");
        let list = fs::read_to_string(directory.path().join("components.rs")).expect("a list");
        let line = r#"("one", "1.2.3", include_bytes!(concat!(env!("OUT_DIR"), "/one.wasm"))),"#;
        assert_eq!(list, format!("&[\n    {line}\n]"));
        assert_eq!(fs::read(directory.path().join("one.wasm")).expect("bytes"), b"bytes");
    }
}
