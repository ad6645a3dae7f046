//! The life of one connection: TLS handshake, a place, requests until a limit or the end.
//!
//! An accepted socket comes in; calls go to the router. The connection is cut when a deadline of its
//! [`Watch`](super::watch::Watch) passes, when its room wants its place, or when the server ends. Accepting and
//! draining are the listener's.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use axum::response::IntoResponse;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, Error, InvalidMessage};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::room::{Place, Room};
use super::watch::{Phase, Plain, Watch, Wire};
use crate::observer::Observer;
use crate::service::{Limits, Refusal};

/// What all connections of one server share.
pub(super) struct Server {
    pub(super) limits: Limits,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) router: axum::Router,
    pub(super) tls: TlsAcceptor,
    pub(super) half_open: Arc<Room>,
    pub(super) connections: Arc<Room>,
    pub(super) overflow: Arc<Room>,
    pub(super) activity: Arc<Activity>,
    /// How long an idle connection may stay once the server is closing.
    pub(super) quiet: Duration,
    /// Every answer says `Connection: close`.
    pub(super) draining: CancellationToken,
    /// Idle connections are closed.
    pub(super) closing: CancellationToken,
    /// Everything is cut.
    pub(super) end: CancellationToken,
}

/// Serves one accepted socket to its end.
pub(super) async fn run(server: Arc<Server>, stream: TcpStream, watch: Arc<Watch>, place: Place) {
    let stream = match handshake(&server, stream, &watch).await {
        Ok(stream) => stream,
        Err(reason) => {
            server.observer.handshake_failed(reason);
            tracing::debug!(reason, "TLS handshake failed");
            return;
        }
    };
    server.activity.touch();
    drop(place);
    let Some((_place, overloaded)) = find_place(&server, &watch).await else {
        server.observer.refused("overflow");
        return;
    };
    if let Some(limit) = serve_requests(&server, stream, &watch, overloaded).await {
        server.observer.refused(limit);
        tracing::debug!(limit, "connection cut");
    }
}

/// A place among the established connections, if need be after waiting for a slow one to become old enough to be cut;
/// or one among those that are told `503` (the flag says so); or none.
async fn find_place(server: &Server, watch: &Arc<Watch>) -> Option<(Place, bool)> {
    if let Some(place) = server.connections.enter(watch) {
        return Some((place, false));
    }
    let waiting = server.overflow.enter(watch)?;
    loop {
        let vacancy = tokio::select! {
            biased;
            () = watch.token().cancelled() => return None,
            () = server.end.cancelled() => return None,
            vacancy = server.connections.vacancy() => vacancy,
        };
        if !vacancy {
            return Some((waiting, true));
        }
        if let Some(place) = server.connections.enter(watch) {
            return Some((place, false));
        }
    }
}

async fn handshake(
    server: &Server,
    stream: TcpStream,
    watch: &Arc<Watch>,
) -> Result<TlsStream<Wire>, &'static str> {
    let accept = server.tls.accept(Wire::new(stream, Arc::clone(watch)));
    let closing = async {
        server.closing.cancelled().await;
        sleep(server.quiet).await;
    };
    tokio::select! {
        biased;
        () = watch.token().cancelled() => Err("cut"),
        () = server.end.cancelled() => Err("shutdown"),
        accepted = timeout(server.limits.handshake, accept) => match accepted {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err("timeout"),
        },
        () = closing => Err("shutdown"),
    }
}

/// Why a handshake failed, in one of a fixed set of words.
fn failure(error: &std::io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        // A client that does not trust our CA: the one failure that the operator can do something about.
        Some(Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown,
        )) => "untrusted",
        Some(Error::AlertReceived(_)) => "alert",
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => "not_tls",
        Some(Error::InvalidMessage(_)) => "garbled",
        Some(Error::General(text)) if text.contains("no server certificate") => "no_certificate",
        Some(_) => "incompatible",
        None => "disconnected",
    }
}

/// Serves requests until the connection ends; the name of the limit, if it was one that ended it.
async fn serve_requests(
    server: &Server,
    stream: TlsStream<Wire>,
    watch: &Arc<Watch>,
    overloaded: bool,
) -> Option<&'static str> {
    let limits = &server.limits;
    let service = service_fn(|request| answer(server, watch, overloaded, request));
    let header_bytes = limits.header_bytes.max(8 << 10);
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_header_size(header_bytes)
        .max_buf_size(header_bytes)
        .serve_connection(TokioIo::new(Plain::new(stream, Arc::clone(watch))), service);
    let mut connection = pin!(connection);
    let mut cut = pin!(watch.token().cancelled());
    let mut end = pin!(server.end.cancelled());
    let mut closing = pin!(server.closing.cancelled());
    let mut alarm = pin!(sleep_until(Instant::now() + limits.idle));
    let mut idle = limits.idle;
    poll_fn(|cx| {
        loop {
            if connection.as_mut().poll(cx).is_ready() || end.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if cut.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some("slow_connection"));
            }
            if idle != server.quiet && closing.as_mut().poll(cx).is_ready() {
                idle = server.quiet;
            }
            let Some((deadline, limit)) = watch.deadline(limits, idle) else { return Poll::Pending };
            if deadline > Instant::now() {
                // The alarm is moved only when it would be late: most requests never touch the timer.
                if alarm.deadline() > deadline || alarm.is_elapsed() {
                    alarm.as_mut().reset(deadline);
                }
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            } else if limit == "idle" {
                // Says goodbye; the deadline of a closing connection applies from here.
                watch.enter(Phase::Closing);
                connection.as_mut().graceful_shutdown();
            } else {
                return Poll::Ready((limit != "linger").then_some(limit));
            }
        }
    })
    .await
}

async fn answer(
    server: &Server,
    watch: &Arc<Watch>,
    overloaded: bool,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let call = server.activity.begin();
    watch.enter(if request.body().is_end_stream() { Phase::Handling } else { Phase::Body });
    let mut response = if overloaded {
        server.observer.refused(Refusal::Connections.label());
        Refusal::Connections.into_response()
    } else {
        let request = request.map(|body| Body::new(Received { body, watch: Arc::clone(watch) }));
        match server.router.clone().call(request).await {
            Ok(response) => response,
            Err(impossible) => match impossible {},
        }
    };
    watch.enter(Phase::Handling);
    if server.draining.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer { body, watch: Arc::clone(watch), _call: call }))
}

/// A request's body; notes when it is complete.
struct Received {
    body: Incoming,
    watch: Arc<Watch>,
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.watch.enter(Phase::Handling);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body; notes when hyper has taken all of it.
struct Answer {
    body: Body,
    watch: Arc<Watch>,
    _call: Call,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watch.answered();
    }
}

/// When the server last did something for someone.
#[derive(Debug)]
pub(super) struct Activity {
    started: Instant,
    calls: AtomicUsize,
    /// Milliseconds after `started`.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), calls: AtomicUsize::new(0), last: AtomicU64::new(0) })
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(elapsed, Ordering::Relaxed);
    }

    fn begin(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.touch();
        Call { activity: Arc::clone(self) }
    }

    /// Since when nothing happens; now, if something does.
    pub(super) fn quiet_since(&self) -> Instant {
        match self.calls.load(Ordering::Relaxed) {
            0 => self.started + Duration::from_millis(self.last.load(Ordering::Relaxed)),
            _ => Instant::now(),
        }
    }
}

/// One call that is being answered.
#[derive(Debug)]
struct Call {
    activity: Arc<Activity>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.activity.touch();
        self.activity.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
