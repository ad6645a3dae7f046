//! What v1alpha1 cannot say survives those who write v1alpha1: hub value and generation, whoever applies and how.
//!
//! Each case exports a v1beta1 object as v1alpha1, changes the export, and applies it client-side and server-side.

use serde_json::{Value, json};

use crate::api::{as_version, path};
use crate::cluster::{Output, Shared, unattended};
use crate::figures::figure;
use crate::gitops::manifest;

const STASH: &str = "mcp-hangar.io/conversion-data";

#[derive(Clone, Copy)]
enum Way {
    Client,
    Server,
}

/// A namespace with one object that says more than v1alpha1 can.
struct Scene {
    site: Shared,
    way: Way,
    hub: Value,
}

/// Runs a case both ways, each on a new object.
fn both_ways(name: &str, case: impl Fn(&Scene)) {
    let site = unattended();
    site.namespace(name);
    drop(site);
    for way in [Way::Client, Way::Server] {
        let own = if matches!(way, Way::Client) { "client" } else { "server" };
        let hub = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
            "metadata": {"name": own, "namespace": name},
            "spec": {"mode": "Container", "container": {"image": "acme/tools:1", "port": 9000, "env": [
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "LEVEL", "value": "info"},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}}});
        case(&Scene { site: unattended(), way, hub });
    }
    figure("T10b", format_args!("{name}, client-side and server-side: hub value and generation as promised"));
}

impl Scene {
    /// Stores the object as v1beta1 and returns what v1alpha1 makes of it.
    fn export(&self) -> Value {
        self.site.api.create(&self.hub).ok();
        self.exported()
    }

    fn exported(&self) -> Value {
        let export = manifest(&self.site.api.read_as(&self.hub, "v1alpha1"));
        assert!(export["metadata"]["annotations"][STASH].is_string(), "{export}");
        export
    }

    /// Applies a manifest; it must work, but may be commented on, and leave nothing that reads as drift.
    fn apply_as(&self, manifest: &Value, manager: &str) -> Output {
        let manager = format!("--field-manager={manager}");
        let flags: &[&str] = match self.way {
            Way::Client => &["-f", "-"],
            Way::Server => &["--server-side", "--force-conflicts", &manager, "-f", "-"],
        };
        let run = |verb| self.site.kubectl(&[&[verb], flags].concat(), &manifest.to_string());
        let output = run("apply");
        assert_eq!(output.code, 0, "{output:?}");
        let diff = run("diff");
        assert_eq!((diff.code, diff.stdout.as_str()), (0, ""), "{diff:?}");
        output
    }

    fn apply(&self, manifest: &Value) -> Output {
        self.apply_as(manifest, "ci")
    }

    /// The hub's spec and generation.
    fn stored(&self) -> (Value, i64) {
        let object = self.site.api.read(&self.hub);
        (object["spec"].clone(), object["metadata"]["generation"].as_i64().unwrap())
    }
}

fn without_stash(manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    manifest["metadata"].as_object_mut().unwrap().remove("annotations");
    manifest
}

/// Changes the env of an export, and of the hub as it should then be.
fn edit_env(name: &str, edit: fn(&mut Vec<Value>)) {
    both_ways(name, |scene| {
        let mut file = scene.export();
        let (mut expected, _) = scene.stored();
        edit(file["spec"]["env"].as_array_mut().unwrap());
        edit(expected["container"]["env"].as_array_mut().unwrap());
        scene.apply(&file);
        assert_eq!(scene.stored(), (expected, 2));
    });
}

#[test]
fn a_reordered_env_takes_its_sources_along() {
    edit_env("stash-reordered", |env| env.rotate_left(1));
}

#[test]
fn an_item_that_is_removed_leaves_its_source_to_nobody() {
    edit_env("stash-removed", |env| drop(env.remove(0)));
}

#[test]
fn an_item_that_is_given_a_value_keeps_only_the_value() {
    edit_env("stash-value", |env| env[0] = json!({"name": "NODE", "value": "n1"}));
}

#[test]
fn a_file_without_the_annotation_drops_nothing() {
    both_ways("stash-absent", |scene| {
        let export = scene.export();
        let (mut expected, _) = scene.stored();
        for file in [&without_stash(&export), &export, &without_stash(&export)] {
            scene.apply(file);
            assert_eq!(scene.stored(), (expected.clone(), 1));
        }
        let mut file = without_stash(&export);
        file["spec"]["image"] = "acme/tools:2".into();
        expected["container"]["image"] = "acme/tools:2".into();
        scene.apply(&file);
        assert_eq!(scene.stored(), (expected, 2));
    });
}

