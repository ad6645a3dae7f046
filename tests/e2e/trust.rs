//! The certificates look after themselves: bundles that are wiped and Secrets that are lost or spoilt heal while calls
//! go on, and any number of replicas agrees on one CA.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::bundles::{HEALS, RESTORED, Repairs, stays_quiet};
pub(crate) use crate::bundles::{TARGETS, bundles};
use crate::cluster::{Cluster, Site, borrow_one, eventually, explain, shared};
use crate::load::Load;
use crate::operator::{LOOPBACK, Operator};
use crate::webhook::{SECRET, authority, connect};

#[test]
fn a_start_on_an_empty_cluster_writes_each_definition_once_and_has_nothing_to_complain_of() {
    let site = shared();
    for (path, _) in &TARGETS[..3] {
        assert_eq!(site.api.get(path).ok()["metadata"]["generation"], 1, "{path}");
    }
    site.operator.said("self-test passed");
    let lines = site.operator.lines();
    let start =
        lines.iter().position(|line| line["message"].as_str().unwrap().contains("self-test passed")).unwrap();
    for line in &lines[..=start] {
        assert_eq!(line["level"], "INFO", "{line}");
    }
}

#[test]
fn a_bundle_that_is_wiped_is_back_within_two_seconds_and_then_nobody_writes_any_more() {
    let site = borrow_one();
    let mut repairs = Repairs::default();
    let good = bundles(&site);
    assert_eq!(good, vec![authority(&site.api); TARGETS.len()]);
    for (path, pointer) in TARGETS {
        for spoilt in [Value::Null, json!("bm90IGEgY2VydGlmaWNhdGU="), json!("")] {
            // A CRD with a bundle that is none is refused, so a user cannot get there either.
            let patch = match spoilt {
                Value::Null => json!([{"op": "remove", "path": pointer}]),
                spoilt => json!([{"op": "replace", "path": pointer, "value": spoilt}]),
            };
            let reply = site.api.json_patch(path, &patch);
            if reply.code == 422 {
                continue;
            }
            reply.ok();
            repairs.wait(&format!("the bundle of {path} is back"), || bundles(&site) == good);
        }
    }
    repairs.keep_the_promise();
    eventually("calls work again", HEALS * 5, || site.answers().then_some(()));
    stays_quiet(&site);
}

#[test]
fn a_configuration_that_is_replaced_or_deleted_whole_is_put_right() {
    let site = borrow_one();
    let mut repairs = Repairs::default();
    let good = bundles(&site);
    for (path, pointer) in TARGETS {
        // What `kubectl replace` with a manifest of a release does: no bundle, and the address of a Service.
        let mut object = site.api.get(path).ok();
        let client = object.pointer_mut(pointer.strip_suffix("/caBundle").unwrap()).unwrap();
        *client =
            json!({"service": {"name": "elsewhere", "namespace": "mcp-system", "path": "/x", "port": 443}});
        site.api.put(path, &object).ok();
        repairs.wait(&format!("{path} is put right"), || bundles(&site) == good);
    }
    for (path, _) in &TARGETS[3..] {
        site.api.delete(path).ok();
        repairs.wait(&format!("{path} is there again"), || bundles(&site) == good);
    }
    repairs.keep_the_promise();
    eventually("calls work again", HEALS * 5, || site.answers().then_some(()));
    stays_quiet(&site);
}

