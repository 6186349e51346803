//! What a condition holds text to: a part of it, a regular expression, a glob of names.
//!
//! A pattern is compiled where it is parsed, so that an error in it names its line, and a script
//! that parses has none.

use std::fmt;

use globset::{Glob, GlobMatcher};
use regex::Regex;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

/// `"rain"`: the text has it, in whatever case. `{ regex = "rain(y)?" }`: it matches.
#[derive(Clone, Debug)]
pub(crate) enum TextMatch {
    /// In lower case.
    Contains(String),
    Regex(Regex),
}

impl TextMatch {
    /// What the groups of the expression caught, the whole match first; `None`: no match.
    pub(crate) fn captures(&self, text: &str) -> Option<Vec<String>> {
        match self {
            Self::Contains(part) => text.to_lowercase().contains(part).then(Vec::new),
            Self::Regex(regex) => regex.captures(text).map(|captures| {
                let texts = captures.iter().map(|group| group.map_or("", |it| it.as_str()));
                texts.map(str::to_owned).collect()
            }),
        }
    }

    /// The expression, if it is one.
    pub(crate) fn regex(&self) -> Option<&Regex> {
        match self {
            Self::Contains(_) => None,
            Self::Regex(regex) => Some(regex),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled {
    contains: Option<String>,
    regex: Option<String>,
}

impl<'de> Deserialize<'de> for TextMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = TextMatch;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text to look for, or { regex = \"...\" }")
    }

    fn visit_str<E: Error>(self, part: &str) -> Result<TextMatch, E> {
        Ok(TextMatch::Contains(part.to_lowercase()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextMatch, A::Error> {
        let spelled = Spelled::deserialize(MapAccessDeserializer::new(map))?;
        match (spelled.contains, spelled.regex) {
            (Some(part), None) => self.visit_str(&part),
            (None, Some(regex)) => Ok(TextMatch::Regex(compile(&regex).map_err(Error::custom)?)),
            _ => Err(Error::custom("say either `contains` or `regex`")),
        }
    }
}

pub(crate) fn compile(regex: &str) -> Result<Regex, String> {
    Regex::new(regex).map_err(|error| format!("the regular expression {regex:?}: {error}"))
}

/// A regular expression that stands alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Expression(pub(crate) Regex);

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(regex: String) -> Result<Self, String> {
        compile(&regex).map(Self)
    }
}

/// A glob over names: of models, or of paths.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct NameGlob(GlobMatcher);

impl NameGlob {
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl TryFrom<String> for NameGlob {
    type Error = String;

    fn try_from(glob: String) -> Result<Self, String> {
        let compiled = Glob::new(&glob).map_err(|error| format!("the glob {glob:?}: {error}"))?;
        Ok(Self(compiled.compile_matcher()))
    }
}
