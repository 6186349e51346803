//! Parts of results and messages between the contract's types and the domain's.
//!
//! What a guest hands over is checked on the way in: JSON is JSON and nests no deeper than
//! allowed. What goes back to a guest was checked before it came here.

use foreshore_domain::outcome::{
    Content, ContentAnnotations, ContentBody, Media, Resource, ResourceBody, ToolResult,
};
use serde_json::value::RawValue;

use crate::bindings::types;
use crate::json_depth::{JSON_DEPTH_MAX, check_json_depth};

/// What a list of parts weighs.
pub(crate) fn contents_bytes(contents: &[types::Content]) -> usize {
    contents.iter().map(content_bytes).sum()
}

fn content_bytes(content: &types::Content) -> usize {
    let media = |media: &types::Media| media.data.len() + media.mime_type.len();
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let body = match &content.body {
        types::ContentBody::Text(text) | types::ContentBody::Json(text) => text.len(),
        types::ContentBody::Image(image) => media(image),
        types::ContentBody::Audio(audio) => media(audio),
        types::ContentBody::Resource(resource) => {
            let body = match &resource.body {
                types::ResourceBody::Link => 0,
                types::ResourceBody::Text(text) => text.len(),
                types::ResourceBody::Blob(bytes) => bytes.len(),
            };
            body + resource.uri.len()
                + resource.name.len()
                + optional(&resource.description)
                + optional(&resource.mime_type)
        }
    };
    body + content.annotations.as_ref().map_or(0, |hints| optional(&hints.last_modified))
}

/// # Errors
/// What is wrong with a part that is not the JSON that it says it is.
pub(crate) fn contents(contents: Vec<types::Content>) -> Result<Vec<Content>, String> {
    contents.into_iter().map(content).collect()
}

fn content(content: types::Content) -> Result<Content, String> {
    let body = match content.body {
        types::ContentBody::Text(text) => ContentBody::Text(text),
        types::ContentBody::Json(json) => ContentBody::Json(
            checked_json(json)
                .map_err(|message| format!("a json part of its result is {message}"))?,
        ),
        types::ContentBody::Image(image) => ContentBody::Image(media(image)),
        types::ContentBody::Audio(audio) => ContentBody::Audio(media(audio)),
        types::ContentBody::Resource(resource) => ContentBody::Resource(Resource {
            uri: resource.uri,
            name: resource.name,
            description: resource.description,
            mime_type: resource.mime_type,
            body: match resource.body {
                types::ResourceBody::Link => ResourceBody::Link,
                types::ResourceBody::Text(text) => ResourceBody::Text(text),
                types::ResourceBody::Blob(bytes) => ResourceBody::Blob(bytes),
            },
        }),
    };
    Ok(Content { body, annotations: content.annotations.map(annotations) })
}

fn media(media: types::Media) -> Media {
    Media { data: media.data, mime_type: media.mime_type }
}

fn annotations(hints: types::ContentAnnotations) -> ContentAnnotations {
    ContentAnnotations {
        user: hints.audience.contains(types::Audience::USER),
        assistant: hints.audience.contains(types::Audience::ASSISTANT),
        // Not a number has no place in JSON, and no meaning here.
        priority: hints.priority.filter(|priority| priority.is_finite()),
        last_modified: hints.last_modified,
    }
}

/// What a guest is given of a tool's result.
pub(crate) fn outcome_to_guest(result: ToolResult) -> types::Outcome {
    types::Outcome {
        content: contents_to_guest(result.content),
        structured: result.structured.map(|json| json.get().to_owned()),
        is_error: result.is_error,
    }
}

/// What a guest is given of a message or result.
pub(crate) fn contents_to_guest(contents: Vec<Content>) -> Vec<types::Content> {
    contents.into_iter().map(content_to_guest).collect()
}

fn content_to_guest(content: Content) -> types::Content {
    let media = |media: Media| types::Media { data: media.data, mime_type: media.mime_type };
    let body = match content.body {
        ContentBody::Text(text) => types::ContentBody::Text(text),
        ContentBody::Json(json) => types::ContentBody::Json(json.get().to_owned()),
        ContentBody::Image(image) => types::ContentBody::Image(media(image)),
        ContentBody::Audio(audio) => types::ContentBody::Audio(media(audio)),
        ContentBody::Resource(resource) => types::ContentBody::Resource(types::Resource {
            uri: resource.uri,
            name: resource.name,
            description: resource.description,
            mime_type: resource.mime_type,
            body: match resource.body {
                ResourceBody::Link => types::ResourceBody::Link,
                ResourceBody::Text(text) => types::ResourceBody::Text(text),
                ResourceBody::Blob(bytes) => types::ResourceBody::Blob(bytes),
            },
        }),
    };
    types::Content { body, annotations: content.annotations.map(annotations_to_guest) }
}

fn annotations_to_guest(hints: ContentAnnotations) -> types::ContentAnnotations {
    let mut audience = types::Audience::empty();
    if hints.user {
        audience |= types::Audience::USER;
    }
    if hints.assistant {
        audience |= types::Audience::ASSISTANT;
    }
    types::ContentAnnotations {
        audience,
        priority: hints.priority,
        last_modified: hints.last_modified,
    }
}

/// # Errors
/// What is wrong with a text that is not JSON, or nests too deep.
pub(crate) fn json_value(text: &str) -> Result<serde_json::Value, String> {
    check_depth(text)?;
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

/// # Errors
/// As [`json_value`].
pub(crate) fn checked_json(text: String) -> Result<Box<RawValue>, String> {
    check_depth(&text)?;
    RawValue::from_string(text).map_err(|error| format!("not JSON: {error}"))
}

fn check_depth(json: &str) -> Result<(), String> {
    check_json_depth(json.as_bytes(), JSON_DEPTH_MAX).map_err(|error| format!("refused: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_parts_are_json_and_nest_no_deeper_than_allowed() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(checked_json(nested(32)).is_ok());
        assert!(checked_json(nested(33)).expect_err("deep").contains("32 levels"));
        assert!(checked_json("{\"a\":1".to_owned()).expect_err("cut").starts_with("not JSON"));
        assert!(checked_json("1 2".to_owned()).is_err());
    }

    #[test]
    fn a_part_that_goes_to_a_guest_and_back_is_the_same() {
        let json = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
        let media = Media { data: vec![0, 255], mime_type: "image/png".to_owned() };
        let resource = |body| Resource {
            uri: "a:b".to_owned(),
            name: "b".to_owned(),
            description: Some("what".to_owned()),
            mime_type: None,
            body,
        };
        let hints = ContentAnnotations {
            user: true,
            assistant: false,
            priority: Some(0.5),
            last_modified: Some("2026-01-01".to_owned()),
        };
        let parts: Vec<Content> = [
            ContentBody::Text("t".to_owned()),
            ContentBody::Json(json("{\"b\": 1}")),
            ContentBody::Image(media.clone()),
            ContentBody::Audio(media),
            ContentBody::Resource(resource(ResourceBody::Link)),
            ContentBody::Resource(resource(ResourceBody::Text("x".to_owned()))),
            ContentBody::Resource(resource(ResourceBody::Blob(vec![7]))),
        ]
        .into_iter()
        .map(|body| Content { body, annotations: Some(hints.clone()) })
        .collect();
        let text = serde_json::to_string(&parts).expect("it serializes");
        let again = contents(contents_to_guest(parts)).expect("it was checked before");
        assert_eq!(serde_json::to_string(&again).expect("it serializes"), text);
    }
}
