//! Names of tools, as models take them.
//!
//! Here a tool is called `files.read`; many servers take only 1 to 64 of `a-z A-Z 0-9 _ -` for a
//! function. The invariant: each offered name stands for exactly one tool, and [`Names::tool`] finds
//! it again; a name that was never offered stands for none.

use std::collections::BTreeMap;

/// The most bytes of a name that every server takes.
const MAX_BYTES: usize = 64;

/// The offered names, and what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tools: BTreeMap<String, String>,
}

impl Names {
    /// The name under which to offer a tool; each tool once.
    pub(crate) fn offer(&mut self, tool: &str) -> String {
        let plain = tool.replace('.', "__");
        let mut offered = plain.clone();
        let mut attempt = 2;
        while offered.len() > MAX_BYTES || self.tools.contains_key(&offered) {
            let suffix = format!("_{attempt}");
            let start = plain.floor_char_boundary(MAX_BYTES - suffix.len());
            offered = format!("{}{suffix}", &plain[..start]);
            attempt += 1;
        }
        self.tools.insert(offered.clone(), tool.to_owned());
        offered
    }

    /// The tool of a name, as it was offered; or by its own name, which some models write.
    pub(crate) fn tool(&self, name: &str) -> Option<&str> {
        match self.tools.get(name) {
            Some(tool) => Some(tool),
            None => self.tools.values().find(|tool| *tool == name).map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dot_becomes_two_lines_and_comes_back() {
        let mut names = Names::default();
        assert_eq!(names.offer("files.read"), "files__read");
        assert_eq!(names.tool("files__read"), Some("files.read"));
        assert_eq!(names.tool("files.read"), Some("files.read"));
        assert_eq!(names.tool("files__write"), None);
    }

    #[test]
    fn names_that_would_be_one_are_kept_apart() {
        let mut names = Names::default();
        let (one, two) = (names.offer("a.b__c"), names.offer("a__b.c"));
        assert_ne!(one, two);
        assert_eq!((names.tool(&one), names.tool(&two)), (Some("a.b__c"), Some("a__b.c")));
    }

    proptest! {
        #[test]
        fn each_tool_is_found_again(
            tools in prop::collection::btree_set("[a-z0-9][a-z0-9_-]{0,63}\\.[a-z0-9][a-z0-9_-]{0,63}", 0..40),
        ) {
            let mut names = Names::default();
            let offered: Vec<_> = tools.iter().map(|tool| names.offer(tool)).collect();
            for (tool, name) in tools.iter().zip(&offered) {
                prop_assert_eq!(names.tool(name), Some(tool.as_str()));
                prop_assert!(name.len() <= MAX_BYTES && !name.contains('.'));
            }
        }
    }
}
