//! How much a directory holds, and how much more it may.
//!
//! The counts start with a walk of the directory on its first change, and follow the changes
//! that guests make: room is taken before a growth and given back after a removal. What
//! others change is seen when the room runs out: before a refusal the directory is walked
//! again, at most once a second.
//!
//! The invariant: a file without a name still counts while a guest has it open, for it still
//! fills the disk.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cap_primitives::fs::{ReadDir, read_base_dir};
use tokio::sync::OnceCell;

const RECOUNT_INTERVAL: Duration = Duration::from_secs(1);

/// The most a mount may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    pub(super) bytes_max: u64,
    pub(super) entries_max: u64,
}

/// What a change adds. For a file, its inode, so that the bytes of a file without a name are
/// found again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    pub(super) bytes: u64,
    pub(super) entries: u64,
    pub(super) inode: Option<u64>,
}

impl Growth {
    pub(super) const ENTRY: Self = Self { bytes: 0, entries: 1, inode: None };

    pub(super) fn of_file(inode: u64, bytes: u64) -> Self {
        Self { bytes, entries: 0, inode: Some(inode) }
    }
}

/// Which quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(super) enum Exhausted {
    #[error("the mount holds all of its {max} bytes")]
    Bytes { max: u64 },
    #[error("the mount holds all of its {max} entries")]
    Entries { max: u64 },
}

/// What one directory of the host holds.
#[derive(Default)]
pub(super) struct Usage {
    counted: OnceCell<()>,
    recounting: AtomicBool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    bytes: u64,
    entries: u64,
    counted_at: Option<Instant>,
    open: HashMap<u64, OpenFile>,
}

/// A file that guests have open.
#[derive(Default)]
struct OpenFile {
    leases: u64,
    /// The bytes it holds, once its last name is gone.
    nameless_bytes: Option<u64>,
}

impl Usage {
    pub(super) async fn count_once(
        &self,
        directory: &Arc<File>,
        entries_max: u64,
    ) -> io::Result<()> {
        self.counted
            .get_or_try_init(|| async {
                let directory = Arc::clone(directory);
                let walked =
                    tokio::task::spawn_blocking(move || walk(&directory, entries_max)).await;
                self.lock().set(walked.map_err(io::Error::other)??);
                Ok(())
            })
            .await
            .copied()
    }

    pub(super) fn reserve(
        &self,
        directory: &File,
        quota: Quota,
        growth: Growth,
    ) -> Result<(), Exhausted> {
        let refused = match self.lock().reserve(quota, growth) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        if !self.recount(directory, quota.entries_max) {
            return Err(refused);
        }
        self.lock().reserve(quota, growth)
    }

    pub(super) fn release(&self, growth: Growth) {
        let mut counts = self.lock();
        counts.bytes = counts.bytes.saturating_sub(growth.bytes);
        counts.entries = counts.entries.saturating_sub(growth.entries);
        if let Some(nameless) = counts.nameless(growth.inode) {
            *nameless = nameless.saturating_sub(growth.bytes);
        }
    }

    pub(super) fn removed(&self, inode: u64, bytes: u64, last_name: bool) {
        let mut counts = self.lock();
        counts.entries = counts.entries.saturating_sub(1);
        match counts.open.get_mut(&inode) {
            Some(open) if last_name => open.nameless_bytes = Some(bytes),
            _ => counts.bytes = counts.bytes.saturating_sub(bytes),
        }
    }

    pub(super) fn lease(this: &Arc<Self>, inode: u64) -> Arc<Lease> {
        this.lock().open.entry(inode).or_default().leases += 1;
        Arc::new(Lease { usage: Arc::clone(this), inode })
    }

    /// Walks the directory again; `false` if that was done a moment ago, or is being done.
    fn recount(&self, directory: &File, entries_max: u64) -> bool {
        let recent = |at: Instant| at.elapsed() < RECOUNT_INTERVAL;
        if self.lock().counted_at.is_some_and(recent)
            || self.recounting.swap(true, Ordering::AcqRel)
        {
            return false;
        }
        let walked = walk(directory, entries_max);
        let counted = walked.is_ok();
        if let Ok(walked) = walked {
            self.lock().set(walked);
        }
        self.recounting.store(false, Ordering::Release);
        counted
    }

