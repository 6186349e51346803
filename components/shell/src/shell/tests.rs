//! What a script cannot do: bounds, denials, and texts that are no script.

use crate::answer::{Answer, Failure};
use crate::fault::{Denial, DenialCode};
use crate::sandbox::Sandbox;
use crate::syntax::parse;

fn answered(command: &str) -> Answer {
    Sandbox::with(&[("a.txt", "one\ntwo\n")]).run(command).expect("an answer")
}

fn message(command: &str) -> String {
    match Sandbox::with(&[]).run(command) {
        Err(Failure::Stopped { message } | Failure::Invalid { message, .. }) => message,
        other => panic!("{command}: {other:?}"),
    }
}

#[test]
fn what_goes_wrong_is_said_on_standard_error() {
    for (command, status, stderr) in [
        ("ehco x", 127, "ehco: not found; did you mean echo? `help` lists the commands\n"),
        ("curl x", 127, "curl: not found; the shell has no network: see the tool `fetch`\n"),
        ("cat nope", 1, "cat: nope: No such file or directory\n"),
        ("cd a.txt", 1, "cd: a.txt: Not a directory\n"),
        ("ls -@", 2, "ls: the option -@ is not known; see `help`\n"),
        ("echo $((1/0))", 1, "shell: $((1/0)): division by zero\n"),
        ("set -u; echo $nope; echo on", 1, "shell: nope: is not set\n"),
        ("echo ${x:?wanted}; echo on", 1, "shell: x: wanted\n"),
        (
            "grep '\\(a\\)\\1' a.txt",
            2,
            "grep: \"\\\\(a\\\\)\\\\1\": a pattern cannot refer back to what it matched (\\1)\n",
        ),
        ("sleep 100", 1, "sleep: a call sleeps at most 2 s in all\n"),
        (
            "rm -r /data",
            1,
            "rm: /data: is a mount, or holds mounts: only what is in a mount can be changed\n",
        ),
        ("mkdir /new", 1, "mkdir: /new: denied, no mount covers it (mount_not_granted)\n"),
    ] {
        let sandbox = Sandbox::with(&[("a.txt", "one\n")]);
        match sandbox.run(command) {
            Ok(answer) => {
                assert_eq!((answer.status, answer.stderr.as_str()), (status, stderr), "{command}");
            }
            Err(Failure::Denied(denial)) => {
                assert!(stderr.contains(denial.code.name()), "{command}: {denial:?}");
            }
            Err(other) => panic!("{command}: {other:?}"),
        }
        assert_eq!(sandbox.text("a.txt"), "one\n", "{command}");
    }
}

#[test]
fn a_denial_is_the_calls_own_error_unless_the_script_succeeds() {
    let sandbox = Sandbox::read_only(&[("a.txt", "one\n")]);
    for (command, code, path) in [
        ("cat /etc/passwd", DenialCode::NotGranted, "/etc/passwd"),
        ("cat ../etc/passwd", DenialCode::NotGranted, "/etc/passwd"),
        ("echo x > b.txt", DenialCode::ReadOnly, "/data/b.txt"),
        ("rm a.txt", DenialCode::ReadOnly, "/data/a.txt"),
        ("sed -i s/one/two/ a.txt", DenialCode::ReadOnly, "/data/a.txt"),
        ("find . -name a.txt -delete", DenialCode::ReadOnly, "/data/a.txt"),
        ("sort -o a.txt a.txt", DenialCode::ReadOnly, "/data/a.txt"),
        ("mkdir -p x/y", DenialCode::ReadOnly, "/data/x"),
        ("cp a.txt b.txt", DenialCode::ReadOnly, "/data/b.txt"),
        ("touch a.txt", DenialCode::ReadOnly, "/data/a.txt"),
    ] {
        let denial = Denial { code, path: path.to_owned() };
        assert_eq!(sandbox.run(command), Err(Failure::Denied(denial)), "{command}");
    }
    assert_eq!(sandbox.text("a.txt"), "one\n");
    let answer = sandbox.run("cat /etc/passwd || echo on").expect("went on");
    assert_eq!((answer.status, answer.stdout.as_str()), (0, "on\n"));
    assert!(answer.stderr.contains("mount_not_granted"), "{}", answer.stderr);
    let asked = sandbox.run("test -e /etc/passwd; echo $?").expect("a question");
    assert_eq!((asked.stdout.as_str(), asked.stderr.as_str()), ("1\n", ""));
}

