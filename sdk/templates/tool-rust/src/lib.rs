//! The `{{name}}` component: what it offers to agents.
//!
//! Each function marked `#[tool]` is a tool. Its doc comment is all that a model sees of it, so it
//! says what the tool does, when to use it and what it returns; the schemas come from the types.

use std::fs;

use foreshore_sdk::fs::{Access, explain};
use foreshore_sdk::{Error, tool};
use schemars::JsonSchema;
use serde::Serialize;

/// The size of a text.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Size {
    /// Lines, as an editor counts them.
    lines: usize,
    /// What stands between white space.
    words: usize,
    /// Unicode characters.
    characters: usize,
}

/// Count the lines, words and characters of a text file. Use it to learn how much there is before
/// reading it. Returns the three counts.
#[tool(read_only, idempotent)]
fn count(
    /// The file, such as `/data/notes.txt`. It must be UTF-8.
    path: String,
    /// Words of fewer characters are not counted; 1 if absent.
    #[schemars(range(min = 1))]
    min_word_length: Option<usize>,
) -> Result<Size, Error> {
    let text =
        fs::read_to_string(&path).map_err(|error| explain(&path, &error, Access::Read))?;
    Ok(size(&text, min_word_length.unwrap_or(1)))
}

fn size(text: &str, min_word_length: usize) -> Size {
    let is_long_enough = |word: &&str| word.chars().count() >= min_word_length;
    Size {
        lines: text.lines().count(),
        words: text.split_whitespace().filter(is_long_enough).count(),
        characters: text.chars().count(),
    }
}

foreshore_sdk::export!(count);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_shorter_than_asked_for_are_left_out() {
        assert_eq!(size("a bb\nccc", 2), Size { lines: 2, words: 2, characters: 8 });
    }
}
