//! `foreshore`: the command line, the configuration, and the wiring of the parts.
//!
//! Deliberately absent: decisions. What a guest may do is decided in `control`; what runs, in
//! `runtime`; this crate only says so to people and programs.
//! Invariant: the hidden compile command is handled before anything else starts, because it runs
//! on the bytes of strangers and must have no thread, no runtime and no log of the host in it.

mod bench;
mod cli;
mod client;
mod config;
mod nearest;
mod secrets_key;
mod server_file;
mod telemetry;
mod token_file;
mod version;
mod wire_up;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == wire_up::COMPILE_COMMAND) {
        return foreshore_runtime::compile_child_main();
    }
    cli::main()
}
