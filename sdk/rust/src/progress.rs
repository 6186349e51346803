//! Tell the caller how far a long call has come.
//!
//! The host drops reports above a hundred a second, so a loop may report each turn. Outside a
//! component (in `cargo test`) reports go nowhere.

/// Reports that `done` of `total` is done, in any unit; `done` must not decrease within a call.
/// `message` is one line for a person.
#[cfg_attr(
    not(target_family = "wasm"),
    expect(unused_variables, reason = "nobody watches outside a component")
)]
pub fn report(done: f64, total: impl Into<Option<f64>>, message: Option<&str>) {
    #[cfg(target_family = "wasm")]
    crate::bindings::foreshore::progress::progress::report(done, total.into(), message);
}
