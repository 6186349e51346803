//! How deep a JSON text nests, found without parsing it.
//!
//! A parser recurses or allocates for each level; this scanner keeps a counter. It does not
//! check that the text is JSON: on anything else it gives some answer and the parser, which
//! runs next, refuses the text.

/// Arguments and results nest at most this deep.
pub const JSON_DEPTH_MAX: usize = 32;

/// A text that nests too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the JSON nests deeper than {max} levels (at byte {offset})")]
pub struct TooDeep {
    /// Where the first level too many opens.
    pub offset: usize,
    /// The most there may be.
    pub max: usize,
}

/// # Errors
/// [`TooDeep`] if arrays and objects nest deeper than `max`.
pub fn check_json_depth(text: &[u8], max: usize) -> Result<(), TooDeep> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (offset, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return Err(TooDeep { offset, max });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_levels_pass_and_thirty_three_do_not() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested =
                |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
            assert_eq!(check_json_depth(nested(32).as_bytes(), 32), Ok(()));
            let error = check_json_depth(nested(33).as_bytes(), 32).expect_err("too deep");
            assert_eq!(error, TooDeep { offset: open.len() * 32, max: 32 });
        }
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        for text in [r#"["[[[[", "\"[[[", "\\", "]]]", {"{{{": "\\\"[["}]"#, r#"["a\\"]"#] {
            assert_eq!(check_json_depth(text.as_bytes(), 2), Ok(()), "{text}");
        }
        assert!(check_json_depth(br#"["\\",[[]]]"#, 2).is_err());
    }

    #[test]
    fn siblings_do_not_add_up() {
        let text = format!("[{}[]]", "[],".repeat(1_000));
        assert_eq!(check_json_depth(text.as_bytes(), 2), Ok(()));
    }

    /// The scanner may only err towards "too deep": what it lets pass, a parser must hold to.
    #[test]
    fn what_passes_never_nests_deeper_for_the_parser() {
        use proptest::prelude::*;
        fn depth(value: &serde_json::Value) -> usize {
            match value {
                serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
                serde_json::Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
                _ => 0,
            }
        }
        let text = proptest::collection::vec(
            prop_oneof!["\\[", "\\]", "\\{\"", "\":", "\\}", "\"", "\\\\", ",", "1", "a"],
            0..24,
        );
        proptest!(|(parts in text)| {
            let text = parts.concat();
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert_eq!(check_json_depth(text.as_bytes(), depth(&value)), Ok(()));
                if let Some(less) = depth(&value).checked_sub(1) {
                    prop_assert!(check_json_depth(text.as_bytes(), less).is_err());
                }
            }
        });
    }
}
