//! What differs between two versions of a file, as a unified diff.
//!
//! Deliberately absent: guessing. What is not UTF-8, holds a NUL, or is too large is said to be
//! so. The comparison is Myers' (An O(ND) Difference Algorithm, 1986), which a deadline bounds:
//! past it the diff is right and longer than it need be.

use std::time::Duration;

use similar::{Algorithm, TextDiff};

/// Bounds on a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DifferenceLimits {
    /// A version larger than this is not compared.
    pub bytes_max: usize,
    /// How long to look for a short diff.
    pub search_max: Duration,
}

impl Default for DifferenceLimits {
    fn default() -> Self {
        Self { bytes_max: 1 << 20, search_max: Duration::from_millis(500) }
    }
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Nothing.
    None,
    /// A unified diff with three lines of context.
    Text(String),
    /// One of the two is no text.
    Binary {
        /// Sizes in bytes, old and new.
        sizes: (usize, usize),
    },
    /// One of the two is larger than what is compared.
    TooLarge {
        /// Sizes in bytes, old and new.
        sizes: (usize, usize),
        /// The limit.
        bytes_max: usize,
    },
}

/// Compares two versions; `names` stand in the header, old and new.
pub fn difference(
    old: &[u8],
    new: &[u8],
    names: (&str, &str),
    limits: DifferenceLimits,
) -> Difference {
    let sizes = (old.len(), new.len());
    let bytes_max = limits.bytes_max;
    if old == new {
        return Difference::None;
    }
    if old.len() > bytes_max || new.len() > bytes_max {
        return Difference::TooLarge { sizes, bytes_max };
    }
    let (Some(old), Some(new)) = (text(old), text(new)) else {
        return Difference::Binary { sizes };
    };
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .timeout(limits.search_max)
        .diff_lines(old, new);
    Difference::Text(diff.unified_diff().context_radius(3).header(names.0, names.1).to_string())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(old: &[u8], new: &[u8]) -> Difference {
        difference(old, new, ("a/notes", "b/notes"), DifferenceLimits::default())
    }

    #[test]
    fn texts_differ_by_lines_and_a_missing_end_of_line_is_said() {
        let Difference::Text(diff) = compared(b"one\ntwo\n", b"one\n2") else { panic!("a text") };
        let expected = "--- a/notes\n+++ b/notes\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\\ No newline at end of file\n";
        assert_eq!(diff, expected);
        assert_eq!(compared(b"same", b"same"), Difference::None);
    }

    #[test]
    fn what_is_no_text_or_too_large_is_said_to_be() {
        assert_eq!(compared(b"a\0", b"b"), Difference::Binary { sizes: (2, 1) });
        assert_eq!(compared(b"\xff", b"b"), Difference::Binary { sizes: (1, 1) });
        let limits = DifferenceLimits { bytes_max: 3, ..DifferenceLimits::default() };
        let too_large = Difference::TooLarge { sizes: (4, 1), bytes_max: 3 };
        assert_eq!(difference(b"four", b"1", ("a", "b"), limits), too_large);
    }
}
