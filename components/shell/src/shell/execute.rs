//! Running scripts, pipelines and commands.

use std::rc::Rc;

use crate::commands;
use crate::halt::{Halt, Ran};
use crate::pattern::Pattern;
use crate::shell::{Shell, Stream, Variable};
use crate::stream::{Input, Output};
use crate::syntax::{
    AndOr, Command, Compound, Connector, Pipeline, Redirect, Script, Simple, Word,
};

impl Shell {
    /// Runs a script to its end, whatever ends it, as the outermost one.
    ///
    /// # Errors
    /// The bound that stopped it, and nothing else.
    pub(crate) fn run(&mut self, script: &Script) -> Ran {
        let result = match self.script(script) {
            Err(Halt::Exit(status) | Halt::Return(status)) => Ok(status),
            Err(Halt::Break(_) | Halt::Continue(_)) => Ok(self.status),
            result => result,
        };
        let flushed = self.streams.outputs().try_for_each(|output| output.flush());
        match flushed {
            Err(error) => result.and(Err(error.into())),
            Ok(()) => result,
        }
        .or_else(|halt| self.reported("shell", halt))
    }

    pub(crate) fn script(&mut self, script: &Script) -> Ran {
        let mut status = 0;
        for item in &script.0 {
            status = self.and_or(item)?;
        }
        Ok(status)
    }

    /// Runs a script that a command brought, in the same scope.
    pub(crate) fn nested(&mut self, script: &Script) -> Ran {
        self.deeper(|shell| shell.script(script))
    }

    fn and_or(&mut self, and_or: &AndOr) -> Ran {
        let mut pipeline = &and_or.first;
        let mut rest = and_or.rest.iter();
        loop {
            let next = rest.as_slice().is_empty();
            let mut status = if next {
                let status = self.pipeline(pipeline)?;
                self.exit_on_failure(pipeline, status)?;
                status
            } else {
                self.while_checked(|shell| shell.pipeline(pipeline))?
            };
            // Past what does not run to what does.
            loop {
                let Some((connector, other)) = rest.next() else { return Ok(status) };
                if (*connector == Connector::And) == (status == 0) {
                    pipeline = other;
                    break;
                }
                status = self.status;
            }
        }
    }

    /// `set -e`: only for what may fail of itself, not for what contains a command that was let
    /// off before.
    fn exit_on_failure(&self, pipeline: &Pipeline, status: i32) -> Result<(), Halt> {
        let fails = match pipeline.commands.as_slice() {
            [Command::Simple(_)] => true,
            [Command::Compound(compound, _)] => matches!(
                compound,
                Compound::Subshell(_) | Compound::Condition(_) | Compound::Arithmetic(_)
            ),
            [_] => false,
            _ => true,
        };
        let applies = self.scope.settings.exit_on_failure && self.checked == 0;
        if applies && fails && !pipeline.negated && status != 0 {
            return Err(Halt::Exit(status));
        }
        Ok(())
    }

    /// Runs something whose status is looked at, so that a failure is no reason to end.
    fn while_checked<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        self.checked += 1;
        let result = run(self);
        self.checked -= 1;
        result
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Ran {
        let run = |shell: &mut Self| match pipeline.commands.as_slice() {
            [command] => shell.command(command),
            commands => shell.stages(commands),
        };
        let status = if pipeline.negated { self.while_checked(run)? } else { run(self)? };
        self.status = if pipeline.negated { i32::from(status == 0) } else { status };
        Ok(self.status)
    }

    /// One stage after the other, each in a subshell, with what it writes held for the next.
    fn stages(&mut self, commands: &[Command]) -> Ran {
        let outer = self.streams.clone();
        let mut input = None;
        let (mut status, mut any_failure) = (0, 0);
        for (index, command) in commands.iter().enumerate() {
            if let Some(bytes) = input.take() {
                self.streams.set(0, Some(Stream::In(Input::bytes(bytes))));
            }
            let held = (index + 1 < commands.len()).then(Output::held);
            match &held {
                Some(output) => self.streams.set(1, Some(Stream::Out(output.clone()))),
                None => self.streams.set(1, outer.find(1).cloned()),
            }
            let result = self.subshell(|shell| shell.command(command));
            self.streams = outer.clone();
            status = result?;
            if status != 0 {
                any_failure = status;
            }
            input = held.map(|output| output.take().0);
        }
        Ok(if self.scope.settings.fail_with_any { any_failure } else { status })
    }

