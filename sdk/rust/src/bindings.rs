//! The contract's types, generated from `wit/`. Not part of the API: what authors need of it is
//! named in the crate's root.
//!
//! The folders of `wit/deps` are the repository's contract itself (symbolic links, which packaging
//! resolves), so the two cannot drift apart.

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
    world: "tool-guest",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "foreshore_sdk::bindings",
    additional_derives: [PartialEq],
});
