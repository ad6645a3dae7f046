//! Authorities, leaves, and what clients see of them.
//!
//! Certificates are read back with x509-parser, not with what made them; clients verify with rustls and a clock that
//! moves together with the server's.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mcp_hangar_webhooks::service::Limits;
use mcp_hangar_webhooks::tls::resolver::Clock;
use mcp_hangar_webhooks::tls::{Authority, Drain, LeafResolver, TlsError};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::*;

use super::harness::{Site, client_config, client_config_at, names};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn authority() -> Authority {
    Authority::generate("mcp-hangar", SystemTime::now()).unwrap()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn identifiers(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut subject, mut issuer) = (None, None);
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => subject = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                issuer = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }
    (subject, issuer)
}

#[test]
fn an_authority_has_the_properties_that_rcgen_leaves_out() {
    let now = SystemTime::now();
    let authority = Authority::generate("mcp-hangar", now).unwrap();
    let der = der(&authority.certificate_pem());
    let (rest, parsed) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    let basic = parsed.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(1));
    let usage = parsed.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    let (subject, issuer) = identifiers(&parsed);
    assert!(subject.is_some());
    assert_eq!(subject, issuer);
    assert!(parsed.raw_serial().len() >= 8 && parsed.raw_serial().len() <= 20);
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert_eq!(parsed.validity().not_before.timestamp(), seconds(now - DAY));
    assert_eq!(parsed.validity().not_after.timestamp(), seconds(now + 5 * 365 * DAY));
    assert_eq!(seconds(authority.not_after()), seconds(now + 5 * 365 * DAY));
}

#[test]
fn a_leaf_is_for_servers_only_and_points_to_its_authority() {
    let now = SystemTime::now();
    let authority = authority();
    let leaf = authority.issue(&names(), now, 7 * DAY).unwrap();
    let chain = &leaf.certified_key().cert;
    assert_eq!(chain.len(), 1);
    let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    assert!(!parsed.is_ca());
    let ca = der(&authority.certificate_pem());
    let (_, ca) = X509Certificate::from_der(&ca).unwrap();
    let (own, of_issuer) = identifiers(&parsed);
    assert!(own.is_some() && own != of_issuer);
    assert_eq!(of_issuer, identifiers(&ca).0);
    assert_eq!(parsed.issuer().as_raw(), ca.subject().as_raw());
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(
        names[..],
        [GeneralName::DNSName("webhook.hangar.svc"), GeneralName::IPAddress(&[127, 0, 0, 1])]
    );
    assert!(leaf.not_before() <= now - DAY && leaf.not_after() <= now + 7 * DAY);
}

#[test]
fn twenty_leaves_and_twenty_authorities_differ_in_every_way() {
    let one = authority();
    let leaves: BTreeSet<_> = (0..20)
        .map(|_| {
            let leaf = one.issue(&names(), SystemTime::now(), DAY).unwrap();
            let (_, parsed) = X509Certificate::from_der(&leaf.certified_key().cert[0]).unwrap();
            (parsed.raw_serial().to_vec(), parsed.public_key().raw.to_vec())
        })
        .collect();
    let serials: BTreeSet<_> = leaves.iter().map(|(serial, _)| serial).collect();
    let keys: BTreeSet<_> = leaves.iter().map(|(_, key)| key).collect();
    assert_eq!((serials.len(), keys.len()), (20, 20));
    let subjects: BTreeSet<_> = (0..20).map(|_| authority().subject().to_owned()).collect();
    assert_eq!(subjects.len(), 20);
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let authority = authority();
    let late = authority.not_after() - DAY;
    let leaf = authority.issue(&names(), late, 7 * DAY).unwrap();
    assert_eq!(leaf.not_after(), authority.not_after());
    let error = authority.issue(&names(), authority.not_after() + DAY, DAY).unwrap_err();
    assert_eq!(error.kind(), "expired");
}

#[test]
fn an_authority_survives_being_stored() {
    let authority = authority();
    let (certificate, key) = (authority.certificate_pem(), authority.key_pem());
    let restored = Authority::from_pem(&certificate, &key, SystemTime::now()).unwrap();
    assert_eq!(restored.certificate_pem(), certificate);
    assert_eq!(restored.key_pem(), key);
    assert_eq!(restored.not_after(), authority.not_after());
    restored.issue(&names(), SystemTime::now(), DAY).unwrap();
}

#[test]
fn a_stored_authority_is_refused_for_what_is_wrong_with_it() {
    let now = SystemTime::now();
    let (one, other) = (authority(), authority());
    let (certificate, key) = (one.certificate_pem(), one.key_pem());
    let mut cut = certificate.clone();
    cut.replace_range(100..164, "");
    let own_key = KeyPair::generate().unwrap();
    let no_ca = CertificateParams::new(names()).unwrap().self_signed(&own_key).unwrap().pem();
    let expired = one.not_after() + DAY;
    let early = one.not_before() - DAY;
    let cases: [(&str, &str, &str, SystemTime); 9] = [
        ("parse", "", &key, now),
        ("parse", "hello", &key, now),
        ("parse", &cut, &key, now),
        ("parse", &certificate, "", now),
        ("parse", &certificate, &certificate, now),
        ("key_mismatch", &certificate, &other.key_pem(), now),
        ("not_authority", &no_ca, &own_key.serialize_pem(), now),
        ("expired", &certificate, &key, expired),
        ("not_yet_valid", &certificate, &key, early),
    ];
    let mut texts = BTreeSet::new();
    for (kind, certificate, key, now) in cases {
        let error = Authority::from_pem(certificate, key, now).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with("failed to "), "{error}");
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
        texts.insert(error.to_string());
    }
    assert!(texts.len() >= 7, "{texts:#?}");
}

