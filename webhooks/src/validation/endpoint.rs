//! Endpoints: absolute http or https URLs that point to servers, and not to the metadata services of clouds.
//!
//! In: the text. Out: nothing, or which rule it breaks and what to say. Names are not resolved here: what a name
//! points to changes, and is looked at when it is called.

use std::net::{IpAddr, Ipv4Addr};

use super::address::is_forbidden;
use super::code::{self, Code};
use super::quote::quoted;

/// An endpoint: which rule it breaks, and what to say.
pub fn judge(text: &str) -> Result<(), (&'static Code, String)> {
    let invalid = |says: &str| Err((&code::ENDPOINT, says.to_owned()));
    // A backslash is a slash to some clients and a part of the user's name to others.
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return invalid("must be an http or https URL, without spaces, backslashes and control characters");
    }
    let Ok(url) = url::Url::parse(text) else {
        return if text.contains("://") {
            invalid("must be an http or https URL; write for example \"https://tools.example.com/mcp\"")
        } else {
            Err((&code::ENDPOINT, with_scheme("https", text)))
        };
    };
    if !matches!(url.scheme(), "http" | "https") {
        let says = if text.contains("://") {
            "must be an http or https URL, not one of another scheme".to_owned()
        } else {
            with_scheme("http", text)
        };
        return Err((&code::ENDPOINT, says));
    }
    // The parser forgives `http:host` and `http:///host`; a client written elsewhere may not.
    let after = text.get(url.scheme().len()..).unwrap_or_default();
    if !after.starts_with("://") || after.starts_with(":///") {
        return invalid("must be an absolute URL with a host after \"//\"");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return invalid(
            "must not hold a user or password; in v1beta1, spec.remote.headersFrom takes them from a Secret",
        );
    }
    match url.host() {
        None => invalid("must have a host"),
        Some(url::Host::Ipv4(address)) => at(address.into()),
        Some(url::Host::Ipv6(address)) => at(address.into()),
        Some(url::Host::Domain(_)) => Ok(()),
    }
}

/// What to say of an endpoint without a scheme; one that may hold a secret is not repeated.
fn with_scheme(scheme: &str, text: &str) -> String {
    const LONGEST: usize = 60;
    if text.starts_with('/') || text.contains(['@', '?', '#', '$', '{']) || text.chars().count() > LONGEST {
        return "must be an http or https URL; write for example \"https://tools.example.com/mcp\""
            .to_owned();
    }
    format!("must be an http or https URL; write {}", quoted(&format!("{scheme}://{text}")))
}

fn at(address: IpAddr) -> Result<(), (&'static Code, String)> {
    if !is_forbidden(address) {
        return Ok(());
    }
    let says =
        if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            "this is the address of no server; write the address of an MCP server"
        } else {
            "link-local addresses hold the cloud's metadata services; write the address of an MCP server"
        };
    Err((&code::LINK_LOCAL, says.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_absolute_and_point_to_servers() {
        for good in
            ["http://a", "https://a.b:8443/mcp?x=1", "http://10.0.0.1", "http://[::1]:80/", "http://a_b/"]
        {
            assert_eq!(judge(good), Ok(()), "{good}");
        }
        for (bad, id) in [
            ("", "HGR115"),
            ("tools.example.com/mcp", "HGR115"),
            ("localhost:8080", "HGR115"),
            ("ftp://a", "HGR115"),
            ("http:///mcp", "HGR115"),
            ("http://", "HGR115"),
            ("http://u:p@a", "HGR115"),
            ("http://a b", "HGR115"),
            ("http://a/\n", "HGR115"),
            ("http://169.254.169.254/", "HGR116"),
            ("http://2852039166/", "HGR116"),
            ("http://0xa9fea9fe/", "HGR116"),
            ("http://[fe80::1]/", "HGR116"),
            ("http://[64:ff9b::169.254.169.254]/", "HGR116"),
            ("http://good\\@169.254.169.254/", "HGR115"),
            ("http://[::ffff:169.254.169.254]/", "HGR116"),
            ("http://[2002:a9fe:a9fe::1]/", "HGR116"),
            ("http://[fd00:ec2::254]/", "HGR116"),
            ("http://0.0.0.0:8080/mcp", "HGR116"),
            ("http://[ff02::1]/", "HGR116"),
        ] {
            assert_eq!(judge(bad).unwrap_err().0.id, id, "{bad}");
        }
    }
}
