//! Conditions of each state, and what each trouble says.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use mcp_hangar_api::condition::{Condition, ConditionStatus};
use proptest::prelude::*;

use super::super::state::table::NODES;
use super::*;

fn now() -> Timestamp {
    "2026-01-01T00:00:00.5Z".parse().unwrap()
}

fn facts() -> Facts<'static> {
    Facts {
        generation: 7,
        version: Version::V1Beta1,
        endpoint: "http://a.b.svc:8080/mcp",
        is_remote: false,
        is_probed: true,
        tools: Some(2),
        unknown: &[],
        trouble: None,
        probe: None,
        invalid: None,
    }
}

fn at(node: Node) -> State {
    State { node, ..State::new(now()) }
}

fn of<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[test]
fn each_state_has_its_conditions() {
    for (node, ready, reason, others) in [
        (Node::Cold, true, "Idle", vec![]),
        (Node::Initializing, false, "Starting", vec!["Reconciling"]),
        (Node::Ready, true, "ProviderReady", vec!["Available"]),
        (Node::Degraded, false, "HealthCheckFailing", vec!["Degraded"]),
        (Node::CircuitOpen, false, "CircuitOpen", vec![]),
        (Node::HalfOpen, false, "CircuitOpen", vec![]),
        (Node::StartupFailed, false, "StartupFailed", vec![]),
        (Node::InvalidSpec, false, "InvalidSpec", vec!["Stalled"]),
    ] {
        let all = conditions(&at(node), &facts(), &[], now());
        let condition = of(&all, "Ready").unwrap();
        assert_eq!(condition.status == ConditionStatus::True, ready, "{node:?}");
        assert_eq!(condition.reason.as_deref(), Some(reason));
        let true_: Vec<_> = all
            .iter()
            .filter(|it| it.status == ConditionStatus::True && it.type_ != "Ready")
            .map(|it| it.type_.as_str())
            .collect();
        assert_eq!(true_, others, "{node:?}");
    }
}

#[test]
fn what_is_stalled_does_not_look_busy() {
    let taken = Trouble::NameTaken { kind: "Deployment", name: "a".into() };
    let told = Facts { trouble: Some(&taken), ..facts() };
    let all = conditions(&at(Node::Initializing), &told, &[], now());
    assert!(of(&all, "Stalled").is_some() && of(&all, "Reconciling").is_none());
    assert_eq!(of(&all, "Ready").unwrap().reason.as_deref(), Some("NameTaken"));
}

#[test]
fn nothing_changes_where_nothing_changed() {
    let first = conditions(&at(Node::Ready), &facts(), &[], now());
    assert_eq!(first[0].last_transition_time.as_ref().unwrap().0.to_string(), "2026-01-01T00:00:00Z");
    let later = "2026-02-01T00:00:00Z".parse().unwrap();
    assert_eq!(conditions(&at(Node::Ready), &facts(), &first, later), first);
    let degraded = conditions(&at(Node::Degraded), &facts(), &first, later);
    assert_eq!(of(&degraded, "Ready").unwrap().last_transition_time.as_ref().unwrap().0, later);
    let back = conditions(&at(Node::StartupFailed), &facts(), &degraded, now());
    assert_eq!(of(&back, "Ready").unwrap().last_transition_time.as_ref().unwrap().0, later, "still False");
}

proptest! {
    #[test]
    fn there_is_one_of_each_type(nodes in prop::collection::vec(0..NODES.len(), 1..20)) {
        let mut before = Vec::new();
        for node in nodes {
            before = conditions(&at(NODES[node]), &facts(), &before, now());
            let mut types: Vec<_> = before.iter().map(|it| it.type_.clone()).collect();
            types.sort();
            types.dedup();
            prop_assert_eq!(types.len(), before.len());
            prop_assert!(before.iter().all(|it| it.observed_generation == Some(7) && it.reason.is_some()));
            prop_assert!(before.iter().all(|it| !["Reconciling", "Stalled"].contains(&it.type_.as_str())
                || it.status == ConditionStatus::True));
        }
    }
}

