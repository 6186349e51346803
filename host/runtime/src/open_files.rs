//! How many files this process may have open.
//!
//! A loaded component keeps the file of its machine code open, so a thousand components and a
//! thousand connections do not fit into the 1,024 that many systems start a process with. That
//! number is the soft limit, kept low for programs that use `select`; raising it to the hard
//! limit is what the kernel's own documentation asks other programs to do.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard limit. A system that does not allow it leaves
/// the limit as it was: whoever runs into it is told by the error of the file.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open files stays low; each component takes one file");
    }
}
