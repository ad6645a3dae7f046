//! Certificates change and no call fails: whole rotations under load, with the leader killed between any two steps; a CA
//! Secret that is lost or spoilt in each phase; a serving certificate that expires.
//!
//! Times are short here, by flags that exist for this. Each test prints a line that begins with `statement`, with what was
//! done and what failed. Calls are never sent to a replica that is about to be killed: what is tested is that nobody
//! depends on it, not that a dead process answers.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::bundles::{TARGETS, bundles};
use crate::cluster::eventually;
use crate::fleet::{Fleet, LONG};
use crate::handshakes::{Handshakes, connect};
use crate::load::Load;
use crate::webhook::{SECRET, authority};

/// A lost or spoilt Secret is right again after this.
const HEALS: Duration = Duration::from_secs(10);

/// A rotation of half a minute: trusted for 4 s before it signs, and the old CA for 12 s after.
const QUICK: [&str; 3] =
    ["--ca-rotation-publish-for=4s", "--leaf-lifetime=6s", "--ca-rotation-retire-grace=6s"];

/// One that leaves time for two leaders to be stopped and for others to take their places.
const SLOWER: [&str; 3] =
    ["--ca-rotation-publish-for=15s", "--leaf-lifetime=6s", "--ca-rotation-retire-grace=14s"];

/// Runs a test; when it fails, with the end of each replica's log.
fn explained(fleet: &mut Fleet, test: impl FnOnce(&mut Fleet)) {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(fleet)));
    if let Err(panic) = result {
        fleet.explain();
        std::panic::resume_unwind(panic);
    }
}

/// All targets trust the CA that signs, and nobody else.
fn is_settled(fleet: &Fleet) -> Option<()> {
    let ca = authority(&fleet.cluster.api);
    (bundles(&fleet.cluster) == vec![ca; TARGETS.len()]).then_some(())
}

fn addresses(fleet: &Fleet) -> Vec<std::net::SocketAddr> {
    fleet.replicas.iter().map(|replica| replica.address).collect()
}

#[test]
fn a_rotation_under_a_hundred_new_connections_a_second_fails_no_call() {
    let mut fleet = Fleet::start("rotation", 2, &QUICK);
    explained(&mut fleet, |fleet| {
        let before = authority(&fleet.cluster.api);
        eventually("all is well before it begins", LONG, || is_settled(fleet));
        let calls = Handshakes::start(&fleet.cluster, addresses(fleet));
        let load = Load::start(&fleet.cluster.folder.join("kubeconfig"), 2);
        // Whoever missed the whole publication trusts only this, and must get along until the old CA retires.
        calls.also_trust(Some(before.clone()));
        let began = Instant::now();
        fleet.ask();
        fleet.reaches("Publishing");
        assert_eq!(fleet.secret()["ca.crt"], json!(before), "the old CA signs on");
        fleet.reaches("Switched");
        assert_ne!(authority(&fleet.cluster.api), before);
        load.goes_on();
        let switched = Instant::now();
        eventually("the old CA has half of its time", LONG, || {
            (switched.elapsed() > Duration::from_secs(6)).then_some(())
        });
        calls.also_trust(None);
        fleet.reaches("Stable");
        eventually("the old CA is gone from all targets", LONG, || is_settled(fleet));
        calls.goes_on();
        load.goes_on();
        let (through, count) = (load.end(), calls.end());
        println!(
            "statement 2: a rotation in {:.1} s: {count}; {through} more through the API server, 0 failed",
            began.elapsed().as_secs_f64()
        );
        count.none_failed();
        assert!(
            fleet.cluster.api.get(SECRET).body["metadata"]["annotations"]["mcp-hangar.io/rotate"].is_null()
        );
    });
}

/// Kills the leader and puts another replica in its place; calls go to the others meanwhile.
struct Killer<'a> {
    fleet: &'a mut Fleet,
    calls: &'a Handshakes,
    leader: usize,
    kills: usize,
    /// Flags of whoever takes the place of the dead.
    flags: &'a [&'a str],
}

impl<'a> Killer<'a> {
    /// From now on nobody calls the leader.
    fn aim(&mut self) {
        self.leader = self.fleet.leader();
        let leader = self.fleet.replicas[self.leader].address;
        self.calls.call(addresses(self.fleet).into_iter().filter(|address| *address != leader).collect());
    }

