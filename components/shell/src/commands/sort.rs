//! `sort`.

use std::cmp::Ordering;

use crate::commands::Invocation;
use crate::commands::arguments::Arguments;
use crate::files::Writing;
use crate::halt::{Halt, Ran};

/// How lines, or their keys, are compared.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    numeric: bool,
    human: bool,
    version: bool,
    folds_case: bool,
    skips_blanks: bool,
    reversed: bool,
}

/// `-k 2,3n`: fields and characters count from 1; 0 is the end of a field.
#[derive(Clone, Copy, Debug)]
struct Key {
    from: (usize, usize),
    to: Option<(usize, usize)>,
    /// `None` where the key has no letters of its own and takes the command's.
    order: Option<Order>,
}

pub(super) fn sort(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("numeric-sort", 'n'),
        ("reverse", 'r'),
        ("unique", 'u'),
        ("ignore-case", 'f'),
        ("key", 'k'),
        ("field-separator", 't'),
        ("output", 'o'),
        ("human-numeric-sort", 'h'),
        ("version-sort", 'V'),
        ("stable", 's'),
        ("check", 'c'),
    ];
    let arguments = Arguments::parse(call.arguments, "nrufbhVgsck:t:o:", long)?;
    let mut order = Order::default();
    "nrfbhVg".chars().filter(|letter| arguments.has(*letter)).for_each(|letter| order.add(letter));
    let keys = arguments.values('k').map(key).collect::<Result<Vec<_>, _>>()?;
    let separator = match arguments.value('t') {
        Some("\\t") => Some(b'\t'),
        Some(text) if text.len() == 1 => text.bytes().next(),
        None => None,
        Some(text) => return Err(Halt::usage(format!("{text:?} is no single byte"))),
    };
    let (mut all, mut status) = (Vec::new(), 0);
    status = status.max(call.each_input(&arguments.operands, |call, _, input| {
        let bytes = input.rest()?;
        all.extend_from_slice(&bytes);
        if all.last().is_some_and(|last| *last != b'\n') {
            all.push(b'\n');
        }
        call.bounded(all.len())
    })?);
    let mut lines: Vec<&[u8]> = all.split(|byte| *byte == b'\n').collect();
    // What follows the last line's end is no line.
    lines.pop();
    let by_keys = |left: &&[u8], right: &&[u8]| compare(left, right, &keys, order, separator);
    let is_plain = keys.is_empty() && !order.is_special();
    let by_all = |left: &&[u8], right: &&[u8]| {
        let last_resort = || match () {
            () if arguments.has('s') || arguments.has('u') || is_plain => Ordering::Equal,
            () if order.reversed => right.cmp(left),
            () => left.cmp(right),
        };
        by_keys(left, right).then_with(last_resort)
    };
    if arguments.has('c') {
        let disorder = lines.windows(2).find(|pair| by_all(&pair[0], &pair[1]).is_gt());
        return match disorder {
            Some(pair) => {
                Err(Halt::fail(format!("disorder: {}", String::from_utf8_lossy(pair[1]))))
            }
            None => Ok(status),
        };
    }
    lines.sort_by(by_all);
    if arguments.has('u') {
        lines.dedup_by(|right, left| by_keys(left, right).is_eq());
    }
    let mut sorted = Vec::with_capacity(all.len());
    for line in lines {
        sorted.extend_from_slice(line);
        sorted.push(b'\n');
    }
    match arguments.value('o') {
        Some(path) => {
            let output = call.shell.create(path, Writing::Replace)?;
            output.write(&sorted)?;
            output.flush()?;
        }
        None => call.write(&sorted)?,
    }
    Ok(status)
}

impl Order {
    fn add(&mut self, letter: char) {
        match letter {
            'n' | 'g' => self.numeric = true,
            'h' => self.human = true,
            'V' => self.version = true,
            'f' => self.folds_case = true,
            'b' => self.skips_blanks = true,
            'r' => self.reversed = true,
            _ => {}
        }
    }

    fn is_special(self) -> bool {
        self.numeric || self.human || self.version || self.folds_case || self.skips_blanks
    }

    fn compare(self, left: &[u8], right: &[u8]) -> Ordering {
        let trim = |text| if self.skips_blanks { trimmed(text) } else { text };
        let (left, right) = (trim(left), trim(right));
        let ordering = if self.numeric {
            number(left).total_cmp(&number(right))
        } else if self.human {
            human(left).total_cmp(&human(right))
        } else if self.version {
            version(left, right)
        } else if self.folds_case {
            let upper = |byte: &u8| byte.to_ascii_uppercase();
            left.iter().map(upper).cmp(right.iter().map(upper))
        } else {
            left.cmp(right)
        };
        if self.reversed { ordering.reverse() } else { ordering }
    }
}

