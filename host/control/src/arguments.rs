//! The arguments of a call: from bytes to a JSON value that a schema can be held to.
//!
//! Depth is bounded before anything is parsed, and a key that appears twice is refused: the
//! schema check here and the parser in the guest might each believe another one of the two.
//! The guest still gets the text as the caller wrote it, so nothing is lost on the way.

use std::fmt;

use foreshore_domain::call::CallError;
use foreshore_runtime::{JSON_DEPTH_MAX, check_json_depth};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What a call without a body means.
const EMPTY: &str = "{}";

/// Checks arguments and reads them: the text that goes to the guest, and its value.
///
/// # Errors
/// [`CallError::InvalidArguments`]: not UTF-8, not JSON, not an object, too deep, a key twice.
pub(crate) fn parse<'a>(tool: &str, bytes: &'a [u8]) -> Result<(&'a str, Value), CallError> {
    let invalid = |message: String| CallError::InvalidArguments {
        tool: tool.to_owned(),
        pointer: String::new(),
        message,
    };
    let text = text(bytes).ok_or_else(|| invalid("they are not UTF-8".to_owned()))?;
    check_json_depth(text.as_bytes(), JSON_DEPTH_MAX)
        .map_err(|error| invalid(error.to_string()))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = StrictValue
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| invalid(format!("they are not JSON: {error}")))?;
    if value.is_object() {
        Ok((text, value))
    } else {
        Err(invalid("they are not an object: write {\"name\": value}".to_owned()))
    }
}

/// The text that the guest gets for these bytes; `None` if they are not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(if text.trim_ascii().is_empty() { EMPTY } else { text })
}

/// Reads a [`Value`] as serde_json does, except that a key may appear only once.
struct StrictValue;

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(StrictValue)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {:?} appears twice",
                    crate::record::shortened(&key, 64)
                )));
            }
            let value = access.next_value_seed(StrictValue)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        match parse("t", text.as_bytes()) {
            Err(CallError::InvalidArguments { message, .. }) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_object_is_read_as_serde_json_reads_it() {
        let text = r#"{"a":[1,-2,3.5,null,true,"x\n\u00e9"],"b":{"c":18446744073709551615}}"#;
        let (given, value) = parse("t", text.as_bytes()).expect("valid");
        assert_eq!(given, text);
        assert_eq!(value, serde_json::from_str::<Value>(text).expect("valid"));
    }

    #[test]
    fn nothing_at_all_means_no_arguments() {
        for nothing in ["", " \n"] {
            let (text, value) = parse("t", nothing.as_bytes()).expect("valid");
            assert_eq!((text, value), ("{}", serde_json::json!({})));
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        assert!(refusal("[1]").contains("not an object"));
        assert!(refusal("{\"a\":}").contains("not JSON"));
        assert!(refusal("{} {}").contains("not JSON"));
        assert!(refusal("{\"a\":1e999}").contains("not JSON"));
        assert!(matches!(
            parse("t", b"{\"a\":\"\xff\"}"),
            Err(CallError::InvalidArguments { message, .. }) if message.contains("UTF-8")
        ));
    }

    #[test]
    fn a_key_that_appears_twice_is_refused_at_any_depth() {
        assert!(refusal(r#"{"a":1,"a":2}"#).contains("\"a\" appears twice"));
        assert!(refusal(r#"{"x":[{"a":1,"\u0061":2}]}"#).contains("\"a\" appears twice"));
    }

    #[test]
    fn thirty_two_levels_pass_and_one_more_does_not() {
        let nested = |levels: usize| {
            format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1))
        };
        parse("t", nested(JSON_DEPTH_MAX).as_bytes()).expect("as deep as may be");
        assert!(refusal(&nested(JSON_DEPTH_MAX + 1)).contains("deeper than 32"));
        // A bracket in a string is text, whatever is escaped before it.
        let text = format!(r#"{{"a":"\"{}\\"}}"#, "[".repeat(100));
        parse("t", text.as_bytes()).expect("flat");
        // Far deeper than any stack would stand.
        assert!(refusal(&"[".repeat(1_000_000)).contains("deeper than 32"));
    }
}
