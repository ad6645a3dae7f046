//! One release that carries the operator and objects of its kinds: what works and what cannot, as docs/gitops.md has it.

use serde_json::json;

use crate::charts::OPERATOR;
use crate::cluster::{SETTLES, Site, alone, eventually};
use crate::figures::figure;
use crate::release::{HELM, HELMS, Helm, NAMESPACE, QUICK, RELEASE, sets};

/// Objects for `extraObjects`, one in each version.
fn objects(image: &str) -> String {
    let new = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider", "metadata": {"name": "new", "namespace": "default"},
        "spec": {"mode": "Container", "container": {"image": image}}});
    let old = json!({"apiVersion": "mcp-hangar.io/v1alpha1", "kind": "MCPProvider", "metadata": {"name": "old", "namespace": "default"},
        "spec": {"mode": "container", "image": image}});
    format!("extraObjects={}", json!([new, old]))
}

fn helm(site: &Site, helm: Helm, verb: &[&str], json: &[&str]) -> crate::cluster::Output {
    let flags = sets(&QUICK, json);
    let release = [RELEASE, OPERATOR, "-n", NAMESPACE, "--timeout=60s"];
    helm.run(site, &[verb, &release, &flags].concat())
}

fn images(site: &Site) -> Vec<String> {
    let list = site.api.get("/apis/mcp-hangar.io/v1beta1/namespaces/default/mcpproviders").ok();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["spec"]["container"]["image"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_release_that_carries_operator_and_objects_works_once_a_pod_is_ready_and_upgrades_as_any_other() {
    let site = alone();
    for one in HELMS {
        // The kinds are not there: Helm looks them all up before it installs anything.
        let said = helm(&site, one, &["install", "--create-namespace"], &[&objects("acme/tools:1")]).fails();
        assert!(said.contains("no matches for kind \"MCPProvider\""), "{said}");
        assert_eq!(site.names("/apis/apps/v1/deployments"), [""; 0]);
        site.kubectl(&["apply", "-f", "deploy/crds"], "").ok();
        eventually("the kinds are there", SETTLES, || {
            (site.api.get("/apis/mcp-hangar.io/v1beta1/mcpproviders").code == 200).then_some(())
        });
        // They are there, and no pod is ready yet, unless one is very fast. Helm creates what it does not know before the
        // webhook configurations, so that it is conversion that fails; a pipeline tries again.
        let first = helm(&site, one, &["install", "--create-namespace"], &[&objects("acme/tools:1")]);
        let away = ["failed calling webhook", "conversion webhook"];
        assert!(first.code == 0 || away.iter().any(|words| first.stderr.contains(words)), "{first:?}");
        site.kubectl(&["rollout", "status", "deployment", RELEASE, "-n", NAMESPACE, "--timeout=60s"], "")
            .works();
        eventually("another attempt works", SETTLES, || {
            let again = helm(&site, one, &["upgrade", "--install"], &[&objects("acme/tools:1")]);
            (again.code == 0).then_some(())
        });
        site.serves();
        assert_eq!(images(&site), ["acme/tools:1"; 2]);
        // Objects and pods change together.
        let pods = "podAnnotations={\"step\":\"two\"}";
        helm(&site, one, &["upgrade"], &[&objects("acme/tools:2"), pods]).works();
        site.kubectl(&["rollout", "status", "deployment", RELEASE, "-n", NAMESPACE, "--timeout=60s"], "")
            .works();
        assert_eq!(images(&site), ["acme/tools:2"; 2]);
        // A mistake in one of them stops the upgrade, in our words, and the objects stay.
        let said = helm(&site, one, &["upgrade"], &[&objects("acme tools:3"), pods]).fails();
        assert!(said.contains("[HGR"), "{said}");
        assert_eq!(images(&site), ["acme/tools:2"; 2]);
        one.run(&site, &["rollback", RELEASE, "-n", NAMESPACE, "--timeout=60s"]).works();
        assert_eq!(images(&site), ["acme/tools:2"; 2]);
        // The objects belong to the release, so they go with it; the kinds are kept.
        if one == HELM {
            // But Helm ends the operator first, and without it what was written as v1alpha1 cannot be deleted as such.
            one.uninstall(&site, NAMESPACE).fails();
            site.kubectl(&["delete", "mcpp", "--all"], "").ok();
        } else {
            let alone = objects("acme/tools:2").replace("v1alpha1", "v1beta1");
            let alone = alone.replace(
                r#"{"image":"acme/tools:2","mode":"container"}"#,
                r#"{"mode":"Container","container":{"image":"acme/tools:2"}}"#,
            );
            helm(&site, one, &["upgrade"], &[&alone, pods]).works();
        }
        one.uninstall(&site, NAMESPACE).works();
        assert_eq!(images(&site), [""; 0]);
        assert_eq!(one.run(&site, &["list", "-n", NAMESPACE, "-q"]).works().trim(), "");
        site.again();
    }
    figure(
        "one release",
        "CRDs missing: refused before anything is installed; first install over CRDs: fails until a pod is ready; another attempt, upgrades, a mistake, rollback: work; uninstall: works for v1beta1",
    );
}
