//! Constructors for what a call gives back, on the contract's own types.
//!
//! Nothing here checks a result against the output schema; the host does.

use serde::Serialize;

use crate::Error;
use crate::bindings::exports::foreshore::tool::tool::{Definition, Hints, Outcome};
use crate::bindings::foreshore::types::types::{
    Content, ContentAnnotations, ContentBody, Media, Resource, ResourceBody,
};

impl Outcome {
    /// No content at all.
    pub fn empty() -> Self {
        Self { content: Vec::new(), structured: None, is_error: false }
    }

    /// One part of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::from(Content::text(text))
    }

    /// A value for programs, and the same as one part of JSON for everyone else.
    ///
    /// # Errors
    /// [`Error::Failed`] for a value that JSON cannot hold, such as a map with keys that are no
    /// strings.
    pub fn structured<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let json = to_json(value)?;
        let content = vec![Content::from(ContentBody::Json(json.clone()))];
        Ok(Self { content, structured: Some(json), is_error: false })
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, content: impl Into<Content>) -> Self {
        self.content.push(content.into());
        self
    }

    /// Sets the value for programs, and leaves the parts as they are: for a tool whose text says
    /// better than JSON what it found.
    ///
    /// # Errors
    /// As [`Outcome::structured`].
    pub fn with_structured<T: Serialize + ?Sized>(mut self, value: &T) -> Result<Self, Error> {
        self.structured = Some(to_json(value)?);
        Ok(self)
    }

    /// Marks that the tool ran and failed, and that the parts say how.
    #[must_use]
    pub fn as_failure(mut self) -> Self {
        self.is_error = true;
        self
    }
}

impl From<Content> for Outcome {
    fn from(content: Content) -> Self {
        Self { content: vec![content], structured: None, is_error: false }
    }
}

impl Content {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::from(ContentBody::Text(text.into()))
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// As [`Outcome::structured`].
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        to_json(value).map(|json| Self::from(ContentBody::Json(json)))
    }

    /// A picture, with its media type such as `image/png`.
    pub fn image(data: Vec<u8>, mime_type: impl Into<String>) -> Self {
        Self::from(ContentBody::Image(Media { data, mime_type: mime_type.into() }))
    }

    /// Sound, with its media type such as `audio/wav`.
    pub fn audio(data: Vec<u8>, mime_type: impl Into<String>) -> Self {
        Self::from(ContentBody::Audio(Media { data, mime_type: mime_type.into() }))
    }

    /// A link to a thing, which the reader may fetch.
    pub fn link(uri: impl Into<String>, name: impl Into<String>) -> Self {
        Self::from(ContentBody::Resource(Resource {
            uri: uri.into(),
            name: name.into(),
            description: None,
            mime_type: None,
            body: ResourceBody::Link,
        }))
    }

    /// Says who the part is for and how much it matters.
    #[must_use]
    pub fn annotated(mut self, annotations: ContentAnnotations) -> Self {
        self.annotations = Some(annotations);
        self
    }
}

impl From<ContentBody> for Content {
    fn from(body: ContentBody) -> Self {
        Self { body, annotations: None }
    }
}

impl From<Resource> for Content {
    fn from(resource: Resource) -> Self {
        Self::from(ContentBody::Resource(resource))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl Default for Hints {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Display for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.description)
    }
}

fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|error| Error::failed(format!("the result is no JSON: {error}")))
}
