//! Addresses to which nobody may be made to send anything.
//!
//! In: an address. Out: whether it is one of them. The rules refuse an endpoint that is written with one, and whoever
//! dials a name asks again with what the name resolved to: one list for both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether nothing may be sent there: link-local addresses hold the metadata services of clouds, which hand out
/// credentials; the unspecified address is this very pod; groups are no server.
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => is_forbidden_v6(v6),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || address.is_unspecified() || address.is_multicast() || address.is_broadcast()
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    // The metadata service of AWS has an address that is unique-local, not link-local.
    const AWS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    let carried = match [a, b, c, d, e, f] {
        // Mapped, compatible, translated, NAT64 (well-known and local-use) and 6to4 carry an IPv4 address.
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        [0x64, 0xff9b, 1, ..] => Some(v4(g, h)),
        [0, 0, 0, 0, 0, 0] if (g, h) != (0, 1) => Some(v4(g, h)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    };
    address.is_unicast_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address == AWS
        || carried.is_some_and(is_forbidden_v4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_forbidden_in_every_disguise() {
        for (text, forbidden) in [
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("0.0.0.0", true),
            ("224.0.0.1", true),
            ("255.255.255.255", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("::", true),
            ("ff02::1", true),
            ("fd00:ec2::254", true),
            ("::ffff:169.254.169.254", true),
            ("::169.254.169.254", true),
            ("::ffff:0:169.254.169.254", true),
            ("64:ff9b::169.254.169.254", true),
            ("64:ff9b:1::169.254.169.254", true),
            ("2002:a9fe:a9fe::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
            ("169.253.1.1", false),
        ] {
            assert_eq!(is_forbidden(text.parse().unwrap()), forbidden, "{text}");
        }
    }
}
