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

/// What was told in the middle of an answer.
enum Late {
    Phase(String),
    Done(String),
}

pub(super) struct Spoken {
    open: Open,
    /// All that was said of the answer, and of what came before it.
    text: String,
    late: Vec<Late>,
    paint: Paint,
}

impl Spoken {
    pub(super) fn new() -> Self {
        let paint = Paint::stderr();
        Self { open: Open::Nobody, text: String::new(), late: Vec::new(), paint }
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

    /// A line of its own, now.
    pub(super) fn line(&mut self, text: &str) {
        self.catch_up();
        eprintln!("{text}");
    }

    /// What the agent begins. It is told when it is on record, which may be after the first words
    /// of an answer: then it waits for their end, and is left out where the turn ends too.
    pub(super) fn phase(&mut self, text: String) {
        self.in_order(Late::Phase(text));
    }

    /// What was done; told late as a phase is, but never left out.
    pub(super) fn done(&mut self, text: String) {
        self.in_order(Late::Done(text));
    }

    fn in_order(&mut self, what: Late) {
        self.late.push(what);
        if self.open != Open::Answer {
            self.catch_up();
        }
    }

    /// Ends the line that is open, and tells what waited for that.
    pub(super) fn catch_up(&mut self) {
        self.close();
        for Late::Phase(text) | Late::Done(text) in self.late.drain(..) {
            eprintln!("{text}");
        }
    }

    /// The whole answer: shown where it did not come in pieces, or as other pieces.
    pub(super) fn whole(&mut self, text: &str) {
        self.late.retain(|late| matches!(late, Late::Done(_)));
        if self.text.trim_end().ends_with(text.trim()) {
            self.catch_up();
            return;
        }
        self.catch_up();
        self.answer(text);
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
