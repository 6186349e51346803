//! Turns a compiled artifact into a component: the one file with `unsafe` in it.
//!
//! wasmtime trusts an artifact as it trusts its own machine code: one that somebody else wrote
//! runs with all the rights of the host. So this file takes only the two types that stand for
//! "this host made it", which have no other constructors: [`CompiledArtifact`], from a compiler
//! of this process, and [`VerifiedEntry`], a cache entry whose MAC was checked.
#![allow(unsafe_code, reason = "wasmtime cannot check an artifact; the two argument types do")]

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::aot_cache::VerifiedEntry;
use crate::compile::CompiledArtifact;

/// Loads an artifact that was just made; it is copied.
///
/// # Errors
/// An artifact for another engine.
pub(crate) fn load_compiled(
    engine: &Engine,
    artifact: &CompiledArtifact,
) -> wasmtime::Result<Component> {
    // SAFETY: `CompiledArtifact` is only made from what `Engine::precompile_component` returned
    // in this process or in a compile process of the same build, whose answer came by a pipe.
    unsafe { Component::deserialize(engine, artifact.bytes()) }
}

/// Maps an artifact from the cache; pages become resident as they are used.
///
/// # Errors
/// An artifact for another engine, or one that cannot be mapped.
pub(crate) fn load_cached(engine: &Engine, entry: &VerifiedEntry) -> wasmtime::Result<Component> {
    // SAFETY: `VerifiedEntry` is an open file whose bytes carry this host's MAC, over an artifact
    // that was once a `CompiledArtifact`. The path leads to that very open file, so a file
    // renamed over its name since then is not what is mapped. Entries are never written in
    // place; whoever could do so runs as the host's user and could read the key as well.
    unsafe { Component::deserialize_file(engine, entry.path_to_open_file()) }
}
