//! Commands where they differ from GNU's by design, and what the cases cannot say.

use crate::commands::{COMMANDS, find, not_found};
use crate::sandbox::Sandbox;

fn output(command: &str) -> String {
    let sandbox = Sandbox::with(&[("a.txt", "one\ntwo\n"), ("d/b.txt", "three\n"), (".h", "")]);
    let answer = sandbox.run(command).expect("an answer");
    assert_eq!(answer.stderr, "", "{command}");
    answer.stdout
}

#[test]
fn the_table_is_sorted_so_that_it_can_be_searched() {
    assert!(COMMANDS.windows(2).all(|pair| pair[0].name < pair[1].name));
    for command in COMMANDS {
        assert!(find(command.name).is_some_and(|found| found.name == command.name));
        assert!(!command.usage.is_empty(), "{}", command.name);
    }
}

#[test]
fn a_name_that_is_not_known_gets_the_nearest() {
    assert!(not_found("gerp").contains("did you mean grep?"));
    assert!(not_found("sotr").contains("did you mean sort?"));
    assert!(not_found("awk").contains("no programs run here"));
    assert!(!not_found("kubernetes").contains("did you mean"));
}

#[test]
fn listings_show_what_the_grant_allows() {
    let lines = output("touch -d 2026-01-02 a.txt; ls -l a.txt; stat -c '%A %s %y' a.txt");
    let expected = "-rw 8 2026-01-02 00:00 a.txt\n-rw 8 2026-01-02 00:00:00.000000000 +0000\n";
    assert_eq!(lines, expected);
    assert_eq!(output("head -c 3000 /dev/null; seq 1000 > n; ls -lh n | cut -c5-8"), "3.9K\n");
    assert_eq!(output("du -a d | sort"), "1\td\n1\td/b.txt\n");
    assert_eq!(output("du -b d a.txt"), "6\td\n8\ta.txt\n");
    assert_eq!(output("ls -lS | tail -1 | cut -c1-3"), "-rw\n");
}

#[test]
fn times_are_compared() {
    let command = "touch -d 2026-01-01 old; touch -d 2026-01-02 new
        [ new -nt old ] && echo newer; find . -newer old -name new
        find . -name old -mtime +30; ls -t old new; date -r new +%F";
    assert_eq!(output(command), "newer\n./new\n./old\nnew\nold\n2026-01-02\n");
}

#[test]
fn pipes_carry_bytes() {
    let command = "printf 'a\\377b\\0c\\n' > raw; cat raw | wc -c; cat raw | tr a x | wc -c
        grep -c b raw; cp raw raw2; diff raw raw2 && echo same; sort raw | tail -c 5 | wc -c";
    assert_eq!(output(command), "6\n6\n1\nsame\n5\n");
}

#[test]
fn a_tree_is_moved_copied_and_removed_whole() {
    let command = "mkdir -p t/u; echo 1 > t/u/f; cp -r t v; mv t w; rm -r v/u; find v w | sort
        cp -r w w/inside; echo $?; mv w w/inside; echo $?";
    let sandbox = Sandbox::with(&[]);
    let answer = sandbox.run(command).expect("an answer");
    assert_eq!(answer.stdout, "v\nw\nw/u\nw/u/f\n1\n1\n");
    assert!(answer.stderr.contains("onto or into itself"), "{}", answer.stderr);
}

#[cfg(unix)]
#[test]
fn links_are_removed_and_not_followed() {
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("keep"), "").expect("a file");
    let sandbox = Sandbox::with(&[("d/f", "")]);
    std::os::unix::fs::symlink(outside.path(), sandbox.root().join("d/link")).expect("a link");
    let answer = sandbox.run("find d -type l; grep -r x d; rm -r d; ls").expect("an answer");
    assert_eq!((answer.stdout.as_str(), answer.status), ("d/link\n", 0));
    assert!(outside.path().join("keep").exists());
}

#[test]
fn long_differences_are_still_true() {
    let command = "seq 3000 > p; seq 5001 8000 > q; cat p q > both; diff p q | wc -l
        diff p both | tail -1; seq 1 2 3000 > odd; diff p odd | grep -c '^<'";
    assert_eq!(output(command), "6002\n> 8000\n1500\n");
}

#[test]
fn help_has_every_command() {
    let text = output("help");
    for command in COMMANDS {
        assert!(text.contains(&format!("\n{} ", command.name)), "{}", command.name);
    }
}
