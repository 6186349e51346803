//! What in a file comes closest to a text that is not there.
//!
//! For error messages only: nothing is ever changed by likeness. Likeness is the Dice
//! coefficient of pairs of characters, which forgives typing errors and renamed words and
//! is linear in the length of a line. The invariant: work is bounded by `LINES_MAX` lines.

use std::collections::HashMap;

const LINES_MAX: usize = 50_000;
const LINE_CHARACTERS_MAX: usize = 200;
const SHOWN_MAX: usize = 3;
const LIKENESS_MIN: f64 = 0.5;

/// The lines most like the first line of a text, best first, counted from 1.
pub(crate) fn lines(file: &str, wanted: &str) -> Vec<u64> {
    let Some(first) = wanted.lines().map(str::trim).find(|line| !line.is_empty()) else {
        return Vec::new();
    };
    let wanted = Pairs::of(first);
    let mut scored: Vec<(f64, u64)> = file
        .lines()
        .take(LINES_MAX)
        .zip(1_u64..)
        .map(|(line, number)| (wanted.likeness(line.trim()), number))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .collect();
    scored.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    scored.into_iter().take(SHOWN_MAX).map(|(_, number)| number).collect()
}

/// The line where a text starts that differs in nothing but whitespace.
pub(crate) fn ignoring_whitespace(file: &str, wanted: &str) -> Option<u64> {
    let wanted: String = wanted.chars().filter(|character| !character.is_whitespace()).collect();
    if wanted.is_empty() {
        return None;
    }
    let (mut squeezed, mut line_starts) = (String::with_capacity(file.len()), Vec::new());
    for line in file.lines().take(LINES_MAX) {
        line_starts.push(squeezed.len());
        squeezed.extend(line.chars().filter(|character| !character.is_whitespace()));
    }
    let start = squeezed.find(&wanted)?;
    // Of several lines that start here, all but the last are empty.
    let line = line_starts.partition_point(|line_start| *line_start <= start);
    u64::try_from(line).ok()
}

/// The pairs of neighboring characters of a line, with how often each is there.
struct Pairs {
    counts: HashMap<(char, char), u32>,
    total: u32,
}

impl Pairs {
    fn of(line: &str) -> Self {
        let mut counts = HashMap::new();
        let mut total = 0;
        for pair in pairs(line) {
            *counts.entry(pair).or_default() += 1;
            total += 1;
        }
        Self { counts, total }
    }

    /// 1.0 for the same line, 0.0 for one that shares nothing.
    fn likeness(&self, line: &str) -> f64 {
        let (mut shared, mut total) = (0_u32, 0_u32);
        let mut left: HashMap<(char, char), u32> = HashMap::new();
        for pair in pairs(line) {
            total += 1;
            let Some(count) = self.counts.get(&pair) else { continue };
            let used = left.entry(pair).or_default();
            if *used < *count {
                *used += 1;
                shared += 1;
            }
        }
        match self.total + total {
            0 => 0.0,
            sum => 2.0 * f64::from(shared) / f64::from(sum),
        }
    }
}

fn pairs(line: &str) -> impl Iterator<Item = (char, char)> {
    line.chars().zip(line.chars().skip(1)).take(LINE_CHARACTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_alike_line_comes_first() {
        let file = "let alpha = 1;\nlet beta = 2;\nreturn;\nlet betas = 2;\n";
        assert_eq!(lines(file, "  let beta = 3;\n  next")[0], 2);
        assert!(!lines(file, "let beta = 3;").contains(&3));
    }

    #[test]
    fn nothing_alike_is_nothing() {
        assert!(lines("abc\ndef\n", "xyz").is_empty());
        assert!(lines("abc", "\n\n").is_empty());
    }

    #[test]
    fn whitespace_is_disregarded_across_lines() {
        assert_eq!(ignoring_whitespace("x\n\nif a\n{ b }\n", "if a {\n  b\n}"), Some(3));
        assert_eq!(ignoring_whitespace("x\n", "y"), None);
        assert_eq!(ignoring_whitespace("x\n", " \n"), None);
    }
}
