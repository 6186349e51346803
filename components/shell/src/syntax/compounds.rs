//! Commands that contain commands: `if`, `for`, `while`, `case`, `( )`, `{ }`, `(( ))` and `[[ ]]`.

use super::parser::{Parsed, Parser};
use super::{Compound, Script, braces};

impl Parser<'_> {
    pub(super) fn compound(&mut self) -> Parsed<Option<Compound>> {
        let compound = if self.eat("((") {
            Compound::Arithmetic(self.arithmetic_parts()?)
        } else if self.eat("(") {
            let script = self.commands()?;
            if !self.eat(")") {
                return Err(self.unexpected());
            }
            Compound::Subshell(script)
        } else if self.eat_word("{") {
            let script = self.commands()?;
            self.expect_word("}")?;
            Compound::Group(script)
        } else if self.eat_word("if") {
            self.conditional()?
        } else if self.eat_word("for") {
            self.for_loop()?
        } else if self.at_word("while") || self.at_word("until") {
            let ends_on = self.eat_word("until");
            if !ends_on {
                self.eat_word("while");
            }
            let condition = self.commands()?;
            let body = self.loop_body()?;
            Compound::Loop { condition, body, ends_on }
        } else if self.eat_word("case") {
            self.case()?
        } else if self.eat_word("[[") {
            Compound::Condition(self.condition()?)
        } else {
            return Ok(None);
        };
        Ok(Some(compound))
    }

    fn conditional(&mut self) -> Parsed<Compound> {
        let mut branches = Vec::new();
        loop {
            let condition = self.commands()?;
            self.expect_word("then")?;
            branches.push((condition, self.commands()?));
            if self.eat_word("elif") {
                continue;
            }
            let otherwise = if self.eat_word("else") { Some(self.commands()?) } else { None };
            self.expect_word("fi")?;
            return Ok(Compound::If { branches, otherwise });
        }
    }

    fn for_loop(&mut self) -> Parsed<Compound> {
        self.blanks();
        let name = self.name();
        if name.is_empty() {
            return Err(self.error("a name is missing after \"for\""));
        }
        self.newlines()?;
        let words = if self.eat_word("in") {
            let mut words = Vec::new();
            loop {
                self.blanks();
                match self.word()? {
                    Some(word) => words.extend(braces::expand(word)),
                    None => break Some(words),
                }
            }
        } else {
            None
        };
        self.blanks();
        self.eat(";");
        let body = self.loop_body()?;
        Ok(Compound::For { name, words, body })
    }

    fn loop_body(&mut self) -> Parsed<Script> {
        self.expect_word("do")?;
        let body = self.commands()?;
        self.expect_word("done")?;
        Ok(body)
    }

    fn case(&mut self) -> Parsed<Compound> {
        self.blanks();
        let subject = self.word()?.ok_or_else(|| self.unexpected())?;
        self.expect_word("in")?;
        let mut arms = Vec::new();
        loop {
            self.newlines()?;
            if self.eat_word("esac") {
                return Ok(Compound::Case { subject, arms });
            }
            self.eat("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?.ok_or_else(|| self.unexpected())?);
                self.blanks();
                if !self.eat("|") {
                    break;
                }
            }
            if !self.eat(")") {
                return Err(self.unexpected());
            }
            arms.push((patterns, self.nested(Self::script)?));
            self.newlines()?;
            if !self.eat(";;") && !self.at_word("esac") {
                return Err(self.unexpected());
            }
        }
    }
}
