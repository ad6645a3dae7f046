//! Which addresses a probe may dial.
//!
//! In: the host of an endpoint and a resolver. Out: addresses, each of them checked, for one probe; they are what is
//! dialled, so that a name which resolves to something else a moment later gains nothing. Refused is a name with any
//! forbidden address; which those are the rules of the webhooks say. Dialling is left to `wire`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;
pub use mcp_hangar_webhooks::validation::address::is_forbidden;

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
