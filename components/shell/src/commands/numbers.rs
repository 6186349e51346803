//! `seq`, `yes`, `sleep` and `expr`.

use std::time::Duration;

use crate::commands::Invocation;
use crate::commands::arguments::Grammar;
use crate::expression::{Options, Syntax, compile};
use crate::halt::{Halt, Ran};

/// How long a script may sleep in all: a call has a deadline.
const SLEEP_MAX: Duration = Duration::from_secs(2);

/// How often `yes` says so: what reads it cannot end it, for stages run one after the other.
const YES_LINES: usize = 1_000;

/// How many numbers `seq` writes.
const SEQ_MAX: f64 = 1_000_000.0;

pub(super) fn seq(call: &mut Invocation<'_>) -> Ran {
    // A negative number is no option.
    let is_number = |word: &String| word.parse::<f64>().is_ok();
    let at = call.arguments.iter().position(is_number).unwrap_or(call.arguments.len());
    let at = match call.arguments[..at].last() {
        Some(option) if option == "-s" || option == "-f" => (at + 1).min(call.arguments.len()),
        _ => at,
    };
    let (options, numbers) = call.arguments.split_at(at);
    let long = &[("separator", 's'), ("equal-width", 'w')];
    let options = Grammar { letters: "s:w", long, stops_at_operand: true }.parse(options)?;
    let parse = |text: &String| {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| Halt::usage(format!("{text:?} is no number")))
    };
    if let Some(word) = options.operands.first() {
        return Err(Halt::usage(format!("{word:?} is no number")));
    }
    let (first, step, last) = match numbers {
        [last] => (1.0, 1.0, parse(last)?),
        [first, last] => (parse(first)?, 1.0, parse(last)?),
        [first, step, last] => (parse(first)?, parse(step)?, parse(last)?),
        _ => return Err(Halt::usage("needs one to three numbers")),
    };
    if step == 0.0 {
        return Err(Halt::usage("the step is 0"));
    }
    let decimals = |text: &String| text.split_once('.').map_or(0, |(_, places)| places.len());
    let shown = &numbers[..numbers.len().min(2)];
    let places = shown.iter().take(numbers.len() - 1).map(decimals).max().unwrap_or(0).min(20);
    // A little over the last one forgives what binary fractions lack.
    let count = ((last - first) / step + 1e-9).floor() + 1.0;
    if count > SEQ_MAX {
        return Err(Halt::fail(format!("more than {SEQ_MAX} numbers")));
    }
    let separator = options.value('s').unwrap_or("\n");
    let width = match options.has('w') {
        true => [first, last].iter().map(|n| format!("{n:.places$}").len()).max().unwrap_or(0),
        false => 0,
    };
    let (mut text, mut index) = (String::new(), 0.0);
    while index < count {
        if index > 0.0 {
            text.push_str(separator);
        }
        text.push_str(&format!("{:0width$.places$}", first + step * index));
        call.bounded(text.len())?;
        index += 1.0;
    }
    if count >= 1.0 {
        text.push('\n');
    }
    call.write(text.as_bytes())?;
    Ok(0)
}

pub(super) fn yes(call: &mut Invocation<'_>) -> Ran {
    let text = if call.arguments.is_empty() { "y".to_owned() } else { call.arguments.join(" ") };
    for _ in 0..YES_LINES {
        call.line(&text)?;
    }
    Ok(0)
}

pub(super) fn sleep(call: &mut Invocation<'_>) -> Ran {
    let mut time = Duration::ZERO;
    for text in call.arguments {
        let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
        let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let wrong = || Halt::usage(format!("{text:?} is no number of seconds"));
        time = time.saturating_add(seconds.ok_or_else(wrong)?);
    }
    let slept = call.shell.slept.saturating_add(time);
    if slept > SLEEP_MAX {
        let most = SLEEP_MAX.as_secs();
        return Err(Halt::fail(format!("a call sleeps at most {most} s in all")));
    }
    call.shell.slept = slept;
    std::thread::sleep(time);
    Ok(0)
}

pub(super) fn expr(call: &mut Invocation<'_>) -> Ran {
    let value = match call.arguments {
        [only] => only.clone(),
        [word, text] if word == "length" => text.chars().count().to_string(),
        [left, operator, right] if operator == ":" || operator == "match" => matched(left, right)?,
        [left, operator, right] => operated(call, left, operator, right)?,
        _ => {
            return Err(Halt::usage("takes A OPERATOR B; for more write $(( ))"));
        }
    };
    call.line(&value)?;
    Ok(i32::from(value.is_empty() || value == "0"))
}

fn matched(text: &str, pattern: &str) -> Result<String, Halt> {
    let expression = compile(&format!("^{pattern}"), Syntax::Basic, Options::default())?;
    let Some(captures) = expression.captures(text.as_bytes()) else {
        return Ok(if expression.captures_len() > 1 { String::new() } else { "0".to_owned() });
    };
    let shown = |group| captures.get(group).map(|found| String::from_utf8_lossy(found.as_bytes()));
    Ok(match shown(1) {
        Some(group) => group.into_owned(),
        None => shown(0).map_or(0, |found| found.chars().count()).to_string(),
    })
}

fn operated(
    call: &mut Invocation<'_>,
    left: &str,
    operator: &str,
    right: &str,
) -> Result<String, Halt> {
    let numbers = left.parse::<i64>().ok().zip(right.parse::<i64>().ok());
    let ordering = match numbers {
        Some((left, right)) => left.cmp(&right),
        None => left.cmp(right),
    };
    let holds = |holds: bool| i64::from(holds).to_string();
    Ok(match operator {
        "=" | "==" => holds(ordering.is_eq()),
        "!=" => holds(ordering.is_ne()),
        "<" => holds(ordering.is_lt()),
        "<=" => holds(ordering.is_le()),
        ">" => holds(ordering.is_gt()),
        ">=" => holds(ordering.is_ge()),
        "+" | "-" | "*" | "/" | "%" => match numbers {
            Some((left, right)) => {
                call.shell.arithmetic(&format!("({left}) {operator} ({right})"))?.to_string()
            }
            None => return Err(Halt::usage("these are no whole numbers")),
        },
        operator => return Err(Halt::usage(format!("{operator:?} is no operator"))),
    })
}
