use serde_json::{Value, json};

use super::*;
use crate::component::ToolHints;
use crate::identity::Subject;

const NOON: u64 = 12 * 3_600_000;

fn asking<'a>(arguments: &'a Value, principal: &'a Principal) -> Asking<'a> {
    Asking {
        component: "files",
        tool: "write",
        hints: ToolHints { destructive: true, ..ToolHints::default() },
        arguments,
        agent: Some("assistant"),
        principal,
        now_unix_ms: NOON,
    }
}

fn rule(verdict: Verdict) -> Rule {
    Rule::of_all(verdict, Terms::usual("a test"))
}

fn holds(change: impl FnOnce(&mut Rule), arguments: &Value) -> bool {
    let mut rule = rule(Verdict::Ask);
    change(&mut rule);
    rule.matches(&asking(arguments, &Principal::host()))
}

#[test]
fn each_part_of_a_rule_is_looked_at() {
    let arguments = json!({"path": "/a/b", "size": 7, "to": ["https://api.example.org/x"]});
    let with = |change: fn(&mut Rule)| holds(change, &arguments);
    assert!(with(|_| {}));
    assert!(with(|rule| rule.component = Some("files".into())));
    assert!(!with(|rule| rule.component = Some("fetch".into())));
    assert!(with(|rule| rule.tool = Some("write".into())));
    assert!(!with(|rule| rule.tool = Some("read".into())));
    assert!(with(|rule| rule.agent = Some("*".into())));
    assert!(with(|rule| rule.agent = Some("assistant".into())));
    assert!(!with(|rule| rule.agent = Some("helper".into())));
    assert!(with(|rule| rule.principal = Some("host".into())));
    assert!(!with(|rule| rule.principal = Some("somebody".into())));
    assert!(with(|rule| rule.role = Some(BuiltIn::Admin.name())));
    assert!(!with(|rule| rule.role = Some(BuiltIn::Viewer.name())));
    assert!(with(|rule| rule.annotations = vec![Annotation::Destructive]));
    assert!(!with(|rule| rule.annotations = vec![Annotation::Destructive, Annotation::OpenWorld]));
    assert!(with(|rule| rule.hours = "09:00-17:00".parse().ok()));
    assert!(!with(|rule| rule.hours = "22:00-06:00".parse().ok()));
    assert!(with(|rule| rule.destination = "*.example.org".parse().ok()));
    assert!(!with(|rule| rule.destination = "example.org".parse().ok()));
}

#[test]
fn an_argument_is_held_to_its_pattern_and_one_that_is_missing_matches_nothing() {
    let arguments = json!({"path": "/etc/passwd", "n": 5, "o": {"deep": null}});
    let with = |pointer: &str, pattern: ArgumentPattern| {
        let (pointer, arguments) = (pointer.to_owned(), &arguments);
        holds(|rule| drop(rule.arguments.insert(pointer, pattern)), arguments)
    };
    let regex = |text: &str| ArgumentPattern::Matches(regex::Regex::new(text).expect("a pattern"));
    let within = |min, max| ArgumentPattern::Within { min, max };
    assert!(with("/path", regex("^/etc/")));
    assert!(!with("/path", regex("^/tmp/")));
    assert!(!with("/n", regex("5")), "a number is no text");
    assert!(with("/n", within(Some(5.0), None)));
    assert!(!with("/n", within(None, Some(4.9))));
    assert!(with("/o/deep", ArgumentPattern::Equals(Value::Null)));
    assert!(!with("/o/deeper", ArgumentPattern::Equals(Value::Null)));
    assert!(!with("/path", within(None, None)), "a text is no number");
}

#[test]
fn the_first_rule_that_matches_decides() {
    let (arguments, host) = (json!({}), Principal::host());
    let mut other = rule(Verdict::Deny);
    other.tool = Some("read".into());
    let of = |rules: Vec<Rule>| {
        ApprovalPolicy::new(rules, Destructive::Allow).ruling(&asking(&arguments, &host))
    };
    assert_eq!(of(vec![]), Ruling::Allow);
    assert_eq!(of(vec![other.clone(), rule(Verdict::Allow), rule(Verdict::Deny)]), Ruling::Allow);
    let denied = of(vec![other, rule(Verdict::Deny), rule(Verdict::Allow)]);
    assert_eq!(denied, Ruling::Deny { rule: 1, reason: "a test".into() });
    assert_eq!(of(vec![rule(Verdict::Ask)]), Ruling::Ask(Terms::usual("a test")));
}

#[test]
fn destructive_tools_wait_where_the_operator_says_so() {
    let (arguments, host) = (json!({}), Principal::host());
    let asks = |destructive, agent: bool, is_destructive: bool| {
        let mut asking = asking(&arguments, &host);
        asking.hints.destructive = is_destructive;
        asking.agent = asking.agent.filter(|_| agent);
        matches!(ApprovalPolicy::new(vec![], destructive).ruling(&asking), Ruling::Ask(_))
    };
    assert!(!asks(Destructive::Allow, true, true));
    assert!(asks(Destructive::AskAgents, true, true));
    assert!(!asks(Destructive::AskAgents, false, true));
    assert!(asks(Destructive::Ask, false, true));
    assert!(!asks(Destructive::Ask, true, false));
}

