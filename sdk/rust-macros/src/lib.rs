//! The `#[tool]` and `#[agent]` attributes of `foreshore-sdk`; documented there.
//!
//! What it does not do: it never looks at types, for a macro cannot. Where a type decides (what a
//! return value becomes, whether an argument has a schema) it writes code that asks the compiler.

mod agent;
mod arguments;
mod attribute;
mod expand;
mod text;

use proc_macro::TokenStream;

/// Makes a function a tool.
///
/// - The doc comment is the description, for the model that chooses between tools; its first
///   sentence is the title.
/// - Arguments: either one struct that derives `Deserialize` and `JsonSchema`, or any number of
///   typed arguments, each one property of the arguments object. `Option` is optional, a doc
///   comment on an argument describes it, and `#[serde(..)]` and `#[schemars(..)]` on it work as
///   on a struct's field (`#[serde(default)]`, `#[schemars(range(min = 1))]`).
/// - Returns `String` (text), `Outcome` (taken as it is), `()`, or any type that derives
///   `Serialize` and `JsonSchema` (structured; in `Rendered` with a text of its own); or a `Result` of one of these with an error that
///   converts into `foreshore_sdk::Error`.
///
/// `#[tool(name = "other-name", title = "Other title", read_only, idempotent)]`: the name is the
/// function's where it is not given; the flags are `read_only` (changes nothing outside the
/// sandbox), `destructive` (may overwrite or destroy), `idempotent` (a second call with the same
/// arguments changes nothing more), `open_world` (reaches beyond the operator's machine). A flag
/// that is absent means no.
#[proc_macro_attribute]
pub fn tool(attribute: TokenStream, function: TokenStream) -> TokenStream {
    expand::tool(attribute.into(), function.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes a function an agent.
///
/// - The doc comment is the description, for whoever chooses between agents; its first sentence is
///   the title.
/// - Arguments: a `Turn`, and if the agent takes parameters a struct of them that derives
///   `Deserialize` and `JsonSchema`.
/// - Returns `Reply`, or what converts into one (`String`), or a `Result` of one of these with an
///   error that converts into `foreshore_sdk::Error`.
///
/// `#[agent(name = "other-name", title = "Other title")]`: the name is the function's where it is
/// not given.
#[proc_macro_attribute]
pub fn agent(attribute: TokenStream, function: TokenStream) -> TokenStream {
    agent::agent(attribute.into(), function.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
