//! What a replica does about the CA Secret: for each thing that can be in it, and for each memory.
//!
//! Authorities are real ones, made for each test; the Secret is built here and never sent anywhere. What a cluster makes
//! of it, and how replicas agree, is for `tests/e2e/trust.rs` and `tests/e2e/rotation.rs`.

use std::sync::Arc;

use k8s_openapi::ByteString;
use mcp_hangar_webhooks::tls::Authority;

use super::*;
use crate::trust::record::{
    CERTIFICATE_KEY, CREATED_ANNOTATION, NEXT_CERTIFICATE_KEY, NEXT_PRIVATE_KEY_KEY, NOT_AFTER_ANNOTATION,
    PRIVATE_KEY_KEY,
};
use crate::trust::rotation::{Facts, Step, new_authority, next, take};
use crate::trust::state::{Schedule, Stage};

fn authority() -> Authority {
    Authority::generate("test", SystemTime::now()).unwrap()
}

fn stored(certificate: &str, key: &str) -> Secret {
    let data = [(CERTIFICATE_KEY, certificate), (PRIVATE_KEY_KEY, key)];
    let data =
        data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec()))).collect();
    Secret { data: Some(data), ..Secret::default() }
}

/// As a release without rotation writes it.
fn plain(authority: &Authority) -> Secret {
    stored(&authority.certificate_pem(), &authority.key_pem())
}

fn of(state: &State) -> Secret {
    secret(Secret::default(), "ns", "ca", state)
}

fn stable(authority: Authority) -> State {
    State::first(Arc::new(authority), Reason::Bootstrap, 1, SystemTime::now())
}

fn step(state: &State, step: &Step) -> State {
    take(state, step, &Schedule::default(), SystemTime::now()).unwrap().unwrap()
}

/// `[Stable(A), Publishing(A,B), Switched(B), Stable(B)]`
fn a_rotation() -> [State; 4] {
    let first = stable(authority());
    let publishing = step(&first, &Step::Begin(Reason::Requested));
    let switched = step(&publishing, &Step::Switch);
    let second = step(&switched, &Step::Retire);
    [first, publishing, switched, second]
}

fn held(state: &State) -> Held {
    Held { state: state.clone(), certain: true }
}

#[track_caller]
fn check(secret: Option<&Secret>, memory: Option<&State>, waited: Duration, expected: Action) {
    let observed = observe(secret, SystemTime::now());
    assert_eq!(decide(&observed, memory.map(held).as_ref(), waited, false), expected, "{observed:?}");
}

fn with(mut secret: Secret, key: &str, text: &str) -> Secret {
    secret.data.as_mut().unwrap().insert(key.into(), ByteString(text.as_bytes().to_vec()));
    secret
}

fn without(mut secret: Secret, key: &str) -> Secret {
    secret.data.as_mut().unwrap().remove(key).unwrap();
    secret
}

fn swapped(mut secret: Secret, pairs: &[(&str, &str)]) -> Secret {
    let data = secret.data.as_mut().unwrap();
    for (one, other) in pairs {
        let (a, b) = (data[*one].clone(), data[*other].clone());
        data.insert((*one).into(), b);
        data.insert((*other).into(), a);
    }
    secret
}

#[test]
fn the_first_replica_makes_a_ca() {
    check(None, None, Duration::ZERO, Action::Bootstrap);
}

#[test]
fn a_replica_that_finds_no_secret_but_targets_that_trust_somebody_waits_for_who_may_know_it() {
    assert_eq!(decide(&Observed::Absent, None, Duration::ZERO, true), Action::Wait);
    assert_eq!(decide(&Observed::Absent, None, PATIENCE, true), Action::Bootstrap);
}

#[test]
fn a_replica_whose_clock_is_far_behind_never_replaces_what_others_made() {
    let (now, later) = (SystemTime::now(), SystemTime::now() + Duration::from_secs(3 * 86_400));
    let made = |time| {
        let active = Arc::new(new_authority(&Schedule::default(), time).unwrap());
        State::first(active, Reason::Bootstrap, 1, time)
    };
    let early = of(&made(later));
    check(Some(&early), None, PATIENCE * 1000, Action::Wait);
    check(Some(&early), Some(&made(now)), Duration::ZERO, Action::Restore);
}

