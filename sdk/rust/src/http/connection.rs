//! The one place that calls `wasi:http`.
//!
//! Handles of children are declared before those of their parents, for they are dropped in that
//! order and the host traps on a parent that goes first.

use std::collections::VecDeque;
use std::io;

use super::{Request, Response, Url};
use crate::Error;

/// The body of a response.
pub struct Body {
    /// Read from the host and not yet by the caller.
    pending: VecDeque<u8>,
    #[cfg(target_family = "wasm")]
    source: wasi::Source,
}

impl Body {
    /// The next piece, at most 64 KiB; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Exhausted`] for a body above the host's limit, [`Error::Failed`] for what went
    /// wrong on the way.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if !self.pending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.pending).into()));
        }
        self.next()
    }

    #[cfg(target_family = "wasm")]
    fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        self.source.next()
    }

    #[cfg(not(target_family = "wasm"))]
    fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }
}

impl io::Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.pending.is_empty()
            && let Some(chunk) = self.next().map_err(io::Error::other)?
        {
            self.pending = chunk.into();
        }
        self.pending.read(buffer)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

#[cfg(target_family = "wasm")]
pub(super) fn send(request: Request, url: &Url) -> Result<Response, Error> {
    wasi::send(request, url)
}

#[cfg(not(target_family = "wasm"))]
pub(super) fn send(request: Request, url: &Url) -> Result<Response, Error> {
    let Request { method, headers, body, timeout, .. } = request;
    drop((headers, body, timeout));
    Err(Error::failed(format!(
        "{method} {url}: requests go through the host, and this does not run in a component"
    )))
}

#[cfg(target_family = "wasm")]
mod wasi {
    use std::collections::VecDeque;

    use wasip2::http::outgoing_handler;
    use wasip2::http::types::{
        ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
        RequestOptions, Scheme, http_error_code,
    };
    use wasip2::io::streams::{InputStream, StreamError};

    use super::super::{Request, Response, Url};
    use super::Body;
    use crate::{Budget, Error};

    const CHUNK_BYTES: u64 = 64 << 10;

    /// The handles of a response that is being read, children first.
    pub(super) struct Source {
        stream: InputStream,
        _body: IncomingBody,
        _response: IncomingResponse,
        subject: String,
    }

