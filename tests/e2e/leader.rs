//! Who leads when a leader is killed, told to end, or stopped for longer than its Lease lasts; and that webhooks never
//! ask. Terms are those of a user's cluster, so that the figures are his.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::eventually;
use crate::figures::figure;
use crate::fleet::Fleet;
use crate::handshakes::Handshakes;

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/mcp-system/leases/mcp-hangar-operator";
/// The defaults, where the fleet has shorter ones; and a drain like that of a pod.
const FLAGS: [&str; 8] = [
    "--leader-elect-lease-duration=15s",
    "--leader-elect-renew-deadline=10s",
    "--leader-elect-retry-period=2s",
    "--drain-minimum=6s",
    "--drain-quiet=1s",
    "--drain-maximum=10s",
    "--log-level=info",
    "--webhook-addr=127.0.0.1:0",
];
/// A leader that is gone is followed after this: its Lease, one more look at it, and a busy machine.
const EXPIRES: Duration = Duration::from_millis(15_000 + 2_400 + 2_000);
/// One that gives up its Lease: one look.
const RELEASES: Duration = Duration::from_millis(2_400 + 600);

fn lease(fleet: &Fleet) -> Value {
    fleet.cluster.api.get(LEASE).ok()["spec"].clone()
}

/// Waits until the replica leads, and how long that took since.
fn follows(fleet: &Fleet, index: usize, since: Instant, limit: Duration) -> Duration {
    eventually("the other one leads", limit, || fleet.replicas[index].leads().then(|| since.elapsed()))
}

