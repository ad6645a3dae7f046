//! Whether a server speaks MCP: asked with the official client, within limits.
//!
//! In: an endpoint, headers, a CA bundle, a time limit, the protocol era that worked last, allow and deny lists. Out: what
//! the server is and offers, or what is wrong and what to write. No cluster, no clock of its own: intervals, thresholds
//! and what follows are left to the caller, and so is how many probes run at once.
//!
//! Limits: [`Limits`] of bytes read in all (TLS and headers included), pages and tools; the time limit covers everything
//! but the farewell to a session (half a second at most). Memory of one probe stays within a small multiple of the bytes.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::asking::Asking;
use self::failure::clean;
use self::material::{endpoint, headers, invalid, system, trusting};
use self::verdict::Verdict;
use self::wire::Wire;

mod address;
mod asking;
mod client;
mod failure;
mod material;
mod meter;
mod tools;
mod verdict;
mod wire;

pub use self::address::{Resolve, SystemResolver, is_forbidden};
pub use self::failure::{Failure, Field, Kind, Word};
pub use self::tools::Offer;

/// How a server is greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize`, up to 2025-11-25.
    Initialize,
    /// `server/discover`, from 2026-07-28 on.
    Discover,
}

impl Era {
    fn other(self) -> Self {
        if self == Self::Discover { Self::Initialize } else { Self::Discover }
    }

    fn method(self) -> &'static str {
        if self == Self::Discover { "server/discover" } else { "initialize" }
    }
}

/// Whose fields the advice names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A pod of the provider.
    Container,
    /// A server elsewhere.
    Remote,
}

/// What a probe reads at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes, over all answers of one probe; exceeded by at most one read buffer (64 KiB).
    pub bytes: u64,
    /// Pages of `tools/list`.
    pub pages: usize,
    /// Tools that are named; more are only counted.
    pub tools: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 2 * 1024 * 1024, pages: 64, tools: 1024 }
    }
}

/// What to ask, and how.
#[derive(Clone)]
pub struct Probe {
    /// URL of the MCP endpoint.
    pub endpoint: String,
    /// Whose fields the advice names.
    pub place: Place,
    /// Headers of every request; the values are secret.
    pub headers: Vec<(String, Vec<u8>)>,
    /// PEM that a certificate is checked against. Absent: the system's.
    pub ca_bundle: Option<Vec<u8>>,
    /// Time for everything.
    pub timeout: Duration,
    /// The era that worked last.
    pub era: Option<Era>,
    /// Only these tools are offered; empty: all.
    pub allow: Vec<String>,
    /// These are not.
    pub deny: Vec<String>,
    /// What is read at most.
    pub limits: Limits,
}

/// A server that speaks MCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthy {
    /// The era that worked: to be given to the next probe.
    pub era: Era,
    /// Version of the protocol.
    pub protocol: String,
    /// What the server calls itself.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it offers.
    pub offer: Offer,
    /// Where it redirected to, within its origin.
    pub moved: Option<String>,
    /// Bytes that were read.
    pub bytes: u64,
}

/// Asks servers. Holds what probes share: the resolver and the system's certificates, read once.
pub struct Prober {
    resolver: Arc<dyn Resolve>,
    system: OnceCell<Option<Arc<rustls::ClientConfig>>>,
}

impl Default for Prober {
    fn default() -> Self {
        Self::new(Arc::new(SystemResolver))
    }
}

impl Prober {
    /// One that finds addresses by this resolver.
    pub fn new(resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, system: OnceCell::new() }
    }

    /// Asks one server. Dropped before its end, it stops at once.
    pub async fn ask(&self, probe: &Probe) -> Result<Healthy, Failure> {
        let deadline = Instant::now() + probe.timeout;
        let over = CancellationToken::new();
        let _guard = over.clone().drop_guard();
        let wire = match self.wire(probe, deadline, over).await {
            Ok(wire) => Arc::new(wire),
            Err(verdict) => return Err(failure(probe, None, &[], verdict)),
        };
        let first = probe.era.unwrap_or(Era::Discover);
        let asked = Asking { probe, wire: &wire };
        asked.both(first).await.map_err(|(eras, verdict)| failure(probe, Some(&wire.url), &eras, verdict))
    }

    async fn wire(&self, probe: &Probe, deadline: Instant, over: CancellationToken) -> Result<Wire, Verdict> {
        let url = endpoint(&probe.endpoint)?;
        let headers = headers(&probe.headers)?;
        let tls = if url.scheme() == "https" { Some(self.tls(probe).await?) } else { None };
        Ok(Wire {
            url,
            resolver: Arc::clone(&self.resolver),
            tls,
            headers,
            deadline,
            budget: Arc::new(AtomicI64::new(i64::try_from(probe.limits.bytes).unwrap_or(i64::MAX))),
            over,
            addresses: OnceCell::new(),
            idle: Mutex::new(Vec::new()),
            rest: Arc::new(Semaphore::new(1)),
            moved: Mutex::new(None),
        })
    }

    async fn tls(&self, probe: &Probe) -> Result<Arc<rustls::ClientConfig>, Verdict> {
        let config = match &probe.ca_bundle {
            Some(pem) => trusting(pem),
            None => self.system.get_or_init(system).await.clone(),
        };
        config.ok_or_else(|| match probe.ca_bundle {
            Some(_) => invalid(
                "the CA bundle holds no certificate",
                "write certificates in PEM, base64-encoded, in ",
                Field::CaBundle,
            ),
            None => {
                let advice = vec!["write the CA of the server in ".into(), Field::CaBundle.into()];
                (
                    Kind::Tls,
                    "the operator has no certificates to check the server's against".to_owned(),
                    advice,
                )
            }
        })
    }
}

fn failure(probe: &Probe, url: Option<&Url>, eras: &[Era], (kind, saw, advice): Verdict) -> Failure {
    let greetings = eras.iter().map(|era| era.method()).collect::<Vec<_>>().join(", then ");
    let tried = match url {
        Some(url) => format!("POST {} ({greetings})", clean(&wire::shown(url), 300)),
        None if probe.place == Place::Remote => "the remote endpoint was not asked".to_owned(),
        None => "the container was not asked".to_owned(),
    };
    Failure { kind, tried, saw, advice, eras: eras.to_vec() }
}
