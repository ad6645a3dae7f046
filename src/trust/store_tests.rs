//! What is decided about each state of the Secret, and what is written into it.
//!
//! Authorities are real ones, made for each test; the Secret is built here and never sent anywhere. What a cluster makes
//! of it, and how replicas agree, is for `tests/e2e/trust.rs`.

use super::*;

fn authority() -> Authority {
    Authority::generate("test", SystemTime::now()).unwrap()
}

fn stored(certificate: &str, key: &str) -> Secret {
    let data = [(CERTIFICATE_KEY, certificate), (PRIVATE_KEY_KEY, key)];
    let data =
        data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec()))).collect();
    Secret { data: Some(data), ..Secret::default() }
}

fn of(authority: &Authority) -> Secret {
    stored(&authority.certificate_pem(), &authority.key_pem())
}

fn check(secret: Option<&Secret>, held: Option<&Authority>, waited: Duration, expected: Action) {
    let observed = observe(secret, SystemTime::now());
    assert_eq!(decide(&observed, held, waited), expected, "{observed:?}");
}

#[test]
fn the_first_replica_makes_a_ca() {
    check(None, None, Duration::ZERO, Action::Bootstrap);
}

#[test]
fn a_replica_that_comes_later_adopts_it() {
    check(Some(&of(&authority())), None, Duration::ZERO, Action::Adopt);
}

#[test]
fn a_known_ca_is_kept() {
    let ours = authority();
    check(Some(&of(&ours)), Some(&ours), Duration::ZERO, Action::Keep);
}

#[test]
fn another_valid_ca_is_adopted() {
    check(Some(&of(&authority())), Some(&authority()), Duration::ZERO, Action::Adopt);
}

#[test]
fn a_deleted_secret_is_restored_from_memory() {
    check(None, Some(&authority()), Duration::ZERO, Action::Recreate);
}

#[test]
fn a_spoilt_secret_is_restored_by_who_holds_a_good_ca_and_waited_for_by_others() {
    let now = SystemTime::now();
    let (ours, other) = (authority(), authority());
    let expired = Authority::generate("old", now - Duration::from_hours(6 * 365 * 24)).unwrap();
    let leaf_like = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for spoilt in [
        Secret::default(),
        stored("", ""),
        stored(leaf_like, &ours.key_pem()),
        stored(&ours.certificate_pem(), &other.key_pem()),
        stored(&ours.certificate_pem(), "no key"),
        of(&expired),
    ] {
        check(Some(&spoilt), Some(&ours), Duration::ZERO, Action::Restore);
        check(Some(&spoilt), None, Duration::ZERO, Action::Wait);
        check(Some(&spoilt), None, PATIENCE, Action::Emergency);
    }
}

#[test]
fn a_reason_never_holds_the_secrets_text() {
    let secret = stored("s3cr3t-certificate", "s3cr3t-key");
    let Observed::Spoilt(reason) = observe(Some(&secret), SystemTime::now()) else { panic!("not spoilt") };
    assert!(!reason.contains("s3cr3t"), "{reason}");
}

#[test]
fn an_expired_ca_in_memory_is_not_usable() {
    let ca = authority();
    assert!(usable(&ca, SystemTime::now()));
    assert!(!usable(&ca, ca.not_after() + Duration::from_secs(1)));
}

#[test]
fn a_restored_secret_says_when_its_ca_was_made_not_when_it_was_restored() {
    let made = SystemTime::now() - Duration::from_hours(100 * 24);
    let ca = Authority::generate("old", made).unwrap();
    for base in [Secret::default(), stored("spoilt", "spoilt")] {
        let written = secret(base, "ns", "ca", &ca);
        let annotations = written.metadata.annotations.unwrap();
        assert_eq!(annotations[CREATED_ANNOTATION], rfc3339(made));
        assert_eq!(annotations[NOT_AFTER_ANNOTATION], rfc3339(ca.not_after()));
    }
}

#[test]
fn a_missing_namespace_is_an_error_that_says_what_to_do() {
    let error = StoreError::NoNamespace { namespace: "tools".into(), name: "ca".into() }.to_string();
    for words in ["secret tools/ca", "kubectl create namespace tools", "--namespace", "trying again"] {
        assert!(error.contains(words), "{words}: {error}");
    }
}
