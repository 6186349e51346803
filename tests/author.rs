//! What a plugin author does: new, build, inspect, test, serve.

use std::process::Command;

use serde_json::json;

use crate::harness::server::Server;
use crate::harness::{foreshore, foreshore_in};

#[test]
fn a_new_tool_builds_with_cargo_alone_loads_lists_runs_and_passes_its_cases() {
    let directory = tempfile::tempdir().expect("made");
    let made = foreshore_in(directory.path(), &["new", "tool", "hello"]);
    assert_eq!(made.code, 0, "{}{}", made.stdout, made.stderr);
    let again = foreshore_in(directory.path(), &["new", "tool", "hello"]);
    assert_ne!(again.code, 0, "nothing is written over");
    let project = directory.path().join("hello");
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("author");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    // What the outer cargo set for itself is none of the author's.
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("CARGO") || name.starts_with("RUST"))
    {
        if !matches!(name.as_str(), "CARGO_HOME" | "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN") {
            cargo.env_remove(name);
        }
    }
    let built = cargo
        .args(["build", "--release", "--target", "wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .current_dir(&project)
        .output()
        .expect("cargo starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let wasm = target.join("wasm32-wasip2/release/hello.wasm").display().to_string();
    let doctor = foreshore(&["component", "doctor", &wasm]);
    assert_eq!(doctor.code, 0, "{}{}", doctor.stdout, doctor.stderr);
    let inspected = foreshore(&["component", "inspect", &wasm, "--json"]).json();
    assert!(inspected["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{inspected}");
    let cases = project.join("cases").display().to_string();
    let tested = foreshore_in(&project, &["test", &wasm, "--cases", &cases]);
    assert_eq!(tested.code, 0, "{}{}", tested.stdout, tested.stderr);

    let server = Server::start("", &[]);
    let bytes = std::fs::read(&wasm).expect("built");
    assert!(server.put_component("hello", &bytes).status < 300);
    let tool = inspected["tools"][0]["name"].as_str().expect("a name").to_owned();
    let listed = server.get("/v1/tools").json().to_string();
    assert!(listed.contains(&format!("hello.{tool}")), "{listed}");
    let answer = server.call(&format!("hello.{tool}"), &json!({"nonsense": true}));
    assert_eq!(answer.status, 422, "{answer:?}");
}

#[test]
fn a_case_that_expects_the_wrong_thing_fails() {
    let directory = tempfile::tempdir().expect("made");
    let cases = directory.path().join("cases");
    std::fs::create_dir(&cases).expect("made");
    let empty = foreshore(&[
        "test",
        &crate::harness::guests::guest("rogue").display().to_string(),
        "--cases",
        &cases.display().to_string(),
    ]);
    assert_ne!(empty.code, 0, "no case at all is no pass: {}", empty.stdout);
}
