//! What came of a case, held against what should have.
//!
//! Pure: facts in, differences out. Each difference names the expectation, what it wanted and
//! what there was.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use foreshore_domain::call::CallError;
use foreshore_domain::denial::Denial;
use foreshore_domain::outcome::{ContentBody, Logs, ResourceBody, ToolResult, Usage};
use serde_json::Value as Json;

use super::case::Expectations;

/// What came of a call, and of the world around it.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) result: Result<ToolResult, CallError>,
    pub(crate) denials: Vec<Denial>,
    pub(crate) usage: Usage,
    pub(crate) logs: Logs,
    /// The files that the case asks about; those that are not there are missing.
    pub(crate) files: BTreeMap<String, String>,
    /// The requests that arrived, in order.
    pub(crate) requests: Vec<String>,
}

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The key of the expectation.
    pub(crate) expectation: String,
    /// What was wanted.
    pub(crate) expected: String,
    /// What there was.
    pub(crate) actual: String,
}

/// Everything that does not hold; empty means passed.
pub(crate) fn differences(expect: &Expectations, observed: &Observed) -> Vec<Difference> {
    let mut found = Found::default();
    found.ending(expect, observed);
    found.content(expect, observed);
    found.denial(expect, observed);
    found.ceilings(expect, observed);
    found.surroundings(expect, observed);
    found.differences
}

#[derive(Default)]
struct Found {
    differences: Vec<Difference>,
}

impl Found {
    fn expect(&mut self, holds: bool, key: &str, expected: impl ToString, actual: impl ToString) {
        if !holds {
            self.differences.push(Difference {
                expectation: key.to_owned(),
                expected: expected.to_string(),
                actual: actual.to_string(),
            });
        }
    }

    /// How the call ended. A call ends well unless the case says otherwise.
    fn ending(&mut self, expect: &Expectations, observed: &Observed) {
        let expects_denial = expect.denied.is_some();
        match (&observed.result, &expect.error) {
            (Err(error), Some(code)) => {
                self.expect(error.code() == code, "error", code, describe(error));
            }
            (Err(CallError::Denied(_)), None) if expects_denial => {}
            (Err(error), None) => {
                self.expect(false, "error", "none: the call ends well", describe(error));
            }
            (Ok(result), Some(code)) => {
                self.expect(false, "error", code, ending_of(result));
            }
            (Ok(result), None) => {
                // A tool that was denied something usually fails; a case that expects the
                // denial need not say both.
                let wanted = expect.is_error.or((!expects_denial).then_some(false));
                if let Some(wanted) = wanted {
                    self.expect(
                        result.is_error == wanted,
                        "is_error",
                        wanted,
                        format!("{}: {}", result.is_error, text_of(result)),
                    );
                }
            }
        }
    }

    fn content(&mut self, expect: &Expectations, observed: &Observed) {
        let Ok(result) = &observed.result else { return };
        let structured = structured(result);
        let shown = || structured.as_ref().map_or("no structured result".to_owned(), pretty);
        if let Some(wanted) = &expect.result {
            self.expect(structured.as_ref() == Some(wanted), "result", pretty(wanted), shown());
        }
        if let Some(wanted) = &expect.result_subset {
            let holds = structured.as_ref().is_some_and(|actual| is_subset(wanted, actual));
            self.expect(holds, "result_subset", pretty(wanted), shown());
        }
        if let Some(pattern) = &expect.text {
            let text = text_of(result);
            self.expect(matches(pattern, &text), "text", pattern, &text);
        }
    }

    fn denial(&mut self, expect: &Expectations, observed: &Observed) {
        let ended_by = match &observed.result {
            Err(CallError::Denied(denial)) => Some(denial),
            _ => None,
        };
        let codes: Vec<&str> =
            observed.denials.iter().chain(ended_by).map(|denial| denial.code.as_str()).collect();
        if let Some(wanted) = &expect.denied {
            let actual =
                if codes.is_empty() { "nothing was denied".to_owned() } else { codes.join(", ") };
            self.expect(codes.contains(&wanted.as_str()), "denied", wanted, actual);
        }
    }

