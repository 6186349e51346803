//! The one place that joins concrete types: configuration to engine, loader, door and edge.

use crate::config::{Config, ConfigError};

/// The hidden command by which the host starts itself to compile a component.
pub(crate) const COMPILE_COMMAND: &str = "__compile";

/// Whether the parts would accept their settings; nothing is started.
pub(crate) fn check(config: &Config) -> Result<(), ConfigError> {
    crate::telemetry::filter(&config.sections.log)?;
    Ok(())
}

/// Policies for components that do not exist.
pub(crate) fn unused_policies(config: &Config) -> Vec<String> {
    let _ = config.policies.names();
    Vec::new()
}
