//! What was compressed before it was written as base64: found by the mark of gzip, and opened.
//!
//! A run that does not open, or that is larger than what is looked at, is passed over. The bound is
//! on what comes out, so that a bomb costs no more.

use std::io::Read as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// What base64 of gzip begins with (RFC 1952, section 2.3.1: 1f 8b 08).
const MARK: &[u8] = b"H4sI";
/// The most that is decompressed of one run.
const OUT_MAX_BYTES: u64 = 64 << 10;
/// The most runs of one text that are looked at.
const RUNS_MAX: usize = 8;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Where compressed runs are, with what they hold.
pub(crate) fn runs(bytes: &[u8]) -> Vec<(std::ops::Range<usize>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut from = 0;
    while found.len() < RUNS_MAX
        && let Some(at) = position(&bytes[from..], MARK)
    {
        let start = from + at;
        let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
        let length = bytes[start..].iter().take_while(|byte| is_digit(byte)).count();
        let end = start + length;
        if let Some(held) = opened(&bytes[start..end]) {
            found.push((start..end, held));
        }
        from = end;
    }
    found
}

fn opened(run: &[u8]) -> Option<Vec<u8>> {
    let standard: Vec<u8> = run
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    let compressed = BASE64.decode(standard).ok()?;
    let mut held = Vec::new();
    // What came out before it broke off counts too.
    let _ = flate2::read::GzDecoder::new(&*compressed).take(OUT_MAX_BYTES).read_to_end(&mut held);
    (!held.is_empty()).then_some(held)
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