#[test]
fn look_changes_nothing_and_says_so() {
    let sandbox = Sandbox::with(&[("a.txt", "one\n"), ("d/f", "")]);
    for command in [
        "echo x > a.txt",
        "echo x >> new",
        "cat a.txt &> new",
        "tee new < a.txt",
        "mkdir new",
        "mkdir -p d",
        "rm a.txt",
        "rm -f nope",
        "rm -r d",
        "rmdir d",
        "mv a.txt b.txt",
        "cp a.txt b.txt",
        "touch a.txt",
        "touch new",
        "sed -i s/o/0/ a.txt",
        "sort -o a.txt a.txt",
        "uniq a.txt new",
        "find . -name f -delete",
        "echo a.txt | xargs rm",
        "find . -name f -exec rm {} \\;",
        "true || false; (echo x > new) 2>/dev/null || true",
        "x=$(rm a.txt)",
    ] {
        match sandbox.look(command) {
            Err(Failure::Invalid { pointer: "/command", message }) => {
                assert!(message.contains("`look` changes nothing: use `run`"), "{message}");
            }
            other => panic!("{command}: {other:?}"),
        }
    }
    assert_eq!(sandbox.text("a.txt"), "one\n");
    let answer = sandbox.look("ls; cat a.txt > /dev/null; cat nope 2>/dev/null; ls d");
    assert_eq!(answer.expect("looked").stdout, "a.txt\nd\nf\n");
}

#[test]
fn each_bound_ends_the_script_with_its_own_message() {
    for (command, expected) in [
        ("while :; do :; done", "the step limit"),
        ("until false; do continue; done", "the step limit"),
        ("x=a; while :; do x=$x$x; done", "a variable or a word has more than"),
        ("for i in $(seq 200000); do :; done", "more than 100000 words"),
        ("x=$(seq 500000; seq 500000)", "holds at most 4 MiB"),
        ("echo a; while :; do :; done", "[end of stdout]\na"),
        ("seq 0 2e294 1e300", "more than 4 MiB"),
        ("seq -s $'\\t' 200000 | expand -t 1000", "more than 4 MiB"),
    ] {
        let message = message(command);
        assert!(message.contains(expected), "{command}: {message}");
    }
}

/// On a stack as large as the test's own, which is more than a guest has: tests/shipped.rs holds
/// the guest to its.
#[test]
fn nesting_is_bounded_when_it_is_read_and_when_it_runs() {
    for (command, expected) in [
        ("( ".repeat(5_000), "levels deep"),
        ("{ ".repeat(5_000), "levels deep"),
        ("$(".repeat(5_000), "levels deep"),
        ("if ".repeat(5_000), "levels deep"),
        ("echo \"${x:-".repeat(5_000), "levels deep"),
        ("f() ".repeat(5_000), "levels deep"),
        (format!("[[ {}", "( ".repeat(5_000)), "levels deep"),
        ("f() { f; }; f".to_owned(), "the depth limit"),
        ("f() { (f); }; f".to_owned(), "the depth limit"),
        (format!("{} ls", "command ".repeat(5_000)), "the depth limit"),
        (format!("{} ls", "env ".repeat(5_000)), "the depth limit"),
        (format!("{} ls", "xargs ".repeat(5_000)), "the depth limit"),
        ("x='eval \"$x\"'; eval \"$x\"".to_owned(), "the depth limit"),
    ] {
        let message = message(&command);
        assert!(message.contains(expected), "{}: {message}", &command[..20.min(command.len())]);
    }
}

#[test]
fn output_is_cut_and_says_so() {
    let answer = answered("seq 100000; echo done >&2");
    assert!(answer.truncated);
    assert_eq!(answer.stdout.len(), 256 << 10);
    assert!(answer.text().contains("[cut: "), "the text says so");
    assert!(!answered("seq 1000").truncated);
}

