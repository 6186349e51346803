//! Patterns: `*`, `?`, `[…]`, and a backslash before what is meant as itself.
//!
//! Matching goes back to the last `*` only, so its time is at most the product of the two lengths
//! whatever the pattern.

use std::borrow::Cow;

/// A pattern that is ready to match.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Vec<Token>);

#[derive(Clone, Debug)]
enum Token {
    Char(char),
    One,
    Any,
    Set { negated: bool, members: Vec<Member> },
}

#[derive(Clone, Debug)]
enum Member {
    Range(char, char),
    Class(fn(char) -> bool),
}

impl Pattern {
    pub(crate) fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let (mut tokens, mut at) = (Vec::new(), 0);
        while let Some(c) = chars.get(at) {
            at += 1;
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => {
                    at += 1;
                    Token::Char(chars.get(at - 1).copied().unwrap_or('\\'))
                }
                '[' => match set(&chars[at..]) {
                    Some((set, length)) => {
                        at += length;
                        set
                    }
                    None => Token::Char('['),
                },
                c => Token::Char(*c),
            });
        }
        Self(tokens)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.matches_chars(&text)
    }

    pub(crate) fn matches_chars(&self, text: &[char]) -> bool {
        let (mut token, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let fits = match (self.0.get(token), text.get(at)) {
                (Some(Token::Any), _) => {
                    retry = Some((token + 1, at));
                    token += 1;
                    continue;
                }
                (Some(token), Some(c)) => token.takes(*c),
                (None, None) => return true,
                _ => false,
            };
            if fits {
                token += 1;
                at += 1;
                continue;
            }
            match retry {
                Some((after, from)) if from < text.len() => {
                    retry = Some((after, from + 1));
                    (token, at) = (after, from + 1);
                }
                _ => return false,
            }
        }
    }

    /// The pattern begins with a dot that is written out.
    pub(crate) fn begins_with_dot(&self) -> bool {
        matches!(self.0.first(), Some(Token::Char('.')))
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::One => true,
            Self::Any => false,
            Self::Set { negated, members } => {
                let is_in = members.iter().any(|member| match member {
                    Member::Range(first, last) => (*first..=*last).contains(&c),
                    Member::Class(holds) => holds(c),
                });
                is_in != *negated
            }
        }
    }
}

/// The set behind a `[`, and its length; `None` if it is not closed.
fn set(chars: &[char]) -> Option<(Token, usize)> {
    let negated = matches!(chars.first(), Some('!' | '^'));
    let start = usize::from(negated);
    let (mut members, mut at) = (Vec::new(), start);
    loop {
        let mut c = *chars.get(at)?;
        if c == ']' && at > start {
            return Some((Token::Set { negated, members }, at + 1));
        }
        if c == '[' && chars.get(at + 1) == Some(&':') {
            let rest: String = chars[at + 2..].iter().take(12).collect();
            if let Some((name, _)) = rest.split_once(":]")
                && let Some(class) = class(name)
            {
                members.push(Member::Class(class));
                at += name.chars().count() + 4;
                continue;
            }
        }
        if c == '\\' {
            at += 1;
            c = *chars.get(at)?;
        }
        at += 1;
        let last = match (chars.get(at), chars.get(at + 1)) {
            (Some('-'), Some(last)) if *last != ']' => {
                at += 2;
                if *last == '\\' {
                    at += 1;
                    *chars.get(at - 1)?
                } else {
                    *last
                }
            }
            _ => c,
        };
        members.push(Member::Range(c, last));
    }
}

/// A class of characters by its name, as in `[:alpha:]`.
pub(crate) fn class(name: &str) -> Option<fn(char) -> bool> {
    Some(match name {
        "alpha" => char::is_alphabetic,
        "digit" => |c| c.is_ascii_digit(),
        "alnum" => char::is_alphanumeric,
        "upper" => char::is_uppercase,
        "lower" => char::is_lowercase,
        "space" => char::is_whitespace,
        "blank" => |c| c == ' ' || c == '\t',
        "punct" => |c| c.is_ascii_punctuation(),
        "print" => |c| !c.is_control(),
        "graph" => |c| !c.is_control() && !c.is_whitespace(),
        "cntrl" => char::is_control,
        "xdigit" => |c| c.is_ascii_hexdigit(),
        _ => return None,
    })
}

/// The text as a pattern that matches nothing else.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let special = |c: char| "*?[]\\-!^".contains(c);
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if special(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_whole_text() {
        for (pattern, text, expected) in [
            ("*.rs", "a.rs", true),
            ("*.rs", "a.rst", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("[[:digit:]]*", "7a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*a*b*", "xxaxxbxx", true),
            ("", "", true),
            ("*", "", true),
            ("[\\]-]", "-", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = Pattern::new(&"a*".repeat(50));
        assert!(!pattern.matches(&format!("{}b", "b".repeat(20_000))));
        let pattern = Pattern::new(&format!("{}b", "*a".repeat(50)));
        assert!(!pattern.matches(&"a".repeat(20_000)));
    }

    #[test]
    fn what_is_escaped_matches_itself_alone() {
        let text = "a*[b]?\\";
        assert!(Pattern::new(&escape(text)).matches(text));
        assert!(!Pattern::new(&escape(text)).matches("aX[b]?\\"));
    }
}
