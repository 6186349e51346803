//! A request and its redirects, up to the answer.
//!
//! Each hop is a request of its own, so the host decides about each anew. What might be a secret
//! does not follow to another origin. The invariant: a header that the caller gave for one origin
//! reaches another only if it is known to carry no credentials.

use url::Url;

use crate::failure::Failure;

pub(crate) const REDIRECTS_MAX: u32 = 5;

/// Headers that say nothing of who asks. Any other may be a key (`authorization`, `cookie`,
/// `x-api-key` and whatever a service calls it), so it stays with the origin it was given for.
const WITHOUT_CREDENTIALS: [&str; 8] = [
    "accept",
    "accept-language",
    "cache-control",
    "content-language",
    "content-type",
    "if-modified-since",
    "if-none-match",
    "user-agent",
];

/// A method of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// One request; names of headers in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Status and headers of an answer; the body is read from what the transport keeps.
pub(crate) trait Reply {
    fn status(&self) -> u16;
    /// The first header of a name in lower case, if it is text.
    fn header(&self, name: &str) -> Option<&str>;
}

/// Sends one request: the host in the sandbox, a script in tests.
pub(crate) trait Transport {
    type Reply: Reply;
    fn send(&mut self, hop: &Hop) -> Result<Self::Reply, Failure>;
}

/// An answer that is no redirect, or one that is not followed.
#[derive(Debug)]
pub(crate) struct Answered<R> {
    pub(crate) reply: R,
    /// Where it came from.
    pub(crate) url: Url,
    /// Where the redirects on the way came from, in order.
    pub(crate) redirected_from: Vec<String>,
}

