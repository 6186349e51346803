//! The lines of a file in memory, numbered as a search goes forward through it.
//!
//! No index is built: line ends are counted between one match and the next, once. The
//! invariant: positions asked for do not decrease.

/// A line; its end lies behind its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A way forward through the lines of a file.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    bytes: &'a [u8],
    /// A line's start, and the number of that line.
    position: usize,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, number: 1 }
    }

    /// The line that holds a position.
    pub(crate) fn at(&mut self, position: usize) -> Line {
        let passed = &self.bytes[self.position..position];
        if let Some(last) = memchr::memrchr(b'\n', passed) {
            let lines = memchr::memchr_iter(b'\n', passed).count();
            self.number += u64::try_from(lines).unwrap_or(u64::MAX);
            self.position += last + 1;
        }
        Line { number: self.number, start: self.position, end: self.end_of(position) }
    }

    /// The lines before a line's start, in their order, nearest last: take from the end.
    pub(crate) fn before(&self, start: usize, count: usize) -> Vec<&'a [u8]> {
        let mut found = Vec::new();
        let mut end = start;
        while found.len() < count && end > 0 {
            let begin = memchr::memrchr(b'\n', &self.bytes[..end - 1]).map_or(0, |at| at + 1);
            found.push(&self.bytes[begin..end]);
            end = begin;
        }
        found.reverse();
        found
    }

    /// The lines after a line's end.
    pub(crate) fn after(&self, end: usize, count: usize) -> Vec<&'a [u8]> {
        let mut found = Vec::new();
        let mut start = end;
        while found.len() < count && start < self.bytes.len() {
            let end = self.end_of(start);
            found.push(&self.bytes[start..end]);
            start = end;
        }
        found
    }

    fn end_of(&self, position: usize) -> usize {
        memchr::memchr(b'\n', &self.bytes[position..])
            .map_or(self.bytes.len(), |length| position + length + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_lines() {
        let mut lines = Lines::new(b"a\nbc\n\nd");
        assert_eq!(lines.at(0), Line { number: 1, start: 0, end: 2 });
        assert_eq!(lines.at(3), Line { number: 2, start: 2, end: 5 });
        assert_eq!(lines.at(4), Line { number: 2, start: 2, end: 5 });
        assert_eq!(lines.at(5), Line { number: 3, start: 5, end: 6 });
        assert_eq!(lines.at(6), Line { number: 4, start: 6, end: 7 });
    }

    #[test]
    fn neighbors_are_given_in_order_and_stop_at_the_ends() {
        let lines = Lines::new(b"a\nb\nc\nd");
        assert_eq!(lines.before(4, 5), [b"a\n", b"b\n"]);
        assert_eq!(lines.before(4, 1), [b"b\n"]);
        assert_eq!(lines.after(4, 1), [b"c\n"]);
        assert_eq!(lines.after(6, 5), [b"d"]);
        assert!(lines.before(0, 3).is_empty());
        assert!(lines.after(7, 3).is_empty());
    }
}
