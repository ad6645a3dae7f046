//! The attacks: who comes how often, what is sent, and how it may end.
//!
//! Rates are bounded, because attacker and server share a machine: what is asked is what an attack does to others, not
//! whether two processes share a core fairly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::bodies;
use crate::calls::{head, post, validate};
use crate::client::{Client, Target, status};
use crate::crowd::{Attack, Attempt};

const MIB: usize = 1 << 20;
const NONE: Duration = Duration::ZERO;
/// Longer than any round.
const ONCE: Duration = Duration::from_secs(60);

/// All attacks, in the order in which they come.
pub(crate) fn all(target: &Target) -> Vec<Attack> {
    vec![
        crowd("1,000 slow headers", 1000, 400, &["cut"], slow_header()),
        crowd("600 that call once and sleep", 600, 400, &["cut"], sleeper()),
        crowd("1,000 half-open TCP", 1000, 500, &["cut"], half_open()),
        fast("half-open TCP, 400 new/s", 400, 400, &["cut", "left"], come_and_go()),
        fast("handshake flood, 300/s", 64, 300, &["answered", "cut"], flood(target)),
        fast("headers of 1 MiB", 8, 50, &["431"], sends(vec![post("/validate", b"{}", &long_header())])),
        crowd("chunked bodies that never end", 24, 24, &["413", "408", "503", "cut"], endless()),
        fast("JSON nested 10,000 levels", 4, 100, &["200", "400"], reviews(&bodies::nested())),
        fast("numbers: 1e400, 100,000 digits", 4, 100, &["200", "400"], reviews(&bodies::numbers())),
        fast("100,000 keys, equal and not", 2, 10, &["200", "400"], reviews(&bodies::keys())),
        fast("invalid UTF-8", 4, 100, &["200", "400"], reviews(&bodies::not_text())),
        fast("compressed bodies", 4, 100, &["415"], sends(compressed())),
        fast("9 MiB to /validate", 2, 10, &["413"], sends(too_large("/validate", 9 * MIB))),
        fast("33 MiB to /convert", 2, 4, &["413"], sends(too_large("/convert", 33 * MIB))),
        fast("HTTP/2 by prior knowledge", 4, 100, &["400", "cut"], http2(target)),
        fast("1,000 pipelined requests", 2, 4, &["1000 answered"], pipelined()),
        crowd("4 MiB answers never read", 100, 50, &["503", "cut"], never_read()),
        fast("100,000 rule violations", 2, 5, &["200"], reviews(&[bodies::violations()])),
        fast("8 MiB of the smallest values", 2, 5, &["200", "400"], reviews(&bodies::dense())),
    ]
}

/// Clients that come once, and stay as long as they may.
fn crowd(
    name: &'static str,
    clients: usize,
    per_second: u32,
    expected: &'static [&'static str],
    attempt: Attempt,
) -> Attack {
    let ramp = Duration::from_secs_f64(0.5 + clients as f64 / f64::from(per_second));
    Attack { name, clients, per_second, pause: ONCE, ramp, expected, attempt }
}

/// Clients that come again as soon as the rate allows.
fn fast(
    name: &'static str,
    clients: usize,
    per_second: u32,
    expected: &'static [&'static str],
    attempt: Attempt,
) -> Attack {
    let ramp = Duration::from_millis(300);
    Attack { name, clients, per_second, pause: NONE, ramp, expected, attempt }
}

/// Sends the next of `requests`, as much of it as is taken, and reads one answer.
fn sends(requests: Vec<Vec<u8>>) -> Attempt {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    Arc::new(move |target| {
        let (requests, next) = (Arc::clone(&requests), next.fetch_add(1, Ordering::Relaxed));
        async move {
            let Ok(mut client) = target.connect().await else { return "no handshake".to_owned() };
            let _ = client.send(&requests[next % requests.len()]).await;
            answer(&mut client).await
        }
        .boxed()
    })
}

async fn answer(client: &mut Client) -> String {
    match timeout(Duration::from_secs(20), client.answer()).await {
        Ok(answer) => status(answer),
        Err(_) => "no answer".to_owned(),
    }
}

fn reviews(bodies: &[impl AsRef<[u8]>]) -> Attempt {
    sends(bodies.iter().map(|body| post("/validate", body.as_ref(), "")).collect())
}

fn slow_header() -> Attempt {
    Arc::new(|target| {
        async move {
            let Ok(mut client) = target.connect().await else { return "cut".to_owned() };
            let mut sent = client.send(b"POST /validate HTTP/1.1\r\nX: ").await;
            while sent.is_ok() {
                sleep(Duration::from_millis(500)).await;
                sent = client.send(b"x").await;
            }
            "cut".to_owned()
        }
        .boxed()
    })
}

/// Calls once, as a good client does, and holds its place for as long as it may.
fn sleeper() -> Attempt {
    let request = Arc::new(validate().bytes.to_vec());
    Arc::new(move |target| {
        let request = Arc::clone(&request);
        async move {
            let Ok(mut client) = target.connect().await else { return "no handshake".to_owned() };
            let _ = client.send(&request).await;
            match answer(&mut client).await.as_str() {
                "200" => match client.answer().await {
                    Ok(_) => "answered twice".to_owned(),
                    Err(_) => "cut".to_owned(),
                },
                other => other.to_owned(),
            }
        }
        .boxed()
    })
}

