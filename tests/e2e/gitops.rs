//! What a pipeline must see: whatever it has applied stays as it was written, for every example in both versions.
//!
//! Each test applies all examples of a version, every file in a namespace of its own. Three-way merge and kstatus are
//! written out here as Argo CD and Flux do them.

use serde_json::{Map, Value, json};

use crate::cluster::{Site, unattended};
use crate::examples::{FOLDERS, examples, folder, leaves, ours};
use crate::figures::figure;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// All examples of one version as one stream.
struct Corpus {
    version: &'static str,
    text: String,
}

impl Corpus {
    fn objects(&self) -> Vec<Value> {
        ours(&self.text)
    }
}

/// Says that a promise held for all examples.
fn kept(promise: &str, counted: &str) {
    let count =
        |folder| examples(folder).iter().map(|example| ours(&example.text_in("x")).len()).sum::<usize>();
    let objects: Vec<String> =
        FOLDERS.iter().map(|(version, folder)| format!("{} as {version}", count(folder))).collect();
    figure(promise, format_args!("{} objects, {counted}", objects.join(" and ")));
}

/// The examples of each version, in namespaces that start with `test`.
fn corpora(site: &Site, test: &str) -> Vec<Corpus> {
    let read = |(version, folder)| {
        let texts = examples(folder).into_iter().map(|example| {
            let namespace = format!("{test}-{version}-{}", example.name);
            example.text_in(site.namespace(&namespace))
        });
        Corpus { version, text: texts.collect::<Vec<_>>().join("\n---\n") }
    };
    FOLDERS.into_iter().map(read).collect()
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap()
}

/// The object as a manifest: without what the server keeps.
pub(crate) fn manifest(object: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations"));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    object
}

#[test]
fn a_second_apply_says_unchanged() {
    let site = unattended();
    for corpus in corpora(&site, "again") {
        let first = site.kubectl(&["apply", "-f", "-"], &corpus.text).ok();
        assert!(first.lines().all(|line| line.ends_with(" created")), "{first}");
        let second = site.kubectl(&["apply", "-f", "-"], &corpus.text).ok();
        assert!(second.lines().all(|line| line.ends_with(" unchanged")), "{second}");
    }
    kept("T1", "second apply: 0 changed");
}

#[test]
fn kubectl_diff_finds_nothing_after_an_apply() {
    let site = unattended();
    for corpus in corpora(&site, "diff") {
        site.kubectl(&["apply", "-f", "-"], &corpus.text).ok();
        assert_eq!(site.kubectl(&["diff", "-f", "-"], &corpus.text).ok(), "");
    }
    kept("T2", "0 differences");
}

#[test]
fn kubectl_diff_finds_nothing_after_a_server_side_apply() {
    let site = unattended();
    for corpus in corpora(&site, "diff-ssa") {
        let flags = ["--server-side", "--field-manager=ci", "-f", "-"];
        site.kubectl(&[["apply"].as_slice(), &flags].concat(), &corpus.text).ok();
        assert_eq!(site.kubectl(&[["diff"].as_slice(), &flags].concat(), &corpus.text).ok(), "");
    }
    kept("T4", "0 differences server-side");
}

#[test]
fn three_identical_applies_leave_generation_1() {
    let site = unattended();
    for (test, flags) in
        [("gen-client", ["apply", "-f", "-"].as_slice()), ("gen-ssa", &["apply", "--server-side", "-f", "-"])]
    {
        for corpus in corpora(&site, test) {
            for _ in 0..3 {
                site.kubectl(flags, &corpus.text).ok();
            }
            for object in corpus.objects() {
                for version in ["v1alpha1", "v1beta1"] {
                    assert_eq!(generation(&site.api.read_as(&object, version)), 1, "{test}: {object}");
                }
            }
        }
    }
    kept("T3", "3 applies client-side and 3 server-side: generation 1 in both versions");
}

#[test]
fn a_forced_server_side_dry_run_equals_what_is_live() {
    let site = unattended();
    for corpus in corpora(&site, "forced") {
        for object in corpus.objects() {
            site.api.apply(&object, "flux", "&force=true").ok();
            let live = site.api.read(&object);
            let dry = site.api.apply(&object, "flux", "&force=true&dryRun=All").ok();
            for part in ["/spec", "/metadata/labels", "/metadata/annotations", "/metadata/generation"] {
                assert_eq!(live.pointer(part), dry.pointer(part), "{}", corpus.version);
            }
        }
    }
    kept("T5", "0 differences between a forced dry run and live");
}

