//! The query of a target: each parameter known, given once, and percent-decoded.
//!
//! What is not known is refused, since a filter that is misspelled would otherwise let through
//! everything.

use std::borrow::Cow;
use std::str::FromStr;

use http::Uri;

use crate::problem::{Problem, Refusal};

/// The parameters of one request.
pub(crate) struct Query<'a> {
    values: Vec<(&'static str, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads the query of a target that takes these parameters.
    ///
    /// # Errors
    /// A parameter that is not known or given twice, and a value that is no UTF-8 text.
    pub(crate) fn read(uri: &'a Uri, known: &'static [&'static str]) -> Result<Self, Refusal> {
        let mut values: Vec<(&'static str, Cow<'a, str>)> = Vec::new();
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = known.iter().find(|known| **known == name) else {
                let takes = known.join(", ");
                return Err(Problem::invalid_query(&format!(
                    "there is no parameter \"{}\" here; this path takes {takes}",
                    name.chars().take(64).flat_map(char::escape_default).collect::<String>(),
                )));
            };
            if values.iter().any(|(given, _)| given == name) {
                return Err(Problem::invalid_query(&format!("\"{name}\" is given twice")));
            }
            values.push((
                name,
                decoded(value).ok_or_else(|| {
                    Problem::invalid_query(&format!("\"{name}\" is no percent-encoded UTF-8 text"))
                })?,
            ));
        }
        Ok(Self { values })
    }

    /// A parameter's value, if it is given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(given, _)| *given == name).map(|(_, value)| &**value)
    }

    /// A parameter that must be given.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Problem::invalid_query(&format!("\"{name}\" is missing")))
    }

    /// A parameter that is a number, if it is given.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Problem::invalid_query(&format!("\"{name}\" is a whole number, not \"{text}\""))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// How many entries are wanted: 1 to `max`, and `default` where nothing is said.
    ///
    /// # Errors
    /// Zero, more than `max`, or no number.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        match self.number::<usize>("limit")? {
            None => Ok(default),
            Some(limit) if (1..=max).contains(&limit) => Ok(limit),
            Some(limit) => {
                Err(Problem::invalid_query(&format!("\"limit\" is 1 to {max}, not {limit}")))
            }
        }
    }
}

/// A plus is a space, as in forms.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    let spaced = if text.contains('+') { text.replace('+', " ").into() } else { Cow::from(text) };
    match spaced {
        Cow::Borrowed(text) => percent_encoding::percent_decode_str(text).decode_utf8().ok(),
        Cow::Owned(text) => percent_encoding::percent_decode_str(&text)
            .decode_utf8()
            .ok()
            .map(|text| text.into_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["prefix", "limit"];

    fn read(target: &str) -> Result<(Option<String>, usize), Refusal> {
        let uri: Uri = target.parse().expect("a target");
        let query = Query::read(&uri, KNOWN)?;
        Ok((query.get("prefix").map(str::to_owned), query.limit(10, 100)?))
    }

    #[test]
    fn parameters_are_decoded_and_have_defaults() {
        assert_eq!(read("/").expect("fine"), (None, 10));
        assert_eq!(read("/?").expect("fine"), (None, 10));
        let given = read("/?prefix=a%2Fb+c%C3%A9&limit=100").expect("fine");
        assert_eq!(given, (Some("a/b cé".to_owned()), 100));
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_ignored() {
        for target in [
            "/?prefx=a",
            "/?prefix=a&prefix=b",
            "/?limit=0",
            "/?limit=101",
            "/?limit=x",
            "/?prefix=%ff",
        ] {
            let problem = read(target).expect_err(target);
            assert_eq!(problem.code, "invalid_query", "{target}: {}", problem.detail);
        }
    }
}