#[test]
fn a_policy_is_named_by_all_that_it_says() {
    let of = |change: fn(&mut Rule)| {
        let mut rule = rule(Verdict::Ask);
        change(&mut rule);
        ApprovalPolicy::new(vec![rule], Destructive::Allow).digest()
    };
    assert_eq!(of(|_| {}), of(|_| {}));
    assert_ne!(of(|_| {}), of(|rule| rule.tool = Some("write".into())));
    assert_ne!(of(|_| {}), of(|rule| rule.terms.ttl_ms += 1));
    assert_ne!(
        of(|_| {}),
        of(|rule| {
            let one = ArgumentPattern::Equals(json!(1));
            drop(rule.arguments.insert("/a".into(), one));
        })
    );
}

#[test]
fn canonical_json_has_one_form() {
    let one: Value =
        serde_json::from_str(r#"{ "b": [1, {"z":0,"a":"é\u0041"}], "a": null }"#).expect("JSON");
    let other: Value =
        serde_json::from_str(r#"{"a":null,"b":[1,{"a":"éA","z":0}]}"#).expect("JSON");
    assert_eq!(canonical(&one), r#"{"a":null,"b":[1,{"a":"éA","z":0}]}"#);
    assert_eq!(canonical(&one), canonical(&other));
    // By UTF-16, U+1F600 comes before U+FB33 (RFC 8785, section 3.2.3).
    assert_eq!(canonical(&json!({"\u{fb33}": 1, "\u{1f600}": 2})), "{\"😀\":2,\"\u{fb33}\":1}");
    assert_ne!(canonical(&json!([1, 2])), canonical(&json!([2, 1])));
}

#[test]
fn a_binding_differs_if_any_part_of_it_does() {
    let (nonce, other) = (Nonce::new([1; 16]), Nonce::new([2; 16]));
    let base = Binding {
        tool: "files.write",
        component: Digest::of(b"component"),
        arguments: "{}",
        policy: Digest::of(b"policy"),
        subject: "ann",
        expires_at_unix_ms: 9,
        nonce: &nonce,
    };
    let changed = [
        Binding { tool: "files.move", ..base.clone() },
        Binding { component: Digest::of(b"another"), ..base.clone() },
        Binding { arguments: "{\"a\":1}", ..base.clone() },
        Binding { policy: Digest::of(b"another"), ..base.clone() },
        Binding { subject: "bob", ..base.clone() },
        Binding { expires_at_unix_ms: 10, ..base.clone() },
        Binding { nonce: &other, ..base.clone() },
        // What moves from one part to its neighbor is another binding.
        Binding { tool: "files.writ", ..base.clone() },
    ];
    for other in &changed {
        assert_ne!(other.digest(), base.digest(), "{other:?}");
    }
    assert_eq!(base.clone().digest(), base.digest());
}

#[test]
fn a_shape_is_the_names_and_what_is_pinned() {
    let pinned = ["/path".to_owned()];
    let of = |value: Value| shape(&value, &pinned);
    let base = of(json!({"path": "/a", "text": "one", "list": [{"n": 1}]}));
    assert_eq!(base, of(json!({"list": [{"n": 2}, {"n": 3}], "text": "two", "path": "/a"})));
    assert_ne!(base, of(json!({"path": "/b", "text": "one", "list": [{"n": 1}]})));
    assert_ne!(base, of(json!({"path": "/a", "text": "one", "list": [{"m": 1}]})));
    assert_ne!(base, of(json!({"path": "/a", "text": "one"})));
}

#[test]
fn hours_and_hosts_are_written_one_way() {
    for bad in ["", "9-17", "09:00", "09:00-25:00", "09:00-09:00", "09:60-10:00", "+9:00-10:00"] {
        assert!(bad.parse::<Hours>().is_err(), "{bad}");
    }
    for bad in ["", "*x", "a b", "*.", "a/*"] {
        assert!(bad.parse::<HostGlob>().is_err(), "{bad}");
    }
}

#[test]
fn those_who_decide_have_a_role_and_others_may_after_a_time() {
    let mut terms = Terms::usual("a test");
    let who = |role: BuiltIn| Principal {
        subject: Subject::Anybody,
        roles: vec![role.name()],
        ..Principal::clone(&Principal::host())
    };
    assert!(terms.admits(&who(BuiltIn::Viewer), 0), "no role is asked for");
    terms.approvers = vec![BuiltIn::Approver.name()];
    terms.escalation = Some(Escalation { after_ms: 10, to: vec![BuiltIn::Admin.name()] });
    assert!(terms.admits(&who(BuiltIn::Approver), 0));
    assert!(!terms.admits(&who(BuiltIn::Admin), 9));
    assert!(terms.admits(&who(BuiltIn::Admin), 10));
    assert!(!terms.admits(&who(BuiltIn::Viewer), 10));
}
