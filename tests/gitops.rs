//! The examples for Argo CD and Flux: what they make of our objects, and that they name what is there.
//!
//! `gitops/main.go` runs the Lua interpreter, the status rules and the types that Argo CD and Flux are built from; this file
//! asks it, and compares with the table in `gitops/health.yaml`. Go is needed, as for the other tests; what it compiles
//! here takes a minute once. What a real cluster makes of the manifests is the matter of the end-to-end tests.

// clippy.toml allows these in test functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use mcp_hangar_api::v1beta1::discovery::MCPDiscoverySourceStatus;
use mcp_hangar_operator::discovery::status::{Outcome, Scanned};
use mcp_hangar_operator::group::health::{Counts, Least, Policy};
use mcp_hangar_operator::provider::conditions::{Facts, Trouble, Version, conditions};
use mcp_hangar_operator::provider::state::{State, table};
use mcp_hangar_operator::{discovery, group};
use serde_json::{Value, json};

#[path = "gitops/ask.rs"]
mod ask;

use ask::{KINDS, ask, expressions, script};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a YAML file, as texts.
fn texts(name: &str) -> Vec<String> {
    read(name).split("\n---\n").map(str::to_owned).collect()
}

/// The documents of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    texts(name)
        .iter()
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}")))
        .collect()
}

