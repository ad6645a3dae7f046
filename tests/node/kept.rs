//! Connections that stay open and never rest: reviews one after the other, as from an API server under load.
//!
//! In: the Service's address and a bundle. A connection is given up only when the server asks for that
//! (`Connection: close`). Out: how many calls there were, how often one had to connect again, and which failed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::handshakes::connect;

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// Between two calls on a connection: less than any quiet for which a server waits.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls until [`Kept::end`].
pub(crate) struct Kept {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<String>>>,
}

impl Kept {
    /// Opens that many connections, and waits for the first answers.
    pub(crate) fn start(address: SocketAddr, bundle: &str, connections: usize) -> Self {
        let kept = Self {
            stop: Arc::default(),
            calls: Arc::default(),
            connections: Arc::default(),
            workers: Vec::new(),
        };
        let workers = (0..connections).map(|_| {
            let (stop, bundle) = (Arc::clone(&kept.stop), bundle.to_owned());
            let (calls, opened) = (Arc::clone(&kept.calls), Arc::clone(&kept.connections));
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                let mut stream: Option<Stream> = None;
                while !stop.load(Ordering::Relaxed) {
                    let open = match stream.take() {
                        Some(open) => Ok(open),
                        None => {
                            opened.fetch_add(1, Ordering::Relaxed);
                            connect(address, &bundle).map(BufReader::new)
                        }
                    };
                    match open.and_then(|open| call(open).map_err(|error| error.to_string())) {
                        Ok(open) => stream = open,
                        Err(error) => failed.push(error),
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(PAUSE);
                }
                failed
            })
        });
        let workers = workers.collect();
        let kept = Self { workers, ..kept };
        kept.goes_on();
        kept
    }

    /// Waits for calls on every connection.
    pub(crate) fn goes_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        eventually("calls are made", Duration::from_secs(60), || {
            (self.calls.load(Ordering::Relaxed) >= before + 4 * self.workers.len()).then_some(())
        });
    }

    /// Ends the calls: how many there were, on how many connections, and which failed.
    pub(crate) fn end(self) -> (usize, usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        (self.calls.load(Ordering::Relaxed), self.connections.load(Ordering::Relaxed), failed)
    }
}

/// One review, which must be allowed. Returns the connection, unless the server is done with it.
fn call(mut stream: Stream) -> std::io::Result<Option<Stream>> {
    let wrong = |text: String| std::io::Error::other(text);
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "u",
        "kind": {"group": "mcp-hangar.io", "version": "v1alpha1", "kind": "MCPProvider"},
        "resource": {"group": "mcp-hangar.io", "version": "v1alpha1", "resource": "mcpproviders"},
        "operation": "CREATE", "userInfo": {}, "name": "x", "namespace": "default",
        "object": {"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": "x", "namespace": "default"},
            "spec": {"mode": "container", "image": "acme/tools:1"}}}});
    let body = review.to_string();
    let length = body.len();
    let request = format!(
        "POST /validate?timeout=5s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.get_mut().write_all(request.as_bytes())?;
    let (mut length, mut last, mut status) = (0, false, String::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(wrong("closed instead of an answer".into()));
        }
        let line = line.trim_end().to_lowercase();
        if status.is_empty() {
            status = line;
        } else if line.is_empty() {
            break;
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().map_err(|_| wrong(line.clone()))?;
        } else if line == "connection: close" {
            last = true;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let answer: Value = serde_json::from_slice(&body).map_err(|error| wrong(format!("{status}: {error}")))?;
    if answer["response"]["allowed"] != true {
        return Err(wrong(format!("{status}: {answer}")));
    }
    Ok((!last).then_some(stream))
}
