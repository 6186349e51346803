//! The grammar: what a script is once it is read.
//!
//! The subset of POSIX's shell command language that needs no processes, with the few words of
//! bash that people write without thinking (`[[ ]]`, `(( ))`, `{a,b}`, `<<<`, `&>`, `$'..'`).
//! Deliberately absent: background jobs, process substitution, arrays, aliases.

mod braces;
mod compounds;
mod condition;
mod parser;
mod redirects;
mod words;

use std::cell::OnceCell;
use std::rc::Rc;

pub(crate) use parser::{is_name, parse};

/// Commands, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Script(pub(crate) Vec<AndOr>);

/// Pipelines joined by `&&` and `||`.
#[derive(Debug)]
pub(crate) struct AndOr {
    pub(crate) first: Pipeline,
    pub(crate) rest: Vec<(Connector, Pipeline)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connector {
    And,
    Or,
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) negated: bool,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Simple(Simple),
    Compound(Compound, Vec<Redirect>),
    Function { name: String, body: Rc<Command> },
}

#[derive(Debug, Default)]
pub(crate) struct Simple {
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) words: Vec<Word>,
    pub(crate) redirects: Vec<Redirect>,
}

#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    /// `+=`
    pub(crate) appends: bool,
    pub(crate) value: Word,
}

#[derive(Debug)]
pub(crate) enum Compound {
    Group(Script),
    Subshell(Script),
    If {
        branches: Vec<(Script, Script)>,
        otherwise: Option<Script>,
    },
    For {
        name: String,
        words: Option<Vec<Word>>,
        body: Script,
    },
    /// `while`, and `until` where `ends_on` is success.
    Loop {
        condition: Script,
        body: Script,
        ends_on: bool,
    },
    Case {
        subject: Word,
        arms: Vec<(Vec<Word>, Script)>,
    },
    Condition(Condition),
    Arithmetic(Vec<Part>),
}

/// What stands in `[[ ]]`.
#[derive(Debug)]
pub(crate) enum Condition {
    Word(Word),
    Unary(String, Word),
    Binary(Word, String, Word),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

#[derive(Debug)]
pub(crate) struct Redirect {
    /// The descriptor at its left, or the operator's own.
    pub(crate) descriptor: usize,
    pub(crate) target: Target,
}

#[derive(Debug)]
pub(crate) enum Target {
    Read(Word),
    Write(Word),
    Append(Word),
    /// `&>` and `&>>`: standard output and error.
    Both {
        word: Word,
        appends: bool,
    },
    /// `>&n` and `<&n`.
    Duplicate(Word),
    /// A here-document; it is read after the line that names it.
    Here(Rc<OnceCell<Word>>),
    /// `<<<`
    HereString(Word),
}

/// A word before expansion.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word(pub(crate) Vec<Part>);

#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Not quoted, and without expansions.
    Literal(String),
    /// Quoted, and without expansions.
    Quoted(String),
    /// In double quotes, with expansions.
    Double(Vec<Part>),
    Parameter(Rc<Parameter>),
    Command(Rc<Script>),
    Arithmetic(Rc<Vec<Part>>),
}

/// `$name` and `${name…}`.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) operation: Operation,
}

#[derive(Debug)]
pub(crate) enum Operation {
    Value,
    Length,
    /// `-`, `=`, `?` and `+`; with a colon, nothing counts as unset.
    Unless {
        kind: Unless,
        colon: bool,
        word: Word,
    },
    /// `#`, `##`, `%` and `%%`.
    Remove {
        end: End,
        longest: bool,
        pattern: Word,
    },
    /// `/`, `//`, `/#` and `/%`.
    Replace {
        which: Which,
        pattern: Word,
        with: Word,
    },
    /// `:offset` and `:offset:length`.
    Slice {
        offset: Vec<Part>,
        length: Option<Vec<Part>>,
    },
    /// `^^`, `^`, `,,` and `,`.
    Case {
        upper: bool,
        all: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unless {
    Default,
    Assign,
    Fail,
    Alternative,
}

/// Which matches are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    All,
    /// The one at this end.
    At(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Prefix,
    Suffix,
}

impl Word {
    /// The text of a word without quotes and expansions.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
}
