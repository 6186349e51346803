//! Whether there are secrets. The host puts them into requests that leave it; no guest sees one.

use super::ask;

/// Whether a secret of this name is granted and has a value now.
pub fn exists(name: &str) -> bool {
    ask(|host| host.secret_exists(name))
}
