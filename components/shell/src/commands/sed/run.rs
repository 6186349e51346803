//! Running a script over lines.

use regex::bytes::Regex;

use crate::commands::Invocation;
use crate::commands::sed::{Action, Address, Branching, Command, Script};
use crate::halt::{Halt, Ran};
use crate::stream::Input;

/// How many commands of a script are run for one line: a branch may go on for ever.
const ROUNDS_MAX: usize = 100_000;

pub(super) struct Run<'a, 'c> {
    pub(super) call: &'a Invocation<'c>,
    /// Where in-place editing writes.
    edited: Option<&'a mut Vec<u8>>,
    inputs: std::vec::IntoIter<Input>,
    input: Option<Input>,
    /// The line after this one, which tells whether this is the last.
    ahead: Option<Vec<u8>>,
    number: usize,
    /// The pattern space, and whether the line it came from had an end.
    pub(super) line: Vec<u8>,
    ends: bool,
    hold: Vec<u8>,
    /// What `a` puts behind the line.
    behind: Vec<u8>,
    /// For each command with two addresses, where its range ends if it is in one.
    ranges: Vec<Option<RangeEnd>>,
    pub(super) substituted: bool,
    pub(super) last: Option<Regex>,
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RangeEnd {
    At(usize),
    WhenFound,
}

/// What becomes of a line.
enum Next {
    Print,
    Drop,
    /// Once more from the top, without reading.
    Again,
    Quit {
        status: i32,
        prints: bool,
    },
}

pub(super) fn run(
    call: &mut Invocation<'_>,
    script: &Script,
    inputs: Vec<Input>,
    quiet: bool,
    edited: Option<&mut Vec<u8>>,
) -> Ran {
    let mut run = Run {
        call,
        edited,
        inputs: inputs.into_iter(),
        input: None,
        ahead: None,
        number: 0,
        line: Vec::new(),
        ends: true,
        hold: Vec::new(),
        behind: Vec::new(),
        ranges: vec![None; script.commands.len()],
        substituted: false,
        last: None,
        quiet,
    };
    run.ahead = run.read()?;
    let mut reads = true;
    loop {
        if reads && !run.next_line(false)? {
            return Ok(0);
        }
        reads = true;
        let next = run.cycle(script)?;
        let prints = match next {
            Next::Print | Next::Again => matches!(next, Next::Print) && !run.quiet,
            Next::Quit { prints, .. } => prints && !run.quiet,
            Next::Drop => false,
        };
        if prints {
            run.print_line()?;
        }
        let behind = std::mem::take(&mut run.behind);
        run.write(&behind)?;
        match next {
            Next::Quit { status, .. } => {
                run.pass_on()?;
                return Ok(status);
            }
            Next::Again => reads = false,
            Next::Print | Next::Drop => {}
        }
    }
}

impl Run<'_, '_> {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        match &mut self.edited {
            Some(edited) => {
                edited.extend_from_slice(bytes);
                let length = edited.len();
                self.call.bounded(length)
            }
            None => self.call.write(bytes),
        }
    }

    fn print_line(&mut self) -> Result<(), Halt> {
        let line = self.line.clone();
        self.write(&line)?;
        if self.ends { self.write(b"\n") } else { Ok(()) }
    }

    /// What an edit in place has not read yet stays as it is.
    fn pass_on(&mut self) -> Result<(), Halt> {
        if self.edited.is_none() {
            return Ok(());
        }
        let mut next = self.ahead.take();
        while let Some(line) = next {
            self.write(&line)?;
            next = self.read()?;
        }
        Ok(())
    }

    /// The next line with its end, over all inputs.
    fn read(&mut self) -> Result<Option<Vec<u8>>, Halt> {
        loop {
            if self.input.is_none() {
                self.input = self.inputs.next();
            }
            let Some(input) = &self.input else { return Ok(None) };
            if let Some(line) = input.line()? {
                return Ok(Some(line));
            }
            self.input = None;
        }
    }

    /// Takes the next line into the pattern space, or to its end.
    fn next_line(&mut self, appends: bool) -> Result<bool, Halt> {
        let Some(mut line) = self.ahead.take() else { return Ok(false) };
        self.ahead = self.read()?;
        self.number += 1;
        self.ends = line.last() == Some(&b'\n') || self.ahead.is_some();
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if appends {
            self.line.push(b'\n');
            self.line.extend_from_slice(&line);
            self.call.bounded(self.line.len())?;
        } else {
            self.line = line;
        }
        Ok(true)
    }

    fn cycle(&mut self, script: &Script) -> Result<Next, Halt> {
        self.substituted = false;
        let mut at = 0;
        for _ in 0..ROUNDS_MAX {
            let Some(command) = script.commands.get(at) else { return Ok(Next::Print) };
            if !self.applies(command, at)? {
                at = match command.action {
                    Action::Block { end } => end,
                    _ => at + 1,
                };
                continue;
            }
            at += 1;
            match &command.action {
                Action::Branch { to, when } => {
                    let goes = match when {
                        Branching::Always => true,
                        Branching::Substituted => std::mem::take(&mut self.substituted),
                        Branching::NotSubstituted => !std::mem::take(&mut self.substituted),
                    };
                    if goes {
                        let label = script.labels.iter().find(|(name, _)| name == to);
                        at = label.map_or(script.commands.len(), |(_, place)| *place);
                    }
                }
                action => {
                    if let Some(next) = self.act(action, command, at - 1)? {
                        return Ok(next);
                    }
                }
            }
        }
        Err(Halt::fail(format!("more than {ROUNDS_MAX} commands for one line")))
    }

