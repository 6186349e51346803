//! Reading the fields that say what a client sends and wants: `Content-Type`, `Accept`,
//! `If-None-Match`, `Foreshore-Limits`, `Foreshore-Approval`, `Prefer`.
//!
//! Each reader is a pure function of the header; what is not understood is refused, not guessed.

use std::time::Duration;

use foreshore_domain::id::ApprovalId;
use foreshore_domain::limits::{LimitError, LimitsPatch};
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::problem::{Problem, Refusal};

/// The field by which a caller asks for less than the operator allows.
pub(crate) const FORESHORE_LIMITS: HeaderName = HeaderName::from_static("foreshore-limits");
/// What a caller would like (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The field by which a caller shows that somebody approved this call.
pub(crate) const FORESHORE_APPROVAL: HeaderName = HeaderName::from_static("foreshore-approval");

/// The longest that a call waits for a person in its request.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// In which form a client wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON text.
    Json,
    /// Server-sent events.
    Events,
}

/// Media types that a form may be asked for by, from the most to the least specific.
const JSON: [&str; 3] = ["application/json", "application/*", "*/*"];
const EVENTS: [&str; 1] = ["text/event-stream"];

/// The form that a client prefers; JSON where it does not care. Events must be asked for by
/// their full name: `*/*` means JSON.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Refusal> {
    let json = quality(headers, &JSON);
    let events = quality(headers, &EVENTS);
    match (json, events) {
        (None, None) => Ok(Form::Json),
        (json, events) => {
            let (json, events) = (json.unwrap_or(0), events.unwrap_or(0));
            match (json, events) {
                (0, 0) => Err(Problem::not_acceptable("application/json or text/event-stream")),
                (json, events) if events > json => Ok(Form::Events),
                _ => Ok(Form::Json),
            }
        }
    }
}

/// The approval that a caller shows, if it does.
pub(crate) fn approval(headers: &HeaderMap) -> Result<Option<ApprovalId>, Refusal> {
    let mut values = headers.get_all(FORESHORE_APPROVAL).iter();
    let read = |value: &http::HeaderValue| value.to_str().ok().and_then(ApprovalId::parse);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if read(value).is_some() => Ok(read(value)),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_approval",
            "The approval is none",
            "Foreshore-Approval is apr_ and 32 hex digits, once",
        )),
    }
}

/// How long a caller would wait for a person (`Prefer: wait=SECONDS`, RFC 7240, section 4.3). As
/// that says, what is not understood is ignored.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let seconds = values
        .flat_map(|value| value.split([',', ';']))
        .find_map(|item| item.trim().strip_prefix("wait=")?.trim_matches('"').parse().ok());
    seconds.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX))
}

/// Refuses a client that takes no JSON.
pub(crate) fn accepts_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let takes = !headers.contains_key(ACCEPT) || quality(headers, &JSON).is_some_and(|q| q > 0);
    if takes { Ok(()) } else { Err(Problem::not_acceptable("application/json")) }
}

/// Whether a client asks for CSV rather than JSON, by its full name.
pub(crate) fn wants_csv(headers: &HeaderMap) -> Result<bool, Refusal> {
    let csv = quality(headers, &["text/csv"]).unwrap_or(0);
    let json = quality(headers, &JSON);
    match (csv, json) {
        (0, Some(0)) => Err(Problem::not_acceptable("application/json or text/csv")),
        (csv, json) => Ok(csv > json.unwrap_or(0)),
    }
}

/// The weight, in thousandths, that `Accept` gives to the first of `ranges` that it names;
/// `None` if there is no such field at all, 0 if it names none of them.
fn quality(headers: &HeaderMap, ranges: &[&str]) -> Option<u32> {
    headers.get(ACCEPT)?;
    let named = |range: &&str| {
        headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .find_map(|item| weight(item, range))
    };
    Some(ranges.iter().find_map(named).unwrap_or(0))
}

/// The weight of one item of `Accept` if it is the media range `range` (RFC 9110, 12.4.2).
fn weight(item: &str, range: &str) -> Option<u32> {
    let mut parts = item.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(range) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    Some(weight.map_or(1_000, thousandths))
}

/// `0.5` is 500; what is no weight is 0, so that nothing is sent that was not asked for.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if digits => format!("{fraction:0<3}").parse().unwrap_or(0),
        "1" if fraction.bytes().all(|byte| byte == b'0') => 1_000,
        _ => 0,
    }
}

/// Refuses a body that is not said to be JSON. A form of a web page cannot say so, therefore it
/// cannot call a tool.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    const WANTED: &str = "application/json";
    let is_json = content_type(headers).is_some_and(|essence| essence.eq_ignore_ascii_case(WANTED));
    if is_json && is_plain(headers) { Ok(()) } else { Err(Problem::unsupported_media_type(WANTED)) }
}

/// What a component is called.
const WASM: &str = "application/wasm";

/// Whether a body is said to be a component.
pub(crate) fn is_wasm(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|essence| essence.eq_ignore_ascii_case(WASM))
}

/// Refuses a body that is said to be something else than a component.
pub(crate) fn require_wasm(headers: &HeaderMap) -> Result<(), Refusal> {
    const WANTED: &str = WASM;
    let is_wasm = match content_type(headers) {
        None => !headers.contains_key(CONTENT_TYPE),
        Some(essence) => {
            essence.eq_ignore_ascii_case(WANTED)
                || essence.eq_ignore_ascii_case("application/octet-stream")
        }
    };
    if is_wasm && is_plain(headers) { Ok(()) } else { Err(Problem::unsupported_media_type(WANTED)) }
}

/// The one content type without its parameters.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()?.split(';').next().map(str::trim)
}

