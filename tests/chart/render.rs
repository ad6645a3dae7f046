//! What is rendered with the defaults: the same twice and by both Helms, as the code has it, and safe.

use std::collections::BTreeSet;

use mcp_hangar_operator::manifests::{self, Endpoint};
use mcp_hangar_operator::permissions::needed_in;
use mcp_hangar_operator::permissions::rules::rules;
use mcp_hangar_operator::provider::places::Places;
use serde_json::{Value, json};

use crate::helm::{CRDS, NAMESPACE, OPERATOR, RELEASE, find, helm4, helms, objects, read};
use crate::scope::scope;

/// Switches on all that is off by default.
const EVERYTHING: [&str; 7] = [
    "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "grafanaDashboard.enabled=true",
    "webhook.service.annotations={\"a\":\"b\"}",
    "configMapNamespaces=[\"one\",\"two\"]",
    "extraObjects=[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}]",
];

fn rendered() -> Vec<Value> {
    objects(&helm4().template(OPERATOR, &[]).ok())
}

#[test]
fn two_runs_render_the_same_bytes_and_both_helms_the_same_objects() {
    for chart in [OPERATOR, CRDS] {
        let values: &[&str] = if chart == OPERATOR { &EVERYTHING } else { &[] };
        let [four, three] = helms().map(|helm| {
            let first = helm.template(chart, values).ok();
            assert!(first.len() > 100_000, "{chart}");
            assert!(
                helm.template(chart, values).ok() == first,
                "{} {chart}: two renderings differ",
                helm.name
            );
            first
        });
        // They put kinds that they do not know, and empty lines, in other places.
        let sorted = |text: &str| {
            let mut objects = objects(text);
            objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
            objects
        };
        assert!(sorted(&four) == sorted(&three), "{chart}: the two Helms differ");
    }
}

#[test]
fn what_is_generated_is_up_to_date() {
    for manifests::chart::File { path, text } in manifests::chart::files().unwrap() {
        assert!(read(&format!("charts/{path}")) == text, "charts/{path} is out of date: make generate");
    }
}

#[test]
fn neither_helm_has_anything_to_say_against_the_charts() {
    for helm in helms() {
        for chart in [OPERATOR, CRDS] {
            let said = helm.run(&["lint", "--strict", "--with-subcharts", chart]).ok();
            assert!(
                said.contains("0 chart(s) failed") && !said.contains("[WARNING]"),
                "{}: {said}",
                helm.name
            );
        }
    }
}

#[test]
fn webhooks_and_crds_are_those_of_the_code() {
    let objects = rendered();
    let endpoint = Endpoint::default_service(NAMESPACE);
    let config = json!(manifests::mutating(RELEASE, &endpoint, None));
    assert_eq!(find(&objects, "MutatingWebhookConfiguration", RELEASE)["webhooks"], config["webhooks"]);
    let config = json!(manifests::validating(RELEASE, &endpoint, None));
    assert_eq!(find(&objects, "ValidatingWebhookConfiguration", RELEASE)["webhooks"], config["webhooks"]);
    let alone = crate::helm::objects(&helm4().template(CRDS, &[]).ok());
    for crd in manifests::crds(&endpoint, None) {
        let name = crd.metadata.name.clone().unwrap();
        let ours = mcp_hangar_api::crd::to_value(&crd).unwrap();
        for objects in [&objects, &alone] {
            let found = find(objects, "CustomResourceDefinition", &name);
            assert!(found["spec"] == ours["spec"], "{name}");
            assert_eq!(found["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        }
    }
    assert_eq!(alone.len(), 3);
}

#[test]
fn the_roles_are_what_the_code_needs() {
    let objects = rendered();
    let places = Places::default();
    let needed = |namespace| rules(&needed_in(scope(namespace, &places)));
    let sorted = |rules: &Value| {
        let mut texts: Vec<String> = rules.as_array().unwrap().iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    let wanted = needed(NAMESPACE);
    assert_eq!(sorted(&find(&objects, "Role", RELEASE)["rules"]), sorted(&json!(wanted.namespaced)));
    // Rules of one resource may stand apart.
    let verbs = |rules: &Value| {
        let mut all: Vec<String> = Vec::new();
        for rule in rules.as_array().unwrap() {
            let names = rule["resourceNames"].as_array().cloned().unwrap_or_else(|| vec![Value::Null]);
            for (name, verb) in names
                .iter()
                .flat_map(|name| rule["verbs"].as_array().unwrap().iter().map(move |verb| (name, verb)))
            {
                all.push(format!("{} {} {name} {verb}", rule["apiGroups"][0], rule["resources"][0]));
            }
        }
        all.sort();
        all.dedup();
        all
    };
    assert_eq!(verbs(&find(&objects, "ClusterRole", RELEASE)["rules"]), verbs(&json!(wanted.cluster)));
}

/// Each permission with its place, `*` for the whole cluster, as the roles grant it that are bound to the operator.
fn granted(objects: &[Value]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for binding in objects.iter().filter(|it| it["kind"].as_str().unwrap().ends_with("RoleBinding")) {
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}])
        );
        let (kind, place) = (&binding["roleRef"]["kind"], &binding["metadata"]["namespace"]);
        let is_meant = |object: &&Value| {
            object["kind"] == *kind
                && object["metadata"]["name"] == binding["roleRef"]["name"]
                && object["metadata"]["namespace"] == *place
        };
        let role = objects.iter().find(is_meant).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            let names = rule["resourceNames"].as_array().cloned().unwrap_or_else(|| vec!["".into()]);
            for (name, verb) in names
                .iter()
                .flat_map(|name| rule["verbs"].as_array().unwrap().iter().map(move |verb| (name, verb)))
            {
                let [name, verb, group, resource] =
                    [name, verb, &rule["apiGroups"][0], &rule["resources"][0]].map(|it| it.as_str().unwrap());
                all.insert(format!("{} {verb} {group}/{resource} {name}", place.as_str().unwrap_or("*")));
            }
        }
    }
    all
}

