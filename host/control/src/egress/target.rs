//! Where a request goes, in one form that is checked, dialled and sent.
//!
//! The guest's URI is read once, by the URL parser that policy uses; everything after (the rule,
//! the look-up, the TLS name, the request line, `Host`) is made from that reading. What two
//! parsers could read differently never gets that far.

use std::fmt;

use foreshore_domain::call::CallContext;
use foreshore_domain::effect::EffectError;
use foreshore_domain::http_rule::{is_never_let_out, refused_path};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use url::{Host, Url};

use super::denials;

/// Where a request goes.
pub(super) struct Target {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) host: Host,
    pub(super) port: u16,
    /// `host`, or `host:port` where the port is not the scheme's own.
    pub(super) authority: String,
}

impl Target {
    /// # Errors
    /// A form that is never let out.
    pub(super) fn checked(
        call: &CallContext,
        method: &Method,
        uri: &Uri,
    ) -> Result<Self, EffectError> {
        read(method, uri).map_err(|reason| {
            let authority = uri.authority().map_or("", |authority| authority.host());
            denials::not_allowed(call, &format!("{method} {authority}{}", uri.path()), &reason)
        })
    }

    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The request as it is sent: origin form, with the checked `Host`.
    ///
    /// # Errors
    /// None that a checked target can bring about.
    pub(super) fn request<B>(
        &self,
        mut headers: HeaderMap,
        body: B,
    ) -> Result<Request<B>, EffectError> {
        let unusable = |message: String| EffectError::ConnectionFailed {
            authority: self.authority.clone(),
            message,
        };
        let path_and_query = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        let uri: Uri =
            path_and_query.parse().map_err(|e: http::uri::InvalidUri| unusable(e.to_string()))?;
        let host = HeaderValue::from_str(&self.authority).map_err(|e| unusable(e.to_string()))?;
        headers.insert(header::HOST, host);
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: String = self.url.path().chars().take(512).collect();
        write!(f, "{} {}://{}{path}", self.method, self.url.scheme(), self.authority)
    }
}

fn read(method: &Method, uri: &Uri) -> Result<Target, String> {
    if is_never_let_out(method) {
        return Err(format!("{method} is never let out"));
    }
    let scheme = match uri.scheme_str() {
        Some(scheme @ ("http" | "https")) => scheme,
        Some(scheme) => return Err(format!("the scheme is http or https, not {scheme}")),
        None => return Err("it names no scheme".to_owned()),
    };
    let authority = uri.authority().ok_or("it names no host")?.as_str();
    if authority.contains('@') {
        return Err("user and password are never sent in a URL: use a header".to_owned());
    }
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // With these out of the way, every parser sees the same end of the authority.
    if authority.contains(['/', '\\', '?', '#']) || !path.starts_with(['/', '?']) {
        return Err("its host cannot be told from its path".to_owned());
    }
    let mut url = Url::parse(&format!("{scheme}://{authority}{path}"))
        .map_err(|error| format!("it is no URL: {error}"))?;
    // The system dials `[::ffff:127.0.0.1]` as 127.0.0.1, so that is what the rules are asked.
    if let Some(Host::Ipv6(address)) = url.host()
        && let Some(mapped) = address.to_ipv4_mapped()
    {
        url.set_ip_host(mapped.into()).map_err(|()| "it is no URL".to_owned())?;
    }
    if let Some(refusal) = refused_path(&url) {
        return Err(refusal.to_string());
    }
    let host = url.host().ok_or("it names no host")?.to_owned();
    if matches!(&host, Host::Domain(name) if name.ends_with('.')) {
        return Err("leave out the dot at the end of the host".to_owned());
    }
    let port = url.port_or_known_default().ok_or("it names no port")?;
    if port == 0 {
        return Err("port 0 cannot be connected to".to_owned());
    }
    let authority = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
    Ok(Target { method: method.clone(), url, host, port, authority })
}
