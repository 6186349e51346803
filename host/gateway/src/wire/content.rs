//! One part of a result, in any of its forms.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use foreshore_domain::outcome::{
    Content, ContentAnnotations, ContentBody, Media, Resource, ResourceBody,
};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;

/// One part of a result.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = Content)]
pub(crate) enum ContentSchema<'a> {
    /// Text.
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<AnnotationsSchema<'a>>,
    },
    /// A JSON value.
    Json {
        #[schema(value_type = Object)]
        json: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<AnnotationsSchema<'a>>,
    },
    /// A picture.
    Image {
        #[schema(value_type = String, content_encoding = "base64")]
        data: Base64<'a>,
        mime_type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<AnnotationsSchema<'a>>,
    },
    /// A sound.
    Audio {
        #[schema(value_type = String, content_encoding = "base64")]
        data: Base64<'a>,
        mime_type: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<AnnotationsSchema<'a>>,
    },
    /// A thing with a URI: a link, or its text or bytes.
    Resource {
        uri: &'a str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, content_encoding = "base64")]
        blob: Option<Base64<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<AnnotationsSchema<'a>>,
    },
}

impl<'a> From<&'a Content> for ContentSchema<'a> {
    fn from(content: &'a Content) -> Self {
        let annotations = content.annotations.as_ref().map(AnnotationsSchema::from);
        match &content.body {
            ContentBody::Text(text) => Self::Text { text, annotations },
            ContentBody::Json(json) => Self::Json { json, annotations },
            ContentBody::Image(Media { data, mime_type }) => {
                Self::Image { data: Base64(data), mime_type, annotations }
            }
            ContentBody::Audio(Media { data, mime_type }) => {
                Self::Audio { data: Base64(data), mime_type, annotations }
            }
            ContentBody::Resource(Resource { uri, name, description, mime_type, body }) => {
                let (text, blob) = match body {
                    ResourceBody::Link => (None, None),
                    ResourceBody::Text(text) => (Some(text.as_str()), None),
                    ResourceBody::Blob(data) => (None, Some(Base64(data))),
                };
                let (description, mime_type) = (description.as_deref(), mime_type.as_deref());
                Self::Resource { uri, name, description, mime_type, text, blob, annotations }
            }
        }
    }
}

/// Bytes, written in base64 as they are serialized.
pub(crate) struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Hints for whoever shows a part of a result.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = ContentAnnotations)]
pub(crate) struct AnnotationsSchema<'a> {
    /// For whom it is: `user`, `assistant`.
    audience: Vec<&'static str>,
    /// 0.0 to 1.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<f64>,
    /// ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified: Option<&'a str>,
}

impl<'a> From<&'a ContentAnnotations> for AnnotationsSchema<'a> {
    fn from(hints: &'a ContentAnnotations) -> Self {
        let audience = [(hints.user, "user"), (hints.assistant, "assistant")];
        Self {
            audience: audience.into_iter().filter_map(|(is, name)| is.then_some(name)).collect(),
            priority: hints.priority,
            last_modified: hints.last_modified.as_deref(),
        }
    }
}

/// About how long a part's JSON text will be.
pub(super) fn content_room(content: &Content) -> usize {
    64 + match &content.body {
        ContentBody::Text(text) => text.len() + text.len() / 16,
        ContentBody::Json(json) => json.get().len(),
        ContentBody::Image(media) | ContentBody::Audio(media) => media.data.len().div_ceil(3) * 4,
        ContentBody::Resource(resource) => match &resource.body {
            ResourceBody::Link => 256,
            ResourceBody::Text(text) => 256 + text.len(),
            ResourceBody::Blob(data) => 256 + data.len().div_ceil(3) * 4,
        },
    }
}
