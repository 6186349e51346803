//! How long a model stays in memory: seconds as a number, or a duration as Go writes it.
//!
//! Source: `Duration.UnmarshalJSON` in `api/types.go` of Ollama; negative means for ever.

use std::time::Duration;

use serde_json::Value;

/// How long a model stays after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    For(Duration),
    Forever,
}

impl KeepAlive {
    /// # Errors
    /// A value that is no duration.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        match value {
            Value::Number(number) => Self::seconds(number.as_f64().unwrap_or(-1.0)),
            Value::String(text) => Self::go(text),
            other => Err(format!("Unsupported type: '{other}'")),
        }
    }

    fn seconds(seconds: f64) -> Result<Self, String> {
        if seconds < 0.0 {
            return Ok(Self::Forever);
        }
        // A number beyond all durations is for ever too.
        Ok(Duration::try_from_secs_f64(seconds).map_or(Self::Forever, Self::For))
    }

    /// `5m`, `1h30m`, `-1s`, `0`.
    fn go(text: &str) -> Result<Self, String> {
        let invalid = || format!("time: invalid duration {text:?}");
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut seconds = 0.0;
        while !rest.is_empty() && rest != "0" {
            let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.');
            let (number, after) = rest.split_at(digits.ok_or_else(invalid)?);
            let number: f64 = number.parse().map_err(|_| invalid())?;
            let unit = after.find(|it: char| it.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit);
            seconds += number
                * match unit {
                    "ns" => 1e-9,
                    "us" | "µs" => 1e-6,
                    "ms" => 1e-3,
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    _ => return Err(invalid()),
                };
            rest = after;
        }
        Self::seconds(if negative && seconds > 0.0 { -1.0 } else { seconds })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let seconds = |seconds| Ok(KeepAlive::For(Duration::from_secs(seconds)));
        assert_eq!(KeepAlive::parse(&json!("5m")), seconds(300));
        assert_eq!(KeepAlive::parse(&json!("1h30m")), seconds(5400));
        assert_eq!(KeepAlive::parse(&json!("1.5h")), seconds(5400));
        assert_eq!(KeepAlive::parse(&json!(20)), seconds(20));
        assert_eq!(KeepAlive::parse(&json!(0)), seconds(0));
        assert_eq!(KeepAlive::parse(&json!("0")), seconds(0));
        assert_eq!(KeepAlive::parse(&json!(-1)), Ok(KeepAlive::Forever));
        assert_eq!(KeepAlive::parse(&json!("-1m")), Ok(KeepAlive::Forever));
        for wrong in [json!("5"), json!("5 m"), json!("m"), json!(""), json!("-"), json!([])] {
            assert!(KeepAlive::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
