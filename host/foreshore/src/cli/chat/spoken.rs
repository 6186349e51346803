//! An answer as it comes: its text on standard output, all else on standard error, and neither
//! in the middle of a line of the other.

use std::io::Write as _;

use crate::cli::output::{Paint, printable};

/// Whose line is not at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nobody,
    Answer,
    Thought,
}

pub(super) struct Spoken {
    open: Open,
    /// What was said since the last line of somebody else.
    text: String,
    paint: Paint,
}

impl Spoken {
    pub(super) fn new() -> Self {
        Self { open: Open::Nobody, text: String::new(), paint: Paint::stderr() }
    }

    pub(super) fn answer(&mut self, text: &str) {
        if self.open == Open::Thought {
            self.close();
        }
        self.text += text;
        let mut out = std::io::stdout().lock();
        // A reader that has gone away (`| head`) is no error.
        let _ = write!(out, "{}", printable(text)).and_then(|()| out.flush());
        self.open = Open::Answer;
    }

    pub(super) fn thought(&mut self, text: &str) {
        if self.open == Open::Answer {
            self.close();
        }
        eprint!("{}", self.paint.dim(&printable(text)));
        self.open = Open::Thought;
    }

    /// A line of its own.
    pub(super) fn line(&mut self, text: &str) {
        self.close();
        self.text.clear();
        eprintln!("{text}");
    }

    /// The whole answer: shown where it did not come in pieces, or as other pieces.
    pub(super) fn whole(&mut self, text: &str) {
        if self.text.trim() != text.trim() {
            self.close();
            self.answer(text);
        }
        self.close();
    }

    /// Ends the line that is open.
    pub(super) fn close(&mut self) {
        match self.open {
            Open::Nobody => {}
            Open::Answer if self.text.ends_with('\n') => {}
            Open::Answer => {
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out).and_then(|()| out.flush());
            }
            Open::Thought => eprintln!(),
        }
        self.open = Open::Nobody;
    }
}
