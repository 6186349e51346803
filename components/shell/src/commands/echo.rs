//! `echo`.

use crate::commands::Invocation;
use crate::escapes::{Style, unescape};
use crate::halt::Ran;

pub(super) fn echo(call: &mut Invocation<'_>) -> Ran {
    let is_option = |argument: &&String| {
        argument.strip_prefix('-').is_some_and(|letters| {
            !letters.is_empty() && letters.chars().all(|c| "neE".contains(c))
        })
    };
    let options = call.arguments.iter().take_while(is_option).count();
    let (mut ends_line, mut escapes) = (true, false);
    for letter in call.arguments[..options].iter().flat_map(|option| option.chars()) {
        match letter {
            'n' => ends_line = false,
            'e' => escapes = true,
            'E' => escapes = false,
            _ => {}
        }
    }
    let text = call.arguments[options..].join(" ");
    let mut bytes = text.into_bytes();
    if escapes {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let unescaped = unescape(&text, Style::Echo);
        bytes = unescaped.bytes;
        ends_line &= !unescaped.ends_output;
    }
    if ends_line {
        bytes.push(b'\n');
    }
    call.write(&bytes)?;
    Ok(0)
}
