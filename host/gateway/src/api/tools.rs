//! `GET /v1/tools` and `GET /v1/tools/{component}.{tool}`.
//!
//! The list is written once per generation of the registry and then handed out as it is; a
//! client that holds it already gets 304.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use foreshore_control::Control;
use http::header::{CACHE_CONTROL, ETAG};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use crate::api::calls::tool_name;
use crate::auth::principal;
use crate::body::Body;
use crate::negotiation;
use crate::problem::Problem;
use crate::request::{Answer, Edge, json};
use crate::wire::{self, Named, ProblemSchema, ToolSchema, ToolsSchema};

/// The list of tools as it goes over the wire.
pub(crate) struct Listing {
    /// Generations start anew with each start of the host; this does not.
    boot: String,
    written: Mutex<Option<Written>>,
}

#[derive(Clone)]
struct Written {
    generation: u64,
    etag: HeaderValue,
    text: Bytes,
}

impl Listing {
    pub(crate) fn new() -> Self {
        let boot = uuid::Uuid::now_v7().simple().to_string();
        Self { boot: boot[20..].to_owned(), written: Mutex::new(None) }
    }

    fn of(&self, control: &Control) -> Written {
        // Asked before the tools are: should they change in between, the list is written again.
        let generation = control.generation();
        // A std mutex: nothing awaits while it is held. Writing the list under it means that a
        // change of the registry makes one writer, not one per request.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match &*written {
            Some(written) if written.generation == generation => written.clone(),
            _ => written.insert(self.write(control, generation)).clone(),
        }
    }

    fn write(&self, control: &Control, generation: u64) -> Written {
        let etag = HeaderValue::from_str(&format!("\"{}-{generation}\"", self.boot))
            .expect("invariant: hex digits are plain text");
        let summaries = control.tools();
        let tools: Vec<_> = summaries.iter().map(ToolSchema::from).collect();
        Written { generation, etag, text: wire::json(&Named("tools", &tools), 16 << 10) }
    }
}

/// List the tools.
///
/// Those that the caller's credential reaches. The answer has an `ETag`; a client that sends it back in `If-None-Match` gets 304 until a
/// component is added, replaced or removed.
#[utoipa::path(
    get,
    path = "/v1/tools",
    operation_id = "listTools",
    tag = "tools",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer")),
    responses(
        (status = 200, description = "The tools of all components", body = ToolsSchema),
        (status = 304, description = "As the client has it"),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn list(edge: &Edge, head: &Parts) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let principal = principal(head);
    if principal.reach.tools.is_some() {
        // Few have a reach of their own: for these the list is written each time.
        let summaries = edge.control.tools();
        let reached = summaries.iter().filter(|tool| principal.reach.has_tool(&tool.name));
        let tools: Vec<_> = reached.map(ToolSchema::from).collect();
        return Ok(json(wire::json(&Named("tools", &tools), 16 << 10)));
    }
    let Written { etag, text, .. } = edge.tools.of(&edge.control);
    let mut response = if negotiation::holds(&head.headers, etag.to_str().unwrap_or_default()) {
        let mut response = Response::new(Body::from(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        json(text)
    };
    response.headers_mut().insert(ETAG, etag);
    // May be kept, but asked about each time.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Show one tool.
#[utoipa::path(
    get,
    path = "/v1/tools/{tool}",
    operation_id = "showTool",
    tag = "tools",
    params(("tool" = String, Path, description = "`component.tool` or `component@version.tool`", example = "files.search")),
    responses(
        (status = 200, description = "The tool", body = ToolSchema<'static>),
        (status = "default", description = "Why it was not served", body = ProblemSchema<'static>, content_type = "application/problem+json"),
    ),
)]
pub(crate) fn show(edge: &Edge, head: &Parts, name: &str) -> Answer {
    negotiation::accepts_json(&head.headers)?;
    let name = tool_name(name)?;
    if !principal(head).reach.has_tool(&name) {
        return Err(Problem::unknown_tool(format!("no tool is called \"{name}\""), None));
    }
    let tool = edge.control.tool(&name)?;
    Ok(json(wire::json(&ToolSchema::from(&tool), 4 << 10)))
}
