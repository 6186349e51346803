//! One call.

use foreshore_domain::call::CallError;
use foreshore_domain::outcome::{Logs, ToolResult, Usage};

/// What happened in a call. Facts only: whoever asked for the call records them.
#[derive(Debug)]
pub struct CallReport {
    /// How it ended.
    pub result: Result<ToolResult, CallError>,
    /// What it used.
    pub usage: Usage,
    /// What it logged.
    pub logs: Logs,
}
