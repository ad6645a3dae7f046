//! How people install it: the original's quick start word for word, other namespaces, the plain manifest, `helm test`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bundles::{TARGETS, bundles};
use crate::charts::{self, OPERATOR};
use crate::cluster::{Output, SETTLES, Site, alone, eventually, run};
use crate::figures::figure;
use crate::release::{HELM, HELM3, HELMS, Helm, NAMESPACE, QUICK, RELEASE};
use crate::webhook::{SECRET, authority};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const FIRST: &str = "apiVersion: mcp-hangar.io/v1alpha1
kind: MCPProvider
metadata:
  name: my-tools
  namespace: default
spec:
  mode: container
  image: ghcr.io/my-org/my-mcp-tools:latest
  replicas: 1
  resources:
    requests:
      memory: \"128Mi\"
      cpu: \"100m\"
";

/// One line of a shell, as a user types it. Helm has a home of its own.
fn shell(site: &Site, helm: Helm, home: &str, line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    let program = if words[0] == "helm" { helm.0 } else { words[0] };
    let mut command = site.program(program);
    for (variable, folder) in
        [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
    {
        command.env(variable, format!("{home}/{folder}"));
    }
    run(command.args(&words[1..]), "")
}

/// The first provider is taken, defaulted and listed; one like it with a mistake is refused with words.
fn first_provider(site: &Site) {
    let apply = |text: &str| site.kubectl(&["apply", "-f", "-"], text);
    assert_eq!(apply(FIRST).ok(), "mcpprovider.mcp-hangar.io/my-tools created\n");
    let listed = site.kubectl(&["get", "mcpproviders"], "").ok();
    assert!(listed.contains("my-tools") && listed.contains("Container"), "{listed}");
    let live =
        site.kubectl(&["get", "mcpproviders.v1alpha1.mcp-hangar.io", "my-tools", "-o", "json"], "").ok();
    let live: Value = serde_json::from_str(&live).unwrap();
    assert_eq!((&live["spec"]["mode"], &live["spec"]["idleTTL"]), (&json!("container"), &json!("5m")));
    let said = apply(&FIRST.replace("mode: container", "mode: contaner")).fails();
    assert!(said.contains("did you mean \"container\"? [HGR102]"), "{said}");
    site.kubectl(&["delete", "mcpp", "my-tools"], "").ok();
}

#[test]
fn the_quick_start_works_word_for_word_with_either_helm() {
    let site = alone();
    let address = charts::repository();
    for helm in HELMS {
        let home = charts::scratch(&format!("home-{}", helm.0));
        let run = |line: &str| shell(&site, helm, home.to_str().unwrap(), line).works();
        let began = std::time::Instant::now();
        run(&format!("helm repo add mcp-hangar {address}"));
        run("helm repo update");
        run("kubectl apply -f deploy/crds/mcpprovider.yaml");
        run("kubectl apply -f deploy/crds/mcpprovidergroup.yaml");
        run("kubectl apply -f deploy/crds/mcpdiscoverysource.yaml");
        let notes = run(
            "helm install mcp-hangar-operator mcp-hangar/mcp-hangar-operator --namespace mcp-system --create-namespace",
        );
        let took = began.elapsed();
        for line in notes.lines().filter(|line| line.starts_with("  kubectl rollout status")) {
            run(line);
        }
        site.serves();
        let serves = began.elapsed();
        first_provider(&site);
        // What the notes say next.
        let tested = run("helm test mcp-hangar-operator --namespace mcp-system --logs");
        assert!(tested.contains("Succeeded") && tested.matches("\nok ").count() >= 3, "{tested}");
        figure(
            "quick start",
            format_args!("{}: typed in {took:.1?}, answers after {serves:.1?}, helm test passes", helm.0),
        );
        site.again();
    }
}

/// Conversion by an install in another namespace: both versions of one object.
fn converts(site: &Site, namespace: &str) {
    site.serves();
    let written = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider",
        "metadata": {"name": "old", "namespace": namespace}, "spec": {"mode": "container", "image": "acme/tools:1"}});
    site.api.create(&written).ok();
    assert_eq!(site.api.read_as(&written, "v1beta1")["spec"]["container"]["image"], "acme/tools:1");
    assert_eq!(site.api.read(&written)["spec"]["image"], "acme/tools:1");
    for name in site.names(CRDS) {
        let crd = site.api.get(&format!("{CRDS}/{name}")).ok();
        let service = &crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"];
        assert_eq!(service["namespace"], namespace, "{name}");
    }
}

