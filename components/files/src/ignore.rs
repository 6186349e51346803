//! `.gitignore` files, so that a search sees sources and not what a build left behind.
//!
//! Follows gitignore(5): the last rule that matches wins, `!` brings back, a slash at the
//! end means directories only, a slash elsewhere ties a rule to the file's own directory.
//! Not read: `.git/info/exclude` and the user's own global file. A rule that does not parse
//! is passed over, as git does. The invariant: rules only narrow what is searched.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// The most bytes of one `.gitignore` that are read, and the most rules that are kept.
pub(crate) const FILE_MAX_BYTES: u64 = 64 << 10;
const RULES_MAX: usize = 1_000;

/// The rules of one `.gitignore`.
#[derive(Debug)]
pub(crate) struct Rules {
    patterns: GlobSet,
    effects: Vec<Effect>,
}

#[derive(Clone, Copy, Debug)]
struct Effect {
    verdict: Verdict,
    directories_only: bool,
}

/// What the rules say about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ignored,
    Kept,
}

impl Rules {
    pub(crate) fn parse(text: &str) -> Self {
        let mut builder = GlobSetBuilder::new();
        let mut effects = Vec::new();
        for (pattern, effect) in text.lines().filter_map(rule).take(RULES_MAX) {
            let mut glob = GlobBuilder::new(&pattern);
            if let Ok(glob) = glob.literal_separator(true).backslash_escape(true).build() {
                builder.add(glob);
                effects.push(effect);
            }
        }
        match builder.build() {
            Ok(patterns) => Self { patterns, effects },
            Err(_) => Self { patterns: GlobSet::empty(), effects: Vec::new() },
        }
    }

    /// What these rules say about a path relative to their directory; `None` if nothing.
    pub(crate) fn verdict(&self, relative: &str, is_directory: bool) -> Option<Verdict> {
        let matching = self.patterns.matches_candidate(&Candidate::new(relative));
        matching
            .into_iter()
            .map(|index| self.effects[index])
            .rfind(|effect| is_directory || !effect.directories_only)
            .map(|effect| effect.verdict)
    }
}

/// The glob and the effect of one line; `None` for a blank line or a comment.
fn rule(line: &str) -> Option<(String, Effect)> {
    let line = line.trim_start_matches('\u{FEFF}').trim_end_matches(['\r', ' ', '\t']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (verdict, line) = match line.strip_prefix('!') {
        Some(rest) => (Verdict::Kept, rest),
        None => (Verdict::Ignored, line),
    };
    let (directories_only, line) = match line.strip_suffix('/') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let anchored = line.contains('/');
    let line = line.strip_prefix('/').unwrap_or(line);
    if line.is_empty() {
        return None;
    }
    let pattern = if anchored { line.to_owned() } else { format!("**/{line}") };
    Some((pattern, Effect { verdict, directories_only }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(rules: &str, path: &str, is_directory: bool) -> bool {
        Rules::parse(rules).verdict(path, is_directory) == Some(Verdict::Ignored)
    }

    #[test]
    fn a_name_matches_at_any_depth_and_an_anchored_path_at_one() {
        assert!(ignored("target", "target", true));
        assert!(ignored("target", "a/b/target", true));
        assert!(ignored("/target", "target", true));
        assert!(!ignored("/target", "a/target", true));
        assert!(ignored("doc/*.txt", "doc/a.txt", false));
        assert!(!ignored("doc/*.txt", "doc/b/a.txt", false));
        assert!(ignored("**/logs/*.log", "a/logs/x.log", false));
    }

    #[test]
    fn a_slash_at_the_end_means_directories() {
        assert!(ignored("build/", "build", true));
        assert!(!ignored("build/", "build", false));
    }

    #[test]
    fn the_last_match_wins() {
        let rules = Rules::parse("# objects\n*.o\n!keep.o\n\n");
        assert_eq!(rules.verdict("a.o", false), Some(Verdict::Ignored));
        assert_eq!(rules.verdict("keep.o", false), Some(Verdict::Kept));
        assert_eq!(rules.verdict("a.c", false), None);
    }

    #[test]
    fn a_rule_that_does_not_parse_is_passed_over() {
        let rules = Rules::parse("a[\n*.o\n");
        assert_eq!(rules.verdict("x.o", false), Some(Verdict::Ignored));
    }
}
