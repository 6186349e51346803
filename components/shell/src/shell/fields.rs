//! The fields that words become: split where their expansions say, and matched against names.

use std::borrow::Cow;

use crate::halt::{Halt, Stop};
use crate::pattern::escape;

use super::TEXT_MAX_BYTES;

/// How many words a command or a list may have.
const FIELDS_MAX: usize = 100_000;

/// One field: its text, and the same as a pattern in which what was quoted is itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Field {
    pub(super) text: String,
    pub(super) pattern: String,
    /// Something in it that is not quoted makes it a pattern.
    pub(super) is_pattern: bool,
}

/// Builds fields from the parts of a word.
#[derive(Debug)]
pub(super) struct Builder {
    done: Vec<Field>,
    current: Option<Field>,
    /// The characters to split at; `None` where nothing is split.
    separators: Option<String>,
    /// A blank ended the last field, and belongs to a separator that may follow.
    after_blank: bool,
    bytes: usize,
}

impl Builder {
    pub(super) fn new(separators: Option<String>) -> Self {
        Self { done: Vec::new(), current: None, separators, after_blank: false, bytes: 0 }
    }

    pub(super) fn splits(&self) -> bool {
        self.separators.is_some()
    }

    fn add(&mut self, text: &str, pattern: &str, is_pattern: bool) -> Result<(), Halt> {
        self.bytes += text.len() + 1;
        if self.bytes > TEXT_MAX_BYTES * 2 {
            return Err(Halt::Stop(Stop::Text(TEXT_MAX_BYTES * 2)));
        }
        let current = self.current.get_or_insert_default();
        current.text.push_str(text);
        current.pattern.push_str(pattern);
        current.is_pattern |= is_pattern;
        self.after_blank = false;
        Ok(())
    }

    /// Text that stands for itself.
    pub(super) fn quoted(&mut self, text: &str) -> Result<(), Halt> {
        self.add(text, &escape(text), false)
    }

    /// Text of the script that was not quoted.
    pub(super) fn literal(&mut self, text: &str) -> Result<(), Halt> {
        self.add(text, text, text.contains(['*', '?', '[']))
    }

    /// The result of an expansion that was not quoted.
    pub(super) fn value(&mut self, text: &str) -> Result<(), Halt> {
        let Some(separators) = self.separators.clone() else {
            return self.add_value(text);
        };
        let mut rest = text;
        while let Some(at) = rest.find(|c| separators.contains(c)) {
            if at > 0 {
                self.add_value(&rest[..at])?;
            }
            let separator = rest[at..].chars().next().unwrap_or(' ');
            if " \t\n".contains(separator) {
                if self.current.is_some() {
                    self.end()?;
                    self.after_blank = true;
                }
            } else if self.current.is_some() || !self.after_blank {
                self.current.get_or_insert_default();
                self.end()?;
            } else {
                self.after_blank = false;
            }
            rest = &rest[at + separator.len_utf8()..];
        }
        if rest.is_empty() { Ok(()) } else { self.add_value(rest) }
    }

    fn add_value(&mut self, text: &str) -> Result<(), Halt> {
        let pattern = match text.contains('\\') {
            true => Cow::Owned(text.replace('\\', "\\\\")),
            false => Cow::Borrowed(text),
        };
        self.add(text, &pattern, text.contains(['*', '?', '[']))
    }

    /// Ends the field, if there is one.
    pub(super) fn end(&mut self) -> Result<(), Halt> {
        if let Some(field) = self.current.take() {
            self.done.push(field);
            if self.done.len() > FIELDS_MAX {
                return Err(Halt::Stop(Stop::Words(FIELDS_MAX)));
            }
        }
        self.after_blank = false;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<Field>, Halt> {
        self.end()?;
        Ok(self.done)
    }

    /// All of it as one field, where nothing was split.
    pub(super) fn whole(mut self) -> Field {
        self.current.take().unwrap_or_default()
    }
}
