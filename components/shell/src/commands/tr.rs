//! `tr`.

use crate::commands::Invocation;
use crate::commands::arguments::Grammar;
use crate::halt::{Halt, Ran};
use crate::pattern::class;

/// The characters that classes and complements are about.
const CHARS_MAX: u32 = 0x250;

pub(super) fn translate(call: &mut Invocation<'_>) -> Ran {
    let long = &[("complement", 'c'), ("delete", 'd'), ("squeeze-repeats", 's')];
    let grammar = Grammar { letters: "cCdst", long, stops_at_operand: true };
    let arguments = grammar.parse(call.arguments)?;
    let (first, second) = match arguments.operands.as_slice() {
        [first] => (first, None),
        [first, second] => (first, Some(second)),
        _ => return Err(Halt::usage("needs one set or two")),
    };
    let complements = arguments.has('c') || arguments.has('C');
    let (deletes, squeezes) = (arguments.has('d'), arguments.has('s'));
    if second.is_none() && !deletes && !squeezes {
        return Err(Halt::usage("a second set is missing"));
    }
    let from = set(first)?;
    let mut to = second.map(|second| set(second)).transpose()?;
    if let Some(to) = &mut to
        && to.is_empty()
        && !deletes
    {
        return Err(Halt::usage("the second set is empty"));
    }
    let is_first = |c: char| from.contains(&c) != complements;
    // With a second set, what is squeezed is what comes out.
    let squeezed = |c: char| match (&to, squeezes) {
        (_, false) => false,
        (Some(to), true) => to.contains(&c),
        (None, true) => is_first(c),
    };
    let changed = |c: char| match &to {
        Some(to) if !deletes && is_first(c) => {
            let at = if complements { usize::MAX } else { index(&from, c) };
            to.get(at).or(to.last()).copied().unwrap_or(c)
        }
        _ => c,
    };
    let input = call.open("-")?;
    let mut last = None;
    while let Some(line) = input.line()? {
        // Bytes that are no text pass as they are.
        let mut out = Vec::with_capacity(line.len());
        for chunk in line.utf8_chunks() {
            for c in chunk.valid().chars() {
                if deletes && is_first(c) {
                    continue;
                }
                let c = changed(c);
                if squeezed(c) && last == Some(c) {
                    continue;
                }
                last = Some(c);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            out.extend_from_slice(chunk.invalid());
        }
        call.write(&out)?;
    }
    Ok(0)
}

/// Where a character stands in a set; the last place counts.
fn index(set: &[char], c: char) -> usize {
    set.iter().rposition(|own| *own == c).unwrap_or(usize::MAX)
}

/// The characters of a set, in order.
fn set(text: &str) -> Result<Vec<char>, Halt> {
    let chars: Vec<char> = text.chars().collect();
    let (mut set, mut at) = (Vec::new(), 0);
    while at < chars.len() {
        if chars[at..].starts_with(&['[', ':']) {
            let rest: String = chars[at + 2..].iter().take(12).collect();
            if let Some((name, _)) = rest.split_once(":]") {
                let class =
                    class(name).ok_or_else(|| Halt::usage(format!("no class is called {name}")))?;
                let members = (0..CHARS_MAX).filter_map(char::from_u32).filter(|c| class(*c));
                set.extend(members);
                at += name.chars().count() + 4;
                continue;
            }
        }
        let (first, length) = character(&chars[at..]);
        at += length;
        if chars.get(at) != Some(&'-') || at + 1 >= chars.len() {
            set.push(first);
            continue;
        }
        let (last, length) = character(&chars[at + 1..]);
        at += length + 1;
        if first > last {
            return Err(Halt::usage(format!("the range {first}-{last} runs backwards")));
        }
        if u32::from(last) - u32::from(first) > 0x1_0000 {
            return Err(Halt::usage(format!("the range {first}-{last} is too large")));
        }
        set.extend(first..=last);
    }
    Ok(set)
}

/// The character at the beginning, with its escape.
fn character(chars: &[char]) -> (char, usize) {
    let first = chars.first().copied().unwrap_or_default();
    let Some(escaped) = chars.get(1).copied().filter(|_| first == '\\') else { return (first, 1) };
    let octal: Vec<u32> = chars[1..].iter().take(3).map_while(|c| c.to_digit(8)).collect();
    if !octal.is_empty() {
        let value = octal.iter().fold(0, |value, digit| value * 8 + digit);
        return (char::from_u32(value).unwrap_or_default(), octal.len() + 1);
    }
    let c = match escaped {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        other => other,
    };
    (c, 2)
}
