//! `printf`.

use crate::commands::Invocation;
use crate::escapes::{Style, unescape};
use crate::halt::{Halt, Ran};

/// The widest field; a wider one would only fill memory.
const WIDTH_MAX: usize = 10_000;

/// `%-08.3f`: how a value is shown.
#[derive(Clone, Debug, Default)]
struct Conversion {
    flags: String,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

/// A part of a format.
enum Piece {
    Text(String),
    Conversion { conversion: Conversion, star: bool },
}

pub(super) fn printf(call: &mut Invocation<'_>) -> Ran {
    let arguments = match call.arguments.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => call.arguments,
    };
    let Some((format, values)) = arguments.split_first() else {
        return Err(Halt::usage("a format is missing"));
    };
    let pieces = pieces(format)?;
    let takes_values = pieces.iter().any(|piece| matches!(piece, Piece::Conversion { .. }));
    let mut values = values.iter();
    let mut status = 0;
    loop {
        for piece in &pieces {
            let (conversion, star) = match piece {
                Piece::Text(text) => {
                    let unescaped = unescape(text, Style::Quoted);
                    call.write(&unescaped.bytes)?;
                    continue;
                }
                Piece::Conversion { conversion, star } => (conversion, *star),
            };
            let mut conversion = conversion.clone();
            if star {
                let width = values.next().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
                if width < 0 {
                    conversion.flags.push('-');
                }
                let width = usize::try_from(width.unsigned_abs()).unwrap_or(WIDTH_MAX);
                conversion.width = width.min(WIDTH_MAX);
            }
            let value = values.next();
            match shown(&conversion, value.map(String::as_str)) {
                Ok(Shown { bytes, ends_output }) => {
                    call.write(&bytes)?;
                    if ends_output {
                        return Ok(status);
                    }
                }
                Err((bytes, message)) => {
                    call.write(&bytes)?;
                    call.complain(&message)?;
                    status = 1;
                }
            }
        }
        if !takes_values || values.as_slice().is_empty() {
            return Ok(status);
        }
    }
}

fn pieces(format: &str) -> Result<Vec<Piece>, Halt> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        if at > 0 {
            pieces.push(Piece::Text(rest[..at].to_owned()));
        }
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            pieces.push(Piece::Text("%".to_owned()));
            rest = after;
            continue;
        }
        let mut taken = |accepted: fn(char) -> bool| {
            let end = rest.find(|c| !accepted(c)).unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            rest = after;
            part
        };
        let flags = taken(|c| "-+ 0#".contains(c)).to_owned();
        let star = !taken(|c| c == '*').is_empty();
        let width = taken(|c| c.is_ascii_digit()).parse().unwrap_or(0).min(WIDTH_MAX);
        let precision = match taken(|c| c == '.') {
            "" => None,
            _ => Some(taken(|c| c.is_ascii_digit()).parse().unwrap_or(0).min(WIDTH_MAX)),
        };
        taken(|c| "lhqjzt".contains(c));
        let letter = rest.chars().next().unwrap_or(' ');
        if !"diouxXcsbqeEfFgG".contains(letter) {
            return Err(Halt::fail(format!("%{letter}: is no conversion")));
        }
        rest = &rest[letter.len_utf8()..];
        let conversion = Conversion { flags, width, precision, letter };
        pieces.push(Piece::Conversion { conversion, star });
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

struct Shown {
    bytes: Vec<u8>,
    ends_output: bool,
}

/// The value as its conversion shows it; where it is no number, what is shown all the same and a
/// message.
fn shown(conversion: &Conversion, value: Option<&str>) -> Result<Shown, (Vec<u8>, String)> {
    let text = value.unwrap_or_default();
    let mut ends_output = false;
    let mut message = None;
    let bytes = match conversion.letter {
        's' | 'c' | 'q' => {
            let limit = if conversion.letter == 'c' { Some(1) } else { conversion.precision };
            let taken: String = text.chars().take(limit.unwrap_or(usize::MAX)).collect();
            padded(conversion, taken.into_bytes(), false)
        }
        'b' => {
            let unescaped = unescape(text, Style::Echo);
            ends_output = unescaped.ends_output;
            padded(conversion, unescaped.bytes, false)
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = float(text).unwrap_or_else(|number| {
                message = Some(format!("{text:?} is no number"));
                number
            });
            padded(conversion, floating(conversion, number).into_bytes(), true)
        }
        _ => {
            let number = integer(text).unwrap_or_else(|number| {
                message = Some(format!("{text:?} is no whole number"));
                number
            });
            whole(conversion, number)
        }
    };
    match message {
        None => Ok(Shown { bytes, ends_output }),
        Some(message) => Err((bytes, message)),
    }
}

