//! What a user reads when something is wrong: exact, complete, in the version he wrote, whichever way he sends it.

use serde_json::{Value, json};

use crate::cluster::{LAWLESS, Site, shared};
use crate::examples::{folder, leaves, ours, yaml_files};
use crate::webhook;

/// Runs kubectl on a manifest that is refused, in each way that a user may send it; what it says must be the text.
fn refused(manifest: &str, expected: &str) {
    let site = shared();
    let ways: [&[&str]; 4] = [
        &["apply", "-f", "-"],
        &["apply", "--server-side", "-f", "-"],
        &["create", "-f", "-"],
        &["apply", "--dry-run=server", "-f", "-"],
    ];
    for way in ways {
        let said = site.kubectl(way, manifest).fails();
        assert_eq!(said, expected, "kubectl {}", way.join(" "));
    }
}

fn data(name: &str) -> String {
    std::fs::read_to_string(folder("tests/data").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn four_mistakes_in_one_manifest_are_all_named_in_one_answer_in_either_version() {
    for version in ["v1alpha1", "v1beta1"] {
        refused(
            &data(&format!("four-mistakes.{version}.yaml")),
            &data(&format!("four-mistakes.{version}.txt")),
        );
    }
}

#[test]
fn several_objects_in_one_file_each_get_their_whole_list() {
    let manifest = [data("four-mistakes.v1alpha1.yaml"), data("four-mistakes.v1beta1.yaml")].join("\n---\n");
    let said = shared().kubectl(&["apply", "-f", "-"], &manifest).fails();
    for code in ["HGR101", "HGR102", "HGR110", "HGR130"] {
        assert_eq!(said.matches(code).count(), 2, "{said}");
    }
}

#[test]
fn an_object_whose_name_the_server_makes_up_is_named_by_what_its_author_wrote() {
    let manifest = r#"{"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProviderGroup",
        "metadata": {"generateName": "search-", "namespace": "default"}, "spec": {"selector": {}, "strategy": "Random", "failover": {"retryDelay": "1"}}}"#;
    let said = shared().kubectl(&["create", "-f", "-"], manifest).fails();
    let expected = "The MCPProviderGroup \"search-\" is invalid: spec.failover.retryDelay: Invalid value: \"1\": \
        a duration needs a unit; write \"1s\" or \"1m\" [HGR110]\n";
    assert_eq!(said, expected);
}

#[test]
fn what_kubectl_says_to_a_rejected_example_is_the_text_beside_it() {
    let site = shared();
    let mut differences = String::new();
    for path in yaml_files("examples/rejected") {
        let manifest = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        let said = site.kubectl(&["apply", "-f", &manifest], "").fails();
        if said != expected {
            differences.push_str(&format!("{manifest}\nkubectl says:\n{said}\nthe text:\n{expected}\n"));
        }
    }
    assert_eq!(differences, "", "examples/rejected/record.sh writes the texts anew:\n{differences}");
}

#[test]
fn the_manifests_of_the_first_release_are_taken_byte_for_byte_and_come_back_unchanged() {
    let site = shared();
    for name in ["first-release-minimal.yaml", "first-release-full.yaml"] {
        let text = data(name);
        let file = folder("tests/data").join(name);
        let file = file.to_str().unwrap();
        let said = site.kubectl(&["apply", "-f", file], "").ok();
        assert!(said.lines().all(|line| line.ends_with(" created")), "{said}");
        let again = site.kubectl(&["apply", "-f", file], "").ok();
        assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
        for written in ours(&text) {
            let live = site.api.read(&written);
            for (path, leaf) in leaves(&written) {
                assert_eq!(live.pointer(&path), Some(&leaf), "{name} {path}");
            }
            assert_eq!(live["metadata"]["generation"], 1);
        }
    }
}

#[test]
fn an_object_that_was_wrong_before_stays_updatable_until_the_mistake_itself_is_touched() {
    let site = shared();
    // Stored where no rule is asked. The reviews are those that the API server would send if one were.
    let object = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": "old", "namespace": LAWLESS},
        "spec": {"mode": "container", "image": "acme/tools:1", "idleTTL": "5m", "tools": {"allowList": ["a", "a"]}}});
    site.api.create(&object).ok();
    for (version, image) in [("v1alpha1", "/spec/image"), ("v1beta1", "/spec/container/image")] {
        let old = site.api.read_as(&object, version);
        let mut new = old.clone();
        *new.pointer_mut(image).unwrap() = "acme/tools:2".into();
        let answer = review(&site, &new, &old);
        assert_eq!(answer["response"]["allowed"], true, "{answer}");
        new["spec"]["tools"]["allowList"] = json!(["a", "a", "a"]);
        let answer = review(&site, &new, &old);
        assert_eq!(answer["response"]["allowed"], false, "{answer}");
    }
}

fn review(site: &Site, new: &Value, old: &Value) -> Value {
    let version = new["apiVersion"].as_str().unwrap().rsplit('/').next().unwrap();
    let request = json!({"uid": "one", "operation": "UPDATE", "name": "old", "namespace": LAWLESS,
        "kind": {"group": "mcp-hangar.io", "version": version, "kind": "MCPProvider"}, "object": new, "oldObject": old});
    webhook::post(
        site,
        "/default",
        &json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}),
    )
    .1
}
