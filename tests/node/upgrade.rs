//! Upgrades, rollbacks and whatever else is done to a release: the CA, the bundles and every untouched object stay.
//!
//! T16 and T20, by Helm 4 and Helm 3, from an older release of ours and from the first one's time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bundles::{HEALS, Repairs, TARGETS, bundles, stays_quiet};
use crate::charts::{self, DROPPED, OPERATOR};
use crate::cluster::{Site, alone, eventually, written};
use crate::examples::{FOLDERS, documents, examples, leaves, ours};
use crate::figures::figure;
use crate::release::{HELM, HELM3, HELMS, Helm, NAMESPACE, QUICK, RELEASE};
use crate::webhook::{SECRET, authority};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The names of the webhooks in both configurations.
fn webhooks(site: &Site) -> Vec<String> {
    let names = TARGETS[3..].iter().flat_map(|(path, _)| {
        let entries = site.api.get(path).ok()["webhooks"].as_array().unwrap().clone();
        entries.into_iter().map(|entry| entry["name"].as_str().unwrap().to_owned())
    });
    names.collect()
}

/// The bundle of every entry of ours; in the older chart ours is not the first.
fn our_bundles(site: &Site) -> Vec<Value> {
    let mut found = Vec::new();
    for (path, _) in TARGETS {
        let object = site.api.get(path).ok();
        let conversion = object.pointer("/spec/conversion/webhook/clientConfig").cloned();
        let entries = object["webhooks"].as_array().cloned().unwrap_or_default();
        let named = entries
            .into_iter()
            .filter(|entry| entry["name"] != DROPPED)
            .map(|entry| entry["clientConfig"].clone());
        found.extend(conversion.into_iter().chain(named).map(|client| client["caBundle"].clone()));
    }
    found
}

/// Providers that the sources among the examples find in the examples: two in a ConfigMap, two Services, in each version.
const DISCOVERED: usize = 8;

/// Applies every example in both versions, and returns what is stored of them, and of what they make.
fn apply_examples(site: &Site) -> BTreeMap<String, Value> {
    for (version, folder) in FOLDERS {
        for example in examples(folder) {
            let namespace = format!("kept-{version}-{}", example.name);
            site.kubectl(&["apply", "-f", "-"], &example.text_in(site.namespace(&namespace))).ok();
        }
    }
    eventually("the sources have looked, and have what they find", crate::cluster::SETTLES, || {
        let sources = site.api.get("/apis/mcp-hangar.io/v1beta1/mcpdiscoverysources").ok();
        let mut managed =
            sources["items"].as_array().unwrap().iter().map(|it| it["status"]["managedCount"].as_u64());
        let all = managed.try_fold(0, |sum, count| Some(sum + count?));
        (all == u64::try_from(DISCOVERED).ok()).then_some(())
    });
    stored(site)
}

/// Every object of ours as users wrote it.
fn stored(site: &Site) -> BTreeMap<String, Value> {
    let plurals = ["mcpproviders", "mcpprovidergroups", "mcpdiscoverysources"];
    let lists = plurals.map(|plural| {
        // After a write of a CRD the API server asks its callers to come again.
        eventually("objects are listed", HEALS * 5, || {
            let reply = site.api.get(&format!("/apis/mcp-hangar.io/v1beta1/{plural}"));
            (reply.code != 429).then(|| reply.ok())
        })
    });
    let items = lists.iter().flat_map(|list| list["items"].as_array().unwrap().clone());
    items
        .map(|item| {
            (format!("{}/{}", item["metadata"]["namespace"], item["metadata"]["name"]), written(item))
        })
        .collect()
}

/// Nothing of it has changed: neither an object nor the Secret, and every target has the bundle.
#[track_caller]
fn is_kept(site: &Site, what: &str, objects: &BTreeMap<String, Value>, secret: &Value) {
    eventually(&format!("calls work after {what}"), crate::cluster::SETTLES, || site.answers().then_some(()));
    let now = stored(site);
    assert_eq!(now.len(), objects.len(), "{what}");
    for (name, before) in objects {
        assert_eq!(&now[name], before, "{what}: {name}");
    }
    assert_eq!(&site.api.get(SECRET).ok()["data"], secret, "{what}");
}