#[test]
fn names_that_no_certificate_can_hold_are_refused() {
    let authority = authority();
    let issue = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        authority.issue(&names, SystemTime::now(), DAY)
    };
    assert!(matches!(issue(&[]), Err(TlsError::NoName)));
    assert!(matches!(issue(&["a b"]), Err(TlsError::BadName { .. })));
    assert!(matches!(issue(&["grüße.svc"]), Err(TlsError::BadName { .. })));
    issue(&["::1", "webhook.hangar.svc"]).unwrap();
}

#[test]
fn debug_output_never_shows_the_key() {
    let authority = authority();
    let key = authority.key_pem();
    let secret = key.lines().nth(1).and_then(|line| line.get(..20)).unwrap();
    let resolver = LeafResolver::new(names(), Arc::new(SystemTime::now));
    let leaf = authority.issue(&names(), SystemTime::now(), DAY).unwrap();
    for text in [format!("{authority:?}"), format!("{resolver:?}"), format!("{leaf:?}")] {
        assert!(!text.contains("PRIVATE KEY") && !text.contains(secret), "{text}");
    }
}

fn parsed_seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A clock that tests move.
#[derive(Clone)]
struct Moved(Arc<Mutex<SystemTime>>);

impl Moved {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(SystemTime::now())))
    }

    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    fn set(&self, time: SystemTime) {
        *self.0.lock().unwrap() = time;
    }

    fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || this.now())
    }
}

