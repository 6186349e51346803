//! A test case as it is written: a TOML file, or a folder with a `case.toml` and the files it needs.
//!
//! It is read by the same reader as the configuration, so a mistake is answered with file, line,
//! key and the nearest key there is. Nothing here runs anything.
//! Invariant: what is written is asserted. A key that is not known is refused, and a case without
//! an expectation is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use foreshore_domain::http_rule::HttpRule;
use foreshore_domain::limits::LimitsPatch;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::sections::{AccessWord, ClockWord, Parsed};
use crate::config::{ConfigError, tree};
use foreshore_domain::grant::GuestPath;

/// One call of one tool, and what should come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// The tool's name within the component.
    pub(crate) tool: String,
    /// The arguments; an empty object where nothing is written.
    #[serde(default = "empty_object")]
    pub(crate) arguments: Json,
    /// What the component may touch in this case; nothing, where nothing is written.
    #[serde(default)]
    pub(crate) grants: Grants,
    /// What the call may use, lower or higher than the defaults.
    #[serde(default)]
    pub(crate) limits: LimitsPatch,
    /// What servers answer. No case reaches a real network.
    #[serde(default)]
    pub(crate) http: Vec<Exchange>,
    /// What should come of it.
    pub(crate) expect: Expectations,
    /// Where the case's own files are.
    #[serde(skip)]
    pub(crate) directory: PathBuf,
    /// How the case is called in reports.
    #[serde(skip)]
    pub(crate) name: String,
}

/// What the component may touch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Grants {
    pub(crate) mounts: Vec<FixtureMount>,
    pub(crate) http: Option<HttpAllowance>,
    pub(crate) config: Option<BTreeMap<String, String>>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) clock: ClockWord,
}

/// A copy of a folder of the case, shown to the component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FixtureMount {
    /// A folder beside the case; an empty one is made where nothing is written.
    pub(crate) fixture: Option<PathBuf>,
    pub(crate) guest: Parsed<GuestPath>,
    #[serde(default)]
    pub(crate) access: AccessWord,
}

/// Where the component may send requests.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HttpAllowance {
    pub(crate) allow: Vec<Parsed<HttpRule>>,
}

/// A request that a scripted server expects, and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// `GET http://api.example.org/v2/items?page=1`.
    pub(crate) request: String,
    #[serde(default = "ok")]
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: String,
    /// The body as JSON, with the content type that goes with it.
    pub(crate) body_json: Option<Json>,
    /// How long the server takes to answer.
    #[serde(default)]
    pub(crate) delay_ms: u64,
}

/// What should come of a call. Everything written must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expectations {
    /// Whether the tool itself reports failure.
    pub(crate) is_error: Option<bool>,
    /// The structured result, exactly.
    pub(crate) result: Option<Json>,
    /// A part of the structured result: objects may have more keys.
    pub(crate) result_subset: Option<Json>,
    /// A regular expression that the text of the result matches somewhere.
    pub(crate) text: Option<String>,
    /// The code of a denial, whether the call ended by it or the tool coped with it.
    pub(crate) denied: Option<String>,
    /// The code of the error that ended the call.
    pub(crate) error: Option<String>,
    /// A ceiling on the fuel used.
    pub(crate) fuel_max: Option<u64>,
    /// A ceiling on the memory held at once.
    pub(crate) memory_max_bytes: Option<u64>,
    /// Regular expressions, each of which some log line matches; a line reads `info: message`.
    pub(crate) logs: Vec<String>,
    /// Files after the call, by their path in the component's eyes.
    pub(crate) files: BTreeMap<String, String>,
    /// The requests that arrived, in order, as `METHOD URL`.
    pub(crate) requests: Option<Vec<String>>,
}

fn empty_object() -> Json {
    Json::Object(serde_json::Map::new())
}

fn ok() -> u16 {
    200
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CaseError {
    #[error("cases {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "{} holds no case: write one as NAME.toml, or as NAME/case.toml with the files it needs",
        path.display()
    )]
    NoCases { path: PathBuf },
    #[error("{}: this folder holds no case.toml", path.display())]
    EmptyFolder { path: PathBuf },
    #[error(transparent)]
    Read(#[from] ConfigError),
    #[error("{}: {message}", path.display())]
    Refused { path: PathBuf, message: String },
}

/// All cases of a folder, by name.
///
/// # Errors
/// A folder without cases, or a case that cannot be read: nothing is skipped.
pub(crate) fn read_all(directory: &Path) -> Result<Vec<Case>, CaseError> {
    let unreadable = |source| CaseError::Unreadable { path: directory.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    let cases = paths
        .iter()
        .filter_map(|path| case_file(path).transpose())
        .map(|file| read(&file?))
        .collect::<Result<Vec<_>, CaseError>>()?;
    if cases.is_empty() {
        return Err(CaseError::NoCases { path: directory.to_owned() });
    }
    Ok(cases)
}

/// The file of the case that an entry of the folder is, if it is one. Folders whose names begin
/// with `_` or `.` are for fixtures that cases share.
fn case_file(path: &Path) -> Result<Option<PathBuf>, CaseError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with(['_', '.']) {
        return Ok(None);
    }
    if path.is_dir() {
        let file = path.join("case.toml");
        return if file.is_file() {
            Ok(Some(file))
        } else {
            Err(CaseError::EmptyFolder { path: path.to_owned() })
        };
    }
    Ok(path.extension().is_some_and(|extension| extension == "toml").then(|| path.to_owned()))
}

