//! The CRDs: as they are checked in, as the API server stores them, and as kubectl shows what they define.

use serde_json::{Value, json};

use crate::cluster::{shared, unattended};
use crate::examples::{FOLDERS, examples, leaves, yaml_files};

/// The definitions in the API server.
fn stored() -> Vec<Value> {
    let list = shared().api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions").ok();
    let items = list["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 3);
    items
}

/// The definitions in `deploy/crds`.
fn generated() -> Vec<Value> {
    let texts = yaml_files("deploy/crds").into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    texts.map(|text| serde_saphyr::from_str(&text).unwrap()).collect()
}

/// Every `default:` of a schema, by its path.
fn defaults(schema: &Value, path: &str, out: &mut Vec<String>) {
    let Value::Object(members) = schema else { return };
    if members.contains_key("default") {
        out.push(path.to_owned());
    }
    for (name, property) in members.get("properties").and_then(Value::as_object).into_iter().flatten() {
        defaults(property, &format!("{path}.{name}"), out);
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = members.get(below) {
            defaults(below, &format!("{path}[]"), out);
        }
    }
}

#[test]
fn no_schema_has_a_default_but_the_one_on_status() {
    for crd in [generated(), stored()].concat() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let mut found = Vec::new();
            defaults(&version["schema"]["openAPIV3Schema"], "", &mut found);
            assert_eq!(found, [".status"], "{}", crd["metadata"]["name"]);
        }
    }
}

#[test]
fn the_generated_definitions_hold_nothing_that_reads_as_drift() {
    let odd = |value: &Value| -> Vec<String> {
        let odd = leaves(value).into_iter().filter(|(path, leaf)| {
            let of_the_server = path.ends_with("/nullable")
                || path.ends_with("/clientConfig/caBundle")
                || path.contains("creationTimestamp");
            of_the_server || leaf.is_null() || *leaf == json!([]) || path == "/status"
        });
        odd.map(|(path, _)| path).collect()
    };
    for crd in generated() {
        assert_eq!(odd(&crd), [""; 0], "{}", crd["metadata"]["name"]);
    }
    for crd in stored() {
        assert_eq!(
            odd(&crd["spec"]),
            ["/conversion/webhook/clientConfig/caBundle"],
            "{}",
            crd["metadata"]["name"]
        );
    }
}

#[test]
fn the_operator_installs_what_is_checked_in() {
    for mut file in generated() {
        let name = file["metadata"]["name"].clone();
        let live = stored().into_iter().find(|crd| crd["metadata"]["name"] == name).unwrap();
        file["spec"]["conversion"] = live["spec"]["conversion"].clone();
        for (path, leaf) in leaves(&file["spec"]) {
            assert_eq!(live["spec"].pointer(&path), Some(&leaf), "{name} {path}");
        }
        for condition in live["status"]["conditions"].as_array().unwrap() {
            let expected = if condition["type"] == "NonStructuralSchema" { "False" } else { "True" };
            assert_eq!(condition["status"], expected, "{name}: {condition}");
        }
        assert_eq!(live["status"]["storedVersions"], json!(["v1beta1"]));
    }
}

#[test]
fn the_api_server_takes_every_example_without_a_warning() {
    let site = shared();
    for (version, folder) in FOLDERS {
        for example in examples(folder) {
            let namespace = format!("warn-{version}-{}", example.name);
            let text = example.text_in(site.namespace(&namespace));
            site.kubectl(&["create", "--dry-run=server", "--validate=strict", "-f", "-"], &text).ok();
        }
    }
}

