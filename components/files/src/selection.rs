//! Which files a search looks at: globs to include and to exclude.
//!
//! A glob without a slash is matched against the name of a file, at any depth; one with a
//! slash against the path relative to where the search started. An excluded directory is
//! not entered. The invariant: matching never touches the file system.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::failure::Failure;

const GLOBS_MAX: usize = 64;

/// A compiled list of globs; an empty list matches nothing.
#[derive(Debug)]
pub(crate) struct Globs(GlobSet);

/// Globs to include and to exclude.
#[derive(Debug)]
pub(crate) struct Selection {
    include: Option<Globs>,
    exclude: Globs,
}

impl Globs {
    /// # Errors
    /// A glob that does not parse, with what is wrong with it.
    pub(crate) fn parse(globs: &[String], pointer: &'static str) -> Result<Self, Failure> {
        if globs.len() > GLOBS_MAX {
            return Err(Failure::invalid(pointer, format!("at most {GLOBS_MAX} globs")));
        }
        let mut builder = GlobSetBuilder::new();
        for text in globs {
            let anchored = text.strip_prefix('/').unwrap_or(text);
            let pattern =
                if text.contains('/') { anchored.to_owned() } else { format!("**/{text}") };
            let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
            builder.add(glob.map_err(|error| {
                Failure::invalid(pointer, format!("glob {text:?}: {}", error.kind()))
            })?);
        }
        let set = builder.build().map_err(|error| Failure::invalid(pointer, error.to_string()))?;
        Ok(Self(set))
    }

    pub(crate) fn matches(&self, relative: &str) -> bool {
        self.0.is_match_candidate(&Candidate::new(relative))
    }
}

impl Selection {
    /// # Errors
    /// A glob that does not parse.
    pub(crate) fn parse(include: &[String], exclude: &[String]) -> Result<Self, Failure> {
        let include =
            if include.is_empty() { None } else { Some(Globs::parse(include, "/include")?) };
        Ok(Self { include, exclude: Globs::parse(exclude, "/exclude")? })
    }

    pub(crate) fn excludes(&self, relative: &str) -> bool {
        self.exclude.matches(relative)
    }

    /// Whether a file that is not excluded is to be looked at.
    pub(crate) fn includes(&self, relative: &str) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.matches(relative))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_glob_without_a_slash_matches_names_at_any_depth() {
        let selection = Selection::parse(&globs(&["*.rs", "*.{md,txt}"]), &[]).expect("globs");
        assert!(selection.includes("lib.rs"));
        assert!(selection.includes("a/b/lib.rs"));
        assert!(selection.includes("a/notes.md"));
        assert!(!selection.includes("a/lib.c"));
    }

    #[test]
    fn a_glob_with_a_slash_matches_the_path() {
        let selection = Selection::parse(&globs(&["src/**/*.rs"]), &[]).expect("globs");
        assert!(selection.includes("src/lib.rs"));
        assert!(selection.includes("src/a/b.rs"));
        assert!(!selection.includes("tests/lib.rs"));
    }

    #[test]
    fn exclusion_is_separate_and_empty_inclusion_is_everything() {
        let selection = Selection::parse(&[], &globs(&["target"])).expect("globs");
        assert!(selection.includes("x"));
        assert!(selection.excludes("target"));
        assert!(selection.excludes("a/target"));
        assert!(!selection.excludes("targets"));
    }

    #[test]
    fn a_bad_glob_says_which() {
        let error = Selection::parse(&globs(&["a["]), &[]).expect_err("unclosed");
        assert!(
            matches!(&error, Failure::Invalid { pointer: "/include", message } if message.contains("\"a[\"")),
            "{error}"
        );
    }
}
