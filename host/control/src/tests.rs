//! The whole of control against the real runtime and a real journal: guests in a few lines of
//! WebAssembly text, and what the journal says afterwards.

mod agents;
mod calls;
mod canaries;
mod door;
mod files;
mod guest;
mod hot_load;
mod turns;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use foreshore_domain::component::ToolName;
use foreshore_domain::outcome::{CallFailure, Outcome};
use foreshore_domain::policy::{ComponentPolicy, Policies};
use foreshore_runtime::{Compiler, EngineConfig, LoaderConfig, Origin, Source};
use foreshore_store::Event;

use self::guest::Guest;
use crate::{Control, ControlConfig, Invocation};

/// A place for what a host keeps; gone with the test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A small host with these components built in.
    fn config(&self, guests: &[&Guest]) -> ControlConfig {
        let mut config =
            ControlConfig::new(LoaderConfig::new(self.path("cache"), Compiler::InProcess));
        config.engine = EngineConfig { slots: 16, ..EngineConfig::default() };
        config.embedded = guests.iter().map(|guest| guest.source(Origin::Embedded)).collect();
        config
    }
}

async fn start(config: ControlConfig) -> Arc<Control> {
    Control::start(config).await.expect("starts")
}

async fn call(
    control: &Control,
    tool: &str,
    arguments: &'static str,
) -> Result<Outcome, Box<CallFailure>> {
    control.invoke(Invocation::new(tool_name(tool), arguments)).await
}

/// The structured result of a call that succeeds.
async fn value(control: &Control, tool: &str) -> String {
    let outcome = call(control, tool, "{}").await.expect("an outcome");
    outcome.result.structured.expect("structured").get().to_owned()
}

fn tool_name(text: &str) -> ToolName {
    text.parse().expect("a tool's name")
}

fn policies(name: &str, policy: ComponentPolicy) -> Policies {
    Policies::new([(name.to_owned(), policy)].into(), Default::default())
}

/// All events but those of the host and its components, as `kind`, with their payloads.
async fn call_events(control: &Control) -> Vec<(String, serde_json::Value)> {
    control.journal().flush().await;
    let events = control.journal().read(1, usize::MAX).expect("readable");
    events.into_iter().filter(|e| e.stream.starts_with("call/")).map(kind_and_payload).collect()
}

fn kind_and_payload(event: Event) -> (String, serde_json::Value) {
    let payload = serde_json::from_slice(&event.payload).expect("JSON");
    (event.kind, payload)
}

fn kinds(events: &[(String, serde_json::Value)]) -> Vec<&str> {
    events.iter().map(|(kind, _)| kind.as_str()).collect()
}

/// The names and versions that can be called.
fn loaded(control: &Control) -> Vec<String> {
    let mut names: Vec<String> =
        control.tools().iter().map(|tool| tool.component.to_string()).collect();
    names.dedup();
    names
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
}

impl Guest {
    fn source(&self, origin: Origin) -> Source {
        Source { bytes: self.bytes.clone(), file_stem: Some(self.stem.clone()), origin }
    }
}
