//! `foreshore files`: watched directories, what changed in them and who did it, and putting it
//! back, for people.
//!
//! As with `memory`, everything is asked of the API: of the server that has the data directory,
//! or of a host that is started for the length of the command and watches meanwhile.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::output::{Paint, TextTable, bytes, print, print_json, printable};
use super::{ConfigArguments, moment};
use crate::client::{self, Client, path, query};

/// See what changed in watched directories, and put it back
#[derive(Debug, Subcommand)]
pub(super) enum Files {
    /// List the watched directories and what nobody approved
    Status(Status),
    /// List changes, oldest first, with who made them
    Log(Log),
    /// List the kept versions of a file, newest first
    Versions(Versions),
    /// Show what differs between two versions; between the approved one and what is there
    Diff(Diff),
    /// Put the approved version of a file back, or the one with a hash
    Restore(Restore),
    /// Say that what is there is good: of a path and what is below it, or of the whole root
    Approve(Approve),
    /// Take back what a call changed: all of it, or nothing
    Undo(Undo),
    /// Read and hash everything in a root now
    Scan(Scan),
}

/// What every one of them takes.
#[derive(Debug, Args)]
struct Common {
    /// Print the answer of the HTTP API
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Only of this root
    #[arg(long)]
    root: Option<String>,
    /// Only changes after this number
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// At most so many, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Versions {
    root: String,
    path: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    root: String,
    path: String,
    /// The older version, by its hash
    #[arg(long, value_name = "HASH")]
    from: Option<String>,
    /// The newer version, by its hash
    #[arg(long, value_name = "HASH")]
    to: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    root: String,
    path: String,
    /// A version, by its hash
    #[arg(long)]
    hash: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Approve {
    root: String,
    path: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Undo {
    /// The call, such as call_0197f3a4c2d97c018f6a3d2e5b7c9d10
    call_id: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Scan {
    root: String,
    #[command(flatten)]
    common: Common,
}

fn run(
    common: &Common,
    question: impl AsyncFnOnce(&Client) -> Result<Value, Failure>,
    show: impl FnOnce(&Value, &Paint) -> String,
) -> Result<Exit, Failure> {
    let config = common.config.load()?;
    crate::telemetry::start_quietly(&config.sections.log)?;
    let answer = client::ask_about_files(&config, question)?;
    if common.json {
        print_json(&answer);
    } else {
        print(&show(&answer, &Paint::stdout()));
    }
    Ok(Exit::Success)
}

impl Files {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let at = |what: &str| path(&["files", what]);
        match self {
            Self::Status(Status { common }) => {
                run(&common, async |client| client.get(&at("roots")).await, status)
            }
            Self::Log(Log { root, since, limit, common }) => {
                let query = query(&[
                    ("root", root),
                    ("since", since.map(|since| since.to_string())),
                    ("limit", Some(limit.to_string())),
                ]);
                run(&common, async |client| client.get(&(at("changes") + &query)).await, changes)
            }
            Self::Versions(Versions { root, path, common }) => {
                let query = query(&[("root", Some(root)), ("path", Some(path))]);
                run(&common, async |client| client.get(&(at("versions") + &query)).await, versions)
            }
            Self::Diff(Diff { root, path, from, to, common }) => {
                let query = query(&[
                    ("root", Some(root)),
                    ("path", Some(path)),
                    ("from", from),
                    ("to", to),
                ]);
                run(&common, async |client| client.get(&(at("diff") + &query)).await, diff)
            }
            Self::Restore(Restore { root, path, hash, common }) => {
                let mut body = json!({ "root": root, "path": path });
                if let Some(hash) = hash {
                    body["hash"] = hash.into();
                }
                post(&common, &at("restore"), &body, put_back)
            }
            Self::Approve(Approve { root, path, common }) => {
                let mut body = json!({ "root": root });
                if let Some(path) = path {
                    body["path"] = path.into();
                }
                let show = |answer: &Value, _: &Paint| format!("{} approved", answer["approved"]);
                post(&common, &at("approve"), &body, show)
            }
            Self::Undo(Undo { call_id, common }) => {
                post(&common, &at("undo"), &json!({ "call_id": call_id }), put_back)
            }
            Self::Scan(Scan { root, common }) => {
                let show = |answer: &Value, _: &Paint| {
                    format!(
                        "{} entries, {} hashed, {} differed, {} ms",
                        answer["entries"],
                        bytes(answer["hashed_bytes"].as_u64().unwrap_or(0)),
                        answer["differed"],
                        answer["took_ms"]
                    )
                };
                post(&common, &at("scan"), &json!({ "root": root }), show)
            }
        }
    }
}

fn post(
    common: &Common,
    path: &str,
    body: &Value,
    show: impl FnOnce(&Value, &Paint) -> String,
) -> Result<Exit, Failure> {
    run(common, async |client| client.send("POST", path, Some(body)).await, show)
}

fn status(answer: &Value, paint: &Paint) -> String {
    let roots = answer["roots"].as_array().map(Vec::as_slice).unwrap_or_default();
    if roots.is_empty() {
        return "no directory is watched: mount one read-write, or name it in [[files.roots]]"
            .to_owned();
    }
    let mut table = TextTable::new(&["root", "policy", "state", "unapproved", "directory"]);
    for root in roots {
        let ready = if root["ready"] == true { "" } else { " (first look)" };
        let unapproved = root["unapproved"].as_array().map_or(0, Vec::len);
        table.row([
            text(&root["name"]),
            text(&root["policy"]),
            text(&root["state"]) + ready,
            unapproved.to_string(),
            text(&root["path"]),
        ]);
    }
    let mut shown = table.render(paint);
    for root in roots {
        let name = text(&root["name"]);
        for path in root["unapproved"].as_array().into_iter().flatten().take(20) {
            shown += &format!("\n{name}: {} changed from outside", text(path));
        }
        for report in root["reports"].as_array().into_iter().flatten().rev().take(5) {
            shown += &format!("\n{name}: {}", paint.dim(&text(report)));
        }
    }
    shown
}

fn changes(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["seq", "at", "root", "kind", "path", "author"]);
    for change in answer["changes"].as_array().into_iter().flatten() {
        let author = &change["author"];
        let author = match (&author["component"], &author["host"]) {
            (Value::String(component), _) => format!("{component} {}", text(&author["call_id"])),
            (_, Value::String(act)) => format!("host ({act})"),
            _ => text(author),
        };
        table.row([
            change["seq"].to_string(),
            at(&change["at"]),
            text(&change["root"]),
            text(&change["kind"]),
            text(&change["path"]),
            author,
        ]);
    }
    table.render(paint)
}

fn versions(answer: &Value, paint: &Paint) -> String {
    let mut table = TextTable::new(&["seq", "at", "size", "hash"]);
    for version in answer["versions"].as_array().into_iter().flatten() {
        table.row([
            version["seq"].to_string(),
            at(&version["at"]),
            bytes(version["size_bytes"].as_u64().unwrap_or(0)),
            text(&version["hash"]),
        ]);
    }
    table.render(paint)
}

fn diff(answer: &Value, paint: &Paint) -> String {
    match (&answer["diff"], answer["kind"].as_str()) {
        (Value::String(diff), _) => diff
            .lines()
            .map(|line| match line.as_bytes().first() {
                Some(b'+') => paint.green(&printable(line)),
                Some(b'-') => paint.red(&printable(line)),
                _ => printable(line),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        (_, Some("same")) => "no difference".to_owned(),
        (_, kind) => format!("not compared: {}", kind.unwrap_or("unknown")),
    }
}

fn put_back(answer: &Value, _: &Paint) -> String {
    let paths = answer["paths"].as_array().map(Vec::as_slice).unwrap_or_default();
    if paths.is_empty() {
        return "nothing was to be put back".to_owned();
    }
    let line =
        |path: &Value| format!("put back: {} in {}", text(&path["path"]), text(&path["root"]));
    paths.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn at(value: &Value) -> String {
    value.as_u64().map(moment::written).unwrap_or_default()
}

fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or_default()).replace('\n', "\\n")
}
