//! Names of files that match a pattern.

use crate::files::Kind;
use crate::halt::{Halt, Stop};
use crate::pattern::Pattern;

use super::Shell;

const NAMES_MAX: usize = 50_000;

impl Shell {
    /// The names that match, sorted; a part of the pattern matches no leading dot that it does not
    /// write out. What cannot be listed matches nothing.
    pub(super) fn path_names(&mut self, pattern: &str) -> Result<Vec<String>, Halt> {
        let is_absolute = pattern.starts_with('/');
        let only_directories = pattern.ends_with('/');
        let mut found = vec![if is_absolute { "/".to_owned() } else { String::new() }];
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        for (index, part) in parts.iter().enumerate() {
            let is_last = index + 1 == parts.len();
            let mut next = Vec::new();
            for base in &found {
                self.step()?;
                self.matching(base, part, !is_last || only_directories, &mut next);
                if next.len() > NAMES_MAX {
                    return Err(Halt::Stop(Stop::Words(NAMES_MAX)));
                }
            }
            found = next;
        }
        if only_directories {
            found.iter_mut().for_each(|name| name.push('/'));
        }
        found.sort();
        Ok(found)
    }

    fn matching(&self, base: &str, part: &str, only_directories: bool, next: &mut Vec<String>) {
        let joined = |name: &str| match base {
            "" => name.to_owned(),
            base if base.ends_with('/') => format!("{base}{name}"),
            base => format!("{base}/{name}"),
        };
        if !part.contains(['*', '?', '[']) {
            let path = joined(&unescaped(part));
            match self.files.kind(&self.absolute(&path)) {
                Some(Kind::Directory) => next.push(path),
                Some(_) if !only_directories => next.push(path),
                _ => {}
            }
            return;
        }
        let pattern = Pattern::new(part);
        let directory = if base.is_empty() { "." } else { base };
        for entry in self.files.list(&self.absolute(directory)).unwrap_or_default() {
            if entry.name.starts_with('.') && !pattern.begins_with_dot() {
                continue;
            }
            if !pattern.matches(&entry.name) {
                continue;
            }
            let path = joined(&entry.name);
            let is_directory = || self.files.kind(&self.absolute(&path)) == Some(Kind::Directory);
            if !only_directories || entry.kind == Kind::Directory || is_directory() {
                next.push(path);
            }
        }
    }
}

/// The text that a pattern without wildcards stands for.
fn unescaped(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    text
}
