//! `cut`, `expand` and `fold`: where in a line something stands.

use crate::commands::Invocation;
use crate::commands::arguments::{Arguments, number};
use crate::halt::{Halt, Ran};

/// `2-4`: positions from 1, both ends included.
type Range = (usize, usize);

fn ranges(list: &str) -> Result<Vec<Range>, Halt> {
    let wrong = || Halt::usage(format!("{list:?} is no list: write 1,3-5,7-"));
    let position = |text: &str| number(text).ok().filter(|at| *at > 0).ok_or_else(wrong);
    list.split(',')
        .map(|item| match item.split_once('-') {
            None => position(item).map(|at| (at, at)),
            Some(("", "")) => Err(wrong()),
            Some(("", last)) => Ok((1, position(last)?)),
            Some((first, "")) => Ok((position(first)?, usize::MAX)),
            Some((first, last)) => {
                let (first, last) = (position(first)?, position(last)?);
                if first <= last { Ok((first, last)) } else { Err(wrong()) }
            }
        })
        .collect()
}

pub(super) fn cut(call: &mut Invocation<'_>) -> Ran {
    let long = &[
        ("delimiter", 'd'),
        ("fields", 'f'),
        ("characters", 'c'),
        ("bytes", 'b'),
        ("only-delimited", 's'),
        ("complement", '\u{e000}'),
        ("output-delimiter", '\u{e001}'),
    ];
    let arguments = Arguments::parse(call.arguments, "d:f:c:b:sn\u{e000}\u{e001}:", long)?;
    let by = ['f', 'c', 'b'].into_iter().find_map(|own| Some((own, arguments.value(own)?)));
    let Some((by, list)) = by else {
        return Err(Halt::usage("say what: -f LIST, -c LIST or -b LIST"));
    };
    let ranges = ranges(list)?;
    let complements = arguments.has('\u{e000}');
    let chosen = |position: usize| {
        let is_in = |(first, last): &Range| (*first..=*last).contains(&position);
        ranges.iter().any(is_in) != complements
    };
    let delimiter = arguments.value('d').unwrap_or("\t");
    if delimiter.chars().count() != 1 {
        return Err(Halt::usage(format!("the delimiter {delimiter:?} is not one character")));
    }
    let joiner = arguments.value('\u{e001}');
    call.each_input(&arguments.operands, |call, _, input| {
        while let Some(mut line) = input.line()? {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if by == 'b' {
                let bytes = (1..).zip(&line).filter(|(at, _)| chosen(*at)).map(|(_, byte)| *byte);
                let mut bytes: Vec<u8> = bytes.collect();
                bytes.push(b'\n');
                call.write(&bytes)?;
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            if by == 'c' {
                let chars = (1..).zip(text.chars()).filter(|(at, _)| chosen(*at));
                let kept: String = chars.map(|(_, c)| c).collect();
                call.line(&kept)?;
                continue;
            }
            if !text.contains(delimiter) {
                if !arguments.has('s') {
                    call.line(&text)?;
                }
                continue;
            }
            let fields = (1..).zip(text.split(delimiter)).filter(|(at, _)| chosen(*at));
            let kept: Vec<&str> = fields.map(|(_, field)| field).collect();
            call.line(&kept.join(joiner.unwrap_or(delimiter)))?;
        }
        Ok(())
    })
}

pub(super) fn expand(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "t:", &[("tabs", 't')])?;
    let width = arguments.number('t')?.unwrap_or(8).clamp(1, 1_000);
    call.each_input(&arguments.operands, |call, _, input| {
        while let Some(line) = input.line()? {
            let (mut column, mut shown) = (0, String::new());
            for c in String::from_utf8_lossy(&line).chars() {
                let count = if c == '\t' { width - column % width } else { 1 };
                column += count;
                call.bounded(shown.len())?;
                match c {
                    '\t' => shown.extend(std::iter::repeat_n(' ', count)),
                    c => shown.push(c),
                }
            }
            call.write(shown.as_bytes())?;
        }
        Ok(())
    })
}

pub(super) fn fold(call: &mut Invocation<'_>) -> Ran {
    let arguments = Arguments::parse(call.arguments, "w:sb", &[("width", 'w'), ("spaces", 's')])?;
    let width = arguments.number('w')?.unwrap_or(80).max(1);
    call.each_input(&arguments.operands, |call, _, input| {
        while let Some(line) = input.line()? {
            let text = String::from_utf8_lossy(&line);
            let ends = text.ends_with('\n');
            let chars: Vec<char> = text.trim_end_matches('\n').chars().collect();
            let mut rest = chars.as_slice();
            while rest.len() > width {
                let blank = rest[..width].iter().rposition(|c| *c == ' ').map(|at| at + 1);
                let at = blank.filter(|_| arguments.has('s')).unwrap_or(width);
                call.line(&rest[..at].iter().collect::<String>())?;
                rest = &rest[at..];
            }
            let last: String = rest.iter().chain(ends.then_some(&'\n')).collect();
            call.write(last.as_bytes())?;
        }
        Ok(())
    })
}
