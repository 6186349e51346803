//! The types of `foreshore:memory`, generated from `wit/`. Apart from the crate's other bindings,
//! so that a component without the feature does not import it.

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
    world: "memory-guest",
    generate_all,
    with: {
        "foreshore:types/types@0.1.0": crate::bindings::foreshore::types::types,
    },
    additional_derives: [PartialEq],
});
