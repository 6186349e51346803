//! A value of the program as JSON.
//!
//! `JSON.stringify` is taken before the program runs, so a program that replaces it changes
//! nothing here. The invariant: what comes out is JSON that the host can carry and every reader
//! can parse.

use boa_engine::object::JsObject;
use boa_engine::{Context, JsError, JsNativeError, JsResult, JsValue, JsVariant, js_string};
use schemars::JsonSchema;
use serde::Serialize;

use crate::failure::Failure;

/// The host's default limit for a result is 1 MiB, and a result is carried twice.
pub(crate) const JSON_MAX_BYTES: usize = 400 << 10;
/// The contract allows 32 levels, and the result lies inside of one.
pub(crate) const DEPTH_MAX: usize = 30;

/// The kind of the value that the program gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Undefined,
    Null,
    Boolean,
    Number,
    /// Its digits are given as a text.
    Bigint,
    String,
    Symbol,
    Array,
    Object,
    Function,
}

impl Kind {
    pub(crate) fn of(value: &JsValue) -> Self {
        match value.variant() {
            JsVariant::Undefined => Self::Undefined,
            JsVariant::Null => Self::Null,
            JsVariant::Boolean(_) => Self::Boolean,
            JsVariant::Integer32(_) | JsVariant::Float64(_) => Self::Number,
            JsVariant::BigInt(_) => Self::Bigint,
            JsVariant::String(_) => Self::String,
            JsVariant::Symbol(_) => Self::Symbol,
            JsVariant::Object(object) if object.is_callable() => Self::Function,
            JsVariant::Object(object) if object.is_array() => Self::Array,
            JsVariant::Object(_) => Self::Object,
        }
    }
}

/// The language's own `JSON`, as it was before the program ran.
pub(crate) struct Json {
    parse: JsObject,
    stringify: JsObject,
}

impl Json {
    /// # Errors
    /// The engine's.
    pub(crate) fn of(context: &mut Context) -> JsResult<Self> {
        let missing = || JsError::from(JsNativeError::typ().with_message("there is no JSON"));
        let json = context.global_object().get(js_string!("JSON"), context)?;
        let json = json.as_object().ok_or_else(missing)?;
        let parse = json.get(js_string!("parse"), context)?;
        let stringify = json.get(js_string!("stringify"), context)?;
        Ok(Self {
            parse: parse.as_object().ok_or_else(missing)?,
            stringify: stringify.as_object().ok_or_else(missing)?,
        })
    }

    /// # Errors
    /// The engine's.
    pub(crate) fn parse(&self, json: &str, context: &mut Context) -> JsResult<JsValue> {
        let json = JsValue::from(js_string!(json));
        self.parse.call(&JsValue::undefined(), &[json], context)
    }

    /// The value as JSON; `null` for what JSON does not have.
    ///
    /// # Errors
    /// What the value's own `toJSON` throws, a cycle, or a bigint inside of it.
    pub(crate) fn text_of(&self, value: &JsValue, context: &mut Context) -> JsResult<String> {
        if let JsVariant::BigInt(number) = value.variant() {
            return Ok(format!("\"{number}\""));
        }
        let json =
            self.stringify.call(&JsValue::undefined(), std::slice::from_ref(value), context)?;
        Ok(match json.as_string() {
            Some(text) => without_lone_surrogates(text.to_std_string_lossy()),
            None => "null".to_owned(),
        })
    }
}

/// That a JSON text is small and flat enough for a result.
///
/// # Errors
/// It is not.
pub(crate) fn check(json: &str) -> Result<(), Failure> {
    if json.len() > JSON_MAX_BYTES {
        return Err(Failure::TooLarge { length: json.len(), max: JSON_MAX_BYTES });
    }
    let depth = depth_of(json);
    if depth > DEPTH_MAX {
        return Err(Failure::TooDeep { depth, max: DEPTH_MAX });
    }
    Ok(())
}

fn depth_of(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// JavaScript writes half of a surrogate pair as `\ud800`, which most readers of JSON refuse.
fn without_lone_surrogates(mut json: String) -> String {
    let mut places = Vec::new();
    let mut escaped = false;
    for (index, byte) in json.bytes().enumerate() {
        // Whole pairs are written as characters, so every escape of a surrogate is a lone one.
        let is_surrogate = || {
            let digits = json.as_bytes().get(index + 1..index + 3);
            digits.is_some_and(|digits| matches!(digits, [b'd', b'8'..=b'9' | b'a'..=b'f']))
        };
        if escaped && byte == b'u' && is_surrogate() {
            places.push(index + 1);
        }
        escaped = byte == b'\\' && !escaped;
    }
    for place in places {
        json.replace_range(place..place + 4, "fffd");
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_texts() {
        assert_eq!(depth_of("1"), 0);
        assert_eq!(depth_of(r#"{"a":[1,{"b":2}],"c":[[]]}"#), 3);
        assert_eq!(depth_of(r#"["[[[\"[[\\"]"#), 1);
    }

    #[test]
    fn lone_surrogates_become_the_replacement_character() {
        let json = without_lone_surrogates(r#"["\ud800","\\ud800","\u0007","\udfff"]"#.to_owned());
        assert_eq!(json, r#"["\ufffd","\\ud800","\u0007","\ufffd"]"#);
        let json = without_lone_surrogates(r#"["\ud7ff"]"#.to_owned());
        assert_eq!(json, r#"["\ud7ff"]"#);
    }

    #[test]
    fn a_result_has_a_size_and_a_depth() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(check(&deep(DEPTH_MAX)).is_ok());
        assert!(matches!(check(&deep(DEPTH_MAX + 1)), Err(Failure::TooDeep { depth: 31, .. })));
        assert!(matches!(check(&" ".repeat(JSON_MAX_BYTES + 1)), Err(Failure::TooLarge { .. })));
    }
}
