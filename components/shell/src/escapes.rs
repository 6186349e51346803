//! Backslash escapes of `echo -e`, `printf` and `$'…'`.

/// Which escapes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Octal is `\0nnn`, and `\c` ends all output: `echo -e` and `%b`.
    Echo,
    /// Octal is `\nnn`: the format of `printf`, and `$'…'`, where `\'` is a quote.
    Quoted,
}

pub(crate) struct Unescaped {
    pub(crate) bytes: Vec<u8>,
    /// `\c` was met.
    pub(crate) ends_output: bool,
}

/// The text with its escapes carried out.
pub(crate) fn unescape(text: &str, style: Style) -> Unescaped {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            bytes.push(b'\\');
            break;
        };
        let mut length = c.len_utf8();
        match c {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'e' | 'E' => bytes.push(27),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' => bytes.push(b'\\'),
            '\'' | '"' if style == Style::Quoted => {
                bytes.extend_from_slice(c.to_string().as_bytes())
            }
            'c' if style == Style::Echo => return Unescaped { bytes, ends_output: true },
            'x' | 'u' => {
                let most = if c == 'x' { 2 } else { 4 };
                let (value, digits) = number(&rest[1..], 16, most);
                length += digits;
                match (u8::try_from(value), char::from_u32(value)) {
                    _ if digits == 0 => bytes.extend_from_slice(format!("\\{c}").as_bytes()),
                    (Ok(byte), _) if c == 'x' => bytes.push(byte),
                    (_, Some(c)) => bytes.extend_from_slice(c.to_string().as_bytes()),
                    _ => {}
                }
            }
            '0'..='7' => {
                let skipped = usize::from(c == '0' && style == Style::Echo);
                let (value, digits) = number(&rest[skipped..], 8, 3);
                length = skipped + digits;
                bytes.push(u8::try_from(value & 0xff).unwrap_or_default());
            }
            c => bytes.extend_from_slice(format!("\\{c}").as_bytes()),
        }
        rest = &rest[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Unescaped { bytes, ends_output: false }
}

fn number(text: &str, radix: u32, most: usize) -> (u32, usize) {
    let digits = text.chars().take(most).map_while(|c| c.to_digit(radix));
    digits.fold((0, 0), |(value, count), digit| (value * radix + digit, count + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_carried_out() {
        for (text, style, expected) in [
            (r"a\tb\n", Style::Echo, "a\tb\n"),
            (r"\0101\x41\u00e9", Style::Echo, "AAé"),
            (r"\101\'", Style::Quoted, "A'"),
            (r"\q\", Style::Quoted, r"\q\"),
            (r"a\cb", Style::Echo, "a"),
            (r"\xzz", Style::Echo, r"\xzz"),
        ] {
            assert_eq!(unescape(text, style).bytes, expected.as_bytes(), "{text}");
        }
    }
}
