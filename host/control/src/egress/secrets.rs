//! Secrets in requests: the guest's own part holds none, and the host puts in those that a grant
//! names, where they are granted for.
//!
//! By the time a value is put in, the rules have let the request out, the addresses behind the name
//! were checked, and the connection is one that nobody in between reads: TLS, or loopback. No
//! redirect is followed, so each hop is a request of its own and is asked all of this again.
//!
//! The invariant: **a value is in no request but one whose checked URL its audience covers.**

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use foreshore_domain::call::CallContext;
use foreshore_domain::denial::{Denial, DenialCode};
use foreshore_domain::effect::{EffectError, HttpRequest};
use foreshore_domain::secret::{SecretPlace, SecretUse};
use http::header::{self, HeaderMap, HeaderValue};
use percent_encoding::percent_decode;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::denials;
use super::target::Target;
use crate::secrets::custody::Held;

/// Whether the guest's own part of a request, but for its body, holds a secret.
///
/// # Errors
/// A denial, which repeats nothing of the request.
pub(super) fn checked(
    call: &CallContext,
    held: &Held,
    request: &HttpRequest,
) -> Result<(), EffectError> {
    let uri = request.uri.to_string();
    // What is escaped in part is read as its receiver reads it, also where that reads it twice.
    let once: Vec<u8> = percent_decode(uri.as_bytes()).collect();
    let twice: Vec<u8> = percent_decode(&once).collect();
    for uri in [uri.as_bytes(), &once, &twice] {
        found(call, held, "the URL of a request", uri)?;
    }
    found(call, held, "the method of a request", request.method.as_str().as_bytes())?;
    fields(call, held, "a header of a request", &request.headers)
}

/// The same of fields. Those that follow each other are looked at as one text too.
pub(super) fn fields(
    call: &CallContext,
    held: &Held,
    what: &str,
    headers: &HeaderMap,
) -> Result<(), EffectError> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (name, value) in headers {
        names.extend_from_slice(name.as_str().as_bytes());
        values.extend_from_slice(value.as_bytes());
    }
    found(call, held, what, &names)?;
    found(call, held, what, &values)?;
    let decoded: Vec<u8> = percent_decode(&values).collect();
    found(call, held, what, &decoded)
}

fn found(call: &CallContext, held: &Held, what: &str, bytes: &[u8]) -> Result<(), EffectError> {
    match held.scanner.find(bytes) {
        None => Ok(()),
        Some(name) => Err(leak(call, what, name).into()),
    }
}

/// The denial of what holds a secret, noted in the call. It names the secret and nothing else.
pub(crate) fn leak(call: &CallContext, what: &str, name: &str) -> Denial {
    let subject = format!("{what} holds the secret \"{name}\"");
    let denial = Denial { code: DenialCode::SecretLeak, subject, grant: String::new() };
    call.denials.push(denial.clone());
    denial
}

/// What is put into one request.
pub(super) struct Injected<'a> {
    uses: Vec<(&'a SecretUse, Arc<Held>)>,
}

impl<'a> Injected<'a> {
    /// What the grant puts into requests to this target.
    ///
    /// # Errors
    /// A denial: the guest fills the place itself, or the secret has no value.
    pub(super) fn of(
        call: &'a CallContext,
        held: Option<&Arc<Held>>,
        target: &Target,
        headers: &HeaderMap,
    ) -> Result<Self, EffectError> {
        let granted = call.grant.http.as_ref().map_or(&[][..], |grant| &grant.secrets);
        let mut uses = Vec::new();
        for each in granted.iter().filter(|each| each.audience.covers(&target.url)) {
            let is_taken = match &each.place {
                SecretPlace::Header { name, .. } => headers.contains_key(name),
                SecretPlace::Query(name) => target.url.query_pairs().any(|(key, _)| key == **name),
                // Looked for when the body is there.
                SecretPlace::Body(_) => false,
            };
            if is_taken {
                return Err(taken(call, target, each));
            }
            let held = held.filter(|held| held.value(&each.name).is_some());
            let Some(held) = held else { return Err(unset(call, target, each)) };
            uses.push((each, Arc::clone(held)));
        }
        Ok(Self { uses })
    }

    /// Whether the way there is one that nobody in between reads.
    ///
    /// # Errors
    /// A denial.
    pub(super) fn check_way(
        &self,
        call: &CallContext,
        target: &Target,
        addresses: &[SocketAddr],
    ) -> Result<(), EffectError> {
        let is_private =
            target.is_https() || addresses.iter().all(|address| address.ip().is_loopback());
        match self.uses.first() {
            Some((each, _)) if !is_private => {
                let reason = format!(
                    "the secret \"{}\" is sent over https alone, or to a loopback address",
                    each.name
                );
                Err(denials::not_allowed(call, &target.to_string(), &reason))
            }
            _ => Ok(()),
        }
    }

    /// Whether the body has to be known before it is sent.
    pub(super) fn is_in_body(&self) -> bool {
        self.uses.iter().any(|(each, _)| matches!(each.place, SecretPlace::Body(_)))
    }

