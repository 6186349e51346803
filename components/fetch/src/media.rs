//! A content type, as far as it decides how a body is shown.

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Html,
    Text,
    Binary,
}

/// A content type taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ContentType {
    pub(crate) media: Media,
    pub(crate) charset: Option<String>,
}

impl ContentType {
    /// Reads a content type; without one, the start of the body decides.
    pub(crate) fn of(header: Option<&str>, body: &[u8]) -> Self {
        let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
            return Self { media: sniffed(body), charset: None };
        };
        let mut parts = header.split(';').map(str::trim);
        let essence = parts.next().unwrap_or("").to_ascii_lowercase();
        let charset = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"').to_owned();
            name.trim().eq_ignore_ascii_case("charset").then_some(value)
        });
        Self { media: media_of(&essence, body), charset }
    }
}

fn media_of(essence: &str, body: &[u8]) -> Media {
    match essence {
        "text/html" | "application/xhtml+xml" => Media::Html,
        "application/json" | "text/json" => Media::Json,
        essence if essence.ends_with("+json") => Media::Json,
        "application/xml"
        | "application/javascript"
        | "application/ecmascript"
        | "application/x-javascript"
        | "application/x-ndjson"
        | "application/jsonl"
        | "application/yaml"
        | "application/x-yaml"
        | "application/toml"
        | "application/sql"
        | "application/graphql"
        | "application/x-sh"
        | "application/x-www-form-urlencoded" => Media::Text,
        essence if essence.starts_with("text/") || essence.ends_with("+xml") => Media::Text,
        // Servers that know no better send this for everything.
        "application/octet-stream" | "binary/octet-stream" if sniffed(body) == Media::Text => {
            Media::Text
        }
        _ => Media::Binary,
    }
}

/// What the start of a body looks like.
fn sniffed(body: &[u8]) -> Media {
    const SAMPLE_BYTES: usize = 1_024;
    let sample = body.get(..SAMPLE_BYTES).unwrap_or(body);
    if sample.contains(&0) {
        return Media::Binary;
    }
    match std::str::from_utf8(sample) {
        Err(error) if error.error_len().is_some() => Media::Binary,
        _ => {
            let start = sample.trim_ascii_start();
            let start = start.get(..9).unwrap_or(start).to_ascii_lowercase();
            if start.starts_with(b"<!doctype") || start.starts_with(b"<html") {
                Media::Html
            } else if start.starts_with(b"{") || start.starts_with(b"[") {
                Media::Json
            } else {
                Media::Text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_is_taken_apart() {
        for (header, media, charset) in [
            ("text/html; Charset=\"koi8-r\"", Media::Html, Some("koi8-r")),
            ("Application/JSON", Media::Json, None),
            ("application/problem+json; charset=utf-8", Media::Json, Some("utf-8")),
            ("image/svg+xml", Media::Text, None),
            ("text/csv; header=present; charset=ascii", Media::Text, Some("ascii")),
            ("image/png", Media::Binary, None),
            ("nonsense", Media::Binary, None),
        ] {
            let expected = ContentType { media, charset: charset.map(str::to_owned) };
            assert_eq!(ContentType::of(Some(header), b""), expected, "{header}");
        }
    }

    #[test]
    fn without_a_content_type_the_body_decides() {
        for (body, media) in [
            (&b" <!DOCTYPE html>"[..], Media::Html),
            (b"{\"a\":1}", Media::Json),
            (b"plain", Media::Text),
            (b"\x89PNG\r\n\x1A\n\0", Media::Binary),
            (b"", Media::Text),
        ] {
            assert_eq!(ContentType::of(None, body).media, media);
        }
        assert_eq!(ContentType::of(Some("application/octet-stream"), b"text").media, Media::Text);
        assert_eq!(ContentType::of(Some("application/octet-stream"), b"\0").media, Media::Binary);
    }
}
