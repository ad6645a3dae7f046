//! One probe's way to its server: HTTP/1.1 over TCP or TLS, to checked addresses only, within time and bytes.
//!
//! In: an endpoint, headers, trust, a deadline. Out: answers, or [`Trouble`]. Every byte that arrives is counted, those of
//! TLS and of headers too, and over the limit nothing more is read. A redirect is followed to the same origin only, and
//! only where the request stays what it was. Nothing here knows MCP.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::address::{self, Resolve};
use super::meter::{First, Metered};

/// Redirects within one origin that are followed.
const HOPS: usize = 3;
/// Time for the rest of an answer of which nothing is wanted any more.
const REST: Duration = Duration::from_millis(200);
/// Bytes of headers that an answer may have.
const HEADER_BYTES: usize = 64 * 1024;
/// Headers that an answer may have.
const HEADERS: usize = 128;

/// What a probe was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asking for addresses.
    Resolve,
    /// Opening a connection.
    Connect,
    /// Shaking hands for TLS.
    Tls,
    /// Waiting for an answer to begin.
    Answer,
    /// Reading an answer.
    Body,
}

/// Why there is no answer, or none of MCP.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// A name without addresses.
    #[error("failed to resolve {host}: {says}")]
    Resolve { host: String, says: String },
    /// An address that is never dialled.
    #[error("failed to dial {host}: {address} is forbidden")]
    Forbidden { host: String, address: IpAddr },
    /// No connection.
    #[error("failed to connect to {address}: {kind}")]
    Connect { address: SocketAddr, kind: std::io::ErrorKind },
    /// No TLS. `first` is what the server said instead.
    #[error("failed to shake hands")]
    Tls { error: Option<rustls::Error>, first: First },
    /// Time is up.
    #[error("failed to wait longer: time is up ({0:?})")]
    Timeout(Stage),
    /// More bytes than a probe reads.
    #[error("failed to read the answer: too large")]
    TooLarge,
    /// More headers than a probe reads.
    #[error("failed to read the headers: too large")]
    HeadersTooLarge,
    /// Not HTTP/1.1.
    #[error("failed to read the answer: not HTTP")]
    NotHttp { first: First },
    /// Closed before or within an answer.
    #[error("failed to read the answer: connection closed")]
    Closed,
    /// A redirect that is not followed.
    #[error("failed to follow a redirect")]
    Redirect { status: u16, to: Option<String> },
    /// A status that is no success.
    #[error("failed with status {status}")]
    Status { status: u16, rpc: Option<(i32, String)>, text: String, challenge: bool },
    /// A content coding that was not asked for.
    #[error("failed to read the answer: it is compressed")]
    Compressed { coding: String },
    /// Not a content type of MCP.
    #[error("failed to read the answer: its type is not MCP's")]
    ContentType { found: Option<String> },
    /// Of the right type, but no message of MCP.
    #[error("failed to read the answer: no MCP message")]
    Garbage,
}

/// What is fixed for a probe.
pub(super) struct Wire {
    pub(super) url: Url,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) headers: HeaderMap,
    pub(super) deadline: Instant,
    pub(super) budget: Arc<AtomicI64>,
    /// Ends what still runs when the probe is over.
    pub(super) over: CancellationToken,
    pub(super) addresses: OnceCell<Vec<SocketAddr>>,
    pub(super) idle: Mutex<Vec<Connection>>,
    /// Held while the rest of an answer is read.
    pub(super) rest: Arc<Semaphore>,
    /// The path that a redirect led to.
    pub(super) moved: Mutex<Option<Url>>,
}

/// An open connection, and how its first answer began.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    first: Arc<Mutex<First>>,
}

/// What one request is.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) deadline: Instant,
}

impl Wire {
    /// The answer to a request, its body still to be read.
    pub(super) async fn ask(
        &self,
        ask: &Ask,
        stage: &Mutex<Stage>,
    ) -> Result<(Response<Incoming>, Connection), Trouble> {
        let asked = timeout_at(ask.deadline, self.follow(ask, stage)).await;
        let answer = asked.unwrap_or_else(|_| Err(Trouble::Timeout(now_at(stage))));
        answer.map_err(|trouble| self.or_too_large(trouble))
    }

    /// What a failure was if the bytes are used up.
    pub(super) fn or_too_large(&self, trouble: Trouble) -> Trouble {
        if self.budget.load(Ordering::Relaxed) <= 0 { Trouble::TooLarge } else { trouble }
    }

