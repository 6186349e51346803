//! From the text of a script to its commands.

use crate::commands::sed::{
    Action, Address, Branching, Command, Replacement, Script, Substitution,
};
use crate::escapes::{Style, unescape};
use crate::expression::{Options, Syntax, compile};
use crate::halt::Halt;

use regex::bytes::Regex;

struct Parser<'a> {
    chars: Vec<char>,
    at: usize,
    syntax: Syntax,
    text: &'a str,
}

pub(super) fn script(text: &str, syntax: Syntax) -> Result<Script, Halt> {
    let mut parser = Parser { chars: text.chars().collect(), at: 0, syntax, text };
    let (mut commands, mut labels, mut open) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        parser.skip(|c| c.is_whitespace() || c == ';');
        if parser.peek().is_none() {
            break;
        }
        if parser.peek() == Some('#') {
            parser.skip(|c| c != '\n');
            continue;
        }
        let command = parser.command()?;
        match &command.action {
            Action::Block { .. } => open.push(commands.len()),
            Action::End => {
                let start: usize = open.pop().ok_or_else(|| parser.error("a } has no {"))?;
                let end = commands.len();
                if let Some(Command { action: Action::Block { end: own }, .. }) =
                    commands.get_mut(start)
                {
                    *own = end;
                }
            }
            Action::Label => labels.push((parser.label(), commands.len())),
            _ => {}
        }
        commands.push(command);
    }
    if !open.is_empty() {
        return Err(parser.error("a { is not closed"));
    }
    let missing = commands.iter().find_map(|command| match &command.action {
        Action::Branch { to, .. } if !to.is_empty() => {
            (!labels.iter().any(|(name, _)| name == to)).then_some(to)
        }
        _ => None,
    });
    match missing {
        Some(label) => Err(parser.error(&format!("there is no label {label:?}"))),
        None => Ok(Script { commands, labels }),
    }
}