#[test]
fn a_replica_that_comes_later_adopts_every_phase() {
    for state in a_rotation() {
        check(Some(&of(&state)), None, Duration::ZERO, Action::Adopt);
    }
    check(Some(&plain(&authority())), None, Duration::ZERO, Action::Adopt);
}

#[test]
fn what_is_known_is_kept_and_what_comes_next_is_adopted() {
    let states = a_rotation();
    for (at, memory) in states.iter().enumerate() {
        check(Some(&of(memory)), Some(memory), Duration::ZERO, Action::Keep);
        for later in &states[at + 1..] {
            check(Some(&of(later)), Some(memory), Duration::ZERO, Action::Adopt);
        }
    }
}

#[test]
fn an_older_phase_that_comes_back_is_overwritten_from_memory() {
    let states = a_rotation();
    for (at, memory) in states.iter().enumerate() {
        for earlier in &states[..at] {
            check(Some(&of(earlier)), Some(memory), Duration::ZERO, Action::Restore);
        }
    }
    // A release without rotation restores what it knows, which is the CA that signs.
    check(Some(&plain(&states[1].active)), Some(&states[1]), Duration::ZERO, Action::Restore);
}

#[test]
fn another_valid_ca_is_taken_over_in_every_phase() {
    for memory in a_rotation() {
        let other = authority();
        check(Some(&plain(&other)), Some(&memory), Duration::ZERO, Action::TakeOver);
        let key = String::from_utf8(plain(&other).data.unwrap()[PRIVATE_KEY_KEY].0.clone()).unwrap();
        let edited =
            with(with(of(&memory), CERTIFICATE_KEY, &other.certificate_pem()), PRIVATE_KEY_KEY, &key);
        check(Some(&edited), Some(&memory), Duration::ZERO, Action::TakeOver);
    }
}

#[test]
fn a_deleted_secret_is_restored_from_memory_with_its_phase() {
    for memory in a_rotation() {
        check(None, Some(&memory), Duration::ZERO, Action::Recreate);
        let now = SystemTime::now();
        let plan = plan(Action::Recreate, Observed::Absent, Some(memory.clone()), &Schedule::default(), now);
        let Plan::Create(state, _) = plan.unwrap() else { panic!("not created") };
        let Observed::Good(found) = observe(Some(&of(&state)), now) else { panic!("not good") };
        assert!(found.is_same(&memory));
    }
}

/// Everything that can be wrong with the Secret of a phase while a CA is left that signs, or not.
fn rubbish(state: &State) -> Vec<(Secret, &'static str)> {
    let whole = of(state);
    let foreign = authority();
    let leaf_like = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mut all = vec![
        (Secret::default(), "no data"),
        (stored("", ""), "empty"),
        (with(whole.clone(), CERTIFICATE_KEY, leaf_like), "a certificate that is none"),
        (with(whole.clone(), PRIVATE_KEY_KEY, &foreign.key_pem()), "a key of another certificate"),
        (with(whole.clone(), PRIVATE_KEY_KEY, "no key"), "a key that is none"),
        (with(whole.clone(), "rotation.json", "{}"), "no phase"),
        (with(whole.clone(), "rotation.json", "\u{1}"), "a phase that is none"),
    ];
    match state.stage {
        Stage::Publishing { .. } => all.extend([
            (swapped(whole.clone(), &[(PRIVATE_KEY_KEY, NEXT_PRIVATE_KEY_KEY)]), "keys swapped"),
            (
                swapped(
                    whole.clone(),
                    &[(PRIVATE_KEY_KEY, NEXT_PRIVATE_KEY_KEY), (CERTIFICATE_KEY, NEXT_CERTIFICATE_KEY)],
                ),
                "CAs swapped",
            ),
            (with(whole.clone(), NEXT_PRIVATE_KEY_KEY, "no key"), "a next key that is none"),
            (without(whole.clone(), NEXT_CERTIFICATE_KEY), "no next certificate"),
            (without(whole, "rotation.json"), "the phase lost"),
        ]),
        Stage::Switched { .. } => all.extend([
            (with(whole.clone(), "cross.crt", &foreign.certificate_pem()), "a foreign cross certificate"),
            (
                with(whole.clone(), "previous.crt", &foreign.certificate_pem()),
                "a foreign previous certificate",
            ),
            (with(whole.clone(), "previous.crt", leaf_like), "a previous certificate that is none"),
            (without(whole.clone(), "cross.crt"), "no cross certificate"),
            (swapped(whole.clone(), &[("ca.crt", "cross.crt")]), "the cross certificate as the CA"),
            (without(whole, "previous.crt"), "no previous certificate"),
        ]),
        _ => {}
    }
    all
}

