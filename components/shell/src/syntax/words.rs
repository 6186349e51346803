//! Words: quotes, and what stands behind `$` and in backquotes.

use std::rc::Rc;

use super::parser::{Parsed, Parser};
use super::{End, Operation, Parameter, Part, Unless, Which, Word};

/// Where the parts of a word stand, which decides what ends them and what a quote is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    /// In double quotes.
    Quotes,
    /// In the body of a here-document.
    Document,
    /// In `$(( ))`.
    Arithmetic,
}

impl Parser<'_> {
    /// The next word; `None` where none begins.
    pub(super) fn word(&mut self) -> Parsed<Option<Word>> {
        let parts = self.parts(|c| " \t\r\n;&|<>()".contains(c))?;
        Ok((!parts.is_empty()).then_some(Word(parts)))
    }

    /// The right side of `=~`, where `(`, `)` and `|` are the expression's.
    pub(super) fn expression_word(&mut self) -> Parsed<Option<Word>> {
        let parts = self.parts(|c| " \t\r\n".contains(c))?;
        Ok((!parts.is_empty()).then_some(Word(parts)))
    }

    fn parts(&mut self, ends: impl Fn(char) -> bool + Copy) -> Parsed<Vec<Part>> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        while let Some(c) = self.peek() {
            if ends(c) {
                break;
            }
            if self.eat("\\\n") {
                continue;
            }
            let part = match c {
                '\'' => Part::Quoted(self.single_quoted()?),
                '"' => self.double_quoted()?,
                '\\' => {
                    self.at += 1;
                    match self.next() {
                        Some(quoted) => Part::Quoted(quoted.to_string()),
                        None => Part::Quoted("\\".to_owned()),
                    }
                }
                '$' if self.looking_at("$'") => Part::Quoted(self.ansi_quoted()?),
                '$' if self.looking_at("$\"") => {
                    self.at += 1;
                    continue;
                }
                '$' | '`' => match self.expansion(Around::Quotes, false)? {
                    Some(part) => part,
                    None => {
                        literal.push('$');
                        continue;
                    }
                },
                _ => {
                    self.at += c.len_utf8();
                    literal.push(c);
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(parts)
    }

    fn single_quoted(&mut self) -> Parsed<String> {
        let rest = &self.text[self.at + 1..];
        let Some(end) = rest.find('\'') else {
            return Err(self.error("a ' is not closed"));
        };
        self.at += end + 2;
        Ok(rest[..end].to_owned())
    }

    fn double_quoted(&mut self) -> Parsed<Part> {
        let start = self.at;
        self.at += 1;
        let parts = self.nested(|parser| parser.quoted_parts(Around::Quotes))?;
        if !self.eat("\"") {
            self.at = start;
            return Err(self.error("a \" is not closed"));
        }
        Ok(Part::Double(parts))
    }

    /// The body of a here-document, to its end.
    pub(super) fn here_document(&mut self) -> Parsed<Vec<Part>> {
        self.nested(|parser| parser.quoted_parts(Around::Document))
    }

    /// What follows `((`, up to and with the `))` that closes it.
    pub(super) fn arithmetic_parts(&mut self) -> Parsed<Vec<Part>> {
        let parts = self.nested(|parser| parser.quoted_parts(Around::Arithmetic))?;
        if !self.eat("))") {
            return Err(self.error("a (( is not closed by ))"));
        }
        Ok(parts)
    }

    fn quoted_parts(&mut self, around: Around) -> Parsed<Vec<Part>> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut parentheses = 0_usize;
        while let Some(c) = self.peek() {
            match c {
                '"' if around == Around::Quotes => break,
                ')' if around == Around::Arithmetic && parentheses == 0 => break,
                ')' if around == Around::Arithmetic => parentheses -= 1,
                '(' if around == Around::Arithmetic => parentheses += 1,
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => self.at += 1,
                        Some(escaped @ ('$' | '`' | '\\' | '"')) => {
                            if escaped == '"' && around == Around::Document {
                                literal.push('\\');
                            }
                            self.at += 1;
                            literal.push(escaped);
                        }
                        _ => literal.push('\\'),
                    }
                    continue;
                }
                '$' | '`' => {
                    let Some(part) = self.expansion(around, true)? else {
                        literal.push('$');
                        continue;
                    };
                    if !literal.is_empty() {
                        parts.push(Part::Quoted(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                    continue;
                }
                _ => {}
            }
            self.at += c.len_utf8();
            literal.push(c);
        }
        if !literal.is_empty() {
            parts.push(Part::Quoted(literal));
        }
        Ok(parts)
    }

    /// What begins with `$` or a backquote; `None` for a `$` that stands for itself and is passed.
    fn expansion(&mut self, around: Around, quoted: bool) -> Parsed<Option<Part>> {
        if self.eat("`") {
            return self.backquoted(quoted && around == Around::Quotes).map(Some);
        }
        self.at += 1;
        if self.eat("((") {
            let parts = self.arithmetic_parts()?;
            return Ok(Some(Part::Arithmetic(Rc::new(parts))));
        }
        if self.eat("(") {
            let script = self.nested(Self::script)?;
            if !self.eat(")") {
                return Err(match self.peek() {
                    None => self.error("a $( is not closed"),
                    Some(_) => self.unexpected(),
                });
            }
            return Ok(Some(Part::Command(Rc::new(script))));
        }
        if self.eat("{") {
            let parameter = self.nested(|parser| parser.braced(quoted))?;
            return Ok(Some(Part::Parameter(Rc::new(parameter))));
        }
        let name = match self.peek() {
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.at += 1;
                c.to_string()
            }
            _ => self.name(),
        };
        let value =
            |name| Part::Parameter(Rc::new(Parameter { name, operation: Operation::Value }));
        Ok((!name.is_empty()).then(|| value(name)))
    }

    fn backquoted(&mut self, quoted: bool) -> Parsed<Part> {
        let line = self.error("").line - 1;
        let mut inner = String::new();
        loop {
            match self.next() {
                None => return Err(self.error("a ` is not closed")),
                Some('`') => break,
                Some('\\') => match self.peek() {
                    Some(escaped @ ('$' | '`' | '\\')) => {
                        self.at += 1;
                        inner.push(escaped);
                    }
                    Some('"') if quoted => {}
                    _ => inner.push('\\'),
                },
                Some(c) => inner.push(c),
            }
        }
        self.nested(|parser| {
            let mut inner = Parser::new(&inner, parser.depth, line);
            let script = inner.script()?;
            Ok(Part::Command(Rc::new(inner.finish(script)?)))
        })
    }

    /// What follows `${`, up to and with the `}`.
    fn braced(&mut self, quoted: bool) -> Parsed<Parameter> {
        let counts = self.looking_at("#") && !self.looking_at("#}") && !self.looking_at("#:");
        if counts {
            self.at += 1;
        }
        let name = match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                let rest = &self.text[self.at..];
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                self.at += end;
                rest[..end].to_owned()
            }
            Some(c) if "@*#?$!-".contains(c) => {
                self.at += 1;
                c.to_string()
            }
            _ => self.name(),
        };
        if name.is_empty() {
            return Err(self.error("no name stands in ${ }"));
        }
        if self.looking_at("[") {
            return Err(self.error("there are no arrays: keep several values in lines of a text"));
        }
        let operation = match counts {
            true => Operation::Length,
            false => self.operation(quoted)?,
        };
        if !self.eat("}") {
            return Err(self.error("a ${ is not closed, or what stands in it is not known"));
        }
        Ok(Parameter { name, operation })
    }

    fn operation(&mut self, quoted: bool) -> Parsed<Operation> {
        let unless = |c| match c {
            '-' => Some(Unless::Default),
            '=' => Some(Unless::Assign),
            '?' => Some(Unless::Fail),
            '+' => Some(Unless::Alternative),
            _ => None,
        };
        let colon = self.looking_at(":");
        let mut next = self.text[self.at..].chars().skip(usize::from(colon));
        if let Some(kind) = next.next().and_then(unless) {
            self.at += 1 + usize::from(colon);
            let word = self.operand(quoted, "}")?;
            return Ok(Operation::Unless { kind, colon, word });
        }
        for (operator, end) in [('#', End::Prefix), ('%', End::Suffix)] {
            if self.peek() == Some(operator) {
                self.at += 1;
                let longest = self.eat(operator.encode_utf8(&mut [0; 4]));
                return Ok(Operation::Remove { end, longest, pattern: self.operand(false, "}")? });
            }
        }
        if self.eat("/") {
            let which = match () {
                () if self.eat("/") => Which::All,
                () if self.eat("#") => Which::At(End::Prefix),
                () if self.eat("%") => Which::At(End::Suffix),
                () => Which::First,
            };
            let pattern = self.operand(false, "/}")?;
            let with = if self.eat("/") { self.operand(false, "}")? } else { Word::default() };
            return Ok(Operation::Replace { which, pattern, with });
        }
        if self.eat(":") {
            let offset = self.operand(true, ":}")?.0;
            let length = if self.eat(":") { Some(self.operand(true, "}")?.0) } else { None };
            return Ok(Operation::Slice { offset, length });
        }
        for (operator, upper) in [("^", true), (",", false)] {
            if self.eat(operator) {
                return Ok(Operation::Case { upper, all: self.eat(operator) });
            }
        }
        Ok(Operation::Value)
    }

    /// The word behind an operator. In double quotes a single quote is a character like others.
    fn operand(&mut self, quoted: bool, ends: &'static str) -> Parsed<Word> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        while let Some(c) = self.peek().filter(|c| !ends.contains(*c)) {
            let part = match c {
                '\'' if !quoted => Part::Quoted(self.single_quoted()?),
                '"' => self.double_quoted()?,
                '\\' => {
                    self.at += 1;
                    match self.next() {
                        Some(c) if !quoted || "$`\"\\}".contains(c) => Part::Quoted(c.to_string()),
                        Some(c) => Part::Quoted(format!("\\{c}")),
                        None => return Err(self.error("a ${ is not closed")),
                    }
                }
                '$' | '`' => match self.expansion(Around::Quotes, quoted)? {
                    Some(part) => part,
                    None => {
                        literal.push('$');
                        continue;
                    }
                },
                _ => {
                    self.at += c.len_utf8();
                    literal.push(c);
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Word(parts))
    }

    /// `$'…'`, with the escapes of C.
    fn ansi_quoted(&mut self) -> Parsed<String> {
        self.at += 2;
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.char_indices().find(|(_, c)| {
            let ends = *c == '\'' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else {
            return Err(self.error("a $' is not closed"));
        };
        self.at += end + 1;
        let bytes = crate::escapes::unescape(&rest[..end], crate::escapes::Style::Quoted).bytes;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