#[test]
fn what_weakens_a_configuration_is_put_right_and_its_selectors_are_left_to_whoever_set_them() {
    let site = borrow_one();
    let team = json!({"matchLabels": {"team": "x"}});
    let mut repairs = Repairs::default();
    for (path, _) in &TARGETS[3..] {
        let entry = || {
            let mut entry = site.api.get(path).ok()["webhooks"][0].clone();
            entry.as_object_mut().unwrap().remove("objectSelector").unwrap();
            entry
        };
        let good = entry();
        for (key, weak) in [
            ("failurePolicy", json!("Ignore")),
            ("matchPolicy", json!("Exact")),
            ("timeoutSeconds", json!(1)),
            ("matchConditions", json!([{"name": "never", "expression": "false"}])),
            (
                "rules",
                json!([{"apiGroups": ["x"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["y"]}]),
            ),
        ] {
            let patch = json!([
                {"op": "replace", "path": format!("/webhooks/0/{key}"), "value": weak},
                {"op": "replace", "path": "/webhooks/0/objectSelector", "value": team},
            ]);
            site.api.json_patch(path, &patch).ok();
            repairs.wait(&format!("{key} of {path} is put right"), || entry() == good);
        }
        assert_eq!(site.api.get(path).ok()["webhooks"][0]["objectSelector"], team);
    }
    repairs.keep_the_promise();
    stays_quiet(&site);
    for (path, _) in &TARGETS[3..] {
        let everything = json!([{"op": "replace", "path": "/webhooks/0/objectSelector", "value": {}}]);
        site.api.json_patch(path, &everything).ok();
    }
    eventually("calls work again", HEALS * 5, || site.answers().then_some(()));
    stays_quiet(&site);
}

/// Does something to the Secret while calls go on; the same CA must be back in time, and no call may fail.
fn survives(site: &Site, what: &str, spoil: impl Fn()) {
    let good = authority(&site.api);
    let load = Load::start(&site.folder.join("kubeconfig"), 2);
    spoil();
    eventually(&format!("the Secret is back after it was {what}"), RESTORED, || {
        let secret = site.api.get(SECRET).body;
        let key =
            secret["data"]["ca.key"].as_str().and_then(|key| STANDARD.decode(key).ok()).unwrap_or_default();
        (authority(&site.api) == good && key.starts_with(b"-----BEGIN")).then_some(())
    });
    load.goes_on();
    load.end();
    assert_eq!(bundles(site), vec![good; TARGETS.len()], "{what}");
}

#[test]
fn a_secret_that_is_deleted_comes_back_with_the_same_ca_and_no_call_fails() {
    let site = borrow_one();
    for _ in 0..3 {
        survives(&site, "deleted", || drop(site.api.delete(SECRET).ok()));
    }
    stays_quiet(&site);
}

#[test]
fn a_secret_that_is_spoilt_is_restored_and_no_call_fails() {
    let site = borrow_one();
    let garbage = STANDARD.encode("garbage \u{0}");
    let foreign = STANDARD.encode(foreign_key());
    for (what, data) in [
        ("given a key that is none", json!({"ca.key": garbage})),
        ("given a key of another certificate", json!({"ca.key": foreign})),
        ("given a certificate that is none", json!({"ca.crt": garbage})),
        ("emptied", json!({"ca.crt": "", "ca.key": ""})),
        ("robbed of its keys", json!({"ca.crt": null, "ca.key": null})),
        ("robbed of all data", Value::Null),
    ] {
        survives(&site, what, || drop(site.api.merge_patch(SECRET, &json!({"data": data})).ok()));
    }
    stays_quiet(&site);
}

#[test]
fn an_operator_that_finds_a_spoilt_secret_or_none_makes_a_new_ca_and_is_used_at_once() {
    let mut site = borrow_one();
    for spoil in [json!({"data": {"ca.key": ""}}), Value::Null] {
        let before = authority(&site.api);
        site.operator.kill();
        match &spoil {
            Value::Null => site.api.delete(SECRET).ok(),
            patch => site.api.merge_patch(SECRET, patch).ok(),
        };
        site.restart_operator();
        let after = authority(&site.api);
        assert_ne!(after, before);
        assert_eq!(bundles(&site), vec![after; TARGETS.len()]);
    }
    stays_quiet(&site);
}

/// A good private key that belongs to no certificate here.
fn foreign_key() -> String {
    mcp_hangar_webhooks::tls::Authority::generate("foreign", std::time::SystemTime::now()).unwrap().key_pem()
}

#[test]
fn twenty_replicas_that_start_at_once_make_one_ca_and_every_certificate_verifies() {
    let cluster = Cluster::start("replicas");
    cluster.namespace("mcp-system");
    // As in the quick start: the CRDs come first, and nothing answers at the Service they name.
    let said = cluster.kubectl(&["apply", "-f", "deploy/crds"], "").ok();
    assert_eq!(said.lines().filter(|line| line.ends_with(" created")).count(), 3, "{said}");
    let endpoint = mcp_hangar_operator::manifests::Endpoint::default_service("mcp-system");
    for (kind, object) in [
        (
            "mutating",
            serde_json::to_value(mcp_hangar_operator::manifests::mutating(
                "mcp-hangar-operator",
                &endpoint,
                None,
            ))
            .unwrap(),
        ),
        (
            "validating",
            serde_json::to_value(mcp_hangar_operator::manifests::validating(
                "mcp-hangar-operator",
                &endpoint,
                None,
            ))
            .unwrap(),
        ),
    ] {
        cluster
            .api
            .post(&format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations"), &object)
            .ok();
    }
    let mut replicas: Vec<Operator> = (0..20)
        .map(|number| Operator::start(&cluster.folder, &format!("replica-{number}"), &LOOPBACK))
        .collect();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one_ca(&cluster, &mut replicas)));
    if let Err(panic) = result {
        eprintln!("replica 0:");
        eprintln!("{}", replicas[0].log());
        std::panic::resume_unwind(panic);
    }
}

