//! Canaries, and ways to write them that share no code with what finds them.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// One secret of each kind.
pub(crate) fn kinds() -> [(&'static str, String); 5] {
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in 0..6_u8 {
        let digits: Vec<u8> =
            (0..48_u8).map(|at| at.wrapping_mul(37) ^ line.wrapping_mul(91)).collect();
        pem.push_str(&STANDARD.encode(digits));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    [
        ("token", "sk-live-9fQ2xLr7TzVb4Wc8NmKe".to_owned()),
        ("password", "p@ss \"w0rd\" <&'/\\> +=%#?;x".to_owned()),
        ("pem", pem),
        ("hex", "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab91".to_owned()),
        ("url", "postgres://ann:s3cr3t-Pa55@db.example.org:5432/tide?ssl=1".to_owned()),
    ]
}

type Spell = fn(&str) -> Vec<u8>;

/// Every way, by its name.
pub(crate) const WAYS: &[(&str, Spell)] = &[
    ("raw", |text| text.into()),
    ("reversed", |text| text.bytes().rev().collect()),
    ("upper case", |text| text.to_uppercase().into()),
    ("case flipped", |text| {
        text.bytes().map(|b| if b.is_ascii_alphabetic() { b ^ 0x20 } else { b }).collect()
    }),
    ("base64", |text| STANDARD.encode(text).into()),
    ("base64, one byte in", |text| STANDARD.encode(format!("x{text}yz")).into()),
    ("base64, two bytes in", |text| STANDARD_NO_PAD.encode(format!("xy{text}z")).into()),
    ("base64url", |text| URL_SAFE.encode(text).into()),
    ("base64url, one byte in", |text| URL_SAFE_NO_PAD.encode(format!("x{text}z")).into()),
    ("base64url, two bytes in", |text| URL_SAFE_NO_PAD.encode(format!("xy{text}")).into()),
    ("base64 of it reversed", |text| {
        STANDARD.encode(text.bytes().rev().collect::<Vec<_>>()).into()
    }),
    ("base64 twice", |text| STANDARD.encode(STANDARD.encode(text)).into()),
    ("base32", |text| base32(text.as_bytes()).into()),
    ("base32 in lower case, three bytes in", |text| {
        base32(format!("xyz{text}z").as_bytes()).to_lowercase().into()
    }),
    ("base58", |text| base58(text.as_bytes()).into()),
    ("hex", |text| text.bytes().map(|b| format!("{b:02x}")).collect::<String>().into()),
    ("HEX", |text| text.bytes().map(|b| format!("{b:02X}")).collect::<String>().into()),
    ("hex with colons", |text| {
        text.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":").into()
    }),
    ("bytes of C", |text| text.bytes().map(|b| format!("\\x{b:02x}")).collect::<String>().into()),
    ("decimal", |text| text.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ").into()),
    ("percent", |text| percent(text, "%", false)),
    ("percent, in full", |text| percent(text, "%", true)),
    ("percent, in lower case", |text| percent(text, "%", false).to_ascii_lowercase()),
    ("percent twice", |text| percent(text, "%25", true)),
    ("form", |text| {
        String::from_utf8(percent(text, "%", false)).unwrap().replace("%20", "+").into()
    }),
    ("HTML", |text| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.replace('"', "&quot;").replace('\'', "&#39;").into()
    }),
    ("HTML in numbers", |text| {
        text.chars().map(|c| format!("&#{};", u32::from(c))).collect::<String>().into()
    }),
    ("HTML in hex", |text| {
        text.chars().map(|c| format!("&#x{:X};", u32::from(c))).collect::<String>().into()
    }),
    ("JSON", |text| {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        text.into()
    }),
    ("JSON \\u", |text| {
        text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<String>().into()
    }),
    ("UTF-16LE", |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ("UTF-16BE", |text| text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ("ROT13", |text| {
        text.chars()
            .map(|c| match c {
                'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
                'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
                other => other,
            })
            .collect::<String>()
            .into()
    }),
    ("quoted-printable, in full", |text| {
        text.bytes().map(|b| format!("={b:02X}")).collect::<String>().into()
    }),
    ("gzip and base64", |text| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(format!("and so: {text}").as_bytes()).unwrap();
        STANDARD.encode(gzip.finish().unwrap()).into()
    }),
];

/// Whether a part of what was spelled is left: as many bytes as no chance explains.
pub(crate) fn leaks(spelled: &[u8], out: &[u8]) -> bool {
    const TELLING: usize = 12;
    let parts = spelled.windows(TELLING.min(spelled.len()));
    let is_told = |part: &[u8]| !part.iter().all(|byte| part[0] == *byte);
    parts.filter(|part| is_told(part)).any(|part| out.windows(part.len()).any(|seen| seen == part))
}

fn percent(text: &str, sign: &str, in_full: bool) -> Vec<u8> {
    let kept = |b: u8| !in_full && (b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let each = |b: u8| if kept(b) { char::from(b).to_string() } else { format!("{sign}{b:02X}") };
    text.bytes().map(each).collect::<String>().into()
}

fn base32(bytes: &[u8]) -> String {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|b| (0..8).rev().map(move |at| b >> at & 1)).collect();
    let mut text: String = bits
        .chunks(5)
        .map(|five| (0..5).fold(0, |n, at| n << 1 | usize::from(*five.get(at).unwrap_or(&0))))
        .map(|index| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[index]))
        .collect();
    while !text.len().is_multiple_of(8) {
        text.push('=');
    }
    text
}

fn base58(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut number = bytes.to_vec();
    let mut text = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0_usize;
        for byte in &mut number {
            let value = rest * 256 + usize::from(*byte);
            *byte = (value / 58) as u8;
            rest = value % 58;
        }
        text.push(DIGITS[rest]);
    }
    text.reverse();
    String::from_utf8(text).unwrap()
}
