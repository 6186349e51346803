//! Numbered pieces of text, and finding them in whatever they are wrapped in.

const MARK: &[u8] = b"tick-";
const END: u8 = b'.';

/// The text of a piece.
pub(super) fn tick(number: usize) -> String {
    format!("tick-{number}. ")
}

/// Finds the numbers of pieces, however the bytes are cut.
#[derive(Default)]
pub(super) struct Ticks {
    /// What could be the beginning of one.
    held: Vec<u8>,
}

impl Ticks {
    /// The numbers that are whole now.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<usize> {
        self.held.extend_from_slice(bytes);
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(mark) = position(&self.held[at..]) {
            let digits = at + mark + MARK.len();
            let rest = &self.held[digits..];
            let Some(end) = rest.iter().position(|byte| !byte.is_ascii_digit()) else {
                self.held.drain(..at + mark);
                return found;
            };
            if rest[end] == END
                && let Ok(text) = std::str::from_utf8(&rest[..end])
                && let Ok(number) = text.parse()
            {
                found.push(number);
            }
            at = digits + end;
        }
        let keep = self.held.len().saturating_sub(MARK.len() - 1).max(at);
        self.held.drain(..keep);
        found
    }
}

fn position(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|window| window == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_found_however_they_are_cut() {
        let text = format!("data: {}\n{} tick-x. {}", tick(7), tick(12), tick(300));
        for cut in 1..=text.len() {
            let mut ticks = Ticks::default();
            let found: Vec<usize> =
                text.as_bytes().chunks(cut).flat_map(|part| ticks.read(part)).collect();
            assert_eq!(found, [7, 12, 300], "in parts of {cut} bytes");
        }
    }
}