fn one_ca(cluster: &Cluster, replicas: &mut [Operator]) {
    let addresses: Vec<_> = replicas.iter().map(Operator::webhooks).collect();
    let ca = eventually("a CA is there", Duration::from_secs(30), || {
        Some(authority(&cluster.api)).filter(|ca| !ca.is_empty())
    });
    for address in addresses {
        eventually("every replica presents a certificate of that CA", Duration::from_secs(30), || {
            connect(address, "mcp-hangar-operator-webhook.mcp-system.svc", &ca).ok()
        });
    }
    eventually("every target has the bundle", Duration::from_secs(30), || {
        (bundles(cluster) == vec![ca.clone(); TARGETS.len()]).then_some(())
    });
    let made: usize = replicas
        .iter()
        .map(|replica| replica.lines().iter().filter(|line| line["message"] == "CA created").count())
        .sum();
    assert_eq!((made, authority(&cluster.api)), (1, ca.clone()), "CAs made");
    stays_quiet(cluster);
    // A pipeline that owns the definitions does not see the bundle, unless it replaces them whole.
    let run = |arguments: &[&str]| cluster.kubectl(&[arguments, &["-f", "deploy/crds"]].concat(), "");
    let said = run(&["apply"]).ok();
    assert!(said.lines().all(|line| line.ends_with(" unchanged")), "{said}");
    assert_eq!(run(&["diff"]).ok(), "");
    run(&["apply", "--server-side", "--field-manager=flux", "--force-conflicts"]).ok();
    assert_eq!(run(&["diff", "--server-side", "--field-manager=flux"]).ok(), "");
    assert_eq!(bundles(cluster), vec![ca.clone(); TARGETS.len()]);
    run(&["replace"]).ok();
    // Twenty debug builds share two cores here with the other tests; how fast one heals is for the other statements.
    eventually("the bundles are back", Duration::from_secs(30), || {
        (bundles(cluster) == vec![ca.clone(); TARGETS.len()]).then_some(())
    });
    stays_quiet(cluster);
    // All of them see the loss; one restores it.
    cluster.api.delete(SECRET).ok();
    eventually("the Secret is back", RESTORED, || (authority(&cluster.api) == ca).then_some(()));
    stays_quiet(cluster);
    for replica in &*replicas {
        replica.terminate();
    }
    for replica in replicas {
        assert_eq!(replica.ended().code(), Some(0));
    }
}

#[test]
fn an_account_without_rights_ends_the_operator_with_a_list_of_what_is_missing() {
    let site = shared();
    let mut operator =
        Operator::start(&site.folder, "viewer", &[LOOPBACK.as_slice(), &["--context", "viewer"]].concat());
    let status = eventually("it gives up", Duration::from_secs(40), || {
        (!operator.is_running()).then(|| operator.ended())
    });
    explain(&operator);
    let last = operator.lines().pop().unwrap();
    let text = last["message"].as_str().unwrap();
    assert_eq!(
        (status.code(), &last["exit_code"], &last["kind"]),
        (Some(5), &json!(5), &json!("permission")),
        "{last}"
    );
    for words in [
        ["get", "watch", "secrets/mcp-hangar-operator-webhook-ca in namespace mcp-system"],
        ["", "create", "secrets in namespace mcp-system"],
        [
            "get",
            "patch",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io/mcp-hangar-operator in the whole cluster",
        ],
        [
            "list",
            "patch",
            "customresourcedefinitions.apiextensions.k8s.io/mcpproviders.mcp-hangar.io in the whole cluster",
        ],
        ["", "", "kubectl auth can-i "],
    ] {
        let said = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(said, "{words:?} are not in: {text}");
    }
}
