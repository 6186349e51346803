//! The compilation target: `ensure-wasm-target.sh`, run and understood.

use std::process::Command;

use crate::environment;

/// Makes sure that this toolchain compiles for `wasm32-wasip2`; about a second where it does.
///
/// Where something had to be done, one `cargo::warning` line says what and why.
///
/// # Errors
/// [`TargetError`], with what was tried and the ways on.
pub fn ensure_target() -> Result<(), TargetError> {
    println!("cargo::rerun-if-env-changed=WASM_TARGET_BUNDLE");
    let output = Command::new("bash")
        .args(["-c", include_str!("../ensure-wasm-target.sh"), "ensure-wasm-target.sh"])
        .env("CARGO", environment::cargo_path())
        .output()
        .map_err(TargetError::Shell)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(TargetError::Missing { tried: said.trim().to_owned() });
    }
    // The script says nothing where there was nothing to do.
    if let Some(last) = said.lines().last() {
        println!("cargo::warning=guests are compiled for wasm32-wasip2, which was missing: {last}");
    }
    Ok(())
}

/// Why there is no target.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The recipe is a bash script.
    #[error(
        "bash does not run, which looks for the target wasm32-wasip2; if it is installed \
             (rustup target add wasm32-wasip2), set FORESHORE_COMPONENTS to prebuilt components"
    )]
    Shell(#[source] std::io::Error),
    /// Nothing that was tried worked.
    #[error("{tried}")]
    Missing {
        /// What was tried, and the ways on, line by line.
        tried: String,
    },
}
