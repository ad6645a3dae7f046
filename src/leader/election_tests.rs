//! The rules of the election, one by one.

use std::collections::BTreeMap;

use super::*;

pub(super) const WALL: SystemTime = SystemTime::UNIX_EPOCH;

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn candidate(identity: &str) -> Candidate {
    Candidate {
        identity: identity.into(),
        namespace: "mcp-system".into(),
        name: "operator".into(),
        lease_duration: seconds(15),
        renew_deadline: seconds(10),
        retry_period: seconds(2),
    }
}

/// A Lease as the API server shows it.
fn lease(holder: &str, duration: i32, version: &str) -> Lease {
    let spec = LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(duration),
        lease_transitions: Some(3),
        ..LeaseSpec::default()
    };
    let metadata = ObjectMeta {
        uid: Some("uid".into()),
        resource_version: Some(version.into()),
        ..ObjectMeta::default()
    };
    Lease { metadata, spec: Some(spec) }
}

fn written(decision: Decision, version: &str) -> Lease {
    let (Decision::Create(mut lease) | Decision::Acquire(mut lease) | Decision::Renew(mut lease)) = decision
    else {
        panic!("{decision:?} writes nothing")
    };
    lease.metadata.uid = Some("uid".into());
    lease.metadata.resource_version = Some(version.into());
    lease
}

fn spec(lease: &Lease) -> (&str, i32, i32) {
    let spec = lease.spec.as_ref().unwrap();
    (
        spec.holder_identity.as_deref().unwrap(),
        spec.lease_duration_seconds.unwrap(),
        spec.lease_transitions.unwrap(),
    )
}

/// A leader since `now`.
fn leader(now: Instant) -> View {
    let mut view = View::new(candidate("a"));
    view.saw(Some(lease("", RELEASED, "1")), now);
    let decision = view.decide(now, WALL);
    view.wrote(written(decision, "2"), false, now, now);
    assert!(view.until(now).is_some());
    view
}

#[test]
fn looks_before_it_writes() {
    let view = View::new(candidate("a"));
    assert_eq!(view.decide(Instant::now(), WALL), Decision::Look);
}

#[test]
fn waits_a_lease_from_the_last_change_it_has_seen_itself() {
    let start = Instant::now();
    let mut view = View::new(candidate("a"));
    view.saw(Some(lease("b", 15, "1")), start);
    assert_eq!(view.decide(start, WALL), Decision::Wait(seconds(15)));
    view.saw(Some(lease("b", 15, "2")), start + seconds(10));
    assert_eq!(view.decide(start + seconds(16), WALL), Decision::Wait(seconds(9)));
    view.saw(Some(lease("b", 15, "2")), start + seconds(24));
    let decision = view.decide(start + seconds(25), WALL);
    assert!(matches!(&decision, Decision::Acquire(lease) if spec(lease) == ("a", 15, 4)), "{decision:?}");
}

#[test]
fn the_times_that_a_holder_wrote_mean_nothing() {
    let now = Instant::now();
    for wall in [WALL, SystemTime::now() + seconds(1_000_000)] {
        let mut old = lease("b", 15, "1");
        old.spec.as_mut().unwrap().renew_time = micro_time(wall);
        let mut view = View::new(candidate("a"));
        view.saw(Some(old), now);
        assert_eq!(view.decide(now, SystemTime::now()), Decision::Wait(seconds(15)));
    }
}

#[test]
fn a_lease_that_was_given_up_is_taken_at_once() {
    let now = Instant::now();
    let mut view = View::new(candidate("a"));
    view.saw(Some(lease("", RELEASED, "1")), now);
    assert!(matches!(view.decide(now, WALL), Decision::Acquire(_)));
}

#[test]
fn a_holder_with_longer_terms_is_given_its_time_but_not_all_of_eternity() {
    let now = Instant::now();
    for (duration, wait) in [(60, 60), (0, 15), (-7, 15), (i32::MAX, 15), (1, 15), (600, 600)] {
        let mut view = View::new(candidate("a"));
        view.saw(Some(lease("b", duration, "1")), now);
        assert_eq!(view.decide(now, WALL), Decision::Wait(seconds(wait)), "{duration}");
    }
}

#[test]
fn what_nobody_holds_but_nobody_gave_up_is_waited_for() {
    let now = Instant::now();
    for rubbish in [
        Lease { spec: None, ..lease("", 15, "1") },
        lease("", 15, "1"),
        Lease { spec: Some(LeaseSpec::default()), ..lease("", 15, "1") },
    ] {
        let mut view = View::new(candidate("a"));
        view.saw(Some(rubbish), now);
        assert_eq!(view.decide(now, WALL), Decision::Wait(seconds(15)));
        assert!(matches!(view.decide(now + seconds(15), WALL), Decision::Acquire(_)));
    }
}

