//! Regular expressions as `grep` and `sed` write them, in the syntax of the crate that runs them.
//!
//! Deliberately absent: back-references in a pattern, which no search in linear time can have; they
//! are refused with a message. Of several alternatives the first that matches is taken, not the
//! longest.

use regex::bytes::{Regex, RegexBuilder};

use crate::halt::Halt;

/// How large a compiled expression may become.
const SIZE_MAX_BYTES: usize = 2 << 20;

/// Whose syntax a pattern is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// `\(`, `\|` and `\+` are operators.
    Basic,
    /// `(`, `|` and `+` are.
    Extended,
    /// Nothing is.
    Fixed,
}

/// What the pattern is held against.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) ignores_case: bool,
    /// Only whole lines match.
    pub(crate) whole_lines: bool,
    /// Only whole words match.
    pub(crate) whole_words: bool,
    /// `^` and `$` match at each line.
    pub(crate) many_lines: bool,
}

/// The expression of a pattern.
///
/// # Errors
/// A pattern that cannot be read, or becomes too large.
pub(crate) fn compile(pattern: &str, syntax: Syntax, options: Options) -> Result<Regex, Halt> {
    let mut translated = match syntax {
        Syntax::Fixed => regex::escape(pattern),
        syntax => translate(pattern, syntax)?,
    };
    if options.whole_words {
        translated = format!(r"(?:\b{{start-half}})(?:{translated})(?:\b{{end-half}})");
    }
    if options.whole_lines {
        translated = format!("^(?:{translated})$");
    }
    RegexBuilder::new(&translated)
        .case_insensitive(options.ignores_case)
        .multi_line(options.many_lines)
        .size_limit(SIZE_MAX_BYTES)
        .nest_limit(50)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            Halt::usage(format!("{pattern:?} is no regular expression: {reason}"))
        })
}

fn translate(pattern: &str, syntax: Syntax) -> Result<String, Halt> {
    let is_basic = syntax == Syntax::Basic;
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 8);
    // Where an expression begins, `*` stands for itself, and `^` is an anchor.
    let mut begins = true;
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        at += 1;
        let began = std::mem::replace(&mut begins, false);
        match c {
            '\\' => {
                let Some(next) = chars.get(at).copied() else {
                    return Err(Halt::usage(format!("{pattern:?} ends in a backslash")));
                };
                at += 1;
                match next {
                    '(' | '|' if is_basic => {
                        out.push(next);
                        begins = true;
                    }
                    ')' | '{' | '}' | '+' | '?' if is_basic => out.push(next),
                    '<' => out.push_str(r"\b{start}"),
                    '>' => out.push_str(r"\b{end}"),
                    'b' | 'B' | 'w' | 'W' | 's' | 'S' | 'd' | 'D' => out.extend(['\\', next]),
                    'n' => out.push_str("\\n"),
                    't' => out.push_str("\\t"),
                    '`' => out.push_str("\\A"),
                    '\'' => out.push_str("\\z"),
                    '1'..='9' => {
                        return Err(Halt::usage(format!(
                            "{pattern:?}: a pattern cannot refer back to what it matched (\\{next})"
                        )));
                    }
                    other => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
                }
            }
            '[' => at += bracket(&chars[at..], &mut out, pattern)?,
            '*' if began => out.push_str("\\*"),
            '^' => {
                let anchors = !is_basic || began;
                out.push_str(if anchors { "^" } else { "\\^" });
                begins = anchors;
            }
            '$' => {
                let rest = &chars[at..];
                let ends = rest.is_empty() || rest.starts_with(&['\\', ')']);
                let anchors = !is_basic || ends || rest.starts_with(&['\\', '|']);
                out.push_str(if anchors { "$" } else { "\\$" });
            }
            '(' | '|' if !is_basic => {
                out.push(c);
                begins = true;
            }
            '{' if !is_basic && !is_interval(&chars[at..]) => out.push_str("\\{"),
            '(' | ')' | '|' | '+' | '?' | '{' | '}' if is_basic => out.extend(['\\', c]),
            '+' | '?' if began => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    // `(?:` and the like are not of this syntax: a `?` behind `(` was escaped above.
    Ok(out)
}