fn pod(state: &str) -> Pod {
    let text = format!(
        "metadata: {{name: a-1, namespace: b}}
spec: {{containers: [{{name: mcp, image: r.example/a:1}}]}}
status: {state}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn container(rest: &str) -> Pod {
    pod(&format!(
        "{{containerStatuses: [{{name: mcp, image: x, imageID: x, ready: false, restartCount: 3, {rest}}}]}}"
    ))
}

fn check(deployment: Option<&str>, pods: &[Pod], expected: &str) {
    let deployment = deployment.map(|text| serde_saphyr::from_str(text).unwrap());
    let trouble = diagnose(deployment.as_ref(), pods);
    let said = trouble.map_or(String::new(), |trouble| trouble.message(Version::V1Beta1));
    assert_eq!(said, expected);
}

#[test]
fn says_what_hinders_the_pods_and_what_to_do() {
    let pull =
        "; check spec.container.image, and spec.pod.imagePullSecrets where the registry asks for credentials";
    let logs = "its last lines are in kubectl logs --previous -n b a-1";
    let last = |code: i32, reason: &str| {
        container(&format!(
            "state: {{waiting: {{reason: CrashLoopBackOff, message: back-off 20s}}}}, \
             lastState: {{terminated: {{exitCode: {code}, reason: {reason}, message: secret}}}}"
        ))
    };
    let failure = |message: &str| {
        format!(
            "conditions: [{{type: ReplicaFailure, status: 'True', reason: FailedCreate, message: '{message}'}}]"
        )
    };
    for (deployment, pods, expected) in [
        (None, vec![], String::new()),
        (None, vec![container("state: {waiting: {reason: ContainerCreating}}")], String::new()),
        (None, vec![container("state: {waiting: {reason: ErrImagePull, message: 'dial tcp 10.0.0.1:3456->10.0.0.2:53: not found'}}")],
         format!("image r.example/a:1 cannot be pulled: dial tcp 10.0.0.1->10.0.0.2:53: not found{pull}")),
        (None, vec![container("state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image \"r.example/a:1\": ErrImagePull: no such host'}}")],
         format!("image r.example/a:1 cannot be pulled: no such host{pull}")),
        (None, vec![container("state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image \"r.example/a:1\"'}}")],
         format!("image r.example/a:1 cannot be pulled, the kubelet does not say why{pull}")),
        (None, vec![container("state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"s\" not found'}}")],
         "the container cannot be created: secret \"s\" not found; create what is missing, it is picked up by itself".into()),
        (None, vec![last(1, "Error")], format!("the container ended with code 1 (Error): {logs}")),
        (None, vec![last(137, "OOMKilled")], format!("the container ended with code 137 (OOMKilled): {logs}; raise the memory limit in spec.container.resources")),
        (None, vec![last(127, "Error")], format!("the container ended with code 127 (Error): {logs}; check that spec.container.command is in the image and may be run")),
        (None, vec![last(0, "Completed")], format!("the container ended with code 0 (Completed): {logs}; a server must keep running and speak HTTP: one that speaks only stdio needs a bridge in its image")),
        (None, vec![container("state: {waiting: {reason: RunContainerError, message: x}}")],
         format!("the container ended with code 128 (ContainerCannotRun): {logs}; check that spec.container.command is in the image and may be run")),
        (None, vec![container("state: {running: {}}")],
         "pod a-1 runs and its port is closed: the server must listen on the address 0.0.0.0 and the port in PORT; another port is told with spec.container.port".into()),
        (None, vec![pod("{conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: '0/3 nodes are available'}]}")],
         "no node takes the pod: 0/3 nodes are available; look at spec.container.resources, spec.pod.nodeSelector, spec.pod.tolerations and spec.pod.affinity".into()),
        (Some(failure("pods \"a-1\" is forbidden: exceeded quota: q")), vec![],
         "no pod may be created: pods \"a-1\" is forbidden: exceeded quota: q; raise the ResourceQuota, or lower spec.container.resources or spec.replicas".into()),
        (Some(failure("violates PodSecurity \"restricted\"")), vec![],
         "no pod may be created: violates PodSecurity \"restricted\"; remove what spec.pod.securityContext loosens".into()),
        (Some(failure("error looking up service account b/x: serviceaccount \"x\" not found")), vec![],
         "no pod may be created: error looking up service account b/x: serviceaccount \"x\" not found; create the ServiceAccount, or change spec.pod.serviceAccountName".into()),
        (Some("conditions: [{type: Available, status: 'False'}]".into()), vec![], String::new()),
    ] {
        check(deployment.as_deref(), &pods, &expected);
    }
}

#[test]
fn tells_the_same_trouble_whatever_the_order_of_the_pods() {
    let (crash, pull) = (
        container("state: {terminated: {exitCode: 1}}"),
        container("state: {waiting: {reason: ErrImagePull, message: gone}}"),
    );
    let one = diagnose(None, &[crash.clone(), pull.clone()]);
    assert_eq!(one, diagnose(None, &[pull.clone(), crash]));
    assert!(matches!(one, Some(Trouble::ImagePull { .. })));
    let mut leaving = pull;
    leaving.metadata.deletion_timestamp = Some(Time(now()));
    assert_eq!(diagnose(None, &[leaving]), None, "a pod that is being deleted");
}

#[test]
fn names_what_is_missing_or_taken() {
    for (trouble, expected) in [
        (
            Trouble::Missing { kind: "Secret", name: "s".into() },
            "Secret s does not exist: create it in the provider's namespace; it is picked up at once",
        ),
        (
            Trouble::NameTaken { kind: "Service", name: "a".into() },
            "Service a exists and is not this provider's: it is left alone; delete it, or name the provider otherwise",
        ),
    ] {
        assert_eq!(trouble.message(Version::V1Beta1), expected);
        let told = Facts { trouble: Some(&trouble), ..facts() };
        let all = conditions(&at(Node::Initializing), &told, &[], now());
        assert!(of(&all, "Ready").unwrap().message.as_deref().unwrap().ends_with(expected));
    }
}

#[test]
fn speaks_the_version_of_the_user() {
    let pull = Trouble::ImagePull { image: "a".into(), reason: None };
    let said = pull.message(Version::V1Alpha1);
    assert!(said.contains("check spec.image, and spec.imagePullSecrets"), "{said}");
    let closed = Trouble::NotListening { pod: "a".into() }.message(Version::V1Alpha1);
    assert!(closed.ends_with("told with the annotation mcp-hangar.io/port"), "{closed}");
}

#[test]
fn a_reason_once_told_stays_while_the_kubelet_backs_off() {
    let because = Trouble::ImagePull { image: "a".into(), reason: Some("no such host".into()) };
    let silent = Trouble::ImagePull { image: "a".into(), reason: None };
    let other = Trouble::ImagePull { image: "a2".into(), reason: None };
    let told = |trouble, before: &[Condition]| {
        conditions(&at(Node::Initializing), &Facts { trouble: Some(trouble), ..facts() }, before, now())
    };
    let first = told(&because, &[]);
    assert_eq!(told(&silent, &first), first, "no write for less");
    assert_ne!(told(&other, &first), first, "another image");
}

#[test]
fn the_message_has_the_trouble_and_what_the_probe_said() {
    let closed = Trouble::NotListening { pod: "a-1".into() };
    let probe = Some("connection refused");
    let message = |node, facts: Facts<'_>| {
        of(&conditions(&at(node), &facts, &[], now()), "Ready").unwrap().message.clone().unwrap()
    };
    let starting = message(Node::Initializing, Facts { trouble: Some(&closed), probe, ..facts() });
    assert!(starting.contains("port is closed") && starting.ends_with("; connection refused"), "{starting}");
    assert_eq!(message(Node::Ready, facts()), "http://a.b.svc:8080/mcp answers MCP with 2 tools");
    let cold = message(Node::Cold, Facts { trouble: Some(&closed), probe, ..facts() });
    assert!(!cold.contains("closed") && !cold.contains("refused"), "{cold}");
    let invalid =
        message(Node::InvalidSpec, Facts { invalid: Some("spec.mode: write Container"), ..facts() });
    assert_eq!(invalid, "spec.mode: write Container");
    let failed = message(Node::StartupFailed, Facts { version: Version::V1Alpha1, ..facts() });
    assert!(failed.contains("within spec.startupTimeout"), "{failed}");
}

/// Rows of docs/provider.md, and reasons that there are, are the same.
#[test]
fn the_documented_reasons() {
    let page = include_str!("../../../docs/provider.md");
    let section = page.split("\n## What Ready says\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let text = String::new;
    let troubles = [
        Trouble::NameTaken { kind: "Service", name: text() },
        Trouble::SecretAccess { namespace: text() },
        Trouble::Missing { kind: "Secret", name: text() },
        Trouble::Config { message: text() },
        Trouble::Refused { message: text() },
        Trouble::Unschedulable { message: text() },
        Trouble::ImagePull { image: text(), reason: None },
        Trouble::CrashLoop { pod: (text(), text()), exit_code: 1, reason: text() },
        Trouble::NotListening { pod: text() },
    ];
    let mut reasons = BTreeSet::new();
    for node in NODES {
        for trouble in troubles.iter().map(Some).chain([None]) {
            reasons.insert(reason(node, &Facts { trouble, ..facts() }));
        }
    }
    assert_eq!(documented, reasons);
}

#[test]
fn a_cold_or_ready_provider_says_what_its_user_may_want_to_know() {
    let names: Vec<String> = ["ad", "mul\u{1b}", "c", "d", "e", "f"].map(str::to_owned).to_vec();
    let of = |node, facts: &Facts<'_>| {
        let all = conditions(&at(node), facts, &[], now());
        of(&all, "Ready").unwrap().message.clone().unwrap()
    };
    for (node, facts, expected) in [
        (
            Node::Cold,
            facts(),
            "no pods are wanted: set spec.replicas above 0, or the annotation mcp-hangar.io/wake, to start it",
        ),
        (
            Node::Cold,
            Facts { is_remote: true, ..facts() },
            "not asked, since spec.replicas is 0: set it above 0 to have it asked",
        ),
        (
            Node::Ready,
            Facts { unknown: &names[..1], ..facts() },
            "http://a.b.svc:8080/mcp answers MCP with 2 tools; it has no tools with these names of spec.tools: ad",
        ),
        (
            Node::Ready,
            Facts { unknown: &names, tools: None, ..facts() },
            "http://a.b.svc:8080/mcp answers MCP; it has no tools with these names of spec.tools: ad, mul\\u{1b}, c, d, e, ...",
        ),
    ] {
        assert_eq!(of(node, &facts), expected);
    }
}
