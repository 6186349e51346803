//! Where a request comes from: the other end of its connection, or, if that is a proxy of ours,
//! whoever the proxy says.
//!
//! `X-Forwarded-For` is read from the right, hop by hop, for as long as each hop is a trusted
//! proxy: what stands further to the left was said by somebody else, and anybody can say anything.
//! The invariant: of a peer that is no trusted proxy, no such field is looked at.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Whether it speaks TLS, with us or with our proxy.
    pub(crate) has_tls: bool,
}

impl Client {
    /// `remote` is the other end of the connection, which has TLS or not.
    pub(crate) fn of(
        proxies: &[IpNet],
        remote: IpAddr,
        has_tls: bool,
        headers: &HeaderMap,
    ) -> Self {
        if !is_among(proxies, remote) {
            return Self { address: remote, has_tls };
        }
        let proto = values(headers, &FORWARDED_PROTO).next();
        Self {
            address: outermost(proxies, remote, values(headers, &FORWARDED_FOR)),
            has_tls: proto.map_or(has_tls, |proto| proto.eq_ignore_ascii_case("https")),
        }
    }

    /// The client of a request that [`Client::of`] was asked about.
    pub(crate) fn found(head: &Parts) -> Option<Self> {
        head.extensions.get().copied()
    }
}

/// Whether limits per address say nothing of an address: this machine's own and those of our
/// proxies, behind which is everybody.
pub(crate) fn is_shared(proxies: &[IpNet], address: IpAddr) -> bool {
    address.is_loopback() || is_among(proxies, address)
}

fn is_among(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The rightmost hop that is none of our proxies; the last of ours that is known if the next one
/// cannot be read.
fn outermost<'a>(proxies: &[IpNet], remote: IpAddr, hops: impl Iterator<Item = &'a str>) -> IpAddr {
    let mut address = remote;
    for hop in hops {
        match read(hop) {
            Some(next) => address = next,
            None => break,
        }
        if !is_among(proxies, address) {
            break;
        }
    }
    address
}

/// The members of a list, the last one first. A field that is no text ends it.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let mut fields: Vec<&str> = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(text) => fields.push(text),
            // What stands before it is further away than it.
            Err(_) => fields.clear(),
        }
    }
    fields.into_iter().rev().flat_map(|field| field.rsplit(',')).map(str::trim)
}

/// An address, perhaps with a port: `203.0.113.7`, `203.0.113.7:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`.
fn read(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok();
    let address = address.or_else(|| hop.parse::<SocketAddr>().ok().map(|hop| hop.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(remote: &str, fields: &[(&'static str, &[u8])]) -> (String, bool) {
        let proxies: Vec<IpNet> = ["10.0.0.0/8", "2001:db8:1::/48"]
            .map(|network| network.parse().expect("a network"))
            .to_vec();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).expect("a value"),
            );
        }
        let remote = remote.parse().expect("an address");
        let client = Client::of(&proxies, remote, false, &headers);
        (client.address.to_string(), client.has_tls)
    }

    fn address(remote: &str, fields: &[&str]) -> String {
        let fields: Vec<_> = fields.iter().map(|f| ("x-forwarded-for", f.as_bytes())).collect();
        of(remote, &fields).0
    }

    #[test]
    fn a_stranger_is_who_it_is_whatever_it_says() {
        for said in ["1.2.3.4", "10.0.0.1", "127.0.0.1", "", "x", "10.0.0.1, 1.2.3.4"] {
            assert_eq!(address("203.0.113.7", &[said]), "203.0.113.7", "{said}");
        }
        let proto = [("x-forwarded-proto", &b"https"[..])];
        assert_eq!(of("203.0.113.7", &proto), ("203.0.113.7".to_owned(), false));
    }

    #[test]
    fn behind_proxies_the_rightmost_hop_that_is_none_counts() {
        for (said, counts) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["1.2.3.4, 203.0.113.7"], "203.0.113.7"),
            (&["127.0.0.1,203.0.113.7,10.1.1.1"], "203.0.113.7"),
            (&["1.2.3.4", "203.0.113.7", "10.1.1.1"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["1.2.3.4, 2001:db8:1::5"], "1.2.3.4"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&[], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["1.2.3.4, unknown"], "10.0.0.1"),
            (&["1.2.3.4, unknown, 10.1.1.1"], "10.1.1.1"),
            (&["1.2.3.4,"], "10.0.0.1"),
        ] {
            assert_eq!(address("10.0.0.1", said), counts, "{said:?}");
        }
        let odd = [("x-forwarded-for", &b"1.2.3.4"[..]), ("x-forwarded-for", &b"\xff"[..])];
        assert_eq!(of("10.0.0.1", &odd).0, "10.0.0.1", "what stands before it does not count");
    }

    #[test]
    fn a_proxy_says_whether_its_client_speaks_tls() {
        for (said, counts) in
            [(&b"https"[..], true), (b"HTTPS", true), (b"http", false), (b"https, http", false)]
        {
            assert_eq!(of("10.0.0.1", &[("x-forwarded-proto", said)]).1, counts);
        }
    }
}
