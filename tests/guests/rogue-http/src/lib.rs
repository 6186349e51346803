//! A guest that asks for requests no guest should get out, through the raw interface, and tells
//! what it saw.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "tool",
    generate_all,
});

use exports::foreshore::tool::tool::{Definition, Guest, Hints, Outcome};
use foreshore::types::types::{Content, ContentBody, Error};
use serde_json::{Value, json};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

struct RogueHttp;

impl Guest for RogueHttp {
    fn definitions() -> Vec<Definition> {
        ["request", "many-fields", "bad-field", "timeouts", "find-in-memory"]
            .into_iter()
            .map(|name| Definition {
                name: name.to_owned(),
                title: None,
                description: format!("Tries {name}."),
                input_schema: json!({"type": "object"}).to_string(),
                output_schema: None,
                hints: Hints::OPEN_WORLD,
            })
            .collect()
    }

    fn call(name: String, arguments: String) -> Result<Outcome, Error> {
        let arguments: Value =
            serde_json::from_str(&arguments).map_err(|error| Error::Failed(error.to_string()))?;
        let seen = match name.as_str() {
            "request" => request(&arguments),
            "many-fields" => many_fields(&arguments),
            "bad-field" => bad_field(&arguments),
            "timeouts" => timeouts(&arguments),
            "find-in-memory" => find_in_memory(&arguments),
            _ => return Err(Error::NotFound(name)),
        }
        .map_err(Error::Failed)?;
        Ok(Outcome {
            content: vec![Content { body: ContentBody::Json(seen.to_string()), annotations: None }],
            structured: Some(seen.to_string()),
            is_error: false,
        })
    }
}

export!(RogueHttp);

fn text<'a>(arguments: &'a Value, name: &str) -> &'a str {
    arguments[name].as_str().unwrap_or_default()
}

/// `scheme`, `authority` and `path` go out as they are; `count` of them, one after the other.
fn request(arguments: &Value) -> Result<Value, String> {
    let count = arguments["count"].as_u64().unwrap_or(1);
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(match send(arguments, None) {
            Ok(answer) => answer,
            Err(said) => json!({"error": said}),
        });
    }
    Ok(json!(seen))
}

/// Makes a request, keeps all of its answer, and then looks for texts in all the memory there is.
/// Each byte of a text comes with its bits turned, so that only what came otherwise is found.
fn find_in_memory(arguments: &Value) -> Result<Value, String> {
    let answer = send(arguments, None)?;
    let turned: Vec<Vec<u8>> =
        serde_json::from_value(arguments["turned"].clone()).map_err(|error| error.to_string())?;
    let found: Vec<bool> = turned.iter().map(|text| is_in_memory(text)).collect();
    Ok(json!({"answer": answer, "found": found}))
}

fn is_in_memory(turned: &[u8]) -> bool {
    const PAGE_BYTES: usize = 64 << 10;
    // The first address is the null pointer, which nothing lies at.
    let end = core::arch::wasm32::memory_size(0) * PAGE_BYTES - turned.len();
    // SAFETY: every address below the size of a linear memory can be read.
    let byte = |at: usize| unsafe { core::ptr::read_volatile(at as *const u8) };
    (1..=end).any(|at| turned.iter().enumerate().all(|(n, turned)| byte(at + n) == !turned))
}

fn timeouts(arguments: &Value) -> Result<Value, String> {
    let options = RequestOptions::new();
    let nanoseconds = arguments["nanoseconds"].as_u64();
    options.set_connect_timeout(nanoseconds).map_err(|()| "connect timeout refused")?;
    options.set_first_byte_timeout(nanoseconds).map_err(|()| "first byte timeout refused")?;
    options.set_between_bytes_timeout(nanoseconds).map_err(|()| "gap timeout refused")?;
    match send(arguments, Some(options)) {
        Ok(answer) => Ok(answer),
        Err(said) => Ok(json!({"error": said})),
    }
}

fn send(arguments: &Value, options: Option<RequestOptions>) -> Result<Value, String> {
    let fields = Fields::new();
    if let Some(headers) = arguments["headers"].as_object() {
        for (name, value) in headers {
            fields
                .append(name, value.as_str().unwrap_or_default().as_bytes())
                .map_err(|error| format!("field {name}: {error:?}"))?;
        }
    }
    let request = OutgoingRequest::new(fields);
    let method = match arguments["method"].as_str().unwrap_or("GET") {
        "GET" => Method::Get,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.to_owned()),
    };
    request.set_method(&method).map_err(|()| "method refused")?;
    let scheme = match arguments["scheme"].as_str() {
        None | Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        Some(other) => Scheme::Other(other.to_owned()),
    };
    request.set_scheme(Some(&scheme)).map_err(|()| "scheme refused")?;
    let authority = arguments["authority"].as_str();
    request.set_authority(authority).map_err(|()| "authority refused")?;
    request.set_path_with_query(arguments["path"].as_str()).map_err(|()| "path refused")?;
    let body = request.body().map_err(|()| "no body")?;
    let response = handle(request, options).map_err(|code| format!("{code:?}"))?;
    if let Some(content) = arguments["body"].as_str() {
        let stream = body.write().map_err(|()| "no stream")?;
        for piece in content.as_bytes().chunks(4_096) {
            stream.blocking_write_and_flush(piece).map_err(|error| format!("body: {error:?}"))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| format!("body: {code:?}"))?;
    response.subscribe().block();
    let response = response
        .get()
        .ok_or("not ready")?
        .map_err(|()| "taken")?
        .map_err(|code| format!("{code:?}"))?;
    let status = response.status();
    let location = response.headers().get("location").into_iter().next();
    let body = response.consume().map_err(|()| "consumed")?;
    let mut bytes = 0_u64;
    let mut start = Vec::new();
    let ended = {
        let stream = body.stream().map_err(|()| "no stream")?;
        loop {
            match stream.blocking_read(64 << 10) {
                Ok(piece) => {
                    bytes += piece.len() as u64;
                    if start.len() < 256 {
                        start.extend(piece.into_iter().take(256));
                    }
                }
                Err(StreamError::Closed) => break "closed".to_owned(),
                Err(StreamError::LastOperationFailed(error)) => break error.to_debug_string(),
            }
        }
    };
    IncomingBody::finish(body);
    Ok(json!({
        "status": status,
        "location": location.map(|value| String::from_utf8_lossy(&value).into_owned()),
        "bytes": bytes,
        "text": String::from_utf8_lossy(&start),
        "ended": ended,
    }))
}

fn many_fields(arguments: &Value) -> Result<Value, String> {
    let fields = Fields::new();
    let count = arguments["fields"].as_u64().unwrap_or(32_768);
    for n in 0..count {
        if let Err(error) = fields.append(&format!("x-field-{n}"), b"value") {
            return Err(format!("after {n} fields: {error:?}"));
        }
    }
    Ok(json!({"fields": count}))
}

fn bad_field(arguments: &Value) -> Result<Value, String> {
    let fields = Fields::new();
    match fields.append(text(arguments, "name"), text(arguments, "value").as_bytes()) {
        Ok(()) => Ok(json!("taken")),
        Err(error) => Err(format!("{error:?}")),
    }
}