impl Parser<'_> {
    fn error(&self, message: &str) -> Halt {
        let shown: String = self.text.chars().take(60).collect();
        Halt::fail(format!("in {shown:?}, character {}: {message}", self.at))
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn skip(&mut self, passes: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&passes) {
            self.at += 1;
        }
    }

    fn blanks(&mut self) {
        self.skip(|c| c == ' ' || c == '\t');
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.at;
        self.skip(|c| c.is_ascii_digit());
        let digits: String = self.chars[start..self.at].iter().collect();
        digits.parse().ok()
    }

    fn command(&mut self) -> Result<Command, Halt> {
        let from = self.address()?;
        self.blanks();
        let mut to = None;
        if from.is_some() && self.eat(',') {
            self.blanks();
            to = match self.eat('+') {
                true => self.number().map(Address::Further),
                false => self.address()?,
            };
            if to.is_none() {
                return Err(self.error("an address is missing behind the comma"));
            }
        }
        self.blanks();
        let mut negated = false;
        while self.eat('!') {
            negated = true;
            self.blanks();
        }
        let letter = self.next().ok_or_else(|| self.error("a command is missing"))?;
        let action = self.action(letter)?;
        self.blanks();
        let is_text = matches!(letter, 'a' | 'i' | 'c' | ':' | '{' | '}' | 'b' | 't' | 'T');
        if !is_text && !matches!(self.peek(), None | Some(';' | '\n' | '}' | '#')) {
            return Err(self.error("something stands behind a command"));
        }
        Ok(Command { from, to, negated, action })
    }

    fn address(&mut self) -> Result<Option<Address>, Halt> {
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                let line = self.number().ok_or_else(|| self.error("a number is too large"))?;
                if self.eat('~') {
                    return Ok(Some(Address::Step(line, self.number().unwrap_or(0))));
                }
                Ok(Some(Address::Line(line)))
            }
            Some('$') => {
                self.at += 1;
                Ok(Some(Address::Last))
            }
            Some('/' | '\\') => {
                if self.eat('\\') && self.peek().is_none() {
                    return Err(self.error("an address is not closed"));
                }
                let pattern = self.delimited()?;
                let ignores_case = self.eat('I');
                Ok(Some(Address::Match(self.expression(&pattern, ignores_case, false)?)))
            }
            _ => Ok(None),
        }
    }

    fn expression(
        &self,
        pattern: &str,
        ignores_case: bool,
        many_lines: bool,
    ) -> Result<Option<Regex>, Halt> {
        if pattern.is_empty() {
            return Ok(None);
        }
        let options = Options { ignores_case, many_lines, ..Options::default() };
        compile(pattern, self.syntax, options).map(Some)
    }

    /// What stands between two of the same character; the second is passed.
    fn delimited(&mut self) -> Result<String, Halt> {
        let delimiter = self.next().ok_or_else(|| self.error("a delimiter is missing"))?;
        self.up_to(delimiter, true)
    }

    fn up_to(&mut self, delimiter: char, is_pattern: bool) -> Result<String, Halt> {
        let (mut text, mut in_set) = (String::new(), false);
        loop {
            match self.next() {
                None => return Err(self.error(&format!("a {delimiter:?} is missing"))),
                Some(c) if c == delimiter && !in_set => return Ok(text),
                Some('\\') => match self.next() {
                    Some(c) if c == delimiter && is_pattern => text.push(c),
                    Some(c) if c == delimiter => text.extend(['\\', c]),
                    Some(c) => text.extend(['\\', c]),
                    None => text.push('\\'),
                },
                Some(c) => {
                    if is_pattern && c == '[' && !in_set {
                        in_set = true;
                        text.push(c);
                        // A ] at the beginning is a member.
                        if self.eat('^') {
                            text.push('^');
                        }
                        if self.eat(']') {
                            text.push(']');
                        }
                        continue;
                    }
                    let closes_class = c == ']' && text.ends_with(':');
                    in_set &= c != ']' || closes_class;
                    text.push(c);
                }
            }
        }
    }

    fn action(&mut self, letter: char) -> Result<Action, Halt> {
        Ok(match letter {
            '{' => Action::Block { end: 0 },
            '}' => Action::End,
            ':' => Action::Label,
            'b' => Action::Branch { to: self.label(), when: Branching::Always },
            't' => Action::Branch { to: self.label(), when: Branching::Substituted },
            'T' => Action::Branch { to: self.label(), when: Branching::NotSubstituted },
            's' => Action::Substitute(self.substitution()?),
            'y' => self.translation()?,
            'a' => Action::Append(self.text()?),
            'i' => Action::Insert(self.text()?),
            'c' => Action::Change(self.text()?),
            'd' => Action::Delete,
            'D' => Action::DeleteFirstLine,
            'p' => Action::Print,
            'P' => Action::PrintFirstLine,
            '=' => Action::LineNumber,
            'n' => Action::Next,
            'N' => Action::AppendNext,
            'q' | 'Q' => {
                self.blanks();
                let status = self.number().and_then(|status| i32::try_from(status).ok());
                Action::Quit { status: status.unwrap_or(0) & 0xff, prints: letter == 'q' }
            }
            'h' | 'H' => Action::Hold { appends: letter == 'H' },
            'g' | 'G' => Action::Get { appends: letter == 'G' },
            'x' => Action::Exchange,
            'r' | 'w' | 'e' => {
                return Err(self.error(&format!("the command {letter} is not here: use cat or >")));
            }
            other => return Err(self.error(&format!("{other:?} is no command"))),
        })
    }

    fn label(&mut self) -> String {
        self.blanks();
        let start = self.at;
        self.skip(|c| !c.is_whitespace() && c != ';' && c != '}');
        self.chars[start..self.at].iter().collect()
    }

    /// The text of `a`, `i` and `c`, to the end of the line.
    fn text(&mut self) -> Result<String, Halt> {
        self.blanks();
        if self.eat('\\') {
            self.blanks();
            self.eat('\n');
        }
        let mut text = String::new();
        loop {
            match self.next() {
                None | Some('\n') => break,
                Some('\\') => match self.next() {
                    Some('t') => text.push('\t'),
                    Some(c) => text.push(c),
                    None => break,
                },
                Some(c) => text.push(c),
            }
        }
        text.push('\n');
        Ok(text)
    }

    fn substitution(&mut self) -> Result<Substitution, Halt> {
        let delimiter = self.next().ok_or_else(|| self.error("a delimiter is missing"))?;
        if delimiter == '\n' || delimiter == '\\' {
            return Err(self.error("this cannot be a delimiter"));
        }
        let pattern = self.up_to(delimiter, true)?;
        let replacement = self.up_to(delimiter, false)?;
        let (mut occurrence, mut all, mut prints) = (1, false, false);
        let (mut ignores_case, mut many_lines) = (false, false);
        loop {
            match self.peek() {
                Some('g') => all = true,
                Some('p') => prints = true,
                Some('i' | 'I') => ignores_case = true,
                Some('m' | 'M') => many_lines = true,
                Some(c) if c.is_ascii_digit() => {
                    let number = self.number().filter(|number| *number > 0);
                    occurrence = number.ok_or_else(|| self.error("no match has this number"))?;
                    continue;
                }
                Some('w' | 'e') => return Err(self.error("s///w and s///e are not here")),
                _ => break,
            }
            self.at += 1;
        }
        let expression = self.expression(&pattern, ignores_case, many_lines)?;
        let replacement = replacements(&replacement, delimiter);
        let groups = expression.as_ref().map_or(10, Regex::captures_len);
        for part in &replacement {
            if let Replacement::Group(group) = part
                && *group >= groups
            {
                return Err(self.error(&format!("there is no group \\{group}")));
            }
        }
        Ok(Substitution { expression, replacement, occurrence, all, prints })
    }

    fn translation(&mut self) -> Result<Action, Halt> {
        let delimiter = self.next().ok_or_else(|| self.error("a delimiter is missing"))?;
        let set = |parser: &mut Self| -> Result<Vec<char>, Halt> {
            let text = parser.up_to(delimiter, true)?;
            let bytes = unescape(&text, Style::Quoted).bytes;
            Ok(String::from_utf8_lossy(&bytes).chars().collect())
        };
        let (from, to) = (set(self)?, set(self)?);
        if from.len() != to.len() {
            return Err(self.error("the two sets of y differ in length"));
        }
        Ok(Action::Translate(from, to))
    }
}

fn replacements(text: &str, delimiter: char) -> Vec<Replacement> {
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let part = match c {
            '&' => Replacement::Group(0),
            '\\' => match chars.next() {
                Some(digit @ '0'..='9') => {
                    let group = digit.to_digit(10).and_then(|group| usize::try_from(group).ok());
                    Replacement::Group(group.unwrap_or(0))
                }
                Some(case @ ('U' | 'L' | 'u' | 'l' | 'E')) => Replacement::Case(case),
                Some('n') if delimiter != 'n' => {
                    literal.push('\n');
                    continue;
                }
                Some('t') => {
                    literal.push('\t');
                    continue;
                }
                Some(other) => {
                    literal.push(other);
                    continue;
                }
                None => {
                    literal.push('\\');
                    continue;
                }
            },
            c => {
                literal.push(c);
                continue;
            }
        };
        if !literal.is_empty() {
            parts.push(Replacement::Text(std::mem::take(&mut literal)));
        }
        parts.push(part);
    }
    if !literal.is_empty() {
        parts.push(Replacement::Text(literal));
    }
    parts
}
