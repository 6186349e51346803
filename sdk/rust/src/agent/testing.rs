//! Stand in for the host in `cargo test`.
//!
//! [`with`] runs something with a [`Host`] in its place; [`Scripted`] is a host whose model, tools
//! and agents do what the test says, and which keeps variables, memory and the conversation as the
//! real one does. The invariant: what was asked of it can be looked at afterwards, in order.

mod scripted;

use std::cell::RefCell;
use std::rc::Rc;

use super::Host;

pub use scripted::{Delegation, Phase, Scripted};

thread_local! {
    /// Who answers on this thread; the last one, where a host runs an agent itself.
    static HOSTS: RefCell<Vec<Rc<RefCell<dyn Host>>>> = const { RefCell::new(Vec::new()) };
}

/// Whoever answers where no test stands in: it refuses, and says why.
struct Nobody;

impl Host for Nobody {}

/// Runs something whose questions this host answers; the host and what came of it. It may be used
/// within an answer of another host.
///
/// # Panics
/// As `run` does.
pub fn with<H: Host + 'static, T>(host: H, run: impl FnOnce() -> T) -> (H, T) {
    /// Takes the host away again, also when `run` panics.
    struct Installed;

    impl Drop for Installed {
        fn drop(&mut self) {
            HOSTS.with_borrow_mut(|hosts| hosts.pop());
        }
    }

    let host = Rc::new(RefCell::new(host));
    HOSTS.with_borrow_mut(|hosts| hosts.push(Rc::<RefCell<H>>::clone(&host)));
    let installed = Installed;
    let result = run();
    drop(installed);
    let host = Rc::into_inner(host).expect("invariant: a question holds it only while it is asked");
    (host.into_inner(), result)
}

/// Asks whoever stands in.
pub(crate) fn ask<T>(question: impl FnOnce(&mut dyn Host) -> T) -> T {
    match HOSTS.with_borrow(|hosts| hosts.last().cloned()) {
        Some(host) => question(&mut *host.borrow_mut()),
        None => question(&mut Nobody),
    }
}
