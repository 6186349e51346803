//! `s///`.

use regex::bytes::{Captures, Regex};

use crate::commands::sed::run::Run;
use crate::commands::sed::{Replacement, Substitution};
use crate::halt::Halt;

impl Run<'_, '_> {
    /// The expression, or the last one where it is empty.
    pub(super) fn expression(&mut self, own: Option<&Regex>) -> Result<Regex, Halt> {
        if let Some(own) = own {
            self.last = Some(own.clone());
        }
        self.last.clone().ok_or_else(|| Halt::fail("there is no last expression yet"))
    }

    pub(super) fn substitute(&mut self, substitution: &Substitution) -> Result<(), Halt> {
        let expression = self.expression(substitution.expression.as_ref())?;
        let line = std::mem::take(&mut self.line);
        let (mut out, mut from, mut changed) = (Vec::new(), 0, false);
        for (index, captures) in expression.captures_iter(&line).enumerate() {
            if index + 1 < substitution.occurrence {
                continue;
            }
            let Some(whole) = captures.get(0) else { break };
            out.extend_from_slice(&line[from..whole.start()]);
            replace(&substitution.replacement, &captures, &mut out);
            from = whole.end();
            changed = true;
            self.call.bounded(out.len())?;
            if !substitution.all {
                break;
            }
        }
        out.extend_from_slice(&line[from..]);
        self.line = out;
        self.substituted |= changed;
        if changed && substitution.prints {
            let line = [&self.line[..], b"\n"].concat();
            self.write(&line)?;
        }
        Ok(())
    }
}

fn replace(parts: &[Replacement], captures: &Captures<'_>, out: &mut Vec<u8>) {
    // The case that holds until \E, and the one of the next character alone.
    let (mut case, mut once) = (None, None);
    for part in parts {
        let bytes = match part {
            Replacement::Text(text) => text.as_bytes(),
            Replacement::Group(group) => {
                captures.get(*group).map_or(&[][..], |found| found.as_bytes())
            }
            Replacement::Case(letter) => {
                match letter {
                    'u' | 'l' => once = Some(*letter),
                    'E' => case = None,
                    letter => case = Some(*letter),
                }
                continue;
            }
        };
        if case.is_none() && once.is_none() {
            out.extend_from_slice(bytes);
            continue;
        }
        for c in String::from_utf8_lossy(bytes).chars() {
            let changed: String = match once.take().or(case) {
                Some('U' | 'u') => c.to_uppercase().collect(),
                Some(_) => c.to_lowercase().collect(),
                None => c.to_string(),
            };
            out.extend_from_slice(changed.as_bytes());
        }
    }
}
