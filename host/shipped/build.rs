//! Builds `components/` and writes down where its files are for the crate to include; lists the
//! files of a new project.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() {
    // Read when it runs, not when it was compiled: a target directory may serve several clones.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let repository = Path::new(&manifest).join("../..");
    foreshore_guest_builder::embed_or_exit(
        &repository.join("components"),
        Some("FORESHORE_COMPONENTS"),
    );
    for kind in ["tool", "agent"] {
        list_project(&repository.join("sdk"), kind)
            .expect("the SDK and its templates are beside this crate");
    }
}

/// Writes `KIND.rs`: an expression of (path in the new project, text).
fn list_project(sdk: &Path, kind: &str) -> io::Result<()> {
    let mut files = Vec::new();
    collect(&sdk.join(format!("templates/{kind}-rust")), Path::new(""), &mut files)?;
    let vendor = Path::new("vendor/foreshore-sdk");
    for part in ["rust", "rust-macros"] {
        for name in ["Cargo.toml", "README.md", "src", "wit"] {
            let source = sdk.join(part).join(name);
            if source.exists() {
                collect(&source, &vendor.join(part).join(name), &mut files)?;
            }
        }
    }
    files.sort();
    let mut list = String::from("&[\n");
    for (path, source) in files {
        writeln!(list, "    ({path:?}, include_str!({source:?})),")
            .expect("a String takes any text");
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join(format!("{kind}.rs")), list)
}

/// Every file below `source`, links followed, by the path it has in the project.
fn collect(source: &Path, path: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", source.display());
    if !source.is_dir() {
        files.push((path.to_owned(), source.canonicalize()?));
        return Ok(());
    }
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        // What a build by hand leaves behind.
        if entry.file_name() != "target" {
            collect(&entry.path(), &path.join(entry.file_name()), files)?;
        }
    }
    Ok(())
}