fn half_open() -> Attempt {
    Arc::new(|target| {
        async move {
            let Ok(mut stream) = TcpStream::connect(target.address).await else {
                return "refused".to_owned();
            };
            let _ = stream.read(&mut [0]).await;
            "cut".to_owned()
        }
        .boxed()
    })
}

/// Half-open for a second at most.
fn come_and_go() -> Attempt {
    Arc::new(|target| {
        async move {
            let Ok(mut stream) = TcpStream::connect(target.address).await else {
                return "refused".to_owned();
            };
            match timeout(Duration::from_secs(1), stream.read(&mut [0])).await {
                Ok(_) => "cut".to_owned(),
                Err(_) => "left".to_owned(),
            }
        }
        .boxed()
    })
}

/// One recorded message makes the server do all of its part of a handshake, and costs the attacker nothing.
fn flood(target: &Target) -> Attempt {
    let hello = Arc::new(target.hello());
    Arc::new(move |target| {
        let hello = Arc::clone(&hello);
        async move {
            let Ok(mut stream) = TcpStream::connect(target.address).await else {
                return "refused".to_owned();
            };
            let _ = stream.write_all(&hello).await;
            match stream.read(&mut [0; 4096]).await {
                Ok(bytes) if bytes > 1000 => "answered".to_owned(),
                _ => "cut".to_owned(),
            }
        }
        .boxed()
    })
}

fn long_header() -> String {
    format!("X: {}\r\n", "x".repeat(MIB))
}

fn compressed() -> Vec<Vec<u8>> {
    let body = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV\xaa\x05\x00Cc\x13\x18\x02\x00\x00\x00";
    ["gzip", "deflate", "br", "zstd", "gzip, gzip"]
        .map(|name| post("/validate", &body.repeat(1000), &format!("Content-Encoding: {name}\r\n")))
        .to_vec()
}

/// Once with its length, which is refused before it is sent; once in chunks, where only counting helps.
fn too_large(path: &str, bytes: usize) -> Vec<Vec<u8>> {
    let mut chunked = head(path, "Transfer-Encoding: chunked\r\n");
    for _ in 0..bytes / 65536 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.resize(chunked.len() + 65536, b'x');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    vec![post(path, &vec![b'x'; bytes], ""), chunked]
}

/// 31 MiB at once, then a byte every half second.
fn endless() -> Attempt {
    let (begin, chunk) =
        (head("/convert", "Transfer-Encoding: chunked\r\n"), format!("10000\r\n{}\r\n", "x".repeat(65536)));
    let (begin, chunk) = (Arc::new(begin), Arc::new(chunk.into_bytes()));
    Arc::new(move |target| {
        let (begin, chunk) = (Arc::clone(&begin), Arc::clone(&chunk));
        async move {
            let Ok(mut client) = target.connect().await else { return "no handshake".to_owned() };
            let mut sent = client.send(&begin).await;
            for _ in 0..31 * 16 {
                if sent.is_ok() {
                    sent = client.send(&chunk).await;
                }
            }
            while sent.is_ok() {
                sleep(Duration::from_millis(500)).await;
                sent = client.send(b"1\r\nx\r\n").await;
            }
            answer(&mut client).await
        }
        .boxed()
    })
}

/// Half of them ask for `h2` in the handshake, half just speak it.
fn http2(target: &Target) -> Attempt {
    let (asking, silent) = (target.offering(&["h2"]), target.offering(&[]));
    let turn = Arc::new(AtomicUsize::new(0));
    Arc::new(move |_| {
        let target =
            if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { &asking } else { &silent }.clone();
        async move {
            let Ok(mut client) = target.connect().await else { return "cut".to_owned() };
            let _ =
                client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").await;
            answer(&mut client).await
        }
        .boxed()
    })
}

fn pipelined() -> Attempt {
    let requests = Arc::new(validate().bytes.repeat(1000));
    Arc::new(move |target| {
        let requests = Arc::clone(&requests);
        async move {
            let Ok(client) = target.connect().await else { return "no handshake".to_owned() };
            let (mut reader, mut writer) = client.split();
            let mut answered = 0;
            let read = async {
                while answered < 1000 && reader.answer().await.is_ok_and(|answer| answer.contains(" 200 ")) {
                    answered += 1;
                }
            };
            let write = async { drop(writer.write_all(&requests).await) };
            let _ = timeout(Duration::from_secs(20), async { tokio::join!(read, write) }).await;
            format!("{answered} answered")
        }
        .boxed()
    })
}

fn never_read() -> Attempt {
    let request = Arc::new(post("/convert", bodies::long_answer().as_bytes(), ""));
    Arc::new(move |target| {
        let request = Arc::clone(&request);
        async move {
            let Ok(mut client) = target.connect().await else { return "no handshake".to_owned() };
            if client.send(&request).await.is_ok() {
                sleep(ONCE).await;
            }
            "cut".to_owned()
        }
        .boxed()
    })
}
