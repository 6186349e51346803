//! How output looks: tables, color and numbers for people, one JSON text for programs.
//!
//! Color only on a terminal, and never if `NO_COLOR` is set (no-color.org). Text that comes from a
//! guest is written with its control characters escaped, so that it cannot steer a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use foreshore_domain::outcome::Usage;

/// Colors text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    colored: bool,
}

impl Paint {
    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self { colored: std::io::stdout().is_terminal() && color_wanted() }
    }

    /// For standard error.
    pub(crate) fn stderr() -> Self {
        Self { colored: std::io::stderr().is_terminal() && color_wanted() }
    }

    /// For files and tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colored: false }
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn red(&self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub(crate) fn green(&self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub(crate) fn yellow(&self, text: &str) -> String {
        self.wrap("33", text)
    }

    pub(crate) fn cyan(&self, text: &str) -> String {
        self.wrap("36", text)
    }

    fn wrap(&self, code: &str, text: &str) -> String {
        if self.colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn color_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// Writes to standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{newline}").and_then(|()| out.flush());
}

/// Writes one JSON text in a line of its own.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    print(&serde_json::to_string(value).expect("invariant: these types serialize"));
}

/// Text of a guest, made safe for a terminal: lines and tabs stay, other control characters are
/// shown as escapes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, character| {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            let _ = write!(out, "{}", character.escape_default());
        } else {
            out.push(character);
        }
        out
    })
}

/// `fuel 1,234 · memory 2.1 MiB · 3.4 ms (host 0.1 ms)`.
pub(crate) fn usage(usage: &Usage) -> String {
    let mut text = format!(
        "fuel {} · memory {} · {} (host {})",
        grouped(usage.fuel),
        bytes(usage.peak_memory_bytes),
        duration_us(usage.wall_us),
        duration_us(usage.host_us),
    );
    if usage.egress_bytes > 0 {
        let _ = write!(text, " · sent {}", bytes(usage.egress_bytes));
    }
    text
}

/// The form of the HTTP API.
pub(crate) fn usage_json(usage: &Usage) -> serde_json::Value {
    serde_json::json!({
        "fuel": usage.fuel,
        "peak_memory_bytes": usage.peak_memory_bytes,
        "wall_us": usage.wall_us,
        "host_us": usage.host_us,
        "egress_bytes": usage.egress_bytes,
    })
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `2.1 MiB`; tenths are cut, not rounded.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(number) * 10;
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = next;
    }
    if unit == "B" {
        format!("{number} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// `840 us`, `3.4 ms`, `1.20 s`.
pub(crate) fn duration_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        _ => format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000),
    }
}

/// Rows under a header, columns as wide as their widest cell.
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell).replace('\n', " ")).collect());
    }

    pub(crate) fn render(&self, paint: &Paint) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max()
        };
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            let line = line.trim_end();
            text += &if index == 0 { paint.dim(line) } else { line.to_owned() };
            text.push('\n');
        }
        text
    }
}

/// A sign of life for work that takes over a second: shown on a terminal only, and only from the
/// second second on.
pub(crate) struct Waiting {
    bar: indicatif::ProgressBar,
}

impl Waiting {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let bar = indicatif::ProgressBar::with_draw_target(
            None,
            if std::io::stderr().is_terminal() {
                indicatif::ProgressDrawTarget::stderr()
            } else {
                indicatif::ProgressDrawTarget::hidden()
            },
        );
        let style = indicatif::ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        bar.set_style(style.expect("invariant: a fixed template"));
        bar.set_message(message.into());
        let starting = bar.clone();
        // A thread of its own: the work itself may keep every other one busy.
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(1));
            if !starting.is_finished() {
                starting.enable_steady_tick(std::time::Duration::from_millis(120));
            }
        });
        Self { bar }
    }

    /// Runs what writes to the terminal, without the spinner in its way.
    pub(crate) fn suspend(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(crate) fn say(&self, message: String) {
        self.bar.set_message(message);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_easily() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1_023, 1_024, 2_202_009, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "2.0 MiB", "16777215.9 TiB"]
        );
        assert_eq!([7, 3_456, 1_209_999].map(duration_us), ["7 us", "3.4 ms", "1.20 s"]);
    }

    #[test]
    fn a_guest_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n\tc\u{9b}"), "a\\u{1b}[2Jb\\r\n\tc\\u{9b}");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = TextTable::new(&["name", "size"]);
        table.row(["files".to_owned(), "1 B".to_owned()]);
        table.row(["a-long-name".to_owned(), "22 B".to_owned()]);
        assert_eq!(
            table.render(&Paint::plain()),
            "name         size\nfiles        1 B\na-long-name  22 B\n"
        );
    }
}
