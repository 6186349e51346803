//! The shipped tools and agents, through the command line as a user would call them.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::foreshore_in;
use crate::harness::server::Server;
use crate::harness::web::Web;

fn call(directory: &Path, tool: &str, arguments: &Value, more: &[&str]) -> (i32, Value) {
    let text = arguments.to_string();
    let mut all = vec!["call", tool, &text, "--json"];
    all.extend_from_slice(more);
    let ran = foreshore_in(directory, &all);
    let body = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| json!({"stderr": ran.stderr}));
    (ran.code, body)
}

#[test]
fn files_write_edit_read_move_and_delete() {
    let root = tempfile::tempdir().expect("made");
    let mount = format!("{}:/data:rw", root.path().display());
    let ok = |tool: &str, arguments: Value| {
        let (code, body) = call(root.path(), tool, &arguments, &["--mount", &mount]);
        assert_eq!(code, 0, "{tool} {arguments}: {body}");
        body["structured"].clone()
    };
    ok("files.write", json!({"path": "/data/a.txt", "text": "one\ntwo\nthree\n"}));
    ok("files.edit", json!({"path": "/data/a.txt", "old_text": "two", "new_text": "2"}));
    let text = std::fs::read_to_string(root.path().join("a.txt")).expect("written");
    assert_eq!(text, "one\n2\nthree\n");
    ok("files.append", json!({"path": "/data/a.txt", "text": "four\n"}));
    let found = ok("files.search", json!({"path": "/data", "pattern": "^th.*e$"}));
    assert!(found.to_string().contains("three"), "{found}");
    ok("files.move", json!({"from": "/data/a.txt", "to": "/data/b.txt"}));
    let listed = ok("files.list", json!({"path": "/data"}));
    assert!(listed.to_string().contains("b.txt"), "{listed}");
    ok("files.delete", json!({"path": "/data/b.txt"}));
    assert!(!root.path().join("b.txt").exists());
}

#[test]
fn files_on_a_read_only_mount_are_denied_with_the_grant() {
    let root = tempfile::tempdir().expect("made");
    let mount = format!("{}:/data:ro", root.path().display());
    let (code, body) = call(
        root.path(),
        "files.write",
        &json!({"path": "/data/a.txt", "text": "x"}),
        &["--mount", &mount],
    );
    assert_eq!(code, 4, "{body}");
    assert_eq!(body["code"], "mount_read_only", "{body}");
    assert!(!root.path().join("a.txt").exists());
}

#[test]
fn query_reads_json_ndjson_and_csv() {
    let root = tempfile::tempdir().expect("made");
    std::fs::write(root.path().join("cities.csv"), "name,people\nBergen,291940\nOslo,717710\n")
        .expect("written");
    let mount = format!("{}:/data:ro", root.path().display());
    let (code, body) = call(
        root.path(),
        "query.jq",
        &json!({"filter": "select(.people > 500000) | .name", "path": "/data/cities.csv"}),
        &["--mount", &mount],
    );
    assert_eq!(code, 0, "{body}");
    assert!(body["structured"].to_string().contains("Oslo"), "{body}");
    let (code, body) =
        call(root.path(), "query.jq", &json!({"filter": ".a + 1", "text": "{\"a\": 41}"}), &[]);
    assert_eq!(code, 0, "{body}");
    assert!(body["structured"].to_string().contains("42"), "{body}");
    let (code, body) = call(root.path(), "query.jq", &json!({"filter": ".a +", "text": "{}"}), &[]);
    assert_ne!(code, 0, "{body}");
}

#[test]
fn interpret_runs_javascript_on_values() {
    let root = tempfile::tempdir().expect("made");
    let (code, body) = call(
        root.path(),
        "interpret.javascript",
        &json!({"code": "console.log('seen'); input.numbers.reduce((a, b) => a + b, 0)", "input": {"numbers": [1, 2, 39]}}),
        &[],
    );
    assert_eq!(code, 0, "{body}");
    assert!(body["structured"].to_string().contains("42"), "{body}");
    assert!(body.to_string().contains("seen"), "{body}");
}

#[test]
fn fetch_turns_a_page_into_markdown() {
    let web = Web::start(|_, stream| {
        use std::io::Write as _;
        let page =
            "<html><body><h1>Tide</h1><p>See the <a href=\"/table\">table</a>.</p></body></html>";
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
            page.len()
        );
    });
    let root = tempfile::tempdir().expect("made");
    let url = format!("http://{}/page", web.address);
    let rule = format!("GET http://{}/*", web.address);
    let (code, body) = call(
        root.path(),
        "fetch.request",
        &json!({"url": url}),
        &["--allow-http", &rule, "--allow-network", "127.0.0.0/8"],
    );
    assert_eq!(code, 0, "{body}");
    let text = body.to_string();
    assert!(text.contains("# Tide") && text.contains("[table]("), "{text}");
    let (code, body) =
        call(root.path(), "fetch.request", &json!({"url": url}), &["--allow-http", &rule]);
    assert_eq!((code, &body["code"]), (4, &json!("http_address_not_granted")), "{body}");
    let (code, body) = call(
        root.path(),
        "fetch.request",
        &json!({"url": "https://example.com/"}),
        &["--allow-http", &rule, "--allow-network", "127.0.0.0/8"],
    );
    assert_eq!((code, &body["code"]), (4, &json!("http_not_granted")), "{body}");
    assert_eq!(web.connections(), 1);
}

