//! The commands there are, by their names.
//!
//! Each is a function over its arguments and the shell's streams; none starts anything outside of
//! the sandbox, and `xargs` and `find -exec` run commands of this same table.

mod arguments;
mod builtins;
mod changing;
mod column;
mod copying;
mod date;
mod diff;
mod echo;
mod environment;
mod find;
mod grep;
mod help;
mod listing;
mod names;
mod numbers;
mod paste;
mod printf;
mod read;
mod reading;
mod sed;
mod sort;
mod stat;
pub(crate) mod test;
#[cfg(test)]
mod tests;
mod tr;
mod uniq;
mod walk;
mod xargs;

use crate::fault::Fault;
use crate::halt::{Halt, Ran, Stop};
use crate::shell::Shell;
use crate::stream::{HELD_MAX_BYTES, Input};

/// A command of the table.
#[derive(Clone, Copy)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Invocation<'_>) -> Ran,
    /// How it is called, and what it does.
    pub(crate) usage: &'static str,
}

/// One call of a command.
pub(crate) struct Invocation<'a> {
    pub(crate) shell: &'a mut Shell,
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a [String],
}

impl Invocation<'_> {
    pub(crate) fn write(&self, data: &[u8]) -> Result<(), Halt> {
        self.shell.streams.write(1, data)
    }

    /// Writes a line.
    pub(crate) fn line(&self, text: &str) -> Result<(), Halt> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes a message to standard error, behind the command's name.
    pub(crate) fn complain(&mut self, message: &str) -> Result<(), Halt> {
        let message = format!("{}: {message}", self.name);
        self.shell.complain(&message)
    }

    /// As `complain`, for a path.
    pub(crate) fn report(&mut self, fault: &Fault) -> Result<(), Halt> {
        self.shell.report(self.name, fault)
    }

    /// What a file holds, or standard input for `-`.
    pub(crate) fn open(&self, path: &str) -> Result<Input, Halt> {
        if path == "-" { Ok(self.shell.streams.input()) } else { self.shell.open(path) }
    }

    /// Holds what a command keeps in memory to what it may.
    pub(crate) fn bounded(&self, bytes: usize) -> Result<(), Halt> {
        if bytes > HELD_MAX_BYTES {
            return Err(Halt::Stop(Stop::Held("a command held more than 4 MiB at once")));
        }
        Ok(())
    }

    /// Does something with each file, or with standard input where none is named. One that cannot
    /// be read is reported, and the rest go on.
    pub(crate) fn each_input(
        &mut self,
        paths: &[String],
        mut action: impl FnMut(&mut Self, &str, &Input) -> Result<(), Halt>,
    ) -> Ran {
        let only_input = ["-".to_owned()];
        let paths = if paths.is_empty() { &only_input } else { paths };
        let mut status = 0;
        for path in paths {
            let result = self.open(path).and_then(|input| action(self, path, &input));
            if let Err(halt) = result {
                let failed = self.shell.reported(self.name, halt)?;
                status = status.max(failed);
            }
        }
        Ok(status)
    }
}

/// The command of a name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    let at = COMMANDS.binary_search_by(|command| command.name.cmp(name)).ok()?;
    COMMANDS.get(at)
}

/// What is said of a name that none has.
pub(crate) fn not_found(name: &str) -> String {
    let shown: String = name.chars().take(60).collect();
    let hint = match shown.as_str() {
        "awk" | "gawk" | "perl" | "python" | "python3" | "node" => {
            "; no programs run here: see `help`, and the tools `query` and `interpret`".to_owned()
        }
        "curl" | "wget" => "; the shell has no network: see the tool `fetch`".to_owned(),
        shown => match nearest(shown) {
            Some(nearest) => format!("; did you mean {nearest}? `help` lists the commands"),
            None => "; `help` lists the commands".to_owned(),
        },
    };
    format!("not found{hint}")
}

fn nearest(name: &str) -> Option<&'static str> {
    let letters = |name: &str| {
        let mut letters: Vec<char> = name.chars().collect();
        letters.sort_unstable();
        letters
    };
    let own = letters(name);
    // Of two that are as near, the one with the same letters in another order.
    let distances = COMMANDS
        .iter()
        .map(|command| (distance(name, command.name), letters(command.name) != own, command.name));
    let (distance, _, nearest) = distances.min()?;
    (distance <= 2 && distance < nearest.len()).then_some(nearest)
}

