//! Sizes of texts, and parts of them: for prompts that have to fit.

/// An estimate of the tokens of a text: a quarter of its bytes, rounded up.
pub fn tokens(text: &str) -> usize {
    text.len().div_ceil(4)
}

/// The text from its start, at most so many bytes: whole characters, and whole lines where that
/// leaves at least half.
pub fn head(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let cut = &text[..text.floor_char_boundary(max_bytes)];
    match cut.rfind('\n') {
        Some(line_end) if line_end >= max_bytes / 2 => &cut[..line_end],
        _ => cut,
    }
}

/// [`head`], with a mark where something was cut.
pub fn cut(text: &str, max_bytes: usize) -> String {
    let head = head(text, max_bytes);
    if head.len() == text.len() { text.to_owned() } else { format!("{head}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_a_character_and_mostly_with_a_line() {
        assert_eq!(head("short", 10), "short");
        assert_eq!(head("one\ntwo three", 5), "one");
        assert_eq!(head("a\nlong line", 8), "a\nlong l");
        assert_eq!(head("ääää", 3), "ä");
        assert_eq!(head("ä", 1), "");
        assert_eq!(cut("ääää", 4), "ää…");
    }

    #[test]
    fn four_bytes_are_a_token() {
        assert_eq!((tokens(""), tokens("a"), tokens("abcd"), tokens("abcde")), (0, 1, 1, 2));
    }
}
