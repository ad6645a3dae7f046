//! TLS: right and wrong certificates, and headers only after they were checked.

use mcp_hangar_operator::provider::probe::{Field, Kind};

use crate::strangers::plain;
use crate::tls::{authority, serve};
use crate::{ask, probe};

#[tokio::test]
async fn a_certificate_is_checked_before_anything_is_sent() {
    let ours = authority();
    let theirs = authority();
    for (name, issuer, host, year, ca, kind, part) in [
        ("right certificate", &ours, "127.0.0.1", 2100, Some(&ours), None, ""),
        ("unknown issuer", &theirs, "127.0.0.1", 2100, Some(&ours), Some(Kind::Tls), "spec.remote.caBundle"),
        ("the system's CAs", &ours, "127.0.0.1", 2100, None, Some(Kind::Tls), "spec.remote.caBundle"),
        (
            "another name",
            &ours,
            "other.example",
            2100,
            Some(&ours),
            Some(Kind::Tls),
            "not for the name 127.0.0.1",
        ),
        ("expired", &ours, "127.0.0.1", 2001, Some(&ours), Some(Kind::Tls), "has expired"),
    ] {
        let server = serve(issuer, host, year).await;
        let mut question = probe(&format!("https://127.0.0.1:{}/mcp", server.port));
        question.ca_bundle = ca.map(|ca| ca.pem().into_bytes());
        question.headers = vec![("Authorization".to_owned(), b"Bearer x".to_vec())];
        match (ask(name, &question).await, kind) {
            (Ok(healthy), None) => assert_eq!(healthy.offer.count, 1),
            (Err(failure), Some(kind)) => {
                assert_eq!(failure.kind, kind, "{name}");
                let text = failure.message(Field::hub);
                assert!(text.contains(part), "{name}: {text}");
                assert!(server.methods().is_empty(), "{name}: a request was sent");
            }
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn http_and_https_mixed_up_are_told_apart() {
    let plain = plain().await;
    let url = format!("https://127.0.0.1:{}/mcp", plain.port);
    let failure = ask("https to a plain server", &probe(&url)).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Tls);
    assert!(failure.message(Field::hub).contains("http:// instead of https://"));
    let secure = serve(&authority(), "127.0.0.1", 2100).await;
    let failure = ask("http to a TLS server", &probe(&secure.url())).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Tls);
    assert!(failure.message(Field::hub).contains("https://"));
}
