//! A small HTTP server on loopback that answers as a test says, right or wrong.
//!
//! In: a function from a request to a [`Reply`]. Out: its address, the requests that came and the bytes that went. It ends
//! with the value.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// The method of MCP that is asked for.
    pub(crate) fn asks(&self, method: &str) -> bool {
        self.body.contains(&format!("\"method\":\"{method}\""))
    }

    fn id(&self) -> i64 {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["id"].as_i64().unwrap()
    }
}

pub(crate) enum Reply {
    /// These bytes.
    Whole(Vec<u8>),
    /// These, then for ever the others, one portion each time.
    Endless(Vec<u8>, Vec<u8>, Duration),
    /// Nothing, with the connection kept open.
    Hang,
    /// Nothing, and the connection closed.
    Close,
}

type Answer = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

pub(crate) struct Fake {
    pub(crate) port: u16,
    pub(crate) requests: Arc<Mutex<Vec<Request>>>,
    pub(crate) sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub(crate) async fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(answer, None).await
    }

    pub(crate) async fn start(
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(AtomicU64::new(0));
        let (answer, seen, count): (Answer, _, _) =
            (Arc::new(answer), Arc::clone(&requests), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen, count, tls) =
                    (Arc::clone(&answer), Arc::clone(&seen), Arc::clone(&count), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // A client that does not trust us goes away: that is what some tests want.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => converse(stream, answer, seen, count).await,
                            Err(_) => None,
                        },
                        None => converse(stream, answer, seen, count).await,
                    }
                });
            }
        });
        Self { port, requests, sent, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|request| request.method.clone()).collect()
    }
}

async fn converse<S>(
    mut stream: S,
    answer: Answer,
    seen: Arc<Mutex<Vec<Request>>>,
    sent: Arc<AtomicU64>,
) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let request = read(&mut stream).await?;
        seen.lock().unwrap().push(request.clone());
        match answer(&request) {
            Reply::Whole(bytes) => {
                for chunk in bytes.chunks(64 * 1024) {
                    stream.write_all(chunk).await.ok()?;
                    sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            }
            Reply::Endless(head, portion, pause) => {
                stream.write_all(&head).await.ok()?;
                // Bounded, should the probe ever fail to stop.
                for _ in 0..200_000 {
                    stream.write_all(&portion).await.ok()?;
                    sent.fetch_add(portion.len() as u64, Ordering::Relaxed);
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            }
            Reply::Hang => {
                let mut rest = [0; 1];
                let _ = stream.read(&mut rest).await;
                return None;
            }
            Reply::Close => return None,
        }
    }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let length = head.lines().find_map(|line| {
        line.to_lowercase().strip_prefix("content-length:").map(|text| text.trim().to_owned())
    });
    let length: usize = length.map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split_whitespace().map(str::to_owned);
    let body = String::from_utf8(bytes[end..end + length].to_vec()).ok()?;
    Some(Request { method: words.next()?, path: words.next()?, head: head.clone(), body })
}

/// A whole answer.
pub(crate) fn http(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Reply {
    let body = body.as_ref();
    let mut bytes =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Reply::Whole(bytes)
}

pub(crate) fn json(body: &str) -> Reply {
    http("200 OK", "content-type: application/json\r\n", body)
}

/// Answers as a correct server of `initialize` with one tool does; 405 to GET.
pub(crate) fn correct(request: &Request) -> Reply {
    if request.method == "DELETE" {
        return http("200 OK", "", "");
    }
    if request.method != "POST" {
        return http("405 Method Not Allowed", "allow: POST\r\n", "");
    }
    if request.asks("initialize") {
        let result = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}"#;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, request.id());
        return http("200 OK", "content-type: application/json\r\nmcp-session-id: s1\r\n", body);
    }
    if request.asks("notifications/initialized") {
        return http("202 Accepted", "", "");
    }
    if request.asks("tools/list") {
        let tools = r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#;
        return json(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{tools}}}"#, request.id()));
    }
    http("400 Bad Request", "content-type: text/plain\r\n", "no session")
}

/// As [`correct`], with one answer replaced.
pub(crate) fn but(method: &'static str, reply: impl Fn(i64) -> Reply) -> impl Fn(&Request) -> Reply {
    move |request| if request.asks(method) { reply(request.id()) } else { correct(request) }
}
