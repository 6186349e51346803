//! Runs one case: the real host, started for it alone with exactly the grants it names.
//!
//! Folders that are granted are copies, so a case can write and the next one starts afresh.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use foreshore_control::{Invocation, Source};
use foreshore_domain::call::CallError;
use foreshore_domain::component::ToolName;
use foreshore_domain::grant::{Access, Clock, Grant, GuestPath, HttpGrant, Mount};
use foreshore_domain::limits::Limits;
use foreshore_domain::policy::{ComponentPolicy, Policies};
use tempfile::TempDir;

use super::case::Case;
use super::script::{ADDRESS, Script};
use super::verdict::{Difference, Observed, differences};
use crate::cli::exit::Failure;
use crate::config::Config;
use crate::config::sections::{AccessWord, ClockWord};
use crate::wire_up::{self, Plan};

/// What came of a case.
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) differences: Vec<Difference>,
    pub(crate) usage: foreshore_domain::outcome::Usage,
}

/// Runs a case.
///
/// # Errors
/// What keeps the case from running at all: a fixture that is missing, a component that does
/// not load.
pub(crate) async fn run(
    config: &Config,
    component: &Source,
    name: &str,
    case: &Case,
) -> Result<Report, Failure> {
    let workspace = Workspace::make(case)?;
    let script = Script::start(&case.http).await?;
    let limits = Limits::default()
        .with(&case.limits)
        .map_err(|error| Failure::Usage(format!("case {}: {error}", case.name)))?;
    let policy = ComponentPolicy { grant: Arc::new(grant(case, &workspace)?), limits };
    let plan = Plan {
        policies: Policies::new(BTreeMap::from([(name.to_owned(), policy)]), Limits::default()),
        egress: script.egress(),
        ..Plan::component(config, component.clone())
    };
    let control = wire_up::start(config, plan).await?;
    let tool = ToolName { component: name.to_owned(), version: None, tool: case.tool.clone() };
    let result = control.invoke(Invocation::new(tool, case.arguments.to_string())).await;
    control.drain(wire_up::DRAIN_OF_ONE_CALL).await;

    let (requests, unscripted) = script.requests();
    let files = workspace.read(case.expect.files.keys())?;
    let observed = match result {
        Ok(outcome) => Observed {
            result: Ok(outcome.result),
            denials: outcome.denials,
            usage: outcome.usage,
            logs: outcome.logs,
            files,
            requests,
        },
        Err(failure) => {
            if let CallError::UnknownTool { .. } = failure.error {
                return Err(Failure::Call(failure));
            }
            let (error, usage, logs) = (failure.error, failure.usage, failure.logs);
            Observed { result: Err(error), denials: Vec::new(), usage, logs, files, requests }
        }
    };
    let mut differences = differences(&case.expect, &observed);
    if !unscripted.is_empty() {
        differences.push(Difference {
            expectation: "http".to_owned(),
            expected: "an [[http]] for each request".to_owned(),
            actual: unscripted.join("\n"),
        });
    }
    Ok(Report { name: case.name.clone(), differences, usage: observed.usage })
}

fn grant(case: &Case, workspace: &Workspace) -> Result<Grant, Failure> {
    let grants = &case.grants;
    let http = grants.http.as_ref().map(|http| HttpGrant {
        allow: http.allow.iter().map(|rule| rule.0.clone()).collect(),
        // The scripted servers are on loopback, which needs the second key.
        networks: vec![ipnet::IpNet::from(std::net::IpAddr::V4(ADDRESS))],
        // A case is run without a journal, and so without secrets.
        secrets: Vec::new(),
    });
    let grant = Grant {
        mounts: workspace.mounts.clone(),
        http,
        config: grants.config.clone(),
        env: grants.env.clone(),
        clock: match grants.clock {
            ClockWord::Coarse => Clock::Coarse,
            ClockWord::Fine => Clock::Fine,
        },
        ..Grant::default()
    };
    grant.checked().map_err(|error| Failure::Usage(format!("case {}: {error}", case.name)))
}

