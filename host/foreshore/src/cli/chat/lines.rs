//! Lines of standard input, read by a thread of their own, so that Ctrl-C is heard meanwhile.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::exit::Failure;

/// The most that one line may hold: more than a message may.
const LINE_MAX_BYTES: u64 = 1 << 20;

/// What a person, or a pipe, said.
pub(super) enum Heard {
    Line(String),
    End,
    Interrupt,
}

pub(super) struct Lines {
    /// Begun with the first question: a chat of one message reads nothing.
    receiver: Option<mpsc::Receiver<String>>,
    interrupts: Signal,
}

impl Lines {
    /// # Errors
    /// Signals cannot be listened to.
    pub(super) fn begin() -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt()).context("signals")?;
        Ok(Self { receiver: None, interrupts })
    }

    /// Whether there is a person who can be asked.
    pub(super) fn is_terminal(&self) -> bool {
        std::io::stdin().is_terminal()
    }

    /// The next line; the prompt is shown to a person only.
    pub(super) async fn ask(&mut self, prompt: &str) -> Heard {
        if self.is_terminal() {
            eprint!("{prompt}");
            // A prompt that cannot be shown is no reason not to listen.
            let _ = std::io::stderr().flush();
        }
        let receiver = self.receiver.get_or_insert_with(read);
        tokio::select! {
            line = receiver.recv() => line.map_or(Heard::End, Heard::Line),
            _ = self.interrupts.recv() => Heard::Interrupt,
        }
    }

    /// Waits for Ctrl-C.
    pub(super) async fn interrupt(&mut self) {
        self.interrupts.recv().await;
    }
}

fn read() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::BufReader::new(std::io::stdin());
        loop {
            let mut line = Vec::new();
            let mut limited = std::io::Read::take(&mut input, LINE_MAX_BYTES);
            match limited.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Err(error) => return tracing::warn!(%error, "standard input"),
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