    fn act(
        &mut self,
        action: &Action,
        command: &Command,
        index: usize,
    ) -> Result<Option<Next>, Halt> {
        match action {
            Action::Block { .. } | Action::End | Action::Label | Action::Branch { .. } => {}
            Action::Substitute(substitution) => self.substitute(substitution)?,
            Action::Translate(from, to) => {
                let text = String::from_utf8_lossy(&self.line).into_owned();
                let changed = text.chars().map(|c| match from.iter().position(|own| *own == c) {
                    Some(at) => to[at],
                    None => c,
                });
                self.line = changed.collect::<String>().into_bytes();
            }
            Action::Append(text) => {
                self.behind.extend_from_slice(text.as_bytes());
                self.call.bounded(self.behind.len())?;
            }
            Action::Insert(text) => self.write(text.as_bytes())?,
            Action::Change(text) => {
                let in_range = command.to.is_some() && !command.negated;
                if !in_range || self.ranges[index].is_none() {
                    self.write(text.as_bytes())?;
                }
                return Ok(Some(Next::Drop));
            }
            Action::Delete => return Ok(Some(Next::Drop)),
            Action::DeleteFirstLine => {
                return Ok(Some(match self.line.iter().position(|byte| *byte == b'\n') {
                    Some(end) => {
                        self.line.drain(..=end);
                        Next::Again
                    }
                    None => Next::Drop,
                }));
            }
            Action::Print => {
                let line = [&self.line[..], b"\n"].concat();
                self.write(&line)?;
            }
            Action::PrintFirstLine => {
                let first = self.line.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let line = [first, b"\n"].concat();
                self.write(&line)?;
            }
            Action::LineNumber => self.write(format!("{}\n", self.number).as_bytes())?,
            Action::Next => {
                if self.ahead.is_none() {
                    return Ok(Some(Next::Quit { status: 0, prints: true }));
                }
                if !self.quiet {
                    self.print_line()?;
                }
                let behind = std::mem::take(&mut self.behind);
                self.write(&behind)?;
                self.next_line(false)?;
            }
            Action::AppendNext => {
                if !self.next_line(true)? {
                    return Ok(Some(Next::Quit { status: 0, prints: true }));
                }
            }
            Action::Quit { status, prints } => {
                return Ok(Some(Next::Quit { status: *status, prints: *prints }));
            }
            Action::Hold { appends: false } => self.hold.clone_from(&self.line),
            Action::Hold { appends: true } => {
                self.hold.push(b'\n');
                self.hold.extend_from_slice(&self.line);
                self.call.bounded(self.hold.len())?;
            }
            Action::Get { appends: false } => self.line.clone_from(&self.hold),
            Action::Get { appends: true } => {
                self.line.push(b'\n');
                self.line.extend_from_slice(&self.hold);
                self.call.bounded(self.line.len())?;
            }
            Action::Exchange => std::mem::swap(&mut self.line, &mut self.hold),
        }
        Ok(None)
    }

    fn applies(&mut self, command: &Command, index: usize) -> Result<bool, Halt> {
        let holds = match (&command.from, &command.to) {
            (None, _) => true,
            (Some(from), None) => self.is_at(from)?,
            (Some(from), Some(to)) => self.is_between(from, to, index)?,
        };
        Ok(holds != command.negated)
    }

    fn is_between(&mut self, from: &Address, to: &Address, index: usize) -> Result<bool, Halt> {
        match self.ranges[index] {
            Some(RangeEnd::At(line)) => {
                if self.number >= line {
                    self.ranges[index] = None;
                }
                Ok(self.number <= line)
            }
            Some(RangeEnd::WhenFound) => {
                if self.is_at(to)? {
                    self.ranges[index] = None;
                }
                Ok(true)
            }
            None => {
                // `0,/x/`: the expression may match in the first line already.
                let from_start = matches!(from, Address::Line(0)) && self.number == 1;
                if from_start {
                    if !self.is_at(to)? {
                        self.ranges[index] = Some(RangeEnd::WhenFound);
                    }
                    return Ok(true);
                }
                if !self.is_at(from)? {
                    return Ok(false);
                }
                self.ranges[index] = match to {
                    Address::Line(line) => (*line > self.number).then_some(RangeEnd::At(*line)),
                    Address::Further(count) => {
                        (*count > 0).then_some(RangeEnd::At(self.number + count))
                    }
                    Address::Last => self.ahead.is_some().then_some(RangeEnd::WhenFound),
                    Address::Match(_) | Address::Step(..) => Some(RangeEnd::WhenFound),
                };
                Ok(true)
            }
        }
    }

    fn is_at(&mut self, address: &Address) -> Result<bool, Halt> {
        Ok(match address {
            Address::Line(line) => self.number == *line,
            Address::Step(first, 0) => self.number == *first,
            Address::Step(first, step) => {
                self.number >= *first && (self.number - first).is_multiple_of(*step)
            }
            Address::Last => self.ahead.is_none(),
            Address::Further(_) => false,
            Address::Match(expression) => {
                let expression = self.expression(expression.as_ref())?;
                expression.is_match(&self.line)
            }
        })
    }
}