/// Sends a request and follows at most `redirects_max` redirects; with 0 the redirect itself is
/// the answer.
///
/// # Errors
/// The transport's, and redirects that are not followed.
pub(crate) fn follow<T: Transport>(
    transport: &mut T,
    mut hop: Hop,
    redirects_max: u32,
) -> Result<Answered<T::Reply>, Failure> {
    let mut redirected_from = Vec::new();
    loop {
        let reply = transport.send(&hop)?;
        let location = match reply.header("location") {
            Some(location) if redirects_max > 0 && is_redirect(reply.status()) => location,
            _ => return Ok(Answered { reply, url: hop.url, redirected_from }),
        };
        let target = target_of(&hop.url, location)?;
        if u32::try_from(redirected_from.len()).is_ok_and(|followed| followed >= redirects_max) {
            return Err(Failure::TooManyRedirects { max: redirects_max, last: target.into() });
        }
        redirected_from.push(hop.url.to_string());
        hop = next(hop, reply.status(), target);
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn target_of(from: &Url, location: &str) -> Result<Url, Failure> {
    let bad = || Failure::BadRedirect { from: from.to_string(), location: location.to_owned() };
    let mut target = from.join(location).map_err(|_| bad())?;
    if !matches!(target.scheme(), "http" | "https") || !target.has_host() {
        return Err(bad());
    }
    if from.scheme() == "https" && target.scheme() == "http" {
        return Err(Failure::Downgrade { from: from.to_string(), to: target.to_string() });
    }
    // A fragment is kept over a redirect that has none of its own (RFC 9110, 10.2.2).
    if target.fragment().is_none() {
        target.set_fragment(from.fragment());
    }
    Ok(target)
}

/// The request that a redirect asks for (RFC 9110, 15.4).
fn next(hop: Hop, status: u16, target: Url) -> Hop {
    let becomes_get = match status {
        303 => hop.method != Method::Head,
        // Not as the standard first had it, but as everyone does it.
        301 | 302 => hop.method == Method::Post,
        _ => false,
    };
    let same_origin = hop.url.origin() == target.origin();
    let keeps = |name: &str| {
        (same_origin || WITHOUT_CREDENTIALS.contains(&name))
            && !(becomes_get && name.starts_with("content-"))
    };
    Hop {
        method: if becomes_get { Method::Get } else { hop.method },
        headers: hop.headers.into_iter().filter(|(name, _)| keeps(name)).collect(),
        body: if becomes_get { Vec::new() } else { hop.body },
        url: target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[derive(Debug)]
    struct Scripted {
        status: u16,
        location: Option<&'static str>,
    }

    impl Reply for Scripted {
        fn status(&self) -> u16 {
            self.status
        }

        fn header(&self, name: &str) -> Option<&str> {
            self.location.filter(|_| name == "location")
        }
    }

    /// Answers in order, and keeps what it was asked.
    #[derive(Default)]
    struct Script {
        replies: VecDeque<(u16, &'static str)>,
        sent: Vec<Hop>,
    }

    impl Transport for Script {
        type Reply = Scripted;

        fn send(&mut self, hop: &Hop) -> Result<Scripted, Failure> {
            self.sent.push(hop.clone());
            Ok(match self.replies.pop_front() {
                Some((status, location)) => Scripted { status, location: Some(location) },
                None => Scripted { status: 200, location: None },
            })
        }
    }

    fn hop(method: Method, url: &str) -> Hop {
        let header = |name: &str| (name.to_owned(), "x".to_owned());
        Hop {
            method,
            url: Url::parse(url).expect("a url"),
            headers: ["accept", "authorization", "cookie", "x-api-key", "content-type"]
                .map(header)
                .into(),
            body: b"body".to_vec(),
        }
    }

    fn sent(method: Method, replies: &[(u16, &'static str)]) -> Result<Vec<Hop>, Failure> {
        let mut script = Script { replies: replies.iter().copied().collect(), sent: Vec::new() };
        follow(&mut script, hop(method, "https://a.org/x/y"), REDIRECTS_MAX)?;
        Ok(script.sent)
    }

    fn names(hop: &Hop) -> Vec<&str> {
        hop.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn a_redirect_is_a_request_of_its_own() {
        let hops =
            sent(Method::Get, &[(302, "../z?q"), (307, "https://a.org/w")]).expect("an answer");
        let urls: Vec<_> = hops.iter().map(|hop| hop.url.as_str()).collect();
        assert_eq!(urls, ["https://a.org/x/y", "https://a.org/z?q", "https://a.org/w"]);
        assert_eq!(names(&hops[2]), names(&hops[0]), "the same origin gets the same headers");
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for target in ["https://b.org/", "https://a.org:8443/", "https://sub.a.org/"] {
            let hops = sent(Method::Put, &[(307, target)]).expect("an answer");
            assert_eq!(names(&hops[1]), ["accept", "content-type"], "{target}");
        }
        let hops = sent(Method::Get, &[(302, "https://b.org/"), (302, "https://a.org/")]);
        assert_eq!(
            names(&hops.expect("an answer")[2]),
            ["accept", "content-type"],
            "nor come back"
        );
    }

    #[test]
    fn from_https_to_http_is_not_followed() {
        let error = sent(Method::Get, &[(301, "http://a.org/")]).expect_err("a downgrade");
        assert!(matches!(error, Failure::Downgrade { to, .. } if to == "http://a.org/"));
    }

    #[test]
    fn from_http_to_https_is_followed() {
        let mut script = Script { replies: [(301, "https://a.org/")].into(), sent: Vec::new() };
        let answered =
            follow(&mut script, hop(Method::Get, "http://a.org/"), 1).expect("an answer");
        assert_eq!(answered.url.as_str(), "https://a.org/");
        assert_eq!(answered.redirected_from, ["http://a.org/"]);
        assert_eq!(
            names(&script.sent[1]),
            ["accept", "content-type"],
            "another scheme is another origin"
        );
    }

    #[test]
    fn a_post_becomes_a_get_where_the_standard_says_so() {
        for (status, method, expected) in [
            (301, Method::Post, Method::Get),
            (302, Method::Post, Method::Get),
            (302, Method::Put, Method::Put),
            (303, Method::Put, Method::Get),
            (303, Method::Head, Method::Head),
            (307, Method::Post, Method::Post),
            (308, Method::Post, Method::Post),
        ] {
            let hops = sent(method, &[(status, "/z")]).expect("an answer");
            assert_eq!(hops[1].method, expected, "{status} {method:?}");
            let keeps_body = expected == method;
            assert_eq!(!hops[1].body.is_empty(), keeps_body, "{status} {method:?}");
            assert_eq!(names(&hops[1]).contains(&"content-type"), keeps_body);
        }
    }

    #[test]
    fn redirects_end() {
        let loops = [(302, "/x/y"); 9];
        let error = sent(Method::Get, &loops).expect_err("a loop");
        assert!(matches!(error, Failure::TooManyRedirects { max: 5, .. }));
        assert_eq!(sent(Method::Get, &loops[..5]).expect("an answer").len(), 6);
    }

    #[test]
    fn a_redirect_to_another_scheme_is_refused() {
        for location in ["file:///etc/passwd", "javascript:1", "https://", "data:,x"] {
            let error = sent(Method::Get, &[(302, location)]).expect_err("no address");
            assert!(matches!(error, Failure::BadRedirect { .. }), "{location}");
        }
    }

    #[test]
    fn without_redirects_the_redirect_is_the_answer() {
        let mut script = Script { replies: [(302, "http://a.org/")].into(), sent: Vec::new() };
        let answered =
            follow(&mut script, hop(Method::Get, "https://a.org/"), 0).expect("an answer");
        assert_eq!(answered.reply.status(), 302);
        assert_eq!(script.sent.len(), 1);
    }

    #[test]
    fn a_status_that_is_no_redirect_is_an_answer() {
        for status in [200, 201, 300, 304, 404] {
            assert_eq!(
                sent(Method::Get, &[(status, "/z")]).expect("an answer").len(),
                1,
                "{status}"
            );
        }
    }
}
