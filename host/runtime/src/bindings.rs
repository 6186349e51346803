//! What wasmtime generates from the contract in `wit/`: the types of `foreshore:tool`, the
//! traits of the host interfaces that this version links, and the typed exports.
//!
//! The bindings of `wasi:*` are those of the wasmtime-wasi crates. Host functions that never
//! wait are synchronous: they cost less.

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package foreshore:host@0.1.0;

        world tool-component {
            import foreshore:progress/progress@0.1.0;
            import foreshore:log/log@0.1.0;
            import wasi:logging/logging@0.1.0-draft;
            export foreshore:tool/tool@0.1.0;
        }
    ",
    world: "foreshore:host/tool-component",
    imports: { default: trappable },
    exports: { default: async },
});

pub(crate) use exports::foreshore::tool::tool;
pub(crate) use foreshore::types::types;
