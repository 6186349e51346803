//! Lines out of parts.

use proptest::prelude::*;

use super::*;

#[test]
fn a_line_that_is_too_long_is_refused_before_its_end_came() {
    let mut split = LineSplit::new(8);
    split.push(b"12345678\n123456789");
    assert_eq!(split.line(), Ok(Some(Bytes::from_static(b"12345678"))));
    assert_eq!(split.line(), Err(BodyError::LineTooLong { max_bytes: 8 }));
}

proptest! {
    #[test]
    fn lines_are_the_same_wherever_the_parts_are_cut(
        lines in prop::collection::vec("[a-z]{0,12}", 0..12),
        cuts in prop::collection::vec(1..9_usize, 1..60),
    ) {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut rest = text.as_bytes();
        let mut split = LineSplit::new(64);
        let mut seen = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, left) = rest.split_at((*cut).min(rest.len()));
            split.push(part);
            rest = left;
            while let Some(line) = split.line().expect("short enough") {
                seen.push(String::from_utf8(line.to_vec()).expect("UTF-8"));
            }
        }
        prop_assert_eq!(seen, lines);
        prop_assert_eq!(split.rest(), None);
    }
}