#[test]
fn in_another_namespace_conversion_works_whoever_brought_the_crds() {
    let site = alone();
    let namespace = "elsewhere";
    // From the chart.
    HELM3.install(&site, namespace, &QUICK, &[]).works();
    converts(&site, namespace);
    site.again();
    // Applied before, for the namespace of the quick start: Helm does not adopt what is somebody else's unless it is told
    // to, and Helm 4, which applies server-side, has to be told twice.
    let cases = [
        (HELM, &["--take-ownership", "--force-conflicts"][..]),
        (HELM3, &["--take-ownership"]),
        (HELM, &["--set=crds.install=false"]),
    ];
    for (helm, flags) in cases {
        site.kubectl(&["apply", "-f", "deploy/crds"], "").ok();
        let said = helm.install(&site, namespace, &QUICK, &[]).fails();
        assert!(said.contains("invalid ownership metadata") && said.contains("mcp-system"), "{said}");
        let install =
            ["install", RELEASE, OPERATOR, "-n", namespace, "--create-namespace", "--wait", "--timeout=120s"];
        helm.run(&site, &[&install, flags].concat()).works();
        converts(&site, namespace);
        site.again();
    }
    figure(
        "other namespace",
        "CRDs from the chart, taken over by either Helm, applied from deploy/crds: conversion works",
    );
}

#[test]
fn the_crds_chart_and_the_operators_chart_without_crds_are_two_releases() {
    let site = alone();
    for helm in HELMS {
        let crds = ["install", "crds", "charts/mcp-hangar-crds", "-n", NAMESPACE, "--create-namespace"];
        helm.run(&site, &crds).works();
        helm.install(&site, NAMESPACE, &[QUICK.as_slice(), &["crds.install=false"]].concat(), &[]).works();
        converts(&site, NAMESPACE);
        // Neither release writes what the other or the operator did.
        let before = bundles(&site);
        helm.run(&site, &["upgrade", "crds", "charts/mcp-hangar-crds", "-n", NAMESPACE]).works();
        assert_eq!(bundles(&site), before);
        helm.uninstall(&site, NAMESPACE).works();
        helm.run(&site, &["uninstall", "crds", "-n", NAMESPACE]).works();
        assert_eq!(site.names(CRDS).len(), 3, "kept");
        site.again();
    }
}

#[test]
fn the_plain_manifest_installs_by_kubectl_apply_and_a_second_apply_changes_nothing() {
    let site = alone();
    let file = ["-f", "deploy/operator.yaml"];
    let kubectl = |verb: &str| site.kubectl(&[&[verb], file.as_slice()].concat(), "");
    let made = kubectl("apply").ok();
    assert!(made.lines().all(|line| line.ends_with(" created")), "{made}");
    site.kubectl(&["rollout", "status", "deployment", RELEASE, "-n", NAMESPACE, "--timeout=120s"], "").ok();
    site.serves();
    first_provider(&site);
    let good = vec![authority(&site.api); 5];
    assert_eq!(bundles(&site), good);
    let again = kubectl("apply").ok();
    // kubectl always patches the selector of a PodDisruptionBudget, with what it has already.
    let changed = |line: &&str| !line.ends_with(" unchanged") && !line.starts_with("poddisruptionbudget");
    assert_eq!(again.lines().find(changed), None, "{again}");
    assert_eq!(kubectl("diff").ok(), "");
    let server_side =
        ["--server-side", "--field-manager=flux", "--force-conflicts", "-f", "deploy/operator.yaml"];
    site.kubectl(&[["apply"].as_slice(), &server_side].concat(), "").ok();
    assert_eq!(site.kubectl(&[["diff"].as_slice(), &server_side].concat(), "").ok(), "");
    assert_eq!(bundles(&site), good);
    let objects = made.lines().count();
    figure(
        "operator.yaml",
        format_args!(
            "{objects} objects; applied again client-side and server-side: 0 changed, 0 differences"
        ),
    );
}

