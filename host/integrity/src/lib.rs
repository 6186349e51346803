//! Watches directories, tells what changed in them and who did it, and puts it back.
//!
//! The way in is a [`WatchedRoot`]: it takes a baseline, [watches](WatchedRoot::watch), takes
//! announcements of what calls change, restores, moves into quarantine and undoes.
//! Deliberately absent: decisions and records. What a change means for people, and where it is
//! written down, is `control`'s, behind the [`Ledger`] port; what is done about one is a
//! [policy](foreshore_domain::integrity::RootPolicy) of the root.
//!
//! Invariants: all file work goes through a directory handle that is opened once per root, by
//! single names, and no symbolic link is ever followed; FIFOs, sockets and devices are never
//! opened; only [`WatchedRoot`] compares what is there with what is known, one path at a time,
//! so that events and scans cannot contradict each other.
#![forbid(unsafe_code)]

mod announce;
mod batch;
mod difference;
mod error;
mod held;
mod inotify;
mod judge;
mod ledger;
mod look;
mod names;
mod place;
mod quarantine;
mod respond;
mod retention;
mod root;
mod scan;
mod suspects;
#[cfg(test)]
mod testing;
mod undo;
mod watch;
mod writing;
mod xattrs;

pub use difference::{Difference, DifferenceLimits, difference};
pub use error::{ChangeError, OpenError, PutError, ScanError, UndoError};
pub use judge::WatchedRoot;
pub use ledger::{Ledger, LedgerError};
pub use respond::{Observer, Report, RestoreRate};
pub use retention::{KeptVersion, RetentionLimits, versions_to_drop};
pub use root::{LookLimits, RootConfig};
pub use scan::{Depth, ScanReport};
pub use undo::{Conflict, ConflictReason, PlanOutcome, Resumed, Step, UndoPlan, resume, undo};
pub use watch::{Watch, WatchConfig, WatchState};
pub use writing::Writing;
