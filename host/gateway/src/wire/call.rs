//! What a call gave back, and what it says while it runs.

use foreshore_domain::call::Progress;
use foreshore_domain::denial::Denial;
use foreshore_domain::id::CallId;
use foreshore_domain::outcome::{Content, LogLine, Outcome, Usage};
use serde::ser::Serializer;
use serde_json::value::RawValue;

use super::content::{ContentSchema, content_room};
use super::display;

/// What a call gave back.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = CallResult)]
pub(crate) struct CallResult<'a> {
    /// Names the call, here and in the journal.
    #[serde(serialize_with = "display")]
    #[schema(value_type = String, example = "call_0197f3a4c2d97c018f6a3d2e5b7c9d10")]
    call_id: CallId,
    /// The tool ran and failed; `content` says why.
    is_error: bool,
    /// For people and models.
    #[serde(serialize_with = "contents")]
    #[schema(value_type = Vec<ContentSchema<'static>>)]
    content: &'a [Content],
    /// For programs, as the tool's output schema says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    structured: Option<&'a RawValue>,
    usage: UsageSchema,
    /// What was denied on the way and the tool coped with.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "denials")]
    #[schema(value_type = Vec<DenialSchema<'static>>, required = false)]
    denials: &'a [Denial],
}

impl<'a> From<&'a Outcome> for CallResult<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        Self {
            call_id: outcome.call_id,
            is_error: outcome.result.is_error,
            content: &outcome.result.content,
            structured: outcome.result.structured.as_deref(),
            usage: outcome.usage.into(),
            denials: &outcome.denials,
        }
    }
}

impl CallResult<'_> {
    /// About how long the JSON text will be, so that the buffer need not grow.
    pub(crate) fn room(&self) -> usize {
        let content: usize = self.content.iter().map(content_room).sum();
        512 + content + self.structured.map_or(0, |json| json.get().len())
    }
}

/// What a call used.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageSchema {
    /// Instructions, in wasmtime's fuel.
    fuel: u64,
    /// The most linear memory held at once.
    peak_memory_bytes: u64,
    /// From the start of the call to its end, in microseconds.
    wall_us: u64,
    /// Of that, the time the guest waited for the host.
    host_us: u64,
    /// Bytes sent to the network.
    egress_bytes: u64,
}

impl From<Usage> for UsageSchema {
    fn from(usage: Usage) -> Self {
        let Usage { fuel, peak_memory_bytes, wall_us, host_us, egress_bytes } = usage;
        Self { fuel, peak_memory_bytes, wall_us, host_us, egress_bytes }
    }
}

fn contents<S: Serializer>(contents: &[Content], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(contents.iter().map(ContentSchema::from))
}

fn denials<S: Serializer>(denials: &[Denial], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(denials.iter().map(DenialSchema::from))
}

/// What was denied, and what would allow it.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Denial)]
pub(crate) struct DenialSchema<'a> {
    /// Stable.
    code: &'static str,
    /// What was asked for.
    subject: &'a str,
    /// The configuration that would allow it; empty where nothing would.
    grant: &'a str,
}

impl<'a> From<&'a Denial> for DenialSchema<'a> {
    fn from(denial: &'a Denial) -> Self {
        Self { code: denial.code.as_str(), subject: &denial.subject, grant: &denial.grant }
    }
}

/// How far a call has come: the data of `tool.progress`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Progress)]
pub(crate) struct ProgressSchema<'a> {
    /// How much is done.
    done: f64,
    /// How much there is, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    /// One line for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> From<&'a Progress> for ProgressSchema<'a> {
    fn from(progress: &'a Progress) -> Self {
        let Progress { done, total, message } = progress;
        Self { done: *done, total: *total, message: message.as_deref() }
    }
}

/// One line that a tool logged: the data of `tool.log`.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LogSchema<'a> {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    level: &'static str,
    message: &'a str,
}

impl<'a> From<&'a LogLine> for LogSchema<'a> {
    fn from(line: &'a LogLine) -> Self {
        Self { level: line.level.as_str(), message: &line.message }
    }
}
