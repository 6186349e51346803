//! A problem (RFC 9457) with the members that help its reader to go on.

use std::fmt::Display;

use super::call::UsageSchema;
use super::display;
use crate::problem::Problem;

/// Why a request was not served (RFC 9457).
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemSchema<'a> {
    /// `urn:foreshore:problem:` and the code.
    #[serde(rename = "type", serialize_with = "display")]
    #[schema(value_type = String, example = "urn:foreshore:problem:fuel_exhausted")]
    kind: ProblemType,
    /// The same for every problem of one type.
    title: &'a str,
    /// The status of the response.
    status: u16,
    /// What went wrong this time.
    detail: &'a str,
    /// Stable.
    #[schema(example = "fuel_exhausted")]
    code: &'a str,
    /// Names the request in the host's log.
    request_id: &'a str,
    /// Names the call, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    /// The configuration that would allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
    /// The setting that raises the limit that fired.
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'a str>,
    /// The value of that limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<u64>,
    /// JSON Pointer (RFC 6901) to the argument at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    /// The nearest name there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<&'a str>,
    /// The version that stands there; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    actual_version: Option<u64>,
    /// What the call used until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageSchema>,
}

/// The URI of a kind of problem.
pub(crate) struct ProblemType(&'static str);

impl Display for ProblemType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "urn:foreshore:problem:{}", self.0)
    }
}

impl<'a> ProblemSchema<'a> {
    pub(crate) fn new(problem: &'a Problem, request_id: &'a str) -> Self {
        Self {
            kind: ProblemType(problem.code),
            title: problem.title,
            status: problem.status.as_u16(),
            detail: &problem.detail,
            code: problem.code,
            request_id,
            call_id: problem.call_id.map(|id| id.to_string()),
            grant: problem.grant.as_deref(),
            setting: problem.setting.as_deref(),
            allowed: problem.allowed,
            pointer: problem.pointer.as_deref(),
            suggestion: problem.suggestion.as_deref(),
            actual_version: problem.actual_version,
            usage: problem.usage.map(UsageSchema::from),
        }
    }
}