/// The YAML files below a folder, relative to the repository.
fn yaml_files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path(folder)).unwrap() {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if path(&name).is_dir() {
            found.extend(yaml_files(&name));
        } else if name.ends_with(".yaml") {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// The documents of all manifests for one of the two.
fn manifests(folder: &str) -> Vec<Value> {
    yaml_files(folder).iter().flat_map(|name| documents(name)).collect()
}

/// The first document of that kind and name.
fn find<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    documents
        .iter()
        .find(|document| document["kind"] == kind && document["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// The whole object of a row of the table.
fn object(row: &Value, version: &str) -> Value {
    let generation = row.get("generation").and_then(Value::as_i64).unwrap_or(2);
    let mut object = json!({
        "apiVersion": format!("mcp-hangar.io/{version}"), "kind": row["kind"],
        "metadata": {"name": "tools", "namespace": "default", "generation": generation}, "spec": {},
    });
    if row.get("deleting").is_some() {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
    }
    if let Some(status) = row.get("status") {
        object["status"] = status.clone();
    }
    // Not by index, which would make what is not there.
    let conditions = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let condition = condition.as_object_mut().unwrap();
        let observed = condition.entry("observedGeneration").or_insert(json!(generation));
        if observed.is_null() {
            condition.remove("observedGeneration");
        }
    }
    object
}

#[test]
fn argo_cd_and_flux_read_every_state_as_it_is_meant() {
    let table: Vec<Value> = serde_saphyr::from_str(&read("tests/gitops/health.yaml")).unwrap();
    let mut names = Vec::new();
    let mut cases = Vec::new();
    for row in &table {
        let expressions = expressions(&row["kind"]);
        for version in ["v1alpha1", "v1beta1"] {
            names.push((row, version));
            cases.push(json!({
                "object": object(row, version), "lua": script(&row["kind"]), "expressions": expressions,
            }));
        }
    }
    let answer = ask(&json!({ "cases": cases, "manifests": [] }));
    let mut wrong = Vec::new();
    for ((row, version), said) in names.iter().zip(answer["cases"].as_array().unwrap()) {
        let wanted = [&row["argocd"], &row["message"], &row["kstatus"], &row["flux"]];
        let flux = said["flux"].as_str().unwrap().split(':').next().unwrap();
        let said = [&said["argocd"]["status"], &said["argocd"]["message"], &said["kstatus"], &json!(flux)];
        if said != wanted {
            wrong.push(format!("{} ({version}): {said:?} instead of {wanted:?}", row["name"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(answer["cases"].as_array().unwrap().len(), table.len() * 2);
}

/// What may hinder a provider, each once.
fn troubles() -> Vec<Option<Trouble>> {
    let message = || "no".to_owned();
    let all = [
        Trouble::NameTaken { kind: "Service", name: "tools".into() },
        Trouble::SecretAccess { namespace: "team".into() },
        Trouble::Missing { kind: "Secret", name: "token".into() },
        Trouble::Config { message: message() },
        Trouble::Refused { message: message() },
        Trouble::Unschedulable { message: message() },
        Trouble::ImagePull { image: "r.example/a:1".into(), reason: None },
        Trouble::CrashLoop { pod: ("team".into(), "tools-1".into()), exit_code: 1, reason: "Error".into() },
        Trouble::NotListening { pod: "tools-1".into() },
    ];
    [None].into_iter().chain(all.into_iter().map(Some)).collect()
}

/// Every status that the operator can write of a provider, but for times and counts.
fn of_providers() -> Vec<Value> {
    let mut all = Vec::new();
    for (node, trouble) in
        table::NODES.into_iter().flat_map(|node| troubles().into_iter().map(move |it| (node, it)))
    {
        let facts = Facts {
            generation: 2,
            version: Version::V1Beta1,
            endpoint: "http://tools.team.svc:8080/mcp",
            is_remote: false,
            is_probed: true,
            tools: Some(1),
            unknown: &[],
            trouble: trouble.as_ref(),
            probe: None,
            invalid: Some("spec.container.image: must be set"),
        };
        let state = State { node, ..State::new(NOW) };
        all.push(json!({"observedGeneration": 2, "state": node.state(),
            "conditions": conditions(&state, &facts, &[], NOW)}));
    }
    all
}

/// Of a group: each number of members that are there, available and starting, with a spec that is right or wrong.
fn of_groups() -> Vec<Value> {
    let mut all = Vec::new();
    for invalid in [None, Some("spec.selector: must be set")] {
        for (available, starting, dead) in [(0, 0, 0), (2, 0, 0), (1, 0, 1), (0, 2, 0), (0, 1, 3), (0, 0, 2)]
        {
            let counts =
                Counts { all: available + starting + dead, available, starting, ..Counts::default() };
            let policy = Policy { least: Least::Percentage(60), unhealthy_threshold: 3 };
            let facts = group::conditions::Facts {
                generation: 2,
                namespace: "team",
                selector: None,
                policy,
                invalid,
                counts,
                named: None,
            };
            all.push(json!({"observedGeneration": 2, "initializingCount": starting,
                "conditions": group::conditions::conditions(&facts, &[], &[], NOW)}));
        }
    }
    all
}

/// Of a source.
fn of_sources() -> Vec<Value> {
    let scanned = |faults: &[&str], prunes| {
        let faults = faults.iter().map(|&fault| fault.to_owned()).collect();
        Outcome::Scanned(Box::new(Scanned { faults, prunes, ..Scanned::default() }))
    };
    let all = [
        Outcome::Invalid("spec.type: must be set".into()),
        Outcome::Paused,
        Outcome::Going("waits for 2 providers".into()),
        scanned(&[], false),
        scanned(&[], true),
        scanned(&["configmap team/catalogue has no key providers.yaml"], true),
    ];
    let status = |outcome| discovery::status::status(&outcome, 2, &MCPDiscoverySourceStatus::default(), NOW);
    all.into_iter().map(|outcome| serde_json::to_value(status(outcome)).unwrap()).collect()
}

#[test]
fn argo_cd_kstatus_and_flux_agree_on_every_status_that_the_operator_can_write() {
    let kinds = [
        ("MCPProvider", of_providers()),
        ("MCPProviderGroup", of_groups()),
        ("MCPDiscoverySource", of_sources()),
    ];
    let statuses: Vec<(Value, Value)> =
        kinds.into_iter().flat_map(|(kind, all)| all.into_iter().map(move |it| (json!(kind), it))).collect();
    let table: Vec<Value> = serde_saphyr::from_str(&read("tests/gitops/health.yaml")).unwrap();
    let cases: Vec<Value> = statuses
        .iter()
        .map(|(kind, status)| {
            let row = json!({"kind": kind, "status": status});
            json!({"object": object(&row, "v1beta1"), "lua": script(kind), "expressions": expressions(kind)})
        })
        .collect();
    let answer = ask(&json!({ "cases": cases, "manifests": [] }));
    let answers = answer["cases"].as_array().unwrap();
    assert_eq!(answers.len(), statuses.len());
    for ((kind, status), said) in statuses.iter().zip(answers) {
        let conditions = status["conditions"].as_array().unwrap();
        let is = |type_: &str| conditions.iter().any(|it| it["type"] == type_ && it["status"] == "True");
        let is_paused = conditions.iter().any(|it| it["type"] == "Ready" && it["reason"] == "Paused");
        let wanted = match (is("Ready"), is("Stalled"), is("Reconciling")) {
            (true, false, false) => ["Healthy", "Current", "Current"],
            (false, true, false) => ["Degraded", "Failed", "Failed"],
            (false, false, true) => ["Progressing", "InProgress", "InProgress"],
            // Somebody wanted it so.
            (false, false, false) if is_paused => ["Suspended", "InProgress", "Current"],
            // It is tried again, so kstatus waits; people want to know.
            (false, false, false) => ["Degraded", "InProgress", "Failed"],
            other => panic!("{other:?}: {status:#}"),
        };
        let flux = said["flux"].as_str().unwrap().split(':').next().unwrap();
        let found = [said["argocd"]["status"].as_str().unwrap(), said["kstatus"].as_str().unwrap(), flux];
        assert_eq!(found, wanted, "{kind} {status:#}");
        // T19: one of each type, each of this generation, those of a while only while true.
        let types: BTreeSet<&str> = conditions.iter().map(|it| it["type"].as_str().unwrap()).collect();
        assert_eq!(types.len(), conditions.len(), "{status:#}");
        for condition in conditions {
            assert_eq!(condition["observedGeneration"], 2, "{status:#}");
            let is_of_a_while = ["Reconciling", "Stalled"].contains(&condition["type"].as_str().unwrap());
            assert!(!is_of_a_while || condition["status"] == "True", "{status:#}");
            assert!(condition["message"].as_str().is_some_and(|text| !text.is_empty()), "{status:#}");
        }
        // Whatever it says of itself, the table has a row that says so too.
        let ready = |object: &Value| {
            let all = object["conditions"].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|it| it["type"] == "Ready").map(|it| it["reason"].clone())
        };
        assert!(
            table.iter().any(|row| row["kind"] == *kind && ready(&row["status"]) == ready(status)),
            "not in health.yaml: {kind} {status:#}"
        );
    }
}

#[test]
fn the_table_has_every_state_of_every_kind() {
    let table: Vec<Value> = serde_saphyr::from_str(&read("tests/gitops/health.yaml")).unwrap();
    for (kind, reasons) in [
        (
            "MCPProvider",
            [
                "Idle",
                "Starting",
                "ProviderReady",
                "HealthCheckFailing",
                "CircuitOpen",
                "StartupFailed",
                "InvalidSpec",
                "NameTaken",
                "SecretAccessMissing",
            ]
            .as_slice(),
        ),
        ("MCPProviderGroup", ["PolicyMet", "PolicyNotMet", "NoProviders", "InvalidSpec"].as_slice()),
        ("MCPDiscoverySource", ["Synced", "SyncFailed", "Paused", "InvalidSpec", "Deleting"].as_slice()),
    ] {
        let rows: Vec<&Value> = table.iter().filter(|row| row["kind"] == kind).collect();
        let ready = |row: &&Value| row["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found: BTreeSet<String> = rows
            .iter()
            .flat_map(ready)
            .filter(|condition| condition["type"] == "Ready")
            .filter_map(|condition| condition["reason"].as_str().map(str::to_owned))
            .collect();
        for reason in reasons {
            assert!(found.contains(*reason), "{kind} {reason}");
        }
        let unseen = rows.iter().find(|row| row["status"]["observedGeneration"] == -1).unwrap();
        assert_eq!(
            (&unseen["argocd"], &unseen["kstatus"], &unseen["flux"]),
            (&json!("Progressing"), &json!("InProgress"), &json!("InProgress"))
        );
        assert!(rows.iter().any(|row| row.get("deleting").is_some()), "{kind} deleting");
    }
}

#[test]
fn the_config_map_of_argo_cd_holds_the_scripts() {
    let mut text = String::from(
        "# Health of our kinds: a patch of Argo CD's own ConfigMap. Made from health/*.lua by\n\
         # `UPDATE=1 cargo test --test gitops`; changes made here are lost.\ndata:\n",
    );
    for (kind, stem) in KINDS {
        text.push_str(&format!("  resource.customizations.health.mcp-hangar.io_{kind}: |\n"));
        for line in read(&format!("examples/argocd/health/{stem}.lua")).lines() {
            text.push_str(if line.is_empty() { "" } else { "    " });
            text.push_str(line);
            text.push('\n');
        }
    }
    let name = "examples/argocd/argocd-cm.yaml";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(name), &text).unwrap();
    }
    assert_eq!(read(name), text, "run: UPDATE=1 cargo test --test gitops");
    let parsed: Value = serde_saphyr::from_str(&text).unwrap();
    for (kind, stem) in KINDS {
        let key = format!("resource.customizations.health.mcp-hangar.io_{kind}");
        assert_eq!(parsed["data"][key], read(&format!("examples/argocd/health/{stem}.lua")));
    }
}

#[test]
fn flux_knows_every_field_of_its_manifests() {
    let names = yaml_files("examples/flux");
    let all: Vec<String> = names.iter().flat_map(|name| texts(name)).collect();
    assert!(all.len() >= 7, "{names:?}");
    // A field that does not exist is found, or this test could not fail.
    let misspelt = all[0].replace("interval:", "intervall:");
    let asked = [all.as_slice(), &[misspelt]].concat();
    let answer = ask(&json!({ "cases": [], "manifests": asked }));
    let mut complaints: Vec<&str> =
        answer["manifests"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(complaints.pop().unwrap().contains("intervall"));
    assert!(complaints.iter().all(|complaint| complaint.is_empty()), "{complaints:#?}");
}

#[test]
fn flux_installs_in_the_right_order() {
    let all = manifests("examples/flux");
    let objects = find(&all, "Kustomization", "mcp-hangar-objects");
    assert_eq!(objects["spec"]["dependsOn"], json!([{"name": "mcp-hangar-operator"}]));
    let operator = find(&all, "Kustomization", "mcp-hangar-operator");
    for kustomization in [objects, operator] {
        let folder = kustomization["spec"]["path"].as_str().unwrap().trim_start_matches("./");
        assert!(!yaml_files(folder).is_empty(), "{folder}");
        find(&all, "GitRepository", kustomization["spec"]["sourceRef"]["name"].as_str().unwrap());
    }
    let releases: Vec<&Value> = all.iter().filter(|document| document["kind"] == "HelmRelease").collect();
    let checks = operator["spec"]["healthChecks"].as_array().unwrap();
    assert_eq!(releases.len(), checks.len());
    for release in releases {
        let metadata = &release["metadata"];
        assert!(checks.iter().any(|check| check["name"] == metadata["name"] && check["namespace"] == metadata["namespace"]));
        find(&all, "HelmRepository", release["spec"]["chart"]["spec"]["sourceRef"]["name"].as_str().unwrap());
        find(&all, "Namespace", metadata["namespace"].as_str().unwrap());
    }
    let last = find(&all, "HelmRelease", "mcp-hangar-operator");
    assert_eq!(last["spec"]["dependsOn"], json!([{"name": "mcp-hangar-crds"}]));
    assert_eq!(last["spec"]["values"]["crds"]["install"], false);
    let wanted: BTreeSet<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    let judged: BTreeSet<&str> = objects["spec"]["healthCheckExprs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(judged, wanted);
}

#[test]
fn argo_cd_gets_the_chart_before_the_objects() {
    let all = manifests("examples/argocd");
    let wave = |application: &Value| {
        let wave = &application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"];
        wave.as_str().unwrap().parse::<i32>().unwrap()
    };
    let operator = find(&all, "Application", "mcp-hangar-operator");
    let objects = find(&all, "Application", "mcp-hangar-objects");
    assert!(wave(operator) < wave(objects));
    assert_eq!(operator["apiVersion"], "argoproj.io/v1alpha1");
    assert_eq!(operator["spec"]["source"]["targetRevision"], env!("CARGO_PKG_VERSION"));
    assert!(path(objects["spec"]["source"]["path"].as_str().unwrap()).is_dir());
    let options = objects["spec"]["syncPolicy"]["syncOptions"].as_array().unwrap();
    assert!(options.contains(&json!("SkipDryRunOnMissingResource=true")));
}

/// Every leaf of values, as a path.
fn leaves(values: &Value, at: &str, found: &mut Vec<String>) {
    match values.as_object() {
        Some(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{at}/{key}"), found)),
        None => found.push(at.to_owned()),
    }
}

#[test]
fn the_examples_use_charts_and_values_that_exist() {
    let mut used = Vec::new();
    for document in [manifests("examples/argocd"), manifests("examples/flux")].concat() {
        let spec = &document["spec"];
        if document["kind"] == "HelmRelease" {
            let chart = &spec["chart"]["spec"];
            used.push((chart["chart"].clone(), chart["version"].clone(), spec["values"].clone()));
        } else if !spec["source"]["chart"].is_null() {
            let source = &spec["source"];
            used.push((
                source["chart"].clone(),
                source["targetRevision"].clone(),
                source["helm"]["valuesObject"].clone(),
            ));
        }
    }
    assert_eq!(used.len(), 3);
    for (chart, version, values) in used {
        let chart = chart.as_str().unwrap();
        let about: Value = serde_saphyr::from_str(&read(&format!("charts/{chart}/Chart.yaml"))).unwrap();
        assert_eq!(about["name"], chart);
        let version = version.as_str().unwrap().trim_end_matches('x');
        assert!(about["version"].as_str().unwrap().starts_with(version), "{chart}: {version}");
        let known: Value = serde_saphyr::from_str(&read(&format!("charts/{chart}/values.yaml"))).unwrap();
        let mut set = Vec::new();
        if values.is_object() {
            leaves(&values, "", &mut set);
        }
        for value in set {
            assert!(known.pointer(&value).is_some(), "{chart}: {value}");
        }
    }
}

#[test]
fn nothing_in_the_examples_forces_or_ignores() {
    for folder in ["examples/argocd", "examples/flux"] {
        for document in manifests(folder) {
            let text = document.to_string();
            for bad in [
                "ignoreDifferences",
                "\"ignore\"",
                "Replace=true",
                "Force=true",
                "\"force\":true",
                "caBundle",
            ] {
                assert!(!text.contains(bad), "{folder}: {bad}");
            }
        }
    }
}
