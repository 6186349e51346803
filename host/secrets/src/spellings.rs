//! The ways to write a value that it is looked for in.
//!
//! Letter case is no matter of this file: what is found is found in either. A long value is looked
//! for in pieces, and one of several lines also line by line, so that a part of a key, or a key
//! that was wrapped anew, is found too. Pieces begin at multiples of 135 bytes, where base64,
//! base64 of base64 and base32 begin anew, so a long value in one of them is found from its first byte to its last.
//! Deliberately absent: encryption and compression, which no list of patterns can know; what is
//! compressed is opened in `compressed.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A value up to this long is one piece: a multiple of 9 and of 5.
const PIECE_BYTES: usize = 135;
/// Pieces shorter than this go with the one before; shorter patterns are met by chance.
pub(crate) const SHORTEST: usize = 8;
/// A line of a value that is looked for by itself.
const LINE_MIN_BYTES: usize = 16;
/// Longer ones are not written in base58 as a whole, which costs the square of their length.
const BASE58_MAX_BYTES: usize = 1_024;

/// Every way to write a value; none twice, none shorter than [`SHORTEST`].
pub(crate) fn of(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for piece in pieces(value) {
        of_piece(piece, &mut all);
    }
    if value.len() > PIECE_BYTES && value.len() <= BASE58_MAX_BYTES {
        all.push(base58(value));
    }
    all.retain(|spelling| spelling.len() >= SHORTEST);
    all.iter_mut().for_each(|spelling| spelling.make_ascii_lowercase());
    all.sort_unstable();
    all.dedup();
    all
}

/// What a value is looked for by.
fn pieces(value: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while rest.len() >= PIECE_BYTES + LINE_MIN_BYTES {
        let (piece, left) = rest.split_at(PIECE_BYTES);
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    let lines = value.split(|byte| matches!(byte, b'\r' | b'\n'));
    // What every such key begins and ends with is no secret.
    let is_frame = |line: &[u8]| line.starts_with(b"-----") && line.ends_with(b"-----");
    for line in lines.filter(|line| line.len() >= LINE_MIN_BYTES && line.len() < value.len()) {
        if !is_frame(line) {
            line.chunks(PIECE_BYTES).filter(|part| part.len() >= LINE_MIN_BYTES).for_each(|part| {
                pieces.push(part);
            });
        }
    }
    pieces
}

fn of_piece(piece: &[u8], all: &mut Vec<Vec<u8>>) {
    let reversed: Vec<u8> = piece.iter().rev().copied().collect();
    for offset in 0..3 {
        all.push(aligned(piece, offset, 3, 6, |bytes| STANDARD_NO_PAD.encode(bytes)));
        all.push(aligned(piece, offset, 3, 6, |bytes| URL_SAFE_NO_PAD.encode(bytes)));
        all.push(aligned(&reversed, offset, 3, 6, |bytes| STANDARD_NO_PAD.encode(bytes)));
    }
    for offset in 0..5 {
        all.push(aligned(piece, offset, 5, 5, base32));
    }
    let twice = STANDARD_NO_PAD.encode(aligned(piece, 0, 3, 6, |b| STANDARD_NO_PAD.encode(b)));
    all.push(twice[..twice.len() - twice.len() % 4].into());
    all.push(base58(piece));

    let hex = |prefix: &'static str, between: &'static str| {
        let digits = piece.iter().map(move |byte| format!("{prefix}{byte:02x}"));
        digits.collect::<Vec<_>>().join(between).into_bytes()
    };
    for (prefix, between) in [
        ("", ""),
        ("", " "),
        ("", ":"),
        ("", "-"),
        ("", ", "),
        ("0x", ", "),
        ("0x", ","),
        ("%", ""),
        ("%25", ""),
        ("\\x", ""),
        ("=", ""),
        ("\\u00", ""),
    ] {
        all.push(hex(prefix, between));
    }
    let hex_of_reversed: String = reversed.iter().map(|byte| format!("{byte:02x}")).collect();
    all.push(hex_of_reversed.into_bytes());
    let decimal = piece.iter().map(u8::to_string).collect::<Vec<_>>();
    all.push(decimal.join(",").into_bytes());
    all.push(decimal.join(", ").into_bytes());
    all.push(decimal.join(" ").into_bytes());
    all.push(piece.iter().flat_map(|byte| format!("\\{byte:03o}").into_bytes()).collect());

    // As browsers, libraries and `encodeURIComponent` do it; the last is that of forms.
    for kept in ["", "-._~", "-._~!*'()", "-._~!$&'()*+,;=:@/?", "-._*"] {
        all.push(percent(piece, kept, "%"));
    }
    all.push(percent(piece, "-._~", "%25"));
    let form = String::from_utf8_lossy(&percent(piece, "-._*", "%")).replace("%20", "+");
    all.push(form.into_bytes());

    all.push(piece.iter().map(|byte| rot13(*byte)).collect());
    all.push(reversed);
    if let Ok(text) = std::str::from_utf8(piece) {
        of_text(text, all);
    }
    all.push(piece.to_vec());
}

/// What can be said of text alone.
fn of_text(text: &str, all: &mut Vec<Vec<u8>>) {
    all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    all.push(text.encode_utf16().flat_map(|unit| format!("\\u{unit:04x}").into_bytes()).collect());
    all.push(text.chars().rev().collect::<String>().into_bytes());
    for (apostrophe, quote) in [
        ("&#39;", "&quot;"),
        ("&#x27;", "&quot;"),
        ("&apos;", "&quot;"),
        ("'", "\""),
        ("'", "&#34;"),
    ] {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        all.push(escaped.replace('"', quote).replace('\'', apostrophe).into_bytes());
    }
    let numbered = |f: &dyn Fn(u32) -> String| -> Vec<u8> {
        text.chars().flat_map(|c| f(u32::from(c)).into_bytes()).collect()
    };
    all.push(numbered(&|code| format!("&#{code};")));
    all.push(numbered(&|code| format!("&#x{code:x};")));
    all.push(numbered(&|code| format!("&#x{code:02x};")));
    for solidus in ["/", "\\/"] {
        all.push(json(text, solidus, &|c| c.to_string()));
        all.push(json(text, solidus, &|c| {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        }));
        // As those do it who write JSON into HTML.
        all.push(json(text, solidus, &|c| match c {
            '<' | '>' | '&' | '\'' => format!("\\u{:04x}", u32::from(c)),
            other => other.to_string(),
        }));
    }
    // As debug output shows it.
    all.push(text.escape_debug().to_string().into_bytes());
    all.push(text.escape_default().to_string().into_bytes());
}

/// A JSON string without its quotes; `beyond` writes what JSON leaves to whoever writes it.
fn json(text: &str, solidus: &str, beyond: &dyn Fn(char) -> String) -> Vec<u8> {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '/' => escaped.push_str(solidus),
            c if c.is_ascii_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_ascii() && !matches!(c, '<' | '>' | '&' | '\'') => escaped.push(c),
            c => escaped.push_str(&beyond(c)),
        }
    }
    escaped.into_bytes()
}