/// Certificates of a user's own, in a Secret that the pods mount. They run as somebody else than its files belong to.
#[test]
fn a_secret_with_certificates_made_elsewhere_is_read_and_used() {
    let site = alone();
    site.namespace(NAMESPACE);
    let made = rcgen::generate_simple_self_signed([format!("{RELEASE}-webhook.{NAMESPACE}.svc")]).unwrap();
    let certificate = made.cert.pem();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "own", "namespace": NAMESPACE},
        "stringData": {"tls.crt": certificate, "tls.key": made.signing_key.serialize_pem(), "ca.crt": certificate}});
    site.api.post(&format!("/api/v1/namespaces/{NAMESPACE}/secrets"), &secret).ok();
    let values = [QUICK.as_slice(), &["webhook.tls.secretName=own"]].concat();
    HELM.install(&site, NAMESPACE, &values, &[]).works();
    site.serves();
    assert_eq!(bundles(&site), vec![certificate; TARGETS.len()]);
    assert_eq!(site.api.get(SECRET).code, 404, "no CA of ours is needed");
    figure(
        "own certificates",
        "webhook.tls.secretName: read by the pods, written into 5 targets, no CA made",
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_name_and_what_to_write() {
    let site = alone();
    let (long, longest) = ("x".repeat(40), "n".repeat(64));
    let cases: [(&str, &str, &[&str], &[&str]); 5] = [
        (RELEASE, &longest, &[], &["namespace", "63"]),
        // The Service's name would have 75 characters.
        (&long, NAMESPACE, &[], &["the name of the webhook Service", "63", "fullnameOverride"]),
        (
            "1st",
            NAMESPACE,
            &["fullnameOverride=1st"],
            &["\"1st\"", "must start with a letter", "fullnameOverride"],
        ),
        (RELEASE, NAMESPACE, &["replicaCount=two"], &["replicaCount"]),
        (RELEASE, NAMESPACE, &["webhook.port=8081"], &["webhook.port", "must differ"]),
    ];
    for helm in HELMS {
        for (release, namespace, values, words) in &cases {
            let flags = crate::release::sets(values, &[]);
            let said = helm
                .run(&site, &[&["install", release, OPERATOR, "-n", namespace], flags.as_slice()].concat())
                .fails();
            assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
        }
    }
    assert_eq!(site.names("/apis/apps/v1/deployments"), [""; 0], "nothing was installed");
}

#[test]
fn helm_test_fails_with_clear_words_when_the_webhook_cannot_be_reached_and_the_operator_says_so_itself() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &[QUICK.as_slice(), &["replicaCount=1"]].concat(), &[]).works();
    site.serves();
    let firewall = Firewall::close();
    // Told to look again, by a change that it repairs.
    let mutating = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/mcp-hangar-operator";
    let wipe = json!([{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]);
    site.api.json_patch(mutating, &wipe).ok();
    let tested = HELM.run(&site, &["test", RELEASE, "-n", NAMESPACE, "--logs", "--timeout=150s"]);
    assert_ne!(tested.code, 0, "{tested:?}");
    let said = tested.stdout + &tested.stderr;
    let words =
        ["FAILED  a bad v1alpha1 MCPProvider is refused", "deadline exceeded", "firewall or NetworkPolicy"];
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
    let event = self_test_failed(&site);
    assert!(event.contains("firewall or NetworkPolicy") && event.contains("9443"), "{event}");
    drop(firewall);
    eventually("calls work again", SETTLES, || site.answers().then_some(()));
    let tested = HELM.run(&site, &["test", RELEASE, "-n", NAMESPACE, "--timeout=150s"]).works();
    assert!(tested.contains("Succeeded"), "{tested}");
    figure(
        "helm test",
        "fails behind a firewall and names it, as the self-test's Event does; passes afterwards",
    );
}

/// What the Event about a failed self-test says.
fn self_test_failed(site: &Site) -> String {
    eventually("an Event says why", Duration::from_secs(100), || {
        let events = site.api.get(&format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events")).body;
        let failed = |event: &&Value| event["reason"] == "SelfTestFailed";
        events["items"]
            .as_array()?
            .iter()
            .find(failed)
            .map(|event| event["note"].as_str().unwrap().to_owned())
    })
}

/// Nothing comes through to the port of the pods, as behind a firewall: packets are dropped.
struct Firewall;

impl Firewall {
    const RULE: [&str; 7] = ["OUTPUT", "-p", "tcp", "--dport", "9443", "-j", "DROP"];

    fn close() -> Self {
        iptables(&[&["-I"], Self::RULE.as_slice()].concat());
        Self
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        iptables(&[&["-D"], Self::RULE.as_slice()].concat());
    }
}

/// In the node's network, which is this process's.
fn iptables(arguments: &[&str]) {
    let mut command = std::process::Command::new("iptables");
    let output = run(command.args(arguments), "");
    assert!(output.code == 0 || std::thread::panicking(), "{output:?}");
}

#[test]
fn a_service_that_leads_nowhere_is_named_by_the_self_test() {
    let site = alone();
    HELM.install(&site, NAMESPACE, &[QUICK.as_slice(), &["replicaCount=1"]].concat(), &[]).works();
    site.serves();
    // Somebody edits the Service. Open connections still lead to a pod that is there, so there is none at that time.
    let scale = |replicas: &str| {
        site.kubectl(&["scale", "deployment", RELEASE, "-n", NAMESPACE, replicas], "").ok();
    };
    scale("--replicas=0");
    eventually("the pod is gone", SETTLES, || {
        site.names(&format!("/api/v1/namespaces/{NAMESPACE}/pods")).is_empty().then_some(())
    });
    let service = format!("/api/v1/namespaces/{NAMESPACE}/services/{RELEASE}-webhook");
    let port =
        json!({"spec": {"ports": [{"name": "webhook", "port": 443, "targetPort": 9999, "protocol": "TCP"}]}});
    site.api.merge_patch(&service, &port).ok();
    scale("--replicas=1");
    let said = self_test_failed(&site);
    assert!(
        said.contains(&format!("Service {NAMESPACE}/{RELEASE}-webhook")) && said.contains("nobody listens"),
        "{said}"
    );
    figure("wrong port", format_args!("{said}"));
}
