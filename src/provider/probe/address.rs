//! Which addresses a probe may dial.
//!
//! In: the host of an endpoint and a resolver. Out: addresses, each of them checked, for one probe; they are what is
//! dialled, so that a name which resolves to something else a moment later gains nothing. Refused is a name with any
//! forbidden address. Dialling is left to `wire`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::future::BoxFuture;

use super::wire::Trouble;

/// More addresses of one name are not tried.
const MOST: usize = 8;

/// Turns a name into addresses.
pub trait Resolve: Send + Sync {
    /// The addresses of a host name, best first.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            // The port plays no part in the look-up.
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// The checked addresses of a host.
pub(super) async fn find(
    resolver: &dyn Resolve,
    host: &url::Host<&str>,
    port: u16,
) -> Result<Vec<SocketAddr>, Trouble> {
    let found = match host {
        url::Host::Ipv4(address) => vec![IpAddr::V4(*address)],
        url::Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        url::Host::Domain(name) => resolver
            .resolve(name)
            .await
            .map_err(|error| Trouble::Resolve { host: (*name).to_owned(), says: error.to_string() })?,
    };
    if let Some(address) = found.iter().copied().find(|address| is_forbidden(*address)) {
        return Err(Trouble::Forbidden { host: host.to_string(), address });
    }
    if found.is_empty() {
        return Err(Trouble::Resolve { host: host.to_string(), says: "it has no address".to_owned() });
    }
    Ok(found.into_iter().take(MOST).map(|ip| SocketAddr::new(ip, port)).collect())
}

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
