//! A path below a watched directory, kept byte for byte.
//!
//! In text, `%`, control characters and bytes that are not UTF-8 are written as `%` and two
//! upper-case hex digits (the escape of RFC 3986, section 2.1); everything else stands for
//! itself. The root itself is `.`, which no entry can be called. Reading takes this one
//! spelling alone, so that equal paths have equal texts.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The path of an entry, relative to its root: names joined by `/`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryPath(Arc<[u8]>);

/// Bytes or a text that are no path of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// An empty, `.` or `..` name, a NUL, a `/` at an end.
    #[error(
        "{text:?} is not a path below a root: names joined by '/', none of them \"\", \".\" or \"..\""
    )]
    NotRelative {
        /// What was given.
        text: String,
    },
    /// A `%` that is not followed by two upper-case hex digits of a byte that needs them.
    #[error(
        "{text:?} is not escaped as it should be: '%', control characters and bytes that are not UTF-8 are %XX, and nothing else is"
    )]
    Escape {
        /// What was given.
        text: String,
    },
}

impl EntryPath {
    /// The root itself.
    pub fn root() -> Self {
        Self(Arc::new([]))
    }

    /// Reads a relative path as the system gives it; nothing, or `.`, is the root.
    ///
    /// # Errors
    /// [`PathError::NotRelative`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() || bytes == b"." {
            return Ok(Self::root());
        }
        if bytes.split(|byte| *byte == b'/').all(is_name) {
            return Ok(Self(bytes.into()));
        }
        Err(PathError::NotRelative { text: escape(bytes) })
    }

    /// The bytes; none for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of an entry of this directory.
    ///
    /// # Errors
    /// [`PathError::NotRelative`]: not the name of an entry.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        if !is_name(name) {
            return Err(PathError::NotRelative { text: escape(name) });
        }
        if self.is_root() {
            return Ok(Self(name.into()));
        }
        Ok(Self([&*self.0, b"/", name].concat().into()))
    }

    /// The directory it is in, and its name there; none for the root.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(at) => Some((Self(self.0[..at].into()), &self.0[at + 1..])),
            None => Some((Self::root(), &self.0)),
        }
    }

    /// Its names, from the root down.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// Whether it is below `directory`, at any depth, and not `directory` itself.
    pub fn is_below(&self, directory: &Self) -> bool {
        self.below(directory).is_some()
    }

    /// The same path below another directory, if it is below `from`.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        let rest = self.below(from)?;
        if to.is_root() {
            return Some(Self(rest.into()));
        }
        Some(Self([to.as_bytes(), b"/", rest].concat().into()))
    }

    fn below(&self, directory: &Self) -> Option<&[u8]> {
        if directory.is_root() {
            return (!self.is_root()).then_some(&*self.0);
        }
        self.0.strip_prefix(&*directory.0)?.strip_prefix(b"/")
    }
}

fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&0) && !name.contains(&b'/')
}

/// Bytes as text, losslessly; [`unescape`] reads it.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '%' || character.is_control() {
                let mut buffer = [0; 4];
                percent(&mut text, character.encode_utf8(&mut buffer).as_bytes());
            } else {
                text.push(character);
            }
        }
        percent(&mut text, chunk.invalid());
    }
    text
}

fn percent(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "%{byte:02X}");
    }
}

/// Reads what [`escape`] writes, and no other spelling.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    (escape(&bytes) == text).then_some(bytes)
}

impl FromStr for EntryPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let bytes = unescape(text).ok_or_else(|| PathError::Escape { text: text.to_owned() })?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { f.write_str(&escape(&self.0)) }
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl Serialize for EntryPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_has_one_spelling() {
        for wrong in ["%6", "%zz", "%61", "%c3%a9", "a%25%", "/a", "a/", "a//b", "..", "a/../b"] {
            assert!(wrong.parse::<EntryPath>().is_err(), "{wrong}");
        }
        let path = EntryPath::from_bytes(b"caf\xc3\xa9/\xff%\n").expect("a path");
        assert_eq!(path.to_string(), "café/%FF%25%0A");
        assert_eq!(EntryPath::root().to_string(), ".");
        assert!(EntryPath::from_bytes(b"a\0b").is_err());
    }

    #[test]
    fn what_is_below_a_directory_is_told_by_whole_names() {
        let path = |text: &str| text.parse::<EntryPath>().expect("a path");
        assert!(path("a/b/c").is_below(&path("a/b")) && path("a").is_below(&EntryPath::root()));
        assert!(!path("a/bc").is_below(&path("a/b")) && !path("a").is_below(&path("a")));
        assert_eq!(path("a/b/c").moved(&path("a"), &path("x/y")), Some(path("x/y/b/c")));
        assert_eq!(path("a").split(), Some((EntryPath::root(), &b"a"[..])));
        assert_eq!(path("a/b").names().count(), 2);
    }

    proptest! {
        #[test]
        fn any_name_survives_a_round_trip(name in proptest::collection::vec(1u8..=255, 1..40)) {
            prop_assume!(is_name(&name));
            let path = EntryPath::from_bytes(&name).expect("a name");
            let read: EntryPath = path.to_string().parse().expect("reads");
            prop_assert_eq!(read.as_bytes(), &name[..]);
        }

        #[test]
        fn any_text_that_is_read_is_written_the_same(text in "[a-f%0-9A-F/.]{0,12}") {
            if let Ok(path) = text.parse::<EntryPath>() && !path.is_root() {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
