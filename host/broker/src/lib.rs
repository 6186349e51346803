//! Asks models: chooses a server, waits its turn, survives what breaks, and says who answered.
//!
//! The way in is a [`Broker`]. It knows [backends](BackendConfig) (Ollama by its native API, and
//! servers that speak OpenAI's), and for each model of each a *lane*: a [breaker](breaker), a
//! bounded and fair queue, and what is known of the model. A request goes along the fallback
//! chain (other backend, other model, an equal answer from before, the operator's own text) and
//! the answer says which step served it.
//!
//! What it does about the ways in which local models disappoint:
//! - **Slow is not broken.** Connecting, queueing, loading, the first token and the gaps between
//!   tokens have a limit each; a cold load or a long prefill never opens a breaker.
//! - **A load belongs to all who wait for it.** One who goes away does not cancel it for others.
//! - **Options that make a server load a model again are the operator's**, never the caller's.
//! - **Nothing is cut off silently.** A request that does not fit is an error.
//! - **An answer that has begun is never started over** somewhere else behind the caller's back.
//!
//! Deliberately absent: records (the crate gives facts, `control` writes them down), the wall
//! clock (it is passed in), configuration files, and a model of its own.
#![forbid(unsafe_code)]

mod answers;
mod attempt;
mod backend;
pub mod bench;
pub mod breaker;
mod broker;
pub mod budgets;
mod caller;
mod chain;
mod chat;
mod config;
mod embed;
mod estimate;
mod expected;
mod failure;
mod flight;
mod gate;
mod health;
mod http_client;
mod lane;
mod manage;
mod metrics;
mod plan;
mod probe;
mod queue;
mod spending;
mod tls;
mod turnstile;
#[cfg(test)]
mod turnstile_model;

/// The locks of what a model checker goes through with its own.
mod sync {
    pub(crate) use std::sync::atomic::AtomicUsize;
    pub(crate) use std::sync::{Mutex, MutexGuard};
}

pub use backend::ollama::Progress;
pub use breaker::BreakerState;
pub use broker::Broker;
pub use caller::{Caller, Priority};
pub use config::{
    ApiKey, BackendConfig, BackendKind, BreakerConfig, BrokerConfig, CacheConfig, ConfigError,
    ModelConfig, QueueConfig, RetryConfig, RunnerOptions, TimeoutOverrides, Timeouts,
};
pub use health::{BackendHealth, ModelHealth};
pub use metrics::{BrokerMetrics, LaneMetrics, LaneSnapshot, MetricsSnapshot};