/// Compressed bodies are not taken: a small one could be a large one.
fn is_plain(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether the client already holds what `etag` names.
pub(crate) fn holds(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The limits that a caller lowers: `Foreshore-Limits: fuel=1000000, deadline_ms=100`.
pub(crate) fn lowered_limits(headers: &HeaderMap) -> Result<LimitsPatch, Refusal> {
    let mut patch = LimitsPatch::default();
    let mut seen: Vec<&str> = Vec::new();
    for value in headers.get_all(FORESHORE_LIMITS) {
        let text = value.to_str().map_err(|_| invalid_limits("the field holds no plain text"))?;
        // An empty item means nothing (RFC 9110, section 5.6.1).
        for item in
            text.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|i| !i.is_empty())
        {
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| invalid_limits(&format!("\"{item}\" is not NAME=NUMBER")))?;
            if seen.contains(&name) {
                return Err(invalid_limits(&format!("{name} is given twice")));
            }
            set(&mut patch, name, value)?;
            seen.push(name);
        }
    }
    Ok(patch)
}

fn set(patch: &mut LimitsPatch, name: &str, value: &str) -> Result<(), Refusal> {
    // `u64` would also parse "+5".
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| value.parse::<u64>().ok()).flatten();
    // The name is looked up even if the number is wrong: the better message wins.
    patch.set(name, number.unwrap_or(1)).map_err(|error| match error {
        LimitError::Unknown { .. } => Problem::invalid_limits("unknown_limit", error.to_string()),
        error => invalid_limits(&error.to_string()),
    })?;
    match number {
        Some(0) => Err(invalid_limits(&format!("{name} = 0 is refused: a limit is at least 1"))),
        Some(_) => Ok(()),
        None => Err(invalid_limits(&format!("the value of {name} is no whole number"))),
    }
}

fn invalid_limits(detail: &str) -> Refusal {
    Problem::invalid_limits(
        "invalid_limits",
        format!("{detail}; write limits as \"fuel=1000000, deadline_ms=100\""),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn json_is_the_form_unless_events_are_preferred() {
        let form_of = |values: &[&'static str]| form(&headers(ACCEPT, values)).map_err(|p| p.code);
        for json in [
            "*/*",
            "application/json",
            "application/*",
            "application/json, text/event-stream",
            "text/html, */*;q=0.1",
            "text/event-stream;q=0.2, application/json;q=0.3",
        ] {
            assert_eq!(form_of(&[json]), Ok(Form::Json), "{json}");
        }
        assert_eq!(form_of(&[]), Ok(Form::Json));
        for events in [
            "text/event-stream",
            "Text/Event-Stream",
            "application/json;q=0.5, text/event-stream",
            "application/json;q=0, text/event-stream;q=0.001",
            "*/*;q=0.1, text/event-stream; q=0.2",
        ] {
            assert_eq!(form_of(&[events]), Ok(Form::Events), "{events}");
        }
        assert_eq!(form_of(&["text/html"]), Err("not_acceptable"));
        assert_eq!(form_of(&["application/json;q=0"]), Err("not_acceptable"));
        assert_eq!(form_of(&["application/json;q=7"]), Err("not_acceptable"));
        assert_eq!(form_of(&["text/html", "application/json"]), Ok(Form::Json));
    }

    #[test]
    fn a_call_takes_nothing_but_json() {
        let fine = |values: &[&'static str]| require_json(&headers(CONTENT_TYPE, values)).is_ok();
        assert!(fine(&["application/json"]) && fine(&["Application/JSON; charset=utf-8"]));
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonp",
            "text/plain; application/json",
            "",
        ] {
            assert!(!fine(&[bad]), "{bad}");
        }
        assert!(!fine(&[]) && !fine(&["application/json", "application/json"]));
        let mut compressed = headers(CONTENT_TYPE, &["application/json"]);
        compressed.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(require_json(&compressed).expect_err("compressed").status.as_u16(), 415);
    }

    #[test]
    fn limits_are_read_from_every_line_of_the_field() {
        let patch = lowered_limits(&headers(
            FORESHORE_LIMITS,
            &["fuel=1000000,, deadline_ms=100 ,", "\tmemory_max_bytes=65536"],
        ))
        .expect("valid");
        assert_eq!(
            (patch.fuel, patch.deadline_ms, patch.memory_max_bytes),
            (Some(1_000_000), Some(100), Some(65_536))
        );
    }

    #[test]
    fn limits_that_cannot_be_read_are_refused_with_the_reason() {
        let refused = |text: &'static str| {
            let problem = lowered_limits(&headers(FORESHORE_LIMITS, &[text])).expect_err(text);
            assert_eq!(problem.status.as_u16(), 400);
            (problem.code, problem.detail)
        };
        let (code, detail) = refused("feul=1");
        assert!(code == "unknown_limit" && detail.contains("fuel, deadline_ms"), "{detail}");
        for bad in [
            "fuel",
            "fuel=",
            "fuel=0",
            "fuel=-1",
            "fuel=+1",
            "fuel=1.5",
            "fuel=1e3",
            "fuel = 1",
            "fuel=99999999999999999999",
            "fuel=1, fuel=2",
            "=1",
        ] {
            let (code, _) = refused(bad);
            assert!(code == "invalid_limits" || code == "unknown_limit", "{bad}: {code}");
        }
        assert_eq!(refused("fuel=0").0, "invalid_limits");
    }

    #[test]
    fn an_entity_tag_is_compared_weakly() {
        let with = |values: &[&'static str]| holds(&headers(IF_NONE_MATCH, values), "\"a-1\"");
        assert!(
            with(&["\"a-1\""]) && with(&["W/\"a-1\""]) && with(&["\"x\", \"a-1\""]) && with(&["*"])
        );
        assert!(!with(&[]) && !with(&["\"a-2\""]) && !with(&["a-1"]));
    }
}
