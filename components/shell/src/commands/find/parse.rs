//! From the words of `find` to what is asked of each entry.

use std::time::SystemTime;

use crate::commands::Invocation;
use crate::commands::arguments::number;
use crate::commands::find::{Comparison, Test};
use crate::files::{Kind, Links};
use crate::halt::Halt;
use crate::pattern::Pattern;

/// How deep `(` and `!` may nest.
const DEPTH_MAX: usize = 32;

pub(super) struct Parser<'a, 'c> {
    pub(super) call: &'a Invocation<'c>,
    pub(super) words: &'a [String],
    pub(super) at: usize,
    pub(super) depth: usize,
    /// Something is done with what is found, so that it is not printed of itself.
    pub(super) acts: bool,
    pub(super) least_depth: usize,
    pub(super) most_depth: usize,
    pub(super) contents_first: bool,
    pub(super) collected: Vec<(Vec<String>, Vec<String>)>,
}

impl Parser<'_, '_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    pub(super) fn any(&mut self) -> Result<Test, Halt> {
        if self.depth >= DEPTH_MAX {
            return Err(Halt::usage(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        let mut any = vec![self.all()?];
        while matches!(self.peek(), Some("-o" | "-or")) {
            self.at += 1;
            any.push(self.all()?);
        }
        self.depth -= 1;
        Ok(Test::Any(any))
    }

    fn all(&mut self) -> Result<Test, Halt> {
        let mut all = Vec::new();
        loop {
            match self.peek() {
                None | Some("-o" | "-or" | ")") => return Ok(Test::All(all)),
                Some("-a" | "-and") => self.at += 1,
                Some(_) => all.push(self.one()?),
            }
        }
    }

    fn one(&mut self) -> Result<Test, Halt> {
        let mut negations = 0;
        while matches!(self.peek(), Some("!" | "-not")) {
            self.at += 1;
            negations += 1;
        }
        let test = self.primary()?;
        Ok(if negations % 2 == 1 { Test::Not(Box::new(test)) } else { test })
    }

    fn value(&mut self, name: &str) -> Result<String, Halt> {
        let value = self.words.get(self.at).cloned();
        self.at += 1;
        value.ok_or_else(|| Halt::usage(format!("{name} needs a value")))
    }

    fn primary(&mut self) -> Result<Test, Halt> {
        let name = self.peek().unwrap_or_default().to_owned();
        self.at += 1;
        Ok(match name.as_str() {
            "(" => {
                let inner = self.any()?;
                if self.peek() != Some(")") {
                    return Err(Halt::usage("a ) is missing"));
                }
                self.at += 1;
                inner
            }
            "-name" => Test::Name { pattern: Pattern::new(&self.value(&name)?), folds_case: false },
            "-iname" => {
                let pattern = Pattern::new(&self.value(&name)?.to_lowercase());
                Test::Name { pattern, folds_case: true }
            }
            "-path" | "-wholename" => {
                Test::Path { pattern: Pattern::new(&self.value(&name)?), folds_case: false }
            }
            "-ipath" => {
                let pattern = Pattern::new(&self.value(&name)?.to_lowercase());
                Test::Path { pattern, folds_case: true }
            }
            "-type" => Test::Kinds(kinds(&self.value(&name)?)?),
            "-size" => size(&self.value(&name)?)?,
            "-mtime" => {
                let comparison = Comparison::parse(&self.value(&name)?)?;
                Test::Age { comparison, unit_seconds: 86_400 }
            }
            "-mmin" => {
                let comparison = Comparison::parse(&self.value(&name)?)?;
                Test::Age { comparison, unit_seconds: 60 }
            }
            "-newer" => {
                let path = self.value(&name)?;
                let facts = self.call.shell.at(&path, |f, path| f.facts(path, Links::Follow))?;
                Test::Newer(facts.modified.unwrap_or(SystemTime::UNIX_EPOCH))
            }
            "-empty" => Test::Empty,
            "-true" => Test::Truth(true),
            "-false" => Test::Truth(false),
            "-prune" => Test::Prune,
            "-depth" => {
                self.contents_first = true;
                Test::Truth(true)
            }
            "-maxdepth" => {
                self.most_depth = number(&self.value(&name)?)?;
                Test::Truth(true)
            }
            "-mindepth" => {
                self.least_depth = number(&self.value(&name)?)?;
                Test::Truth(true)
            }
            "-print" | "-print0" => {
                self.acts = true;
                Test::Print { end: if name == "-print" { "\n" } else { "\0" } }
            }
            "-delete" => {
                self.acts = true;
                self.contents_first = true;
                Test::Delete
            }
            "-exec" => self.command()?,
            name => return Err(Halt::usage(format!("{name:?} is not known; see `help find`"))),
        })
    }

    fn command(&mut self) -> Result<Test, Halt> {
        self.acts = true;
        let rest = &self.words[self.at..];
        let end = rest.iter().position(|word| word == ";" || word == "+");
        let Some(end) = end.filter(|end| *end > 0) else {
            return Err(Halt::usage("-exec needs a command, and \\; or + at its end"));
        };
        let mut words = rest[..end].to_vec();
        let collects = rest[end] == "+";
        self.at += end + 1;
        if !collects {
            return Ok(Test::Run { words });
        }
        if words.pop().as_deref() != Some("{}") {
            return Err(Halt::usage("-exec … + has {} at its end"));
        }
        self.collected.push((words, Vec::new()));
        Ok(Test::Collect { index: self.collected.len() - 1 })
    }
}

fn kinds(text: &str) -> Result<Vec<Kind>, Halt> {
    let kind = |letter: &str| match letter {
        "f" => Ok(Kind::File),
        "d" => Ok(Kind::Directory),
        "l" => Ok(Kind::Link),
        other => Err(Halt::usage(format!("the kind {other:?} is not known: f, d or l"))),
    };
    text.split(',').map(kind).collect()
}

fn size(text: &str) -> Result<Test, Halt> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'c')) => (&text[..at], 1),
        Some((at, 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        Some((at, 'b')) => (&text[..at], 512),
        _ => (text, 512),
    };
    Ok(Test::Size { comparison: Comparison::parse(digits)?, unit })
}