    /// Runs something whose changes of variables, functions and the directory end with it.
    pub(crate) fn subshell(&mut self, run: impl FnOnce(&mut Self) -> Ran) -> Ran {
        let scope = self.scope.clone();
        let result = self.deeper(run);
        self.scope = scope;
        match result {
            Err(Halt::Exit(status) | Halt::Return(status)) => Ok(status),
            Err(Halt::Break(_) | Halt::Continue(_)) => Ok(self.status),
            result => result,
        }
    }

    pub(crate) fn command(&mut self, command: &Command) -> Ran {
        self.step()?;
        let result = self.deeper(|shell| match command {
            Command::Simple(simple) => shell.simple(simple),
            Command::Compound(compound, redirects) => {
                shell.redirected("shell", redirects, |shell| shell.compound(compound))
            }
            Command::Function { name, body } => {
                shell.scope.functions.insert(name.clone(), Rc::clone(body));
                Ok(0)
            }
        });
        result.or_else(|halt| self.reported("shell", halt))
    }

    /// Runs something with redirections in place, and sees that what it wrote is written.
    fn redirected(
        &mut self,
        command: &str,
        redirects: &[Redirect],
        run: impl FnOnce(&mut Self) -> Ran,
    ) -> Ran {
        if redirects.is_empty() {
            return run(self);
        }
        let outer = self.streams.clone();
        let mut opened = Vec::new();
        let result = match self.redirect(redirects, &mut opened) {
            Ok(()) => run(self),
            Err(halt) => {
                self.streams = outer;
                return self.reported(command, halt);
            }
        };
        self.streams = outer;
        let flushed = opened.iter().try_for_each(Output::flush);
        match flushed {
            Ok(()) => result,
            Err(error) => {
                let status = self.reported(command, error.into())?;
                result.map(|_| status)
            }
        }
    }

