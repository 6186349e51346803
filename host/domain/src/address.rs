//! Which addresses are special: those that lead somewhere else than into the public internet.
//!
//! A name that policy allows may still lead to the machine itself, into the operator's network
//! or to a cloud's credentials. Every range is listed with the document that sets it aside; the
//! base is the IANA special-purpose registries (RFC 6890). Addresses that carry another one
//! inside (mapped, translated, tunneled) are judged by what they carry.
//!
//! Invariant: what is not known to be global is not [`AddressClass::Global`]. What no table can
//! know: a translation prefix of the operator's own (RFC 6052, section 2.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressClass {
    /// A host in the public internet.
    Global,
    /// "No address"; dialled, it leads to the machine itself.
    Unspecified,
    /// The machine itself.
    Loopback,
    /// A private network.
    Private,
    /// Neighbours on the same wire.
    LinkLocal,
    /// The service from which a cloud's machines fetch their credentials.
    Metadata,
    /// Between a provider and its customers.
    Shared,
    /// A group.
    Multicast,
    /// Everybody on the wire.
    Broadcast,
    /// Examples in texts.
    Documentation,
    /// Laboratories.
    Benchmarking,
    /// Set aside, deprecated, or not given out.
    Reserved,
}

impl AddressClass {
    /// What an address leads to.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether the address is in the public internet, and needs no second key.
    pub fn is_global(self) -> bool {
        self == Self::Global
    }

    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Shared => "shared",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
        }
    }

    fn or_if_global(self, other: Self) -> Self {
        if self.is_global() { other } else { self }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address itself rather than an IPv6 spelling of an IPv4 one (`::ffff:127.0.0.1`): the
/// system dials both alike.
pub fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// Network, length of its prefix, class. The first that contains an address decides.
const V4_RANGES: &[(Ipv4Addr, u32, AddressClass)] = &[
    // No standard, but the clouds' own manuals: the link-local address that all of them share,
    // Amazon's for containers, Alibaba's, Oracle's, and Azure's, which looks global.
    (v4(169, 254, 169, 254), 32, AddressClass::Metadata),
    (v4(169, 254, 170, 2), 32, AddressClass::Metadata),
    (v4(169, 254, 170, 23), 32, AddressClass::Metadata),
    (v4(100, 100, 100, 200), 32, AddressClass::Metadata),
    (v4(192, 0, 0, 192), 32, AddressClass::Metadata),
    (v4(168, 63, 129, 16), 32, AddressClass::Metadata),
    // RFC 1122, section 3.2.1.3: "this host"; the rest of 0/8, "this network", is RFC 791.
    (v4(0, 0, 0, 0), 32, AddressClass::Unspecified),
    (v4(0, 0, 0, 0), 8, AddressClass::Reserved),
    // RFC 1918.
    (v4(10, 0, 0, 0), 8, AddressClass::Private),
    (v4(172, 16, 0, 0), 12, AddressClass::Private),
    (v4(192, 168, 0, 0), 16, AddressClass::Private),
    // RFC 6598.
    (v4(100, 64, 0, 0), 10, AddressClass::Shared),
    // RFC 1122, section 3.2.1.3.
    (v4(127, 0, 0, 0), 8, AddressClass::Loopback),
    // RFC 3927.
    (v4(169, 254, 0, 0), 16, AddressClass::LinkLocal),
    // RFC 6890, section 2.1: protocol assignments.
    (v4(192, 0, 0, 0), 24, AddressClass::Reserved),
    // RFC 5737.
    (v4(192, 0, 2, 0), 24, AddressClass::Documentation),
    (v4(198, 51, 100, 0), 24, AddressClass::Documentation),
    (v4(203, 0, 113, 0), 24, AddressClass::Documentation),
    // RFC 7526: relays of 6to4, deprecated.
    (v4(192, 88, 99, 0), 24, AddressClass::Reserved),
    // RFC 2544.
    (v4(198, 18, 0, 0), 15, AddressClass::Benchmarking),
    // RFC 5771.
    (v4(224, 0, 0, 0), 4, AddressClass::Multicast),
    // RFC 919 and RFC 8190.
    (v4(255, 255, 255, 255), 32, AddressClass::Broadcast),
    // RFC 1112, section 4.
    (v4(240, 0, 0, 0), 4, AddressClass::Reserved),
];

fn of_v4(address: Ipv4Addr) -> AddressClass {
    let bits = address.to_bits();
    V4_RANGES
        .iter()
        .find(|(network, length, _)| (bits ^ network.to_bits()).leading_zeros() >= *length)
        .map_or(AddressClass::Global, |(_, _, class)| *class)
}

const fn v6(segments: [u16; 8]) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

/// As for IPv4, of what carries no other address.
const V6_RANGES: &[(Ipv6Addr, u32, AddressClass)] = &[
    // The clouds' own manuals: Amazon's two and Google's.
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]), 128, AddressClass::Metadata),
    (v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]), 128, AddressClass::Metadata),
    (v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]), 128, AddressClass::Metadata),
    // RFC 4291, sections 2.5.2 and 2.5.3.
    (v6([0, 0, 0, 0, 0, 0, 0, 0]), 128, AddressClass::Unspecified),
    (v6([0, 0, 0, 0, 0, 0, 0, 1]), 128, AddressClass::Loopback),
    // RFC 4193.
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7, AddressClass::Private),
    // RFC 4291, section 2.5.6.
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10, AddressClass::LinkLocal),
    // RFC 3879: site-local, deprecated but still routed here and there.
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0]), 10, AddressClass::Private),
    // RFC 4291, section 2.7.
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8, AddressClass::Multicast),
    // RFC 5180, before the /23 that contains it.
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0]), 48, AddressClass::Benchmarking),
    // RFC 2928: protocol assignments, ORCHIDs (RFC 7343) and drones (RFC 9374) among them.
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0]), 23, AddressClass::Reserved),
    // RFC 3849 and RFC 9637.
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32, AddressClass::Documentation),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20, AddressClass::Documentation),
    // RFC 3701: the 6bone, handed back.
    (v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0]), 16, AddressClass::Reserved),
    // RFC 4291, section 2.4: what is given out lies in here.
    (v6([0x2000, 0, 0, 0, 0, 0, 0, 0]), 3, AddressClass::Global),
];