#[test]
fn whatever_is_spoilt_in_any_phase_is_restored_by_who_knows_better() {
    for memory in a_rotation() {
        for (secret, what) in rubbish(&memory) {
            let observed = observe(Some(&secret), SystemTime::now());
            let action = decide(&observed, Some(&held(&memory)), Duration::ZERO, false);
            assert_eq!(action, Action::Restore, "{} with {what}: {observed:?}", memory.stage.phase());
            let now = SystemTime::now();
            let plan = plan(action, observed, Some(memory.clone()), &Schedule::default(), now).unwrap();
            let Plan::Replace(state, _) = plan else { panic!("{what}") };
            let written = super::secret(secret, "ns", "ca", &state);
            let Observed::Good(found) = observe(Some(&written), now) else { panic!("{what}") };
            let expected = State { revision: found.revision, ..memory.clone() };
            assert!(found.is_same(&expected), "{what}");
            // Who holds what was there before takes it.
            check(
                Some(&written),
                Some(&memory),
                Duration::ZERO,
                if state.revision == memory.revision { Action::Keep } else { Action::Adopt },
            );
        }
    }
}

#[test]
fn without_memory_a_good_ca_is_served_at_once_and_only_then_mended_and_a_lost_one_is_waited_for() {
    for state in a_rotation() {
        for (secret, what) in rubbish(&state) {
            let observed = observe(Some(&secret), SystemTime::now());
            let of = |waited| decide(&observed, None, waited, false);
            match &observed {
                Observed::Spoilt { .. } => {
                    assert_eq!(
                        (of(Duration::ZERO), of(PATIENCE)),
                        (Action::Wait, Action::Emergency),
                        "{what}"
                    );
                }
                Observed::Damaged { state, .. } => {
                    assert_eq!(of(Duration::ZERO), Action::Adopt, "{what}");
                    let left = Held { state: (**state).clone(), certain: false };
                    let then = |waited| decide(&observed, Some(&left), waited, false);
                    assert_eq!(
                        (then(Duration::ZERO), then(PATIENCE)),
                        (Action::Wait, Action::Restore),
                        "{what}"
                    );
                }
                // Only two CAs that changed places cannot be told from a rotation.
                other => assert_eq!(what, "CAs swapped", "{other:?}"),
            }
        }
    }
}

#[test]
fn an_expired_ca_is_spoilt_and_the_next_one_steps_in() {
    let now = SystemTime::now();
    let old = now - Duration::from_hours(6 * 365 * 24);
    let expired = Authority::generate("old", old).unwrap();
    check(Some(&plain(&expired)), Some(&stable(authority())), Duration::ZERO, Action::Restore);
    let state = stable(expired);
    let mut publishing = take(&state, &Step::Begin(Reason::Age), &Schedule::default(), now).unwrap().unwrap();
    publishing.revision = 7;
    let observed = observe(Some(&of(&publishing)), now);
    let Observed::Spoilt { spare: Some(_), revision: 7, .. } = &observed else { panic!("{observed:?}") };
    let plan = plan(Action::Emergency, observed, None, &Schedule::default(), now).unwrap();
    let Plan::Replace(state, _) = plan else { panic!("not replaced") };
    assert_eq!(state.active.subject(), publishing.next().unwrap().subject());
    assert_eq!((state.revision, state.reason), (8, Reason::Emergency));
}

#[test]
fn a_retired_ca_does_not_come_back_by_itself() {
    let [first, .., last] = a_rotation();
    check(Some(&plain(&first.active)), Some(&last), Duration::ZERO, Action::Restore);
}

