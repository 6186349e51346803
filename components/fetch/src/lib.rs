//! The `fetch` component: not written yet.

use foreshore_sdk::{Error, tool};

/// Says that it is not written yet. Returns nothing.
#[tool(read_only)]
fn placeholder(text: String) -> Result<String, Error> {
    Ok(text)
}

foreshore_sdk::export!(placeholder);