fn read(file: &Path) -> Result<Case, CaseError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| CaseError::Unreadable { path: file.to_owned(), source })?;
    parse(&text, file)
}

pub(crate) fn parse(text: &str, file: &Path) -> Result<Case, CaseError> {
    let tree: tree::Node = crate::config::parse_toml(text, file)?;
    let mut case = Case::deserialize(&tree).map_err(ConfigError::Read)?;
    let refused = |message: String| CaseError::Refused { path: file.to_owned(), message };
    case.check().map_err(refused)?;
    case.directory = file.parent().unwrap_or(Path::new("")).to_owned();
    let stem = match file.file_name().is_some_and(|name| name == "case.toml") {
        true => case.directory.file_name(),
        false => file.file_stem(),
    };
    case.name = stem.unwrap_or_default().to_string_lossy().into_owned();
    Ok(case)
}

impl Case {
    fn check(&self) -> Result<(), String> {
        if self.expect == Expectations::default() {
            return Err("expect is empty: a case that expects nothing cannot fail".to_owned());
        }
        if self.expect.error.is_some() && self.expect.is_error.is_some() {
            return Err(
                "expect.error and expect.is_error exclude each other: a call that an error ends has no result"
                    .to_owned(),
            );
        }
        if !self.arguments.is_object() {
            return Err("arguments must be a table".to_owned());
        }
        for (index, exchange) in self.http.iter().enumerate() {
            exchange.check().map_err(|message| format!("http[{index}]: {message}"))?;
        }
        for pattern in self.expect.text.iter().chain(&self.expect.logs) {
            regex::Regex::new(pattern).map_err(|error| format!("expect: {error}"))?;
        }
        Ok(())
    }
}

impl Exchange {
    fn check(&self) -> Result<(), String> {
        self.target()?;
        if !(200..600).contains(&self.status) {
            return Err(format!("status {} is none that ends a request", self.status));
        }
        for (name, value) in &self.headers {
            http::HeaderName::try_from(name).map_err(|_| format!("header name \"{name}\""))?;
            http::HeaderValue::try_from(value).map_err(|_| format!("value of header {name}"))?;
        }
        if self.body_json.is_some() && !self.body.is_empty() {
            return Err("body and body_json exclude each other".to_owned());
        }
        Ok(())
    }

    /// Method and URL.
    pub(crate) fn target(&self) -> Result<(http::Method, url::Url), String> {
        let form = || {
            format!(
                "request = \"{}\": write METHOD URL, such as GET https://a.example/b",
                self.request
            )
        };
        let (method, url) = self.request.split_once(' ').ok_or_else(form)?;
        let method = method.parse().map_err(|_| form())?;
        let url: url::Url = url.parse().map_err(|_| form())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(form());
        }
        Ok((method, url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_named(text: &str) -> Result<Case, CaseError> {
        parse(text, Path::new("cases/finds-a-word.toml"))
    }

    #[test]
    fn a_case_is_read_whole() {
        let case = parse_named(
            r#"
            tool = "search"
            arguments = { path = "/data", pattern = "fn main" }
            [grants]
            mounts = [{ fixture = "tree", guest = "/data" }]
            [grants.http]
            allow = ["GET https://api.example.org/*"]
            [limits]
            fuel = 1_000_000
            [[http]]
            request = "GET https://api.example.org/v2"
            body_json = { a = 1 }
            [expect]
            is_error = false
            result_subset = { matches = [{ line = 1 }] }
            fuel_max = 900_000
            "#,
        )
        .expect("valid");
        assert_eq!((case.name.as_str(), case.tool.as_str()), ("finds-a-word", "search"));
        assert_eq!(case.arguments["pattern"], "fn main");
        assert_eq!(case.limits.fuel, Some(1_000_000));
        let (method, url) = case.http[0].target().expect("checked");
        assert_eq!((method, url.path()), (http::Method::GET, "/v2"));
        assert_eq!(case.expect.result_subset.expect("there")["matches"][0]["line"], 1);
    }

    #[test]
    fn a_case_that_cannot_fail_or_be_read_is_refused() {
        let rows = [
            "tool = \"a\"",
            "tool = \"a\"\n[expect]",
            "tool = \"a\"\n[expect]\nis_eror = true",
            "tool = \"a\"\narguments = [1]\n[expect]\nis_error = true",
            "tool = \"a\"\n[expect]\nis_error = true\nerror = \"fuel_exhausted\"",
            "tool = \"a\"\n[expect]\ntext = \"(\"",
            "tool = \"a\"\n[[http]]\nrequest = \"https://a.example\"\n[expect]\nis_error = true",
            "tool = \"a\"\n[[http]]\nrequest = \"GET https://a.example\"\nstatus = 99\n[expect]\nis_error = true",
            "tool = \"a\"\n[grants]\nclock = \"scripted\"\n[expect]\nis_error = true",
        ];
        let told: Vec<String> = rows
            .iter()
            .map(|row| format!("{row}\n=> {}\n", parse_named(row).expect_err(row)))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_folder_without_cases_is_an_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let error = read_all(directory.path()).expect_err("empty");
        assert!(matches!(error, CaseError::NoCases { .. }), "{error}");
        std::fs::create_dir(directory.path().join("forgotten")).expect("made");
        let error = read_all(directory.path()).expect_err("a folder without case.toml");
        assert!(matches!(error, CaseError::EmptyFolder { .. }), "{error}");
    }
}