    /// Puts what belongs there into the body.
    ///
    /// # Errors
    /// A denial: it has no such field, or the guest filled it.
    pub(super) fn put_into_body(
        &self,
        call: &CallContext,
        target: &Target,
        headers: &mut HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, EffectError> {
        let mut body = body;
        for (each, held) in &self.uses {
            let SecretPlace::Body(field) = &each.place else { continue };
            let value = held.value(&each.name).unwrap_or_default();
            let value = std::str::from_utf8(value).map_err(|_| unfit(call, target, each))?;
            let put = match form_of(headers) {
                Form::Json => into_json(&body, field, value),
                Form::Pairs => into_pairs(&body, field, value),
                Form::Other => Put::NoPlace,
            };
            body = match put {
                Put::Done(body) => body.into(),
                Put::Taken => return Err(taken(call, target, each)),
                Put::NoPlace => {
                    let reason = format!(
                        "its body is neither a JSON object nor a form, and the secret \"{}\" goes into {}",
                        each.name, each.place
                    );
                    return Err(denials::not_allowed(call, &target.to_string(), &reason));
                }
            };
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(body)
    }

    /// Puts the rest into the URL and the fields: the last that is done before it is sent.
    ///
    /// # Errors
    /// A denial: a value is none of a header's.
    pub(super) fn put_into_head(
        self,
        call: &CallContext,
        target: &mut Target,
        headers: &mut HeaderMap,
    ) -> Result<(), EffectError> {
        for (each, held) in &self.uses {
            let value = held.value(&each.name).unwrap_or_default();
            match &each.place {
                SecretPlace::Header { name, prefix } => {
                    let text =
                        foreshore_secrets::Zeroizing::new([prefix.as_bytes(), value].concat());
                    let mut field =
                        HeaderValue::from_bytes(&text).map_err(|_| unfit(call, target, each))?;
                    field.set_sensitive(true);
                    headers.insert(name.clone(), field);
                }
                SecretPlace::Query(name) => {
                    let text = std::str::from_utf8(value).map_err(|_| unfit(call, target, each))?;
                    target.url.query_pairs_mut().append_pair(name, text);
                }
                SecretPlace::Body(_) => {}
            }
        }
        Ok(())
    }
}

enum Form {
    Json,
    Pairs,
    Other,
}

fn form_of(headers: &HeaderMap) -> Form {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = text.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media.to_ascii_lowercase().as_str() {
        "application/json" => Form::Json,
        media if media.starts_with("application/") && media.ends_with("+json") => Form::Json,
        "application/x-www-form-urlencoded" => Form::Pairs,
        _ => Form::Other,
    }
}

enum Put {
    Done(Vec<u8>),
    Taken,
    NoPlace,
}

/// The guest's own text stays as it is; the field is the first of the object.
fn into_json(body: &[u8], field: &str, value: &str) -> Put {
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return Put::NoPlace;
    };
    if members.contains_key(field) {
        return Put::Taken;
    }
    let Some(open) = body.iter().position(|byte| *byte == b'{') else { return Put::NoPlace };
    let member = format!("{}:{}", Value::from(field), Value::from(value));
    let comma: &[u8] = if members.is_empty() { b"" } else { b"," };
    Put::Done([&body[..=open], member.as_bytes(), comma, &body[open + 1..]].concat())
}

fn into_pairs(body: &[u8], field: &str, value: &str) -> Put {
    if form_urlencoded::parse(body).any(|(key, _)| key == field) {
        return Put::Taken;
    }
    let pair = form_urlencoded::Serializer::new(String::new()).append_pair(field, value).finish();
    let and: &[u8] = if body.is_empty() { b"" } else { b"&" };
    Put::Done([body, and, pair.as_bytes()].concat())
}

fn taken(call: &CallContext, target: &Target, each: &SecretUse) -> EffectError {
    let reason = format!("{} is the host's to fill, with the secret \"{}\"", each.place, each.name);
    denials::not_allowed(call, &target.to_string(), &reason)
}

fn unset(call: &CallContext, target: &Target, each: &SecretUse) -> EffectError {
    unusable(call, format!("{target} takes the secret \"{}\", which has no value", each.name), each)
}

fn unfit(call: &CallContext, target: &Target, each: &SecretUse) -> EffectError {
    let subject =
        format!("{target}: the secret \"{}\" cannot be put into {}", each.name, each.place);
    unusable(call, subject, each)
}

fn unusable(call: &CallContext, subject: String, each: &SecretUse) -> EffectError {
    let grant = format!("a value for it: foreshore secret set {}", each.name);
    let denial = Denial { code: DenialCode::SecretUnusable, subject, grant };
    call.denials.push(denial.clone());
    denial.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(put: Put) -> Option<String> {
        match put {
            Put::Done(body) => Some(String::from_utf8(body).expect("text")),
            Put::Taken | Put::NoPlace => None,
        }
    }

    #[test]
    fn a_field_is_put_into_an_object_or_a_form_that_has_it_not() {
        let json = |body: &str| done(into_json(body.as_bytes(), "key", "a\"b"));
        assert_eq!(json(" {}").as_deref(), Some(" {\"key\":\"a\\\"b\"}"));
        assert_eq!(json("{\"x\": 1}").as_deref(), Some("{\"key\":\"a\\\"b\",\"x\": 1}"));
        for taken in ["{\"key\":1}", "{\"k\\u0065y\":1}", "[]", "", "{", "{}{}"] {
            assert_eq!(json(taken), None, "{taken}");
        }
        let form = |body: &str| done(into_pairs(body.as_bytes(), "key", "a b&c"));
        assert_eq!(form("").as_deref(), Some("key=a+b%26c"));
        assert_eq!(form("x=1").as_deref(), Some("x=1&key=a+b%26c"));
        assert_eq!((form("key=1"), form("x=1&k%65y")), (None, None));
    }
}
