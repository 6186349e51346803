//! Makes sure of the wasm32-wasip2 target and builds guests, for build scripts.
