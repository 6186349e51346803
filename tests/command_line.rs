//! The command line: one call without a server, and what it says when it cannot.

use serde_json::json;

use crate::harness::{foreshore, foreshore_in, guests, repository};

#[test]
fn a_call_with_its_mount_succeeds_and_without_says_what_is_missing() {
    let repository = repository();
    let arguments = r#"{"path":"/data/host","pattern":"fn main"}"#;
    let granted = foreshore_in(
        &repository,
        &["call", "files.search", arguments, "--mount", "./:/data:ro", "--json"],
    );
    assert_eq!(granted.code, 0, "{}", granted.stderr);
    let body = granted.json();
    assert_eq!(body["is_error"], false, "{body}");
    assert!(body.to_string().contains("main.rs"), "{body}");
    let denied = foreshore_in(&repository, &["call", "files.search", arguments]);
    assert_eq!(denied.code, 4, "{}{}", denied.stdout, denied.stderr);
    let said = format!("{}{}", denied.stdout, denied.stderr);
    assert!(said.contains("mount_not_granted") && said.contains("--mount"), "{said}");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    for (arguments, code) in [
        (vec!["call", "files.nothing", "{}"], 3),
        (vec!["call", "files.search", "{}"], 3),
        (vec!["call", "files.search", "{not json"], 3),
        (
            vec![
                "call",
                "interpret.javascript",
                r#"{"code":"while (true) {}"}"#,
                "--limit",
                "fuel=200000000",
            ],
            5,
        ),
        (vec!["call", "interpret.javascript", r#"{"code":"throw new Error('mine')"}"#], 1),
        (vec!["call", "files.search", "{}", "--limit", "fuel=0"], 2),
        (vec!["nonsense"], 2),
    ] {
        let ran = foreshore(&arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn inspect_and_doctor_say_what_a_component_is_and_wants() {
    let rogue = guests::guest("rogue-http").display().to_string();
    let inspected = foreshore(&["component", "inspect", &rogue, "--json"]);
    assert_eq!(inspected.code, 0, "{}", inspected.stderr);
    let body = inspected.json();
    assert!(body["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{body}");
    assert!(body.to_string().contains("wasi:http/outgoing-handler"), "{body}");
    assert!(body.to_string().contains("[components.rogue"), "{body}");
    let doctor = foreshore(&["component", "doctor", &rogue]);
    assert_ne!(doctor.code, 0, "{}", doctor.stdout);
    let said = format!("{}{}", doctor.stdout, doctor.stderr);
    assert!(said.contains("allow ="), "{said}");
    let fine = foreshore(&["component", "doctor", &guests::guest("rogue").display().to_string()]);
    assert_eq!(fine.code, 0, "{}{}", fine.stdout, fine.stderr);
}

#[test]
fn components_are_added_listed_and_removed_in_the_directory_that_is_served() {
    let directory = tempfile::tempdir().expect("made");
    let components = directory.path().join("components").display().to_string();
    let rogue = guests::guest("rogue").display().to_string();
    let added = foreshore(&["component", "add", &rogue, "--components", &components]);
    assert_eq!(added.code, 0, "{}", added.stderr);
    let listed = foreshore(&["component", "list", "--components", &components, "--json"]);
    assert!(
        listed.stdout.contains("\"rogue\"") && listed.stdout.contains("files"),
        "{}",
        listed.stdout
    );
    let removed = foreshore(&["component", "remove", "rogue", "--components", &components]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    let listed = foreshore(&["component", "list", "--components", &components, "--json"]);
    assert!(!listed.stdout.contains("\"rogue\""), "{}", listed.stdout);
}

#[test]
fn the_version_names_the_commit() {
    let ran = foreshore(&["--version"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.starts_with("foreshore 0.1.0"), "{}", ran.stdout);
}

#[test]
fn the_demo_shows_three_jobs_four_refusals_and_a_turn_that_outlives_its_host() {
    let ran = foreshore_in(&repository(), &["demo", "--json", "--scripted"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let steps: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&ran.stdout)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .expect("JSON objects, one a step");
    assert_eq!(steps.len(), 8, "{steps:?}");
    for step in &steps {
        assert_eq!(step["ok"], json!(true), "{step}");
        assert!(step["name"].is_string() && step["usage"].is_object(), "{step}");
    }
    let killed = &steps[7];
    assert_eq!((&killed["name"], &killed["agent"]), (&json!("killed"), &json!("assistant")));
    // A model was asked for the table, for each of three lines, and for the answer.
    assert_eq!(killed["usage"]["tool_calls"], 4, "{killed}");
    assert_eq!(killed["usage"]["model_calls"], 5, "{killed}");
    let text = killed["text"].as_str().expect("a text");
    for part in ["scripted model", "kill -9", "resumed", "reply: Three planets", "none done twice"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}
