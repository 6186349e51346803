//! Which words a text has, the same for what is searched and what is searched for.
//!
//! Words are those of Unicode (UAX #29), split further at `.`, `_` and `:` unless between
//! digits, so that `project.alpha_2` is found by each of its parts; in normal form (NFKC),
//! in lower case. Deliberately absent: stemming and stop words, which belong to one language.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use foreshore_domain::memory::{JsonText, Tags, ValueRef};
use icu_normalizer::ComposingNormalizerBorrowed;
use unicode_segmentation::UnicodeSegmentation as _;

use super::super::super::codec::{Fields, count, put_part, put_varint};
use super::super::texts::HIDDEN;

/// The longest word that is told apart; the rest of a longer one does not count.
const WORD_MAX_BYTES: usize = 64;
/// The most different words and tags of a record that it is found by: more than ordinary text
/// of the largest size has, and a bound on what a record of words without sense can cost.
pub(super) const TERMS_MAX: usize = 4_096;
/// The kinds of term: what starts a term in the index.
const WORD: u8 = b'w';
const TAG: u8 = b't';

/// What a document is found by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Terms {
    /// Each term, and how often it occurs.
    pub(super) counts: BTreeMap<Vec<u8>, u32>,
    /// How many words there are, at most 65,534: more than a value holds.
    pub(super) length: u16,
}

impl Terms {
    /// The terms of a record: the words of its key, its value and its tags, and each tag. Of a
    /// text under a hidden name, the words of its value and each tag.
    pub(in super::super) fn of(key: &str, value: &ValueRef, tags: &Tags) -> Self {
        let mut terms = Self::default();
        let is_hidden = key.starts_with(HIDDEN);
        if !is_hidden {
            terms.add_words(key);
        }
        for tag in tags.as_slice() {
            if !is_hidden {
                terms.add_words(tag.as_str());
            }
            terms.counts.insert(tag_term(tag.as_str()), 1);
        }
        // Last, since it may have more than there is room for.
        terms.add_words(&text_of(value));
        terms
    }

    fn add_words(&mut self, text: &str) {
        for (_, word) in words(text) {
            let term = word_term(&word);
            if let Some(times) = self.counts.get_mut(&term) {
                *times += 1;
            } else if self.counts.len() < TERMS_MAX {
                self.counts.insert(term, 1);
            }
            self.length = self.length.saturating_add(1).min(u16::MAX - 1);
        }
    }

    /// How many different ones.
    pub(super) fn count(&self) -> u32 {
        count(self.counts.len())
    }

    /// How many an encoded row has.
    pub(super) fn count_of(bytes: &[u8]) -> u32 {
        count(Self::each(bytes).count())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (term, times) in &self.counts {
            put_part(&mut bytes, term);
            put_varint(&mut bytes, *times);
        }
        bytes
    }

    /// Reads the terms of [`Terms::encode`] one by one.
    pub(super) fn each(bytes: &[u8]) -> impl Iterator<Item = (&[u8], u32)> {
        let mut fields = Fields(bytes);
        std::iter::from_fn(move || fields.part().zip(fields.varint()))
    }
}

pub(super) fn word_term(word: &str) -> Vec<u8> {
    [&[WORD], word.as_bytes()].concat()
}

pub(super) fn tag_term(tag: &str) -> Vec<u8> {
    [&[TAG], tag.as_bytes()].concat()
}

/// The words of a text, with where they stand in it.
pub(super) fn words(text: &str) -> impl Iterator<Item = (Range<usize>, Cow<'_, str>)> {
    text.unicode_word_indices().flat_map(|(at, word)| {
        pieces(word).map(move |piece| {
            let range = at + piece.start..at + piece.end;
            (range, fold(&word[piece]))
        })
    })
}