/// A whole number; the one at the beginning where something follows.
fn integer(text: &str) -> Result<i64, i64> {
    let text = text.trim_start();
    if text.is_empty() {
        return Ok(0);
    }
    if let Some(quoted) = text.strip_prefix(['\'', '"']) {
        return Ok(quoted.chars().next().map_or(0, |c| i64::from(u32::from(c))));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let value = i64::from_str_radix(&digits[..length], radix).unwrap_or(0);
    let value = if negative { value.wrapping_neg() } else { value };
    if length == digits.len() && length > 0 { Ok(value) } else { Err(value) }
}

fn float(text: &str) -> Result<f64, f64> {
    let text = text.trim();
    if text.is_empty() { Ok(0.0) } else { text.parse().map_err(|_| 0.0) }
}

fn whole(conversion: &Conversion, number: i64) -> Vec<u8> {
    let digits = match conversion.letter {
        'd' | 'i' => number.unsigned_abs().to_string(),
        'u' => number.cast_unsigned().to_string(),
        'o' => format!("{number:o}"),
        'x' => format!("{number:x}"),
        _ => format!("{number:X}"),
    };
    let least = conversion.precision.unwrap_or(0);
    let mut text = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    if conversion.flags.contains('#') && number != 0 {
        match conversion.letter {
            'x' => text.insert_str(0, "0x"),
            'X' => text.insert_str(0, "0X"),
            'o' => text.insert(0, '0'),
            _ => {}
        }
    }
    if matches!(conversion.letter, 'd' | 'i') {
        text.insert_str(0, sign(conversion, number < 0));
    }
    padded(conversion, text.into_bytes(), conversion.precision.is_none())
}

fn sign(conversion: &Conversion, is_negative: bool) -> &'static str {
    match () {
        () if is_negative => "-",
        () if conversion.flags.contains('+') => "+",
        () if conversion.flags.contains(' ') => " ",
        () => "",
    }
}

fn floating(conversion: &Conversion, number: f64) -> String {
    let precision = conversion.precision.unwrap_or(6).min(300);
    let magnitude = number.abs();
    let text = match conversion.letter.to_ascii_lowercase() {
        'f' => format!("{magnitude:.precision$}"),
        'e' => exponential(magnitude, precision),
        _ => general(magnitude, precision.max(1)),
    };
    let text = match conversion.letter.is_ascii_uppercase() {
        true => text.to_uppercase(),
        false => text,
    };
    format!("{}{text}", sign(conversion, number.is_sign_negative()))
}

/// Rust writes `1e2`, C writes `1e+02`.
fn exponential(magnitude: f64, precision: usize) -> String {
    let text = format!("{magnitude:.precision$e}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        None => text,
    }
}

/// `%g`: the shorter of the two, without zeros at its end.
fn general(magnitude: f64, precision: usize) -> String {
    let short = exponential(magnitude, precision - 1);
    let exponent = short.split_once('e').and_then(|(_, exponent)| exponent.parse::<i64>().ok());
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let places = i64::try_from(precision).unwrap_or(i64::MAX);
    match exponent {
        Some(exponent) if exponent >= -4 && exponent < places => {
            let decimals = usize::try_from(places - 1 - exponent).unwrap_or_default();
            trimmed(&format!("{magnitude:.decimals$}"))
        }
        Some(_) => match short.split_once('e') {
            Some((digits, exponent)) => format!("{}e{exponent}", trimmed(digits)),
            None => short,
        },
        None => short,
    }
}

fn padded(conversion: &Conversion, text: Vec<u8>, is_number: bool) -> Vec<u8> {
    let length = String::from_utf8_lossy(&text).chars().count();
    let missing = conversion.width.saturating_sub(length);
    if conversion.flags.contains('-') {
        return [text, vec![b' '; missing]].concat();
    }
    if is_number && conversion.flags.contains('0') {
        let signs = usize::from(text.first().is_some_and(|byte| b"-+ ".contains(byte)));
        return [&text[..signs], &vec![b'0'; missing], &text[signs..]].concat();
    }
    [vec![b' '; missing], text].concat()
}