#[test]
fn the_three_way_merge_of_file_last_applied_and_live_predicts_no_change() {
    let site = unattended();
    for corpus in corpora(&site, "merge") {
        site.kubectl(&["apply", "-f", "-"], &corpus.text).ok();
        for object in corpus.objects() {
            let live = site.api.read(&object);
            let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
            let last: Value = serde_json::from_str(text).unwrap();
            // What is merged carries the annotation that it is about to write.
            let mut file = object.clone();
            file["metadata"]["annotations"][LAST_APPLIED] = text.into();
            assert_eq!(three_way(&last, &file, &live), json!({}), "{}", corpus.version);
            file["metadata"]["labels"]["new"] = "yes".into();
            assert_eq!(three_way(&last, &file, &live), json!({"metadata": {"labels": {"new": "yes"}}}));
        }
    }
    kept("T6", "0 changes predicted");
}

#[test]
fn a_second_field_manager_meets_no_conflict() {
    let site = unattended();
    for corpus in corpora(&site, "second") {
        for manager in ["--field-manager=first", "--field-manager=second"] {
            site.kubectl(&["apply", "--server-side", manager, "-f", "-"], &corpus.text).ok();
        }
    }
    kept("T7", "0 conflicts");
}

#[test]
fn every_written_leaf_comes_back_as_it_was_written() {
    let mut count = 0;
    let site = unattended();
    for corpus in corpora(&site, "leaves") {
        site.kubectl(&["apply", "-f", "-"], &corpus.text).ok();
        for object in corpus.objects() {
            let resource = format!(
                "{}.{}.mcp-hangar.io",
                object["kind"].as_str().unwrap().to_lowercase(),
                corpus.version
            );
            let [name, namespace] =
                ["name", "namespace"].map(|key| object["metadata"][key].as_str().unwrap());
            let text = site.kubectl(&["get", &resource, name, "-n", namespace, "-o", "json"], "").ok();
            let live: Value = serde_json::from_str(&text).unwrap();
            for (path, written) in leaves(&object) {
                assert_eq!(live.pointer(&path), Some(&written), "{path} of {name}, {}", corpus.version);
                count += 1;
            }
        }
    }
    kept("T8", &format!("{count} leaves come back as written"));
}

#[test]
fn server_side_apply_may_switch_versions_and_back() {
    let site = unattended();
    for corpus in corpora(&site, "switch") {
        let other = if corpus.version == "v1alpha1" { "v1beta1" } else { "v1alpha1" };
        for object in corpus.objects() {
            site.api.apply(&object, "ci", "").ok();
            let before = site.api.read_as(&object, "v1beta1");
            site.api.apply(&manifest(&site.api.read_as(&object, other)), "ci", "").ok();
            site.api.apply(&object, "ci", "").ok();
            let after = site.api.read_as(&object, "v1beta1");
            assert_eq!(
                (&before["spec"], generation(&before)),
                (&after["spec"], generation(&after)),
                "{object}"
            );
        }
    }
    kept("T11", "applied in the other version and back: 0 errors, 0 changes");
}

#[test]
fn a_minimal_manifest_may_switch_its_mode_and_back() {
    let site = unattended();
    site.namespace("modes");
    let manifest = |name: &str, version: &str, spec: &Value| {
        json!({"apiVersion": format!("mcp-hangar.io/{version}"), "kind": "MCPProvider",
            "metadata": {"name": name, "namespace": "modes"}, "spec": spec})
        .to_string()
    };
    let url = "https://tools.example.com/mcp";
    let versions = [
        (
            "v1alpha1",
            json!({"mode": "container", "image": "acme/tools:1"}),
            json!({"mode": "remote", "endpoint": url}),
        ),
        (
            "v1beta1",
            json!({"mode": "Container", "container": {"image": "acme/tools:1"}}),
            json!({"mode": "Remote", "remote": {"endpoint": url}}),
        ),
    ];
    for (version, container, remote) in &versions {
        for (name, flags) in
            [("client", ["apply", "-f", "-"].as_slice()), ("server", &["apply", "--server-side", "-f", "-"])]
        {
            let name = format!("{name}-{version}");
            for (spec, says) in [(container, "created"), (remote, "configured"), (container, "configured")] {
                let said = site.kubectl(flags, &manifest(&name, version, spec)).ok();
                let says = if flags.len() > 3 { "serverside-applied" } else { says };
                assert_eq!(said, format!("mcpprovider.mcp-hangar.io/{name} {says}\n"));
            }
            let live = site
                .api
                .get(&format!("/apis/mcp-hangar.io/{version}/namespaces/modes/mcpproviders/{name}"))
                .ok();
            // Conditions may speak of it until the operator has looked again.
            assert!(!self::manifest(&live).to_string().contains(url), "{live}");
        }
    }
    figure(
        "T15",
        "container to remote and back, both versions, client-side and server-side: 8 changes, 0 refused",
    );
}