    fn compound(&mut self, compound: &Compound) -> Ran {
        match compound {
            Compound::Group(script) => self.script(script),
            Compound::Subshell(script) => self.subshell(|shell| shell.script(script)),
            Compound::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.while_checked(|shell| shell.script(condition))? == 0 {
                        return self.script(body);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |body| self.script(body))
            }
            Compound::For { name, words, body } => {
                let values = match words {
                    Some(words) => self.fields(words)?,
                    None => self.scope.positional.clone(),
                };
                let mut values = values.into_iter();
                self.repeat(body, |shell| {
                    let Some(value) = values.next() else { return Ok(false) };
                    shell.set(name, value)?;
                    Ok(true)
                })
            }
            Compound::Loop { condition, body, ends_on } => self.repeat(body, |shell| {
                let status = shell.while_checked(|shell| shell.script(condition))?;
                Ok((status == 0) != *ends_on)
            }),
            Compound::Case { subject, arms } => self.case(subject, arms),
            Compound::Condition(condition) => Ok(i32::from(!self.holds(condition)?)),
            Compound::Arithmetic(parts) => {
                let text = self.parts_text(parts)?;
                Ok(i32::from(self.arithmetic(&text)? == 0))
            }
        }
    }

    fn repeat(
        &mut self,
        body: &Script,
        mut goes_on: impl FnMut(&mut Self) -> Result<bool, Halt>,
    ) -> Ran {
        let mut status = 0;
        self.scope.loops += 1;
        let result = loop {
            let round = self
                .step()
                .and_then(|()| goes_on(self))
                .and_then(|goes_on| if goes_on { self.script(body).map(Some) } else { Ok(None) });
            match round {
                Ok(Some(ended)) => status = ended,
                Ok(None) => break Ok(status),
                Err(Halt::Break(1)) => break Ok(0),
                Err(Halt::Continue(1)) => status = 0,
                Err(Halt::Break(outer)) => break Err(Halt::Break(outer - 1)),
                Err(Halt::Continue(outer)) => break Err(Halt::Continue(outer - 1)),
                Err(halt) => break Err(halt),
            }
        };
        self.scope.loops -= 1;
        result
    }

    fn case(&mut self, subject: &Word, arms: &[(Vec<Word>, Script)]) -> Ran {
        let subject = self.text(subject)?;
        for (patterns, body) in arms {
            for pattern in patterns {
                let pattern = self.pattern(pattern)?;
                if Pattern::new(&pattern).matches(&subject) {
                    return self.script(body);
                }
            }
        }
        Ok(0)
    }

    fn simple(&mut self, simple: &Simple) -> Ran {
        self.substituted = None;
        let words = self.fields(&simple.words)?;
        let Some((name, arguments)) = words.split_first() else {
            return self.redirected("shell", &simple.redirects, |shell| {
                for assignment in &simple.assignments {
                    let mut value = shell.text(&assignment.value)?;
                    if assignment.appends {
                        value.insert_str(0, shell.variable(&assignment.name).unwrap_or_default());
                    }
                    shell.set(&assignment.name, value)?;
                }
                Ok(shell.substituted.unwrap_or(0))
            });
        };
        if self.scope.settings.trace {
            self.complain(&format!("+ {}", words.join(" ")))?;
        }
        if name == "exec" {
            self.redirect(&simple.redirects, &mut Vec::new())?;
            return match arguments.split_first() {
                None => Ok(0),
                Some((name, arguments)) => Err(Halt::Exit(self.invoke(name, arguments)?)),
            };
        }
        let before = self.assign_for_command(simple)?;
        let result =
            self.redirected(name, &simple.redirects, |shell| shell.invoke(name, arguments));
        for (name, variable) in before {
            self.restore(name, variable);
        }
        result
    }

    /// Sets what stands before a command, and gives what was there.
    fn assign_for_command(
        &mut self,
        simple: &Simple,
    ) -> Result<Vec<(String, Option<Variable>)>, Halt> {
        let mut before = Vec::new();
        for assignment in &simple.assignments {
            let value = self.text(&assignment.value)?;
            let name = assignment.name.clone();
            before.push((name.clone(), self.scope.variables.get(&name).cloned()));
            self.set(&name, value)?;
            self.scope.variables.entry(name).or_default().exported = true;
        }
        before.reverse();
        Ok(before)
    }

    fn restore(&mut self, name: String, variable: Option<Variable>) {
        match variable {
            Some(variable) => drop(self.scope.variables.insert(name, variable)),
            None => drop(self.scope.variables.remove(&name)),
        }
    }

    /// Runs a function or a command by its name.
    pub(crate) fn invoke(&mut self, name: &str, arguments: &[String]) -> Ran {
        if let Some(body) = self.scope.functions.get(name).cloned() {
            return self.call(&body, arguments);
        }
        self.invoke_command(name, arguments)
    }

    /// Runs a command, whatever function has its name.
    pub(crate) fn invoke_command(&mut self, name: &str, arguments: &[String]) -> Ran {
        let result = self.deeper(|shell| match commands::find(name) {
            Some(command) => (command.run)(&mut commands::Invocation { shell, name, arguments }),
            None => Err(Halt::Fail { status: 127, message: commands::not_found(name) }),
        });
        result.or_else(|halt| self.reported(name, halt))
    }

    fn call(&mut self, body: &Command, arguments: &[String]) -> Ran {
        let outer = std::mem::replace(&mut self.scope.positional, arguments.to_vec());
        let loops = std::mem::replace(&mut self.scope.loops, 0);
        self.scope.locals.push(Vec::new());
        let result = self.command(body);
        for (name, variable) in self.scope.locals.pop().unwrap_or_default().into_iter().rev() {
            self.restore(name, variable);
        }
        self.scope.loops = loops;
        self.scope.positional = outer;
        match result {
            Err(Halt::Return(status)) => Ok(status),
            result => result,
        }
    }
}