/// How many characters have to be put in, taken out or changed.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, own) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (other_index, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(own != *other);
            diagonal = row[other_index + 1];
            row[other_index + 1] = changed.min(diagonal + 1).min(row[other_index] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

macro_rules! commands {
    ($($name:literal $run:path, $usage:literal;)+) => {
        /// Sorted by name, for a search by halves.
        pub(crate) const COMMANDS: &[Command] = &[
            $(Command { name: $name, run: $run, usage: $usage },)+
        ];
    };
}

commands! {
    "." builtins::source, "FILE: run a script here";
    ":" builtins::succeed, "do nothing";
    "[" test::run, "EXPRESSION ]: as test";
    "basename" names::basename, "PATH [SUFFIX]: the last part of a path";
    "break" builtins::leave_loop, "[N]: leave a loop";
    "cat" reading::cat, "[-n] [FILE]…: write files out";
    "cd" builtins::change_directory, "[DIRECTORY|-]: change the working directory";
    "comm" uniq::comm, "[-123] FILE FILE: compare sorted files";
    "command" builtins::command, "[-v] NAME …: run a command, or tell what it is";
    "continue" builtins::next_round, "[N]: begin the next round of a loop";
    "cp" copying::copy, "[-r] [-n] SOURCE… TARGET: copy";
    "cut" column::cut, "-d C -f LIST | -c LIST [-s] [FILE]…: parts of lines";
    "date" date::date, "[-u] [-I] [-d @SECONDS|DATE] [+FORMAT]: the time, in UTC";
    "diff" diff::diff, "[-u] [-q] [-i] [-w] [-r] FILE FILE: what differs";
    "dirname" names::dirname, "PATH…: paths without their last part";
    "du" listing::du, "[-s] [-h] [-a] [-d N] [PATH]…: how much files hold, in KiB";
    "echo" echo::echo, "[-n] [-e] [TEXT]…: write a text";
    "egrep" grep::egrep, "as grep -E";
    "env" environment::env, "[NAME=VALUE]… [COMMAND]: exported variables, or run with some";
    "eval" builtins::eval, "TEXT…: run a text as a script";
    "exit" builtins::exit, "[STATUS]: end the script";
    "expand" column::expand, "[-t N] [FILE]…: blanks for tabs";
    "export" environment::export, "[NAME[=VALUE]]…: export variables";
    "expr" numbers::expr, "A OPERATOR B: calculate or compare; rather use $(( ))";
    "false" builtins::fail, "fail";
    "fgrep" grep::fgrep, "as grep -F";
    "find" find::find, "[PATH]… [-name P] [-iname P] [-path P] [-type f|d|l] [-size N] [-empty] [-newer F] [-mtime N] [-maxdepth N] [-mindepth N] [!] [-o] [( )] [-prune] [-print|-print0|-delete|-exec COMMAND {} ;|+]";
    "fold" column::fold, "[-w N] [-s] [FILE]…: break long lines";
    "grep" grep::grep, "[-EFivwxnHhclLoqsr] [-m N] [-A|-B|-C N] [-e P] [--include G] [--exclude G] PATTERN [FILE]…: lines that match";
    "head" reading::head, "[-n N|-c N] [FILE]…: the beginning";
    "help" help::help, "[COMMAND]…: this list";
    "local" environment::local, "NAME[=VALUE]…: variables of a function";
    "ls" listing::ls, "[-alRh1drSt] [PATH]…: list directories; in / are the mounts";
    "mkdir" changing::make_directory, "[-p] DIRECTORY…: make directories";
    "mv" copying::rename, "[-n] SOURCE… TARGET: move or rename";
    "nl" reading::number_lines, "[-b a|t] [FILE]…: number lines";
    "paste" paste::paste, "[-d LIST] [-s] [FILE]…: join lines side by side";
    "printenv" environment::print_environment, "[NAME]…: exported variables";
    "printf" printf::printf, "FORMAT [ARGUMENT]…: write by a format";
    "pwd" builtins::print_directory, "the working directory";
    "read" read::read, "[-r] [-d C] [-p TEXT] NAME…: read a line into variables";
    "realpath" names::real_path, "PATH…: paths in full";
    "return" builtins::leave_function, "[STATUS]: leave a function";
    "rev" reading::reverse, "[FILE]…: lines backwards";
    "rm" changing::remove, "[-r] [-f] PATH…: remove";
    "rmdir" changing::remove_directory, "DIRECTORY…: remove empty directories";
    "sed" sed::sed, "[-n] [-E] [-i] [-s] [-e SCRIPT] [SCRIPT] [FILE]…: edit lines (s y d p q = a i c n N D P h H g G x b t {})";
    "seq" numbers::seq, "[-s TEXT] [-w] [FIRST [STEP]] LAST: numbers";
    "set" environment::set, "[-efux] [-o pipefail] [--] [ARGUMENT]…: settings and $1 …";
    "shift" builtins::shift, "[N]: drop the first arguments";
    "sleep" numbers::sleep, "SECONDS: wait, at most 2 s in all";
    "sort" sort::sort, "[-nrufbhVsc] [-k KEY]… [-t C] [-o FILE] [FILE]…: sort lines";
    "source" builtins::source, "FILE: run a script here";
    "stat" stat::stat, "[-c FORMAT] PATH…: kind, size and time (%n %s %F %y %Y)";
    "tac" reading::backwards, "[FILE]…: lines in the opposite order";
    "tail" reading::tail, "[-n N|-n +N|-c N] [FILE]…: the end";
    "tee" changing::tee, "[-a] [FILE]…: write standard input to files too";
    "test" test::run, "EXPRESSION: -e -f -d -s -r -w -x -L -z -n = != < > -eq -ne -lt -le -gt -ge -nt -ot ! -a -o ( )";
    "touch" changing::touch, "[-c] FILE…: make files, or set their time to now";
    "tr" tr::translate, "[-cds] SET [SET]: change, delete or squeeze characters";
    "true" builtins::succeed, "succeed";
    "type" builtins::kind_of, "NAME…: what a name is";
    "uniq" uniq::uniq, "[-cdui] [-f N] [-s N] [FILE]: lines that follow each other once";
    "unset" environment::unset, "[-f] NAME…: forget variables or functions";
    "wc" reading::count, "[-lwcm] [FILE]…: lines, words, bytes, characters";
    "which" builtins::kind_of, "NAME…: what a name is";
    "xargs" xargs::xargs, "[-0] [-r] [-n N] [-I R] [-d C] [COMMAND]: run a command with arguments from standard input";
    "yes" numbers::yes, "[TEXT]: a line, a thousand times";
}
