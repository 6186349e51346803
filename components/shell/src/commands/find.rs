//! `find`.

mod parse;

use std::time::{Duration, SystemTime};

use crate::commands::Invocation;
use crate::commands::arguments::number;
use crate::commands::find::parse::Parser;
use crate::commands::walk::{Step, Walk};
use crate::files::{Facts, Kind, Links};
use crate::halt::{Halt, Ran};
use crate::pattern::Pattern;

/// What is asked of an entry, or done with it.
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Name {
        pattern: Pattern,
        folds_case: bool,
    },
    Path {
        pattern: Pattern,
        folds_case: bool,
    },
    Kinds(Vec<Kind>),
    Size {
        comparison: Comparison,
        unit: u64,
    },
    Age {
        comparison: Comparison,
        unit_seconds: u64,
    },
    Newer(SystemTime),
    Empty,
    Truth(bool),
    Prune,
    Print {
        end: &'static str,
    },
    Delete,
    Run {
        words: Vec<String>,
    },
    /// `-exec … +`: remembered, and run at the end.
    Collect {
        index: usize,
    },
}

/// `+N`, `-N` and `N`.
#[derive(Clone, Copy)]
enum Comparison {
    More(u64),
    Less(u64),
    Equal(u64),
}

struct Search {
    test: Test,
    least_depth: usize,
    most_depth: usize,
    /// The command and what it gets, for each `-exec … +`.
    collected: Vec<(Vec<String>, Vec<String>)>,
    /// What is in a directory comes before it, as `-delete` needs.
    contents_first: bool,
    /// What is pruned, so that it is walked no further.
    pruned: bool,
    status: i32,
}

pub(super) fn find(call: &mut Invocation<'_>) -> Ran {
    let is_path = |word: &&String| !(word.starts_with('-') || *word == "!" || *word == "(");
    let count = call.arguments.iter().take_while(is_path).count();
    let (paths, words) = call.arguments.split_at(count);
    let here = [".".to_owned()];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut parser = Parser {
        call,
        words,
        at: 0,
        depth: 0,
        acts: false,
        least_depth: 0,
        most_depth: usize::MAX,
        contents_first: false,
        collected: Vec::new(),
    };
    let mut test = parser.any()?;
    if parser.at < words.len() {
        return Err(Halt::usage(format!("unexpected {:?}", words[parser.at])));
    }
    if !parser.acts {
        test = Test::All(vec![test, Test::Print { end: "\n" }]);
    }
    let mut search = Search {
        test,
        least_depth: parser.least_depth,
        most_depth: parser.most_depth,
        contents_first: parser.contents_first,
        collected: parser.collected,
        pruned: false,
        status: 0,
    };
    for path in paths {
        if let Err(halt) = search.tree(call, path) {
            search.status = call.shell.reported(call.name, halt)?;
        }
    }
    for (command, paths) in std::mem::take(&mut search.collected) {
        if let Some((name, arguments)) = command.split_first()
            && !paths.is_empty()
        {
            let arguments: Vec<String> = arguments.iter().chain(&paths).cloned().collect();
            let status = call.shell.subshell(|shell| shell.invoke(name, &arguments))?;
            search.status = search.status.max(i32::from(status != 0));
        }
    }
    Ok(search.status)
}

impl Search {
    fn tree(&mut self, call: &mut Invocation<'_>, path: &str) -> Result<(), Halt> {
        let mut walk = Walk::begin(call, path)?;
        let mut status = 0;
        let test = std::mem::replace(&mut self.test, Test::Truth(true));
        let result = self.steps(call, &mut walk, &test, &mut status);
        self.test = test;
        self.status = self.status.max(status);
        result
    }

    fn steps(
        &mut self,
        call: &mut Invocation<'_>,
        walk: &mut Walk,
        test: &Test,
        status: &mut i32,
    ) -> Result<(), Halt> {
        while let Some(step) = walk.next(call, status)? {
            let is_directory = step.kind == Kind::Directory;
            if is_directory && !step.is_after && step.depth >= self.most_depth {
                walk.skip(&step);
            }
            let is_turn = !is_directory || step.is_after == self.contents_first;
            if !is_turn || step.depth < self.least_depth || step.depth > self.most_depth {
                continue;
            }
            self.pruned = false;
            self.holds(call, test, &step)?;
            if self.pruned && is_directory && !step.is_after {
                walk.skip(&step);
            }
        }
        Ok(())
    }