/// A change that wipes no bundle: none is written again.
#[track_caller]
fn keeps_bundles(site: &Site, what: &str, change: impl FnOnce()) {
    let before = our_bundles(site);
    assert!(before.iter().all(|bundle| *bundle == before[0] && bundle.is_string()), "{what}: {before:?}");
    let written = writes(site);
    change();
    assert_eq!(our_bundles(site), before, "{what}");
    assert_eq!(writes(site), written, "{what}: nothing had to be written");
}

/// How often the targets' bundles were written, by managedFields: the times of the operator's own entries.
fn writes(site: &Site) -> Vec<Value> {
    let entries = TARGETS.iter().map(|(path, _)| {
        let object = site.api.get(path).ok();
        let fields = object["metadata"]["managedFields"].as_array().unwrap().clone();
        fields
            .into_iter()
            .find(|entry| entry["manager"] == RELEASE)
            .map_or(Value::Null, |entry| entry["time"].clone())
    });
    entries.collect()
}

#[test]
fn upgrades_and_rollbacks_by_either_helm_keep_every_object_the_ca_and_all_bundles() {
    let site = alone();
    let older = charts::older();
    for helm in HELMS {
        let install =
            ["install", RELEASE, &older, "-n", NAMESPACE, "--create-namespace", "--wait", "--timeout=120s"];
        helm.run(&site, &[install.as_slice(), &crate::release::sets(&QUICK, &[])].concat()).works();
        site.serves();
        let objects = apply_examples(&site);
        let secret = site.api.get(SECRET).ok()["data"].clone();
        assert_eq!(webhooks(&site), [DROPPED, "default.mcp-hangar.io", DROPPED, "validate.mcp-hangar.io"]);

        let upgrade = |chart: &str, value: &str| {
            helm.upgrade(&site, chart, &[], &[&QUICK[..], &[value]].concat()).works();
        };
        keeps_bundles(&site, "an upgrade with other values", || upgrade(&older, "operator.logLevel=debug"));
        is_kept(&site, "an upgrade with other values", &objects, &secret);

        keeps_bundles(&site, "an upgrade that drops an entry", || {
            upgrade(OPERATOR, "podAnnotations.step=two")
        });
        assert_eq!(webhooks(&site), ["default.mcp-hangar.io", "validate.mcp-hangar.io"]);
        is_kept(&site, "an upgrade that drops an entry", &objects, &secret);

        let rollback = ["rollback", RELEASE, "1", "-n", NAMESPACE, "--wait", "--timeout=120s"];
        helm.run(&site, &rollback).works();
        assert_eq!(webhooks(&site).len(), 4);
        eventually("every bundle is there", HEALS, || {
            let found = our_bundles(&site);
            found.iter().all(|bundle| *bundle == found[0] && bundle.is_string()).then_some(())
        });
        is_kept(&site, "a rollback", &objects, &secret);
        upgrade(OPERATOR, "replicaCount=2");
        is_kept(&site, "one more upgrade", &objects, &secret);
        stays_quiet(&site);
        let examples = FOLDERS.iter().flat_map(|(_, folder)| examples(folder));
        let objects = objects.len();
        let written: usize = examples.map(|example| ours(&example.text_in("x")).len()).sum();
        assert_eq!(written + DISCOVERED, objects);
        figure("T16", format_args!("{}: {objects} objects, 3 upgrades and a rollback: 0 changed", helm.0));
        figure(
            "T20",
            format_args!(
                "{}: other values, a dropped webhook entry, rollback: CA and 5 bundles kept",
                helm.0
            ),
        );
        site.again();
    }
}