#[test]
fn empty_values_and_nulls_in_a_file_do_not_read_as_drift() {
    let site = unattended();
    site.namespace("empties");
    for name in [
        "empty-values.v1alpha1.yaml",
        "empty-values.v1beta1.yaml",
        "nulls.v1alpha1.yaml",
        "nulls.v1beta1.yaml",
    ] {
        let text = std::fs::read_to_string(folder("tests/data").join(name)).unwrap();
        let (client, server) = (text.replace("NAME", "client"), text.replace("NAME", "server"));
        let apply = ["apply", "-f", "-"];
        assert!(site.kubectl(&apply, &client).ok().ends_with(" created\n"));
        assert!(site.kubectl(&apply, &client).ok().ends_with(" unchanged\n"), "{name}");
        assert_eq!(site.kubectl(&["diff", "-f", "-"], &client).ok(), "");
        let server_side = |verb| site.kubectl(&[verb, "--server-side", "-f", "-"], &server);
        server_side("apply").ok();
        server_side("apply").ok();
        assert_eq!(server_side("diff").ok(), "", "{name}");
        for object in ours(&client) {
            assert_eq!(generation(&site.api.read(&object)), 1);
            site.api.delete(&crate::api::path(&object)).ok();
        }
        site.api.delete(&crate::api::path(&ours(&server)[0]));
    }
}

#[test]
fn a_new_object_that_nobody_has_seen_reads_in_progress() {
    let site = unattended();
    for corpus in corpora(&site, "kstatus") {
        for object in corpus.objects() {
            let created = site.api.create(&object).ok();
            assert_eq!(kstatus(&created), "InProgress", "{created}");
            for version in ["v1alpha1", "v1beta1"] {
                assert_eq!(kstatus(&site.api.read_as(&object, version)), "InProgress");
            }
        }
    }
    kept("T18", "all InProgress");
}

/// What Flux and Argo CD read from an object of a kind that they do not know.
pub(crate) fn kstatus(object: &Value) -> &'static str {
    let is = |kind: &str, status: &str| {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|condition| condition["type"] == kind && condition["status"] == status)
    };
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return "InProgress";
    }
    if is("Reconciling", "True") {
        return "InProgress";
    }
    if is("Stalled", "True") {
        return "Failed";
    }
    if is("Ready", "False") || is("Ready", "Unknown") { "InProgress" } else { "Current" }
}

/// The merge patch of a client-side apply: what the file adds or changes, and what was applied once and is gone from it.
fn three_way(last: &Value, file: &Value, live: &Value) -> Value {
    let mut patch = difference(live, file, false);
    json_merge(&mut patch, difference(last, file, true));
    patch
}

/// The merge patch from one value to another; either its deletions or the rest of it.
fn difference(from: &Value, to: &Value, deletions: bool) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return json!({}) };
    let mut out = Map::new();
    for (key, new) in to {
        let nested = match (from.get(key), new) {
            (Some(old), new) if old == new => continue,
            (Some(old @ Value::Object(_)), Value::Object(_)) => difference(old, new, deletions),
            _ if deletions => continue,
            _ => new.clone(),
        };
        if nested != json!({}) || new == &json!({}) {
            out.insert(key.clone(), nested);
        }
    }
    if deletions {
        out.extend(from.keys().filter(|key| !to.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    }
    Value::Object(out)
}

fn json_merge(into: &mut Value, patch: Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                json_merge(into.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (into, patch) => *into = patch,
    }
}
