//! The sandbox: engine, limits, capabilities, loader and registry. The only crate that names wasmtime.
