//! A remote MCP server inside this process, on loopback: one that answers at once, so that what is measured is the operator.
//!
//! It speaks `initialize` of 2025-06-18 with a session, as most servers do, and offers three tools. Requests are counted
//! and not kept; it ends with this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const TOOLS: &str = r#"{"tools":[{"name":"search_issues","description":"Finds issues by words.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}},{"name":"create_issue","description":"Creates an issue.","inputSchema":{"type":"object"}},{"name":"close_issue","description":"Closes an issue.","inputSchema":{"type":"object"}}]}"#;
const WHO: &str = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#;
/// Connections at the same time; the operator makes no more than 256 probes at once.
const CONNECTIONS: u64 = 512;

/// The server.
pub(crate) struct Answers {
    address: SocketAddr,
    listed: Arc<AtomicU64>,
}

impl Answers {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listed = Arc::new(AtomicU64::new(0));
        let (count, open) = (Arc::clone(&listed), Arc::new(AtomicU64::new(0)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
                    open.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                let (count, open) = (Arc::clone(&count), Arc::clone(&open));
                std::thread::Builder::new()
                    .stack_size(64 * 1024)
                    .spawn(move || {
                        let _ = converse(stream, &count);
                        open.fetch_sub(1, Ordering::Relaxed);
                    })
                    .unwrap();
            }
        });
        Self { address, listed }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Probes that came to their end: lists of tools that were sent.
    pub(crate) fn probes(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
    }
}

fn converse(stream: TcpStream, listed: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_post = line.starts_with("POST");
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body);
        let id = body.split_once(r#""id":"#).map_or("0", |(_, rest)| {
            rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or("0")
        });
        let asks = |method: &str| body.contains(&format!(r#""method":"{method}""#));
        let (status, head, answer) = if !is_post {
            ("200 OK", "", String::new())
        } else if asks("initialize") {
            ("200 OK", "mcp-session-id: s\r\n", format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{WHO}}}"#))
        } else if asks("tools/list") {
            listed.fetch_add(1, Ordering::Relaxed);
            ("200 OK", "", format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{TOOLS}}}"#))
        } else if asks("notifications/initialized") {
            ("202 Accepted", "", String::new())
        } else {
            ("400 Bad Request", "", String::new())
        };
        let text = format!(
            "HTTP/1.1 {status}\r\n{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        writer.write_all(text.as_bytes())?;
    }
}
