//! What the README says of scripts.

use foreshore_scripted_model::{Format, Script, ScriptedServer};

use crate::client::{any_port, post, user_at_once};

#[test]
fn the_script_of_the_readme_does_what_it_says() {
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme.split_once("## A model without a model").expect("the section");
    let (_, script) = section.split_once("```toml\n").expect("a script");
    let (script, _) = script.split_once("```").expect("its end");
    let script = Script::parse(script, Format::Toml).expect("it is sound");
    let server = ScriptedServer::start(script, any_port()).expect("a free port");
    let first = post(&server, "/api/chat", &user_at_once("When is low tide in Brest?"));
    assert_eq!(first.status, 503);
    assert!(first.head.contains("retry-after: 1"), "{}", first.head);
    let second = post(&server, "/api/chat", &user_at_once("When is low tide in Brest?"));
    assert_eq!(second.json()["message"]["content"], "Low tide in Brest is at noon.");
}
