//! The steps of a rotation one by one, and years of them in a moment. All of it with real certificates.

use super::*;
use crate::trust::state::made_at;

const DAY: Duration = Duration::from_hours(24);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn stable(now: SystemTime) -> State {
    State::first(Arc::new(new_authority(&Schedule::default(), now).unwrap()), Reason::Bootstrap, 1, now)
}

fn asked() -> Facts {
    Facts { requested: true, ..Facts::default() }
}

fn lacking() -> Facts {
    Facts {
        lacking: vec!["customresourcedefinition x: its caBundle lacks 1 of 2 CAs".into()],
        ..Facts::default()
    }
}

fn decide(state: &State, facts: &Facts, now: SystemTime) -> Step {
    next(state, facts, &Schedule::default(), now)
}

fn go(state: &State, step: &Step, now: SystemTime) -> State {
    take(state, step, &Schedule::default(), now).unwrap().unwrap()
}

#[test]
fn a_ca_is_left_alone_until_it_has_less_than_a_year_or_somebody_asks() {
    let now = start();
    let state = stable(now);
    let due = now + 4 * 365 * DAY;
    let Step::Wait(Wait { until: Some(until), cause: Cause::Young }) = decide(&state, &Facts::default(), now)
    else {
        panic!("no wait")
    };
    assert_eq!(until, due);
    assert!(matches!(decide(&state, &Facts::default(), due - Duration::from_secs(1)), Step::Wait(_)));
    assert_eq!(decide(&state, &Facts::default(), due), Step::Begin(Reason::Age));
    assert_eq!(decide(&state, &asked(), now), Step::Begin(Reason::Requested));
}

#[test]
fn a_new_ca_signs_only_when_all_targets_have_it_and_five_minutes_are_over() {
    let now = start();
    let state = go(&stable(now), &Step::Begin(Reason::Requested), now);
    let five = now + Duration::from_mins(5);
    for (facts, time, expected) in [
        (Facts::default(), now, Cause::Caches),
        (lacking(), now, Cause::Caches),
        (Facts::default(), five - Duration::from_secs(1), Cause::Caches),
        (lacking(), five, Cause::Targets(lacking().lacking)),
        (lacking(), five + 300 * DAY, Cause::Targets(lacking().lacking)),
    ] {
        let Step::Wait(wait) = decide(&state, &facts, time) else { panic!("{facts:?}") };
        assert_eq!(wait.cause, expected);
    }
    assert_eq!(decide(&state, &Facts::default(), five), Step::Switch);
}

#[test]
fn a_target_that_cannot_be_mended_does_not_keep_the_old_ca_to_its_end() {
    let now = start();
    let state = stable(now);
    let due = now + 4 * 365 * DAY;
    let publishing = go(&state, &Step::Begin(Reason::Age), due);
    let half = state.active.not_after() - 365 * DAY / 2;
    assert!(matches!(decide(&publishing, &lacking(), half - Duration::from_secs(1)), Step::Wait(_)));
    assert_eq!(decide(&publishing, &lacking(), half), Step::Switch);
}

#[test]
fn the_old_ca_retires_one_leaf_life_and_a_day_after_the_switch() {
    let now = start();
    let publishing = go(&stable(now), &Step::Begin(Reason::Requested), now);
    let switched = go(&publishing, &Step::Switch, now);
    assert!(switched.active.cross_pem().is_some());
    assert_eq!(switched.trusted().len(), 2);
    let over = now + 8 * DAY;
    assert!(matches!(decide(&switched, &asked(), over - Duration::from_secs(1)), Step::Wait(_)));
    assert_eq!(decide(&switched, &asked(), over), Step::Retire);
    let stable = go(&switched, &Step::Retire, over);
    assert_eq!((stable.trusted().len(), stable.active.cross_pem()), (1, None));
    assert!(stable.has_retired(&publishing.active.certificate_pem()));
    assert_eq!(stable.revision, 4);
}

#[test]
fn a_phase_that_begins_in_the_far_future_begins_anew() {
    let now = start();
    let publishing = go(&stable(now), &Step::Begin(Reason::Requested), now + 365 * DAY);
    assert_eq!(decide(&publishing, &Facts::default(), now), Step::Retime);
    let mended = go(&publishing, &Step::Retime, now);
    assert_eq!((mended.since, mended.stage.phase()), (now, "Publishing"));
    // Clocks that differ by minutes are no reason.
    let skewed = State { since: now + Duration::from_mins(10), ..publishing };
    assert!(matches!(decide(&skewed, &Facts::default(), now), Step::Wait(_)));
}

#[test]
fn a_step_that_does_not_fit_its_phase_writes_nothing() {
    let now = start();
    let state = stable(now);
    for step in [Step::Switch, Step::Retire] {
        assert!(take(&state, &step, &Schedule::default(), now).unwrap().is_none());
    }
}

#[test]
fn a_foreign_ca_is_signed_by_the_one_before_and_both_are_trusted() {
    let now = start();
    let publishing = go(&stable(now), &Step::Begin(Reason::Requested), now);
    let held = go(&publishing, &Step::Switch, now);
    let found = State { revision: 0, ..stable(now) };
    let after = replaced(&held, &found, now).unwrap();
    assert_eq!((after.revision, after.reason, after.stage.phase()), (4, Reason::Replaced, "Switched"));
    assert!(after.active.cross_pem().is_some());
    // The CA in use, the one before it, and the foreign one.
    assert_eq!(after.trusted().len(), 3);
}

#[test]
fn forty_years_of_rotations_pass_and_every_ca_is_renewed_in_time() {
    let schedule = Schedule::default();
    let mut now = start();
    let end = now + 40 * 365 * DAY;
    let (mut state, mut cas, mut writes) = (stable(now), 1, 0);
    while now < end {
        match next(&state, &Facts::default(), &schedule, now) {
            Step::Wait(wait) => now = wait.until.unwrap(),
            step => {
                state = take(&state, &step, &schedule, now).unwrap().unwrap();
                writes += 1;
                cas += usize::from(matches!(step, Step::Begin(_)));
            }
        }
        assert!(state.is_usable_at(now));
        assert!(state.active.not_after() > now + 300 * DAY);
        assert!(made_at(&state.active) <= now);
    }
    // One every four years and about a week.
    assert_eq!((cas, writes), (10, 27));
    assert!(state.retired.len() <= 8);
}

#[test]
fn waiting_is_put_into_words_that_say_until_when() {
    let now = start();
    let text = words(&decide(&stable(now), &Facts::default(), now));
    assert!(text.starts_with("nothing until 20"), "{text}");
    assert!(words(&decide(&stable(now), &asked(), now)).contains("asked for"));
}
