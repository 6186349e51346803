//! The guests under `tests/guests`, built once per run of the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The path of a built guest: `rogue`, `rogue-http`.
pub fn guest(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let workspace = super::repository().join("tests/guests");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        foreshore_guest_builder::build(&workspace, &target)
            .unwrap_or_else(|error| panic!("the test guests do not build: {error}"))
            .into_iter()
            .map(|component| (component.name.replace('_', "-"), component.path))
            .collect()
    });
    built.get(name).unwrap_or_else(|| panic!("no guest {name} among {:?}", built.keys()))
}

/// The bytes of a built guest.
pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(guest(name)).expect("a built guest can be read")
}

/// The rogue guest as another version of itself: its marker says `version`.
pub fn marked(version: u32) -> Vec<u8> {
    const MARKER: &[u8] = b"version-marker-0000000000";
    let mut bytes = bytes("rogue");
    let at = bytes
        .windows(MARKER.len())
        .position(|here| here == MARKER)
        .expect("the marker is in the guest");
    let number = format!("{version:010}");
    bytes[at + MARKER.len() - number.len()..at + MARKER.len()].copy_from_slice(number.as_bytes());
    bytes
}