#[test]
fn roles_stand_where_providers_are_watched_and_where_secrets_are_read() {
    for (watched, secrets) in [
        ("", ""),
        ("", "*"),
        ("", "a"),
        ("a,b", ""),
        ("a,b", "*"),
        ("a,b", "b,c"),
        (NAMESPACE, NAMESPACE),
        ("a,b", "b,*"),
    ] {
        let names = |text: &str| -> Vec<String> {
            text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let (watched, secrets) = (names(watched), names(secrets));
        let values =
            [format!("watchNamespaces={}", json!(watched)), format!("secretNamespaces={}", json!(secrets))];
        let values = [values[0].as_str(), values[1].as_str()];
        let found = granted(&objects(&helm4().template(OPERATOR, &values).ok()));
        let places = Places::new(&watched, &secrets);
        let needed = needed_in(scope(NAMESPACE, &places));
        let wanted: BTreeSet<String> = needed
            .iter()
            .map(|it| {
                let place = it.namespace.as_deref().unwrap_or("*");
                let name = it.name.as_deref().unwrap_or_default();
                format!("{place} {} {}/{} {name}", it.verb, it.group, it.resource)
            })
            .collect();
        let (more, less): (Vec<_>, Vec<_>) =
            (found.difference(&wanted).collect(), wanted.difference(&found).collect());
        assert!(more.is_empty() && less.is_empty(), "{values:?}: too much {more:?}, too little {less:?}");
        let reads_all = found.iter().any(|it| it.starts_with("* ") && it.contains(" /secrets "));
        assert_eq!(reads_all, watched.is_empty() && secrets == ["*"], "{values:?}");
    }
}

/// T17, and what no chart of ours may hold.
#[test]
fn nothing_that_another_owns_or_that_reads_as_drift_is_rendered() {
    let text = helm4().template(OPERATOR, &EVERYTHING).ok();
    for object in objects(&text) {
        assert_ne!(object["kind"], "Secret");
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        walk(&object, &name, &mut |path, value| {
            assert!(!value.is_null(), "{path} is null");
            assert!(value.as_array().is_none_or(|items| !items.is_empty()), "{path} is []");
            assert!(!(path.ends_with("/nullable") && value == false), "{path} is false");
            assert!(!path.ends_with("/clientConfig/caBundle"), "{path} is the operator's");
        });
    }
    // Neither what a cluster happens to hold nor chance decides what is rendered.
    for entry in std::fs::read_dir(crate::helm::root().join(OPERATOR).join("templates")).unwrap() {
        let path = entry.unwrap().path();
        let text = if path.is_file() { std::fs::read_to_string(&path).unwrap() } else { continue };
        for never in
            ["lookup", "genCA", "genSelfSignedCert", "randAlpha", "uuidv4", "{{ now", "(now", "helm.sh/hook"]
        {
            assert!(!text.contains(never), "{}: {never}", path.display());
        }
    }
}

fn walk(value: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    look(path, value);
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), look)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| walk(value, &format!("{path}/{n}"), look));
        }
        _ => {}
    }
}