fn of_v6(address: Ipv6Addr) -> AddressClass {
    let bits = address.to_bits();
    let own = V6_RANGES
        .iter()
        .find(|(network, length, _)| (bits ^ network.to_bits()).leading_zeros() >= *length)
        // Discard-only (RFC 6666), segment identifiers (RFC 9602) and all that is unassigned.
        .map_or(AddressClass::Reserved, |(_, _, class)| *class);
    match carried(address.segments()) {
        Carried::Nothing => own,
        Carried::Same(inner) => of_v4(inner),
        Carried::Deprecated(inner) => of_v4(inner).or_if_global(AddressClass::Reserved),
        Carried::Teredo { server, client } => {
            of_v4(client).or_if_global(of_v4(server)).or_if_global(AddressClass::Reserved)
        }
        Carried::Isatap(inner) => of_v4(inner).or_if_global(own),
    }
}

/// An IPv4 address within an IPv6 one.
enum Carried {
    Nothing,
    /// Another spelling or a translation: it leads where the inner address leads.
    Same(Ipv4Addr),
    /// A form that nobody should use any more, or only within a network.
    Deprecated(Ipv4Addr),
    Teredo {
        server: Ipv4Addr,
        client: Ipv4Addr,
    },
    Isatap(Ipv4Addr),
}

fn carried(segments: [u16; 8]) -> Carried {
    match segments {
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Carried::Nothing,
        // RFC 4291, section 2.5.5.2: mapped.
        [0, 0, 0, 0, 0, 0xffff, high, low] => Carried::Same(joined(high, low)),
        // RFC 6052: the well-known prefix of NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Carried::Same(joined(high, low)),
        // RFC 4291, section 2.5.5.1: compatible, deprecated.
        [0, 0, 0, 0, 0, 0, high, low] => Carried::Deprecated(joined(high, low)),
        // RFC 2765, section 2.1: translated, superseded by RFC 6145.
        [0, 0, 0, 0, 0xffff, 0, high, low] => Carried::Deprecated(joined(high, low)),
        // RFC 8215: translation within a network. With a prefix of 96 bits the address is at the
        // end; with 48 bits it straddles the eight bits that RFC 6052, section 2.2, keeps zero.
        [0x64, 0xff9b, 1, high, low, after, 0, 0] if after.trailing_zeros() >= 8 => {
            let [_, third] = low.to_be_bytes();
            let [fourth, _] = after.to_be_bytes();
            let [first, second] = high.to_be_bytes();
            Carried::Deprecated(v4(first, second, third, fourth))
        }
        [0x64, 0xff9b, 1, _, _, _, high, low] => Carried::Deprecated(joined(high, low)),
        // RFC 3056, deprecated by RFC 7526: 6to4.
        [0x2002, high, low, ..] => Carried::Deprecated(joined(high, low)),
        // RFC 4380, section 4: Teredo; the client's address is inverted.
        [0x2001, 0, server_high, server_low, _, _, client_high, client_low] => Carried::Teredo {
            server: joined(server_high, server_low),
            client: joined(!client_high, !client_low),
        },
        // RFC 5214, section 6.1: ISATAP, under any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Carried::Isatap(joined(high, low)),
        _ => Carried::Nothing,
    }
}