/// The copies of the folders that a case grants.
struct Workspace {
    mounts: Vec<Mount>,
    // Removed with everything in it when the case has ended.
    _root: TempDir,
}

impl Workspace {
    fn make(case: &Case) -> anyhow::Result<Self> {
        let root = tempfile::tempdir().context("a temporary folder")?;
        let mounts = case
            .grants
            .mounts
            .iter()
            .enumerate()
            .map(|(index, mount)| {
                let host = root.path().join(index.to_string());
                std::fs::create_dir(&host)?;
                if let Some(fixture) = &mount.fixture {
                    let from = case.directory.join(fixture);
                    copy(&from, &host)
                        .with_context(|| format!("case {}: {}", case.name, from.display()))?;
                }
                Ok(Mount {
                    host,
                    guest: mount.guest.0.clone(),
                    access: match mount.access {
                        AccessWord::ReadOnly => Access::ReadOnly,
                        AccessWord::ReadWrite => Access::ReadWrite,
                    },
                    bytes_max: Mount::DEFAULT_BYTES_MAX,
                    entries_max: Mount::DEFAULT_ENTRIES_MAX,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { mounts, _root: root })
    }

    /// The text of files by their path in the component's eyes; what is not there is left out.
    fn read<'a>(
        &self,
        paths: impl Iterator<Item = &'a String>,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for path in paths {
            let Some(host) = self.host_path(path) else {
                bail!("expect.files: no mount of this case covers {path}");
            };
            if host.is_file() {
                let bytes = std::fs::read(&host).with_context(|| path.clone())?;
                files.insert(path.clone(), String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok(files)
    }

    fn host_path(&self, path: &str) -> Option<PathBuf> {
        let guest: GuestPath = path.parse().ok()?;
        let mount = self
            .mounts
            .iter()
            .filter(|mount| mount.guest.covers(path))
            .max_by_key(|mount| mount.guest.as_str().len())?;
        let rest = guest.as_str().strip_prefix(mount.guest.as_str())?;
        Some(mount.host.join(rest.trim_start_matches('/')))
    }
}

/// Copies a folder with everything in it. A symbolic link stays one, wherever it leads: that a
/// component cannot follow it out is something a case may want to show.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&source, &target)?;
        } else if kind.is_symlink() {
            #[cfg(unix)]
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::test::case;

    #[test]
    fn a_fixture_is_copied_and_read_back_by_the_paths_of_the_component() {
        let directory = tempfile::tempdir().expect("a directory");
        let fixture = directory.path().join("tree/inner");
        std::fs::create_dir_all(&fixture).expect("made");
        std::fs::write(fixture.join("a.txt"), "original").expect("written");
        let text = "tool = \"t\"\n[grants]\nmounts = [{ fixture = \"tree\", guest = \"/data\" }, { guest = \"/data/new\" }]\n[expect]\nis_error = true";
        let case = case::parse(text, &directory.path().join("a.toml")).expect("a case");
        let workspace = Workspace::make(&case).expect("copied");
        let inner = workspace.host_path("/data/inner/a.txt").expect("covered");
        std::fs::write(&inner, "changed").expect("written");
        std::fs::write(workspace.host_path("/data/new/b").expect("covered"), "b").expect("written");

        let paths = ["/data/inner/a.txt", "/data/new/b", "/data/none"].map(str::to_owned);
        let files = workspace.read(paths.iter()).expect("read");
        assert_eq!(files["/data/inner/a.txt"], "changed");
        assert_eq!(files["/data/new/b"], "b");
        assert!(!files.contains_key("/data/none"));
        let original = std::fs::read_to_string(fixture.join("a.txt")).expect("read");
        assert_eq!(original, "original");
        assert!(workspace.read([String::from("/etc/passwd")].iter()).is_err());
    }
}