/// The parts of a word that is several to people.
fn pieces(word: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = word.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let splits = move |at: usize| {
        matches!(bytes[at], b'.' | b'_' | b':')
            && !(at > 0 && digit(at - 1) && digit(at + 1) && bytes[at] != b'_')
    };
    let mut start = 0;
    std::iter::from_fn(move || {
        while start < bytes.len() && splits(start) {
            start += 1;
        }
        let from = start;
        while start < bytes.len() && !splits(start) {
            start += 1;
        }
        (from < start).then_some(from..start)
    })
}

fn fold(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        let cut = &word[..word.len().min(WORD_MAX_BYTES)];
        return match cut.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(cut.to_ascii_lowercase()),
            false => Cow::Borrowed(cut),
        };
    }
    const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfkc();
    // Lower case may undo the normal form, so it is taken before and made again after. A final
    // sigma is a sigma, and a typographic apostrophe is one.
    let lower = NFKC.normalize(word).to_lowercase().replace('ς', "σ").replace('\u{2019}', "'");
    let mut folded = NFKC.normalize(&lower).into_owned();
    while folded.len() > WORD_MAX_BYTES {
        folded.pop();
    }
    Cow::Owned(folded)
}

/// What is read of a value: its strings, names of members and numbers, a line each.
pub(in super::super) fn text_of(value: &ValueRef) -> String {
    match value {
        ValueRef::Inline(json) => text_of_json(json),
        ValueRef::Blob(blob) => blob.text.clone(),
    }
}

/// What search reads of JSON: of a value that is kept as a blob, whoever writes it gives the
/// start of this.
pub fn text_of_json(json: &JsonText) -> String {
    let mut text = String::new();
    if let Ok(value) = serde_json::from_str(json.as_str()) {
        add_text(&value, &mut text);
    }
    text
}

/// The depth of a value is bounded where it is taken.
fn add_text(value: &serde_json::Value, text: &mut String) {
    use serde_json::Value;
    let mut line = |part: &str| {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(part);
    };
    match value {
        Value::String(string) => line(string),
        Value::Number(number) => line(&number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| add_text(item, text)),
        Value::Object(members) => {
            for (name, member) in members {
                add_text(&Value::String(name.clone()), text);
                add_text(member, text);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        words(text).map(|(_, word)| word.into_owned()).collect()
    }

    #[test]
    fn words_are_what_people_would_search_for() {
        for (text, expected) in [
            ("Hello, World!", &["hello", "world"][..]),
            ("project.alpha_2/plan-b", &["project", "alpha", "2", "plan", "b"]),
            ("it costs 3.14 at 10:30, v1.2.", &["it", "costs", "3.14", "at", "10", "30", "v1.2"]),
            ("don't don\u{2019}t", &["don't", "don't"]),
            ("ﬁne Ｆｕｌｌ CAFÉ cafe\u{301}", &["fine", "full", "café", "café"]),
            ("ΟΔΟΣ οδός", &["οδοσ", "οδόσ"]),
            ("東京", &["東", "京"]),
            ("... --- \u{1f600}", &[]),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_knows_where_it_stands() {
        let text = "Ünï.CODE x";
        let at: Vec<&str> = words(text).map(|(range, _)| &text[range]).collect();
        assert_eq!(at, ["Ünï", "CODE", "x"]);
    }

    #[test]
    fn a_long_word_is_cut_where_a_character_ends() {
        assert_eq!(of(&"x".repeat(1_000))[0].len(), 64);
        assert_eq!(of(&"é".repeat(1_000))[0].len(), 64);
        assert_eq!(of(&format!("x{}", "é".repeat(1_000)))[0].len(), 63);
    }

    #[test]
    fn the_text_of_a_value_is_its_strings_names_and_numbers() {
        let json = r#"{"port": 8080, "b": [null, true, "x\ny"]}"#;
        let value = foreshore_domain::memory::JsonText::parse(json).expect("valid");
        assert_eq!(text_of(&ValueRef::Inline(value)), "b\nx\ny\nport\n8080");
    }
}