/// Fails and shows the logs.
fn explained(fleet: &Fleet, work: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        fleet.explain();
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_leader_that_is_killed_told_to_end_or_stopped_is_followed_in_time_and_webhooks_answer_all_along() {
    let mut fleet = Fleet::start("leader", 2, &FLAGS);
    let calls = Handshakes::start(&fleet.cluster, fleet.replicas.iter().map(|r| r.address).collect());
    let transitions = lease(&fleet)["leaseTransitions"].as_i64().unwrap();

    // Killed. Nobody calls it any more: what becomes of calls to a process that is killed is another matter.
    let leader = fleet.leader();
    calls.call(vec![fleet.replicas[1 - leader].address]);
    let began = Instant::now();
    fleet.kill(leader);
    let took = follows(&fleet, 0, began, EXPIRES);
    figure("leader", format!("killed: the other leads after {:.1} s (at most 17.4 s)", took.as_secs_f64()));
    assert_eq!(lease(&fleet)["leaseTransitions"], transitions + 1);

    // Told to end. Its webhooks go on while it drains.
    fleet.add(&FLAGS);
    calls.call(fleet.replicas.iter().map(|r| r.address).collect());
    assert!(fleet.replicas[0].leads());
    let began = Instant::now();
    fleet.replicas[0].operator.terminate();
    let took = follows(&fleet, 1, began, RELEASES);
    assert!(fleet.replicas[0].operator.is_running(), "it drains and answers");
    assert!(!fleet.replicas[0].leads());
    figure(
        "leader",
        format!("told to end: the other leads after {:.1} s (at most 2.4 s)", took.as_secs_f64()),
    );
    calls.goes_on();
    fleet.detach(0);
    calls.call(vec![fleet.replicas[1].address]);
    assert_eq!(fleet.replicas[0].operator.ended().code(), Some(0));
    fleet.kill(0);
    assert_eq!(lease(&fleet)["leaseTransitions"], transitions + 2);

    // Stopped for longer than its Lease, and then let go on.
    fleet.add(&FLAGS);
    fleet.detach(0);
    explained(&fleet, || stopped(&fleet, &calls));
    assert_eq!(lease(&fleet)["leaseTransitions"], transitions + 3);

    let count = calls.end();
    figure("leader", format!("webhooks of both replicas all the while: {count}"));
    count.none_failed();
}

fn stopped(fleet: &Fleet, calls: &Handshakes) {
    let [old, new] = [&fleet.replicas[0], &fleet.replicas[1]];
    calls.call(vec![new.address]);
    assert!(old.leads());
    let began = Instant::now();
    old.operator.signal("STOP");
    let took = follows(fleet, 1, began, EXPIRES);
    let holder = lease(fleet)["holderIdentity"].clone();
    // Here time itself is tested: the leader's work has long been over when it wakes.
    std::thread::sleep(Duration::from_secs(2));
    let before = lease(fleet);
    let woken = Instant::now();
    old.operator.signal("CONT");
    eventually("the old leader knows", Duration::from_secs(2), || (!old.leads()).then_some(()));
    let knows = woken.elapsed();
    assert!(new.leads());
    calls.call(vec![old.address, new.address]);
    // It has tried to write by now, in vain.
    old.operator.said("follows");
    let after = eventually("the new leader renews", Duration::from_secs(5), || {
        Some(lease(fleet)).filter(|lease| lease["renewTime"] != before["renewTime"])
    });
    assert_eq!(after["holderIdentity"], holder);
    assert_eq!(after["acquireTime"], before["acquireTime"]);
    assert!(new.leads() && !old.leads());
    figure(
        "leader",
        format!(
            "stopped: the other leads after {:.1} s; let go on, the old one is no leader after {} ms, and one leads",
            took.as_secs_f64(),
            knows.as_millis()
        ),
    );
}

#[test]
fn a_lease_that_is_deleted_or_filled_with_rubbish_by_hand_never_makes_two_leaders() {
    let fleet = Fleet::start("rubbish", 2, &[]);
    explained(&fleet, || {
        let leaders = || fleet.replicas.iter().filter(|replica| replica.leads()).count();
        let one = || eventually("one leads", Duration::from_secs(20), || (leaders() == 1).then_some(()));
        let mut looks = 0;
        for (what, rubbish) in [
            ("deleted", None),
            ("wiped", Some(json!({"spec": null}))),
            ("given to nobody", Some(json!({"spec": {"holderIdentity": ""}}))),
            ("given to a stranger", Some(json!({"spec": {"holderIdentity": "stranger"}}))),
            (
                "given to a stranger for ever",
                Some(json!({"spec": {"holderIdentity": "x", "leaseDurationSeconds": i32::MAX}})),
            ),
            (
                "from the future",
                Some(json!({"spec": {"renewTime": "2999-01-01T00:00:00.000000Z", "holderIdentity": "y"}})),
            ),
            ("labelled", Some(json!({"metadata": {"labels": {"team": "x"}}}))),
        ] {
            one();
            match &rubbish {
                None => fleet.cluster.api.delete(LEASE).ok(),
                Some(patch) => fleet.cluster.api.merge_patch(LEASE, patch).ok(),
            };
            // Twice the lease of this fleet: whoever may lead leads by then.
            let until = Instant::now() + Duration::from_secs(7);
            while Instant::now() < until {
                assert!(leaders() <= 1, "two lead after it was {what}");
                looks += 1;
            }
            one();
            let holder = lease(&fleet)["holderIdentity"].as_str().unwrap_or_default().to_owned();
            assert!(holder.contains('_'), "{what}: {holder}");
        }
        assert_eq!(fleet.cluster.api.get(LEASE).ok()["metadata"]["labels"]["team"], "x");
        figure(
            "leader",
            format!(
                "Lease deleted, wiped or filled by hand in 7 ways: {looks} looks, never two leaders, one again each time"
            ),
        );
    });
}

#[test]
fn the_election_is_told_in_events_and_metrics_and_readiness_never_asks() {
    let fleet = Fleet::start("election", 2, &[]);
    explained(&fleet, || {
        let leader = fleet.leader();
        let said = fleet.replicas[leader].operator.said("became leader");
        let identity = said["identity"].as_str().unwrap();
        assert_eq!(lease(&fleet)["holderIdentity"], identity);
        let other = &fleet.replicas[1 - leader];
        assert_eq!(other.operator.said("follows")["leader"], identity);
        let turned = "mcp_operator_leader_transitions_total{to=\"leader\"}";
        assert!(fleet.replicas[leader].metric(turned) >= Some(1.0));
        assert!(fleet.replicas.iter().all(crate::fleet::Replica::is_ready));
        let told = eventually("an Event", Duration::from_secs(10), || {
            let events = fleet.cluster.kubectl(&["get", "events", "-n", "mcp-system", "--no-headers"], "");
            events.stdout.lines().find(|line| line.contains("LeaderElection")).map(str::to_owned)
        });
        assert!(told.contains("lease/mcp-hangar-operator") && told.contains("became leader"), "{told}");
    });
}

#[test]
fn a_leader_whose_api_server_is_away_stops_and_leads_again_when_it_is_back() {
    let fleet = Fleet::start("away", 2, &[]);
    explained(&fleet, || {
        let leader = fleet.leader();
        let began = Instant::now();
        fleet.cluster.crash_api_server();
        eventually("nobody leads", Duration::from_secs(10), || {
            (!fleet.replicas.iter().any(crate::fleet::Replica::leads)).then_some(())
        });
        let stopped = began.elapsed();
        assert!(fleet.replicas.iter().all(crate::fleet::Replica::is_ready), "readiness does not ask");
        fleet.cluster.start_api_server();
        let began = Instant::now();
        fleet.leader();
        let took = began.elapsed();
        let words = "API server killed, terms of 3 s";
        figure(
            "leader",
            format!(
                "{words}: no leader after {:.1} s, one again {:.1} s after it is back",
                stopped.as_secs_f64(),
                took.as_secs_f64()
            ),
        );
        let lines = fleet.replicas[leader].operator.lines();
        assert!(lines.iter().any(|line| line["message"] == "stopped leading"));
    });
}
