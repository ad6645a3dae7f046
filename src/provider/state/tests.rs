//! Every transition as a script, and what holds for any sequence of observations.
//!
//! A line of a script is `second observations -> node [event] [pods N]`; observations stay until they are changed.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mcp_hangar_api::v1beta1::provider::{MCPProviderSpec, MCPProviderStatus};
use proptest::prelude::*;

use super::table::{NODES, TABLE, backoff};
use super::*;

fn at(second: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

fn settings(spec: &str) -> Settings {
    let spec: MCPProviderSpec = serde_saphyr::from_str(spec).unwrap();
    Settings::of(&spec)
}

fn named(node: Node) -> String {
    format!("{node:?}")
}

/// What a script observed last.
#[derive(Default)]
struct World {
    is_invalid: bool,
    wanted: i32,
    ready_pods: i32,
    probe: Option<bool>,
    template: Option<String>,
    activity: Option<String>,
    wake: Option<String>,
}

impl World {
    fn change(&mut self, word: &str) {
        let time =
            |text: &str| text.parse().map_or_else(|_| text.to_owned(), |second| at(second).to_string());
        match word.split_once('=') {
            Some(("replicas", number)) => self.wanted = number.parse().unwrap(),
            Some(("pods", number)) => self.ready_pods = number.parse().unwrap(),
            Some(("template", hash)) => self.template = Some(hash.into()),
            Some(("activity", text)) => self.activity = Some(time(text)),
            Some(("wake", text)) => self.wake = Some(time(text)),
            None if word == "good" || word == "bad" => self.probe = Some(word == "good"),
            None if word == "invalid" || word == "valid" => self.is_invalid = word == "invalid",
            None if word == "tick" => {}
            _ => panic!("{word}"),
        }
    }

    fn step(&mut self, state: &State, now: Timestamp, settings: &Settings) -> (State, Effects) {
        let probe = self.probe.take().map(|is_good| Probe { began: now, is_good });
        let seen = Observation {
            is_invalid: self.is_invalid,
            wanted: self.wanted,
            ready_pods: self.ready_pods,
            probe,
            template: self.template.as_deref(),
            activity: self.activity.as_deref(),
            wake: self.wake.as_deref(),
        };
        step(state, &seen, now, settings)
    }
}

/// Runs a script; answers the transitions that were taken.
fn check(spec: &str, script: &str) -> BTreeSet<(Node, &'static str, Node)> {
    let settings = settings(spec);
    let (mut state, mut world) = (State::new(at(0)), World { wanted: 1, ..World::default() });
    let mut taken = BTreeSet::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (told, expected) = line.split_once(" -> ").unwrap();
        let (second, words) = told.split_once(' ').unwrap();
        words.split(' ').for_each(|word| world.change(word));
        let from = state.node;
        let (next, effects) = world.step(&state, at(second.parse().unwrap()), &settings);
        let event = effects.transition.filter(|row| !row.is_silent).map(|row| row.reason);
        let mut said = named(next.node);
        event.iter().for_each(|event| said.push_str(&format!(" {event}")));
        if expected.contains("pods") {
            said.push_str(&effects.replicas.map_or(" pods -".into(), |pods| format!(" pods {pods}")));
        }
        if expected.contains("refused") {
            let values = effects.refused.iter().map(|it| format!(" refused {}", it.value));
            said.push_str(&values.reduce(|all, one| all + &one).unwrap_or(" no-refused".into()));
        }
        assert_eq!(said, expected, "{line}\nin {script}");
        taken.extend(effects.transition.map(|row| (from, row.when, row.to)));
        state = next;
    }
    taken
}

const USUAL: &str = "{mode: Container}";
const OFTEN: &str = "{mode: Container, healthCheck: {successThreshold: 2}}";
const REMOTE: &str = "{mode: Remote}";
const UNPROBED: &str = "{mode: Container, healthCheck: {enabled: false}}";
const NO_BREAKER: &str = "{mode: Container, circuitBreaker: {enabled: false}}";
const IDLE: &str = "{mode: Container, replicas: 3, lifecycle: {idleTTL: 60s}}";
const NEVER_IDLE: &str = "{mode: Container, lifecycle: {idleTTL: 0s}}";
/// From the start to the open circuit, at second 6.
const DEAD: &str = "
    0 template=a -> Initializing Starting
    1 good -> Ready ProviderReady
    2 bad -> Ready
    3 bad -> Ready
    4 bad -> Degraded HealthCheckFailing
    5 bad -> Degraded
    6 bad -> CircuitOpen CircuitOpen";
