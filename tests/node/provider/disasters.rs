//! Servers that die or hang, pods that are deleted, and an operator that is killed in the middle of it.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use super::{GO, SOON, Team, condition, leader};
use crate::charts::root;
use crate::cluster::{Site, attended, eventually, run};
use crate::figures::figure;
use crate::release::NAMESPACE;

/// All processes of a pod; none where it does not run.
pub(crate) fn processes(site: &Site, namespace: &str, pod: &str) -> Vec<String> {
    let folder = site.folder.parent().unwrap();
    let words = ["tests/cluster/node/pids.sh", namespace, pod];
    let found = run(Command::new("bash").args(words).current_dir(root()).env("CLUSTER_DIR", folder), "");
    found.stdout.lines().map(str::to_owned).collect()
}

/// Sends them a signal; false where one is gone already.
pub(crate) fn signal(processes: &[String], name: &str) -> bool {
    !processes.is_empty() && run(Command::new("kill").arg(format!("-{name}")).args(processes), "").code == 0
}

#[test]
fn a_server_that_is_killed_or_hangs_is_degraded_and_ready_again() {
    let site = attended();
    let team = Team::new(&site, "provider-killed");
    let quick = json!({"healthCheck": {"interval": "1s", "timeout": "1s", "failureThreshold": 1}, "circuitBreaker": {"failureThreshold": 4, "resetTimeout": "2s", "successThreshold": 1}});
    for name in ["dies", "hangs", "loses"] {
        team.run(name, GO, &[], &quick);
    }
    let pod = |name: &str| team.has_pods(name, 1)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let [dies, hangs, loses] = ["dies", "hangs", "loses"].map(|name| {
        team.state(name, "Ready");
        pod(name)
    });
    let failed = |name: &str| {
        let message = team.says(name, &["POST http://"]);
        assert_eq!(condition(&team.read(name), "Available")["status"], "False");
        message
    };

    // It comes back faster than it is asked at first, and waits when it dies again.
    let began = Instant::now();
    eventually("it is degraded", SOON, || {
        signal(&processes(&site, team.name, &dies), "KILL");
        (team.read("dies")["status"]["state"] == "Degraded").then_some(())
    });
    let noticed = began.elapsed();
    let died = failed("dies");
    let stopped = processes(&site, team.name, &hangs);
    assert!(signal(&stopped, "STOP"));
    let dead = team.state("hangs", "Dead");
    assert_eq!(condition(&dead, "Ready")["reason"], "CircuitOpen");
    let hung = failed("hangs");
    assert!(hung.contains("no answer within 1s"), "{hung}");
    assert!(signal(&stopped, "CONT"));
    team.kubectl(&["delete", "pod", &loses, "--grace-period=0", "--force"]).works();
    let states = ["dies", "hangs", "loses"];
    for name in states {
        team.state(name, "Ready");
        team.has_pods(name, 1);
    }
    assert_eq!(pod("dies"), dies, "the same pod");
    assert_ne!(pod("loses"), loses);
    team.has_events("hangs", &["ProviderReady", "HealthCheckFailing", "CircuitOpen", "CircuitClosed"]);
    figure(
        "killed",
        format_args!(
            "a server that dies: Degraded after {noticed:.1?} and Ready again; one that hangs: Dead, then Ready; a pod that is deleted: Ready again\n  {died}\n  {hung}"
        ),
    );
}

/// Providers that are made while the operator is killed.
const MADE: usize = 6;

#[test]
fn an_operator_that_is_killed_in_the_middle_leaves_nothing_half_done_and_nothing_twice() {
    let site = attended();
    let team = Team::new(&site, "provider-halves");
    let leader = processes(&site, NAMESPACE, &leader(&team).expect("somebody leads"));
    let spec = json!({"mode": "Container", "container": {"image": GO}, "healthCheck": {"interval": "1s", "timeout": "1s"}});
    let began = Instant::now();
    for number in 0..MADE {
        site.api.create(&team.provider(&format!("p{number}"), "v1beta1", &spec)).ok();
    }
    // Some have their objects, some have not.
    eventually("the first Deployment", SOON, || {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", team.name);
        (!site.names(&path).is_empty()).then_some(())
    });
    assert!(signal(&leader, "KILL"));
    let made = site.names(&format!("/apis/apps/v1/namespaces/{}/deployments", team.name)).len();
    // What changes while nobody leads is seen, too.
    site.api.delete(&crate::api::path(&team.provider("p0", "v1beta1", &json!(null)))).ok();
    team.kubectl(&["scale", "mcpp", "p1", "--replicas=2"]).works();
    for number in 1..MADE {
        team.state(&format!("p{number}"), "Ready");
    }
    team.has_pods("p1", 2);
    let took = began.elapsed();
    for number in 1..MADE {
        let name = format!("p{number}");
        let all = team.made(&name);
        let count = |kind: &str| all.iter().filter(|made| made.starts_with(kind)).count();
        let pods = if number == 1 { 2 } else { 1 };
        let found = ["deployment", "replicaset", "pod/", "service/"].map(count);
        assert_eq!(found, [1, 1, pods, 2], "{name}: {all:?}");
        let events = team.events(&name);
        let ready = events.iter().filter(|reason| *reason == "ProviderReady").count();
        assert!(ready <= 1, "{name}: {events:?}");
    }
    eventually("nothing of p0 is left", SOON, || team.made("p0").is_empty().then_some(()));
    site.serves();
    figure(
        "operator killed",
        format_args!(
            "with {made} of {MADE} Deployments made: all Ready {took:.1?} after they were created, one Deployment and two Services each, nothing left of one deleted meanwhile"
        ),
    );
}