    fn shoot(&mut self) {
        self.fleet.kill(self.leader);
        self.kills += 1;
        self.fleet.add(self.flags);
        self.aim();
    }

    /// Replaces leaders until one with these flags has brought the phase about. Those before it would wait for an hour,
    /// so that no step is made before the test is ready for it, however slow the machine.
    fn hurry(&mut self, phase: &str, flags: &'a [&'a str]) {
        self.flags = flags;
        let patient: Vec<String> = self.fleet.replicas.iter().map(|replica| replica.name.clone()).collect();
        let deadline = Instant::now() + LONG * 3;
        loop {
            assert!(Instant::now() < deadline, "{phase} does not come");
            self.aim();
            if patient.contains(&self.fleet.replicas[self.leader].name) {
                self.shoot();
                continue;
            }
            let look_again = Instant::now() + Duration::from_secs(10);
            while Instant::now() < look_again {
                if self.fleet.phase() == phase {
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

#[test]
fn a_leader_that_is_killed_between_any_two_steps_of_a_rotation_fails_no_call() {
    let leaf = "--leaf-lifetime=6s";
    let patient = ["--ca-rotation-publish-for=1h", leaf, "--ca-rotation-retire-grace=1h"];
    let switches = ["--ca-rotation-publish-for=1s", leaf, "--ca-rotation-retire-grace=1h"];
    let retires = ["--ca-rotation-publish-for=1s", leaf, "--ca-rotation-retire-grace=1s"];
    let mut fleet = Fleet::start("killed", 3, &patient);
    explained(&mut fleet, |fleet| {
        eventually("all is well before it begins", LONG, || is_settled(fleet));
        let before = authority(&fleet.cluster.api);
        let calls = Handshakes::start(&fleet.cluster, addresses(fleet));
        let began = Instant::now();
        let mut killer = Killer { fleet, calls: &calls, leader: 0, kills: 0, flags: &patient };
        killer.aim();
        // Asked, and perhaps not begun.
        killer.fleet.ask();
        killer.shoot();
        // Written, and perhaps not published.
        killer.fleet.reaches("Publishing");
        killer.shoot();
        // Published, and not switched.
        let next = killer.fleet.secret()["next.crt"].as_str().unwrap().to_owned();
        eventually("all targets trust the next CA", LONG, || {
            bundles(&killer.fleet.cluster).iter().all(|bundle| bundle.contains(&next)).then_some(())
        });
        killer.shoot();
        assert_eq!(killer.fleet.phase(), "Publishing");
        // Written, and perhaps not signing.
        killer.hurry("Switched", &switches);
        killer.shoot();
        // Signing, and the old one not retired.
        killer.shoot();
        assert_eq!(killer.fleet.phase(), "Switched");
        // Retired, and perhaps still in the bundles.
        killer.hurry("Stable", &retires);
        killer.shoot();
        eventually("the old CA is gone from all targets", LONG, || is_settled(killer.fleet));
        let kills = killer.kills;
        assert_ne!(authority(&fleet.cluster.api), before);
        calls.call(addresses(fleet));
        let count = calls.end();
        println!(
            "statement 2: a rotation in {:.1} s with the leader killed {kills} times: {count}",
            began.elapsed().as_secs_f64()
        );
        count.none_failed();
        assert!(kills >= 6, "{kills}");
    });
}

#[test]
fn a_leader_that_is_stopped_past_its_lease_and_goes_on_disturbs_no_rotation() {
    let mut fleet = Fleet::start("frozen", 3, &SLOWER);
    explained(&mut fleet, |fleet| {
        eventually("all is well before it begins", LONG, || is_settled(fleet));
        let before = authority(&fleet.cluster.api);
        let calls = Handshakes::start(&fleet.cluster, addresses(fleet));
        let first = fleet.leader();
        let others = |fleet: &Fleet, frozen: usize| {
            let all = addresses(fleet).into_iter().enumerate();
            all.filter(|(index, _)| *index != frozen).map(|(_, address)| address).collect::<Vec<_>>()
        };
        calls.call(others(fleet, first));
        // It has decided to begin, or is about to.
        fleet.ask();
        fleet.replicas[first].operator.signal("STOP");
        fleet.reaches("Publishing");
        let all = others(fleet, first);
        eventually("another leads", LONG, || (fleet.leads_among(&all)).then_some(()));
        fleet.replicas[first].operator.signal("CONT");
        fleet.reaches("Switched");
        calls.call(addresses(fleet));
        let second = fleet.leader();
        calls.call(others(fleet, second));
        fleet.replicas[second].operator.signal("STOP");
        fleet.reaches("Stable");
        eventually("the old CA is gone from all targets", LONG, || is_settled(fleet));
        fleet.replicas[second].operator.signal("CONT");
        calls.call(addresses(fleet));
        calls.goes_on();
        let count = calls.end();
        assert_ne!(authority(&fleet.cluster.api), before);
        println!("statement 2: a rotation with the leader stopped past its lease twice: {count}");
        count.none_failed();
        eventually("nobody has brought the old CA back", LONG, || is_settled(fleet));
    });
}

/// What a person or a broken tool does to the Secret, and the patch for it.
fn spoiled(phase: &str, data: &Value) -> Vec<(&'static str, Option<Value>)> {
    let encode = |text: &str| STANDARD.encode(text);
    let garbage = encode("garbage \u{0}");
    let of = |key: &str| encode(data[key].as_str().unwrap());
    let foreign =
        mcp_hangar_webhooks::tls::Authority::generate("foreign", std::time::SystemTime::now()).unwrap();
    let all: Vec<&String> = data.as_object().unwrap().keys().collect();
    let each =
        |value: Value| Some(Value::Object(all.iter().map(|key| ((*key).clone(), value.clone())).collect()));
    let mut cases = vec![
        ("deleted", None),
        ("emptied", each(json!(""))),
        ("robbed of its keys", each(Value::Null)),
        ("filled with rubbish", each(json!(garbage))),
        ("given a key that is none", Some(json!({"ca.key": garbage}))),
        ("given the key of another CA", Some(json!({"ca.key": encode(&foreign.key_pem())}))),
        ("robbed of its phase", Some(json!({"rotation.json": garbage}))),
    ];
    match phase {
        "Publishing" => cases.extend([
            ("mixed up: keys swapped", Some(json!({"ca.key": of("next.key"), "next.key": of("ca.key")}))),
            (
                "mixed up: CAs swapped",
                Some(json!({"ca.key": of("next.key"), "next.key": of("ca.key"), "ca.crt": of("next.crt"), "next.crt": of("ca.crt")})),
            ),
            ("given a next key that is none", Some(json!({"next.key": garbage}))),
        ]),
        "Switched" => cases.extend([
            ("mixed up: certificates swapped", Some(json!({"ca.crt": of("previous.crt"), "previous.crt": of("ca.crt")}))),
            ("robbed of its cross certificate", Some(json!({"cross.crt": null}))),
            ("given a foreign certificate to trust", Some(json!({"previous.crt": encode(&foreign.certificate_pem())}))),
        ]),
        _ => {}
    }
    cases
}

/// Without the revision and times, which a repair may change.
fn what_matters(data: &Value) -> Value {
    let mut data = data.clone();
    let head: Value =
        serde_json::from_str(data["rotation.json"].as_str().unwrap_or_default()).unwrap_or_default();
    data["rotation.json"] = head["phase"].clone();
    data
}

fn survives_everything(fleet: &Fleet, phase: &str) -> (usize, Duration) {
    fleet.reaches(phase);
    let good = what_matters(&fleet.secret());
    let (mut count, mut worst) = (0, Duration::ZERO);
    for (what, patch) in spoiled(phase, &fleet.secret()) {
        match patch {
            None => fleet.cluster.api.delete(SECRET).ok(),
            Some(patch) => fleet.cluster.api.merge_patch(SECRET, &json!({"data": patch})).ok(),
        };
        let began = Instant::now();
        eventually(&format!("the Secret is right again after it was {what} in {phase}"), HEALS, || {
            (what_matters(&fleet.secret()) == good).then_some(())
        });
        worst = worst.max(began.elapsed());
        count += 1;
    }
    (count, worst)
}

#[test]
fn a_secret_that_is_lost_or_spoilt_in_any_phase_is_restored_and_fails_no_handshake() {
    // The old CA stays for a week, so that Switched lasts as well.
    let mut fleet = Fleet::start("spoilt", 2, &["--ca-rotation-publish-for=1h"]);
    explained(&mut fleet, |fleet| {
        eventually("all is well before it begins", LONG, || is_settled(fleet));
        let calls = Handshakes::start(&fleet.cluster, addresses(fleet));
        let (mut count, mut worst) = (0, Duration::ZERO);
        let mut add =
            |(more, slowest): (usize, Duration)| (count, worst) = (count + more, worst.max(slowest));
        add(survives_everything(fleet, "Stable"));
        fleet.ask();
        add(survives_everything(fleet, "Publishing"));
        // Replicas with less patience take their places, one by one, so that the Secret's phase moves on.
        for _ in 0..2 {
            fleet.add(&["--ca-rotation-publish-for=1s"]);
            calls.call(addresses(fleet)[1..].to_vec());
            fleet.kill(0);
        }
        add(survives_everything(fleet, "Switched"));
        calls.goes_on();
        let handshakes = calls.end();
        println!(
            "statement 3: {count} ways to lose or spoil the Secret in three phases: restored within {:.1} s; {handshakes}",
            worst.as_secs_f64()
        );
        handshakes.none_failed();
        assert!(count >= 25, "{count}");
    });
}

#[test]
fn another_ca_that_somebody_puts_into_the_secret_is_taken_over_without_a_failed_call() {
    let mut fleet = Fleet::start("taken-over", 2, &["--ca-rotation-publish-for=1h"]);
    explained(&mut fleet, |fleet| {
        eventually("all is well before it begins", LONG, || is_settled(fleet));
        let calls = Handshakes::start(&fleet.cluster, addresses(fleet));
        let theirs =
            mcp_hangar_webhooks::tls::Authority::generate("theirs", std::time::SystemTime::now()).unwrap();
        let data = json!({"ca.crt": STANDARD.encode(theirs.certificate_pem()), "ca.key": STANDARD.encode(theirs.key_pem())});
        fleet.cluster.api.merge_patch(SECRET, &json!({"data": data})).ok();
        fleet.reaches("Switched");
        assert_eq!(authority(&fleet.cluster.api), theirs.certificate_pem());
        eventually("all targets trust both", LONG, || {
            let good = |bundle: &String| {
                bundle.contains(&theirs.certificate_pem()) && bundle.matches("BEGIN").count() == 2
            };
            bundles(&fleet.cluster).iter().all(good).then_some(())
        });
        calls.goes_on();
        let count = calls.end();
        println!("statement 3: a CA replaced by hand: {count}");
        count.none_failed();
    });
}

#[test]
fn a_ca_that_nears_its_end_is_rotated_without_being_asked() {
    let times = [
        "--ca-lifetime=60s",
        "--ca-rotation-before=50s",
        "--ca-rotation-publish-for=1s",
        "--leaf-lifetime=3s",
        "--ca-rotation-retire-grace=1s",
    ];
    let mut fleet = Fleet::start("aged", 1, &times);
    explained(&mut fleet, |fleet| {
        let before = authority(&fleet.cluster.api);
        let calls = Handshakes::start(&fleet.cluster, addresses(fleet));
        eventually("another CA signs and the first is gone", LONG, || {
            (fleet.phase() == "Stable" && authority(&fleet.cluster.api) != before)
                .then(|| is_settled(fleet))
                .flatten()
        });
        let count = calls.end();
        println!("statement 2: a CA rotated for its age: {count}");
        count.none_failed();
    });
}

#[test]
fn an_operator_that_was_stopped_past_the_end_of_its_certificate_presents_a_valid_one_at_the_next_handshake() {
    let mut fleet = Fleet::start("expired", 1, &["--leaf-lifetime=2s"]);
    explained(&mut fleet, |fleet| {
        let (ca, address) = (authority(&fleet.cluster.api), fleet.replicas[0].address);
        let leaf = |what: &str| {
            let stream = connect(address, &ca).unwrap_or_else(|error| panic!("{what}: {error}"));
            stream.conn.peer_certificates().unwrap()[0].to_vec()
        };
        let mut seen = vec![leaf("before")];
        let rounds = 5;
        for _ in 0..rounds {
            fleet.replicas[0].operator.signal("STOP");
            // Time itself is what is tested.
            std::thread::sleep(Duration::from_secs(4));
            std::thread::scope(|scope| {
                // It waits in the queue of the socket, and is the first thing to be answered.
                let waiting = scope.spawn(|| leaf("after"));
                std::thread::sleep(Duration::from_millis(100));
                fleet.replicas[0].operator.signal("CONT");
                seen.push(waiting.join().unwrap());
            });
        }
        let known = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), known, "a certificate outlived its time");
        println!(
            "statement 5: {rounds} times stopped past the end of the certificate: {} handshakes, 0 failed, each with a new one",
            rounds + 1
        );
    });
}
