//! The text of one block while it is written: emphasis, links and code within a line.
//!
//! A span that is open when its block ends is closed there and opened again in the next, as a
//! browser shows it. The invariant: markers never stand next to white space inside of them,
//! where Markdown would take them for text.

/// Beyond this, spans are not marked: their texts are.
const SPANS_MAX: usize = 24;

/// What surrounds a part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Strong,
    Emphasis,
    Struck,
    Code,
    /// The absolute address.
    Link(String),
}

#[derive(Debug)]
struct Open {
    span: Span,
    /// Where in the text it starts.
    start: usize,
}

/// The line being written.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    open: Vec<Open>,
}

impl Line {
    pub(super) fn length(&self) -> usize {
        self.text.len()
    }

    pub(super) fn open(&mut self, span: Span) {
        if self.open.len() < SPANS_MAX {
            self.open.push(Open { span, start: self.text.len() });
        }
    }

    /// Closes the innermost span of this kind, and what is open inside of it.
    pub(super) fn close(&mut self, is_it: impl Fn(&Span) -> bool) {
        let Some(index) = self.open.iter().rposition(|open| is_it(&open.span)) else { return };
        while self.open.len() > index {
            if let Some(open) = self.open.pop() {
                surround(&mut self.text, &open);
            }
        }
    }

    /// Adds text of the page: white space is collapsed, and what Markdown would read is escaped.
    pub(super) fn push_text(&mut self, text: &str) {
        let in_code = self.open.iter().any(|open| open.span == Span::Code);
        let mut before = None;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if is_space(character) {
                self.push_space();
                before = Some(' ');
                continue;
            }
            let between_words =
                before.or(self.text.chars().next_back()).is_some_and(char::is_alphanumeric)
                    && characters.peek().copied().is_some_and(char::is_alphanumeric);
            if !in_code && is_special(character, between_words) {
                self.text.push('\\');
            }
            self.text.push(character);
            before = Some(character);
        }
    }

    /// Adds what is Markdown already.
    pub(super) fn push_markdown(&mut self, markdown: &str) {
        self.text.push_str(markdown);
    }

    pub(super) fn push_space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
    }

    pub(super) fn push_break(&mut self) {
        self.text.truncate(self.text.trim_end_matches(' ').len());
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// Takes the text, with its spans closed; they stay open for what follows.
    pub(super) fn take(&mut self) -> String {
        for open in self.open.iter().rev() {
            surround(&mut self.text, open);
        }
        for open in &mut self.open {
            open.start = 0;
        }
        let text = std::mem::take(&mut self.text);
        text.trim_matches([' ', '\n']).to_owned()
    }

    /// Forgets the spans that are open: a new part of the page begins.
    pub(super) fn reset(&mut self) {
        self.open.clear();
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{C}')
}

/// An underscore inside of a word is an underscore; elsewhere it is emphasis.
fn is_special(character: char, between_words: bool) -> bool {
    match character {
        '\\' | '`' | '*' | '[' | ']' | '<' => true,
        '_' => !between_words,
        _ => false,
    }
}

/// Puts the marks of a span around the end of a text, inside of the white space at its edges.
fn surround(text: &mut String, open: &Open) {
    // A break may have taken white space away from before the start.
    let inner = text.split_off(text.floor_char_boundary(open.start));
    let trimmed = inner.trim_matches([' ', '\n']);
    if trimmed.is_empty() {
        text.push_str(&inner);
        return;
    }
    let start = inner.len() - inner.trim_start_matches([' ', '\n']).len();
    text.push_str(&inner[..start]);
    match &open.span {
        Span::Strong => push_all(text, &["**", trimmed, "**"]),
        Span::Emphasis => push_all(text, &["*", trimmed, "*"]),
        Span::Struck => push_all(text, &["~~", trimmed, "~~"]),
        Span::Code => push_code(text, trimmed),
        Span::Link(address) => push_all(text, &["[", trimmed, "](", address, ")"]),
    }
    text.push_str(&inner[start + trimmed.len()..]);
}

fn push_code(text: &mut String, code: &str) {
    let fence = "`".repeat(longest_run(code) + 1);
    let space = if code.starts_with('`') || code.ends_with('`') { " " } else { "" };
    push_all(text, &[&fence, space, &code.replace('\n', " "), space, &fence]);
}

fn push_all(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}

/// The length of the longest run of backticks.
pub(super) fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}