fn joined(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    v4(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        AddressClass::of(text.parse().expect("an address"))
    }

    #[test]
    fn each_range_is_known_at_both_ends_and_its_neighbours_are_not_in_it() {
        use AddressClass::*;
        // First, last, class, and what lies before and after.
        let ranges = [
            ("0.0.0.1", "0.255.255.255", Reserved, "0.0.0.0", "1.0.0.0"),
            ("10.0.0.0", "10.255.255.255", Private, "9.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.127.255.255", Shared, "100.63.255.255", "100.128.0.0"),
            ("127.0.0.0", "127.255.255.255", Loopback, "126.255.255.255", "128.0.0.0"),
            ("169.254.0.0", "169.254.255.255", LinkLocal, "169.253.255.255", "169.255.0.0"),
            ("169.254.169.254", "169.254.169.254", Metadata, "169.254.169.253", "169.254.169.255"),
            ("172.16.0.0", "172.31.255.255", Private, "172.15.255.255", "172.32.0.0"),
            ("192.0.0.0", "192.0.0.255", Reserved, "191.255.255.255", "192.0.1.0"),
            ("192.0.2.0", "192.0.2.255", Documentation, "192.0.1.255", "192.0.3.0"),
            ("192.88.99.0", "192.88.99.255", Reserved, "192.88.98.255", "192.88.100.0"),
            ("192.168.0.0", "192.168.255.255", Private, "192.167.255.255", "192.169.0.0"),
            ("198.18.0.0", "198.19.255.255", Benchmarking, "198.17.255.255", "198.20.0.0"),
            ("198.51.100.0", "198.51.100.255", Documentation, "198.51.99.255", "198.51.101.0"),
            ("203.0.113.0", "203.0.113.255", Documentation, "203.0.112.255", "203.0.114.0"),
            ("224.0.0.0", "239.255.255.255", Multicast, "223.255.255.255", "240.0.0.0"),
            ("240.0.0.0", "255.255.255.254", Reserved, "239.255.255.255", "255.255.255.255"),
            ("fc00::", "fdff:ffff:ffff:ffff::", Private, "fbff::", "fe00::"),
            ("fe80::", "febf:ffff::", LinkLocal, "fe7f::", "fec0::"),
            ("fec0::", "feff:ffff::", Private, "febf::", "ff00::"),
            ("ff00::", "ffff::", Multicast, "feff::", "::"),
            ("2001:db8::", "2001:db8:ffff::", Documentation, "2001:db7::", "2001:db9::"),
            ("3fff::", "3fff:fff:ffff::", Documentation, "3ffe::", "3fff:1000::"),
            ("2001:2::", "2001:2:0:ffff::", Benchmarking, "2001:1::", "2001:2:1::"),
        ];
        for (first, last, expected, before, after) in ranges {
            assert_eq!(class(first), expected, "{first}");
            assert_eq!(class(last), expected, "{last}");
            assert_ne!(class(before), expected, "{before}");
            assert_ne!(class(after), expected, "{after}");
        }
    }

    #[test]
    fn the_public_internet_is_global() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "93.184.215.14",
            "100.63.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450:4001:81b::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(class(text), AddressClass::Global, "{text}");
        }
    }

    #[test]
    fn an_address_that_carries_another_is_judged_by_it() {
        use AddressClass::*;
        for (text, expected) in [
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:169.254.169.254", Metadata),
            ("::ffff:0.0.0.0", Unspecified),
            ("::127.0.0.1", Loopback),
            ("::8.8.8.8", Reserved),
            ("::ffff:0:127.0.0.1", Loopback),
            ("::ffff:0:8.8.8.8", Reserved),
            ("64:ff9b::127.0.0.1", Loopback),
            ("64:ff9b::169.254.169.254", Metadata),
            ("64:ff9b:1::10.0.0.1", Private),
            ("64:ff9b:1:7f00:0:100::", Loopback),
            ("64:ff9b:1::8.8.8.8", Reserved),
            ("64:ff9b:1:ffff:ffff:ffff:808:808", Reserved),
            ("2002:7f00:1::", Loopback),
            ("2002:a9fe:a9fe::1", Metadata),
            ("2002:808:808::", Reserved),
            // Teredo: a client behind 192.168.0.1, and a global one.
            ("2001:0:4136:e378:8000:63bf:3f57:fffe", Private),
            ("2001:0:7f00:1:8000:63bf:f7f7:f7f7", Loopback),
            ("2001:0:4136:e378:8000:63bf:f7f7:f7f7", Reserved),
            ("2606:4700::5efe:10.0.0.1", Private),
            ("2606:4700::200:5efe:127.0.0.1", Loopback),
            ("2606:4700::5efe:8.8.8.8", Global),
            ("fe80::5efe:8.8.8.8", LinkLocal),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_given_out_is_not_global() {
        for text in
            ["100::1", "100:0:0:1::1", "5f00::1", "4000::1", "1::1", "fe00::1", "2001:20::1"]
        {
            assert_eq!(class(text), AddressClass::Reserved, "{text}");
        }
        for text in ["fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200"] {
            assert_eq!(class(text), AddressClass::Metadata, "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_dialled_as_what_it_is() {
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().expect("an address");
        assert_eq!(unmapped(mapped).to_string(), "127.0.0.1");
        let own: IpAddr = "::1".parse().expect("an address");
        assert_eq!(unmapped(own), own);
    }
}
