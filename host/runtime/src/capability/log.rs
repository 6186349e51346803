//! `foreshore:log` and `wasi:logging`: lines for the author and the operator.
//!
//! Needs no grant. A call keeps at most `log_lines_max` lines of `log_line_max_bytes`; a
//! longer line is cut and a line too many is counted. A line holds no control characters, so
//! it cannot forge another line or drive a terminal.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foreshore_domain::effect::Effect;
use foreshore_domain::limits::Limits;
use foreshore_domain::outcome::{LogLevel, LogLine, Logs};
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::foreshore::log::log;
use crate::bindings::wasi::logging::logging;
use crate::limiter::size;
use crate::state::{CallScope, State};

/// What a call has logged.
pub(crate) struct Transcript {
    lines_max: usize,
    line_max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    logs: Logs,
    /// The last lines of standard error, kept even when there are too many lines: they say
    /// why a guest panicked.
    last_words: VecDeque<String>,
}

impl Transcript {
    const LAST_WORDS_MAX: usize = 8;

    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            lines_max: size(limits.log_lines_max.get()),
            line_max_bytes: size(limits.log_line_max_bytes.get()),
            kept: Mutex::default(),
        }
    }

    pub(crate) fn line_max_bytes(&self) -> usize {
        self.line_max_bytes
    }

    /// Takes the lines out, at the end of the call.
    pub(crate) fn take(&self) -> Logs {
        std::mem::take(&mut self.lock().logs)
    }

    /// What the guest wrote last to standard error, for a crash report; empty if nothing.
    pub(crate) fn last_words(&self) -> String {
        let kept = self.lock();
        let words: Vec<&str> = kept.last_words.iter().map(String::as_str).collect();
        let panic = words.iter().rposition(|line| line.contains("panicked at")).unwrap_or(0);
        let said: Vec<&str> = words[panic..]
            .iter()
            .copied()
            .filter(|line| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE"))
            .collect();
        said.join("\n")
    }

    pub(crate) fn keep_last_words(&self, line: &str) {
        let mut kept = self.lock();
        if kept.last_words.len() == Self::LAST_WORDS_MAX {
            kept.last_words.pop_front();
        }
        kept.last_words.push_back(line.to_owned());
    }

    /// Whether there is room for one more line; if not, counts it as dropped.
    fn admits(&self) -> bool {
        let mut kept = self.lock();
        let room = kept.logs.lines.len() < self.lines_max;
        if !room {
            kept.logs.dropped += 1;
        }
        room
    }

    fn keep(&self, line: LogLine) {
        self.lock().logs.lines.push(line);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // A std mutex: nothing awaits while it is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallScope {
    /// Keeps a line and passes it to the door, if there is room for it.
    pub(crate) fn log(&self, level: LogLevel, text: &[u8]) {
        if !self.transcript.admits() {
            return;
        }
        let line = LogLine { level, message: escaped_line(text, self.transcript.line_max_bytes) };
        self.transcript.keep(line.clone());
        self.note(Effect::Log(line));
    }
}

/// One line of text: at most `max_bytes` long, invalid UTF-8 replaced, control characters escaped.
pub(crate) fn escaped_line(text: &[u8], max_bytes: usize) -> String {
    // Cut before the text is looked at: the rest of a long one costs nothing.
    let text = String::from_utf8_lossy(&text[..text.len().min(max_bytes)]);
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        let before = line.len();
        if character.is_control() && character != '\t' {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
        if line.len() > max_bytes {
            line.truncate(before);
            break;
        }
    }
    line
}

pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    logging::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl log::Host for State {
    async fn log(&mut self, level: log::Level, message: String) -> Result<()> {
        self.scope.count_operation()?;
        self.scope.copied(message.len());
        self.scope.breathe().await;
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.scope.log(level, message.as_bytes());
        Ok(())
    }
}

impl logging::Host for State {
    async fn log(&mut self, level: logging::Level, context: String, message: String) -> Result<()> {
        self.scope.count_operation()?;
        self.scope.copied(context.len() + message.len());
        self.scope.breathe().await;
        let level = match level {
            logging::Level::Trace => LogLevel::Trace,
            logging::Level::Debug => LogLevel::Debug,
            logging::Level::Info => LogLevel::Info,
            logging::Level::Warn => LogLevel::Warn,
            logging::Level::Error | logging::Level::Critical => LogLevel::Error,
        };
        if context.is_empty() {
            self.scope.log(level, message.as_bytes());
        } else {
            self.scope.log(level, format!("{context}: {message}").as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_control_characters_and_no_more_than_its_limit() {
        assert_eq!(escaped_line(b"a\nb\x1b[31m\tc", 100), "a\\nb\\u{1b}[31m\tc");
        assert_eq!(escaped_line(b"abcdef", 4), "abcd");
        assert_eq!(escaped_line(b"ab\n\n\n", 5), "ab\\n");
        assert_eq!(escaped_line("\u{e4}\u{e4}".as_bytes(), 3), "\u{e4}");
        assert!(escaped_line(&[0xff; 64], 16).len() <= 16);
    }

    #[test]
    fn the_last_words_of_a_panic_start_at_the_panic() {
        let transcript = Transcript::new(&Limits::default());
        for line in ["early", "thread 'main' panicked at src/lib.rs:1:1:", "no such thing"] {
            transcript.keep_last_words(line);
        }
        transcript.keep_last_words("note: run with `RUST_BACKTRACE=1` environment variable");
        assert_eq!(
            transcript.last_words(),
            "thread 'main' panicked at src/lib.rs:1:1:\nno such thing"
        );
    }
}