    fn closed(&self, inode: u64) {
        let mut counts = self.lock();
        let Some(open) = counts.open.get_mut(&inode) else { return };
        open.leases = open.leases.saturating_sub(1);
        if open.leases == 0 {
            let nameless = open.nameless_bytes.unwrap_or(0);
            counts.open.remove(&inode);
            counts.bytes = counts.bytes.saturating_sub(nameless);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // A std mutex: nothing awaits while it is held.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn reserve(&mut self, quota: Quota, growth: Growth) -> Result<(), Exhausted> {
        let entries = self.entries.saturating_add(growth.entries);
        // Over the entries, the walk may have stopped early: nothing may grow.
        if entries > quota.entries_max {
            return Err(Exhausted::Entries { max: quota.entries_max });
        }
        let bytes = self.bytes.saturating_add(growth.bytes);
        if growth.bytes > 0 && bytes > quota.bytes_max {
            return Err(Exhausted::Bytes { max: quota.bytes_max });
        }
        (self.bytes, self.entries) = (bytes, entries);
        if let Some(nameless) = self.nameless(growth.inode) {
            *nameless = nameless.saturating_add(growth.bytes);
        }
        Ok(())
    }

    fn nameless(&mut self, inode: Option<u64>) -> Option<&mut u64> {
        self.open.get_mut(&inode?)?.nameless_bytes.as_mut()
    }

    fn set(&mut self, walked: Walked) {
        let nameless: u64 = self.open.values().filter_map(|open| open.nameless_bytes).sum();
        self.bytes = walked.bytes.saturating_add(nameless);
        self.entries = walked.entries;
        self.counted_at = Some(Instant::now());
    }
}

/// Somebody has a file open. Given back when dropped.
pub(super) struct Lease {
    usage: Arc<Usage>,
    inode: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.usage.closed(self.inode);
    }
}

struct Walked {
    bytes: u64,
    entries: u64,
}

/// Counts names, and the length of each regular file once per name. Follows no links, and
/// stops at the first entry too many.
fn walk(directory: &File, entries_max: u64) -> io::Result<Walked> {
    let mut walked = Walked { bytes: 0, entries: 0 };
    let mut pending: Vec<ReadDir> = vec![read_base_dir(directory)?];
    while let Some(mut entries) = pending.pop() {
        while let Some(entry) = entries.next().transpose()? {
            walked.entries += 1;
            if walked.entries > entries_max {
                return Ok(walked);
            }
            // What went away in between, or may not be looked at, holds nothing of a guest's.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                walked.bytes = walked.bytes.saturating_add(metadata.len());
            } else if metadata.is_dir()
                && let Ok(below) = entry.read_dir()
            {
                // Depth first, one open directory per level.
                pending.push(entries);
                entries = below;
            }
        }
    }
    Ok(walked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { bytes_max: 100, entries_max: 3 };

    fn counted(bytes: u64, entries: u64) -> Arc<Usage> {
        let usage = Arc::new(Usage::default());
        usage.lock().set(Walked { bytes, entries });
        usage
    }

    fn bytes(bytes: u64) -> Growth {
        Growth { bytes, ..Growth::default() }
    }

    fn held(usage: &Usage) -> (u64, u64) {
        let counts = usage.lock();
        (counts.bytes, counts.entries)
    }

    #[test]
    fn growth_is_refused_at_the_quota_and_admitted_after_a_release() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = File::open(directory.path()).expect("open");
        let usage = counted(90, 3);
        assert_eq!(usage.reserve(&directory, QUOTA, bytes(11)), Err(Exhausted::Bytes { max: 100 }));
        assert_eq!(
            usage.reserve(&directory, QUOTA, Growth::ENTRY),
            Err(Exhausted::Entries { max: 3 })
        );
        usage.release(Growth { bytes: 50, entries: 1, inode: None });
        assert_eq!(usage.reserve(&directory, QUOTA, bytes(60)), Ok(()));
        assert_eq!(usage.reserve(&directory, QUOTA, Growth::ENTRY), Ok(()));
        assert_eq!(usage.reserve(&directory, QUOTA, bytes(1)), Err(Exhausted::Bytes { max: 100 }));
    }

    #[test]
    fn a_file_without_a_name_counts_until_it_is_closed() {
        let usage = counted(80, 2);
        let lease = Usage::lease(&usage, 7);
        usage.removed(7, 60, true);
        assert_eq!(held(&usage), (80, 1));
        usage.lock().reserve(QUOTA, Growth::of_file(7, 10)).expect("room");
        usage.lock().set(Walked { bytes: 20, entries: 1 });
        assert_eq!(usage.lock().bytes, 90, "a recount does not see it, but it still counts");
        drop(lease);
        assert_eq!(usage.lock().bytes, 20);
    }

    #[test]
    fn room_that_others_made_is_found_before_a_refusal() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("below")).expect("write");
        std::fs::write(directory.path().join("below/file"), [0; 30]).expect("write");
        let usage = counted(100, 3);
        usage.lock().counted_at = None;
        let handle = File::open(directory.path()).expect("open");
        assert_eq!(usage.reserve(&handle, QUOTA, bytes(70)), Ok(()));
        assert_eq!(held(&usage), (100, 2));
    }

    #[test]
    fn a_walk_stops_at_the_first_entry_too_many() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in 0..10 {
            std::fs::write(directory.path().join(name.to_string()), "x").expect("write");
        }
        let handle = File::open(directory.path()).expect("open");
        assert_eq!(walk(&handle, 4).expect("walk").entries, 5);
        assert_eq!(walk(&handle, 10).expect("walk").bytes, 10);
    }
}
