//! Memory as one would write it without a disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::wide;

/// `(subject, predicate, object)`.
pub(super) type Edge = (String, String, String);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Was {
    Written { value: String, expires: Option<u64> },
    Deleted,
    Expired,
}

#[derive(Default)]
pub(super) struct Model {
    /// Every version that ever was, by key; the first is version 1.
    pub(super) records: BTreeMap<String, Vec<Was>>,
    swept: BTreeSet<(String, u64)>,
    pub(super) edges: BTreeSet<Edge>,
}

impl Model {
    pub(super) fn put(&mut self, key: &str, value: &str, expires: Option<u64>) -> u64 {
        let was = Was::Written { value: value.to_owned(), expires };
        self.push(key, was)
    }

    fn push(&mut self, key: &str, was: Was) -> u64 {
        let versions = self.records.entry(key.to_owned()).or_default();
        versions.push(was);
        wide(versions.len())
    }

    pub(super) fn delete(&mut self, key: &str) -> bool {
        let there = matches!(self.latest(key), Some(Was::Written { .. }));
        if there {
            self.push(key, Was::Deleted);
        }
        there
    }

    fn latest(&self, key: &str) -> Option<&Was> {
        self.records.get(key)?.last()
    }

    pub(super) fn is_swept(&self, key: &str, version: u64) -> bool {
        self.swept.contains(&(key.to_owned(), version))
    }

    pub(super) fn sweep(&mut self, key: &str, version: u64) {
        if wide(self.records[key].len()) == version {
            self.push(key, Was::Expired);
        }
        self.swept.insert((key.to_owned(), version));
    }

    pub(super) fn get(&self, key: &str, now: u64) -> Option<(u64, &str)> {
        match self.latest(key)? {
            Was::Written { value, expires } if expires.is_none_or(|at| at > now) => {
                Some((wide(self.records[key].len()), value))
            }
            _ => None,
        }
    }

    pub(super) fn versions(&self, key: &str, now: u64, kept: usize) -> Vec<(u64, &Was)> {
        let all = self.records.get(key).map_or(&[][..], Vec::as_slice);
        let mut numbered: Vec<(u64, &Was)> = (1_u64..).zip(all).collect();
        numbered.reverse();
        numbered.truncate(kept);
        numbered.retain(|(n, was)| {
            let past = matches!(was, Was::Written { expires: Some(at), .. } if *at <= now);
            !past && !self.is_swept(key, *n)
        });
        numbered
    }

    pub(super) fn neighbours(&self, key: &str) -> Vec<Edge> {
        let mut out: Vec<Edge> = self.edges.iter().filter(|e| e.0 == key).cloned().collect();
        let mut back: Vec<Edge> =
            self.edges.iter().filter(|e| e.2 == key && e.0 != key).cloned().collect();
        out.sort_by(|a, b| (&a.1, &a.2).cmp(&(&b.1, &b.2)));
        back.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
        out.append(&mut back);
        out
    }

    /// All shortest paths of at most `max` edges, by trying every walk, shorter ones first.
    pub(super) fn paths(&self, from: &str, to: &str, max: usize) -> BTreeSet<Vec<Edge>> {
        let mut found: BTreeSet<Vec<Edge>> = BTreeSet::new();
        let mut walks = VecDeque::from([(from.to_owned(), Vec::new())]);
        while let Some((at, walk)) = walks.pop_front() {
            let shortest = found.first().map_or(max, Vec::len);
            if at == to && !walk.is_empty() {
                if found.is_empty() || walk.len() == shortest {
                    found.insert(walk);
                }
            } else if walk.len() < shortest && from != to {
                for edge in self.neighbours(&at) {
                    let next = if edge.0 == at { edge.2.clone() } else { edge.0.clone() };
                    let mut walk = walk.clone();
                    walk.push(edge);
                    walks.push_back((next, walk));
                }
            }
        }
        found
    }
}
