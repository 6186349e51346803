//! The shape of a body of JSON: how deep it is, and whether a name stands twice in an object.
//!
//! Which of two members of one name counts differs from parser to parser (RFC 8259, section 4), so
//! what is checked could be another than what is done. Such a body is refused before anything is
//! read from it. What is no JSON passes: whoever reads it says so with its place.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Arrays and objects within each other, too many.
    TooDeep,
    /// This name stands twice in an object.
    Twice(String),
}

/// Looks at a body.
pub(crate) fn check(json: &[u8], depth_max: usize) -> Result<(), Fault> {
    let fault = RefCell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(json);
    // An error without a fault is one of syntax, which the handler's own reading meets too.
    let _ = Shape { left: depth_max, fault: &fault }.deserialize(&mut reader);
    fault.into_inner().map_or(Ok(()), Err)
}

#[derive(Clone, Copy)]
struct Shape<'a> {
    left: usize,
    fault: &'a RefCell<Option<Fault>>,
}

impl Shape<'_> {
    fn within<E: Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(self.stop(Fault::TooDeep)),
        }
    }

    fn stop<E: Error>(self, fault: Fault) -> E {
        *self.fault.borrow_mut() = Some(fault);
        E::custom("its shape")
    }
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let within = self.within()?;
        while elements.next_element_seed(within)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let within = self.within()?;
        let mut names: HashSet<Cow<'de, str>> = HashSet::new();
        while let Some(name) = members.next_key_seed(MemberName)? {
            if names.contains(&name) {
                return Err(self.stop(Fault::Twice(name.into_owned())));
            }
            names.insert(name);
            members.next_value_seed(within)?;
        }
        Ok(())
    }
}

/// A name, borrowed where it has no escapes.
struct MemberName;

impl<'de> DeserializeSeed<'de> for MemberName {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for MemberName {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<(), Fault> {
        check(json.as_bytes(), 4)
    }

    #[test]
    fn depth_counts_arrays_and_objects() {
        for fine in ["1", "[]", "[[[[]]]]", r#"{"a":[{"b":[1]}],"c":{"d":1}}"#, "[[],[[],[[1]]]]"] {
            assert_eq!(of(fine), Ok(()), "{fine}");
        }
        for deep in ["[[[[[]]]]]", "[[[[[", r#"{"a":{"b":{"c":{"d":{}}}}}"#, "[1,[[[[1]]]]]"] {
            assert_eq!(of(deep), Err(Fault::TooDeep), "{deep}");
        }
    }

    #[test]
    fn a_name_stands_once_however_it_is_written() {
        let twice = |name: &str| Err(Fault::Twice(name.to_owned()));
        assert_eq!(of(r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#), Ok(()));
        assert_eq!(of(r#"{"a":1,"b":2,"a":1}"#), twice("a"));
        assert_eq!(of(r#"{"a":1,"\u0061":2}"#), twice("a"));
        assert_eq!(of(r#"[{"x":{"k":1,"k":1}}]"#), twice("k"));
        assert_eq!(of(r#"{"":1,"":2"#), twice(""));
    }

    #[test]
    fn what_is_no_json_is_left_to_whoever_reads_it() {
        for broken in ["", "{", "[1,", "nul", r#"{"a":1,}"#, "\"\\ud800\"", "1e999999", "{} {}"] {
            assert_eq!(of(broken), Ok(()), "{broken}");
        }
    }
}