/// What a run of bytes is written as when `offset` bytes come before it, wherever it ends: only
/// the characters that follow from the value alone.
fn aligned(
    value: &[u8],
    offset: usize,
    group_bytes: usize,
    bits: usize,
    encode: impl Fn(&[u8]) -> String,
) -> Vec<u8> {
    debug_assert!(offset < group_bytes);
    let padded = [&vec![0; offset], value].concat();
    let encoded = encode(&padded).into_bytes();
    let from = (offset * 8).div_ceil(bits);
    let to = padded.len() * 8 / bits;
    encoded.get(from..to.min(encoded.len())).unwrap_or_default().to_vec()
}

/// RFC 4648, section 6, without padding.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut held, mut bits) = (0_u32, 0);
    let mut digit = |index: u32| {
        let index = usize::try_from(index & 31).unwrap_or_default();
        text.push(char::from(DIGITS[index]));
    };
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xffff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            digit(held >> bits);
        }
    }
    if bits > 0 {
        digit(held << (5 - bits));
    }
    text
}

/// As Bitcoin writes it.
fn base58(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = u8::try_from(carry % 58).unwrap_or_default();
            carry /= 58;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 58).unwrap_or_default());
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = digits.iter().rev().map(|digit| DIGITS[usize::from(*digit)]);
    std::iter::repeat_n(b'1', zeros).chain(digits).collect()
}

fn percent(bytes: &[u8], kept: &str, sign: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(byte) {
            text.push(*byte);
        } else {
            text.extend_from_slice(format!("{sign}{byte:02x}").as_bytes());
        }
    }
    text
}

fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_their_documents() {
        // RFC 4648, section 10, without padding.
        for (plain, code) in
            [("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(base32(plain.as_bytes()), code);
        }
        // draft-msporny-base58, section 5.
        assert_eq!(base58(b"Hello World!"), b"2NEpo7TZRRrLZSi2U");
        assert_eq!(base58(&[0, 0, 0x28, 0x7f, 0xb4, 0xcd]), b"11233QC4");
    }

    #[test]
    fn a_long_value_is_covered_by_pieces_and_its_lines() {
        let body = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqr\n".repeat(6);
        let value = format!("-----BEGIN KEY-----\n{body}-----END KEY-----\n");
        let pieces = pieces(value.as_bytes());
        let whole: usize = pieces.iter().take(3).map(|piece| piece.len()).sum();
        assert_eq!(whole, 405);
        let frames = pieces.iter().skip(4).filter(|piece| piece.starts_with(b"-----")).count();
        assert_eq!(frames, 0, "what every key has is none");
        assert!(pieces.iter().all(|piece| piece.len() >= LINE_MIN_BYTES));
    }
}
