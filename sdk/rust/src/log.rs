//! Lines for the author and the operator; they never reach the model.
//!
//! The host keeps a bounded number of lines of a bounded length for each call. Outside a
//! component (in `cargo test`) the lines go to standard error.

pub use crate::bindings::foreshore::log::log::Level;

/// Writes one line at a level.
pub fn line(level: Level, message: impl AsRef<str>) {
    write(level, message.as_ref());
}

/// For the author while looking for a fault; usually not kept.
pub fn trace(message: impl AsRef<str>) {
    write(Level::Trace, message.as_ref());
}

/// For the author.
pub fn debug(message: impl AsRef<str>) {
    write(Level::Debug, message.as_ref());
}

/// For the operator: what was done.
pub fn info(message: impl AsRef<str>) {
    write(Level::Info, message.as_ref());
}

/// For the operator: what may become a fault.
pub fn warn(message: impl AsRef<str>) {
    write(Level::Warn, message.as_ref());
}

/// For the operator: what went wrong.
pub fn error(message: impl AsRef<str>) {
    write(Level::Error, message.as_ref());
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &str) {
    crate::bindings::foreshore::log::log::log(level, message);
}

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