#[test]
fn what_replaces_objects_whole_wipes_bundles_which_are_back_within_two_seconds() {
    let site = alone();
    HELM3.install(&site, NAMESPACE, &QUICK, &[]).works();
    site.serves();
    let objects = apply_examples(&site);
    let secret = site.api.get(SECRET).ok()["data"].clone();
    let good = vec![authority(&site.api); TARGETS.len()];
    assert_eq!(bundles(&site), good);
    let mut repairs = Repairs::default();
    // By their managers in the order in which people meet them. The last release must be of the Helm that goes on.
    let force3 = || drop(HELM3.upgrade(&site, OPERATOR, &["--force"], &QUICK).works());
    let force4 =
        || drop(HELM.upgrade(&site, OPERATOR, &["--force-replace", "--server-side=false"], &QUICK).works());
    let replace = || drop(site.kubectl(&["replace", "-f", "-"], &configurations(&site)).ok());
    let crds = || drop(site.kubectl(&["replace", "-f", "deploy/crds"], "").ok());
    let ways: [(&str, &dyn Fn()); 4] = [
        ("helm3 --force", &force3),
        ("kubectl replace", &replace),
        ("kubectl replace of CRDs", &crds),
        ("helm --force-replace", &force4),
    ];
    for (way, change) in ways {
        let before = writes(&site);
        change();
        repairs.wait(&format!("all bundles are back after {way}"), || bundles(&site) == good);
        assert_ne!(writes(&site), before, "{way} wiped nothing");
        is_kept(&site, way, &objects, &secret);
        stays_quiet(&site);
    }
    repairs.keep_the_promise();
    // What does not replace leaves them alone.
    let apply =
        |flags: &[&str]| drop(site.kubectl(&[&["apply", "-f", "deploy/crds"], flags].concat(), "").works());
    keeps_bundles(&site, "kubectl apply of CRDs", || apply(&[]));
    keeps_bundles(&site, "server-side apply of CRDs", || apply(&["--server-side", "--force-conflicts"]));
    keeps_bundles(&site, "server-side apply of the configurations", || {
        let flags = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        site.kubectl(&flags, &configurations(&site)).works();
    });
    is_kept(&site, "applies", &objects, &secret);
    figure(
        "T20",
        "helm3 --force, helm --force-replace, kubectl replace: bundles wiped and healed, then nobody writes; kubectl apply client-side and server-side: bundles kept",
    );
}

/// Both webhook configurations as the release's manifest has them.
fn configurations(site: &Site) -> String {
    let manifest = HELM.run(site, &["get", "manifest", RELEASE, "-n", NAMESPACE]).works();
    let wanted = manifest.split("\n---\n").filter(|text| {
        text.contains("\nkind: MutatingWebhook") || text.contains("\nkind: ValidatingWebhook")
    });
    wanted.collect::<Vec<_>>().join("\n---\n")
}

#[test]
fn a_release_of_the_first_ones_time_is_upgraded_with_its_objects() {
    let site = alone();
    let first = charts::first();
    let minimal = charts::read("tests/data/first-release-minimal.yaml");
    let full = charts::read("tests/data/first-release-full.yaml");
    for (helm, flags) in
        [(HELM, &["--take-ownership"][..]), (HELM3, &["--take-ownership"]), (HELM, &[]), (HELM3, &[])]
    {
        helm.run(&site, &["install", RELEASE, &first, "-n", NAMESPACE, "--create-namespace"]).works();
        eventually("the CRDs are served", crate::cluster::SETTLES, || {
            (site.api.get("/apis/mcp-hangar.io/v1alpha1/mcpdiscoverysources").code == 200).then_some(())
        });
        let written: Vec<Value> = [&minimal, &full].iter().flat_map(|text| ours(text)).collect();
        for text in [&minimal, &full] {
            eventually("kubectl knows the kinds", crate::cluster::SETTLES, || {
                (site.kubectl(&["apply", "-f", "-"], text).code == 0).then_some(())
            });
        }
        let before: Vec<Value> = written.iter().map(|object| site.api.read(object)).collect();
        if flags.is_empty() {
            // As the quick start has it: CRDs first, which also hands them to the release.
            let refused = upgrade(&site, helm, &[]).fails();
            assert!(refused.contains("invalid ownership metadata"), "{refused}");
            site.kubectl(&["apply", "-f", "deploy/crds"], "").works();
        }
        upgrade(&site, helm, flags).works();
        site.serves();
        for (object, before) in written.iter().zip(&before) {
            let after = site.api.read(object);
            let parts = [
                "/spec",
                "/metadata/uid",
                "/metadata/generation",
                "/metadata/annotations",
                "/metadata/labels",
            ];
            for part in parts {
                assert_eq!(after.pointer(part), before.pointer(part), "{} {part} of {object}", helm.0);
            }
            assert_eq!(site.api.read_as(object, "v1beta1")["metadata"]["uid"], before["metadata"]["uid"]);
        }
        // The same files again, as a pipeline does it every three minutes. Only what nobody had filled in is new.
        for text in [&minimal, &full] {
            site.kubectl(&["apply", "-f", "-"], text).works();
            let again = site.kubectl(&["apply", "-f", "-"], text).ok();
            assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
        }
        eventually("everything is stored as v1beta1", std::time::Duration::from_secs(60), || {
            let migrated = |name: &String| {
                site.api.get(&format!("{CRDS}/{name}")).ok()["status"]["storedVersions"] == json!(["v1beta1"])
            };
            site.names(CRDS).iter().all(migrated).then_some(())
        });
        let how = if flags.is_empty() {
            "kubectl apply -f deploy/crds, helm upgrade"
        } else {
            "helm upgrade --take-ownership"
        };
        figure(
            "T20",
            format_args!(
                "{} from the first release's time ({how}): {} objects kept, storedVersions [v1beta1]",
                helm.0,
                written.len()
            ),
        );
        site.again();
    }
}

