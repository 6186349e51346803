//! What the host says of itself: tracing to standard error, as text or as JSON lines.
//!
//! Standard output belongs to results. Deliberately absent: arguments and results of calls, which
//! are the user's own.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;
use crate::config::sections::{LogFormat, LogSection};

/// Starts to log. Once per process.
///
/// # Errors
/// A filter that cannot be read.
pub(crate) fn start(section: &LogSection) -> Result<(), ConfigError> {
    let filter = filter(section)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that somebody logs already, which only a test can bring about.
    let _ = match section.format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let terminal = std::io::stderr().is_terminal();
            let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            subscriber.with_ansi(color).with_target(false).try_init()
        }
    };
    Ok(())
}

/// Starts to log what goes wrong, for a command that answers one person; more, if they ask.
///
/// # Errors
/// A filter that cannot be read.
pub(crate) fn start_quietly(section: &LogSection) -> Result<(), ConfigError> {
    if *section == LogSection::default() {
        return start(&LogSection { filter: "error".to_owned(), ..LogSection::default() });
    }
    start(section)
}

/// # Errors
/// A filter that cannot be read.
pub(crate) fn filter(section: &LogSection) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(&section.filter).map_err(|error| ConfigError::Refused {
        origin: None,
        key: "log.filter".to_owned(),
        message: format!(
            "\"{}\": {error}; write a level such as info, or a filter such as warn,foreshore_control=debug",
            section.filter.escape_debug()
        ),
    })
}
