//! Many clients at once: bytes in flight, places, and slow ones that must not keep good ones out.
//!
//! Crowds are small here, because the limits are; the last test has the real numbers.

use mcp_hangar_webhooks::service::Limits;
use tokio::time::Instant;

use super::harness::{Client, Site, client_config, eventually, head, ms, post};

#[tokio::test]
async fn bodies_in_flight_are_bounded_all_together_and_given_back() {
    let limits = Limits { in_flight_bytes: 100_000, reserved_bytes: 0, ..Limits::default() };
    let site = Site::start(limits).await;
    let mut first = site.connect().await;
    first.send(&head("/convert", "Content-Length: 90000\r\n")).await;
    first.send(&[b'x'; 60_000]).await;
    // Until the first one's bytes have arrived, another of the same size may pass.
    let refused = loop {
        let answer = site.call("/convert", &[b'x'; 60_000]).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503);
    assert!(refused.closes());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(site.observer.count("refused in_flight_bytes") >= 1);
    assert_eq!(site.call("/validate", b"{}").await.status, 200);
    first.send(&[b'x'; 30_000]).await;
    assert_eq!(first.answer().await.text(), "convert 90000");
    assert_eq!(site.call("/convert", &[b'x'; 90_000]).await.status, 200);
}

#[tokio::test]
async fn large_bodies_in_flight_do_not_keep_out_ordinary_ones() {
    let limits = Limits { in_flight_bytes: 100_000, reserved_bytes: 10_000, ..Limits::default() };
    let site = Site::start(limits).await;
    let mut large = site.connect().await;
    large.send(&head("/convert", "Content-Length: 100000\r\n")).await;
    large.send(&[b'x'; 99_000]).await;
    // Until those bytes have arrived, another large body may pass.
    while site.call("/convert", &[b'x'; 10_001]).await.status != 503 {}
    assert_eq!(site.call("/validate", &[b'x'; 10_000]).await.status, 200);
    assert_eq!(site.call("/convert", &[b'x'; 10_001]).await.status, 503);
    large.send(&[b'x'; 1000]).await;
    assert_eq!(large.answer().await.status, 200);
    assert_eq!(site.call("/convert", &[b'x'; 10_001]).await.status, 200);
}

#[tokio::test]
async fn announcing_a_large_body_takes_nothing_from_others() {
    let site = Site::start(Limits { in_flight_bytes: 100_000, ..Limits::default() }).await;
    let mut liars = Vec::new();
    for _ in 0..5 {
        let mut client = site.connect().await;
        client.send(&head("/convert", "Content-Length: 90000\r\n")).await;
        liars.push(client);
    }
    assert_eq!(site.call("/convert", &[b'x'; 90_000]).await.status, 200);
}

async fn busy_client(site: &Site) -> Client {
    let mut client = site.connect().await;
    client.send(&post("/validate", b"{}")).await;
    assert_eq!(client.answer().await.status, 200);
    client
}

/// A client whose call is being answered for as long as the handler waits.
async fn working_client(site: &Site) -> Client {
    let mut client = site.connect().await;
    client.send(&post("/validate", b"wait 2000")).await;
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_being_answered_is_never_cut_and_one_more_is_told_to_come_back() {
    let limits = Limits { connections: 3, patience: ms(100), inline_bytes: 0, ..Limits::default() };
    let site = Site::start(limits).await;
    let mut working = Vec::new();
    for _ in 0..3 {
        working.push(working_client(&site).await);
    }
    // Should one of their requests arrive after this one, the patience covers it.
    let refused = site.call("/validate", b"{}").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.closes());
    for client in &mut working {
        assert_eq!(client.answer().await.status, 200);
    }
    assert_eq!(site.call("/validate", b"{}").await.status, 200);
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_slowest_and_then_of_the_longest_idle() {
    let site = Site::start(Limits { connections: 3, patience: ms(0), ..Limits::default() }).await;
    let mut idle = busy_client(&site).await;
    let mut slowest = site.connect().await;
    slowest.send(b"POST /val").await;
    let mut slow = site.connect().await;
    slow.send(&head("/validate", "Content-Length: 100\r\n")).await;
    let mut newcomer = busy_client(&site).await;
    slowest.closed().await;
    site.observer.reported("refused slow_connection").await;
    let mut second_newcomer = busy_client(&site).await;
    slow.closed().await;
    assert_eq!(site.call("/validate", b"{}").await.status, 200);
    idle.closed().await;
    for client in [&mut newcomer, &mut second_newcomer] {
        client.send(&post("/validate", b"{}")).await;
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_crowd_that_sleeps_after_one_call_does_not_keep_new_ones_out() {
    let site = Site::start(Limits { connections: 5, patience: ms(50), ..Limits::default() }).await;
    let mut sleepers = Vec::new();
    for _ in 0..5 {
        sleepers.push(busy_client(&site).await);
    }
    // A newcomer waits until one of them has slept for the whole patience.
    for _ in 0..5 {
        assert_eq!(site.call("/validate", b"{}").await.status, 200);
    }
    assert!(site.observer.count("refused connections") == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowds_of_slow_and_half_open_clients_do_not_keep_good_ones_out() {
    let limits =
        Limits { half_open: 20, connections: 20, overflow: 60, patience: ms(50), ..Limits::default() };
    let site = Site::start(limits).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(site.tcp().await);
    }
    let mut slow = Vec::new();
    for _ in 0..60 {
        let mut client = site.connect().await;
        let _ = client.try_send(b"POST /validate HTTP/1.1\r\n").await;
        slow.push(client);
    }
    let start = Instant::now();
    for _ in 0..30 {
        assert_eq!(site.call("/validate", b"{}").await.status, 200);
    }
    let elapsed = start.elapsed();
    assert!(elapsed < ms(3000), "{elapsed:?}");
    println!("30 good calls took {elapsed:?}");
    assert!(site.observer.count("handshake cut") >= 80);
    eventually("slow connections to be cut", || site.observer.count("refused slow_connection") >= 40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_and_a_thousand_half_open_clients_leave_good_calls_fast() {
    // Both ends of each connection are in this process.
    let descriptors = rlimit::increase_nofile_limit(6000).unwrap();
    assert!(descriptors >= 6000, "needs 6,000 file descriptors, may have {descriptors}: raise ulimit -Hn");
    let site = Site::start(Limits::default()).await;
    let config = client_config(&site.authority);
    let (mut slow, mut half_open) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        half_open.push(site.tcp().await);
        let mut client = site.try_connect(config.clone()).await.unwrap();
        let _ = client.try_send(b"POST /validate HTTP/1.1\r\n").await;
        slow.push(client);
    }
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        assert_eq!(site.call("/validate", b"{}").await.status, 200);
        times.push(start.elapsed());
    }
    times.sort();
    println!("good calls with a new connection each: median {:?}, worst {:?}", times[50], times[99]);
    assert!(times[99] < ms(1000), "{times:?}");
}
