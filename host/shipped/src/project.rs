//! What `foreshore new` writes: a template of `sdk/templates` with its name filled in, and the SDK
//! beside it in `vendor/`, so that the new folder builds wherever it lies.
//!
//! It touches no file system: the command decides where files go and what it may overwrite.

/// A file of a new project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    /// Where it goes, from the project's folder, with `/`.
    pub path: &'static str,
    /// What is in it.
    pub text: String,
}

/// The files of a component in Rust with one tool.
///
/// # Errors
/// A name that a component may have and a package may not.
pub fn tool(name: &str) -> Result<Vec<ProjectFile>, ProjectNameError> {
    project(include!(concat!(env!("OUT_DIR"), "/tool.rs")), name)
}

/// The files of a component in Rust that is an agent.
///
/// # Errors
/// As [`tool`].
pub fn agent(name: &str) -> Result<Vec<ProjectFile>, ProjectNameError> {
    project(include!(concat!(env!("OUT_DIR"), "/agent.rs")), name)
}

fn project(
    files: &[(&'static str, &str)],
    name: &str,
) -> Result<Vec<ProjectFile>, ProjectNameError> {
    check(name)?;
    Ok(files
        .iter()
        .map(|(path, text)| ProjectFile { path, text: filled_in(path, text, name) })
        .collect())
}

fn filled_in(path: &str, text: &str, name: &str) -> String {
    if path.starts_with("vendor/") {
        return text.to_owned();
    }
    text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_"))
}

fn check(name: &str) -> Result<(), ProjectNameError> {
    let refused = |reason| Err(ProjectNameError { name: name.to_owned(), reason });
    if foreshore_domain::component::check_name("component", name).is_err() {
        return refused("a component's name takes 1 to 64 of a-z, 0-9, \"-\" and \"_\"");
    }
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        return refused("a package's name starts with a letter");
    }
    if RESERVED.contains(&name) {
        return refused("the name has a meaning in Rust");
    }
    Ok(())
}

/// Keywords, crates that come with the compiler, and the crates that the project depends on.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "foreshore-sdk",
    "foreshore-sdk-macros",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "schemars",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// A name that a new project cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectNameError {
    name: String,
    reason: &'static str,
}

impl std::fmt::Display for ProjectNameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no project can be called \"{}\": {}", self.name.escape_default(), self.reason)
    }
}

impl std::error::Error for ProjectNameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_filled_in_and_no_placeholder_stays() {
        for files in [tool("word-size"), agent("word-size")] {
            let files = files.expect("a name");
            assert!(text(&files, "Cargo.toml").contains("name = \"word-size\""));
            assert!(text(&files, "Cargo.lock").contains("name = \"word-size\""));
            for file in &files {
                let is_ours = !file.path.starts_with("vendor/");
                assert!(!(is_ours && file.text.contains("{{")), "{}", file.path);
            }
        }
        let files = tool("word-size").expect("a name");
        assert!(text(&files, "README.md").contains("release/word_size.wasm"));
        let files = agent("word-size").expect("a name");
        assert!(text(&files, "README.md").contains("[agents.word-size]"));
        assert!(text(&files, "src/lib.rs").contains("#[agent(name = \"word-size\")]"));
    }

    fn text<'a>(files: &'a [ProjectFile], path: &str) -> &'a str {
        let file = files.iter().find(|file| file.path == path);
        &file.unwrap_or_else(|| panic!("{path} is missing")).text
    }

    #[test]
    fn the_contract_travels_with_the_sdk_unchanged() {
        let files = tool("hello").expect("a name");
        let path = "wit/deps/foreshore-tool-0.1.0/tool.wit";
        let vendored = format!("vendor/foreshore-sdk/rust/{path}");
        let vendored = files.iter().find(|file| file.path == vendored).expect("the contract");
        assert_eq!(vendored.text, include_str!("../../../wit/deps/foreshore-tool-0.1.0/tool.wit"));
    }

    #[test]
    fn what_cannot_be_a_package_is_refused() {
        for name in ["7zip", "fn", "Hello", "a.b", "serde", "test", "", "../up"] {
            assert!(tool(name).is_err(), "{name}");
        }
    }

    /// Whoever has built this repository has these crates, so a new project builds offline.
    #[test]
    fn a_project_needs_no_crates_but_those_of_the_shipped_components() {
        let lock = |text: &str| -> Vec<String> {
            let packages = text.split("[[package]]").skip(1);
            packages.map(|package| package.lines().skip(1).take(2).collect()).collect()
        };
        let shipped = lock(include_str!("../../../components/Cargo.lock"));
        let files = tool("hello").expect("a name");
        let project = files.iter().find(|file| file.path == "Cargo.lock").expect("a lock file");
        for package in lock(&project.text) {
            assert!(package.contains("\"hello\"") || shipped.contains(&package), "{package}");
        }
    }
}
