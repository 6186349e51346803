//! Options and operands, as POSIX and GNU have them.
//!
//! Options may stand behind operands, short ones be written together, a value follow its letter or
//! stand alone, and `--` end them. A long option is the name of a short one.

use crate::halt::Halt;

/// The arguments of a command, sorted out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    /// Options with their values, in order.
    options: Vec<(char, Option<String>)>,
    pub(crate) operands: Vec<String>,
}

/// What a command understands.
pub(crate) struct Grammar<'a> {
    /// Letters of options; one that takes a value is followed by `:`.
    pub(crate) letters: &'a str,
    /// Long options, with the letter each stands for.
    pub(crate) long: &'a [(&'a str, char)],
    /// Whether options end at the first operand: what follows belongs to another command.
    pub(crate) stops_at_operand: bool,
}

impl Arguments {
    /// By letters alone.
    pub(crate) fn parse(
        arguments: &[String],
        letters: &str,
        long: &[(&str, char)],
    ) -> Result<Self, Halt> {
        Grammar { letters, long, stops_at_operand: false }.parse(arguments)
    }

    pub(crate) fn has(&self, letter: char) -> bool {
        self.options.iter().any(|(own, _)| *own == letter)
    }

    /// The last value given for an option.
    pub(crate) fn value(&self, letter: char) -> Option<&str> {
        self.values(letter).last()
    }

    pub(crate) fn values(&self, letter: char) -> impl Iterator<Item = &str> {
        let own = self.options.iter().filter(move |(own, _)| *own == letter);
        own.filter_map(|(_, value)| value.as_deref())
    }

    /// The last of these options that was given.
    pub(crate) fn last_of(&self, letters: &str) -> Option<char> {
        self.options.iter().rev().map(|(own, _)| *own).find(|own| letters.contains(*own))
    }

    /// An option's value as a whole number.
    pub(crate) fn number(&self, letter: char) -> Result<Option<usize>, Halt> {
        self.value(letter).map(number).transpose()
    }
}

/// A whole number that an option or an operand gives.
pub(crate) fn number(text: &str) -> Result<usize, Halt> {
    text.parse().map_err(|_| Halt::usage(format!("{text:?} is no whole number")))
}

/// Whether a text is digits and nothing else.
pub(crate) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Grammar<'_> {
    pub(crate) fn parse(&self, arguments: &[String]) -> Result<Arguments, Halt> {
        let mut parsed = Arguments::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                parsed.operands.extend(rest.cloned());
                break;
            }
            if let Some(long) = argument.strip_prefix("--") {
                self.parse_long(long, &mut rest, &mut parsed)?;
            } else if argument.len() > 1 && argument.starts_with('-') {
                self.parse_short(&argument[1..], &mut rest, &mut parsed)?;
            } else if self.stops_at_operand {
                parsed.operands.push(argument.clone());
                parsed.operands.extend(rest.cloned());
                break;
            } else {
                parsed.operands.push(argument.clone());
            }
        }
        Ok(parsed)
    }

    fn takes_value(&self, letter: char) -> Option<bool> {
        let at = self.letters.find(letter).filter(|_| letter != ':')?;
        Some(self.letters[at + letter.len_utf8()..].starts_with(':'))
    }

    fn parse_short<'a>(
        &self,
        letters: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        parsed: &mut Arguments,
    ) -> Result<(), Halt> {
        for (at, letter) in letters.char_indices() {
            match self.takes_value(letter) {
                None => {
                    return Err(Halt::usage(format!(
                        "the option -{letter} is not known; see `help`"
                    )));
                }
                Some(false) => parsed.options.push((letter, None)),
                Some(true) => {
                    let attached = &letters[at + letter.len_utf8()..];
                    let value = match attached {
                        "" => rest.next().cloned(),
                        attached => Some(attached.to_owned()),
                    };
                    let missing = || Halt::usage(format!("the option -{letter} needs a value"));
                    parsed.options.push((letter, Some(value.ok_or_else(missing)?)));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn parse_long<'a>(
        &self,
        long: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        parsed: &mut Arguments,
    ) -> Result<(), Halt> {
        let (name, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let Some((_, letter)) = self.long.iter().find(|(own, _)| *own == name) else {
            return Err(Halt::usage(format!("the option --{name} is not known; see `help`")));
        };
        let value = match (self.takes_value(*letter), attached) {
            (Some(true), None) => rest.next().cloned(),
            (_, attached) => attached,
        };
        if self.takes_value(*letter) == Some(true) && value.is_none() {
            return Err(Halt::usage(format!("the option --{name} needs a value")));
        }
        parsed.options.push((*letter, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, Halt> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        Arguments::parse(&arguments, "ab:c", &[("all", 'a'), ("by", 'b')])
    }

    #[test]
    fn options_are_found_wherever_they_stand() {
        let parsed = parse(&["x", "-ac", "-b1", "--by=2", "--by", "3", "--", "-a"]).expect("known");
        assert_eq!(parsed.operands, ["x", "-a"]);
        assert_eq!(parsed.values('b').collect::<Vec<_>>(), ["1", "2", "3"]);
        assert!(parsed.has('c') && parsed.last_of("ac") == Some('c'));
    }

    #[test]
    fn what_is_not_known_is_refused_with_status_2() {
        for arguments in [&["-z"][..], &["--zzz"], &["-b"]] {
            assert!(matches!(parse(arguments), Err(Halt::Fail { status: 2, .. })), "{arguments:?}");
        }
    }
}
