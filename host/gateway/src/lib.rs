//! The HTTP edge: hyper in front of `control`.
//!
//! It owns wire types, status codes and the limits of a connection. It decides nothing about
//! calls, grants or components and records nothing: that is `control`'s. It owns neither port,
//! nor clock, nor stop signal: the caller of [`serve`] does.
//!
//! The invariant: work is admitted before it is read, and whatever a peer sends, it gets a
//! response that says why, or a closed connection; never a panic, never a hang.
#![forbid(unsafe_code)]

mod api;
mod auth;
mod body;
mod config;
mod connection;
mod error;
mod forwarded;
mod guard;
mod negotiation;
mod ollama;
mod openai;
mod openapi;
mod pieces;
mod problem;
mod pulse;
mod query;
mod rates;
mod request;
mod routes;
mod server;
mod shape;
mod streaming;
mod tls;
mod wire;

pub use auth::{AuthConfig, AuthMode, KeysError, OwnIssuer, Source, TrustedIssuer};
pub use config::{ConfigError, EdgeLimitRow, EdgeLimits, EdgeRates, GatewayConfig};
pub use openapi::document as openapi_document;
pub use routes::{Access, rules};
pub use server::{Drained, ServeError, serve};
pub use tls::{Certificates, TlsError, TlsFiles, fingerprint};

/// The JSON that a call answers with over HTTP, for a command line that answers alike.
pub fn outcome_json(outcome: &foreshore_domain::outcome::Outcome) -> bytes::Bytes {
    let result = wire::CallResult::from(outcome);
    wire::json(&result, result.room())
}