const HALF_OPEN: &str = "
    35 tick -> CircuitOpen
    36 tick -> HalfOpen";
const STARTUP_FAILED: &str = "
    0 template=a -> Initializing Starting
    29 tick -> Initializing
    30 tick -> StartupFailed StartupFailed pods 1";
/// A provider that had activity at second 10, and sleeps since 70.
const ASLEEP: &str = "
    0 replicas=3 -> Initializing Starting pods 3
    1 good -> Ready ProviderReady
    10 activity=10 -> Ready pods 3
    69 tick -> Ready pods 3
    70 tick -> Cold Idle pods 0";

/// Name, spec, scripts that follow each other.
fn scripts() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        (USUAL, vec!["0 replicas=0 -> Cold pods 0", "1 replicas=2 -> Initializing Starting pods 2"]),
        (
            OFTEN,
            vec![
                "0 tick -> Initializing Starting\n1 good -> Initializing\n2 bad -> Initializing\n3 good -> Initializing\n4 good -> Ready ProviderReady",
                "5 bad -> Ready\n6 bad -> Ready\n7 bad -> Degraded HealthCheckFailing\n8 good -> Degraded\n9 bad -> Degraded\n10 good -> Degraded\n11 good -> Ready Recovered",
            ],
        ),
        // A flap below the threshold is no transition.
        (
            USUAL,
            vec![
                "0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 good -> Ready\n5 bad -> Ready\n6 bad -> Ready",
            ],
        ),
        (USUAL, vec![DEAD, "7 good -> CircuitOpen\n8 replicas=0 -> Cold ScaledToZero pods 0"]),
        (USUAL, vec![DEAD, HALF_OPEN, "37 good -> HalfOpen\n38 good -> Ready CircuitClosed"]),
        (
            USUAL,
            vec![DEAD, HALF_OPEN, "37 good -> HalfOpen\n38 bad -> HalfOpen\n39 good -> Ready CircuitClosed"],
        ),
        // Half-open fails, silently, and waits for another resetTimeout.
        (
            USUAL,
            vec![
                DEAD,
                HALF_OPEN,
                "37 bad -> HalfOpen\n38 bad -> CircuitOpen\n67 tick -> CircuitOpen\n68 tick -> HalfOpen\n69 good -> HalfOpen\n70 good -> Ready CircuitClosed",
            ],
        ),
        (
            USUAL,
            vec![
                DEAD,
                HALF_OPEN,
                "40 template=b -> Initializing TemplateChanged\n41 good -> Ready ProviderReady",
            ],
        ),
        (USUAL, vec![DEAD, HALF_OPEN, "40 replicas=0 -> Cold ScaledToZero"]),
        (USUAL, vec![DEAD, HALF_OPEN, "40 invalid -> InvalidSpec InvalidSpec"]),
        (USUAL, vec![DEAD, "7 template=b -> Initializing TemplateChanged\n8 tick -> Initializing"]),
        (
            USUAL,
            vec![
                DEAD,
                "7 invalid -> InvalidSpec InvalidSpec pods -\n8 replicas=0 -> InvalidSpec\n9 valid -> Cold ScaledToZero",
            ],
        ),
        // Asked for more good probes than are let through: as many as are let through are enough.
        (
            "{mode: Container, circuitBreaker: {successThreshold: 5, halfOpenRequests: 1}}",
            vec![DEAD, HALF_OPEN, "37 good -> Ready CircuitClosed"],
        ),
        // A breaker that gives up earlier than the health check notices waits for Degraded.
        (
            "{mode: Container, circuitBreaker: {failureThreshold: 1}}",
            vec![
                "0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 bad -> Degraded HealthCheckFailing\n5 tick -> CircuitOpen CircuitOpen",
            ],
        ),
        (
            NO_BREAKER,
            vec![
                "0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 bad -> Degraded HealthCheckFailing\n5 bad -> Degraded\n6 bad -> Degraded\n7 bad -> Degraded\n8 good -> Ready Recovered",
            ],
        ),
        (
            USUAL,
            vec![
                STARTUP_FAILED,
                "39 good -> StartupFailed\n40 tick -> Initializing Retrying\n41 good -> Ready ProviderReady",
            ],
        ),
        (USUAL, vec![STARTUP_FAILED, "31 template=b -> Initializing TemplateChanged"]),
        (USUAL, vec![STARTUP_FAILED, "31 replicas=0 -> Cold ScaledToZero"]),
        (
            USUAL,
            vec![
                STARTUP_FAILED,
                "31 invalid -> InvalidSpec InvalidSpec\n32 tick -> InvalidSpec\n33 valid -> Initializing SpecMended",
            ],
        ),
        // The wait doubles, up to 5 minutes.
        (
            USUAL,
            vec![
                STARTUP_FAILED,
                "40 tick -> Initializing Retrying\n70 tick -> StartupFailed StartupFailed\n89 tick -> StartupFailed\n90 tick -> Initializing Retrying\n120 bad -> StartupFailed StartupFailed\n159 tick -> StartupFailed\n160 tick -> Initializing Retrying",
            ],
        ),
        (USUAL, vec!["0 invalid -> InvalidSpec InvalidSpec pods -"]),
        (USUAL, vec!["0 tick -> Initializing Starting\n1 invalid -> InvalidSpec InvalidSpec"]),
        (USUAL, vec!["0 tick -> Initializing Starting\n1 replicas=0 -> Cold ScaledToZero"]),
        (
            USUAL,
            vec![
                "0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n2 invalid -> InvalidSpec InvalidSpec",
            ],
        ),
        (
            USUAL,
            vec![
                "0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n2 replicas=0 -> Cold ScaledToZero",
            ],
        ),
        (
            USUAL,
            vec![
                "0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 bad -> Degraded HealthCheckFailing\n5 invalid -> InvalidSpec InvalidSpec",
            ],
        ),
        (
            USUAL,
            vec![
                "0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 bad -> Degraded HealthCheckFailing\n5 replicas=0 -> Cold ScaledToZero",
            ],
        ),
        (
            UNPROBED,
            vec![
                "0 tick -> Initializing Starting\n1 pods=1 -> Ready ProviderReady\n2 bad -> Ready\n3 pods=0 -> Degraded HealthCheckFailing\n500 tick -> Degraded\n501 pods=1 -> Ready Recovered",
            ],
        ),
        (
            "{mode: Remote, healthCheck: {enabled: false}}",
            vec!["0 tick -> Initializing Starting\n1 tick -> Ready ProviderReady\n900 tick -> Ready"],
        ),
        // A remote provider has no pods, never idles, and is not woken where it is not wanted.
        (
            REMOTE,
            vec![
                "0 activity=0 -> Initializing Starting\n1 good -> Ready ProviderReady\n9000 tick -> Ready\n9001 replicas=0 -> Cold ScaledToZero\n9002 wake=9002 -> Cold\n9003 replicas=1 -> Initializing Starting",
            ],
        ),
        (
            IDLE,
            vec![
                ASLEEP,
                "71 replicas=5 -> Cold pods 0\n80 wake=80 -> Initializing Starting pods 5\n81 good -> Ready ProviderReady\n139 tick -> Ready\n140 tick -> Cold Idle",
            ],
        ),
        (IDLE, vec![ASLEEP, "75 activity=75 -> Initializing Starting pods 3"]),
        (IDLE, vec![ASLEEP, "75 replicas=0 -> Cold\n76 replicas=2 -> Initializing Starting pods 2"]),
        // A wake written before the sleep and seen after it wins; so does one seen in the same moment.
        (IDLE, vec![ASLEEP, "71 wake=69 -> Initializing Starting pods 3"]),
        (
            IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n1 good -> Ready ProviderReady\n60 wake=59 -> Ready\n118 tick -> Ready\n119 tick -> Cold Idle",
            ],
        ),
        // Old, repeated and meaningless values do nothing; what is no time is told once.
        (
            IDLE,
            vec![
                ASLEEP,
                "71 wake=5 -> Cold\n72 wake=soon -> Cold refused soon\n73 tick -> Cold no-refused\n74 wake=74 -> Initializing Starting",
                "75 good -> Ready ProviderReady\n134 tick -> Cold Idle\n135 tick -> Cold\n136 activity=later -> Cold refused later",
            ],
        ),
        // A time in the future counts as now: it keeps nothing awake for ever.
        (
            IDLE,
            vec![
                "0 activity=100000 -> Initializing Starting\n1 good -> Ready ProviderReady\n59 tick -> Ready\n60 tick -> Cold Idle\n61 tick -> Cold",
            ],
        ),
        (IDLE, vec!["0 tick -> Initializing Starting\n1 good -> Ready ProviderReady\n100000 tick -> Ready"]),
        (
            NEVER_IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n1 good -> Ready ProviderReady\n100000 tick -> Ready",
            ],
        ),
        // Where the user wrote 0: a wake starts one pod, activity alone none, and it sleeps again when idle.
        (
            IDLE,
            vec![
                "0 replicas=0 -> Cold pods 0\n1 activity=1 -> Cold pods 0\n5 wake=5 -> Initializing Starting pods 1\n6 good -> Ready ProviderReady pods 1\n64 tick -> Ready pods 1\n65 tick -> Cold Idle pods 0\n66 tick -> Cold pods 0\n70 wake=70 -> Initializing Starting pods 1\n71 replicas=2 -> Initializing pods 2\n72 replicas=0 -> Cold ScaledToZero pods 0\n73 wake=71 -> Cold pods 0",
            ],
        ),
        // Idleness leaves every state.
        (
            IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 bad -> Degraded HealthCheckFailing\n60 tick -> Cold Idle",
            ],
        ),
        (
            IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 bad -> Degraded HealthCheckFailing\n5 bad -> Degraded\n6 bad -> CircuitOpen CircuitOpen\n60 tick -> Cold Idle",
            ],
        ),
        (
            IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n1 good -> Ready ProviderReady\n2 bad -> Ready\n3 bad -> Ready\n4 bad -> Degraded HealthCheckFailing\n5 bad -> Degraded\n6 bad -> CircuitOpen CircuitOpen\n36 tick -> HalfOpen\n60 tick -> Cold Idle",
            ],
        ),
        (
            IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n30 tick -> StartupFailed StartupFailed\n40 tick -> Initializing Retrying\n60 tick -> Cold Idle",
            ],
        ),
        (
            IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n30 tick -> StartupFailed StartupFailed\n60 tick -> Cold Idle",
            ],
        ),
        (
            IDLE,
            vec![
                "0 activity=0 -> Initializing Starting\n1 invalid -> InvalidSpec InvalidSpec\n60 valid -> Cold Idle",
            ],
        ),
    ]
}

