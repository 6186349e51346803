//! A doc comment as title and description.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The longest description that the host takes.
pub(crate) const DESCRIPTION_MAX_BYTES: usize = 4 << 10;

/// The text of the doc comment, without the space that follows `///`, and with each paragraph on a
/// line of its own: where the author broke lines means nothing to a reader. `None` if there is none.
pub(crate) fn doc_comment(attributes: &[Attribute]) -> Option<String> {
    let lines: Vec<String> = attributes.iter().filter_map(doc_line).collect();
    let text = lines.join("\n");
    let paragraphs: Vec<String> = text.trim().split("\n\n").map(unbroken).collect();
    let text = paragraphs.join("\n\n");
    (!text.is_empty()).then_some(text)
}

/// The paragraph on one line, unless its lines have a meaning: lists, tables, code.
fn unbroken(paragraph: &str) -> String {
    let is_prose = |line: &str| {
        let is_numbered = line.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with(". ");
        let starts_a_word = |c: char| c.is_alphanumeric() || "\"'(`[".contains(c);
        line.starts_with(starts_a_word) && !line.starts_with("```") && !is_numbered
    };
    match paragraph.lines().all(is_prose) {
        true => paragraph.lines().collect::<Vec<_>>().join(" "),
        false => paragraph.to_owned(),
    }
}

/// The first sentence on one line, without its full stop.
pub(crate) fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = line.split_once(". ").map_or(line.as_str(), |(sentence, _)| sentence);
    sentence.trim_end_matches('.').to_owned()
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(meta) = &attribute.meta else { return None };
    let Expr::Lit(ExprLit { lit: Lit::Str(literal), .. }) = &meta.value else { return None };
    let line = meta.path.is_ident("doc").then(|| literal.value())?;
    // A block comment holds several lines in one attribute.
    let lines = line.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    Some(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_unbroken_and_lists_stay() {
        assert_eq!(unbroken("Count the\n`words`\n(all)."), "Count the `words` (all).");
        for kept in ["One of:\n- a\n- b", "1. a\n2. b", "```\ncode\n```", "    code\n    more"] {
            assert_eq!(unbroken(kept), kept);
        }
    }

    #[test]
    fn the_title_is_the_first_sentence() {
        assert_eq!(first_sentence("Count words. Fast."), "Count words");
        assert_eq!(first_sentence("Count the\nwords.\n\nMore."), "Count the words");
        assert_eq!(first_sentence("Read version 1.2 of it"), "Read version 1.2 of it");
    }
}
