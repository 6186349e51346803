//! `foreshore serve`: the tools over HTTP, until somebody says stop.
//!
//! Standard output gets exactly one line, `listening on http://ADDR` (`https://` with TLS), when calls are taken; a
//! program that started the server waits for it. SIGTERM and SIGINT drain: no call that was
//! accepted fails. A second signal ends at once.

use anyhow::Context as _;
use clap::Args;
use foreshore_gateway::AuthMode;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::ConfigArguments;
use super::exit::{Exit, Failure};
use super::output::{Waiting, print};
use crate::config::Config;
use crate::config::sections::ListenAddress;
use crate::server_file::{Scheme, ServerFile, Written};
use crate::token_file;
use crate::wire_up::{self, Plan};

/// Serve the tools over HTTP.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7433]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Keep the journal in memory: whatever is remembered and recorded is gone in the end
    #[arg(long)]
    ephemeral: bool,
    /// Let whoever connects from this machine do everything, without a credential. Only for
    /// trying things out, and only on a loopback address
    #[arg(long)]
    insecure_no_auth: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

impl Serve {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let config = self.load()?;
        crate::telemetry::start(&config.sections.log)?;
        wire_up::block_on(self.serve(config))?;
        Ok(Exit::Success)
    }

    fn load(&self) -> Result<Config, Failure> {
        let overrides =
            self.config.overrides().flag(&["server", "listen"], "--listen", self.listen.as_ref());
        let mut config = self.config.load_with(&overrides)?;
        wire_up::suggest_limits(&mut config)?;
        wire_up::check(&config)?;
        Ok(config)
    }

    async fn serve(&self, config: Config) -> Result<(), Failure> {
        let ListenAddress(address) = config.sections.server.listen.0;
        // The port is taken before the components are loaded: a second server should fail at
        // once, and not after a minute of compiling.
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))
            .map_err(Failure::Start)?;
        let address = listener.local_addr().context("listening").map_err(Failure::Start)?;
        let mut signals = Signals::new().context("signals").map_err(Failure::Start)?;
        let mut gateway = wire_up::gateway(&config);
        if self.insecure_no_auth {
            if !address.ip().is_loopback() {
                let message = format!(
                    "--insecure-no-auth serves loopback addresses alone, and {address} is none"
                );
                return Err(Failure::Usage(message));
            }
            eprintln!("insecure: whoever connects from this machine may do everything here");
            tracing::warn!("no authentication: started with --insecure-no-auth");
        }
        let mode = if self.insecure_no_auth { AuthMode::Insecure } else { AuthMode::Required };
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("data directory {}", config.data.display()))
            .map_err(Failure::Start)?;
        gateway.auth = config.auth(mode).map_err(Failure::Start)?;
        gateway.tls = wire_up::certificates(&config)?;
        let patience = std::time::Duration::from_millis(gateway.limits.drain_patience_ms.get());

        let plan = if self.ephemeral { Plan::ephemeral(&config) } else { Plan::server(&config) };
        if self.ephemeral {
            eprintln!("ephemeral: the journal is in memory, and gone when this server ends");
        }
        let waiting = Waiting::new("compiling components, for the first time");
        let started = tokio::select! {
            control = wire_up::start(&config, plan) => Some(control?),
            () = signals.stop() => None,
        };
        drop(waiting);
        let Some(control) = started else { return Ok(()) };
        let lent = if self.ephemeral {
            token_file::lend(&config.data, control.identities()).await
        } else {
            token_file::ensure(&config.data, control.identities()).await
        };
        lent.map_err(Failure::Start)?;
        // One that has no journal to guard does not take the place of one that has.
        let sha256 = gateway.tls.as_ref().map(|tls| tls.sha256());
        let changes = gateway.tls.as_ref().map(|tls| tls.changes());
        let scheme = if sha256.is_some() { Scheme::Https } else { Scheme::Http };
        let written = ServerFile::write(&config.data, address, sha256, self.ephemeral);
        let written = written
            .with_context(|| format!("server.json in {}", config.data.display()))
            .map_err(Failure::Start)?;
        print(&format!("listening on {scheme}://{address}"));
        let stop = async move {
            signals.stop().await;
            tracing::info!("draining; a second signal ends at once");
            tokio::spawn(signals.end_at_once());
        };
        let told = tokio::spawn(tell_of_certificates(written, changes));
        let served = foreshore_gateway::serve(listener, control.clone(), gateway, stop).await;
        // What it holds is dropped with it: the file goes.
        told.abort();
        let _ = told.await;
        let drained = control.drain(patience).await;
        tracing::info!(connections = ?served.as_ref().ok(), calls = ?drained, "stopped");
        served.context("serving").map_err(Failure::Start)?;
        Ok(())
    }
}

/// Keeps the file of the server in step with its certificate, for as long as the file is to stand.
async fn tell_of_certificates(
    mut written: Option<Written>,
    changes: Option<watch::Receiver<String>>,
) -> std::convert::Infallible {
    if let Some(mut changes) = changes {
        while changes.changed().await.is_ok() {
            let sha256 = changes.borrow_and_update().clone();
            let told = written.as_mut().map(|written| written.has_certificate(sha256));
            if let Some(Err(error)) = told {
                tracing::warn!(%error, "server.json still names the certificate from before");
            }
        }
    }
    let _stands = written;
    std::future::pending().await
}

/// The signals that end a server in order.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn end_at_once(mut self) {
        self.stop().await;
        std::process::exit(Exit::Failed.code().into());
    }
}
