//! Which old versions go when there are too many. Pure: it only says which.
//!
//! The invariant: the approved version of a file never goes, even if the bounds are then not
//! kept; the oldest of the others go first.

use std::collections::{BTreeMap, BTreeSet};

use foreshore_domain::blob::BlobDigest;
use foreshore_domain::integrity::{EntryPath, RootName};

/// Bounds on what is kept; the approved version of each file comes on top of none of them, but
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Versions of one file.
    pub versions_per_file_max: usize,
    /// Bytes of all versions of one file.
    pub bytes_per_file_max: u64,
    /// Versions of all files.
    pub versions_max: usize,
    /// Bytes of all versions of all files.
    pub bytes_max: u64,
}

impl Default for RetentionLimits {
    fn default() -> Self {
        Self {
            versions_per_file_max: 64,
            bytes_per_file_max: 64 << 20,
            versions_max: 1_000_000,
            bytes_max: 1 << 30,
        }
    }
}

/// A version of a file that is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptVersion {
    /// When it was recorded: lower is older.
    pub seq: u64,
    /// Of which root.
    pub root: RootName,
    /// Of which file.
    pub path: EntryPath,
    /// What it holds.
    pub hash: BlobDigest,
    /// How much it holds.
    pub size_bytes: u64,
    /// Whether it is the last good one, or an open plan needs it.
    pub approved: bool,
}

/// The versions to drop, oldest first. The same bytes kept for two files, or twice for one,
/// count each time: the bounds are on versions, not on the disk.
pub fn versions_to_drop(versions: &[KeptVersion], limits: RetentionLimits) -> Vec<KeptVersion> {
    let mut ordered: Vec<&KeptVersion> = versions.iter().collect();
    ordered.sort();
    let mut dropped = BTreeSet::new();
    let mut files: BTreeMap<(&RootName, &EntryPath), Vec<&KeptVersion>> = BTreeMap::new();
    for version in &ordered {
        files.entry((&version.root, &version.path)).or_default().push(version);
    }
    for file in files.values() {
        drop_oldest(file, limits.versions_per_file_max, limits.bytes_per_file_max, &mut dropped);
    }
    let left: Vec<&KeptVersion> =
        ordered.iter().copied().filter(|version| !dropped.contains(version)).collect();
    drop_oldest(&left, limits.versions_max, limits.bytes_max, &mut dropped);
    dropped.into_iter().cloned().collect()
}

fn drop_oldest<'a>(
    oldest_first: &[&'a KeptVersion],
    count_max: usize,
    bytes_max: u64,
    dropped: &mut BTreeSet<&'a KeptVersion>,
) {
    let mut count = oldest_first.len();
    let mut bytes =
        oldest_first.iter().fold(0_u64, |sum, version| sum.saturating_add(version.size_bytes));
    for version in oldest_first.iter().filter(|version| !version.approved) {
        if count <= count_max && bytes <= bytes_max {
            return;
        }
        count -= 1;
        bytes = bytes.saturating_sub(version.size_bytes);
        dropped.insert(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn versions() -> impl Strategy<Value = Vec<KeptVersion>> {
        proptest::collection::vec((0u8..4, 0u64..100, any::<bool>()), 0..60).prop_map(|all| {
            let version =
                |(seq, (file, size_bytes, approved)): (usize, (u8, u64, bool))| KeptVersion {
                    seq: u64::try_from(seq).expect("small"),
                    root: "r".parse().expect("a name"),
                    path: format!("f{file}").parse().expect("a path"),
                    hash: BlobDigest::from_bytes([file; 32]),
                    size_bytes,
                    approved,
                };
            all.into_iter().enumerate().map(version).collect()
        })
    }

    fn held(versions: &[&KeptVersion], count_max: usize, bytes_max: u64) -> bool {
        let bytes: u64 = versions.iter().map(|version| version.size_bytes).sum();
        versions.len() <= count_max && bytes <= bytes_max
    }

    proptest! {
        #[test]
        fn the_bounds_hold_but_for_approved_versions_which_never_go(
            versions in versions(), per_file in 0usize..10, bytes_per_file in 0u64..500,
            count in 0usize..30, bytes in 0u64..2_000,
        ) {
            let limits = RetentionLimits {
                versions_per_file_max: per_file, bytes_per_file_max: bytes_per_file,
                versions_max: count, bytes_max: bytes,
            };
            let dropped = versions_to_drop(&versions, limits);
            prop_assert!(dropped.iter().all(|version| !version.approved));
            let kept: Vec<&KeptVersion> =
                versions.iter().filter(|version| !dropped.contains(version)).collect();
            let spare = kept.iter().any(|version| !version.approved);
            prop_assert!(!spare || held(&kept, count, bytes));
            for file in 0..4 {
                let path: EntryPath = format!("f{file}").parse().expect("a path");
                let of_file: Vec<&KeptVersion> =
                    kept.iter().copied().filter(|version| version.path == path).collect();
                let spare = of_file.iter().any(|version| !version.approved);
                prop_assert!(!spare || held(&of_file, per_file, bytes_per_file));
                // Oldest first: within a file, nothing that is kept is older than what went
                // for the file's own sake, unless it is approved.
                let oldest_kept = of_file.iter().filter(|v| !v.approved).map(|v| v.seq).min();
                let newest_gone =
                    dropped.iter().filter(|v| v.path == path).map(|v| v.seq).max();
                if let (Some(kept), Some(gone)) = (oldest_kept, newest_gone) {
                    prop_assert!(kept > gone);
                }
            }
        }

        #[test]
        fn nothing_goes_without_need(versions in versions()) {
            prop_assert_eq!(versions_to_drop(&versions, RetentionLimits::default()), vec![]);
        }
    }
}
