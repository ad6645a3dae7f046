//! From what was seen to what is said.
//!
//! In: [`Trouble`] or the error of `rmcp`, and whose fields the advice may name. Out: kind, what was seen, and exactly
//! what to write. A pure function; the texts say nothing of bodies and headers, which may hold secrets.

use std::io::ErrorKind;

use rustls::{CertificateError, Error as TlsError};

use super::Place;
use super::address::is_forbidden;
use super::failure::{Field, Kind, Word, clean};
use super::wire::{Stage, Trouble};

/// Kind, what was seen, advice.
pub(super) type Verdict = (Kind, String, Vec<Word>);

/// What the verdict depends on besides the trouble.
pub(super) struct About<'a> {
    pub(super) place: Place,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) path: &'a str,
    pub(super) is_tls: bool,
    pub(super) has_headers: bool,
    pub(super) has_ca: bool,
    pub(super) timeout: std::time::Duration,
    pub(super) bytes: u64,
}

macro_rules! words {
    ($($word:expr),* $(,)?) => { vec![$(Word::from($word)),*] };
}

impl About<'_> {
    /// What is said of a trouble.
    pub(super) fn judge(&self, trouble: &Trouble) -> Verdict {
        match trouble {
            Trouble::Resolve { host, says } => self.unresolved(host, says),
            Trouble::Forbidden { host, address } => (
                Kind::ForbiddenAddress,
                format!("{host} means {address}, which is never dialled: metadata services of clouds live at such addresses"),
                words!["write the address of an MCP server in ", Field::Endpoint],
            ),
            Trouble::Connect { kind, .. } => self.unconnected(*kind),
            Trouble::Tls { error, first } => self.tls(error.as_ref(), first.bytes()),
            Trouble::Timeout(stage) => self.late(*stage),
            Trouble::TooLarge => (
                Kind::TooLarge,
                format!("the answers are larger than the {} bytes that a probe reads", self.bytes),
                words!["make the server list fewer tools, or shorter ones"],
            ),
            Trouble::HeadersTooLarge => (
                Kind::TooLarge,
                "the headers of the answer are larger than the 64 KiB, or more than the 128, that a probe reads".to_owned(),
                self.elsewhere(),
            ),
            Trouble::NotHttp { first } => self.not_http(first.bytes()),
            Trouble::Closed => (
                Kind::Closed,
                "the server closed the connection before its answer was whole".to_owned(),
                self.elsewhere(),
            ),
            Trouble::Redirect { status, to } => self.redirect(*status, to.as_deref()),
            Trouble::Status { status, rpc, text, challenge } => {
                self.status(*status, rpc.as_ref(), text, *challenge)
            }
            Trouble::Compressed { coding } => (
                Kind::NotMcp,
                format!("the answer is compressed ({}), which was not asked for", clean(coding, 20)),
                words!["make the server, or the proxy before it, obey Accept-Encoding: identity"],
            ),
            Trouble::ContentType { found } => self.content_type(found.as_deref()),
            Trouble::Garbage => (
                Kind::NotMcp,
                "the answer is no message of MCP, though its type says JSON".to_owned(),
                self.elsewhere(),
            ),
        }
    }

    /// An error of JSON-RPC, in the handshake or to `tools/list`.
    pub(super) fn error(&self, method: &str, code: i32, message: &str) -> Verdict {
        let advice = words!["see the server's log: it speaks MCP, but refuses what every client asks first"];
        (Kind::Protocol, format!("{method} was answered with {}", self.rpc(code, message)), advice)
    }

    /// Where else an MCP server may be.
    fn elsewhere(&self) -> Vec<Word> {
        match self.place {
            Place::Container => words![
                "is it another server? If the MCP server listens on another port, write it in ",
                Field::Port,
                "; if it has another path, write it in ",
                Field::Path,
            ],
            Place::Remote => words!["is it another server? Check host, port and path in ", Field::Endpoint],
        }
    }

    fn path_advice(&self) -> Vec<Word> {
        let field = if self.place == Place::Container { Field::Path } else { Field::Endpoint };
        words![
            "if the MCP endpoint has another path (often /mcp, /mcp/ or /), write it in ",
            field,
            "; a server that has only the old /sse must be updated to streamable HTTP",
        ]
    }

    fn unresolved(&self, host: &str, says: &str) -> Verdict {
        let advice = match self.place {
            Place::Container => words!["the Service may be new: it is asked again"],
            Place::Remote => words!["check the host in ", Field::Endpoint],
        };
        (
            Kind::Unresolved,
            format!("the name {} does not resolve ({})", clean(host, 253), clean(says, 80)),
            advice,
        )
    }

    fn unconnected(&self, kind: ErrorKind) -> Verdict {
        let advice = match (kind, self.place) {
            (ErrorKind::ConnectionRefused, Place::Container) => words![
                "if the server listens on another port, write it in ",
                Field::Port,
                "; if it listens on 127.0.0.1 only, make it listen on 0.0.0.0; if it speaks only stdio, start its HTTP \
                 transport, or a bridge from stdio to HTTP, with ",
                Field::Args,
            ],
            (_, Place::Remote) => {
                words!["check host and port in ", Field::Endpoint, ", and what NetworkPolicies let out"]
            }
            (_, Place::Container) => words!["check what NetworkPolicies let the operator reach"],
        };
        match kind {
            ErrorKind::ConnectionRefused => {
                (Kind::Refused, format!("connection refused: nothing listens on port {}", self.port), advice)
            }
            other => (Kind::Unreachable, format!("no connection ({other})"), advice),
        }
    }

    fn late(&self, stage: Stage) -> Verdict {
        let limit = format!("{:?}", self.timeout);
        let (saw, advice) = match stage {
            Stage::Resolve => (format!("the name {} was not resolved within {limit}", self.host), words![]),
            Stage::Connect => (
                format!("no connection within {limit}: packets to {}:{} get no answer", self.host, self.port),
                match self.place {
                    Place::Container => words!["check what NetworkPolicies let the operator reach"],
                    Place::Remote => {
                        words!["check firewalls, NetworkPolicies, and host and port in ", Field::Endpoint]
                    }
                },
            ),
            Stage::Tls => (format!("connected, but TLS was not done within {limit}"), self.elsewhere()),
            Stage::Answer => (
                format!("connected, but no answer within {limit}"),
                words!["if the server needs longer, raise ", Field::Timeout],
            ),
            Stage::Body => (
                format!("the answer began but was not whole within {limit}"),
                words!["if the server needs longer, raise ", Field::Timeout],
            ),
        };
        (Kind::Timeout, saw, advice)
    }

    fn tls(&self, error: Option<&TlsError>, first: &[u8]) -> Verdict {
        if first.starts_with(b"HTTP/") || first.starts_with(b"<") {
            let advice = words!["write http:// instead of https:// in ", Field::Endpoint];
            return (Kind::Tls, "the server speaks plain HTTP, not TLS".to_owned(), advice);
        }
        let ca = || {
            if self.has_ca {
                words!["it is not signed by the CA in ", Field::CaBundle, ": write the one that signed it"]
            } else {
                words!["if its CA is your own, write it in ", Field::CaBundle]
            }
        };
        let (saw, advice) = match error {
            Some(TlsError::InvalidCertificate(cause)) => match cause {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    ("its certificate is of an unknown issuer".to_owned(), ca())
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                    format!("its certificate is not for the name {}", self.host),
                    words![
                        "write a name that the certificate has in ",
                        Field::Endpoint,
                        ", or have it renewed with this one"
                    ],
                ),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                    "its certificate has expired".to_owned(),
                    words!["have the server's certificate renewed"],
                ),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                    "its certificate is not valid yet".to_owned(),
                    words!["check the clocks of the server and of this node"],
                ),
                other => (format!("its certificate is refused ({})", clean(&other.to_string(), 100)), ca()),
            },
            Some(other) => (format!("TLS failed ({})", clean(&other.to_string(), 100)), self.elsewhere()),
            None => ("the connection was closed during the TLS handshake".to_owned(), self.elsewhere()),
        };
        (Kind::Tls, saw, advice)
    }

    fn not_http(&self, first: &[u8]) -> Verdict {
        if let [0x15 | 0x16, 3, ..] = first {
            let advice = match self.place {
                Place::Container => {
                    words!["make the server speak plain HTTP within the cluster; its port is ", Field::Port,]
                }
                Place::Remote => words!["write https:// instead of http:// in ", Field::Endpoint],
            };
            return (Kind::Tls, "the server speaks TLS, not plain HTTP".to_owned(), advice);
        }
        let speaks = match first {
            [b'S', b'S', b'H', b'-', ..] => "SSH",
            [0, 0, _, 4, ..] => "HTTP/2 only (gRPC?)",
            _ => "something else than HTTP/1.1",
        };
        (Kind::NotHttp, format!("the server speaks {speaks}"), self.elsewhere())
    }

    fn redirect(&self, status: u16, to: Option<&str>) -> Verdict {
        let to = to.map(|to| clean(to, 300));
        let saw = match &to {
            Some(to) => format!("answered with {status}, a redirect to {to}, which is not followed"),
            None => format!("answered with {status}, a redirect to nowhere"),
        };
        let is_forbidden =
            to.as_ref().and_then(|to| url::Url::parse(to).ok()).is_some_and(|to| match to.host() {
                Some(url::Host::Ipv4(address)) => is_forbidden(address.into()),
                Some(url::Host::Ipv6(address)) => is_forbidden(address.into()),
                _ => false,
            });
        let advice = match (self.place, to) {
            _ if is_forbidden => {
                words!["no request goes there: metadata services of clouds live at such addresses"]
            }
            (Place::Container, _) => {
                words!["write the path of the MCP endpoint itself, without a redirect, in ", Field::Path]
            }
            (Place::Remote, Some(to)) => {
                words![format!("if you trust it, write {to} in "), Field::Endpoint]
            }
            (Place::Remote, None) => words!["write the URL of the MCP endpoint itself in ", Field::Endpoint],
        };
        (Kind::Redirect, saw, advice)
    }

    fn status(&self, status: u16, rpc: Option<&(i32, String)>, text: &str, challenge: bool) -> Verdict {
        let error = rpc.map_or(String::new(), |(code, message)| format!(" and {}", self.rpc(*code, message)));
        let saw = format!("answered with status {status}{error}");
        let names_host = text.contains("host") && (text.contains("invalid") || text.contains("not allowed"));
        match status {
            421 => self.host_refused(&saw),
            403 if names_host => self.host_refused(&saw),
            401 | 403 => self.unauthorized(&saw, challenge),
            404 | 410 => {
                (Kind::NotFound, format!("{saw}: nothing is at the path {}", self.path), self.path_advice())
            }
            405 => (
                Kind::MethodNotAllowed,
                format!("{saw}: the path {} takes no POST", self.path),
                self.path_advice(),
            ),
            429 => {
                (Kind::Throttled, saw, words!["allow more requests from the operator, or probe less often"])
            }
            400 if self.place == Place::Remote && !self.is_tls && text.contains("https") => (
                Kind::Tls,
                format!("{saw}: the server wants TLS"),
                words!["write https:// instead of http:// in ", Field::Endpoint],
            ),
            400 | 406 | 415 | 422 if rpc.is_some() => (
                Kind::Protocol,
                saw,
                words!["see the server's log: it speaks MCP, but refuses what every client asks first"],
            ),
            501 => (Kind::NotMcp, format!("{saw}: it is a server that takes no POST"), self.elsewhere()),
            502..=504 => (Kind::Status, format!("{saw}: a proxy has no server behind it"), self.elsewhere()),
            500..=599 => (Kind::Status, saw, words!["see the server's log"]),
            _ => (Kind::Status, saw, self.elsewhere()),
        }
    }

    fn host_refused(&self, saw: &str) -> Verdict {
        let saw = format!("{saw}: it refuses to be called {}:{}", self.host, self.port);
        let advice = words![
            format!(
                "allow the name {} in the server's list of hosts (its protection against DNS rebinding)",
                self.host
            ),
            ", often by making it listen on 0.0.0.0",
        ];
        (Kind::HostRefused, saw, advice)
    }

    fn unauthorized(&self, saw: &str, challenge: bool) -> Verdict {
        let what = if challenge { ": it asks for credentials" } else { "" };
        let advice = match (self.place, self.has_headers) {
            (Place::Remote, false) => {
                words!["name a Secret with a valid Authorization header in ", Field::Headers]
            }
            (Place::Remote, true) => words![
                "check the Secrets named in ",
                Field::Headers,
                ": the server does not take their values"
            ],
            (Place::Container, _) => {
                words!["let the server answer within the cluster without credentials, with ", Field::Args]
            }
        };
        (Kind::Unauthorized, format!("{saw}{what}"), advice)
    }

    fn content_type(&self, found: Option<&str>) -> Verdict {
        let saw = match found {
            Some(found) if found.to_lowercase().starts_with("text/html") => {
                "answered with a web page (text/html), not with MCP".to_owned()
            }
            Some(found) => format!("answered with {}, not with MCP", clean(found, 60)),
            None => "answered without a content type, not with MCP".to_owned(),
        };
        (Kind::NotMcp, saw, self.elsewhere())
    }

    /// An error as text; without its words where the server was given secrets, which it may repeat.
    fn rpc(&self, code: i32, message: &str) -> String {
        if self.has_headers {
            format!("the error {code}")
        } else {
            format!("the error {code} \"{}\"", clean(message, 120))
        }
    }
}
