//! Builds `components/` and writes down where its files are for the crate to include.

use std::path::Path;

fn main() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    foreshore_guest_builder::embed_or_exit(
        &repository.join("components"),
        Some("FORESHORE_COMPONENTS"),
    );
}