#[test]
fn kubectl_explains_the_fields_of_both_versions() {
    let site = shared();
    for (field, version, expected) in [
        ("mcpprovider.spec.image", "v1alpha1", ["FIELD: image <string>", "Image to run"]),
        (
            "mcpp.spec.container.port",
            "v1beta1",
            ["FIELD: port <integer>", "Port on which the server listens"],
        ),
        ("provider.spec.healthCheck.interval", "v1beta1", ["FIELD: interval <string>", "Go duration"]),
        ("mcppg.spec.strategy", "v1alpha1", ["FIELD: strategy <string>", "ENUM:"]),
        (
            "mcpds.spec.providerTemplate.spec.container.image",
            "v1beta1",
            ["FIELD: image <string>", "VERSION:    v1beta1"],
        ),
        (
            "mcpds.spec.providerTemplate.spec.image",
            "v1alpha1",
            ["FIELD: image <string>", "VERSION:    v1alpha1"],
        ),
    ] {
        let version = format!("--api-version=mcp-hangar.io/{version}");
        let text = site.kubectl(&["explain", field, &version], "").ok();
        assert!(expected.iter().all(|words| text.contains(words)), "{text}");
    }
    let text = site.kubectl(&["explain", "mcpprovider.spec"], "").ok();
    assert!(text.contains("VERSION:    v1beta1") && text.contains("container\t<Object>"), "{text}");
}

#[test]
fn kubectl_get_shows_the_columns_of_each_kind_under_all_of_its_names() {
    let site = unattended();
    let namespace = site.namespace("columns");
    let mut objects = [
        json!({"kind": "MCPProvider", "spec": {"mode": "Remote", "remote": {"endpoint": "https://tools.example.com/mcp"}}}),
        json!({"kind": "MCPProviderGroup", "spec": {"selector": {}}}),
        json!({"kind": "MCPDiscoverySource", "spec": {"type": "Namespace", "namespaceSelector": {}}}),
    ];
    let statuses = [
        json!({"state": "Ready", "toolsCount": 7, "endpoint": "https://seen", "observedGeneration": 1}),
        json!({"providerCount": 3, "readyCount": 2, "degradedCount": 1, "observedGeneration": 1}),
        json!({"discoveredCount": 4, "lastSyncTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}),
    ];
    for (object, mut status) in objects.iter_mut().zip(statuses) {
        object["apiVersion"] = "mcp-hangar.io/v1beta1".into();
        object["metadata"] = json!({"name": "one", "namespace": namespace});
        site.api.create(object).ok();
        status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "Fine", "message": "all well", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        site.api
            .merge_patch(&format!("{}/status", crate::api::path(object)), &json!({"status": status}))
            .ok();
    }
    let cells = |resource: &str| {
        let text = site.kubectl(&["get", resource, "-n", namespace, "-o", "wide"], "").ok();
        let split = |line: &str| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        text.lines().map(split).collect::<Vec<_>>()
    };
    let expected = [
        (
            ["mcpproviders", "mcpprovider", "mcpp", "provider"],
            "NAME MODE STATE READY TOOLS AGE ENDPOINT MESSAGE",
            "one Remote Ready True 7 * https://seen all well",
        ),
        (
            ["mcpprovidergroups", "mcpprovidergroup", "mcppg", "providergroup"],
            "NAME STRATEGY PROVIDERS READY DEGRADED AGE MESSAGE",
            "one RoundRobin 3 2 1 * all well",
        ),
        (
            ["mcpdiscoverysources", "mcpdiscoverysource", "mcpds", "discoverysource"],
            "NAME TYPE MODE DISCOVERED LAST SYNC AGE MESSAGE",
            "one Namespace Additive 4 * * all well",
        ),
    ];
    for (names, header, row) in expected {
        for name in names {
            let cells = cells(name);
            assert_eq!(cells[0].join(" "), header, "{name}");
            let shown: Vec<&str> = row.split(' ').collect();
            let joined = cells[1].join(" ");
            let seen: Vec<&str> = joined.split(' ').collect();
            assert_eq!(seen.len(), shown.len(), "{joined}");
            assert!(seen.iter().zip(&shown).all(|(seen, shown)| *shown == "*" || seen == shown), "{joined}");
        }
    }
    let v1alpha1 = site.kubectl(&["get", "mcpproviders.v1alpha1.mcp-hangar.io", "-n", namespace], "").ok();
    assert!(v1alpha1.contains("remote"), "{v1alpha1}");
    for category in ["mcp", "all"] {
        let text = site.kubectl(&["get", category, "-n", namespace, "-o", "name"], "").ok();
        for kind in ["mcpprovider", "mcpprovidergroup", "mcpdiscoverysource"] {
            assert!(text.contains(&format!("{kind}.mcp-hangar.io/one\n")), "{category}: {text}");
        }
    }
}