#[test]
fn every_transition_happens_as_its_script_says() {
    let mut taken = BTreeSet::new();
    for (spec, parts) in scripts() {
        taken.extend(check(spec, &parts.join("\n")));
    }
    for row in &TABLE {
        for from in row.from {
            assert!(
                taken.contains(&(*from, row.when, row.to)),
                "no script: {from:?} {} {:?}",
                row.when,
                row.to
            );
        }
    }
}

#[test]
fn failed_startups_wait_longer_each_time() {
    let waits: Vec<_> = (0..9).map(|count| backoff(count).as_secs()).collect();
    assert_eq!(waits, [10, 10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(backoff(u32::MAX), Duration::from_secs(300));
}

#[test]
fn a_probe_begun_before_the_state_was_entered_does_not_count() {
    let settings = settings(USUAL);
    let mut world = World { wanted: 1, ..World::default() };
    let (starting, _) = world.step(&State::new(at(0)), at(10), &settings);
    let late = Probe { began: at(9), is_good: true };
    let seen = Observation { wanted: 1, probe: Some(late), ..Observation::default() };
    assert_eq!(step(&starting, &seen, at(11), &settings).0.node, Node::Initializing);
    let fresh = Observation { probe: Some(Probe { began: at(10), is_good: true }), ..seen };
    assert_eq!(step(&starting, &fresh, at(11), &settings).0.node, Node::Ready);
}

#[test]
fn says_when_to_probe_and_when_to_look_again() {
    let settings = settings(IDLE);
    let mut world = World { wanted: 3, ..World::default() };
    let (state, effects) = world.step(&State::new(at(0)), at(0), &settings);
    assert_eq!((effects.probe_every, effects.again_at), (Some(Duration::from_secs(1)), Some(at(30))));
    world.change("good");
    let (state, effects) = world.step(&state, at(1), &settings);
    assert_eq!((effects.probe_every, effects.again_at), (Some(Duration::from_secs(30)), None));
    world.change("activity=2");
    let (state, effects) = world.step(&state, at(2), &settings);
    assert_eq!(effects.again_at, Some(at(62)));
    let (_, effects) = world.step(&state, at(62), &settings);
    assert_eq!(
        (effects.probe_every, effects.again_at),
        (None, None),
        "asleep: nothing to do until it is called"
    );
}

fn status(text: &str) -> MCPProviderStatus {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn a_restart_changes_nothing() {
    let (asleep, awake) = (
        "lastActivityAt: 2026-01-01T00:00:10Z\nlastStartedAt: 2026-01-01T00:00:00Z\nlastStoppedAt: 2026-01-01T00:01:10Z\n",
        "lastActivityAt: 2026-01-01T00:01:30Z\nlastStartedAt: 2026-01-01T00:01:20Z\nlastStoppedAt: 2026-01-01T00:01:10Z\n",
    );
    let dead =
        |reason| format!("state: Dead\nconditions: [{{type: Ready, status: 'False', reason: {reason}}}]");
    for (text, wanted, expected) in [
        (format!("state: Cold\n{asleep}"), 3, Node::Cold),
        ("state: Cold\nlastStoppedAt: 2026-01-01T00:01:10Z".into(), 0, Node::Cold),
        (format!("state: Ready\n{awake}"), 3, Node::Ready),
        (format!("state: Ready\n{awake}"), 0, Node::Ready),
        ("state: Initializing".into(), 1, Node::Initializing),
        ("state: Degraded\nconsecutiveFailures: 4".into(), 1, Node::Degraded),
        (dead("CircuitOpen"), 1, Node::CircuitOpen),
        (dead("StartupFailed"), 1, Node::StartupFailed),
        (dead("''"), 1, Node::CircuitOpen),
    ] {
        let state = State::restore(&status(&text), wanted, true, at(100));
        assert_eq!(state.node, expected, "{text}");
        let seen = Observation { wanted, template: Some("a"), ..Observation::default() };
        let wake = at(5).to_string();
        let seen = Observation { wake: Some(&wake), ..seen };
        let (next, effects) = step(&state, &seen, at(101), &settings(IDLE));
        assert!(
            effects.transition.is_none() && effects.refused.is_empty(),
            "{text}: {:?}",
            effects.transition
        );
        assert_eq!((next.node, next.since), (expected, at(100)));
    }
    // Set from 0 to 2 while nobody looked: it starts.
    let state = State::restore(&status("state: Cold"), 2, false, at(100));
    let seen = Observation { wanted: 2, ..Observation::default() };
    assert_eq!(step(&state, &seen, at(101), &settings(IDLE)).0.node, Node::Initializing);
}

/// After a restart each text has taken effect already, but for what may have been written meanwhile.
#[test]
fn a_restart_hears_no_annotation_twice() {
    let asleep = "state: Cold\nlastStoppedAt: 2026-01-01T00:01:30Z\nlastActivityAt: 2026-01-01T00:00:10Z";
    for (wake, expected) in [
        ("2999-01-01T00:00:00Z", Node::Cold),
        ("soon", Node::Cold),
        ("2026-01-01T00:00:01Z", Node::Cold),
        // While no operator was there, also by a clock that is ahead.
        ("2026-01-01T00:01:35Z", Node::Initializing),
        ("2026-01-01T00:01:50Z", Node::Initializing),
    ] {
        let now = at(100);
        let state = State::restore(&status(asleep), 2, true, now).having_heard(None, Some(wake), now);
        let seen = Observation { wanted: 2, wake: Some(wake), ..Observation::default() };
        let (next, effects) = step(&state, &seen, now, &settings(IDLE));
        assert_eq!((next.node, effects.refused.len()), (expected, 0), "{wake}");
    }
}

fn observation() -> impl Strategy<Value = Vec<String>> {
    let word = prop_oneof![
        4 => Just("good".to_owned()),
        6 => Just("bad".to_owned()),
        3 => Just("tick".to_owned()),
        2 => (0..3).prop_map(|count| format!("replicas={count}")),
        2 => (0..2).prop_map(|count| format!("pods={count}")),
        1 => prop_oneof![Just("invalid".to_owned()), Just("valid".to_owned())],
        1 => (0..3).prop_map(|hash| format!("template={hash}")),
        1 => (-100i64..4000).prop_map(|second| format!("activity={second}")),
        1 => (-100i64..4000).prop_map(|second| format!("wake={second}")),
        1 => "[a-z0-9:-]{0,12}".prop_map(|text| format!("wake={text}")),
    ];
    prop::collection::vec(word, 1..3)
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (any::<[bool; 4]>(), 1u32..4, 1u32..4, 1u32..6, 1u32..4, 0u64..90).prop_map(
        |([is_remote, checks, breaks, idles], good, bad, opens, half, seconds)| Settings {
            is_remote,
            startup_timeout: Duration::from_secs(seconds),
            idle_ttl: idles.then(|| Duration::from_secs(seconds)),
            health_check: checks.then(|| HealthCheck {
                interval: Duration::from_secs(30),
                timeout: Duration::from_secs(5),
                failure_threshold: bad,
                success_threshold: good,
            }),
            breaker: Breaker {
                is_enabled: breaks,
                failure_threshold: opens,
                success_threshold: good,
                reset_timeout: Duration::from_secs(seconds),
                half_open_requests: half,
            },
        },
    )
}

proptest! {
    #[test]
    fn no_sequence_leaves_the_diagram(
        steps in prop::collection::vec((observation(), -5i64..60), 1..80),
        settings in any_settings(),
    ) {
        let (mut state, mut world, mut second) = (State::new(at(0)), World::default(), 0);
        for (words, wait) in steps {
            words.iter().for_each(|word| world.change(word));
            second += wait;
            let (next, effects) = world.step(&state, at(second), &settings);
            prop_assert!(NODES.contains(&next.node));
            match effects.transition {
                // One event for a transition at most, and none without one.
                None => prop_assert_eq!((next.node, next.since), (state.node, state.since)),
                Some(row) => {
                    prop_assert!(row.from.contains(&state.node) && row.to == next.node && state.node != next.node);
                    prop_assert!(!row.is_silent || state.node.state() == next.node.state());
                }
            }
            prop_assert!(settings.breaker.is_enabled || next.node != Node::CircuitOpen);
            prop_assert!(!settings.is_remote || !next.is_asleep);
            prop_assert!(effects.again_at.is_none_or(|again| again >= at(second)));
            match next.node {
                Node::Cold => prop_assert!(effects.replicas == Some(0) && effects.probe_every.is_none()),
                Node::InvalidSpec => prop_assert!(effects.replicas.is_none()),
                _ => prop_assert!(effects.replicas >= Some(1)),
            }
            // The same again is nothing new: a status storm cannot start here.
            let (settled, quiet) = world.step(&next, at(second), &settings);
            prop_assert!(quiet.refused.is_empty());
            prop_assert!(effects.transition.is_some() || quiet.transition.is_none());
            prop_assert!(effects.transition.is_some() || settled == next);
            state = next;
        }
    }
}

#[test]
fn times_that_would_flood_a_server_count_as_a_second() {
    let settings =
        settings("{mode: Remote, healthCheck: {interval: 1ns}, circuitBreaker: {resetTimeout: 1ms}}");
    let check = settings.health_check.unwrap();
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!(settings.breaker.reset_timeout, Duration::from_secs(1));
}
