//! What `certs` says about a cluster in order, in the middle of a rotation, and in each kind of trouble.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::*;
use crate::certs::table::table;
use crate::trust::inject::{TARGETS, inspect};
use crate::trust::record;
use crate::trust::rotation::{new_authority, take};
use crate::trust::state::Reason;

fn stable(now: SystemTime) -> State {
    let authority = new_authority(&Schedule::default(), now).unwrap();
    State::first(Arc::new(authority), Reason::Bootstrap, 1, now)
}

fn view(object: &str, trusted: &[String]) -> View {
    View {
        object: object.into(),
        trust: Trust::Certificates(trusted.to_vec()),
        client: json!({"service": {"name": "webhook", "namespace": "ns"}}),
    }
}

fn seen(state: &State, now: SystemTime) -> Seen {
    let bundle = state.bundle(now).unwrap();
    let trusted = crate::trust::bundle::certificates(bundle.pem()).unwrap();
    let object = |target| inspect::object(target, "mcp-hangar-operator");
    Seen {
        secret_name: "ns/ca".into(),
        secret: Ok(Some(record::secret(Secret::default(), "ns", "ca", state))),
        leader: Some("pod-1".into()),
        targets: TARGETS.map(|target| (object(target), Ok(view(&object(target), &trusted)))).into(),
        served: Vec::new(),
    }
}

fn judge(seen: &Seen, now: SystemTime) -> Report {
    report(seen, &Schedule::default(), now)
}

#[test]
fn a_cluster_in_order_needs_nobody_and_says_what_comes_next() {
    let now = SystemTime::now();
    let state = stable(now);
    let report = judge(&seen(&state, now), now);
    assert_eq!((report.exit_code(), &report.problems), (ExitCode::Ok, &vec![]));
    let ca = report.ca.as_ref().unwrap();
    assert_eq!((ca.days_left, ca.sha256.len()), (5 * 365 - 1, 64));
    assert!(report.targets.iter().all(|target| target.in_sync));
    let text = table(&report);
    for words in
        ["Stable since", "LEADER    pod-1", "nothing until 20", "in sync (service ns/webhook)", &ca.sha256]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_rotation_shows_both_cas_and_when_it_goes_on() {
    let now = SystemTime::now();
    let schedule = Schedule::default();
    let publishing = take(&stable(now), &Step::Begin(Reason::Requested), &schedule, now).unwrap().unwrap();
    let report = judge(&seen(&publishing, now), now);
    assert_eq!(report.exit_code(), ExitCode::Ok);
    assert_ne!(report.next_ca, None);
    assert_eq!(report.next.as_ref().unwrap().at, Some(rfc3339(publishing.since + schedule.publish_for)));
    let switched = take(&publishing, &Step::Switch, &schedule, now).unwrap().unwrap();
    let report = judge(&seen(&switched, now), now);
    assert_eq!((report.previous_cas.len(), report.phase.as_deref()), (1, Some("Switched")));
}

#[test]
fn no_key_is_ever_printed() {
    let now = SystemTime::now();
    let schedule = Schedule::default();
    let state = take(&stable(now), &Step::Begin(Reason::Requested), &schedule, now).unwrap().unwrap();
    let report = judge(&seen(&state, now), now);
    for text in [table(&report), serde_json::to_string(&report).unwrap(), format!("{report:?}")] {
        assert!(!text.contains("PRIVATE"), "{text}");
        for key in [state.active.key_pem(), state.next().unwrap().key_pem()] {
            assert!(!text.contains(key.lines().nth(1).unwrap()), "{text}");
        }
    }
}

#[test]
fn each_trouble_has_its_words_and_its_exit_code() {
    let now = SystemTime::now();
    let state = stable(now);
    let foreign = stable(now).active.certificate_pem();
    let check = |spoil: &dyn Fn(&mut Seen), later: Duration, code: ExitCode, words: &str| {
        let mut seen = seen(&state, now);
        spoil(&mut seen);
        let report = judge(&seen, now + later);
        let text = table(&report);
        assert!(text.contains(words), "{words}: {text}");
        assert_eq!(report.exit_code(), code, "{text}");
    };
    let attention = ExitCode::Attention;
    check(&|seen| seen.secret = Ok(None), Duration::ZERO, attention, "there is no CA Secret ns/ca");
    check(
        &|seen| seen.secret = Ok(Some(Secret::default())),
        Duration::ZERO,
        attention,
        "unusable: it has no ca.crt",
    );
    check(
        &|seen| seen.targets[0].1 = Ok(view("x", std::slice::from_ref(&foreign))),
        Duration::ZERO,
        attention,
        "lacks the CA that signs: calls to it fail",
    );
    check(
        &|seen| seen.targets[3].1 = Ok(view("x", &[state.active.certificate_pem(), foreign.clone()])),
        Duration::ZERO,
        attention,
        "trusts others too",
    );
    check(
        &|seen| seen.targets[1].1.as_mut().unwrap().trust = Trust::Nobody("it does not exist".into()),
        Duration::ZERO,
        attention,
        "it does not exist",
    );
    check(&|_| {}, DAY * (5 * 365 - 30), attention, "should have been rotated long ago");
    check(&|seen| seen.leader = None, DAY * (4 * 365 + 1), attention, "no replica leads");
    check(
        &|seen| {
            let refused = Refused::Untrusted("unknown issuer".into());
            seen.served.push(Served { by: "pod a".into(), certificate: Err(refused) });
        },
        Duration::ZERO,
        attention,
        "pod a presents a certificate that is not trusted",
    );
    check(
        &|seen| {
            let refused = Refused::Unreached("no answer within 2 s".into());
            seen.served.push(Served { by: "pod a".into(), certificate: Err(refused) });
        },
        Duration::ZERO,
        ExitCode::Ok,
        "kubectl port-forward",
    );
    let unread = |forbidden| Unread { reason: "failed to get secret ns/ca: it is so".into(), forbidden };
    check(
        &|seen| seen.secret = Err(unread(true)),
        Duration::ZERO,
        ExitCode::Permission,
        "kubectl auth can-i get secret/ca -n ns",
    );
    check(&|seen| seen.secret = Err(unread(false)), Duration::ZERO, ExitCode::Failure, "it is so");
}

#[test]
fn a_served_certificate_is_described() {
    let now = SystemTime::now();
    let state = stable(now);
    let mut seen = seen(&state, now);
    seen.served.push(Served { by: "pod a".into(), certificate: Ok(state.active.certificate_pem()) });
    let text = table(&judge(&seen, now));
    assert!(text.contains("pod a      trusted; not after 20"), "{text}");
}
