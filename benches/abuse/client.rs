//! A client of the server that can be polite or not: raw bytes over TLS, and answers read by their length.
//!
//! In: an address and a CA. Whoever uses it decides what is sent; every wait that matters has a deadline there.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where to connect, and whom to trust.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, authority: &str, protocols: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = rustls::client::Resumption::disabled();
        Self { address, config: Arc::new(config) }
    }

    /// The same, offering other protocols.
    pub(crate) fn offering(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { address: self.address, config: Arc::new(config) }
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await?;
        Ok(Client { stream, read: Vec::new() })
    }

    /// The first message of a handshake.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }
}

type Stream = TlsStream<TcpStream>;

/// One TLS connection, or its reading half.
pub(crate) struct Client<S = Stream> {
    stream: S,
    read: Vec<u8>,
}

impl Client {
    /// The certificate that the server presented.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// For sending and reading at once.
    pub(crate) fn split(self) -> (Client<ReadHalf<Stream>>, WriteHalf<Stream>) {
        let (reader, writer) = split(self.stream);
        (Client { stream: reader, read: self.read }, writer)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// One call; the whole answer as text.
    pub(crate) async fn call(&mut self, call: &[u8]) -> Result<String> {
        self.send(call).await?;
        self.answer().await
    }
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// The next answer, head and body.
    pub(crate) async fn answer(&mut self) -> Result<String> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let whole = end + length.unwrap_or(0);
        while self.read.len() < whole {
            self.more().await?;
        }
        let rest = self.read.split_off(whole);
        let answer = std::mem::replace(&mut self.read, rest);
        String::from_utf8(answer).map_err(|_| Error::from(ErrorKind::InvalidData))
    }

    async fn more(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The status of an answer, or how the connection ended.
pub(crate) fn status(answer: Result<String>) -> String {
    match answer {
        Ok(answer) => answer.split(' ').nth(1).unwrap_or("garbled").to_owned(),
        Err(_) => "cut".to_owned(),
    }
}
