//! `$(( ))`: whole numbers of 64 bits, which wrap, with the operators of C.
//!
//! By precedence climbing over the text; nesting is bounded, so no expression can use up the
//! stack. A name is its variable's value, and 0 where there is none.

use crate::halt::Halt;
use crate::syntax::is_name;

use super::Shell;

const DEPTH_MAX: usize = 32;

/// Binary operators with how tightly they bind; longer ones before those they begin with.
const OPERATORS: &[(&str, u8)] = &[
    ("||", 1),
    ("&&", 2),
    ("==", 6),
    ("!=", 6),
    ("<<", 8),
    (">>", 8),
    ("<=", 7),
    (">=", 7),
    ("**", 11),
    ("|", 3),
    ("^", 4),
    ("&", 5),
    ("<", 7),
    (">", 7),
    ("+", 9),
    ("-", 9),
    ("*", 10),
    ("/", 10),
    ("%", 10),
];

const ASSIGNMENTS: &[&str] = &["<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "&=", "^=", "|=", "="];

struct Evaluation<'a> {
    shell: &'a mut Shell,
    text: &'a str,
    at: usize,
    depth: usize,
    /// What is passed over by `&&`, `||` and `?:` assigns nothing and divides by anything.
    skipped: usize,
}

impl Shell {
    /// The value of an expression; an empty one is 0.
    pub(crate) fn arithmetic(&mut self, text: &str) -> Result<i64, Halt> {
        let text = text.replace('"', "");
        let mut evaluation = Evaluation { shell: self, text: &text, at: 0, depth: 0, skipped: 0 };
        evaluation.blanks();
        if evaluation.at == text.len() {
            return Ok(0);
        }
        let mut value = evaluation.assignment()?;
        while evaluation.eat(",") {
            value = evaluation.assignment()?;
        }
        if evaluation.at < text.len() {
            return Err(evaluation.error());
        }
        Ok(value)
    }
}

