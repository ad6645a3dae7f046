//! Plain HTTP on ports of its own: `/healthz` and `/readyz` for the kubelet, `/metrics` for Prometheus.
//!
//! Readiness is decided from memory: the listener is up, the certificate belongs to the current CA and is valid, and
//! nobody has told us to end. Never from leadership, never from the API server: its outage must not make pods unready.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use mcp_hangar_webhooks::tls::{LeafResolver, Status};
use tokio::net::TcpListener;

use crate::exit::RunError;
use crate::metrics::Metrics;

/// What readiness is decided from.
#[derive(Debug)]
pub struct Health {
    listening: AtomicBool,
    draining: AtomicBool,
    resolver: Arc<LeafResolver>,
}

impl Health {
    /// Not ready yet.
    pub fn new(resolver: Arc<LeafResolver>) -> Self {
        Self { listening: AtomicBool::new(false), draining: AtomicBool::new(false), resolver }
    }

    /// The webhook listener accepts connections.
    pub fn listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// A signal has come; never ready again.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The checks in the order in which they come true, each with what is wrong.
    fn checks(&self) -> [(&'static str, Result<(), &'static str>); 3] {
        checks(
            self.listening.load(Ordering::Relaxed),
            self.draining.load(Ordering::Relaxed),
            self.resolver.status(),
        )
    }

    /// Status and verbose text of `/readyz`.
    pub fn readiness(&self) -> (StatusCode, String) {
        render(&self.checks())
    }
}

fn checks(listening: bool, draining: bool, leaf: Status) -> [(&'static str, Result<(), &'static str>); 3] {
    let certificate = match (leaf.valid, leaf.not_after) {
        (true, _) => Ok(()),
        (false, None) => Err("there is none yet; waiting for the CA"),
        (false, Some(_)) => Err("it is not valid now"),
    };
    [
        ("listener", if listening { Ok(()) } else { Err("does not accept connections yet") }),
        ("certificate", certificate),
        ("shutdown", if draining { Err("draining") } else { Ok(()) }),
    ]
}

fn render(checks: &[(&'static str, Result<(), &'static str>)]) -> (StatusCode, String) {
    let mut text = String::new();
    let mut ready = true;
    for (name, result) in checks {
        // Writing to a String does not fail.
        let _ = match result {
            Ok(()) => writeln!(text, "[+] {name} ok"),
            Err(reason) => {
                ready = false;
                writeln!(text, "[-] {name}: {reason}")
            }
        };
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

/// `/healthz` and `/readyz`.
pub fn health_router(health: Arc<Health>) -> Router {
    let alive = || async { "ok\n" };
    Router::new().route("/healthz", get(alive)).route("/livez", get(alive)).route(
        "/readyz",
        get(move || {
            let answer = health.readiness();
            async move { answer }
        }),
    )
}

/// `/metrics`.
pub fn metrics_router(metrics: Arc<Metrics>, resolver: Arc<LeafResolver>) -> Router {
    Router::new().route(
        "/metrics",
        get(move || {
            // Read when asked, so that a renewal at a handshake shows too.
            if let Some(at) = resolver.status().not_after {
                metrics.certificate_expires("leaf", at);
            }
            let answer = match metrics.render() {
                Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
            };
            async move { answer }
        }),
    )
}

/// Binds, both families where the address is `[::]`; on a host without IPv6 that means IPv4.
pub async fn bind(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, RunError> {
    use std::io::ErrorKind::{AddrNotAvailable, Unsupported};
    const NO_SUCH_FAMILY: i32 = 97;
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED
                && (matches!(error.kind(), AddrNotAvailable | Unsupported)
                    || error.raw_os_error() == Some(NO_SUCH_FAMILY)) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    }
    .map_err(|source| RunError::Bind { address, purpose, source })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn leaf(valid: bool, present: bool) -> Status {
        Status { valid, not_after: present.then_some(SystemTime::UNIX_EPOCH) }
    }

    #[test]
    fn is_ready_when_all_three_hold() {
        assert_eq!(render(&checks(true, false, leaf(true, true))).0, StatusCode::OK);
    }

    #[test]
    fn says_what_is_not_ready() {
        let check = |listening, draining, leaf, expected: &str| {
            let (status, text) = render(&checks(listening, draining, leaf));
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(text.contains(expected), "{text}");
        };
        check(false, false, leaf(true, true), "[-] listener: does not accept");
        check(true, false, leaf(false, false), "[-] certificate: there is none yet");
        check(true, false, leaf(false, true), "[-] certificate: it is not valid now");
        check(true, true, leaf(true, true), "[-] shutdown: draining");
    }

    #[tokio::test]
    async fn a_taken_port_is_a_bind_error() {
        let first = bind(([127, 0, 0, 1], 0).into(), "health").await.unwrap();
        let error = bind(first.local_addr().unwrap(), "health").await.unwrap_err();
        assert_eq!(error.exit_code(), crate::exit::ExitCode::Bind);
    }

    #[tokio::test]
    async fn the_unspecified_address_takes_both_families() {
        let listener = bind((Ipv6Addr::UNSPECIFIED, 0).into(), "health").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }
}
