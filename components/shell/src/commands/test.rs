//! `test` and `[`.

use crate::commands::Invocation;
use crate::files::{Kind, Links};
use crate::halt::{Halt, Ran};
use crate::mounts::Access;
use crate::shell::Shell;

/// How deep `(` and `!` may nest.
const DEPTH_MAX: usize = 32;

pub(super) fn run(call: &mut Invocation<'_>) -> Ran {
    let mut words = call.arguments;
    if call.name == "[" {
        match words.split_last() {
            Some((last, rest)) if last == "]" => words = rest,
            _ => return Err(Halt::usage("a ] is missing at the end")),
        }
    }
    let mut expression = Expression { shell: call.shell, words, at: 0, depth: 0 };
    let holds = expression.all()?;
    Ok(i32::from(!holds))
}

struct Expression<'a> {
    shell: &'a Shell,
    words: &'a [String],
    at: usize,
    depth: usize,
}

impl Expression<'_> {
    fn all(&mut self) -> Result<bool, Halt> {
        // How many words there are decides what they mean, as in POSIX: `test -f` asks whether
        // the text "-f" is empty.
        match self.words {
            [] => return Ok(false),
            [only] => return Ok(!only.is_empty()),
            [not, only] if not == "!" => return Ok(only.is_empty()),
            [left, operator, right] if is_binary(operator) => {
                return binary(self.shell, left, operator, right);
            }
            _ => {}
        }
        let holds = self.any()?;
        match self.words.get(self.at) {
            None => Ok(holds),
            Some(word) => Err(Halt::usage(format!("unexpected {word:?}"))),
        }
    }

    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<bool, Halt> {
        let mut holds = self.every()?;
        while self.eat("-o") {
            holds |= self.every()?;
        }
        Ok(holds)
    }

    fn every(&mut self) -> Result<bool, Halt> {
        let mut holds = self.one()?;
        while self.eat("-a") {
            holds &= self.one()?;
        }
        Ok(holds)
    }

    fn one(&mut self) -> Result<bool, Halt> {
        if self.depth >= DEPTH_MAX {
            return Err(Halt::usage(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        let result = self.primary();
        self.depth -= 1;
        result
    }

    fn primary(&mut self) -> Result<bool, Halt> {
        let rest = &self.words[self.at.min(self.words.len())..];
        match rest {
            [left, operator, right, ..] if is_binary(operator) => {
                self.at += 3;
                binary(self.shell, left, operator, right)
            }
            [not, ..] if not == "!" => {
                self.at += 1;
                Ok(!self.one()?)
            }
            [open, ..] if open == "(" => {
                self.at += 1;
                let holds = self.any()?;
                if self.eat(")") { Ok(holds) } else { Err(Halt::usage("a ) is missing")) }
            }
            [operator, operand, ..] if is_unary(operator) => {
                self.at += 2;
                unary(self.shell, operator, operand)
            }
            [word, ..] => {
                self.at += 1;
                Ok(!word.is_empty())
            }
            [] => Err(Halt::usage("an argument is missing")),
        }
    }
}

fn is_unary(word: &str) -> bool {
    matches!(word, "-b" | "-c" | "-d" | "-e" | "-f" | "-h" | "-L" | "-n" | "-p" | "-r" | "-s")
        || matches!(word, "-S" | "-t" | "-w" | "-x" | "-z" | "-v")
}

fn is_binary(word: &str) -> bool {
    matches!(word, "=" | "==" | "!=" | "<" | ">" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge")
        || matches!(word, "-nt" | "-ot" | "-ef")
}

/// A test of one operand.
pub(crate) fn unary(shell: &Shell, operator: &str, operand: &str) -> Result<bool, Halt> {
    let facts = |links| shell.at(operand, |files, path| files.facts(path, links)).ok();
    let found = || facts(Links::Follow);
    let is_null = operand == "/dev/null";
    Ok(match operator {
        "-z" => operand.is_empty(),
        "-n" => !operand.is_empty(),
        "-v" => shell.variable(operand).is_some(),
        "-e" => is_null || found().is_some(),
        "-f" => found().is_some_and(|facts| facts.kind == Kind::File),
        "-d" => found().is_some_and(|facts| facts.kind == Kind::Directory),
        "-s" => found().is_some_and(|facts| facts.bytes > 0),
        "-r" => found().is_some(),
        "-w" => found().is_some_and(|facts| facts.access == Access::ReadWrite),
        // Nothing can be executed but directories, which can be searched.
        "-x" => found().is_some_and(|facts| facts.kind == Kind::Directory),
        "-h" | "-L" => facts(Links::Show).is_some_and(|facts| facts.kind == Kind::Link),
        "-b" | "-c" | "-p" | "-S" | "-t" => false,
        operator => return Err(Halt::usage(format!("{operator}: is no test"))),
    })
}

/// A test of two operands.
pub(crate) fn binary(shell: &Shell, left: &str, operator: &str, right: &str) -> Result<bool, Halt> {
    let number = |text: &str| {
        text.trim().parse::<i64>().map_err(|_| Halt::usage(format!("{text:?} is no whole number")))
    };
    let modified = |path: &str| {
        let facts = shell.at(path, |files, path| files.facts(path, Links::Follow)).ok();
        facts.and_then(|facts| facts.modified)
    };
    Ok(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-eq" => number(left)? == number(right)?,
        "-ne" => number(left)? != number(right)?,
        "-lt" => number(left)? < number(right)?,
        "-le" => number(left)? <= number(right)?,
        "-gt" => number(left)? > number(right)?,
        "-ge" => number(left)? >= number(right)?,
        "-nt" => modified(left) > modified(right),
        "-ot" => modified(left) < modified(right),
        "-ef" => shell.absolute(left) == shell.absolute(right),
        operator => return Err(Halt::usage(format!("{operator}: is no test"))),
    })
}
