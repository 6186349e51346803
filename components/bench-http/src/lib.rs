//! The same small JSON work as `bench.add`, as a `wasi:http` handler: what the peer serves.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::StreamError;

#[derive(Deserialize)]
struct Numbers {
    a: i64,
    b: i64,
}

#[derive(Serialize)]
struct Sum {
    sum: i64,
}

struct Handler;

impl Guest for Handler {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (status, text) = match sum(&request) {
            Ok(text) => (200, text),
            Err(text) => (422, text),
        };
        let fields = Fields::new();
        let length = text.len().to_string().into_bytes();
        let _ = fields.set("content-type", &[b"application/json".to_vec()]);
        let _ = fields.set("content-length", &[length]);
        let response = OutgoingResponse::new(fields);
        let _ = response.set_status_code(status);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            let _ = stream.blocking_write_and_flush(text.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

fn sum(request: &IncomingRequest) -> Result<String, String> {
    let body = request.consume().map_err(|()| "no body")?;
    let mut bytes = Vec::new();
    {
        let stream = body.stream().map_err(|()| "no stream")?;
        loop {
            match stream.blocking_read(64 << 10) {
                Ok(piece) => bytes.extend(piece),
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
            }
        }
    }
    let numbers: Numbers = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let mut parts = HashMap::new();
    parts.insert("sum", numbers.a + numbers.b);
    serde_json::to_string(&Sum { sum: parts["sum"] }).map_err(|error| error.to_string())
}

wasip2::http::proxy::export!(Handler);