#[test]
fn input_variables_and_directory_come_from_the_call() {
    let sandbox = Sandbox::with(&[]);
    let answer = sandbox.run_with("tr a-z A-Z; mkdir d; cd d", "in\n").expect("an answer");
    assert_eq!((answer.stdout.as_str(), answer.directory.as_str()), ("IN\n", "/data/d"));
    let roots = sandbox.run("ls /; ls -l / | cut -c1-3; cd /; pwd").expect("an answer");
    assert_eq!(roots.stdout, "data\ndrw\n/\n");
    assert_eq!(
        sandbox.run("date; date +%s").expect("an answer").stdout,
        "Thu May 28 20:26:40 UTC 2026\n1780000000\n"
    );
}

#[test]
fn an_error_of_syntax_has_its_line() {
    for (command, expected) in [
        ("echo a\nif true; fi", "line 2: unexpected \"fi\"; \"then\" is missing"),
        ("echo 'a", "a ' is not closed"),
        ("cat <<E\na\n", "the here-document has no line \"E\" at its end"),
        ("a=(1 2)", "there are no arrays"),
        ("sleep 1 &", "there are no background jobs"),
        ("diff <(ls) x", "there is no process substitution"),
        ("echo a; done", "unexpected \"done\""),
        ("&& x", "unexpected"),
        ("x |", "ends too early"),
        ("echo ${x!}", "a ${ is not closed"),
    ] {
        let error = parse(command).expect_err("no script").to_string();
        assert!(error.contains(expected), "{command}: {error}");
    }
}

/// Numbers that look random and are the same each time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let count = u64::try_from(count).expect("small");
        usize::try_from(self.0 % count).expect("small")
    }
}

const PIECES: &[&str] = &[
    "echo",
    " ",
    "'",
    "\"",
    "$",
    "${",
    "}",
    "$(",
    ")",
    "((",
    "))",
    "`",
    "\\",
    "\n",
    ";",
    "&",
    "|",
    "<",
    ">",
    "<<",
    "E",
    "if",
    "then",
    "fi",
    "for",
    "in",
    "do",
    "done",
    "case",
    "esac",
    ";;",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    "*",
    "?",
    "!",
    "#",
    "x=",
    "x",
    "1",
    "-",
    "+",
    "/",
    ":",
    "%",
    "~",
    "é",
    "\u{10ffff}",
    "\t",
    "=",
    "==",
    "=~",
    "&&",
    "||",
    "2>&1",
    "<<<",
    "a b",
    ",",
    "..",
    "sed",
    "s/a/b/",
    "grep",
    "find",
    "-name",
    "printf",
    "%s",
    "test",
    "tr",
    "cut",
    "-d",
    "sort",
    "-k",
    "seq",
    "9",
    "expr",
    "date",
    "head",
    "-n",
    "while",
    "f()",
    "return",
    "break",
    "local",
    "read",
    "set",
    "--",
    "shift",
    "eval",
    "xargs",
    "diff",
    "a.txt",
    "uniq",
    "-c",
    "$((",
    "$@",
    "${#",
    "^",
];

fn random_text(numbers: &mut Numbers) -> String {
    let count = numbers.below(24) + 1;
    (0..count).map(|_| PIECES[numbers.below(PIECES.len())]).collect()
}

#[test]
fn any_text_is_read_or_refused() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for _ in 0..50_000 {
        read += usize::from(parse(&random_text(&mut numbers)).is_ok());
    }
    assert!((100..49_900).contains(&read), "both happen: {read}");
}

/// Whatever a script is, it ends with an answer or one of the three failures.
#[test]
fn any_script_ends() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let sandbox = Sandbox::with(&[("a.txt", "one\ntwo\n")]);
    let mut ran = 0;
    for _ in 0..3_000 {
        let words = 2 + numbers.below(6);
        let text: Vec<_> = (0..words).map(|_| PIECES[numbers.below(PIECES.len())]).collect();
        if let Ok(answer) = sandbox.run(&text.join(" ")) {
            ran += usize::from(answer.status != 127);
        }
    }
    assert!(ran > 50, "some ran: {ran}");
}