    impl Source {
        pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
            loop {
                match self.stream.blocking_read(CHUNK_BYTES) {
                    // Nothing yet is not the end.
                    Ok(chunk) if chunk.is_empty() => {}
                    Ok(chunk) => return Ok(Some(chunk)),
                    Err(StreamError::Closed) => return Ok(None),
                    Err(StreamError::LastOperationFailed(error)) => {
                        return Err(match http_error_code(&error) {
                            Some(code) => explained(code, &self.subject),
                            None => Error::failed(error.to_debug_string()),
                        });
                    }
                }
            }
        }
    }

    pub(super) fn send(request: Request, url: &Url) -> Result<Response, Error> {
        let subject = format!("{} {url}", request.method);
        let Request { method, headers, body, timeout, .. } = request;
        let outgoing = OutgoingRequest::new(fields(&headers, body.len())?);
        let invalid = |part: &str| Error::invalid("", format!("{subject}: no valid {part}"));
        let scheme = if url.is_https { Scheme::Https } else { Scheme::Http };
        outgoing.set_method(&as_method(method)).map_err(|()| invalid("method"))?;
        outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("scheme"))?;
        outgoing.set_authority(Some(&url.authority)).map_err(|()| invalid("host"))?;
        outgoing.set_path_with_query(Some(&url.path_with_query)).map_err(|()| invalid("path"))?;

        let options = RequestOptions::new();
        // A host that does not take a timeout still has the deadline of the call.
        let timeout_ns =
            timeout.map(|timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let _ = options.set_connect_timeout(timeout_ns);
        let _ = options.set_first_byte_timeout(timeout_ns);
        let _ = options.set_between_bytes_timeout(timeout_ns);

        // A request without a body must not open one: the host would wait for its end.
        let sink = match body.is_empty() {
            true => None,
            false => Some(outgoing.body().map_err(|()| invalid("body"))?),
        };
        let future = outgoing_handler::handle(outgoing, Some(options))
            .map_err(|code| explained(code, &subject))?;
        if let Some(sink) = sink {
            write(sink, &body);
        }
        future.subscribe().block();
        let response = future
            .get()
            .and_then(Result::ok)
            .ok_or_else(|| Error::failed(format!("{subject}: the host gave no answer")))?
            .map_err(|code| explained(code, &subject))?;
        read(response, subject)
    }

    fn fields(headers: &[(String, Vec<u8>)], body_bytes: usize) -> Result<Fields, Error> {
        let fields = Fields::new();
        let append = |name: &str, value: &[u8]| {
            fields.append(name, value).map_err(|error| {
                Error::invalid("", format!("header {name:?} cannot be sent: {error:?}"))
            })
        };
        for (name, value) in headers {
            append(name, value)?;
        }
        if body_bytes > 0 {
            append("content-length", body_bytes.to_string().as_bytes())?;
        }
        Ok(fields)
    }

    fn as_method(method: String) -> Method {
        match method.to_ascii_uppercase().as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PATCH" => Method::Patch,
            _ => Method::Other(method),
        }
    }

    /// Writes the body. A write that fails is no error yet: the server may have answered already,
    /// or the host refused, and the response says which.
    fn write(sink: OutgoingBody, body: &[u8]) {
        let Ok(stream) = sink.write() else { return };
        let ready = stream.subscribe();
        let mut rest = body;
        while !rest.is_empty() {
            ready.block();
            let Ok(room) = stream.check_write() else { return };
            let length = usize::try_from(room).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at(length);
            if stream.write(now).is_err() {
                return;
            }
            rest = later;
        }
        if stream.flush().is_ok() {
            ready.block();
        }
        drop(ready);
        drop(stream);
        let _ = OutgoingBody::finish(sink, None);
    }

    fn read(response: IncomingResponse, subject: String) -> Result<Response, Error> {
        let status = response.status();
        let headers = response
            .headers()
            .entries()
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let taken = |()| Error::failed("the host gave the body of a response away twice");
        let body = response.consume().map_err(taken)?;
        let stream = body.stream().map_err(taken)?;
        let source = Source { stream, _body: body, _response: response, subject };
        Ok(Response { status, headers, body: Body { pending: VecDeque::new(), source } })
    }

    /// The host's codes as errors of a tool. What policy decided keeps its stable code, so that
    /// the host can say how to grant it.
    fn explained(code: ErrorCode, subject: &str) -> Error {
        match code {
            ErrorCode::HttpRequestDenied => Error::denied("http_not_granted", subject),
            ErrorCode::DestinationIpProhibited => {
                Error::denied("http_address_not_granted", subject)
            }
            ErrorCode::HttpRequestBodySize(_)
            | ErrorCode::HttpRequestHeaderSectionSize(_)
            | ErrorCode::HttpRequestHeaderSize(_)
            | ErrorCode::HttpResponseHeaderSectionSize(_)
            | ErrorCode::HttpResponseHeaderSize(_)
            | ErrorCode::HttpResponseBodySize(_) => Error::Exhausted(Budget::Bytes),
            ErrorCode::HttpRequestMethodInvalid | ErrorCode::HttpRequestUriInvalid => {
                Error::invalid("", format!("{subject}: no valid request"))
            }
            other => Error::failed(format!("{subject}: {}", reason(&other))),
        }
    }

    fn reason(code: &ErrorCode) -> String {
        match code {
            ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
                "the host's name does not resolve".to_owned()
            }
            ErrorCode::ConnectionRefused => "the connection was refused".to_owned(),
            ErrorCode::ConnectionTerminated => "the connection broke off".to_owned(),
            ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::HttpResponseTimeout => "no answer in time".to_owned(),
            ErrorCode::TlsCertificateError => "the server's certificate is not valid".to_owned(),
            ErrorCode::InternalError(Some(text)) => text.clone(),
            other => format!("{other:?}"),
        }
    }
}