fn upgrade(site: &Site, helm: Helm, flags: &[&str]) -> crate::cluster::Output {
    helm.upgrade(site, OPERATOR, flags, &QUICK)
}

#[test]
fn what_a_release_holds_is_the_same_twice_and_nothing_in_it_reads_as_drift() {
    let site = crate::cluster::shared();
    let template = |helm: Helm| {
        helm.run(&site, &["template", RELEASE, OPERATOR, "-n", NAMESPACE, "--skip-tests"]).works()
    };
    let rendered = HELMS.map(template);
    assert!(HELMS.map(template) == rendered, "two renderings by the same Helm differ");
    // The two put other numbers of empty lines between files.
    let lines =
        |text: &str| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    assert!(lines(&rendered[0]) == lines(&rendered[1]), "the renderings of the two differ");
    let installed = HELM.run(&site, &["get", "manifest", RELEASE, "-n", NAMESPACE]).works();
    let mut defaults = 0;
    let mut values = 0;
    for text in [&rendered[0], &installed] {
        assert!(!text.contains("helm.sh/hook"));
        for object in documents(text) {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            for (path, leaf) in leaves(&object) {
                let drifts =
                    leaf.is_null() || leaf == json!([]) || (path.ends_with("/nullable") && leaf == false);
                assert!(!drifts && !path.ends_with("/clientConfig/caBundle"), "{name}: {path} is {leaf}");
                values += 1;
            }
        }
    }
    for name in site.names(CRDS) {
        let crd = site.api.get(&format!("{CRDS}/{name}")).ok();
        walk(&crd["spec"]["versions"], false, &mut |below_items, key| {
            defaults += usize::from(key == "default");
            assert!(!(below_items && key == "default"), "{name}: a default below items");
        });
    }
    figure("T14", format_args!("{defaults} defaults in 3 CRDs, 0 of them below items"));
    figure(
        "T17",
        format_args!("{values} values rendered and installed: 0 of [], null, nullable: false, caBundle"),
    );
    figure(
        "T20",
        "helm template twice: byte-identical by Helm 4 and by Helm 3, and but for empty lines between the two",
    );
    // What the release says is what is there: somebody else who applied all of it would change nothing.
    let flags = ["--server-side", "--field-manager=drift", "--force-conflicts", "-f", "-"];
    let diff = site.kubectl(&[["diff"].as_slice(), &flags].concat(), &installed);
    assert_eq!((diff.code, diff.stdout.as_str()), (0, ""), "{}", diff.stderr);
}

/// Every key, with whether it stands below an `items` of a schema.
fn walk(value: &Value, below_items: bool, look: &mut impl FnMut(bool, &str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if !value.is_object() || key != "properties" {
                    look(below_items, key);
                }
                // A property may be called items or default.
                match (key.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        properties.values().for_each(|property| walk(property, below_items, look));
                    }
                    _ => walk(value, below_items || key == "items", look),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, below_items, look)),
        _ => {}
    }
}
