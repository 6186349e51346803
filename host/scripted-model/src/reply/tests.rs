use std::num::NonZeroUsize;

use proptest::prelude::*;

use super::*;

fn cut(text: &str, chunks: Chunks) -> Vec<String> {
    pieces(text, chunks).collect()
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

#[test]
fn words_keep_the_space_after_them() {
    assert_eq!(cut("low tide  today", Chunks::Words(count(1))), ["low ", "tide  ", "today"]);
    assert_eq!(cut("low tide  today", Chunks::Words(count(2))), ["low tide  ", "today"]);
    assert_eq!(cut(" low tide", Chunks::Words(count(1))), [" low ", "tide"]);
    assert_eq!(cut("äöü", Chunks::Characters(count(2))), ["äö", "ü"]);
    assert_eq!(cut("low tide", Chunks::Whole), ["low tide"]);
    assert!(cut("", Chunks::Words(count(1))).is_empty());
}

proptest! {
    #[test]
    fn pieces_together_are_the_text(text: String, number in 1_usize..9) {
        for chunks in [Chunks::Words(count(number)), Chunks::Characters(count(number))] {
            prop_assert_eq!(cut(&text, chunks).concat(), text.clone());
        }
    }
}
