//! Canaries of every kind in every spelling: found in one piece, in streams that are cut anywhere,
//! and in parts that could not wait for each other; and what is none is left as it is.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "a test says what it expects by failing"
)]

mod spelled;

use std::sync::LazyLock;

use foreshore_secrets::{SECRETS_MAX_BYTES, ScanError, Scanner, Stream, Tail};
use proptest::prelude::*;
use spelled::{WAYS, kinds, leaks};

fn scanner() -> &'static Scanner {
    static SCANNER: LazyLock<Scanner> = LazyLock::new(|| {
        let kinds = kinds();
        let values = kinds.iter().map(|(name, value)| (*name, value.as_bytes()));
        Scanner::new(values).expect("built").expect("there are values")
    });
    &SCANNER
}

/// Each canary in each spelling, as `(kind, way, text around it, the spelling alone)`.
fn each() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>, Vec<u8>)> {
    kinds().into_iter().flat_map(|(kind, value)| {
        WAYS.iter().map(move |(way, spell)| {
            let spelled = spell(&value);
            let text = [b"before <", &spelled[..], b"> after"].concat();
            (kind, *way, text, spelled)
        })
    })
}

#[test]
fn every_spelling_of_every_kind_is_found_and_replaced() {
    let scanner = scanner();
    assert!(WAYS.len() >= 24, "{}", WAYS.len());
    for (kind, way, text, spelled) in each() {
        let found = scanner.find(&text).unwrap_or_else(|| panic!("{kind} in {way} is not found"));
        assert_eq!(&**found, kind, "{way}");
        let out = scanner.redacted(&text).expect("replaced");
        assert!(!leaks(&spelled, &out), "{kind} in {way}: {}", String::from_utf8_lossy(&out));
        let out = String::from_utf8_lossy(&out).into_owned();
        assert!(out.starts_with("before <") && out.ends_with("> after"), "{kind} in {way}: {out}");
        assert!(out.contains(&format!("[secret:{kind}]")), "{kind} in {way}: {out}");
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_gives_out_no_part() {
    let scanner = scanner();
    for (kind, way, text, spelled) in each().filter(|(_, way, ..)| *way != "gzip and base64") {
        for cut in (1..text.len()).step_by(1 + text.len() / 40) {
            let mut stream = Stream::default();
            let mut out = stream.redacted(scanner, &text[..cut]);
            out.extend(stream.redacted(scanner, &text[cut..]));
            out.extend(stream.end(scanner));
            assert!(!leaks(&spelled, &out), "{kind} in {way}, cut at {cut}");
            assert!(out.starts_with(b"before <") && out.ends_with(b"> after"), "{kind} in {way}");

            let mut stream = Stream::default();
            let first = stream.checked(scanner, &text[..cut]);
            let sent = first.clone().unwrap_or_default();
            assert!(!leaks(&spelled, &sent), "{kind} in {way}, cut at {cut}, was sent in part");
            let leak = first.and_then(|_| stream.checked(scanner, &text[cut..]));
            assert_eq!(&*leak.expect_err("a leak").name, kind, "{way}, cut at {cut}");
        }
    }
}

#[test]
fn of_a_value_in_two_outputs_the_second_part_is_replaced() {
    let scanner = scanner();
    let (kind, value) = &kinds()[0];
    for cut in 1..value.len() {
        let mut tail = Tail::default();
        let first = format!("first: {}", &value[..cut]);
        assert_eq!(tail.redacted(scanner, &first), None, "what is no value stays");
        let second = format!("{} and more", &value[cut..]);
        let told = tail.redacted(scanner, &second).expect("replaced");
        assert_eq!(told, format!("[secret:{kind}] and more"));
    }
}

#[test]
fn values_that_cannot_be_looked_for_are_refused() {
    let new = |value: &[u8]| Scanner::new([("a", value)]).map(|_| ());
    assert_eq!(new(b"1234567"), Err(ScanError::TooShort { bytes: 7 }));
    assert_eq!(new(b"12345678"), Ok(()));
    let large = vec![b'x'; SECRETS_MAX_BYTES + 1];
    assert!(matches!(new(&large), Err(ScanError::TooLarge { .. })));
    assert!(Scanner::new([]).expect("nothing to do").is_none());
}

#[test]
fn the_automaton_of_many_secrets_is_small_enough() {
    let mut state = 1_u64;
    let values: Vec<(String, Vec<u8>)> = (0..50)
        .map(|n| {
            let value = (0..64).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                b"0123456789abcdefghijklmnopqrstuv"[(state >> 59) as usize]
            });
            (format!("secret-{n}"), value.collect())
        })
        .collect();
    let started = std::time::Instant::now();
    let values = values.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    let scanner = Scanner::new(values).expect("built").expect("there are values");
    println!(
        "50 secrets of 64 bytes: {} spellings, {} KiB, built in {:?}",
        scanner.spellings(),
        scanner.memory_bytes() >> 10,
        started.elapsed()
    );
    assert!(scanner.memory_bytes() < 64 << 20, "{}", scanner.memory_bytes());
}

proptest! {
    /// A stream is the text, however it is cut, where no value is in it.
    #[test]
    fn what_holds_no_value_goes_through_as_it_is(
        text in "[a-zA-Z0-9 sk\\-live%<>&+/=]{0,200}",
        cuts in proptest::collection::vec(0..200_usize, 0..6),
    ) {
        let scanner = scanner();
        prop_assume!(scanner.find(text.as_bytes()).is_none());
        prop_assert_eq!(scanner.redacted(text.as_bytes()), None);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let (mut redacting, mut checking) = (Stream::default(), Stream::default());
        let (mut redacted, mut checked) = (Vec::new(), Vec::new());
        for pair in cuts.windows(2) {
            let part = &text.as_bytes()[pair[0]..pair[1]];
            redacted.extend(redacting.redacted(scanner, part));
            checked.extend(checking.checked(scanner, part).expect("no leak"));
        }
        redacted.extend(redacting.end(scanner));
        checked.extend(checking.end(scanner));
        prop_assert_eq!(&redacted, text.as_bytes());
        prop_assert_eq!(&checked, text.as_bytes());
    }
}