    /// Keeps a connection whose answer has been read to the end.
    pub(super) fn keep(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Reads on to the end of an answer, so that the connection can be kept: behind a Service a new one may lead to
    /// another pod, which knows nothing of the session.
    pub(super) fn finish(self: &Arc<Self>, mut body: Incoming, connection: Connection) {
        if hyper::body::Body::is_end_stream(&body) {
            return self.keep(connection);
        }
        let (Ok(runtime), Ok(rest)) = (Handle::try_current(), Arc::clone(&self.rest).try_acquire_owned())
        else {
            return;
        };
        let wire = Arc::clone(self);
        let until = self.deadline.min(Instant::now() + REST);
        runtime.spawn(async move {
            let read = async {
                loop {
                    match body.frame().await {
                        Some(Ok(_)) => {}
                        Some(Err(_)) => return false,
                        None => return true,
                    }
                }
            };
            if timeout_at(until, read).await == Ok(true) {
                wire.keep(connection);
            }
            drop(rest);
        });
    }

    async fn follow(
        &self,
        ask: &Ask,
        stage: &Mutex<Stage>,
    ) -> Result<(Response<Incoming>, Connection), Trouble> {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut url = moved.unwrap_or_else(|| self.url.clone());
        for _ in 0..=HOPS {
            let (response, connection) = self.exchange(&url, ask, stage).await?;
            if !response.status().is_redirection() {
                return Ok((response, connection));
            }
            url = self.next(&url, &response)?;
            *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(url.clone());
        }
        Err(Trouble::Redirect { status: 308, to: Some(shown(&url)) })
    }

    /// Where a redirect leads, if it may be followed.
    fn next(&self, from: &Url, response: &Response<Incoming>) -> Result<Url, Trouble> {
        let status = response.status();
        let location = response.headers().get(hyper::header::LOCATION);
        let to = location.and_then(|value| value.to_str().ok()).and_then(|text| from.join(text).ok());
        let keeps = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        match to {
            Some(to) if keeps && to.origin() == self.url.origin() && to.username().is_empty() => Ok(to),
            to => Err(Trouble::Redirect { status: status.as_u16(), to: to.as_ref().map(shown) }),
        }
    }

    async fn exchange(
        &self,
        url: &Url,
        ask: &Ask,
        stage: &Mutex<Stage>,
    ) -> Result<(Response<Incoming>, Connection), Trouble> {
        let mut request = self.request(url, ask)?;
        drop(self.rest.acquire().await);
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connection) = kept
            && connection.sender.ready().await.is_ok()
        {
            set(stage, Stage::Answer);
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                // Closed meanwhile: what was not sent is sent again on a new one.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(of_hyper(error.error(), &connection.first)),
                },
            }
        }
        let mut connection = self.open(stage, ask.deadline).await?;
        set(stage, Stage::Answer);
        match connection.sender.send_request(request).await {
            Ok(response) => Ok((response, connection)),
            Err(error) => Err(of_hyper(&error, &connection.first)),
        }
    }

    fn request(&self, url: &Url, ask: &Ask) -> Result<Request<Full<Bytes>>, Trouble> {
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = target.parse().map_err(|_| Trouble::Closed)?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.extend(ask.headers.clone());
        headers.insert(hyper::header::HOST, HeaderValue::from_str(host).map_err(|_| Trouble::Closed)?);
        headers.insert(hyper::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(request)
    }

    async fn open(&self, stage: &Mutex<Stage>, deadline: Instant) -> Result<Connection, Trouble> {
        set(stage, Stage::Resolve);
        let host = self.url.host().ok_or(Trouble::Closed)?;
        let port = self.url.port_or_known_default().ok_or(Trouble::Closed)?;
        let find = || address::find(self.resolver.as_ref(), &host, port);
        let addresses = self.addresses.get_or_try_init(find).await?;
        set(stage, Stage::Connect);
        let stream = dial(addresses, deadline).await?;
        let first = Arc::new(Mutex::new(First::default()));
        let metered = Metered::new(stream, Arc::clone(&self.budget), Arc::clone(&first));
        let Some(tls) = &self.tls else {
            return self.speak(metered, first).await;
        };
        set(stage, Stage::Tls);
        let name = server_name(&host).ok_or(Trouble::Closed)?;
        match tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, metered).await {
            Ok(stream) => {
                // From here on the first bytes are those of TLS, which say nothing.
                let unknown = Arc::new(Mutex::new(First::default()));
                self.speak(stream, unknown).await
            }
            Err(error) => {
                let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
                let first = *first.lock().unwrap_or_else(PoisonError::into_inner);
                Err(Trouble::Tls { error: cause, first })
            }
        }
    }

    async fn speak<S>(&self, stream: S, first: Arc<Mutex<First>>) -> Result<Connection, Trouble>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = Builder::new();
        builder.max_buf_size(HEADER_BYTES).max_headers(HEADERS);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| of_hyper(&error, &first))?;
        let over = self.over.clone();
        tokio::spawn(async move {
            // What goes wrong is told to who waits for the answer.
            let _ = over.run_until_cancelled(connection).await;
        });
        Ok(Connection { sender, first })
    }
}

/// A connection to the first address that takes one; each gets its share of the time.
async fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Trouble> {
    let mut last = Trouble::Timeout(Stage::Connect);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(1);
        let until = Instant::now() + share.max(Duration::from_millis(1));
        match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Requests are small and wait for nothing; a refusal of the option is no trouble.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = Trouble::Connect { address: *address, kind: error.kind() },
            Err(_) => last = Trouble::Timeout(Stage::Connect),
        }
    }
    Err(last)
}

fn server_name(host: &url::Host<&str>) -> Option<ServerName<'static>> {
    match host {
        url::Host::Domain(name) => ServerName::try_from((*name).to_owned()).ok(),
        url::Host::Ipv4(address) => Some(ServerName::IpAddress(IpAddr::V4(*address).into())),
        url::Host::Ipv6(address) => Some(ServerName::IpAddress(IpAddr::V6(*address).into())),
    }
}

fn of_hyper(error: &hyper::Error, first: &Mutex<First>) -> Trouble {
    let first = *first.lock().unwrap_or_else(PoisonError::into_inner);
    if error.is_parse_too_large() {
        Trouble::HeadersTooLarge
    } else if error.is_parse() {
        Trouble::NotHttp { first }
    } else {
        Trouble::Closed
    }
}

/// A URL without what may be secret in it.
pub(super) fn shown(url: &Url) -> String {
    let text = url[..url::Position::AfterPath].to_owned();
    if url.username().is_empty() && url.password().is_none() {
        text
    } else {
        url.origin().ascii_serialization()
    }
}

pub(super) fn set(stage: &Mutex<Stage>, to: Stage) {
    *stage.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

pub(super) fn now_at(stage: &Mutex<Stage>) -> Stage {
    *stage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Headers that the protocol itself sets and a user may not.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    const RESERVED: [&str; 15] = [
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "keep-alive",
        "last-event-id",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    RESERVED.contains(&name.as_str())
}