#[test]
fn who_makes_the_lease_leads_only_when_a_leader_from_before_must_have_stopped() {
    let start = Instant::now();
    let mut view = View::new(candidate("a"));
    view.saw(None, start);
    let decision = view.decide(start, WALL);
    assert!(matches!(&decision, Decision::Create(lease) if spec(lease) == ("a", 15, 0)), "{decision:?}");
    view.wrote(written(decision, "1"), true, start, start + seconds(1));
    for (second, leads) in [(2, false), (15, false), (16, true)] {
        let now = start + seconds(second);
        let decision = view.decide(now, WALL);
        assert!(matches!(decision, Decision::Renew(_)), "{decision:?}");
        view.wrote(written(decision, &second.to_string()), false, now, now);
        assert_eq!(view.until(now).is_some(), leads, "{second}");
    }
}

#[test]
fn a_term_counts_from_before_the_write_was_sent() {
    let start = Instant::now();
    let mut view = View::new(candidate("a"));
    view.saw(Some(lease("", RELEASED, "1")), start);
    let decision = view.decide(start, WALL);
    view.wrote(written(decision, "2"), false, start, start + seconds(4));
    assert_eq!(view.until(start + seconds(4)), Some(start + seconds(10)));
    assert_eq!(view.until(start + seconds(10)), None);
}

#[test]
fn renewing_keeps_acquire_time_transitions_and_what_others_wrote() {
    let now = Instant::now();
    let mut view = leader(now);
    let mut edited = lease("a", 15, "3");
    edited.metadata.annotations = Some(BTreeMap::from([("team".to_owned(), "x".to_owned())]));
    edited.spec.as_mut().unwrap().acquire_time = micro_time(WALL + seconds(7));
    view.saw(Some(edited.clone()), now);
    let renewed = written(view.decide(now, WALL + seconds(9)), "3");
    assert_eq!(renewed.metadata, edited.metadata);
    assert_eq!(spec(&renewed), ("a", 15, 4), "a lower number was written by hand");
    assert_eq!(renewed.spec.as_ref().unwrap().acquire_time, micro_time(WALL + seconds(7)));
    assert_eq!(renewed.spec.as_ref().unwrap().renew_time, micro_time(WALL + seconds(9)));
}

#[test]
fn a_leader_that_sees_another_holder_stops_at_once() {
    let now = Instant::now();
    let mut view = leader(now);
    view.failed();
    assert_eq!(view.decide(now, WALL), Decision::Look);
    view.saw(Some(lease("b", 15, "3")), now);
    assert_eq!(view.until(now), None);
    assert_eq!(view.decide(now, WALL), Decision::Wait(seconds(15)));
}

#[test]
fn a_leader_whose_lease_was_deleted_or_wiped_goes_on_and_writes_it_again() {
    let now = Instant::now();
    let mut view = leader(now);
    view.failed();
    view.saw(None, now);
    let decision = view.decide(now, WALL);
    assert!(matches!(&decision, Decision::Create(lease) if spec(lease).2 == 4), "{decision:?}");
    view.wrote(written(decision, "9"), true, now, now);
    assert!(view.until(now).is_some());
    view.failed();
    view.saw(Some(lease("", 15, "10")), now);
    let decision = view.decide(now, WALL);
    assert!(matches!(&decision, Decision::Acquire(lease) if spec(lease) == ("a", 15, 4)), "{decision:?}");
}

#[test]
fn a_leader_that_was_out_of_reach_leads_again_when_nobody_has_written_since() {
    let start = Instant::now();
    let mut view = leader(start);
    let later = start + seconds(100);
    view.failed();
    assert_eq!(view.until(later), None);
    view.saw(Some(lease("a", 15, "2")), later);
    let decision = view.decide(later, WALL);
    view.wrote(written(decision, "3"), false, later, later);
    assert!(view.until(later).is_some());
}

#[test]
fn giving_up_leaves_a_lease_that_anybody_may_take() {
    let now = Instant::now();
    let mut view = leader(now);
    let released = view.release(WALL).unwrap();
    assert_eq!(spec(&released), ("", RELEASED, 4));
    assert_eq!(view.until(now), None);
    let mut follower = View::new(candidate("b"));
    follower.saw(Some(lease("a", 15, "2")), now);
    assert_eq!(follower.release(WALL), None);
}

#[test]
fn waits_differ_between_replicas_and_are_never_longer_than_the_rest_of_a_lease() {
    let view = View::new(candidate("a"));
    assert_eq!(view.pause(&Decision::Look, 0.0), seconds(2));
    assert_eq!(view.pause(&Decision::Look, 1.0), Duration::from_millis(2400));
    assert_eq!(view.pause(&Decision::Wait(seconds(1)), 1.0), seconds(1));
}