#[test]
fn two_replicas_that_went_on_from_a_lost_secret_agree_on_what_is_in_it() {
    let first = stable(authority());
    let [one, other] = [0, 1].map(|_| step(&first, &Step::Begin(Reason::Requested)));
    check(Some(&of(&one)), Some(&other), Duration::ZERO, Action::Adopt);
}

#[test]
fn a_phase_of_a_newer_release_is_served_and_never_changed() {
    let [_, publishing, ..] = a_rotation();
    let head = r#"{"format":1,"phase":"Draining","revision":3,"since":"2026-01-01T00:00:00Z"}"#;
    let newer =
        with(with(of(&publishing), "rotation.json", head), "third.crt", &authority().certificate_pem());
    check(Some(&newer), Some(&publishing), Duration::ZERO, Action::Adopt);
    let Observed::Good(state) = observe(Some(&newer), SystemTime::now()) else { panic!("not good") };
    assert_eq!(state.bundle(SystemTime::now()).unwrap().pem().matches("BEGIN").count(), 3);
    let step =
        next(&state, &Facts { requested: true, ..Facts::default() }, &Schedule::default(), SystemTime::now());
    assert!(matches!(step, Step::Wait(_)));
    check(Some(&newer), Some(&state), Duration::ZERO, Action::Keep);
    // Deleted, it comes back as it was, down to what we do not know.
    assert_eq!(of(&state).data, newer.data);
}

#[test]
fn a_reason_never_holds_the_secrets_text() {
    for secret in [
        stored("s3cr3t-certificate", "s3cr3t-key"),
        with(of(&stable(authority())), "rotation.json", "s3cr3t"),
    ] {
        let (Observed::Spoilt { reason, .. } | Observed::Damaged { reason, .. }) =
            observe(Some(&secret), SystemTime::now())
        else {
            panic!("good")
        };
        assert!(!reason.contains("s3cr3t"), "{reason}");
    }
}

#[test]
fn a_restored_secret_says_when_its_ca_was_made_not_when_it_was_restored() {
    let made = SystemTime::now() - Duration::from_hours(100 * 24);
    let ca = stable(Authority::generate("old", made).unwrap());
    for base in [Secret::default(), stored("spoilt", "spoilt")] {
        let written = secret(base, "ns", "ca", &ca);
        let annotations = written.metadata.annotations.unwrap();
        assert_eq!(annotations[CREATED_ANNOTATION], rfc3339(made));
        assert_eq!(annotations[NOT_AFTER_ANNOTATION], rfc3339(ca.active.not_after()));
    }
}

#[test]
fn what_others_put_into_the_secret_stays() {
    let states = a_rotation();
    let mut secret = with(of(&states[0]), "notes.txt", "ours");
    for state in &states {
        secret = super::secret(secret, "ns", "ca", state);
        let data = secret.data.as_ref().unwrap();
        assert!(data.contains_key("notes.txt"));
        assert_eq!(data.contains_key(NEXT_PRIVATE_KEY_KEY), matches!(state.stage, Stage::Publishing { .. }));
        assert_eq!(data.contains_key("cross.crt"), matches!(state.stage, Stage::Switched { .. }));
    }
}

#[test]
fn a_missing_namespace_is_an_error_that_says_what_to_do() {
    let error = StoreError::NoNamespace { namespace: "tools".into(), name: "ca".into() }.to_string();
    for words in ["secret tools/ca", "kubectl create namespace tools", "--namespace", "trying again"] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn a_replica_that_missed_a_step_and_finds_the_cas_swapped_presents_what_both_sides_trust() {
    let [_, publishing, ..] = a_rotation();
    let mixed = swapped(
        of(&State { revision: 9, ..publishing.clone() }),
        &[(PRIVATE_KEY_KEY, NEXT_PRIVATE_KEY_KEY), (CERTIFICATE_KEY, NEXT_CERTIFICATE_KEY)],
    );
    let now = SystemTime::now();
    let Observed::Good(found) = observe(Some(&mixed), now) else { panic!("not good") };
    assert_eq!(found.active.cross_pem(), None);
    assert!(presented(Some(&publishing), &found, now).cross_pem().is_some());
    assert!(presented(None, &found, now).cross_pem().is_none());
    assert!(presented(Some(&publishing), &publishing, now).cross_pem().is_none());
}
