//! A server with a reviewer that tests can steer, and a client that can misbehave.
//!
//! [`Site`] is the server with its CA; [`Client`] one TLS connection to it. Every wait has a deadline.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mcp_hangar_webhooks::admission::Webhook;
use mcp_hangar_webhooks::observer::{Observer, Silent};
use mcp_hangar_webhooks::policy::Policy;
use mcp_hangar_webhooks::reply::Reply;
use mcp_hangar_webhooks::service::{Limits, Reviewer, Rules, Webhooks, router};
use mcp_hangar_webhooks::tls::{Authority, Drain, LeafResolver, serve, server_config};
use rustls::client::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// More than anything here should ever take.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// Counts what the server reports.
#[derive(Default)]
pub(crate) struct Counter(Mutex<BTreeMap<String, usize>>);

impl Counter {
    fn add(&self, what: String) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// Waits until `what` was reported at least once.
    pub(crate) async fn reported(&self, what: &str) {
        eventually(what, || self.count(what) > 0).await;
    }
}

impl Observer for Counter {
    fn panicked(&self, path: &str) {
        self.add(format!("panicked {path}"));
    }

    fn refused(&self, limit: &'static str) {
        self.add(format!("refused {limit}"));
    }

    fn handshake_failed(&self, reason: &'static str) {
        self.add(format!("handshake {reason}"));
    }
}

/// Answers `panic` with a panic, `answer <n>` with that many bytes, `wait` after 300 ms and `wait <n>` after so many,
/// anything else with its path and length.
struct Steered;

impl Steered {
    fn reply(path: &str, body: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(&body[..body.len().min(64)]).into_owned();
        let body = match text.split_once(' ') {
            _ if text == "panic" => panic!("asked to"),
            Some(("answer", bytes)) => vec![b'x'; bytes.parse().unwrap()],
            _ => {
                if let Some(wish) = text.strip_prefix("wait") {
                    std::thread::sleep(Duration::from_millis(wish.trim().parse().unwrap_or(300)));
                }
                format!("{path} {}", body.len()).into_bytes()
            }
        };
        Reply { status: 200, body }
    }
}

impl Reviewer for Steered {
    fn admission(&self, webhook: Webhook, body: &[u8]) -> Reply {
        Self::reply(if webhook == Webhook::Default { "default" } else { "validate" }, body)
    }

    fn conversion(&self, body: &[u8]) -> Reply {
        Self::reply("convert", body)
    }
}

/// A running server and the CA that its certificate comes from.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Arc<Authority>,
    pub(crate) observer: Arc<Counter>,
    pub(crate) drain: Drain,
    pub(crate) task: JoinHandle<()>,
}

impl Site {
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::start_draining(limits, Drain::default()).await
    }

    pub(crate) async fn start_draining(limits: Limits, drain: Drain) -> Self {
        let now = SystemTime::now();
        let authority = Arc::new(Authority::generate("test", now).unwrap());
        let resolver = LeafResolver::new(names(), Arc::new(SystemTime::now));
        resolver.set_authority(Arc::clone(&authority)).unwrap();
        Self::start_with(limits, drain, authority, Arc::new(resolver)).await
    }

    pub(crate) async fn start_with(
        limits: Limits,
        drain: Drain,
        authority: Arc<Authority>,
        resolver: Arc<LeafResolver>,
    ) -> Self {
        Self::launch(limits, drain, authority, resolver, Arc::new(Steered)).await
    }

    /// A server that answers with the real rules.
    pub(crate) async fn start_judging() -> Self {
        let now = SystemTime::now();
        let authority = Arc::new(Authority::generate("test", now).unwrap());
        let resolver = LeafResolver::new(names(), Arc::new(SystemTime::now));
        resolver.set_authority(Arc::clone(&authority)).unwrap();
        let rules = Rules { policy: Policy::default(), observer: Arc::new(Silent) };
        Self::launch(Limits::default(), Drain::default(), authority, Arc::new(resolver), Arc::new(rules))
            .await
    }

    async fn launch(
        limits: Limits,
        drain: Drain,
        authority: Arc<Authority>,
        resolver: Arc<LeafResolver>,
        reviewer: Arc<dyn Reviewer>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let observer = Arc::new(Counter::default());
        let webhooks = Webhooks::new(reviewer, observer.clone(), &limits);
        let tls = server_config(resolver).unwrap();
        let server = serve(listener, tls, router(webhooks), limits, observer.clone(), drain.clone());
        Self { address, authority, observer, drain, task: tokio::spawn(server) }
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        timeout(LONG, TcpStream::connect(self.address)).await.unwrap().unwrap()
    }

    pub(crate) async fn connect(&self) -> Client {
        self.try_connect(client_config(&self.authority)).await.unwrap()
    }

    pub(crate) async fn try_connect(&self, config: ClientConfig) -> std::io::Result<Client> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream =
            timeout(LONG, connector.connect(name, stream)).await.expect("handshake takes too long")?;
        Ok(Client { stream, read: Vec::new() })
    }

    /// One call on a connection of its own.
    pub(crate) async fn call(&self, path: &str, body: &[u8]) -> Answer {
        let mut client = self.connect().await;
        client.send(&post(path, body)).await;
        client.answer().await
    }

    /// Waits until the server has ended.
    pub(crate) async fn ended(self) {
        timeout(LONG, self.task).await.expect("the server goes on").unwrap();
    }
}

pub(crate) fn names() -> Vec<String> {
    vec!["webhook.hangar.svc".to_owned(), "127.0.0.1".to_owned()]
}

pub(crate) fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = head(path, &format!("Content-Length: {}\r\n", body.len()));
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn head(path: &str, headers: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: webhook\r\n{headers}\r\n").into_bytes()
}

/// A client that trusts only `authority`.
pub(crate) fn client_config(authority: &Authority) -> ClientConfig {
    client_config_at(authority, SystemTime::now)
}

/// A client that trusts only `authority` and has its own idea of the time.
pub(crate) fn client_config_at(
    authority: &Authority,
    clock: impl Fn() -> SystemTime + Send + Sync + 'static,
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_details(provider, Arc::new(Time(clock)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

struct Time<F>(F);

impl<F> std::fmt::Debug for Time<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Time")
    }
}

impl<F: Fn() -> SystemTime + Send + Sync> TimeProvider for Time<F> {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch((self.0)().duration_since(SystemTime::UNIX_EPOCH).unwrap()))
    }
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// One TLS connection, and what was read beyond the last answer.
pub(crate) struct Client {
    pub(crate) stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(LONG, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
        .expect("sending takes too long")
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("no answer")
    }

    /// The next answer; an error when the connection ends before it is complete.
    pub(crate) async fn try_answer(&mut self) -> std::io::Result<Answer> {
        timeout(LONG, self.read_answer()).await.expect("the answer takes too long")
    }

    async fn read_answer(&mut self) -> std::io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < end + length {
            self.read_more().await?;
        }
        let rest = self.read.split_off(end + length);
        answer.body = self.read.split_off(end);
        self.read = rest;
        Ok(answer)
    }

    async fn read_more(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits until the server has closed the connection; nothing more may have been sent.
    pub(crate) async fn closed(&mut self) {
        let ended = timeout(LONG, self.read_more()).await.expect("the connection stays open");
        assert!(ended.is_err(), "unexpected: {:?}", String::from_utf8_lossy(&self.read));
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(what, wait).await;
}

/// Waits for a future.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(LONG, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for: {what}"),
    }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