#[test]
fn shell_runs_command_lines_over_a_mount() {
    let root = tempfile::tempdir().expect("made");
    std::fs::write(root.path().join("tide.log"), "high 3\nlow 1\nhigh 5\n").expect("written");
    let mount = format!("{}:/data:rw", root.path().display());
    let run =
        |tool: &str, arguments: Value| call(root.path(), tool, &arguments, &["--mount", &mount]);
    let command = "grep ^high tide.log | cut -d' ' -f2 | sort -rn > heights && wc -l < heights
        mkdir -p old && mv tide.log old/ && cd old && ls; echo gone >&2; false";
    let (code, body) = run("shell.run", json!({"command": command}));
    assert_eq!(code, 0, "{body}");
    let expected = json!({
        "stdout": "2\ntide.log\n", "stderr": "gone\n", "status": 1,
        "directory": "/data/old", "truncated": false,
    });
    assert_eq!(body["structured"], expected, "{body}");
    let text = "2\ntide.log\n[stderr]\ngone\n[status 1]\n";
    assert_eq!(body["content"][0]["text"], text, "{body}");
    let heights = std::fs::read_to_string(root.path().join("heights")).expect("written");
    assert_eq!(heights, "5\n3\n");
    let (code, body) = run(
        "shell.look",
        json!({"command": "cat; cd $WHERE; pwd", "stdin": "in\n", "variables": {"WHERE": "old"}}),
    );
    assert_eq!((code, &body["structured"]["stdout"]), (0, &json!("in\n/data/old\n")), "{body}");
    let (code, body) = run("shell.look", json!({"command": "cp heights more"}));
    assert_eq!(code, 3, "{body}");
    assert!(body.to_string().contains("`look` changes nothing: use `run`"), "{body}");
    assert!(!root.path().join("more").exists());
}

#[test]
fn shell_is_denied_what_is_not_granted_and_told_the_grant() {
    let root = tempfile::tempdir().expect("made");
    let mount = format!("{}:/data:ro", root.path().display());
    for (command, denied) in [
        ("echo x > /data/a.txt", "mount_read_only"),
        ("cd /data && touch b.txt", "mount_read_only"),
        ("cat /etc/passwd", "mount_not_granted"),
        ("cd .. && cat etc/passwd", "mount_not_granted"),
    ] {
        let (code, body) =
            call(root.path(), "shell.run", &json!({"command": command}), &["--mount", &mount]);
        assert_eq!((code, &body["code"]), (4, &json!(denied)), "{command}: {body}");
        assert!(body.to_string().contains("[components.shell]"), "{command}: {body}");
    }
    let command = "cat /etc/passwd || echo caught";
    let (code, body) =
        call(root.path(), "shell.run", &json!({"command": command}), &["--mount", &mount]);
    assert_eq!((code, &body["structured"]["stdout"]), (0, &json!("caught\n")), "{body}");
    assert!(body["structured"]["stderr"].to_string().contains("mount_not_granted"), "{body}");
    assert_eq!(std::fs::read_dir(root.path()).expect("read").count(), 0);
}

/// Hostile scripts end with the shell's own message, not with a trap of the sandbox.
#[test]
fn shell_bounds_what_a_script_does() {
    let root = tempfile::tempdir().expect("made");
    for (command, code, message) in [
        ("while :; do :; done".to_owned(), 1, "the step limit"),
        (format!("{} ls", "command ".repeat(10_000)), 1, "the depth limit"),
        ("f() { f; }; f".to_owned(), 1, "the depth limit"),
        ("f() { x=$(if true; then (f); fi); }; f".to_owned(), 1, "the depth limit"),
        ("x=a; while :; do x=$x$x; done".to_owned(), 1, "a variable or a word has more than"),
        (
            "seq 400000 | sort | tac | tr 0-9 a-j | cat; seq 400000 | diff - /dev/null".to_owned(),
            0,
            "",
        ),
        ("( ".repeat(10_000), 3, "levels deep"),
        (format!("echo {}", "$(echo ".repeat(10_000)), 3, "levels deep"),
        (format!("echo \"{}\"", "${x:-\"".repeat(10_000)), 3, "levels deep"),
        (format!("echo $(({}1))", "(".repeat(10_000)), 3, "(( is not closed"),
        (format!("[[ {} a ]]", "! ".repeat(10_000)), 3, "levels deep"),
        (format!("test {} a || echo no", "! ".repeat(10_000)), 0, "no"),
        (format!("echo a | grep '{}' || echo no", "\\(".repeat(10_000)), 0, "no"),
    ] {
        let (found, body) = call(root.path(), "shell.run", &json!({"command": command}), &[]);
        let shown: String = command.chars().take(60).collect();
        assert_eq!(found, code, "{shown}: {body}");
        assert!(body.to_string().contains(message), "{shown}: {body}");
    }
}

#[test]
fn the_agents_are_loaded_and_reach_for_nothing_but_what_agents_have() {
    let server = Server::start("", &[]);
    for name in ["assistant", "panel", "planner"] {
        let body = server.get(&format!("/v1/components/{name}")).json();
        assert_eq!(body["status"], "loaded", "{body}");
        let inspection = &body["inspection"];
        assert_eq!(inspection["kinds"], json!(["agent"]), "{body}");
        let imports = inspection["imports"].as_array().expect("imports");
        let names = imports.iter().filter_map(|import| import["name"].as_str());
        for import in names.clone() {
            let is_outside = ["wasi:filesystem", "wasi:sockets", "wasi:http", "wasi:keyvalue"]
                .iter()
                .any(|package| import.starts_with(package));
            assert!(!is_outside, "{name} imports {import}");
        }
        assert!(names.clone().any(|import| import.starts_with("foreshore:inference/")), "{body}");
    }
}
