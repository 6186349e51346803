//! The header fields of a request, as they are let out.
//!
//! Fields that speak about the connection are the host's own business and are refused: they are
//! how one request is made to look like two. CR, LF and NUL need no check: a `HeaderName`,
//! `HeaderValue` or `Uri` that holds one cannot be made.

use foreshore_domain::call::CallContext;
use foreshore_domain::effect::EffectError;
use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::denials;
use super::target::Target;

/// RFC 9110, section 7.6.1, with the older and unregistered ones that servers still obey.
const OF_THE_CONNECTION: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// The fields to send, without `Host`, which is made from the target.
///
/// # Errors
/// Fields that are never let out.
pub(super) fn checked(
    call: &CallContext,
    target: &Target,
    uri: &Uri,
    mut headers: HeaderMap,
) -> Result<HeaderMap, EffectError> {
    let max_bytes = call.limits.http_fields_max_bytes.get();
    if let Some(reason) = refused(&headers, target, uri, max_bytes) {
        return Err(denials::not_allowed(call, &target.to_string(), &reason));
    }
    headers.remove(header::HOST);
    // The body is decompressed here, so that its decoded size can be bounded. Only gzip is asked
    // for: its decoder needs 32 KiB, where a server picks up to 16 MiB with brotli and 128 MiB
    // with zstd, outside of every limit. A range is a range of what is sent: no coding at all.
    let accepted = if headers.contains_key(header::RANGE) { "identity" } else { "gzip" };
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
    Ok(headers)
}

fn refused(headers: &HeaderMap, target: &Target, uri: &Uri, max_bytes: u64) -> Option<String> {
    if let Some(name) = OF_THE_CONNECTION.iter().find(|name| headers.contains_key(*name)) {
        return Some(format!("the field \"{name}\" is the host's own business"));
    }
    if headers.get_all(header::HOST).iter().any(|host| !names(host, target)) {
        return Some("the field \"host\" names another host than the URL".to_owned());
    }
    if !content_length_is_clear(headers) {
        return Some("the field \"content-length\" is not one number".to_owned());
    }
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    let target_bytes = uri.path_and_query().map_or(0, |text| text.as_str().len());
    let bytes = target_bytes + headers.iter().map(field).sum::<usize>();
    if u64::try_from(bytes).unwrap_or(u64::MAX) > max_bytes {
        return Some(format!(
            "path and fields hold {bytes} bytes, more than http_fields_max_bytes = {max_bytes}"
        ));
    }
    None
}

fn names(host: &HeaderValue, target: &Target) -> bool {
    let explicit = format!("{}:{}", target.host, target.port);
    let same = |text: &str| host.as_bytes().eq_ignore_ascii_case(text.as_bytes());
    same(&target.authority) || same(&explicit)
}

fn content_length_is_clear(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_number = |value: &HeaderValue| {
        !value.is_empty()
            && value.as_bytes().iter().all(u8::is_ascii_digit)
            && value.to_str().is_ok_and(|text| text.parse::<u64>().is_ok())
    };
    values.next().is_none_or(is_number) && values.next().is_none()
}

/// Takes out of a response what spoke about the connection.
pub(super) fn strip_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
}
