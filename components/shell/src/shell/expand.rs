//! From words to texts: parameters, substitutions, splitting and names of files.

use crate::halt::{Halt, Ran};
use crate::pattern::Pattern;
use crate::stream::Output;
use crate::syntax::{Operation, Part, Script, Word};

use super::fields::{Builder, Field};
use super::{Shell, Stream};

impl Shell {
    /// The words of a command or a list, in full.
    pub(crate) fn fields(&mut self, words: &[Word]) -> Result<Vec<String>, Halt> {
        let separators = self.variable("IFS").unwrap_or(" \t\n").to_owned();
        let mut builder = Builder::new(Some(separators));
        for word in words {
            self.expand(&word.0, &mut builder, Quoting::None)?;
            builder.end()?;
        }
        let mut texts = Vec::new();
        for field in builder.finish()? {
            if !field.is_pattern || self.scope.settings.keep_patterns {
                texts.push(field.text);
                continue;
            }
            let names = self.path_names(&field.pattern)?;
            if names.is_empty() {
                texts.push(field.text);
            } else {
                texts.extend(names);
            }
        }
        Ok(texts)
    }

    /// A word as one text: nothing is split, and patterns stay.
    pub(crate) fn text(&mut self, word: &Word) -> Result<String, Halt> {
        self.parts_text(&word.0)
    }

    pub(super) fn parts_text(&mut self, parts: &[Part]) -> Result<String, Halt> {
        Ok(self.whole(parts)?.text)
    }

    /// A word as a pattern, in which what is quoted stands for itself.
    pub(super) fn pattern(&mut self, word: &Word) -> Result<String, Halt> {
        Ok(self.whole(&word.0)?.pattern)
    }

    fn whole(&mut self, parts: &[Part]) -> Result<Field, Halt> {
        let mut builder = Builder::new(None);
        self.expand(parts, &mut builder, Quoting::None)?;
        Ok(builder.whole())
    }

    fn expand(
        &mut self,
        parts: &[Part],
        builder: &mut Builder,
        quoting: Quoting,
    ) -> Result<(), Halt> {
        let emit = |builder: &mut Builder, text: &str| match quoting {
            Quoting::None => builder.value(text),
            Quoting::Double => builder.quoted(text),
        };
        for part in parts {
            match part {
                Part::Literal(text) if quoting == Quoting::None => builder.literal(text)?,
                Part::Literal(text) | Part::Quoted(text) => builder.quoted(text)?,
                Part::Double(parts) => {
                    if !self.is_empty_list(parts) {
                        builder.quoted("")?;
                    }
                    self.expand(parts, builder, Quoting::Double)?;
                }
                Part::Command(script) => {
                    let output = self.substitute(script)?;
                    emit(builder, &output)?;
                }
                Part::Arithmetic(parts) => {
                    let text = self.parts_text(parts)?;
                    let value = self.arithmetic(&text)?;
                    emit(builder, &value.to_string())?;
                }
                Part::Parameter(parameter) => match (parameter.name.as_str(), &parameter.operation)
                {
                    ("@", Operation::Value) if builder.splits() => self.each(builder, quoting)?,
                    ("*", Operation::Value) if builder.splits() && quoting == Quoting::None => {
                        self.each(builder, quoting)?;
                    }
                    (_, Operation::Unless { kind, colon, word }) => {
                        if let Some(value) = self.unless(&parameter.name, *kind, *colon, word)? {
                            emit(builder, &value)?;
                        } else {
                            self.expand(&word.0, builder, quoting)?;
                        }
                    }
                    _ => {
                        let value = self.parameter(parameter)?;
                        emit(builder, &value)?;
                    }
                },
            }
        }
        Ok(())
    }

    /// `"$@"` with nothing in it, which is no word rather than an empty one.
    fn is_empty_list(&self, parts: &[Part]) -> bool {
        let is_list = |part: &Part| match part {
            Part::Parameter(parameter) => {
                parameter.name == "@" && matches!(parameter.operation, Operation::Value)
            }
            _ => false,
        };
        self.scope.positional.is_empty() && !parts.is_empty() && parts.iter().all(is_list)
    }

    /// `$@`: a field each.
    fn each(&self, builder: &mut Builder, quoting: Quoting) -> Result<(), Halt> {
        for (index, value) in self.scope.positional.iter().enumerate() {
            if index > 0 {
                builder.end()?;
            }
            match quoting {
                Quoting::None => builder.value(value)?,
                Quoting::Double => builder.quoted(value)?,
            }
        }
        Ok(())
    }

    /// What a script writes, without the line ends at its end. Bytes that are no text are shown
    /// as U+FFFD, for a word is text.
    pub(crate) fn substitute(&mut self, script: &Script) -> Result<String, Halt> {
        let (status, mut bytes) = self.captured(|shell| shell.script(script))?;
        self.substituted = Some(status);
        self.status = status;
        bytes.retain(|byte| *byte != 0);
        let end = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        Ok(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Runs something in a subshell, with what it writes held.
    fn captured(&mut self, run: impl FnOnce(&mut Self) -> Ran) -> Result<(i32, Vec<u8>), Halt> {
        let output = Output::held();
        let outer = self.streams.clone();
        self.streams.set(1, Some(Stream::Out(output.clone())));
        let result = self.subshell(run);
        self.streams = outer;
        Ok((result?, output.take().0))
    }

    /// What a pattern takes off a text, or puts into it: see `parameter`.
    pub(super) fn compiled(&mut self, word: &Word) -> Result<Pattern, Halt> {
        Ok(Pattern::new(&self.pattern(word)?))
    }
}

/// Whether a part stands in double quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quoting {
    None,
    Double,
}
