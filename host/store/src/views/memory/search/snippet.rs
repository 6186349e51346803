//! The part of a record's text that shows why it was found.

use std::collections::BTreeSet;
use std::ops::Range;

use super::words::words;

/// The most characters of a snippet, without the marks of where it was cut.
pub const SNIPPET_MAX: usize = 160;
/// How many bytes of a text are looked at.
const READ_MAX_BYTES: usize = 8 << 10;
/// How many characters come before the first matched word.
const LEAD: usize = 24;

/// A part of a record's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// At most [`SNIPPET_MAX`] characters on one line, with `…` where it was cut.
    pub text: String,
    /// The matched words, as ranges of bytes of `text`, in order.
    pub matches: Vec<Range<usize>>,
}

/// The part of `text` with the most different words of `wanted`, the first of several; the
/// start where there is none.
pub(super) fn snippet(text: &str, wanted: &BTreeSet<String>) -> Snippet {
    let head = &text[..text.floor_char_boundary(READ_MAX_BYTES)];
    let matches: Vec<(Range<usize>, String)> = words(head)
        .filter(|(_, word)| wanted.contains(&**word))
        .map(|(range, word)| (range, word.into_owned()))
        .collect();
    let best = (0..matches.len()).max_by_key(|first| {
        let from = matches.get(*first).map_or(0, |(range, _)| range.start);
        let within =
            matches.iter().skip(*first).take_while(|(r, _)| r.end - from <= SNIPPET_MAX - LEAD);
        let different: BTreeSet<&str> = within.map(|(_, word)| word.as_str()).collect();
        // Of equals `max_by_key` gives the last; the first is wanted.
        (different.len(), usize::MAX - first)
    });
    let first = best.and_then(|first| matches.get(first)).map_or(0, |(range, _)| range.start);
    let window = window(text, first);
    let ranges = matches.into_iter().map(|(range, _)| range);
    cut(text, window, ranges)
}

/// Where the snippet is: a little before `first`, from a word's start, so many characters on.
fn window(text: &str, first: usize) -> Range<usize> {
    let before = text[..first].char_indices().rev().take(LEAD).last().map_or(first, |(at, _)| at);
    let start = match text[before..first].find(char::is_whitespace) {
        Some(space) if before > 0 => before + space,
        _ => before,
    };
    let start = start + (text[start..].len() - text[start..].trim_start().len());
    let end =
        text[start..].char_indices().nth(SNIPPET_MAX).map_or(text.len(), |(at, _)| start + at);
    start..end
}

fn cut(text: &str, window: Range<usize>, matches: impl Iterator<Item = Range<usize>>) -> Snippet {
    let mut snippet = Snippet::default();
    if window.start > 0 {
        snippet.text.push('…');
    }
    let lead = snippet.text.len();
    // A control character becomes as many spaces as it has bytes, so that ranges stay true.
    for character in text[window.clone()].chars() {
        match character.is_control() {
            true => snippet.text.extend(std::iter::repeat_n(' ', character.len_utf8())),
            false => snippet.text.push(character),
        }
    }
    if window.end < text.len() {
        snippet.text.push('…');
    }
    snippet.matches = matches
        .filter(|range| range.start >= window.start && range.end <= window.end)
        .map(|range| range.start - window.start + lead..range.end - window.start + lead)
        .collect();
    snippet
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, wanted: &[&str]) -> (String, Vec<String>) {
        let wanted = wanted.iter().map(|word| (*word).to_owned()).collect();
        let snippet = snippet(text, &wanted);
        let matched = snippet.matches.iter().map(|range| snippet.text[range.clone()].to_owned());
        (snippet.text.clone(), matched.collect())
    }

    #[test]
    fn a_short_text_is_shown_whole_with_its_matches() {
        let (text, matched) = of("The Quick\nbrown fox", &["quick", "fox"]);
        assert_eq!(
            (text.as_str(), &matched[..]),
            ("The Quick brown fox", &["Quick".to_owned(), "fox".to_owned()][..])
        );
    }

    #[test]
    fn the_part_with_the_most_different_words_is_shown() {
        let filler = "lorem ipsum ".repeat(40);
        let text = format!("fox fox fox {filler} a quick brown fox jumps {filler}");
        let (text, matched) = of(&text, &["quick", "fox"]);
        assert_eq!(matched, ["quick", "fox"]);
        assert!(text.starts_with('…') && text.ends_with('…'), "{text}");
        assert!(text.chars().count() <= SNIPPET_MAX + 2, "{text}");
    }

    proptest! {
        #[test]
        fn whatever_the_text_a_snippet_is_short_and_its_matches_are_matches(
            text in "(\\PC|[\u{0}-\u{20}]|[aA.:_' ]|\u{fdfa}|\u{301}){0,400}",
            pick in any::<prop::sample::Index>(),
        ) {
            let all: Vec<String> = words(&text).map(|(_, word)| word.into_owned()).collect();
            let wanted: BTreeSet<String> =
                if all.is_empty() { BTreeSet::new() } else { BTreeSet::from([pick.get(&all).clone()]) };
            let snippet = snippet(&text, &wanted);
            prop_assert!(snippet.text.chars().count() <= 2 * SNIPPET_MAX + 2);
            prop_assert!(!snippet.text.contains(char::is_control));
            for range in &snippet.matches {
                prop_assert!(snippet.text.is_char_boundary(range.start));
                prop_assert!(snippet.text.get(range.clone()).is_some_and(|text| !text.is_empty()));
            }
            for (range, word) in words(&text) {
                prop_assert!(text.get(range).is_some());
                prop_assert!(word.len() <= 64 && !word.is_empty());
            }
        }
    }

    #[test]
    fn a_text_without_matches_is_shown_from_its_start() {
        let (text, matched) = of(&"é ".repeat(500), &["x"]);
        assert_eq!(text.chars().count(), SNIPPET_MAX + 1);
        assert!(matched.is_empty() && text.starts_with('é'));
        assert_eq!(of("", &["x"]), (String::new(), vec![]));
    }
}
