//! Bytes as text for a caller who reads JSON.
//!
//! Files are taken as UTF-8; each invalid sequence becomes U+FFFD and the result says so.
//! The invariant: what is shown fits the budget *as JSON*, where a control character is six
//! bytes, so that a hostile file cannot make a result that the host refuses as too large.

/// The most bytes of JSON that the texts of one result may take. The host's default limit
/// for a result is 1 MiB, and a result is carried twice: for people and for programs.
pub(crate) const RESULT_TEXT_MAX_BYTES: usize = 440 << 10;

/// A file whose first bytes hold a NUL is binary, as git and grep judge it.
pub(crate) const BINARY_SAMPLE_BYTES: usize = 8 << 10;

/// Text and whether it is exactly what the bytes said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) text: String,
    pub(crate) lossy: bool,
}

pub(crate) fn decode(bytes: &[u8]) -> Decoded {
    match std::str::from_utf8(bytes) {
        Ok(text) => Decoded { text: text.to_owned(), lossy: false },
        Err(_) => Decoded { text: String::from_utf8_lossy(bytes).into_owned(), lossy: true },
    }
}

pub(crate) fn is_binary(bytes: &[u8]) -> bool {
    let sample = bytes.get(..BINARY_SAMPLE_BYTES).unwrap_or(bytes);
    memchr::memchr(0, sample).is_some()
}

/// The bytes without an incomplete character at their end, for a text that goes on.
pub(crate) fn whole_characters(bytes: &[u8]) -> &[u8] {
    // A character has at most four bytes, so its first byte is among the last four.
    for back in 1..=bytes.len().min(4) {
        let start = bytes.len() - back;
        let length = match bytes[start] {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            0x80..=0xBF => continue,
            _ => 1,
        };
        return if length > back { &bytes[..start] } else { bytes };
    }
    bytes
}

/// How many bytes a text takes inside of a JSON string.
pub(crate) fn json_length(text: &str) -> usize {
    text.bytes().map(json_byte_length).sum()
}

/// The longest beginning of a text that takes at most `budget` bytes inside of a JSON string.
pub(crate) fn fit(text: &str, budget: usize) -> &str {
    let mut used = 0;
    for (index, byte) in text.bytes().enumerate() {
        used += json_byte_length(byte);
        if used > budget {
            return &text[..text.floor_char_boundary(index)];
        }
    }
    text
}

fn json_byte_length(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0x00..=0x1F => 6,
        _ => 1,
    }
}

/// A line without its end, cut to at most `max_characters`.
pub(crate) fn line(bytes: &[u8], max_characters: usize) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    // Four bytes a character at most: no need to decode the rest of a very long line.
    let head = bytes.get(..max_characters.saturating_mul(4)).unwrap_or(bytes);
    let text = String::from_utf8_lossy(head);
    match text.char_indices().nth(max_characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if head.len() < bytes.len() => format!("{text}…"),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_utf_8_is_replaced_and_reported() {
        assert_eq!(decode(b"caf\xC3\xA9"), Decoded { text: "café".into(), lossy: false });
        assert_eq!(decode(b"caf\xE9!"), Decoded { text: "caf\u{FFFD}!".into(), lossy: true });
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        let bytes = "aé€🎉".as_bytes();
        for end in 0..=bytes.len() {
            assert!(std::str::from_utf8(whole_characters(&bytes[..end])).is_ok(), "{end}");
        }
        assert_eq!(whole_characters(bytes), bytes);
        assert_eq!(whole_characters(b"ab\xFF"), b"ab\xFF");
    }

    #[test]
    fn a_text_fits_its_budget_as_json() {
        let text = "\u{1}\"é\n";
        assert_eq!(json_length(text), serde_json::to_string(text).expect("json").len() - 2);
        assert_eq!(fit(text, 100), text);
        assert_eq!(fit(text, 6), "\u{1}");
        assert_eq!(fit(text, 9), "\u{1}\"", "half of a character does not fit");
        assert_eq!(fit(text, 0), "");
    }

    #[test]
    fn a_long_line_is_cut_where_a_character_ends() {
        assert_eq!(line("äöü\r\n".as_bytes(), 3), "äöü");
        assert_eq!(line("äöü".as_bytes(), 2), "äö…");
        assert_eq!(line("x".repeat(100).as_bytes(), 10), format!("{}…", "x".repeat(10)));
    }
}
