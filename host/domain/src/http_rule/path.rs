//! The path of a rule, and the one way in which a path is read.
//!
//! A server may decode a path twice, treat `\` as `/`, cut a segment at `;`, or take an overlong
//! encoding for a slash. A path in which any of these would make a difference matches no rule,
//! because which file it names is the server's secret. Matching takes time linear in the path for
//! each segment of the pattern; nothing recurses.

use std::fmt;

/// Why no rule can speak of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathRefusal {
    /// `%` without two digits.
    #[error("the path has a % that begins no encoding: write %25")]
    BrokenEncoding,
    /// `%2F`, `%5C`, or a raw backslash.
    #[error("the path hides a slash or backslash in an encoding")]
    HiddenSlash,
    /// `%00`, `%0A` ...
    #[error("the path hides a control character in an encoding")]
    HiddenControl,
    /// `..`, also as `%2e.`, `..;x`.
    #[error("the path hides a \".\" or \"..\" segment")]
    HiddenDots,
    /// `%252F`: encoded twice.
    #[error("the path is encoded twice")]
    EncodedTwice,
    /// Among them overlong encodings of a slash.
    #[error("the path is not UTF-8 once decoded")]
    NotUtf8,
}

/// The segments after the first `/`, percent-decoded once.
pub(super) fn decoded_segments(path: &str) -> Result<Vec<String>, PathRefusal> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(decoded_segment).collect()
}

fn decoded_segment(segment: &str) -> Result<String, PathRefusal> {
    let decoded = decoded_once(segment.as_bytes())?;
    if decoded.iter().any(|b| b"/\\".contains(b)) {
        return Err(PathRefusal::HiddenSlash);
    }
    if decoded.iter().any(u8::is_ascii_control) {
        return Err(PathRefusal::HiddenControl);
    }
    // What a second decoding would bring to light, if it could matter to anybody.
    let escapes = decoded.windows(3).filter(|w| w[0] == b'%').filter_map(|w| byte_of(w[1], w[2]));
    for byte in escapes {
        if b"/\\.;%".contains(&byte) || byte.is_ascii_control() || !byte.is_ascii() {
            return Err(PathRefusal::EncodedTwice);
        }
    }
    // Servers of the Java world cut each segment at its first semicolon.
    let name = decoded.split(|b| *b == b';').next().unwrap_or_default();
    if name == b"." || name == b".." {
        return Err(PathRefusal::HiddenDots);
    }
    String::from_utf8(decoded).map_err(|_| PathRefusal::NotUtf8)
}

fn decoded_once(bytes: &[u8]) -> Result<Vec<u8>, PathRefusal> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return Ok(decoded),
            [b'%', high, low, rest @ ..] => {
                decoded.push(byte_of(*high, *low).ok_or(PathRefusal::BrokenEncoding)?);
                rest
            }
            [b'%', ..] => return Err(PathRefusal::BrokenEncoding),
            [byte, rest @ ..] => {
                decoded.push(*byte);
                rest
            }
        };
    }
}

fn byte_of(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Which paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathPattern(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of segments.
    Many,
    /// The first half of a last `/*`: one segment of any text, or none. [`Segment::Many`] follows.
    One,
    /// Texts with any text between each two: `["a", "c"]` is `a*c`, `["a"]` is `a`.
    Text(Vec<String>),
}

impl PathPattern {
    pub(super) fn allows(&self, path: &[String]) -> bool {
        matches(
            &self.0,
            path,
            |segment| *segment == Segment::Many,
            |segment, part| match segment {
                Segment::Many | Segment::One => true,
                Segment::Text(texts) => text_allows(texts, part),
            },
        )
    }

    pub(super) fn exactly(path: &[String]) -> Self {
        Self(path.iter().map(|part| Segment::Text(vec![part.clone()])).collect())
    }
}

/// Whether the patterns match all of the items, where some patterns match any number of items and
/// the others one each. Only the last such pattern is ever tried again: a shorter run for an
/// earlier one could not help.
fn matches<P, T>(
    patterns: &[P],
    items: &[T],
    is_many: impl Fn(&P) -> bool,
    allows: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut pattern, mut item) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while item < items.len() {
        if patterns.get(pattern).is_some_and(&is_many) {
            retry = Some((pattern, item));
            pattern += 1;
        } else if patterns.get(pattern).is_some_and(|p| allows(p, &items[item])) {
            pattern += 1;
            item += 1;
        } else if let Some((many, from)) = retry {
            retry = Some((many, from + 1));
            (pattern, item) = (many + 1, from + 1);
        } else {
            return false;
        }
    }
    patterns[pattern..].iter().all(is_many)
}

fn text_allows(texts: &[String], part: &str) -> bool {
    let (Some((first, rest)), false) = (texts.split_first(), part.is_empty() && texts.len() > 1)
    else {
        return false;
    };
    let Some((last, middle)) = rest.split_last() else {
        return first == part;
    };
    let Some(mut between) =
        part.strip_prefix(first.as_str()).and_then(|part| part.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for text in middle {
        match between.find(text.as_str()) {
            Some(at) => between = &between[at + text.len()..],
            None => return false,
        }
    }
    true
}

/// The pattern in a rule's path, which begins with `/`.
pub(super) fn parsed(path: &str) -> Result<PathPattern, String> {
    let parts: Vec<&str> = path[1..].split('/').collect();
    let mut segments = Vec::with_capacity(parts.len() + 1);
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        match *part {
            "*" | "**" if is_last => segments.extend([Segment::One, Segment::Many]),
            "**" => segments.push(Segment::Many),
            part if part.contains("**") => {
                return Err(
                    "** is a whole segment: write /a/**/b, or * within a segment".to_owned()
                );
            }
            part => segments.push(Segment::Text(parsed_texts(part)?)),
        }
    }
    Ok(PathPattern(segments))
}

fn parsed_texts(part: &str) -> Result<Vec<String>, String> {
    // Refusals that concern the whole segment are found with the stars in place.
    decoded_segment(part).map_err(|refusal| format!("{refusal}, which no rule can allow"))?;
    part.split('*')
        .map(|text| {
            let decoded = decoded_once(text.as_bytes())
                .map_err(|refusal| format!("{refusal}, which no rule can allow"))?;
            String::from_utf8(decoded).map_err(|_| "a star divides a character".to_owned())
        })
        .collect()
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = match self.0.as_slice() {
            [before @ .., Segment::One, Segment::Many] => before,
            all => all,
        };
        for segment in shown {
            match segment {
                Segment::Many => f.write_str("/**")?,
                Segment::One => f.write_str("/*")?,
                Segment::Text(texts) => {
                    f.write_str("/")?;
                    for (index, text) in texts.iter().enumerate() {
                        f.write_str(if index == 0 { "" } else { "*" })?;
                        write_encoded(f, text)?;
                    }
                }
            }
        }
        f.write_str(if shown.len() < self.0.len() { "/*" } else { "" })
    }
}

/// Everything but what RFC 3986 calls unreserved, and a few marks that are common in paths and
/// mean nothing in a rule, a shell's single quotes or a TOML string.
fn write_encoded(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@+,=;$&()".contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}
