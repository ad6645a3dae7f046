//! What a handshake can agree on: versions and cipher suites, asked with hand-made hellos.
//!
//! A TLS library would not offer what is to be refused, so the first message is written here byte by byte. The answer is
//! an alert, or a ServerHello (in TLS 1.3 a HelloRetryRequest, since no key is offered) that names a suite.

use std::collections::BTreeSet;

use mcp_hangar_webhooks::service::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::harness::{Site, within};

const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;
const PROTOCOL_VERSION: u8 = 70;
const HANDSHAKE_FAILURE: u8 = 40;

/// What the server said to a hello.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Suite(u16),
    Alert(u8),
}

/// A value behind its length in `width` bytes.
fn sized(width: usize, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    [&length[4 - width..], value].concat()
}

fn extension(number: u16, value: &[u8]) -> Vec<u8> {
    [number.to_be_bytes().as_slice(), &sized(2, value)].concat()
}

/// A ClientHello that offers one version and these suites, with every group and signature that a server could want.
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let mut extensions = Vec::new();
    extensions.extend(extension(10, &sized(2, &words(&[0x001d, 0x0017, 0x0018, 0x11ec]))));
    extensions.extend(extension(11, &[1, 0]));
    extensions.extend(extension(13, &sized(2, &words(&[0x0403, 0x0503, 0x0804, 0x0401, 0x0203, 0x0201]))));
    extensions.extend(extension(23, &[]));
    if version == TLS_1_3 {
        extensions.extend(extension(43, &sized(1, &words(&[TLS_1_3]))));
        extensions.extend(extension(45, &[1, 1]));
        extensions.extend(extension(51, &sized(2, &[])));
    }
    let mut body = version.min(TLS_1_2).to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend(sized(1, &[]));
    body.extend(sized(2, &words(suites)));
    body.extend([1, 0]);
    body.extend(sized(2, &extensions));
    let message = [&[1], sized(3, &body).as_slice()].concat();
    [&[22, 3, 1], sized(2, &message).as_slice()].concat()
}

async fn ask(site: &Site, version: u16, suites: &[u16]) -> Answer {
    within("an answer to a hello", async {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(&hello(version, suites)).await.unwrap();
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.unwrap();
        let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        stream.read_exact(&mut record).await.unwrap();
        match head[0] {
            21 => Answer::Alert(record[1]),
            22 => {
                assert_eq!(record[0], 2, "a ServerHello");
                let at = 4 + 2 + 32 + 1 + usize::from(record[38]);
                Answer::Suite(u16::from_be_bytes([record[at], record[at + 1]]))
            }
            other => panic!("record type {other}"),
        }
    })
    .await
}

#[tokio::test]
async fn versions_before_tls_1_2_are_refused() {
    let site = Site::start(Limits::default()).await;
    // The suites of their time, and those that would do in TLS 1.2.
    let suites = [0xc02b, 0xc02c, 0xcca9, 0xc009, 0xc00a, 0xc013, 0xc014, 0x002f, 0x0035, 0x000a];
    for version in [0x0300, 0x0301, 0x0302] {
        assert_eq!(ask(&site, version, &suites).await, Answer::Alert(PROTOCOL_VERSION), "{version:#06x}");
    }
    site.observer.reported("handshake incompatible").await;
    assert_eq!(ask(&site, TLS_1_2, &suites).await, Answer::Suite(0xc02b));
}

#[tokio::test]
async fn only_suites_with_forward_secrecy_and_authenticated_encryption_are_agreed_to() {
    let site = Site::start(Limits::default()).await;
    // Every number that TLS 1.2 was ever given a suite for.
    let mut old: Vec<u16> = (0x0001..=0x00c7).chain(0xc001..=0xc0ff).chain(0xcca8..=0xccae).collect();
    old.extend(0xd001..=0xd005);
    let mut agreed = BTreeSet::new();
    for suite in old {
        match ask(&site, TLS_1_2, &[suite]).await {
            Answer::Suite(chosen) => {
                assert_eq!(chosen, suite);
                agreed.insert(suite);
            }
            Answer::Alert(alert) => assert_eq!(alert, HANDSHAKE_FAILURE, "{suite:#06x}"),
        }
    }
    // ECDHE_ECDSA with AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256.
    assert_eq!(agreed, BTreeSet::from([0xc02b, 0xc02c, 0xcca9]));
    agreed.clear();
    for suite in 0x1301..=0x1307 {
        match ask(&site, TLS_1_3, &[suite]).await {
            Answer::Suite(chosen) => drop(agreed.insert(chosen)),
            Answer::Alert(alert) => assert_eq!(alert, HANDSHAKE_FAILURE, "{suite:#06x}"),
        }
    }
    // AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256.
    assert_eq!(agreed, BTreeSet::from([0x1301, 0x1302, 0x1303]));
}
