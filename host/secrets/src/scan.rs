//! One automaton for all values in all spellings, built when the values change.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use zeroize::Zeroize;

use crate::compressed;
use crate::spellings;

/// Shorter values are met by chance, and so are not taken.
pub const VALUE_MIN_BYTES: usize = spellings::SHORTEST;
/// The most bytes of all values together: the automaton has a few hundred states for each byte.
pub const SECRETS_MAX_BYTES: usize = 32 << 10;

/// Finds the values it was made of.
pub struct Scanner {
    automaton: AhoCorasick,
    /// Whose spelling each pattern is.
    names: Vec<Arc<str>>,
    /// The patterns, in order, in lower case: for what may be the start of one.
    patterns: Vec<Vec<u8>>,
    longest: usize,
}

/// The values cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// One is too short to be told from what is met by chance.
    #[error("a secret has at least {min} bytes, this one {bytes}", min = VALUE_MIN_BYTES)]
    TooShort {
        /// How many it has.
        bytes: usize,
    },
    /// They are too many or too long.
    #[error("all secrets together have at most {max} bytes, these {bytes}", max = SECRETS_MAX_BYTES)]
    TooLarge {
        /// How many they have.
        bytes: usize,
    },
    /// No automaton could be built.
    #[error("the secrets cannot be looked for: {0}")]
    Automaton(String),
}

impl Scanner {
    /// A scanner of values with their names; `None` if there are none.
    ///
    /// # Errors
    /// [`ScanError`].
    pub fn new<'a>(
        values: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Option<Self>, ScanError> {
        let mut spelled: Vec<(Vec<u8>, Arc<str>)> = Vec::new();
        let mut bytes = 0;
        for (name, value) in values {
            if value.len() < VALUE_MIN_BYTES {
                return Err(ScanError::TooShort { bytes: value.len() });
            }
            bytes += value.len();
            if bytes > SECRETS_MAX_BYTES {
                return Err(ScanError::TooLarge { bytes });
            }
            let name: Arc<str> = name.into();
            spelled.extend(spellings::of(value).into_iter().map(|text| (text, Arc::clone(&name))));
        }
        if spelled.is_empty() {
            return Ok(None);
        }
        spelled.sort_unstable();
        spelled.dedup_by(|a, b| a.0 == b.0);
        let (patterns, names): (Vec<_>, Vec<_>) = spelled.into_iter().unzip();
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::LeftmostLongest)
            .ascii_case_insensitive(true)
            .build(&patterns)
            .map_err(|error| ScanError::Automaton(error.to_string()))?;
        let longest = patterns.iter().map(Vec::len).max().unwrap_or_default();
        Ok(Some(Self { automaton, names, patterns, longest }))
    }

    /// The name of a value that is in these bytes.
    pub fn find(&self, bytes: &[u8]) -> Option<&Arc<str>> {
        if let Some(found) = self.automaton.find(bytes) {
            return self.names.get(found.pattern().as_usize());
        }
        let runs = compressed::runs(bytes);
        runs.iter().find_map(|(_, held)| {
            let found = self.automaton.find(held)?;
            self.names.get(found.pattern().as_usize())
        })
    }

    /// The bytes with `[secret:NAME]` in the place of each value; `None` if there is none.
    pub fn redacted(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.find(bytes).is_some().then(|| self.replaced(bytes, 0..bytes.len()).0)
    }

    /// As [`Self::redacted`], of text.
    pub fn redacted_text(&self, text: &str) -> Option<String> {
        self.redacted(text.as_bytes()).map(text_of)
    }

    /// What comes of a part of the bytes: what is before it was given out already, and values that
    /// begin after it are not looked at yet. And how far that went: to the end of the part, or of
    /// a value that began in it.
    pub(crate) fn replaced(&self, bytes: &[u8], part: Range<usize>) -> (Vec<u8>, usize) {
        let mut replaced = Vec::with_capacity(part.len());
        let mut done = part.start;
        for (range, name) in self.matches(bytes) {
            if range.start >= part.end {
                break;
            }
            if range.end <= done {
                continue;
            }
            replaced.extend_from_slice(bytes.get(done..range.start).unwrap_or_default());
            replaced.extend_from_slice(format!("[secret:{name}]").as_bytes());
            done = range.end;
        }
        replaced.extend_from_slice(bytes.get(done..part.end).unwrap_or_default());
        (replaced, done.max(part.end))
    }

    /// Where values are, in order.
    fn matches(&self, bytes: &[u8]) -> Vec<(Range<usize>, &Arc<str>)> {
        let named = |found: aho_corasick::Match| self.names.get(found.pattern().as_usize());
        let matches = self.automaton.find_iter(bytes);
        let mut found: Vec<(Range<usize>, &Arc<str>)> =
            matches.filter_map(|found| Some((found.range(), named(found)?))).collect();
        for (range, held) in compressed::runs(bytes) {
            if let Some(name) = self.automaton.find(&held).and_then(named) {
                found.push((range, name));
            }
        }
        found.sort_unstable_by_key(|(range, _)| (range.start, range.end));
        found
    }

    /// How many bytes at the end may be the start of a value.
    pub(crate) fn unfinished(&self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(self.longest.saturating_sub(1));
        let mut end = bytes[bytes.len() - most..].to_vec();
        end.make_ascii_lowercase();
        let begins = |tail: &[u8]| {
            let at = self.patterns.partition_point(|pattern| pattern.as_slice() < tail);
            let starts =
                |pattern: &Vec<u8>| pattern.len() > tail.len() && pattern.starts_with(tail);
            // What equals the tail comes first; at most one does.
            self.patterns[at..].iter().take(2).any(starts)
        };
        (0..most).find(|at| begins(&end[*at..])).map_or(0, |at| most - at)
    }

    /// The length of the longest spelling.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// How many spellings are looked for.
    pub fn spellings(&self) -> usize {
        self.patterns.len()
    }

    /// How much memory the automaton takes.
    pub fn memory_bytes(&self) -> usize {
        self.automaton.memory_usage() + self.patterns.iter().map(Vec::capacity).sum::<usize>()
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scanner({} spellings)", self.patterns.len())
    }
}

impl Drop for Scanner {
    fn drop(&mut self) {
        self.patterns.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// A replaced text is text again, but for characters of which a value was a part.
pub(crate) fn text_of(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}
