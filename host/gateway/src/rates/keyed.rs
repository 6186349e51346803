//! A bounded table of what is known of each key.
//!
//! Two generations: a key that is used moves to the young one, and when that is full the old one
//! goes. So the keys that go are those that were idle longest, and no key costs a search.

use std::collections::HashMap;
use std::hash::Hash;

/// At most so many keys, each with a number that is zero to begin with.
pub(crate) struct Keyed<K> {
    half: usize,
    young: HashMap<K, u64>,
    old: HashMap<K, u64>,
}

impl<K: Eq + Hash> Keyed<K> {
    pub(crate) fn new(keys_max: usize) -> Self {
        Self { half: (keys_max / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// The number of a key, which is in use now.
    pub(crate) fn of(&mut self, key: K) -> &mut u64 {
        if !self.young.contains_key(&key) {
            let known = self.old.remove(&key).unwrap_or(0);
            if self.young.len() >= self.half {
                self.old = std::mem::take(&mut self.young);
            }
            return self.young.entry(key).or_insert(known);
        }
        self.young.entry(key).or_insert(0)
    }

    /// The number of a key, which is not in use by that.
    pub(crate) fn peek(&self, key: &K) -> u64 {
        self.young.get(key).or_else(|| self.old.get(key)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_what_is_idle_longest_goes() {
        let mut keyed = Keyed::new(10);
        *keyed.of(0_u32) = 7;
        for key in 1..100_000 {
            *keyed.of(key) = 1;
            assert_eq!(*keyed.of(0), 7, "it is in use, after {key}");
            assert!(keyed.young.len() + keyed.old.len() <= 10);
        }
        assert_eq!(keyed.peek(&1), 0, "it was idle");
        assert_eq!(keyed.peek(&99_999), 1);
    }
}