#[test]
fn an_old_export_does_not_revert_what_the_hub_was_given_since() {
    both_ways("stash-old", |scene| {
        let export = scene.export();
        scene.apply(&export);
        let port = json!({"spec": {"container": {"port": 9001}}});
        scene.site.api.merge_patch(&path(&scene.hub), &port).ok();
        let expected = scene.stored();
        assert_eq!((&expected.0["container"]["port"], expected.1), (&json!(9001), 2));
        // The file holds an annotation of ours, so its author is told.
        let said = scene.apply(&export).stderr;
        assert!(said.contains(&format!("Warning: metadata.annotations[{STASH}]: kept as stored")), "{said}");
        assert_eq!(scene.stored(), expected);
    });
}

#[test]
fn one_manager_may_alternate_between_versions() {
    both_ways("stash-one", |scene| {
        scene.apply(&scene.hub);
        let expected = scene.stored();
        let file = without_stash(&scene.exported());
        for manifest in [&file, &scene.hub, &file, &scene.hub] {
            scene.apply(manifest);
            assert_eq!(scene.stored(), (expected.0.clone(), 1), "after {manifest}");
        }
    });
}

#[test]
fn two_managers_may_alternate_between_versions() {
    both_ways("stash-two", |scene| {
        scene.apply_as(&scene.hub, "new");
        let expected = scene.stored();
        let file = without_stash(&scene.exported());
        for (manifest, manager) in [(&file, "old"), (&scene.hub, "new"), (&file, "old"), (&scene.hub, "new")]
        {
            scene.apply_as(manifest, manager);
            assert_eq!(scene.stored(), (expected.0.clone(), 1), "after {manager}");
        }
    });
}

#[test]
fn a_backup_taken_as_v1alpha1_restores_all_of_it() {
    both_ways("stash-backup", |scene| {
        let export = scene.export();
        let (expected, _) = scene.stored();
        scene.site.api.delete(&path(&scene.hub)).ok();
        scene.apply(&export);
        assert_eq!(scene.stored(), (expected, 1));
        assert_eq!(scene.exported(), export);
    });
}

#[test]
fn every_way_of_writing_v1alpha1_keeps_what_only_the_hub_can_say() {
    let site = unattended();
    site.namespace("stash-writes");
    let hub = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
        "metadata": {"name": "tools", "namespace": "stash-writes"},
        "spec": {"mode": "Container", "container": {"image": "acme/tools:1", "port": 9000, "path": "/x"}}});
    site.api.create(&hub).ok();
    let expected = site.api.read(&hub)["spec"].clone();
    let spoke = as_version(&hub, "v1alpha1");
    let place = path(&spoke);

    let mut object = site.api.read(&spoke);
    object["metadata"].as_object_mut().unwrap().remove("annotations");
    site.api.put(&place, &object).ok();
    assert_eq!(site.api.read(&hub)["spec"], expected, "replace");

    site.api.merge_patch(&place, &json!({"metadata": {"annotations": {STASH: null}}})).ok();
    assert_eq!(site.api.read(&hub)["spec"], expected, "merge patch");

    let remove = json!([{"op": "remove", "path": "/metadata/annotations/mcp-hangar.io~1conversion-data"}]);
    site.api.json_patch(&place, &remove).ok();
    assert_eq!(site.api.read(&hub)["spec"], expected, "json patch");

    site.api.merge_patch(&format!("{place}/scale"), &json!({"spec": {"replicas": 3}})).ok();
    let mut scaled = expected;
    scaled["replicas"] = json!(3);
    assert_eq!(site.api.read(&hub)["spec"], scaled, "scale");

    site.api
        .merge_patch(
            &format!("{place}/status"),
            &json!({"status": {"state": "Cold", "observedGeneration": 2}}),
        )
        .ok();
    let stored = site.api.read(&hub);
    assert_eq!(
        (&stored["spec"], &stored["status"]["state"], &stored["metadata"]["generation"]),
        (&scaled, &json!("Cold"), &json!(2)),
        "status"
    );
}
