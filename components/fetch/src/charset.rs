//! The text of a body, in whatever character set it came.
//!
//! In the order of the standard (<https://html.spec.whatwg.org/#determining-the-character-encoding>):
//! a byte order mark, the `charset` of the content type, for HTML a `<meta>` in the first 1,024
//! bytes; then UTF-8 where that fits and windows-1252 where it does not. The invariant: a body
//! that was cut does not end in half of a character.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

const META_BYTES: usize = 1_024;

/// A body as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) text: String,
    /// The name of the character set.
    pub(crate) charset: &'static str,
    /// Some of the bytes are no text in it, and were replaced by U+FFFD.
    pub(crate) lossy: bool,
}

/// What kind of text it is, for what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Html,
    Other,
}

/// Decodes a body; `declared` is the `charset` of its content type.
pub(crate) fn decode(bytes: &[u8], declared: Option<&str>, kind: Kind, is_cut: bool) -> Decoded {
    let encoding = Encoding::for_bom(bytes)
        .map(|(encoding, _)| encoding)
        .or_else(|| Encoding::for_label(declared?.as_bytes()))
        .or_else(|| if kind == Kind::Html { in_meta(bytes) } else { None })
        .unwrap_or_else(|| guessed(bytes));
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let room = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len());
    let mut text = String::with_capacity(room);
    // Not the last piece, if the body goes on: the start of a character at its end is dropped.
    let (_, _, lossy) = decoder.decode_to_string(bytes, &mut text, !is_cut);
    text.shrink_to_fit();
    Decoded { text, charset: encoding.name(), lossy }
}

/// The character set that a `<meta>` names.
fn in_meta(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..META_BYTES).unwrap_or(bytes);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let found = head.split("<meta").skip(1).find_map(|after| {
        let tag = after.split('>').next()?;
        let value = tag.split("charset").nth(1)?.trim_start().strip_prefix('=')?;
        let value = value.trim_start().trim_start_matches(['"', '\'']);
        let end = value.find(['"', '\'', ' ', ';', '/']).unwrap_or(value.len());
        Encoding::for_label(value[..end].as_bytes())
    })?;
    // The bytes of the tag itself were read as ASCII, so it cannot be one of these.
    let is_wide = found == encoding_rs::UTF_16BE || found == encoding_rs::UTF_16LE;
    Some(if is_wide { UTF_8 } else { found })
}

fn guessed(bytes: &[u8]) -> &'static Encoding {
    match std::str::from_utf8(bytes) {
        Ok(_) => UTF_8,
        // Nothing but the end is wrong: a character that was cut.
        Err(error) if error.error_len().is_none() => UTF_8,
        Err(_) => WINDOWS_1252,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8], declared: Option<&str>, kind: Kind) -> (String, &'static str) {
        let decoded = decode(bytes, declared, kind, false);
        (decoded.text, decoded.charset)
    }

    #[test]
    fn the_content_type_decides_unless_there_is_a_mark() {
        let latin = b"caf\xE9";
        assert_eq!(
            decoded(latin, Some("iso-8859-1"), Kind::Other),
            ("café".into(), "windows-1252")
        );
        assert_eq!(decoded(b"\x82\xA0", Some("Shift_JIS"), Kind::Html), ("あ".into(), "Shift_JIS"));
        let marked = b"\xEF\xBB\xBFcaf\xC3\xA9";
        assert_eq!(decoded(marked, Some("iso-8859-1"), Kind::Other), ("café".into(), "UTF-8"));
        assert_eq!(decoded(b"\xFF\xFEa\0", None, Kind::Other), ("a".into(), "UTF-16LE"));
    }

    #[test]
    fn a_meta_tag_decides_for_html_alone() {
        for meta in [
            "<META charset='koi8-r'>",
            "<meta http-equiv=Content-Type content=\"text/html; charset=koi8-r\">",
            "<meta name=x content=y><meta charset = koi8-r />",
        ] {
            let mut bytes = meta.as_bytes().to_vec();
            bytes.push(0xC1);
            assert!(decoded(&bytes, None, Kind::Html).0.ends_with('а'), "{meta}");
            assert_eq!(decoded(&bytes, None, Kind::Other).1, "windows-1252");
        }
        assert_eq!(decoded(b"<meta charset=utf-16le>", None, Kind::Html).1, "UTF-8");
    }

    #[test]
    fn what_is_not_declared_is_utf_8_if_that_fits() {
        assert_eq!(decoded("grüße".as_bytes(), None, Kind::Other), ("grüße".into(), "UTF-8"));
        assert_eq!(decoded(b"gr\xFC\xDFe", None, Kind::Other), ("grüße".into(), "windows-1252"));
        assert_eq!(decoded(b"a", Some("no-such-set"), Kind::Other).1, "UTF-8");
    }

    #[test]
    fn a_cut_body_does_not_end_in_half_of_a_character() {
        let cut = &"a€".as_bytes()[..3];
        let decoded = decode(cut, None, Kind::Other, true);
        assert_eq!((decoded.text.as_str(), decoded.lossy), ("a", false));
        let decoded = decode(cut, Some("utf-8"), Kind::Other, false);
        assert_eq!((decoded.text.as_str(), decoded.lossy), ("a\u{FFFD}", true));
    }
}