fn key(text: &str) -> Result<Key, Halt> {
    let wrong = || Halt::usage(format!("{text:?} is no key: write -k FIELD[.CHARACTER][,FIELD]"));
    let mut order = Order::default();
    let mut has_letters = false;
    let mut position = |text: &str| {
        let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        for letter in text[end..].chars() {
            if !"nrfbhVg".contains(letter) {
                return Err(wrong());
            }
            order.add(letter);
            has_letters = true;
        }
        let (field, character) = match text[..end].split_once('.') {
            Some((field, character)) => (field, character.parse().map_err(|_| wrong())?),
            None => (&text[..end], 0),
        };
        Ok((field.parse().ok().filter(|field| *field > 0).ok_or_else(wrong)?, character))
    };
    let (from, to) = match text.split_once(',') {
        Some((from, to)) => (position(from)?, Some(position(to)?)),
        None => (position(text)?, None),
    };
    Ok(Key { from, to, order: has_letters.then_some(order) })
}

fn compare(
    left: &[u8],
    right: &[u8],
    keys: &[Key],
    order: Order,
    separator: Option<u8>,
) -> Ordering {
    if keys.is_empty() {
        return order.compare(left, right);
    }
    for key in keys {
        let own = key.order.unwrap_or(order);
        let ordering = own.compare(part(left, key, separator), part(right, key, separator));
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}

/// The part of a line that a key names.
fn part<'a>(line: &'a [u8], key: &Key, separator: Option<u8>) -> &'a [u8] {
    let fields = fields(line, separator);
    let (field, character) = key.from;
    let start = match fields.get(field - 1) {
        Some((start, end)) => (start + character.saturating_sub(1)).min(*end),
        None => line.len(),
    };
    let end = match key.to {
        None => line.len(),
        Some((field, character)) => match fields.get(field - 1) {
            Some((_, end)) if character == 0 => *end,
            Some((start, end)) => (start + character).min(*end),
            None => line.len(),
        },
    };
    line.get(start..end).unwrap_or_default()
}

/// Where fields begin and end. Without a separator a field has the blanks before it.
fn fields(line: &[u8], separator: Option<u8>) -> Vec<(usize, usize)> {
    let (mut fields, mut start) = (Vec::new(), 0);
    match separator {
        Some(separator) => {
            for (at, byte) in line.iter().enumerate() {
                if *byte == separator {
                    fields.push((start, at));
                    start = at + 1;
                }
            }
        }
        None => {
            let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
            for at in 1..line.len() {
                if is_blank(&line[at]) && !is_blank(&line[at - 1]) {
                    fields.push((start, at));
                    start = at;
                }
            }
        }
    }
    fields.push((start, line.len()));
    fields
}

fn trimmed(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

/// The number at the beginning; what is none counts as 0.
fn number(text: &[u8]) -> f64 {
    let text = trimmed(text);
    let mut has_point = false;
    let is_part = |(at, byte): &(usize, &u8)| match byte {
        b'.' => !std::mem::replace(&mut has_point, true),
        b'-' => *at == 0,
        byte => byte.is_ascii_digit(),
    };
    let length = text.iter().enumerate().take_while(is_part).count();
    let digits = std::str::from_utf8(&text[..length]).unwrap_or_default();
    // Zero has one sign.
    digits.parse().unwrap_or(0.0) + 0.0
}

fn human(text: &[u8]) -> f64 {
    let unit = text.iter().find(|byte| byte.is_ascii_alphabetic());
    let power = match unit.map(u8::to_ascii_uppercase) {
        Some(b'K') => 1,
        Some(b'M') => 2,
        Some(b'G') => 3,
        Some(b'T') => 4,
        _ => 0,
    };
    number(text) * 1024_f64.powi(power)
}

/// Runs of digits as numbers, the rest as text.
fn version(mut left: &[u8], mut right: &[u8]) -> Ordering {
    loop {
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (own, other) = (digits(left), digits(right));
        if own > 0 && other > 0 {
            let value = |text: &[u8]| {
                let zeros = text.iter().take_while(|byte| **byte == b'0').count();
                (text.len() - zeros, text[zeros..].to_vec())
            };
            let ordering = value(&left[..own]).cmp(&value(&right[..other]));
            if ordering.is_ne() {
                return ordering;
            }
            (left, right) = (&left[own..], &right[other..]);
            continue;
        }
        match (left.split_first(), right.split_first()) {
            (Some((own, left_rest)), Some((other, right_rest))) => {
                if own != other {
                    return own.cmp(other);
                }
                (left, right) = (left_rest, right_rest);
            }
            (left, right) => return left.is_some().cmp(&right.is_some()),
        }
    }
}
