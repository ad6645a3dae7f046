//! Paths, methods, and clients that speak something else.
//!
//! Whatever arrives, the server answers what can be answered, closes the rest, and goes on for everybody else.

use mcp_hangar_webhooks::service::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::harness::{Site, client_config, head, post, within};

#[tokio::test]
async fn the_three_paths_answer_whatever_the_query() {
    let site = Site::start(Limits::default()).await;
    for (path, text) in
        [("/default", "default 2"), ("/validate?timeout=5s", "validate 2"), ("/convert?a=b&c", "convert 2")]
    {
        let answer = site.call(path, b"{}").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(!answer.closes());
    }
}

#[tokio::test]
async fn an_unknown_path_is_a_404_that_names_the_known_ones() {
    let site = Site::start(Limits::default()).await;
    for path in ["/", "/validate/", "/Validate", "/healthz"] {
        let answer = site.call(path, b"{}").await;
        assert_eq!(answer.status, 404);
        for known in ["/default", "/validate", "/convert"] {
            assert!(answer.text().contains(known), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn another_method_is_a_405_that_names_post() {
    let site = Site::start(Limits::default()).await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let mut client = site.connect().await;
        client.send(format!("{method} /validate HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some("POST"));
        assert!(answer.text().contains("POST"));
    }
}

#[tokio::test]
async fn a_compressed_body_is_a_415_and_identity_is_not_compressed() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Content-Encoding: gzip\r\nContent-Length: 2\r\n")).await;
    client.send(b"{}").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("Content-Encoding"), "{answer:?}");
    let mut client = site.connect().await;
    client.send(&head("/validate", "Content-Encoding: identity\r\nContent-Length: 2\r\n")).await;
    client.send(b"{}").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Content-Type: text/plain\r\nContent-Length: 2\r\n")).await;
    client.send(b"{}").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_panic_is_a_500_for_that_call_only() {
    let site = Site::start(Limits { inline_bytes: 10, ..Limits::default() }).await;
    let mut client = site.connect().await;
    client.send(&post("/validate", b"panic")).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("internal error"), "{answer:?}");
    client.send(&post("/validate", b"{}")).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(site.observer.count("panicked /validate"), 1);
}

#[tokio::test]
async fn a_panic_on_the_blocking_pool_is_a_500_too() {
    let site = Site::start(Limits { inline_bytes: 0, ..Limits::default() }).await;
    for _ in 0..8 {
        assert_eq!(site.call("/convert", b"panic").await.status, 500);
    }
    assert_eq!(site.call("/convert", b"{}").await.status, 200);
    assert_eq!(site.observer.count("panicked /convert"), 8);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    let mut bytes = Vec::new();
    for length in 0..50 {
        bytes.extend(post("/validate", &vec![b'x'; length]));
    }
    client.send(&bytes).await;
    for length in 0..50 {
        assert_eq!(client.answer().await.text(), format!("validate {length}"));
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(b"POST /validate HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.starts_with("HTTP/1.0"), "{answer:?}");
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_asks_to_close_is_closed() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Connection: close\r\nContent-Length: 0\r\n")).await;
    assert_eq!(client.answer().await.status, 200);
    client.closed().await;
}

#[tokio::test]
async fn expect_continue_is_answered_when_the_body_is_wanted() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(&head("/validate", "Expect: 100-continue\r\nContent-Length: 2\r\n")).await;
    assert_eq!(client.answer().await.status, 100);
    client.send(b"{}").await;
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn alpn_settles_on_http_1_1_and_never_on_http_2() {
    let site = Site::start(Limits::default()).await;
    let mut config = client_config(&site.authority);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = site.try_connect(config.clone()).await.unwrap();
    assert_eq!(client.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(site.try_connect(config).await.is_err());
    site.observer.reported("handshake incompatible").await;
}

#[tokio::test]
async fn http_2_prior_knowledge_is_closed() {
    let site = Site::start(Limits::default()).await;
    let mut client = site.connect().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    client.closed().await;
    assert_eq!(site.call("/validate", b"{}").await.status, 200);
}

#[tokio::test]
async fn plain_http_and_noise_end_the_connection_and_nothing_else() {
    let site = Site::start(Limits::default()).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5],
        &[0; 100],
        &[0xff; 70_000],
    ] {
        let mut stream = site.tcp().await;
        let _ = stream.write_all(bytes).await;
        let mut rest = Vec::new();
        let _ = within("the server to close", stream.read_to_end(&mut rest)).await;
        assert!(rest.len() < 100, "an alert at most");
    }
    site.observer.reported("handshake not_tls").await;
    site.observer.reported("handshake garbled").await;
    let early = site.tcp().await;
    drop(early);
    site.observer.reported("handshake disconnected").await;
    assert_eq!(site.call("/validate", b"{}").await.status, 200);
}

#[tokio::test]
async fn a_malformed_request_is_a_400() {
    let site = Site::start(Limits::default()).await;
    for bytes in ["NOT HTTP AT ALL\r\n\r\n", "POST /validate HTTP/1.1\r\nContent-Length: x\r\n\r\n"] {
        let mut client = site.connect().await;
        client.send(bytes.as_bytes()).await;
        let answer = client.answer().await;
        assert!(answer.status == 400 && answer.closes(), "{answer:?}");
        client.closed().await;
    }
}
