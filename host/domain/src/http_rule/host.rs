//! The host and port of a rule.
//!
//! Hosts are compared in the one form that the URL parser leaves of all spellings (lower case,
//! IDNA, addresses as addresses), so that no spelling is a way around a rule. There is no rule
//! for all hosts.

use std::fmt;

use url::Host;

/// Which hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// This one.
    Exact(Host),
    /// Every name below this one, at any depth, but not the name itself.
    Below(String),
}

/// Which ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortPattern {
    Any,
    Only(u16),
}

impl PortPattern {
    pub(super) fn allows(self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == port,
        }
    }
}

impl HostPattern {
    pub(super) fn allows(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::Below(parent), Host::Domain(name)) => name
                .strip_suffix(parent.as_str())
                .and_then(|below| below.strip_suffix('.'))
                .is_some_and(is_name),
            (Self::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        }
    }

    /// The pattern for one host; `None` for a form that no rule takes.
    pub(super) fn exactly(host: &Host<&str>) -> Option<Self> {
        match host {
            Host::Domain(name) if !is_name(name) => None,
            Host::Ipv6(address) if address.to_ipv4_mapped().is_some() => None,
            host => Some(Self::Exact(host.to_owned())),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => fmt::Display::fmt(host, f),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Labels of letters, digits, `-` and `_`, with single dots between: no empty label, no dot at
/// the end. RFC 1035, section 2.3.1, and the underscore that names in use have.
fn is_name(name: &str) -> bool {
    let label_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    name.len() <= 253
        && name
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && label.bytes().all(label_byte))
}

pub(super) fn parsed(
    authority: &str,
    default_port: u16,
) -> Result<(HostPattern, PortPattern), String> {
    // A colon before the last bracket belongs to an IPv6 address.
    let port_start = authority.rfind(']').map_or(0, |end| end + 1);
    if authority[port_start..].matches(':').count() > 1 {
        return Err("write an IPv6 address in brackets, as in [::1]".to_owned());
    }
    let (host, port) = match authority[port_start..].find(':') {
        None => (authority, PortPattern::Only(default_port)),
        Some(colon) => {
            let (host, port) = authority.split_at(port_start + colon);
            (host, parsed_port(&port[1..])?)
        }
    };
    Ok((parsed_host(host)?, port))
}

fn parsed_port(text: &str) -> Result<PortPattern, String> {
    if text == "*" {
        return Ok(PortPattern::Any);
    }
    match text.parse::<u16>() {
        Ok(port) if port != 0 && port.to_string() == text => Ok(PortPattern::Only(port)),
        _ => Err("a port is 1 to 65535, or * for any".to_owned()),
    }
}

fn parsed_host(text: &str) -> Result<HostPattern, String> {
    if text.is_empty() {
        return Err("it names no host".to_owned());
    }
    if text == "*" {
        return Err("no rule allows every host: name them, or write *.example.org".to_owned());
    }
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(parent) => (true, parent),
        None => (false, text),
    };
    if name.contains('*') {
        return Err("a star is a whole label, the first: write *.example.org".to_owned());
    }
    if name.contains('%') {
        return Err("write the host without percent signs".to_owned());
    }
    if name.ends_with('.') {
        return Err("leave out the dot at the end of the host".to_owned());
    }
    let host = Host::parse(name).map_err(|error| format!("\"{name}\" is no host: {error}"))?;
    match (host, wildcard) {
        (Host::Domain(domain), _) if !is_name(&domain) => Err(format!("\"{name}\" is no host")),
        (Host::Domain(domain), true) if !domain.contains('.') => {
            Err(format!("*.{domain} is too wide: write at least two labels, as in *.example.org"))
        }
        (Host::Domain(domain), true) => Ok(HostPattern::Below(domain)),
        (Host::Ipv4(_) | Host::Ipv6(_), true) => {
            Err("an address has no names below it: use its own rule".to_owned())
        }
        (host, false) => canonical(host, name).map(HostPattern::Exact),
    }
}

/// An address only in its canonical form (RFC 5952 for IPv6): `0x7f.1` looks like a name, and a
/// mapped address is an IPv4 one.
fn canonical(host: Host, text: &str) -> Result<Host, String> {
    let written = match &host {
        Host::Domain(_) => return Ok(host),
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.to_string(),
            None => host.to_string(),
        },
        Host::Ipv4(_) => host.to_string(),
    };
    if written == text { Ok(host) } else { Err(format!("write the address as {written}")) }
}
