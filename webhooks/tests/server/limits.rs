//! One connection that sends too much, too slowly, or reads too little.
//!
//! Every limit is tried from both sides where that is cheap: what is just within it must be answered as usual.

use mcp_hangar_webhooks::service::Limits;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::harness::{Site, head, ms, post, within};

fn small() -> Limits {
    Limits { admission_bytes: 1000, conversion_bytes: 4000, ..Limits::default() }
}

#[tokio::test]
async fn bodies_are_taken_up_to_the_limit_of_their_path() {
    let site = Site::start(small()).await;
    assert_eq!(site.call("/default", &[b'x'; 1000]).await.text(), "default 1000");
    assert_eq!(site.call("/default", &[b'x'; 1001]).await.status, 413);
    assert_eq!(site.call("/convert", &[b'x'; 4000]).await.text(), "convert 4000");
    assert_eq!(site.call("/convert", &[b'x'; 4001]).await.status, 413);
}

#[tokio::test]
async fn a_body_announced_as_too_long_is_refused_before_it_is_sent() {
    let site = Site::start(small()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Content-Length: 1001\r\nExpect: 100-continue\r\n")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert!(answer.closes() && answer.text().contains("1000 bytes"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), None);
    client.closed().await;
    assert_eq!(site.observer.count("refused body_bytes"), 1);
}

#[tokio::test]
async fn a_client_that_sends_on_regardless_still_gets_its_413() {
    let site = Site::start(small()).await;
    let mut client = site.connect().await;
    client.send(&post("/validate", &vec![b'x'; 4 << 20])).await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_chunked_body_without_end_is_refused_at_the_limit() {
    let site = Site::start(small()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Transfer-Encoding: chunked\r\n")).await;
    for _ in 0..11 {
        client.send(format!("64\r\n{}\r\n", "x".repeat(100)).as_bytes()).await;
    }
    let answer = client.answer().await;
    assert!(answer.status == 413 && answer.closes(), "{answer:?}");
}

#[tokio::test]
async fn a_chunked_body_within_the_limit_is_read_whole() {
    let site = Site::start(small()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Transfer-Encoding: chunked\r\n")).await;
    for _ in 0..10 {
        client.send(format!("5a\r\n{}\r\n", "x".repeat(90)).as_bytes()).await;
    }
    client.send(b"0\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.text() == "validate 900" && !answer.closes(), "{answer:?}");
}

#[tokio::test]
async fn a_header_too_long_is_a_431() {
    let site = Site::start(Limits { header_bytes: 16 << 10, ..Limits::default() }).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", &format!("X: {}\r\nContent-Length: 0\r\n", "x".repeat(15 << 10)))).await;
    assert_eq!(client.answer().await.status, 200);
    let _ = client.try_send(&head("/validate", &format!("X: {}\r\n", "x".repeat(200 << 10)))).await;
    let answer = client.answer().await;
    assert!(answer.status == 431 && answer.closes(), "{answer:?}");
    client.closed().await;
}

#[tokio::test]
async fn a_header_that_does_not_end_is_cut_although_bytes_keep_coming() {
    let site = Site::start(Limits { header: ms(200), ..Limits::default() }).await;
    let mut client = site.connect().await;
    let start = Instant::now();
    while client.try_send(b"P").await.is_ok() && start.elapsed() < ms(3000) {
        sleep(ms(20)).await;
    }
    client.closed().await;
    assert!(start.elapsed() >= ms(200) && start.elapsed() < ms(1500), "{:?}", start.elapsed());
    assert_eq!(site.observer.count("refused header_time"), 1);
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_header_may_take() {
    let site = Site::start(Limits { header: ms(100), ..Limits::default() }).await;
    let mut client = site.connect().await;
    for _ in 0..3 {
        sleep(ms(250)).await;
        client.send(&post("/validate", b"{}")).await;
        assert_eq!(client.answer().await.status, 200);
    }
}

#[tokio::test]
async fn a_connection_that_is_idle_for_too_long_is_closed_politely() {
    let site = Site::start(Limits { idle: ms(200), ..Limits::default() }).await;
    let mut client = site.connect().await;
    client.send(&post("/validate", b"{}")).await;
    assert_eq!(client.answer().await.status, 200);
    let start = Instant::now();
    client.closed().await;
    assert!(start.elapsed() >= ms(150), "{:?}", start.elapsed());
    assert_eq!(site.observer.count("refused idle"), 0);
}

#[tokio::test]
async fn a_body_that_does_not_end_in_time_is_a_408_although_bytes_keep_coming() {
    let site = Site::start(Limits { body: ms(200), ..Limits::default() }).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Transfer-Encoding: chunked\r\n")).await;
    let start = Instant::now();
    while site.observer.count("refused body_time") == 0 && start.elapsed() < ms(3000) {
        let _ = client.try_send(b"1\r\nx\r\n").await;
        sleep(ms(20)).await;
    }
    let answer = client.answer().await;
    assert!(answer.status == 408 && answer.closes(), "{answer:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_disturbs_nobody() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Content-Length: 100\r\n")).await;
    client.send(b"half").await;
    drop(client);
    let mut client = site.connect().await;
    client.send(&head("/validate", "Transfer-Encoding: chunked\r\n")).await;
    client.send(b"no chunk\r\n").await;
    assert_eq!(client.answer().await.status, 400);
    assert_eq!(site.call("/validate", b"{}").await.status, 200);
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_is_cut_and_its_bytes_are_given_back() {
    let limits =
        Limits { write_stall: ms(300), in_flight_bytes: 1000, reserved_bytes: 0, ..Limits::default() };
    let site = Site::start(limits).await;
    let mut client = site.connect().await;
    client.send(&post("/validate", b"answer 30000000")).await;
    // An answer counts too, until it has been taken.
    let calls_give = async |status| while site.call("/validate", b"{}").await.status != status {};
    within("the answer to be charged", calls_give(503)).await;
    site.observer.reported("refused write_stall").await;
    within("the bytes to be given back", calls_give(200)).await;
}

#[tokio::test]
async fn a_slow_reader_that_takes_its_answer_bit_by_bit_gets_all_of_it() {
    let site = Site::start(Limits { write_stall: ms(2000), ..Limits::default() }).await;
    let mut client = site.connect().await;
    client.send(&post("/validate", b"answer 20000000")).await;
    sleep(ms(300)).await;
    assert_eq!(client.answer().await.body.len(), 20_000_000);
}

#[tokio::test]
async fn a_reader_who_takes_its_answer_in_drops_is_cut_although_it_never_stalls() {
    let site = Site::start(Limits { answer: ms(600), ..Limits::default() }).await;
    let mut client = site.connect().await;
    client.send(&post("/validate", b"answer 100000000")).await;
    let start = Instant::now();
    let mut drop = vec![0; 256 << 10];
    while site.observer.count("refused answer_time") == 0 && start.elapsed() < ms(5000) {
        let _ = client.stream.read(&mut drop).await;
        sleep(ms(20)).await;
    }
    assert_eq!(site.observer.count("refused answer_time"), 1);
    assert!(start.elapsed() >= ms(500) && start.elapsed() < ms(3000), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_time_for_an_answer_begins_anew_with_each() {
    let site = Site::start(Limits { answer: ms(400), ..Limits::default() }).await;
    let mut client = site.connect().await;
    for _ in 0..4 {
        client.send(&post("/validate", b"answer 8000000")).await;
        sleep(ms(200)).await;
        assert_eq!(client.answer().await.body.len(), 8_000_000);
    }
    assert_eq!(site.observer.count("refused answer_time"), 0);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_is_cut() {
    let site = Site::start(Limits { handshake: ms(200), ..Limits::default() }).await;
    let _silent = site.tcp().await;
    site.observer.reported("handshake timeout").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_do_not_hold_up_small_ones() {
    let site = Site::start(Limits { inline_bytes: 1000, ..Limits::default() }).await;
    let mut large = b"wait".to_vec();
    large.resize(2000, b' ');
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let mut client = site.connect().await;
        client.send(&post("/convert", &large)).await;
        waiting.push(client);
    }
    let mut small = site.connect().await;
    let start = Instant::now();
    small.send(&post("/validate", b"{}")).await;
    small.answer().await;
    assert!(start.elapsed() < ms(200), "{:?}", start.elapsed());
    for mut client in waiting {
        assert_eq!(client.answer().await.text(), "convert 2000");
    }
}
