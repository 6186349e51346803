//! `[[ … ]]`: tests that split no words, compare with patterns and expressions.

use super::Condition;
use super::parser::{Parsed, Parser};

const BINARY: &[&str] = &[
    "==", "=~", "!=", "=", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef", "<", ">",
];

impl Parser<'_> {
    /// What follows `[[`, up to and with `]]`.
    pub(super) fn condition(&mut self) -> Parsed<Condition> {
        let condition = self.nested(Self::condition_or)?;
        self.newlines()?;
        if !self.eat_word("]]") {
            return Err(self.error("a [[ is not closed by ]]"));
        }
        Ok(condition)
    }

    fn condition_or(&mut self) -> Parsed<Condition> {
        let mut any = vec![self.condition_and()?];
        loop {
            self.newlines()?;
            if !self.eat("||") {
                return Ok(Condition::Any(any));
            }
            any.push(self.condition_and()?);
        }
    }

    fn condition_and(&mut self) -> Parsed<Condition> {
        let mut all = vec![self.condition_primary()?];
        loop {
            self.newlines()?;
            if !self.eat("&&") {
                return Ok(Condition::All(all));
            }
            all.push(self.condition_primary()?);
        }
    }

    fn condition_primary(&mut self) -> Parsed<Condition> {
        self.newlines()?;
        if self.eat_word("!") {
            let inner = self.nested(Self::condition_primary)?;
            return Ok(Condition::Not(Box::new(inner)));
        }
        if self.eat("(") {
            let inner = self.nested(Self::condition_or)?;
            self.newlines()?;
            if !self.eat(")") {
                return Err(self.unexpected());
            }
            return Ok(inner);
        }
        if self.at_word("]]") {
            return Err(self.error("nothing stands in [[ ]]"));
        }
        let left = self.word()?.ok_or_else(|| self.unexpected())?;
        self.newlines()?;
        let is_unary = |text: &str| {
            text.strip_prefix('-').is_some_and(|rest| {
                rest.len() == 1 && rest.starts_with(|c: char| c.is_ascii_alphabetic())
            })
        };
        if let Some(operator) = left.literal().filter(|text| is_unary(text))
            && !self.at_word("]]")
            && !self.looking_at("&&")
            && !self.looking_at("||")
            && !self.looking_at(")")
        {
            let operand = self.word()?.ok_or_else(|| self.unexpected())?;
            return Ok(Condition::Unary(operator.to_owned(), operand));
        }
        let Some(operator) = BINARY.iter().find(|operator| self.at_word(operator)) else {
            return Ok(Condition::Word(left));
        };
        self.at += operator.len();
        self.blanks();
        let right = match *operator {
            "=~" => self.expression_word()?,
            _ => self.word()?,
        };
        let right = right.ok_or_else(|| self.unexpected())?;
        Ok(Condition::Binary(left, (*operator).to_owned(), right))
    }
}