/// What linters of manifests look for.
#[test]
fn pods_are_restricted_bounded_and_probed() {
    for (kind, name, pointer) in
        [("Deployment", RELEASE, "/spec/template/spec"), ("Pod", "mcp-hangar-operator-check", "/spec")]
    {
        let objects = rendered();
        let pod = find(&objects, kind, name).pointer(pointer).unwrap();
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert!(security["runAsUser"].as_u64().unwrap() > 0);
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        for never in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
            assert!(pod[never].is_null(), "{kind} {never}");
        }
        let container = &pod["containers"][0];
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
        assert!(security["privileged"].is_null() && security["capabilities"]["add"].is_null());
        for bound in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"] {
            assert!(container.pointer(bound).is_some(), "{kind} {bound}");
        }
        assert!(!container["image"].as_str().unwrap().ends_with(":latest"));
    }
    let objects = rendered();
    let deployment = find(&objects, "Deployment", RELEASE);
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxUnavailable": 0, "maxSurge": 1}));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    let budget = find(&objects, "PodDisruptionBudget", RELEASE);
    assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
}

#[test]
fn no_service_sends_calls_to_another_pod_than_the_operators() {
    let objects = rendered();
    let matches = |selector: &Value, labels: &Value| {
        selector.as_object().unwrap().iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let operator = &find(&objects, "Deployment", RELEASE)["spec"]["template"]["metadata"]["labels"];
    let check = &find(&objects, "Pod", "mcp-hangar-operator-check")["metadata"]["labels"];
    let services: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "Service").collect();
    assert_eq!(services.len(), 2);
    for service in services {
        assert!(matches(&service["spec"]["selector"], operator));
        assert!(!matches(&service["spec"]["selector"], check));
    }
}

/// A flag that `run` does not know would end every pod at once.
#[test]
fn the_operator_takes_every_argument_that_the_chart_gives_it() {
    let all = [
        "configMapNamespaces=[\"one\",\"*\"]",
        "webhook.tls.secretName=\"own\"",
        "operator.metrics.enabled=false",
    ];
    for values in [&[][..], &all[..], &["operator.leaderElection.enabled=false", "replicaCount=1"][..]] {
        let objects = objects(&helm4().template(OPERATOR, values).ok());
        for (kind, name, pointer) in
            [("Deployment", RELEASE, "/spec/template/spec"), ("Pod", "mcp-hangar-operator-check", "/spec")]
        {
            let pod = find(&objects, kind, name).pointer(pointer).unwrap();
            let arguments = pod["containers"][0]["args"].as_array().unwrap();
            let arguments = arguments.iter().map(|argument| argument.as_str().unwrap());
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-hangar-operator"))
                .args(arguments)
                .args(["--kubeconfig", "/nowhere/kubeconfig"])
                .env_clear()
                .output()
                .unwrap();
            // 3: the flags were read, and there is no cluster.
            let text = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(3), "{kind} {values:?}: {text}");
        }
    }
}

#[test]
fn the_plain_manifest_is_the_chart_without_what_only_helm_needs() {
    let plain = objects(&read("deploy/operator.yaml"));
    let chart = objects(&helm4().template(OPERATOR, &["crds.keep=false"]).ok());
    assert_eq!(plain[0]["kind"], "Namespace");
    assert_eq!(plain[0]["metadata"]["name"], NAMESPACE);
    let stripped = |object: &Value| {
        let mut object = object.clone();
        for pointer in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
                labels.retain(|key, _| key != "helm.sh/chart" && key != "app.kubernetes.io/managed-by");
            }
        }
        object
    };
    let tested = |object: &&Value| object["metadata"]["annotations"]["helm.sh/hook"] != "test";
    let wanted: Vec<Value> = chart.iter().filter(tested).map(stripped).collect();
    assert!(plain[1..] == wanted[..], "deploy/operator.yaml is out of date: make generate");
    assert!(!read("deploy/operator.yaml").contains("helm.sh/"));
}
