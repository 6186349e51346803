//! Compiled components that servers share: compiling the shipped ones anew for each server would
//! take longer than most tests. Each server gets links to the artifacts and a copy of the key.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

/// Where in a data directory the binary keeps what it compiled.
const CACHE: &str = "compiled";

/// Compiles a component into the shared cache, once. One that needs a grant is left to whoever
/// gives it.
pub fn compile(wasm: &Path) {
    static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.insert(wasm.to_owned()) {
        super::foreshore(&["component", "doctor", &wasm.to_string_lossy()]);
    }
}

/// Puts what is compiled into the cache of a data directory that has none yet.
pub fn lend(data: &Path) {
    static SHIPPED: Once = Once::new();
    SHIPPED.call_once(|| {
        super::foreshore(&["component", "list", "--json"]);
    });
    let (from, to) = (super::shared_data().join(CACHE), data.join(CACHE));
    if to.exists() || std::fs::create_dir_all(data).is_err() {
        return;
    }
    std::fs::DirBuilder::new().mode(0o700).create(&to).expect("made");
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name == "key" {
            std::fs::copy(entry.path(), to.join(&name)).expect("the key is copied");
        } else if !name.to_string_lossy().starts_with('.') {
            // One that has just gone is compiled again.
            let _ = std::fs::hard_link(entry.path(), to.join(&name));
        }
    }
}
