//! `certs` from a machine with a kubeconfig: in order, in the middle of a rotation, in trouble, and with too few rights.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::bundles::TARGETS;
use crate::cluster::{borrow_one, eventually, shared};
use crate::fleet::{Fleet, LONG};
use crate::webhook::SECRET;

struct Said {
    code: i32,
    text: String,
    errors: String,
}

/// Runs it as a user of a kubeconfig's context.
fn certs(folder: &Path, flags: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_mcp-hangar-operator"))
        .arg("certs")
        .args(flags)
        .env_clear()
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said =
        Said { code: output.status.code().unwrap(), text, errors: String::from_utf8(output.stderr).unwrap() };
    assert!(!said.text.contains("PRIVATE KEY") && !said.errors.contains("PRIVATE KEY"), "{}", said.text);
    said
}

#[test]
fn a_cluster_in_order_is_shown_with_its_ca_its_targets_and_the_certificate_that_is_served() {
    let site = borrow_one();
    site.operator.said("self-test passed");
    let said = certs(&site.folder, &["-o", "json"]);
    assert_eq!((said.code, said.errors.as_str()), (0, ""), "{}", said.text);
    let report: Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!(report["phase"], "Stable");
    assert_eq!(report["targets"].as_array().unwrap().len(), TARGETS.len());
    assert!(report["targets"].as_array().unwrap().iter().all(|target| target["inSync"] == true), "{report}");
    // The webhooks are on loopback here, so that the certificate is seen.
    let leaf = &report["served"][0]["certificate"];
    assert!((5..=6).contains(&leaf["daysLeft"].as_i64().unwrap()), "{report}");
    let table = certs(&site.folder, &[]).text;
    for words in [
        "PHASE     Stable since",
        "in sync (https://127.0.0.1:",
        "trusted; not after",
        report["ca"]["sha256"].as_str().unwrap(),
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

#[test]
fn trouble_is_named_and_has_an_exit_code_of_its_own() {
    let mut site = borrow_one();
    site.operator.said("self-test passed");
    site.operator.kill();
    let (path, pointer) = TARGETS[0];
    let good = site.api.get(path).ok();
    site.api.json_patch(path, &json!([{"op": "remove", "path": pointer}])).ok();
    let said = certs(&site.folder, &[]);
    assert_eq!(said.code, 6, "{}", said.text);
    for words in [
        "NEEDS A LOOK",
        "customresourcedefinition mcpproviders.mcp-hangar.io: it has no caBundle",
        "not reached from here",
    ] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    let bundle = json!([{"op": "add", "path": pointer, "value": good.pointer(pointer).unwrap()}]);
    site.api.json_patch(path, &bundle).ok();
    site.api.delete(SECRET).ok();
    let said = certs(&site.folder, &[]);
    assert_eq!(said.code, 6, "{}", said.text);
    assert!(
        said.text.contains("there is no CA Secret mcp-system/mcp-hangar-operator-webhook-ca"),
        "{}",
        said.text
    );
    site.restart_operator();
    eventually("all is well again", LONG, || (certs(&site.folder, &[]).code == 0).then_some(()));
}

#[test]
fn an_account_that_may_not_read_the_secret_is_told_so_and_sees_the_rest() {
    let site = shared();
    let said = certs(&site.folder, &["--context", "viewer"]);
    assert_eq!(said.code, 5, "{}{}", said.text, said.errors);
    for words in [
        "failed to get secret mcp-system/mcp-hangar-operator-webhook-ca",
        "forbidden",
        "kubectl auth can-i get secret/mcp-hangar-operator-webhook-ca -n mcp-system",
    ] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
}

#[test]
fn a_rotation_is_shown_with_both_cas_and_what_it_waits_for() {
    let fleet = Fleet::start("certs", 1, &["--ca-rotation-publish-for=1h"]);
    fleet.ask();
    fleet.reaches("Publishing");
    eventually("all targets trust both", LONG, || {
        (certs(&fleet.cluster.folder, &[]).code == 0).then_some(())
    });
    let said = certs(&fleet.cluster.folder, &["--ca-rotation-publish-for=1h"]);
    for words in [
        "PHASE     Publishing since",
        "the newest CA was made for: requested",
        "NEXT CA   CN=",
        "every API server has had time",
        "LEADER    ",
    ] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
}
