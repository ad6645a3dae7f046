//! The client: keep-alive connections that each send the next call as soon as they have the answer to the last.
//!
//! It writes prepared bytes and counts the bytes of answers, so that it stays cheap. Its core never sleeps: waking it
//! takes microseconds of the server's time, and only of a server that is slower than the client.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cost::Cost;
use crate::server::{Server, folder};

/// A runtime of one thread, which is this one.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().event_interval(4).build().unwrap()
}

/// A client that trusts the certificates of [`folder`] and never resumes a session, as the API server does.
pub(crate) fn connector() -> TlsConnector {
    let pem = std::fs::read(folder().join("ca.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// The bytes of a call.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path}?timeout=5s HTTP/1.1\r\nHost: mcp-hangar-operator-webhook.mcp-system.svc:443\r\n\
         User-Agent: kube-apiserver-admission\r\nContent-Length: {}\r\nAccept: application/json, */*\r\n\
         Content-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One connection.
pub(crate) struct Client {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, connector: &TlsConnector) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// One call; the whole answer as text.
    pub(crate) async fn call(&mut self, call: &[u8]) -> std::io::Result<String> {
        self.send(call).await?;
        loop {
            let text = String::from_utf8_lossy(&self.buffer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() >= length.parse().unwrap() {
                    return Ok(text.into_owned());
                }
            }
            self.more().await?;
        }
    }

    async fn send(&mut self, call: &[u8]) -> std::io::Result<()> {
        self.buffer.clear();
        let mut rest = call;
        while !rest.is_empty() {
            let written = poll_fn(|cx| Pin::new(&mut self.stream).poll_write(cx, rest)).await?;
            rest = &rest[written..];
        }
        poll_fn(|cx| Pin::new(&mut self.stream).poll_flush(cx)).await
    }

    async fn more(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; 4096];
        let mut buf = ReadBuf::new(&mut bytes);
        poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut buf)).await?;
        if buf.filled().is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.extend_from_slice(buf.filled());
        Ok(())
    }

    /// One call whose answer is known to be so long.
    async fn again(&mut self, call: &[u8], answer: usize) -> std::io::Result<()> {
        self.send(call).await?;
        while self.buffer.len() < answer {
            self.more().await?;
        }
        assert!(self.buffer.len() == answer && self.buffer.starts_with(b"HTTP/1.1 200"), "another answer");
        Ok(())
    }
}

/// What one round of calls took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// The server's CPU time for one call, in microseconds.
    pub(crate) cpu: f64,
    /// In microseconds.
    pub(crate) p99: f64,
    /// The share of the time in which server or client could not get a core.
    pub(crate) noise: f64,
}

/// Open connections to one server, and what they say.
pub(crate) struct Load {
    pid: u32,
    clients: Vec<Client>,
    call: Vec<u8>,
    answer: usize,
}

impl Load {
    /// Connects; `right` looks at the first answer.
    pub(crate) async fn open(server: &Server, connections: usize, call: Vec<u8>, right: &str) -> Self {
        let connector = connector();
        let mut clients = Vec::new();
        let mut length = 0;
        for _ in 0..connections {
            let mut client = Client::connect(server.address, &connector).await.unwrap();
            let answer = client.call(&call).await.unwrap();
            assert!(answer.contains(right), "{answer}");
            length = answer.len();
            clients.push(client);
        }
        Self { pid: server.pid(), clients, call, answer: length }
    }

    /// Calls on all connections for so long.
    pub(crate) async fn round(&mut self, time: Duration) -> Round {
        let (before, own_before, began) =
            (Cost::of_process(self.pid), Cost::of_process(std::process::id()), Instant::now());
        let (call, answer) = (&self.call, self.answer);
        let each = self.clients.iter_mut().map(async |client| {
            let mut times = Vec::with_capacity(4096);
            while began.elapsed() < time {
                let sent = Instant::now();
                client.again(call, answer).await.unwrap();
                times.push(sent.elapsed().as_nanos() as u64);
            }
            times
        });
        let awake = async {
            while began.elapsed() < time {
                tokio::task::yield_now().await;
            }
        };
        let (times, ()) = futures::join!(futures::future::join_all(each), awake);
        let mut times = times.concat();
        let wall = began.elapsed().as_nanos() as f64;
        let (cost, own) =
            (Cost::of_process(self.pid) - before, Cost::of_process(std::process::id()) - own_before);
        times.sort_unstable();
        Round {
            cpu: cost.cpu as f64 / times.len() as f64 / 1000.0,
            p99: times[times.len() * 99 / 100] as f64 / 1000.0,
            noise: (cost.waited + own.waited) as f64 / wall,
        }
    }
}