    fn holds(&mut self, call: &mut Invocation<'_>, test: &Test, step: &Step) -> Result<bool, Halt> {
        let facts = |call: &Invocation<'_>| {
            call.shell.at(&step.path, |files, path| files.facts(path, Links::Show)).ok()
        };
        let folded =
            |text: &str, folds: bool| if folds { text.to_lowercase() } else { text.to_owned() };
        Ok(match test {
            Test::All(all) => {
                for test in all {
                    if !self.holds(call, test, step)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Any(any) => {
                for test in any {
                    if self.holds(call, test, step)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::Not(inner) => !self.holds(call, inner, step)?,
            Test::Name { pattern, folds_case } => {
                let name = step.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                pattern.matches(&folded(name, *folds_case))
            }
            Test::Path { pattern, folds_case } => pattern.matches(&folded(&step.path, *folds_case)),
            Test::Kinds(kinds) => kinds.contains(&step.kind),
            Test::Size { comparison, unit } => {
                facts(call).is_some_and(|facts| comparison.holds(facts.bytes.div_ceil(*unit)))
            }
            Test::Age { comparison, unit_seconds } => {
                let now = (call.shell.clock)();
                let age = |facts: Facts| now.duration_since(facts.modified?).ok();
                let age = facts(call).and_then(age).unwrap_or(Duration::ZERO);
                comparison.holds(age.as_secs() / unit_seconds)
            }
            Test::Newer(time) => {
                facts(call).and_then(|facts| facts.modified).is_some_and(|own| own > *time)
            }
            Test::Empty => match step.kind {
                Kind::File => facts(call).is_some_and(|facts| facts.bytes == 0),
                Kind::Directory => call
                    .shell
                    .at(&step.path, |files, path| files.list(path))
                    .is_ok_and(|entries| entries.is_empty()),
                _ => false,
            },
            Test::Truth(holds) => *holds,
            Test::Prune => {
                self.pruned = true;
                true
            }
            Test::Print { end } => {
                call.write(format!("{}{end}", step.path).as_bytes())?;
                true
            }
            Test::Delete => self.delete(call, step)?,
            Test::Run { words } => {
                call.shell.step()?;
                let marks: usize = words.iter().map(|word| word.matches("{}").count()).sum();
                call.bounded(marks.saturating_mul(step.path.len()))?;
                let words: Vec<String> =
                    words.iter().map(|word| word.replace("{}", &step.path)).collect();
                let Some((name, arguments)) = words.split_first() else { return Ok(false) };
                call.shell.subshell(|shell| shell.invoke(name, arguments))? == 0
            }
            Test::Collect { index } => {
                if let Some((_, paths)) = self.collected.get_mut(*index) {
                    paths.push(step.path.clone());
                }
                true
            }
        })
    }

    fn delete(&mut self, call: &mut Invocation<'_>, step: &Step) -> Result<bool, Halt> {
        if step.path == "." {
            return Ok(true);
        }
        let result = match step.kind {
            Kind::Directory => {
                call.shell.at(&step.path, |files, path| files.remove_directory(path))
            }
            _ => call.shell.at(&step.path, |files, path| files.remove_file(path)),
        };
        match result {
            Ok(()) => Ok(true),
            Err(fault) => {
                call.report(&fault)?;
                self.status = 1;
                Ok(false)
            }
        }
    }
}

impl Comparison {
    fn parse(text: &str) -> Result<Self, Halt> {
        let value = |text: &str| -> Result<u64, Halt> {
            Ok(u64::try_from(number(text)?).unwrap_or(u64::MAX))
        };
        Ok(match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(text), _) => Self::More(value(text)?),
            (_, Some(text)) => Self::Less(value(text)?),
            _ => Self::Equal(value(text)?),
        })
    }

    fn holds(self, value: u64) -> bool {
        match self {
            Self::More(than) => value > than,
            Self::Less(than) => value < than,
            Self::Equal(to) => value == to,
        }
    }
}