fn is_interval(rest: &[char]) -> bool {
    let end = rest.iter().position(|c| *c == '}');
    end.is_some_and(|end| {
        end > 0
            && rest[0].is_ascii_digit()
            && rest[..end].iter().all(|c| c.is_ascii_digit() || *c == ',')
    })
}

/// Writes the set behind a `[`, in which a backslash is a character like others, and gives its
/// length.
fn bracket(rest: &[char], out: &mut String, pattern: &str) -> Result<usize, Halt> {
    let open = || Halt::usage(format!("{pattern:?}: a [ is not closed"));
    let mut at = 0;
    out.push('[');
    if rest.first() == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let start = at;
    loop {
        let c = *rest.get(at).ok_or_else(open)?;
        if c == ']' && at > start {
            out.push(']');
            return Ok(at + 1);
        }
        if c == '[' && matches!(rest.get(at + 1), Some(':' | '.' | '=')) {
            let kind = rest[at + 1];
            let close = rest[at + 2..].windows(2).position(|pair| pair == [kind, ']']);
            let length = close.ok_or_else(open)?;
            let name: String = rest[at + 2..at + 2 + length].iter().collect();
            match kind {
                ':' => out.push_str(&format!("[:{name}:]")),
                _ => out.push_str(&regex::escape(&name)),
            }
            at += length + 4;
            continue;
        }
        at += 1;
        match c {
            '-' if at > start + 1 && rest.get(at) != Some(&']') => out.push('-'),
            '\\' if matches!(rest.get(at), Some('n' | 't')) => {
                // As GNU's tools read them, though the letter of the standard says otherwise.
                out.extend(['\\', rest[at]]);
                at += 1;
            }
            '\\' if matches!(rest.get(at), Some('w' | 's' | 'd' | ']')) && at < rest.len() - 1 => {
                out.extend(['\\', rest[at]]);
                at += 1;
            }
            '[' | ']' | '\\' | '^' | '&' | '~' | '-' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, syntax: Syntax, text: &str) -> Option<String> {
        let expression = compile(pattern, syntax, Options::default()).expect("compiles");
        let found = expression.find(text.as_bytes())?;
        Some(String::from_utf8_lossy(found.as_bytes()).into_owned())
    }

    #[test]
    fn basic_and_extended_differ_in_what_a_backslash_makes_of_an_operator() {
        for (pattern, syntax, text, expected) in [
            ("a+", Syntax::Basic, "aa+", Some("a+")),
            ("a+", Syntax::Extended, "aa+", Some("aa")),
            ("\\(ab\\)\\{2\\}", Syntax::Basic, "ababab", Some("abab")),
            ("(ab){2}", Syntax::Extended, "ababab", Some("abab")),
            ("a\\|b", Syntax::Basic, "b", Some("b")),
            ("a|b", Syntax::Basic, "a|b", Some("a|b")),
            ("*a", Syntax::Basic, "*a", Some("*a")),
            ("a^b$c", Syntax::Basic, "a^b$c", Some("a^b$c")),
            ("[a\\]", Syntax::Basic, "\\", Some("\\")),
            ("[]a]*", Syntax::Basic, "]a", Some("]a")),
            ("[[:digit:]]\\+", Syntax::Basic, "x42", Some("42")),
            ("[a-c&&b]", Syntax::Basic, "&", Some("&")),
            ("{", Syntax::Extended, "a{", Some("{")),
            ("\\<b", Syntax::Basic, "ab b", Some("b")),
            ("a.c", Syntax::Fixed, "abc", None),
        ] {
            assert_eq!(found(pattern, syntax, text).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        for (pattern, reason) in
            [("\\(a\\)\\1", "cannot refer back"), ("a\\", "backslash"), ("[a", "not closed")]
        {
            match compile(pattern, Syntax::Basic, Options::default()) {
                Err(Halt::Fail { status: 2, message }) => {
                    assert!(message.contains(reason), "{message}");
                }
                other => panic!("{pattern}: {other:?}"),
            }
        }
    }
}
