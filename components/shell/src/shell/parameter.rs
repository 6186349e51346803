//! `$name`, `${name…}` and the special parameters.

use crate::halt::{Halt, Stop};
use crate::pattern::Pattern;
use crate::syntax::{End, Operation, Parameter, Part, Unless, Which, Word, is_name};

use super::{Shell, TEXT_MAX_BYTES};

impl Shell {
    /// The value, `None` if there is none.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        Some(match name {
            "?" => self.status.to_string(),
            "#" => self.scope.positional.len().to_string(),
            // A sandbox has one program, and it is this one.
            "$" => "1".to_owned(),
            "0" => "shell".to_owned(),
            "@" | "*" if self.scope.positional.is_empty() => return None,
            "@" => self.scope.positional.join(" "),
            "*" => {
                let separator = self.variable("IFS").map_or(Some(' '), |ifs| ifs.chars().next());
                let separator = separator.map(String::from).unwrap_or_default();
                self.scope.positional.join(&separator)
            }
            "-" => self.scope.settings.letters(),
            name if name.starts_with(|c: char| c.is_ascii_digit()) => {
                let index: usize = name.parse().ok()?;
                self.scope.positional.get(index.checked_sub(1)?)?.clone()
            }
            name => self.variable(name)?.to_owned(),
        })
    }

    fn known_value(&self, name: &str) -> Result<String, Halt> {
        match self.value(name) {
            Some(value) => Ok(value),
            None if self.scope.settings.refuse_unset && !matches!(name, "@" | "*" | "!") => {
                self.streams.write(2, format!("shell: {name}: is not set\n").as_bytes())?;
                Err(Halt::Exit(1))
            }
            None => Ok(String::new()),
        }
    }

    pub(super) fn parameter(&mut self, parameter: &Parameter) -> Result<String, Halt> {
        let name = &parameter.name;
        Ok(match &parameter.operation {
            Operation::Length if matches!(name.as_str(), "@" | "*") => {
                self.scope.positional.len().to_string()
            }
            Operation::Length => self.known_value(name)?.chars().count().to_string(),
            // Its two outcomes are words of different kinds, which the caller tells apart.
            Operation::Value | Operation::Unless { .. } => self.known_value(name)?,
            Operation::Remove { end, longest, pattern } => {
                let value = self.known_value(name)?;
                let pattern = self.compiled(pattern)?;
                removed(&value, *end, *longest, &pattern)
            }
            Operation::Replace { which, pattern, with } => {
                let value = self.known_value(name)?;
                let pattern = self.compiled(pattern)?;
                let with = self.text(with)?;
                replaced(&value, *which, &pattern, &with)?
            }
            Operation::Slice { offset, length } => {
                let value = self.known_value(name)?;
                self.slice(&value, offset, length.as_deref())?
            }
            Operation::Case { upper, all } => {
                let value = self.known_value(name)?;
                let change = |text: &str| match upper {
                    true => text.to_uppercase(),
                    false => text.to_lowercase(),
                };
                let first = value.chars().next().map_or(0, char::len_utf8);
                let changed = if *all { value.len() } else { first };
                change(&value[..changed]) + &value[changed..]
            }
        })
    }

    /// The value where it is to be used, `None` where the word is.
    pub(super) fn unless(
        &mut self,
        name: &str,
        kind: Unless,
        colon: bool,
        word: &Word,
    ) -> Result<Option<String>, Halt> {
        let value = self.value(name).filter(|value| !(colon && value.is_empty()));
        match (kind, value) {
            (Unless::Alternative, Some(_)) => Ok(None),
            (Unless::Alternative, None) => Ok(Some(String::new())),
            (_, Some(value)) => Ok(Some(value)),
            (Unless::Default, None) => Ok(None),
            (Unless::Assign, None) => {
                if !is_name(name) {
                    return Err(Halt::fail(format!("{name}: cannot be assigned to")));
                }
                let text = self.text(word)?;
                self.set(name, text.clone())?;
                Ok(Some(text))
            }
            (Unless::Fail, None) => {
                let message = self.text(word)?;
                let message = if message.is_empty() { "is not set" } else { &message };
                self.complain(&format!("shell: {name}: {message}"))?;
                Err(Halt::Exit(1))
            }
        }
    }

    fn slice(
        &mut self,
        value: &str,
        offset: &[Part],
        length: Option<&[Part]>,
    ) -> Result<String, Halt> {
        let chars: Vec<char> = value.chars().collect();
        let count = i64::try_from(chars.len()).unwrap_or(i64::MAX);
        let offset = self.parts_text(offset)?;
        let offset = self.arithmetic(&offset)?;
        let start = if offset < 0 { count + offset } else { offset };
        let end = match length {
            None => count,
            Some(length) => {
                let length = self.parts_text(length)?;
                match self.arithmetic(&length)? {
                    length if length < 0 => count + length,
                    length => start.saturating_add(length),
                }
            }
        };
        let position = |at: i64| usize::try_from(at.clamp(0, count)).unwrap_or_default();
        let (start, end) = (position(start), position(end));
        Ok(chars.get(start..end).unwrap_or_default().iter().collect())
    }
}

fn removed(value: &str, end: End, longest: bool, pattern: &Pattern) -> String {
    let chars: Vec<char> = value.chars().collect();
    let lengths: Box<dyn Iterator<Item = usize>> = match longest {
        true => Box::new((0..=chars.len()).rev()),
        false => Box::new(0..=chars.len()),
    };
    for length in lengths {
        let (part, rest) = match end {
            End::Prefix => chars.split_at(length),
            End::Suffix => {
                let (rest, part) = chars.split_at(chars.len() - length);
                (part, rest)
            }
        };
        if pattern.matches_chars(part) {
            return rest.iter().collect();
        }
    }
    value.to_owned()
}

fn replaced(value: &str, which: Which, pattern: &Pattern, with: &str) -> Result<String, Halt> {
    let chars: Vec<char> = value.chars().collect();
    let (mut text, mut at) = (String::new(), 0);
    let mut go_on = true;
    while at < chars.len() {
        let may_match = |length: usize| match which {
            Which::First | Which::All => true,
            Which::At(End::Prefix) => at == 0,
            Which::At(End::Suffix) => at + length == chars.len(),
        };
        let length = (1..=chars.len() - at).rev().find(|length| {
            go_on && may_match(*length) && pattern.matches_chars(&chars[at..at + length])
        });
        match length {
            Some(length) => {
                text.push_str(with);
                at += length;
                go_on = which == Which::All;
            }
            None => {
                text.push(chars[at]);
                at += 1;
            }
        }
        if text.len() > TEXT_MAX_BYTES {
            return Err(Halt::Stop(Stop::Text(TEXT_MAX_BYTES)));
        }
    }
    Ok(text)
}
