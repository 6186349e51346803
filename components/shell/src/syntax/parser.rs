//! From text to commands, by recursive descent without a separate scanner: what a character means
//! depends on where it stands, and the place in the grammar knows.
//!
//! The invariant: any text gives a script or an error with its line, and never more than
//! `DEPTH_MAX` levels of nesting, so that neither this nor what walks the script runs out of stack.

use std::rc::Rc;

use super::redirects::PendingHere;
use super::{AndOr, Assignment, Command, Connector, Pipeline, Script, Simple, braces};

/// How deep a script may nest: groups, substitutions, quotes in expansions.
const DEPTH_MAX: usize = 40;

/// A script that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in line {line}: {message}")]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

pub(super) type Parsed<T> = Result<T, SyntaxError>;

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: usize,
    /// The line of the script where this text begins, less one.
    pub(super) line: usize,
    pub(super) here: Vec<PendingHere>,
}

/// Words that end a list of commands.
const CLOSERS: &[&str] = &["then", "elif", "else", "fi", "do", "done", "esac", "}"];

/// Reads a script.
///
/// # Errors
/// Where it does not follow the grammar, or nests too deeply.
pub(crate) fn parse(text: &str) -> Parsed<Script> {
    let mut parser = Parser::new(text, 0, 0);
    let script = parser.script()?;
    parser.finish(script)
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, depth: usize, line: usize) -> Self {
        Self { text, at: 0, depth, line, here: Vec::new() }
    }

    pub(super) fn finish(&mut self, script: Script) -> Parsed<Script> {
        if self.at < self.text.len() {
            return Err(self.unexpected());
        }
        match self.here.first() {
            Some(here) => {
                Err(self.error(format!("the here-document has no line {:?} at its end", here.end)))
            }
            None => Ok(script),
        }
    }

    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        let lines = self.text.bytes().take(self.at).filter(|byte| *byte == b'\n').count();
        SyntaxError { line: self.line + lines + 1, message: message.into() }
    }

    pub(super) fn unexpected(&self) -> SyntaxError {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
        match rest.chars().next() {
            None => self.error("the script ends too early"),
            Some('\n') => self.error("unexpected end of the line"),
            Some('&') => self
                .error("unexpected \"&\": there are no background jobs; end a command with \";\""),
            Some(c) if end == 0 || "();|<>".contains(c) => self.error(format!("unexpected {c:?}")),
            Some(_) => {
                let word: String = rest[..end].chars().take(40).collect();
                self.error(format!("unexpected {word:?}"))
            }
        }
    }

    /// Runs a part of the parser one level deeper.
    pub(super) fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH_MAX {
            return Err(self.error(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    pub(super) fn looking_at(&self, text: &str) -> bool {
        self.text[self.at..].starts_with(text)
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = self.looking_at(text);
        if found {
            self.at += text.len();
        }
        found
    }

    /// Passes blanks, continued lines and a comment.
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\\') if self.looking_at("\\\n") => self.at += 2,
                Some('#') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// Passes blanks and ends of lines; reads the here-documents that the lines named.
    pub(super) fn newlines(&mut self) -> Parsed<()> {
        loop {
            self.blanks();
            if !self.eat("\n") {
                return Ok(());
            }
            self.read_here_documents()?;
        }
    }

    /// A word of the grammar stands here, and nothing that would make it a longer word.
    pub(super) fn at_word(&self, word: &str) -> bool {
        let after = || self.text[self.at + word.len()..].chars().next();
        self.looking_at(word) && after().is_none_or(|c| " \t\r\n;&|()<>".contains(c))
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        if found {
            self.at += word.len();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        self.newlines()?;
        if self.eat_word(word) {
            return Ok(());
        }
        let found = self.unexpected().message;
        Err(self.error(format!("{found}; {word:?} is missing")))
    }

    /// Commands up to the end, a closing word, `)` or `;;`.
    pub(super) fn script(&mut self) -> Parsed<Script> {
        let mut items = Vec::new();
        loop {
            self.newlines()?;
            let closes = |word: &&str| self.at_word(word);
            if matches!(self.peek(), None | Some(')'))
                || self.looking_at(";;")
                || CLOSERS.iter().any(closes)
            {
                return Ok(Script(items));
            }
            items.push(self.and_or()?);
            self.blanks();
            let ends_here = matches!(self.peek(), None | Some('\n' | ')')) || self.looking_at(";;");
            if !ends_here && !self.eat(";") {
                return Err(self.unexpected());
            }
        }
    }

    /// As `script`, and not empty.
    pub(super) fn commands(&mut self) -> Parsed<Script> {
        let script = self.nested(Self::script)?;
        if script.0.is_empty() {
            let found = self.unexpected().message;
            return Err(self.error(format!("{found}; a command is missing")));
        }
        Ok(script)
    }

    fn and_or(&mut self) -> Parsed<AndOr> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blanks();
            let connector = match () {
                () if self.eat("&&") => Connector::And,
                () if self.eat("||") => Connector::Or,
                () => return Ok(AndOr { first, rest }),
            };
            self.newlines()?;
            rest.push((connector, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Parsed<Pipeline> {
        let mut negated = false;
        self.blanks();
        while self.eat_word("!") {
            negated = !negated;
            self.blanks();
        }
        let mut commands = vec![self.command()?];
        loop {
            self.blanks();
            if self.looking_at("||") || !self.eat("|") {
                return Ok(Pipeline { negated, commands });
            }
            if self.looking_at("&") {
                return Err(self.error("\"|&\" is not known: write \"2>&1 |\""));
            }
            self.newlines()?;
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let Some(compound) = self.compound()? else {
            return self.simple_or_function();
        };
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(Command::Compound(compound, redirects)),
            }
        }
    }

    fn simple_or_function(&mut self) -> Parsed<Command> {
        if CLOSERS.iter().any(|word| self.at_word(word)) {
            return Err(self.unexpected());
        }
        let start = self.at;
        let has_keyword = self.eat_word("function");
        self.blanks();
        let name = self.name();
        self.blanks();
        if !name.is_empty() && (self.looking_at("()") || self.looking_at("( )") || has_keyword) {
            if self.eat("(") {
                self.blanks();
                self.eat(")");
            }
            self.newlines()?;
            let body = Rc::new(self.nested(Self::command)?);
            return match &*body {
                Command::Compound(..) => Ok(Command::Function { name, body }),
                _ => Err(self.error(format!("the body of {name}() is written in {{ }}"))),
            };
        }
        self.at = start;
        self.simple()
    }

    fn simple(&mut self) -> Parsed<Command> {
        let mut simple = Simple::default();
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                simple.redirects.push(redirect);
                continue;
            }
            if simple.words.is_empty()
                && let Some(assignment) = self.assignment()?
            {
                simple.assignments.push(assignment);
                continue;
            }
            match self.word()? {
                Some(word) => simple.words.extend(braces::expand(word)),
                None => break,
            }
        }
        if simple.words.is_empty() && simple.assignments.is_empty() && simple.redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command::Simple(simple))
    }

    fn assignment(&mut self) -> Parsed<Option<Assignment>> {
        let start = self.at;
        let name = self.name();
        let appends = !name.is_empty() && self.eat("+=");
        if name.is_empty() || !(appends || self.eat("=")) {
            self.at = start;
            return Ok(None);
        }
        if self.looking_at("(") {
            return Err(self.error("there are no arrays: keep several values in lines of a text"));
        }
        let value = self.word()?.unwrap_or_default();
        Ok(Some(Assignment { name, appends, value }))
    }

    /// A name, or nothing.
    pub(super) fn name(&mut self) -> String {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = &rest[..length];
        if !is_name(name) {
            return String::new();
        }
        self.at += length;
        name.to_owned()
    }
}

/// Whether a variable or a function can have the name.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
