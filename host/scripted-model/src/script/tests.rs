use super::*;

fn problem(text: &str, format: Format) -> String {
    Script::parse(text, format).expect_err("no script").to_string()
}

/// A rule in TOML, from line 1; what is given starts on line 3.
fn rule(rest: &str) -> String {
    format!("[[rules]]\nname = \"a\"\n{rest}\n")
}

#[test]
fn an_error_names_the_line_and_the_way_on() {
    for (rest, line, says) in [
        ("when.last_user = { regex = \"(\" }\nanswer.text = \"x\"", 3, "unclosed group"),
        ("when.model = \"[\"\nanswer.text = \"x\"", 3, "the glob \"[\""),
        ("answer.text = \"{{who}}\"", 3, "unknown {{who}}: there are last_user"),
        ("answer.text = \"{{last_user\"", 3, "close it with }}"),
        ("answer.text = \"{{repeat 99999999 xx}}\"", 3, "repeat 1 to 16777216 bytes"),
        ("answer.text = \"{{first 2 first 1 1}}\"", 3, "`first` within `first`"),
        ("answer.text = \"{{first 2 2}}\"", 1, "add ( ) around what you want"),
        ("answer = { text = \"x\", status = 404 }", 3, "use `error` or `body`"),
        ("answer = { text = \"x\", json = {} }", 3, "say one of `text`"),
        ("answer = { error = \"x\" }", 3, "need a `status`"),
        ("answer = { status = 99 }", 3, "not between 200 and 599"),
        ("answer = { text = \"x\", delay_ms = 100000000 }", 3, "more than a day"),
        ("answer = { text = \"x\", break = { with = \"error\" } }", 3, "as in after = 0"),
        ("answer = { text = \"x\", headers = { connection = \"close\" } }", 3, "leave it out"),
        ("answer = { txt = \"x\" }", 3, "unknown field `txt`, expected one of `text`"),
        ("answer = { text = \"x\", chunks = { words = 0 } }", 3, "nonzero"),
        ("", 1, "the rule \"a\" answers nothing: add `answer`"),
        ("answers = []", 1, "empty list of answers"),
        ("answer.text = \"x\"\nanswers = [{ text = \"y\" }]", 1, "keep one of them"),
        ("answer.text = \"{{1}}\"", 1, "add ( ) around what you want"),
        ("answer.text = \"{{variable v}}\"", 1, "add `v = \"REGEX\"`"),
    ] {
        let problem = problem(&rule(rest), Format::Toml);
        assert!(problem.contains(&format!("at line {line}, column")), "{rest}: {problem}");
        assert!(problem.contains(says), "{rest}: {problem} does not say {says:?}");
    }
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = "rules:\n- name: a\n  answer:\n    text: '{{who}}'\n";
    let said = problem(yaml, Format::Yaml);
    assert!(said.contains("line 4") && said.contains("unknown {{who}}"), "{said}");
    let json = "{\"rules\":[\n{\"name\":\"a\",\n\"answer\":{\"text\":\"{{who}}\"}}]}";
    let said = problem(json, Format::Json);
    assert!(said.contains("line 3") && said.contains("unknown {{who}}"), "{said}");
}

#[test]
fn a_model_has_one_entry() {
    let twice = "[[models]]\nname = \"a\"\n[[models]]\nname = \"a:latest\"\n";
    assert!(problem(twice, Format::Toml).contains("\"a:latest\" twice"));
    let long = " ".repeat(SCRIPT_MAX_BYTES + 1);
    assert!(problem(&long, Format::Toml).contains("more than 4194304"));
}

#[test]
fn the_three_forms_are_one_script() {
    let toml = "[[models]]\nname = \"m\"\nload_ms = 5\n\
        [[rules]]\nwhen = { last_user = { regex = \"a\" }, format = \"any\" }\n\
        answer = { text = \"x\", chunks = { words = 2 }, break = { after = 1, with = \"cut\" } }\n\
        [[rules]]\nwhen.last_user = \"b\"\nanswers = [{ chunk_list = [\"x\"], chunks = \"whole\" }]\n";
    let yaml = "models:\n- name: m\n  load_ms: 5\nrules:\n- when:\n    last_user:\n      regex: a\n    \
        format: any\n  answer:\n    text: x\n    chunks:\n      words: 2\n    break:\n      after: 1\n      \
        with: cut\n- when:\n    last_user: b\n  answers:\n  - chunk_list: [x]\n    chunks: whole\n";
    let json = serde_json::json!({
        "models": [{ "name": "m", "load_ms": 5 }],
        "rules": [
            {
                "when": { "last_user": { "regex": "a" }, "format": "any" },
                "answer": {
                    "text": "x", "chunks": { "words": 2 }, "break": { "after": 1, "with": "cut" }
                }
            },
            { "when": { "last_user": "b" }, "answers": [{ "chunk_list": ["x"], "chunks": "whole" }] }
        ]
    });
    let read = |text: &str, format| format!("{:?}", Script::parse(text, format).expect("a script"));
    let expected = read(&json.to_string(), Format::Json);
    assert_eq!(read(toml, Format::Toml), expected);
    assert_eq!(read(yaml, Format::Yaml), expected);
}

#[test]
fn what_is_built_in_parses() {
    assert_eq!(Script::echo().rules.len(), 1);
    assert!(Script::demo().rules.len() > 10);
    assert!(Script::saying("{{who}}").is_err());
    assert!(Script::refusing(99, "x").is_err());
    assert_eq!(Format::of(Path::new("a/b.YML")), Some(Format::Yaml));
    assert_eq!(Format::of(Path::new("toml")), None);
}
