//! `find`.

use std::time::{Duration, SystemTime};

use crate::commands::Invocation;
use crate::commands::arguments::number;
use crate::commands::walk::{Step, Walk};
use crate::files::{Facts, Kind, Links};
use crate::halt::{Halt, Ran};
use crate::pattern::Pattern;

/// How deep `(` and `!` may nest.
const DEPTH_MAX: usize = 32;

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

struct Parser<'a, 'c> {
    call: &'a Invocation<'c>,
    words: &'a [String],
    at: usize,
    depth: usize,
    /// Something is done with what is found, so that it is not printed of itself.
    acts: bool,
    least_depth: usize,
    most_depth: usize,
    contents_first: bool,
    collected: Vec<(Vec<String>, Vec<String>)>,
}

impl Parser<'_, '_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn any(&mut self) -> Result<Test, Halt> {
        if self.depth >= DEPTH_MAX {
            return Err(Halt::usage(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        let mut any = vec![self.all()?];
        while matches!(self.peek(), Some("-o" | "-or")) {
            self.at += 1;
            any.push(self.all()?);
        }
        self.depth -= 1;
        Ok(Test::Any(any))
    }

    fn all(&mut self) -> Result<Test, Halt> {
        let mut all = Vec::new();
        loop {
            match self.peek() {
                None | Some("-o" | "-or" | ")") => return Ok(Test::All(all)),
                Some("-a" | "-and") => self.at += 1,
                Some(_) => all.push(self.one()?),
            }
        }
    }

    fn one(&mut self) -> Result<Test, Halt> {
        let mut negations = 0;
        while matches!(self.peek(), Some("!" | "-not")) {
            self.at += 1;
            negations += 1;
        }
        let test = self.primary()?;
        Ok(if negations % 2 == 1 { Test::Not(Box::new(test)) } else { test })
    }

    fn value(&mut self, name: &str) -> Result<String, Halt> {
        let value = self.words.get(self.at).cloned();
        self.at += 1;
        value.ok_or_else(|| Halt::usage(format!("{name} needs a value")))
    }

    fn primary(&mut self) -> Result<Test, Halt> {
        let name = self.peek().unwrap_or_default().to_owned();
        self.at += 1;
        Ok(match name.as_str() {
            "(" => {
                let inner = self.any()?;
                if self.peek() != Some(")") {
                    return Err(Halt::usage("a ) is missing"));
                }
                self.at += 1;
                inner
            }
            "-name" => Test::Name { pattern: Pattern::new(&self.value(&name)?), folds_case: false },
            "-iname" => {
                let pattern = Pattern::new(&self.value(&name)?.to_lowercase());
                Test::Name { pattern, folds_case: true }
            }
            "-path" | "-wholename" => {
                Test::Path { pattern: Pattern::new(&self.value(&name)?), folds_case: false }
            }
            "-ipath" => {
                let pattern = Pattern::new(&self.value(&name)?.to_lowercase());
                Test::Path { pattern, folds_case: true }
            }
            "-type" => Test::Kinds(kinds(&self.value(&name)?)?),
            "-size" => size(&self.value(&name)?)?,
            "-mtime" => {
                let comparison = Comparison::parse(&self.value(&name)?)?;
                Test::Age { comparison, unit_seconds: 86_400 }
            }
            "-mmin" => {
                let comparison = Comparison::parse(&self.value(&name)?)?;
                Test::Age { comparison, unit_seconds: 60 }
            }
            "-newer" => {
                let path = self.value(&name)?;
                let facts = self.call.shell.at(&path, |f, path| f.facts(path, Links::Follow))?;
                Test::Newer(facts.modified.unwrap_or(SystemTime::UNIX_EPOCH))
            }
            "-empty" => Test::Empty,
            "-true" => Test::Truth(true),
            "-false" => Test::Truth(false),
            "-prune" => Test::Prune,
            "-depth" => {
                self.contents_first = true;
                Test::Truth(true)
            }
            "-maxdepth" => {
                self.most_depth = number(&self.value(&name)?)?;
                Test::Truth(true)
            }
            "-mindepth" => {
                self.least_depth = number(&self.value(&name)?)?;
                Test::Truth(true)
            }
            "-print" | "-print0" => {
                self.acts = true;
                Test::Print { end: if name == "-print" { "\n" } else { "\0" } }
            }
            "-delete" => {
                self.acts = true;
                self.contents_first = true;
                Test::Delete
            }
            "-exec" => self.command()?,
            name => return Err(Halt::usage(format!("{name:?} is not known; see `help find`"))),
        })
    }

    fn command(&mut self) -> Result<Test, Halt> {
        self.acts = true;
        let rest = &self.words[self.at..];
        let end = rest.iter().position(|word| word == ";" || word == "+");
        let Some(end) = end.filter(|end| *end > 0) else {
            return Err(Halt::usage("-exec needs a command, and \\; or + at its end"));
        };
        let mut words = rest[..end].to_vec();
        let collects = rest[end] == "+";
        self.at += end + 1;
        if !collects {
            return Ok(Test::Run { words });
        }
        if words.pop().as_deref() != Some("{}") {
            return Err(Halt::usage("-exec … + has {} at its end"));
        }
        self.collected.push((words, Vec::new()));
        Ok(Test::Collect { index: self.collected.len() - 1 })
    }
}

fn kinds(text: &str) -> Result<Vec<Kind>, Halt> {
    let kind = |letter: &str| match letter {
        "f" => Ok(Kind::File),
        "d" => Ok(Kind::Directory),
        "l" => Ok(Kind::Link),
        other => Err(Halt::usage(format!("the kind {other:?} is not known: f, d or l"))),
    };
    text.split(',').map(kind).collect()
}

fn size(text: &str) -> Result<Test, Halt> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'c')) => (&text[..at], 1),
        Some((at, 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        Some((at, 'b')) => (&text[..at], 512),
        _ => (text, 512),
    };
    Ok(Test::Size { comparison: Comparison::parse(digits)?, unit })
}
