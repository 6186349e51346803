//! Scripts with what bash and GNU's tools make of them.
//!
//! `cases.txt` has them with what was written and the exit status. One test holds this shell to
//! it; the other, which needs bash, holds the file to bash:
//! `cargo test -p shell -- --ignored bash`.

use std::process::{Command, Stdio};

use crate::sandbox::Sandbox;

const FILES: &[(&str, &str)] = &[
    ("a.txt", "one\ntwo\nthree\n"),
    ("b.txt", "one\n2\nthree\nzone one\n"),
    ("nums", "10\n9\n2\n33\n2\n"),
    ("words", "banana\nApple\ncherry\napple\nbee\n"),
    ("table", "x 3 c\ny 1 a\nz 2 b\nw 1 d\n"),
    ("table.csv", "name,n,c\nada,3,x\nbob,10,y\ncy,3,z\n"),
    ("dir/in.md", "deep one\n"),
    ("dir/sub/x.md", "deeper\n"),
    ("dir/sub/y", "y\n"),
    (".hidden", "h\n"),
    ("empty", ""),
];

#[derive(Debug, PartialEq, Eq)]
struct Ended {
    stdout: String,
    status: i32,
}

fn cases() -> Vec<(&'static str, Ended)> {
    let blocks = include_str!("cases.txt").split("%%\n").skip(1);
    blocks
        .map(|block| {
            let (script, rest) = block.split_once("\n%= ").expect("a status");
            let (status, stdout) = rest.split_once('\n').expect("a line end");
            let stdout = stdout.strip_suffix("\n%-\n").unwrap_or(stdout).to_owned();
            (script, Ended { stdout, status: status.parse().expect("a number") })
        })
        .collect()
}

#[test]
fn scripts_give_what_bash_and_its_tools_give() {
    let cases = cases();
    assert!(cases.len() > 400, "the file was read: {}", cases.len());
    let mut wrong = Vec::new();
    for (script, expected) in cases {
        let answer = Sandbox::with(FILES).run(script).expect("an answer");
        let found = Ended { stdout: answer.stdout, status: answer.status };
        if found != expected {
            wrong.push(format!("{script}\n  {expected:?}\n  {found:?}\n  {}", answer.stderr));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
#[ignore = "needs bash and GNU's tools"]
fn the_cases_are_what_bash_gives() {
    for (script, expected) in cases() {
        let sandbox = Sandbox::with(FILES);
        let output = Command::new("bash")
            .args(["-c", script])
            .current_dir(sandbox.root())
            .env_clear()
            .envs([("PATH", "/usr/bin:/bin"), ("LC_ALL", "C"), ("TZ", "UTC"), ("HOME", "/")])
            .stdin(Stdio::null())
            .output()
            .expect("bash runs");
        let stdout = String::from_utf8(output.stdout).expect("text");
        let status = output.status.code().expect("a status");
        assert_eq!(Ended { stdout, status }, expected, "{script}");
    }
}
