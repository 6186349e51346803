//! The types of the agent world, generated from `wit/`. Apart from the crate's other bindings, so
//! that a tool does not have to export an agent.

#![allow(
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "wit",
    world: "agent-guest",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_agent_component",
    default_bindings_module: "foreshore_sdk::agent::bindings",
    with: {
        "foreshore:types/types@0.1.0": crate::bindings::foreshore::types::types,
    },
    additional_derives: [PartialEq],
});
