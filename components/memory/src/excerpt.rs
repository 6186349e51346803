//! The part of a value that shows why it was found.

use serde_json::Value;

/// The most characters of an excerpt.
const MAX: usize = 200;
/// How many characters come before the first word that matches.
const LEAD: usize = 40;

/// One line of the value's text, around the first word of `query` in it; its start where there is
/// none. A text is shown as it is, another value as JSON.
pub(crate) fn excerpt(value: &Value, query: &str) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    // One character for one, so that places in both are the same.
    let lower = |character: char| character.to_lowercase().next().unwrap_or(character);
    let characters: Vec<char> =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let folded: Vec<char> = characters.iter().copied().map(lower).collect();
    let words = query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let first = words
        .filter_map(|word| {
            let word: Vec<char> = word.chars().map(lower).collect();
            folded.windows(word.len()).position(|here| here == word)
        })
        .min()
        .unwrap_or(0);
    let start = first.saturating_sub(LEAD);
    let end = characters.len().min(start + MAX);
    let cut: String = characters[start..end].iter().collect();
    format!(
        "{}{}{}",
        if start > 0 { "…" } else { "" },
        cut.trim(),
        if end < characters.len() { "…" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_around_the_first_word_that_matches_on_one_line() {
        let text =
            format!("{} The OUTER\nreef is surveyed. {}", "a ".repeat(100), "b ".repeat(200));
        let shown = excerpt(&json!(text), "reef outer");
        assert!(shown.contains("OUTER reef is surveyed"), "{shown}");
        assert!(shown.starts_with('…') && shown.ends_with('…'), "{shown}");
        assert!(shown.chars().count() <= MAX + 2, "{shown}");
    }

    #[test]
    fn without_a_match_it_is_the_start_and_other_values_are_json() {
        assert_eq!(excerpt(&json!("short"), "absent"), "short");
        assert_eq!(excerpt(&json!({"a": 1}), ""), "{\"a\":1}");
        assert_eq!(excerpt(&json!("ÄÖ ß"), "ß"), "ÄÖ ß");
    }
}