    fn ceilings(&mut self, expect: &Expectations, observed: &Observed) {
        let usage = &observed.usage;
        for (key, ceiling, used) in [
            ("fuel_max", expect.fuel_max, usage.fuel),
            ("memory_max_bytes", expect.memory_max_bytes, usage.peak_memory_bytes),
        ] {
            if let Some(ceiling) = ceiling {
                self.expect(used <= ceiling, key, format!("at most {ceiling}"), used);
            }
        }
    }

    fn surroundings(&mut self, expect: &Expectations, observed: &Observed) {
        let lines: Vec<String> = observed
            .logs
            .lines
            .iter()
            .map(|line| format!("{}: {}", line.level.as_str(), line.message))
            .collect();
        for pattern in &expect.logs {
            let holds = lines.iter().any(|line| matches(pattern, line));
            self.expect(holds, "logs", pattern, lines.join("\n"));
        }
        for (path, wanted) in &expect.files {
            let actual = observed.files.get(path);
            let shown = actual.map_or("no such file", String::as_str);
            self.expect(actual == Some(wanted), &format!("files.\"{path}\""), wanted, shown);
        }
        if let Some(wanted) = &expect.requests {
            let holds = *wanted == observed.requests;
            self.expect(holds, "requests", wanted.join("\n"), observed.requests.join("\n"));
        }
    }
}

fn describe(error: &CallError) -> String {
    format!("{} ({error})", error.code())
}

fn ending_of(result: &ToolResult) -> String {
    let how = if result.is_error { "failed by itself" } else { "succeeded" };
    format!("the tool {how}: {}", text_of(result))
}

fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn pretty(json: &Json) -> String {
    serde_json::to_string_pretty(json).expect("invariant: JSON values serialize")
}

/// The structured result or, without one, the only JSON part.
fn structured(result: &ToolResult) -> Option<Json> {
    let part = result.content.iter().find_map(|part| match &part.body {
        ContentBody::Json(json) => Some(json),
        _ => None,
    });
    result.structured.as_ref().or(part).and_then(|json| serde_json::from_str(json.get()).ok())
}

/// All text of a result, parts joined by lines.
pub(crate) fn text_of(result: &ToolResult) -> String {
    let mut text = String::new();
    for part in &result.content {
        let piece = match &part.body {
            ContentBody::Text(text) => text,
            ContentBody::Json(json) => json.get(),
            ContentBody::Resource(resource) => match &resource.body {
                ResourceBody::Text(text) => text,
                _ => &resource.uri,
            },
            _ => continue,
        };
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{gap}{piece}");
    }
    text
}

/// Whether `actual` has everything that `wanted` has: objects may have more keys, lists must have
/// as many elements. Numbers are equal by value: `1` is `1.0`.
fn is_subset(wanted: &Json, actual: &Json) -> bool {
    match (wanted, actual) {
        (Json::Object(wanted), Json::Object(actual)) => wanted
            .iter()
            .all(|(key, wanted)| actual.get(key).is_some_and(|actual| is_subset(wanted, actual))),
        (Json::Array(wanted), Json::Array(actual)) => {
            wanted.len() == actual.len() && wanted.iter().zip(actual).all(|(w, a)| is_subset(w, a))
        }
        (Json::Number(wanted), Json::Number(actual)) => {
            wanted == actual
                || (wanted.is_f64() != actual.is_f64() && wanted.as_f64() == actual.as_f64())
        }
        (wanted, actual) => wanted == actual,
    }
}

#[cfg(test)]
mod tests {
    use foreshore_domain::call::FiredLimit;
    use foreshore_domain::component::ComponentRef;
    use foreshore_domain::denial::DenialCode;
    use foreshore_domain::outcome::{Content, LogLevel, LogLine};
    use serde_json::json;

    use super::*;

    fn observed(result: Result<ToolResult, CallError>) -> Observed {
        Observed {
            result,
            denials: Vec::new(),
            usage: Usage { fuel: 100, peak_memory_bytes: 1_000, ..Usage::default() },
            logs: Logs {
                lines: vec![LogLine { level: LogLevel::Info, message: "started".into() }],
                dropped: 0,
            },
            files: BTreeMap::from([("/out".to_owned(), "x".to_owned())]),
            requests: vec!["GET http://a.example/".to_owned()],
        }
    }

