//! `[[ ]]`, whose words are neither split nor matched against names.

use regex::bytes::Regex;

use crate::commands::test;
use crate::expression;
use crate::halt::Halt;
use crate::pattern::Pattern;
use crate::syntax::Condition;

use super::Shell;

impl Shell {
    pub(super) fn holds(&mut self, condition: &Condition) -> Result<bool, Halt> {
        match condition {
            Condition::Word(word) => Ok(!self.text(word)?.is_empty()),
            Condition::Not(inner) => Ok(!self.holds(inner)?),
            Condition::All(all) => {
                for inner in all {
                    if !self.holds(inner)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Condition::Any(any) => {
                for inner in any {
                    if self.holds(inner)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Condition::Unary(operator, word) => {
                let operand = self.text(word)?;
                test::unary(self, operator, &operand)
            }
            Condition::Binary(left, operator, right) => {
                let left = self.text(left)?;
                match operator.as_str() {
                    "=" | "==" | "!=" => {
                        let pattern = Pattern::new(&self.pattern(right)?);
                        Ok(pattern.matches(&left) == (operator != "!="))
                    }
                    "=~" => {
                        let pattern = self.text(right)?;
                        Ok(expression_of(&pattern)?.is_match(left.as_bytes()))
                    }
                    operator => {
                        let right = self.text(right)?;
                        test::binary(self, &left, operator, &right)
                    }
                }
            }
        }
    }
}

fn expression_of(pattern: &str) -> Result<Regex, Halt> {
    expression::compile(pattern, expression::Syntax::Extended, expression::Options::default())
}