#[tokio::test]
async fn the_handshake_verifies_in_both_tls_versions_and_for_dns_and_ip() {
    let site = Site::start(Limits::default()).await;
    assert_eq!(site.call("/validate", b"{}").await.text(), "validate 2");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(der(&site.authority.certificate_pem())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = site.try_connect(config).await.unwrap();
        assert_eq!(client.stream.get_ref().1.protocol_version(), Some(version.version));
    }
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_refuses_and_is_counted() {
    let site = Site::start(Limits::default()).await;
    assert!(site.try_connect(client_config(&authority())).await.is_err());
    site.observer.reported("handshake untrusted").await;
}

#[tokio::test]
async fn an_expired_leaf_is_never_served_however_the_clock_moves() {
    let time = Moved::new();
    let start = time.now();
    let authority = Arc::new(Authority::generate("test", start).unwrap());
    let resolver = Arc::new(LeafResolver::new(names(), time.clock()));
    resolver.set_authority(Arc::clone(&authority)).unwrap();
    let site =
        Site::start_with(Limits::default(), Drain::default(), authority.clone(), resolver.clone()).await;
    let mut seen = BTreeSet::new();
    for days in [0, 6, 8, 300, 1, 0] {
        time.set(start + days * DAY);
        let moved = time.clone();
        let client = site.try_connect(client_config_at(&authority, move || moved.now())).await.unwrap();
        seen.insert(client.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec());
        assert!(resolver.status().valid);
    }
    // Days 0 and 6 share a leaf, 8 and 300 need new ones, and so does the jump back; the last 0 reuses that of day 1.
    assert_eq!(seen.len(), 4);
    // When the authority is over too, there is nothing to serve.
    time.set(authority.not_after() + DAY);
    assert!(!resolver.status().valid);
    assert!(site.try_connect(client_config(&authority)).await.is_err());
    site.observer.reported("handshake no_certificate").await;
}

#[test]
fn leaves_are_renewed_after_two_thirds_of_their_life() {
    let time = Moved::new();
    let start = time.now();
    let resolver = LeafResolver::new(names(), time.clock());
    assert!(!resolver.status().valid);
    assert!(!resolver.renew_if_due(start).unwrap());
    resolver.set_authority(Arc::new(Authority::generate("test", start).unwrap())).unwrap();
    let first = resolver.status().not_after;
    assert!(!resolver.renew_if_due(start + 4 * DAY).unwrap());
    assert!(resolver.renew_if_due(start + 5 * DAY).unwrap());
    assert!(resolver.status().not_after > first);
}

#[tokio::test]
async fn a_change_of_authority_is_served_from_the_next_handshake_on() {
    let (old, new) = (Arc::new(authority()), Arc::new(authority()));
    let resolver = Arc::new(LeafResolver::new(names(), Arc::new(SystemTime::now)));
    resolver.set_authority(Arc::clone(&old)).unwrap();
    let site =
        Site::start_with(Limits::default(), Drain::default(), Arc::clone(&old), Arc::clone(&resolver)).await;
    site.try_connect(client_config(&old)).await.unwrap();
    assert!(site.try_connect(client_config(&new)).await.is_err());
    resolver.set_authority(Arc::clone(&new)).unwrap();
    assert!(site.try_connect(client_config(&old)).await.is_err());
    site.try_connect(client_config(&new)).await.unwrap();
}

#[tokio::test]
async fn a_cross_certificate_has_clients_of_the_old_authority_accept_the_new_one() {
    let (old, mut new, foreign) = (authority(), authority(), authority());
    new.carry(&old.cross_sign(&new, SystemTime::now()).unwrap()).unwrap();
    let (old, new) = (Arc::new(old), Arc::new(new));
    let resolver = Arc::new(LeafResolver::new(names(), Arc::new(SystemTime::now)));
    resolver.set_authority(Arc::clone(&new)).unwrap();
    let site =
        Site::start_with(Limits::default(), Drain::default(), Arc::clone(&new), Arc::clone(&resolver)).await;
    for trusted in [&old, &new] {
        let client = site.try_connect(client_config(trusted)).await.unwrap();
        assert_eq!(client.stream.get_ref().1.peer_certificates().unwrap().len(), 2);
    }
    assert!(site.try_connect(client_config(&foreign)).await.is_err());
}

#[test]
fn a_cross_certificate_is_valid_no_longer_than_either_authority_and_signs_leaves_only() {
    let now = SystemTime::now();
    let old = Authority::generate_for("old", now, 30 * DAY).unwrap();
    let new = authority();
    let cross = der(&old.cross_sign(&new, now).unwrap());
    let (_, cross) = X509Certificate::from_der(&cross).unwrap();
    let own = der(&new.certificate_pem());
    let (_, own) = X509Certificate::from_der(&own).unwrap();
    assert_eq!(cross.validity().not_after.timestamp(), parsed_seconds(old.not_after()));
    assert_eq!(cross.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(0));
    assert_eq!(
        (cross.subject().as_raw(), cross.public_key().raw),
        (own.subject().as_raw(), own.public_key().raw)
    );
    assert_eq!(identifiers(&cross).0, identifiers(&own).0);
    assert_eq!(old.cross_sign(&new, now + 31 * DAY).unwrap_err().kind(), "expired");
}

#[test]
fn a_cross_certificate_of_another_authority_is_refused_and_changes_nothing() {
    let (old, mut new, foreign) = (authority(), authority(), authority());
    let of_foreign = old.cross_sign(&foreign, SystemTime::now()).unwrap();
    for (text, kind) in [(of_foreign.as_str(), "key_mismatch"), ("rubbish", "parse")] {
        assert_eq!(new.carry(text).unwrap_err().kind(), kind);
        assert_eq!(new.cross_pem(), None);
    }
    let cross = old.cross_sign(&new, SystemTime::now()).unwrap();
    new.carry(&cross).unwrap();
    assert_eq!(new.cross_pem(), Some(cross));
}

#[test]
fn a_leaf_lives_as_long_as_the_resolver_was_told() {
    let time = Moved::new();
    let start = time.now();
    let resolver = LeafResolver::new(names(), time.clock()).with_leaf_lifetime(DAY);
    resolver.set_authority(Arc::new(Authority::generate("test", start).unwrap())).unwrap();
    let left = resolver.status().not_after.unwrap().duration_since(start).unwrap();
    assert!(left <= DAY && left > DAY - Duration::from_secs(2), "{left:?}");
}

#[tokio::test]
async fn files_are_served_as_they_are_and_refused_when_expired_or_mixed_up() {
    let now = SystemTime::now();
    let shift = Arc::new(AtomicU64::new(0));
    let seconds = Arc::clone(&shift);
    let clock = move || SystemTime::now() + Duration::from_secs(seconds.load(Ordering::Relaxed));
    let authority = Arc::new(authority());
    let issuer_key = KeyPair::from_pem(&authority.key_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&authority.certificate_pem(), issuer_key).unwrap();
    let mut params = CertificateParams::new(names()).unwrap();
    params.not_before = now.into();
    params.not_after = (now + 30 * DAY).into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();

    let resolver = Arc::new(LeafResolver::new(names(), Arc::new(clock)));
    let mixed_up = resolver.set_files(&certificate, &KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(mixed_up.unwrap_err().kind(), "key_mismatch");
    assert_eq!(resolver.set_files("", &key.serialize_pem()).unwrap_err().kind(), "parse");
    assert_eq!(resolver.set_files(&certificate, "").unwrap_err().kind(), "parse");
    resolver.set_files(&certificate, &key.serialize_pem()).unwrap();

    let site = Site::start_with(Limits::default(), Drain::default(), authority, Arc::clone(&resolver)).await;
    let client = site.connect().await;
    assert_eq!(client.stream.get_ref().1.peer_certificates().unwrap()[0], der(&certificate));
    assert!(!resolver.renew_if_due(now + 40 * DAY).unwrap());
    shift.store(31 * DAY.as_secs(), Ordering::Relaxed);
    assert!(!resolver.status().valid);
    assert!(site.try_connect(client_config(&site.authority)).await.is_err());
    site.observer.reported("handshake no_certificate").await;
}