    fn success() -> Result<ToolResult, CallError> {
        Ok(ToolResult {
            is_error: false,
            content: vec![Content::text("three matches")],
            structured: Some(
                serde_json::value::to_raw_value(
                    &json!({"count": 3, "more": [1, {"a": 1, "b": 2}]}),
                )
                .expect("JSON"),
            ),
        })
    }

    fn failing(expect: Expectations, observed: &Observed) -> Vec<String> {
        differences(&expect, observed).into_iter().map(|d| d.expectation).collect()
    }

    #[test]
    fn each_expectation_holds_and_fails_by_itself() {
        let observed = observed(success());
        let none = Expectations::default;
        let text = |text: &str| Some(text.to_owned());
        let rows: Vec<(Expectations, &[&str])> = vec![
            (Expectations { is_error: Some(false), ..none() }, &[]),
            (Expectations { is_error: Some(true), ..none() }, &["is_error"]),
            (Expectations { result_subset: Some(json!({"count": 3.0})), ..none() }, &[]),
            (Expectations { result_subset: Some(json!({"more": [1, {"b": 2}]})), ..none() }, &[]),
            (
                Expectations { result_subset: Some(json!({"more": [1]})), ..none() },
                &["result_subset"],
            ),
            (Expectations { result: Some(json!({"count": 3})), ..none() }, &["result"]),
            (Expectations { text: text("^three"), ..none() }, &[]),
            (Expectations { text: text("^four"), ..none() }, &["text"]),
            (Expectations { denied: text("mount_not_granted"), ..none() }, &["denied"]),
            (Expectations { error: text("fuel_exhausted"), ..none() }, &["error"]),
            (Expectations { fuel_max: Some(100), ..none() }, &[]),
            (Expectations { fuel_max: Some(99), ..none() }, &["fuel_max"]),
            (Expectations { memory_max_bytes: Some(1), ..none() }, &["memory_max_bytes"]),
            (Expectations { logs: vec!["^info: st".into()], ..none() }, &[]),
            (Expectations { logs: vec!["^warn".into()], ..none() }, &["logs"]),
            (Expectations { files: BTreeMap::from([("/out".into(), "x".into())]), ..none() }, &[]),
            (
                Expectations { files: BTreeMap::from([("/o".into(), "x".into())]), ..none() },
                &["files.\"/o\""],
            ),
            (Expectations { requests: Some(vec![]), ..none() }, &["requests"]),
        ];
        for (expect, wanted) in rows {
            assert_eq!(failing(expect.clone(), &observed), wanted, "{expect:?}");
        }
    }

    #[test]
    fn an_error_that_nobody_expected_fails_the_case() {
        let component = ComponentRef::new("a", semver::Version::new(0, 1, 0)).expect("a name");
        let error = CallError::Limit { component, limit: FiredLimit::Fuel, allowed: 1 };
        let observed = observed(Err(error));
        let expect = Expectations { fuel_max: Some(1_000), ..Expectations::default() };
        assert_eq!(failing(expect, &observed), ["error"]);
        let expect =
            Expectations { error: Some("fuel_exhausted".into()), ..Expectations::default() };
        assert_eq!(failing(expect, &observed), Vec::<String>::new());
    }

    #[test]
    fn a_denial_counts_whether_the_call_ended_by_it_or_not() {
        let denial = Denial {
            code: DenialCode::HttpNotGranted,
            subject: "GET https://a.example/".into(),
            grant: String::new(),
        };
        let expect =
            Expectations { denied: Some("http_not_granted".into()), ..Expectations::default() };
        let mut coped = observed(success());
        coped.denials.push(denial.clone());
        assert_eq!(failing(expect.clone(), &coped), Vec::<String>::new());
        let ended = observed(Err(CallError::Denied(denial)));
        assert_eq!(failing(expect, &ended), Vec::<String>::new());
    }
}
