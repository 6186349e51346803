//! What a tool may return, and what becomes of it.
//!
//! `#[tool]` peels the `Result` off the return type by its name and leaves the rest to the type
//! itself: `String` is text, [`Outcome`] is taken as it is, `()` is nothing, [`Rendered`] is a value
//! with a text of its own, and any other type is structured. The choice is made by method resolution on [`Returned`] (its inherent methods
//! win over the trait's), so that an alias of `String` is a `String`, and a type that can be
//! neither fails to compile at the return type.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Serialize;

use crate::bindings::exports::foreshore::tool::tool::Outcome;
use crate::{Error, schema};

/// Stands for a return type without a value of it.
pub struct Returned<T>(PhantomData<T>);

impl<T> Returned<T> {
    /// Stands for `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Returned<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl Returned<String> {
    /// Text has no schema.
    pub fn output_schema(&self) -> Option<String> {
        None
    }

    /// One part of text.
    ///
    /// # Errors
    /// Never; the signature is that of its siblings.
    pub fn outcome(&self, text: String) -> Result<Outcome, Error> {
        Ok(Outcome::text(text))
    }
}

impl Returned<Outcome> {
    /// Only the author knows the shape of it.
    pub fn output_schema(&self) -> Option<String> {
        None
    }

    /// As it is.
    ///
    /// # Errors
    /// Never; the signature is that of its siblings.
    pub fn outcome(&self, outcome: Outcome) -> Result<Outcome, Error> {
        Ok(outcome)
    }
}

impl Returned<()> {
    /// Nothing has no schema.
    pub fn output_schema(&self) -> Option<String> {
        None
    }

    /// Nothing.
    ///
    /// # Errors
    /// Never; the signature is that of its siblings.
    pub fn outcome(&self, (): ()) -> Result<Outcome, Error> {
        Ok(Outcome::empty())
    }
}

/// A value for programs, with a text for everyone else that says better than JSON what it is. The
/// schema is the value's.
#[derive(Clone, Debug)]
pub struct Rendered<T> {
    value: T,
    text: String,
}

impl<T> Rendered<T> {
    /// The value, and what it reads like.
    pub fn new(value: T, text: impl Into<String>) -> Self {
        Self { value, text: text.into() }
    }
}

impl<T: Serialize + JsonSchema> Returned<Rendered<T>> {
    /// The schema of the value.
    pub fn output_schema(&self) -> Option<String> {
        Some(schema::output_schema::<T>())
    }

    /// One part of text, and the value.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    pub fn outcome(&self, rendered: Rendered<T>) -> Result<Outcome, Error> {
        Outcome::text(rendered.text).with_structured(&rendered.value)
    }
}

/// Every other return type.
pub trait Structured<T> {
    /// The schema of the type.
    fn output_schema(&self) -> Option<String>;
    /// The value for programs, and as one part of JSON.
    ///
    /// # Errors
    /// A value that JSON cannot hold.
    fn outcome(&self, value: T) -> Result<Outcome, Error>;
}

impl<T: Serialize + JsonSchema> Structured<T> for Returned<T> {
    fn output_schema(&self) -> Option<String> {
        Some(schema::output_schema::<T>())
    }

    fn outcome(&self, value: T) -> Result<Outcome, Error> {
        Outcome::structured(&value)
    }
}
