//! Ending without dropping a call.
//!
//! Minimum, quiet period and cap are fractions of a second here. A test that sleeps does so to let one of them pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mcp_hangar_webhooks::service::Limits;
use mcp_hangar_webhooks::tls::Drain;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::harness::{Site, client_config, eventually, head, ms, post, within};

fn quick() -> Drain {
    Drain { minimum: ms(0), quiet: ms(100), ..Drain::default() }
}

#[derive(Debug, Default)]
struct Tally {
    answered: AtomicUsize,
    closed: AtomicUsize,
    failed: AtomicUsize,
}

/// Calls as fast as it can, on one connection until an answer says `Connection: close`.
async fn call_until(site: Arc<Site>, stop: Arc<AtomicBool>, tally: Arc<Tally>) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = site.try_connect(client_config(&site.authority)).await else {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let sent = client.try_send(&post("/validate", b"{}")).await;
            match client.try_answer().await {
                Ok(answer) if sent.is_ok() && answer.status == 200 => {
                    tally.answered.fetch_add(1, Ordering::Relaxed);
                    if answer.closes() {
                        tally.closed.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                }
                _ => {
                    tally.failed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_the_server_drains_under_load() {
    let drain = Drain { minimum: ms(300), quiet: ms(200), ..Drain::default() };
    let site = Arc::new(Site::start_draining(Limits::default(), drain.clone()).await);
    let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
    let callers: Vec<_> = (0..16)
        .map(|_| tokio::spawn(call_until(Arc::clone(&site), Arc::clone(&stop), Arc::clone(&tally))))
        .collect();
    eventually("load", || tally.answered.load(Ordering::Relaxed) > 2000).await;
    assert_eq!(tally.closed.load(Ordering::Relaxed), 0);
    drain.signal.cancel();
    // The cluster takes its time to notice: calls go on for longer than the minimum.
    sleep(ms(600)).await;
    assert!(!site.task.is_finished());
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    Arc::into_inner(site).unwrap().ended().await;
    assert_eq!(tally.failed.load(Ordering::Relaxed), 0);
    assert!(tally.closed.load(Ordering::Relaxed) > 16);
    println!("{tally:?}");
}

#[tokio::test]
async fn an_idle_connection_is_answered_once_more_while_draining() {
    let site = Site::start_draining(Limits::default(), Drain { quiet: ms(300), ..quick() }).await;
    let mut client = site.connect().await;
    client.send(&post("/validate", b"{}")).await;
    assert!(!client.answer().await.closes());
    site.drain.signal.cancel();
    sleep(ms(50)).await;
    client.send(&post("/validate", b"{}")).await;
    let answer = client.answer().await;
    assert!(answer.status == 200 && answer.closes(), "{answer:?}");
    client.closed().await;
    site.ended().await;
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed_at_the_end() {
    let site = Site::start_draining(Limits::default(), quick()).await;
    let mut used = site.connect().await;
    used.send(&post("/validate", b"{}")).await;
    used.answer().await;
    let mut unused = site.connect().await;
    let half_open = site.tcp().await;
    site.drain.signal.cancel();
    used.closed().await;
    unused.closed().await;
    let start = Instant::now();
    // This one gets a little time: it may be about to speak.
    site.ended().await;
    assert!(start.elapsed() < ms(2000), "{:?}", start.elapsed());
    drop(half_open);
}

#[tokio::test]
async fn the_minimum_is_kept_even_when_nobody_calls() {
    let site = Site::start_draining(Limits::default(), Drain { minimum: ms(400), ..quick() }).await;
    sleep(ms(150)).await;
    site.drain.signal.cancel();
    let start = Instant::now();
    sleep(ms(200)).await;
    assert!(site.call("/validate", b"{}").await.closes());
    site.ended().await;
    assert!(start.elapsed() >= ms(400), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_call_under_way_when_the_listener_closes_is_answered() {
    let site = Site::start_draining(Limits::default(), quick()).await;
    let mut client = site.connect().await;
    client.send(b"POST /validate HTTP/1.1\r\nHo").await;
    site.drain.signal.cancel();
    // Bare connections: a finished handshake would count as a sign of life.
    let refused = async {
        while TcpStream::connect(site.address).await.is_ok() {
            sleep(ms(5)).await;
        }
    };
    within("the listener to close", refused).await;
    client.send(b"st: x\r\nContent-Length: 2\r\n\r\n{}").await;
    let answer = client.answer().await;
    assert!(answer.status == 200 && answer.closes(), "{answer:?}");
    site.ended().await;
}

#[tokio::test]
async fn the_cap_ends_a_drain_that_calls_would_prolong() {
    let site = Site::start_draining(Limits::default(), Drain { cap: ms(400), ..quick() }).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Content-Length: 100\r\n")).await;
    site.drain.signal.cancel();
    let start = Instant::now();
    site.ended().await;
    assert!(start.elapsed() >= ms(390) && start.elapsed() < ms(2000), "{:?}", start.elapsed());
    client.closed().await;
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Content-Length: 100\r\n")).await;
    site.drain.signal.cancel();
    site.drain.now.cancel();
    let start = Instant::now();
    site.ended().await;
    client.closed().await;
    assert!(start.elapsed() < ms(1000), "{:?}", start.elapsed());
}
