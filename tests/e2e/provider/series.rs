//! What metrics say of providers: the same as their status at every step, and nothing of those that are gone.

use serde_json::json;

use super::*;
use crate::fleet::{Fleet, LONG};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/mcp-system/leases/mcp-hangar-operator";
/// The status and its gauge may differ for as long as the answer to a write travels, on a busy machine.
const TRAVELS: Duration = Duration::from_millis(500);

/// The states for which the gauge of a provider is 1: one, or none where there are no series.
fn shown(metrics: &Metrics, namespace: &str, name: &str) -> Option<String> {
    let start = format!(r#"mcp_operator_provider_state{{name="{name}",namespace="{namespace}",state=""#);
    let text = metrics.text();
    let all: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once("\"} ")).collect();
    let ones: Vec<_> = all.iter().filter(|(_, value)| *value == "1").map(|(state, _)| *state).collect();
    assert!(all.is_empty() || (all.len() == 5 && ones.len() == 1), "{all:?}");
    ones.first().map(|state| (*state).to_owned())
}

/// The states that something was in, in order.
#[derive(Default)]
struct Course(Vec<String>);

impl Course {
    fn add(&mut self, state: Option<String>) {
        if let Some(state) = state.filter(|state| self.0.last() != Some(state)) {
            self.0.push(state);
        }
    }
}

/// Looks at status and gauge until told to stop, and once more: both courses, and the longest time for which they differed.
fn follow(site: &Site, object: &Value, stop: &AtomicBool) -> (Course, Course, Duration) {
    let (namespace, name) = (&object["metadata"]["namespace"], &object["metadata"]["name"]);
    let (namespace, name) = (namespace.as_str().unwrap(), name.as_str().unwrap());
    let metrics = Metrics::of(&site.operator);
    let read = || site.api.read(object)["status"]["state"].as_str().map(str::to_owned);
    let (mut statuses, mut gauges, mut longest) = (Course::default(), Course::default(), Duration::ZERO);
    let mut agreed = Instant::now();
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        let before = read();
        let gauge = shown(&metrics, namespace, name);
        let after = read();
        if before != after || gauge == before {
            agreed = Instant::now();
        }
        longest = longest.max(agreed.elapsed());
        gauges.add(gauge);
        statuses.add(before);
        statuses.add(after);
        if is_last {
            return (statuses, gauges, longest);
        }
    }
}

#[test]
fn the_gauge_of_a_provider_is_its_status_at_every_step_of_a_life() {
    let mut site = borrow_one();
    replace(&mut site, &[]);
    let namespace = site.cluster.namespace("provider-gauge");
    let server = Server::start();
    // Each state lasts until the test goes on.
    server.fails(true);
    let weather = provider(namespace, "weather", &remote(&server.fake.url()));
    site.api.create(&weather).ok();
    let stop = AtomicBool::new(false);
    let (statuses, gauges, longest) = std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&site, &weather, &stop));
        let reaches = |wish: &str| {
            state(&site, &weather, wish);
            // Long enough to be seen by whoever follows.
            let metrics = Metrics::of(&site.operator);
            eventually("the gauge says it", SOON, || {
                (shown(&metrics, namespace, "weather").as_deref() == Some(wish)).then_some(())
            });
        };
        let patch = |spec: &Value| {
            site.api.merge_patch(&crate::api::path(&weather), &json!({"spec": spec})).ok();
        };
        reaches("Initializing");
        server.fails(false);
        reaches("Ready");
        server.fails(true);
        reaches("Degraded");
        reaches("Dead");
        server.fails(false);
        reaches("Ready");
        patch(&json!({"replicas": 0}));
        reaches("Cold");
        server.fails(true);
        patch(&json!({"replicas": 1, "lifecycle": {"startupTimeout": "2s"}}));
        reaches("Initializing");
        reaches("Dead");
        stop.store(true, Ordering::Relaxed);
        follower.join().unwrap()
    });
    let expected = ["Initializing", "Ready", "Degraded", "Dead", "Ready", "Cold", "Initializing", "Dead"];
    assert_eq!(statuses.0, expected);
    assert_eq!(gauges.0, expected);
    assert!(longest < TRAVELS, "{longest:?}");
    figure("provider", format!("status and gauge through 8 states: they differed for {longest:?} at most"));

    site.api.delete(&crate::api::path(&weather)).ok();
    let metrics = Metrics::of(&site.operator);
    eventually("no series has its name", SOON, || (!metrics.text().contains("weather")).then_some(()));
    put_back(&mut site);
}

#[test]
fn only_the_leader_shows_providers_and_never_one_that_went_away_while_it_did_not_lead() {
    let mut fleet = Fleet::start("provider-series", 2, &[]);
    let namespace = fleet.cluster.namespace("provider-series");
    let server = Server::start();
    let named = |name: &str| provider(namespace, name, &remote(&server.fake.url()));
    let [stays, first, second] = ["stays", "first", "second"].map(named);
    for object in [&stays, &first, &second] {
        fleet.cluster.api.create(object).ok();
        state(&fleet.cluster, object, "Ready");
    }
    let shows = |fleet: &Fleet, index: usize, names: &[&str]| {
        let text = Metrics::of(&fleet.replicas[index].operator).text();
        let all = ["stays", "first", "second"];
        text.contains("mcp_operator_build_info")
            && all.iter().all(|name| text.contains(&format!("name=\"{name}\"")) == names.contains(name))
    };
    // Whoever that is: terms are short, and machines may be busy.
    let leader_shows = |fleet: &Fleet, names: &[&str]| {
        eventually(&format!("the leader shows {names:?}, and nobody else any"), LONG, || {
            let leader = fleet.leader();
            let mut others = (0..fleet.replicas.len()).filter(|index| *index != leader);
            (shows(fleet, leader, names) && others.all(|index| shows(fleet, index, &[]))).then_some(())
        });
    };
    leader_shows(&fleet, &["stays", "first", "second"]);

    // It is robbed of the Lease, and what goes away meanwhile it never sees.
    let stranger = json!({"spec": {"holderIdentity": "stranger", "leaseDurationSeconds": 6,
        "renewTime": "2999-01-01T00:00:00.000000Z"}});
    fleet.cluster.api.merge_patch(LEASE, &stranger).ok();
    eventually("nobody shows any", LONG, || (shows(&fleet, 0, &[]) && shows(&fleet, 1, &[])).then_some(()));
    fleet.cluster.api.delete(&crate::api::path(&first)).ok();
    leader_shows(&fleet, &["stays", "second"]);

    fleet.kill(fleet.leader());
    fleet.cluster.api.delete(&crate::api::path(&second)).ok();
    leader_shows(&fleet, &["stays"]);
}
