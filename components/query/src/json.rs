//! jaq's values as JSON, and JSON's depth.
//!
//! jaq's values are a superset of JSON: this decides what becomes of the rest, as jq does where
//! jq decides. The invariant: what is written parses as JSON everywhere and is flat enough for
//! the host.

use jaq_json::{Num, Val};

/// The contract allows 32 levels, and a result lies inside of two.
pub(crate) const RESULT_DEPTH_MAX: usize = 30;
/// Data of files may be deeper, but not so deep that reading it exhausts the stack.
pub(crate) const DATA_DEPTH_MAX: usize = 200;

/// Why a value is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotJson {
    #[error("it is nested deeper than {RESULT_DEPTH_MAX} levels: return a flatter value")]
    TooDeep,
    #[error("it has an object with a key that is no string: use (key | tostring)")]
    Key,
}

/// Adds the JSON of a value to a text. Not-a-number becomes null and an infinity the largest
/// number, as in jq; a byte string is taken as UTF-8.
///
/// # Errors
/// What JSON, or the host, cannot carry.
pub(crate) fn write(value: &Val, json: &mut String) -> Result<(), NotJson> {
    write_at(value, json, 0)
}

fn write_at(value: &Val, json: &mut String, depth: usize) -> Result<(), NotJson> {
    if depth > RESULT_DEPTH_MAX {
        return Err(NotJson::TooDeep);
    }
    match value {
        Val::Null => json.push_str("null"),
        Val::Bool(true) => json.push_str("true"),
        Val::Bool(false) => json.push_str("false"),
        Val::Num(Num::Float(number)) => write_float(*number, json),
        // A decimal is kept as it was written, and jaq writes it as JSON does.
        Val::Num(number) => json.push_str(&number.to_string()),
        Val::TStr(bytes) | Val::BStr(bytes) => write_text(&String::from_utf8_lossy(bytes), json),
        Val::Arr(values) => {
            json.push('[');
            for (index, value) in values.iter().enumerate() {
                separate(index, json);
                write_at(value, json, depth + 1)?;
            }
            json.push(']');
        }
        Val::Obj(fields) => {
            json.push('{');
            for (index, (key, value)) in fields.iter().enumerate() {
                separate(index, json);
                let Val::TStr(key) = key else { return Err(NotJson::Key) };
                write_text(&String::from_utf8_lossy(key), json);
                json.push(':');
                write_at(value, json, depth + 1)?;
            }
            json.push('}');
        }
    }
    Ok(())
}

fn separate(index: usize, json: &mut String) {
    if index > 0 {
        json.push(',');
    }
}

fn write_text(text: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

fn write_float(number: f64, json: &mut String) {
    if number.is_nan() {
        json.push_str("null");
    } else {
        let finite = number.clamp(f64::MIN, f64::MAX);
        json.push_str(&serde_json::Value::from(finite).to_string());
    }
}

/// Whether a JSON text is nested deeper than `max`. Looks at brackets alone, before anything is
/// parsed: a parser that calls itself must not meet a text that is too deep.
pub(crate) fn is_deeper_than(json: &[u8], max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use jaq_json::read::parse_single;

    fn written(json: &str) -> String {
        let mut text = String::new();
        write(&parse_single(json.as_bytes()).expect("json"), &mut text).expect("json");
        text
    }

    #[test]
    fn json_comes_out_as_it_went_in() {
        for json in [
            r#"{"b":[1,2.50,-3e2],"a":{"x":null,"y":[true,false]}}"#,
            r#""a\"\\\n\u0001é🎉""#,
            "123456789012345678901234567890",
            "[]",
            "{}",
        ] {
            assert_eq!(written(json), json);
        }
    }

    #[test]
    fn numbers_outside_of_json_become_what_jq_makes_of_them() {
        assert_eq!(
            written("[NaN,Infinity,-Infinity]"),
            "[null,1.7976931348623157e+308,-1.7976931348623157e+308]"
        );
    }

    #[test]
    fn a_value_too_deep_and_a_key_that_is_no_string_are_refused() {
        let deep = "[".repeat(32) + &"]".repeat(32);
        let value = parse_single(deep.as_bytes()).expect("json");
        assert_eq!(write(&value, &mut String::new()), Err(NotJson::TooDeep));
        let value = parse_single(b"{1: 2}").expect("a superset of json");
        assert_eq!(write(&value, &mut String::new()), Err(NotJson::Key));
    }

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        assert!(is_deeper_than(b"[[1]]", 1));
        assert!(!is_deeper_than(b"[[1],[2]]", 2));
        assert!(!is_deeper_than(br#"["[[[\"[["]"#, 1));
    }
}