impl Evaluation<'_> {
    fn error(&self) -> Halt {
        let rest: String = self.text[self.at..].chars().take(20).collect();
        let shown: String = self.text.chars().take(60).collect();
        Halt::fail(match rest.as_str() {
            "" => format!("$(({shown})): the expression ends too early"),
            rest => format!("$(({shown})): unexpected {rest:?}"),
        })
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, operator: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(operator);
        if found {
            self.at += operator.len();
            self.blanks();
        }
        found
    }

    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T, Halt>) -> Result<T, Halt> {
        if self.depth >= DEPTH_MAX {
            return Err(Halt::fail(format!("an expression nests more than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let name = rest[..length].to_owned();
        is_name(&name).then(|| {
            self.at += length;
            self.blanks();
            name
        })
    }

    fn assignment(&mut self) -> Result<i64, Halt> {
        self.blanks();
        let start = self.at;
        if let Some(name) = self.name() {
            let rest = self.rest();
            let is_comparison = rest.starts_with("==");
            let operator = ASSIGNMENTS.iter().find(|operator| rest.starts_with(**operator));
            if let Some(operator) = operator.filter(|_| !is_comparison) {
                self.at += operator.len();
                let right = self.deeper(Self::assignment)?;
                let value = match operator.strip_suffix('=') {
                    Some("") | None => right,
                    Some(binary) => {
                        let left = self.variable(&name)?;
                        self.apply(binary, left, right)?
                    }
                };
                self.assign(&name, value)?;
                return Ok(value);
            }
            self.at = start;
        }
        self.choice()
    }

    fn choice(&mut self) -> Result<i64, Halt> {
        let condition = self.binary(1)?;
        if !self.eat("?") {
            return Ok(condition);
        }
        let first = self.deeper(|this| this.skipping(condition == 0, Self::assignment))?;
        if !self.eat(":") {
            return Err(self.error());
        }
        let second = self.deeper(|this| this.skipping(condition != 0, Self::assignment))?;
        Ok(if condition == 0 { second } else { first })
    }

    fn skipping(
        &mut self,
        skips: bool,
        run: impl FnOnce(&mut Self) -> Result<i64, Halt>,
    ) -> Result<i64, Halt> {
        self.skipped += usize::from(skips);
        let result = run(self);
        self.skipped -= usize::from(skips);
        result
    }

    fn operator(&mut self) -> Option<(&'static str, u8)> {
        self.blanks();
        let rest = self.rest();
        let found = OPERATORS.iter().find(|(operator, _)| rest.starts_with(operator))?;
        // `a += 1` where `a` was no name.
        let is_assignment = rest[found.0.len()..].starts_with('=') && found.1 > 2;
        (!is_assignment || found.1 == 6 || found.1 == 7).then_some(*found)
    }

    fn binary(&mut self, least: u8) -> Result<i64, Halt> {
        let mut left = self.unary()?;
        loop {
            let Some((operator, binding)) = self.operator().filter(|(_, own)| *own >= least) else {
                return Ok(left);
            };
            self.at += operator.len();
            // `**` alone binds to the right.
            let next = if operator == "**" { binding } else { binding + 1 };
            let skips = match operator {
                "&&" => left == 0,
                "||" => left != 0,
                _ => false,
            };
            let right = self.deeper(|this| this.skipping(skips, |this| this.binary(next)))?;
            left = self.apply(operator, left, right)?;
        }
    }

    fn apply(&self, operator: &str, left: i64, right: i64) -> Result<i64, Halt> {
        let shift = || u32::try_from(right.rem_euclid(64)).unwrap_or_default();
        Ok(match operator {
            "||" => i64::from(left != 0 || right != 0),
            "&&" => i64::from(left != 0 && right != 0),
            "|" => left | right,
            "^" => left ^ right,
            "&" => left & right,
            "==" => i64::from(left == right),
            "!=" => i64::from(left != right),
            "<" => i64::from(left < right),
            ">" => i64::from(left > right),
            "<=" => i64::from(left <= right),
            ">=" => i64::from(left >= right),
            "<<" => left.wrapping_shl(shift()),
            ">>" => left.wrapping_shr(shift()),
            "+" => left.wrapping_add(right),
            "-" => left.wrapping_sub(right),
            "*" => left.wrapping_mul(right),
            "**" => match u32::try_from(right) {
                Ok(power) => left.wrapping_pow(power),
                Err(_) => return Err(Halt::fail("an exponent is negative or too large")),
            },
            "/" | "%" if right == 0 && self.skipped == 0 => {
                return Err(Halt::fail(format!("$(({})): division by zero", self.text)));
            }
            "/" => left.checked_div(right).unwrap_or(i64::MIN),
            "%" => left.checked_rem(right).unwrap_or(0),
            _ => return Err(self.error()),
        })
    }

    fn unary(&mut self) -> Result<i64, Halt> {
        self.blanks();
        for (operator, change) in [("++", 1), ("--", -1)] {
            if self.rest().starts_with(operator) {
                let start = self.at;
                self.eat(operator);
                let Some(name) = self.name() else {
                    // Two signs before a number.
                    self.at = start + 1;
                    let value = self.deeper(Self::unary)?;
                    return Ok(if change == 1 { value } else { value.wrapping_neg() });
                };
                let value = self.variable(&name)?.wrapping_add(change);
                self.assign(&name, value)?;
                return Ok(value);
            }
        }
        for operator in ["!", "~", "-", "+"] {
            if self.eat(operator) {
                let value = self.deeper(Self::unary)?;
                return Ok(match operator {
                    "!" => i64::from(value == 0),
                    "~" => !value,
                    "-" => value.wrapping_neg(),
                    _ => value,
                });
            }
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<i64, Halt> {
        if self.eat("(") {
            let value = self.deeper(Self::assignment)?;
            return if self.eat(")") { Ok(value) } else { Err(self.error()) };
        }
        if let Some(name) = self.name() {
            let value = self.variable(&name)?;
            for (operator, change) in [("++", 1), ("--", -1)] {
                if self.eat(operator) {
                    self.assign(&name, value.wrapping_add(change))?;
                }
            }
            return Ok(value);
        }
        let rest = self.rest();
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let value = number(&rest[..length]).ok_or_else(|| self.error())?;
        self.at += length;
        self.blanks();
        Ok(value)
    }

    fn variable(&self, name: &str) -> Result<i64, Halt> {
        let value = self.shell.variable(name).unwrap_or_default().trim();
        if value.is_empty() {
            return Ok(0);
        }
        let (negative, digits) = match value.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, value),
        };
        match number(digits) {
            Some(number) => Ok(if negative { number.wrapping_neg() } else { number }),
            None if self.skipped > 0 => Ok(0),
            None => {
                let shown: String = value.chars().take(40).collect();
                Err(Halt::fail(format!("{name}: {shown:?} is no whole number")))
            }
        }
    }

    fn assign(&mut self, name: &str, value: i64) -> Result<(), Halt> {
        if self.skipped > 0 { Ok(()) } else { self.shell.set(name, value.to_string()) }
    }
}

fn number(text: &str) -> Option<i64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    i64::from_str_radix(digits, radix).ok().filter(|value| *value >= 0)
}
