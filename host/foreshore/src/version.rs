//! What was built: the version and, where the sources came with git, the commit.

/// `0.1.0 (d59cbb1f03)`.
pub(crate) const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), env!("FORESHORE_COMMIT_SUFFIX"));
