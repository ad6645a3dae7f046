//! Patches of targets: the smallest that puts them right, none where nothing is wrong or where it is not ours to write.

use mcp_hangar_webhooks::tls::Authority;

use super::*;
use crate::manifests::{self, BaseUrl};

const ENTRY: &str = manifests::DEFAULT_ENTRY;

fn bundle() -> Bundle {
    let now = SystemTime::now();
    Bundle::build([Authority::generate("test", now).unwrap().certificate_pem().as_str()], now).unwrap()
}

fn service() -> Endpoint {
    Endpoint::default_service("mcp-system")
}

fn url() -> Endpoint {
    Endpoint::Url(BaseUrl::parse("https://127.0.0.1:9443").unwrap())
}

fn entry(endpoint: &Endpoint, bundle: Option<&Bundle>) -> Value {
    let pem = bundle.map(|bundle| bundle.pem().as_bytes());
    serde_json::to_value(manifests::mutating("x", endpoint, pem)).unwrap()
}

fn crd(conversion: &Value) -> Value {
    let versions = VERSIONS.map(|name| json!({"name": name, "served": true}));
    json!({"spec": {"versions": versions, "conversion": conversion}})
}

fn conversion(endpoint: &Endpoint, bundle: Option<&Bundle>) -> Value {
    let pem = bundle.map(|bundle| bundle.pem().as_bytes());
    let client = endpoint.conversion(pem);
    json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": client}})
}

fn text(decision: Decision) -> Value {
    match decision {
        Decision::Patch { patch: Patch::Json(patch), .. } => serde_json::to_value(patch).unwrap(),
        Decision::Patch { patch: Patch::Merge(patch), .. } => patch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_configuration_that_is_right_is_left_alone() {
    let bundle = bundle();
    for endpoint in [service(), url()] {
        let wanted = Wanted::admission(&endpoint, &bundle, ENTRY, "/default");
        assert_eq!(decide(&entry(&endpoint, Some(&bundle)), &wanted), Decision::InSync);
    }
}

#[test]
fn a_missing_bundle_is_added_behind_a_test_of_the_name() {
    let bundle = bundle();
    let patch =
        text(decide(&entry(&service(), None), &Wanted::admission(&service(), &bundle, ENTRY, "/default")));
    assert_eq!(patch[0], json!({"op": "test", "path": "/webhooks/0/name", "value": ENTRY}));
    assert_eq!(patch[1]["op"], "add");
    assert_eq!(patch[1]["path"], "/webhooks/0/clientConfig/caBundle");
    assert_eq!(patch.as_array().unwrap().len(), 2);
}

#[test]
fn an_address_of_another_kind_is_replaced() {
    let bundle = bundle();
    let wanted = Wanted::admission(&url(), &bundle, ENTRY, "/default");
    let patch = text(decide(&entry(&service(), Some(&bundle)), &wanted));
    assert_eq!(patch[1], json!({"op": "remove", "path": "/webhooks/0/clientConfig/service"}));
    assert_eq!(patch[2]["value"], "https://127.0.0.1:9443/default");
}

#[test]
fn other_entries_are_not_touched() {
    let bundle = bundle();
    let mut object = entry(&service(), None);
    object["webhooks"].as_array_mut().unwrap().insert(0, json!({"name": "other.example.com"}));
    let patch = text(decide(&object, &Wanted::admission(&service(), &bundle, ENTRY, "/default")));
    assert_eq!(patch[0]["path"], "/webhooks/1/name");
    let wanted = Wanted::admission(&service(), &bundle, "gone.mcp-hangar.io", "/default");
    assert!(matches!(decide(&object, &wanted), Decision::Lacking(_)));
}

#[test]
fn the_rest_of_an_entry_is_put_right_only_where_it_is_ours() {
    let bundle = bundle();
    let manifest = entry(&url(), Some(&bundle));
    let theirs = Wanted::admission(&url(), &bundle, ENTRY, "/default");
    let ours = theirs.clone().with_rest(&manifest);
    let mut object = manifest;
    object["webhooks"][0]["namespaceSelector"] = json!({"matchLabels": {"a": "b"}});
    object["webhooks"][0]["rules"][0]["newer"] = json!(1);
    assert_eq!(decide(&object, &ours), Decision::InSync);
    object["webhooks"][0]["failurePolicy"] = json!("Ignore");
    object["webhooks"][0]["matchConditions"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "never", "expression": "false"}));
    assert_eq!(decide(&object, &theirs), Decision::InSync);
    let patch = text(decide(&object, &ours));
    assert_eq!(patch[1], json!({"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Fail"}));
    assert_eq!(patch[2]["path"], "/webhooks/0/matchConditions");
    assert_eq!(patch[2]["value"].as_array().unwrap().len(), 2);
    assert_eq!(patch.as_array().unwrap().len(), 3);
}

#[test]
fn a_crd_that_is_right_is_left_alone() {
    let bundle = bundle();
    for endpoint in [service(), url()] {
        let object = crd(&conversion(&endpoint, Some(&bundle)));
        assert_eq!(decide(&object, &Wanted::conversion(&endpoint, &bundle)), Decision::InSync);
    }
}

#[test]
fn only_the_bundle_is_written_where_only_the_bundle_is_missing() {
    let bundle = bundle();
    let patch = text(decide(&crd(&conversion(&service(), None)), &Wanted::conversion(&service(), &bundle)));
    let client = patch.pointer("/spec/conversion/webhook/clientConfig").unwrap().as_object().unwrap();
    assert_eq!(client.keys().collect::<Vec<_>>(), ["caBundle"]);
    assert!(patch.pointer("/spec/conversion/strategy").is_none());
}

#[test]
fn a_service_in_another_namespace_is_corrected() {
    let bundle = bundle();
    let elsewhere = Endpoint::default_service("tools");
    let object = crd(&conversion(&service(), Some(&bundle)));
    let patch = text(decide(&object, &Wanted::conversion(&elsewhere, &bundle)));
    assert_eq!(patch.pointer("/spec/conversion/webhook/clientConfig/service/namespace").unwrap(), "tools");
    assert!(patch.pointer("/spec/conversion/webhook/clientConfig/caBundle").is_none());
}

#[test]
fn a_url_that_was_left_behind_goes_away() {
    let bundle = bundle();
    let object = crd(&conversion(&url(), Some(&bundle)));
    let patch = text(decide(&object, &Wanted::conversion(&service(), &bundle)));
    assert_eq!(patch.pointer("/spec/conversion/webhook/clientConfig/url"), Some(&Value::Null));
}

#[test]
fn strategy_none_becomes_a_webhook() {
    let bundle = bundle();
    let patch = text(decide(&crd(&json!({"strategy": "None"})), &Wanted::conversion(&service(), &bundle)));
    assert_eq!(patch.pointer("/spec/conversion/strategy").unwrap(), "Webhook");
    assert_eq!(patch.pointer("/spec/conversion/webhook/conversionReviewVersions").unwrap(), &json!(["v1"]));
}

#[test]
fn a_crd_of_an_older_release_is_left_to_its_owner() {
    let object = json!({"spec": {"versions": [{"name": "v1alpha1", "served": true}]}});
    let decision = decide(&object, &Wanted::conversion(&service(), &bundle()));
    assert_eq!(decision, Decision::Lacking("it does not serve v1beta1".into()));
}

fn bundle_of(pems: &[&str]) -> Bundle {
    Bundle::build(pems.iter().copied(), SystemTime::now()).unwrap()
}

fn written(decision: Decision) -> String {
    let patch = text(decision);
    let encoded = patch[1]["value"].as_str().unwrap().to_owned();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

#[test]
fn a_follower_leaves_what_trusts_it_and_adds_itself_where_it_is_not_trusted() {
    let now = SystemTime::now();
    let [a, b] = ["a", "b"].map(|name| Authority::generate(name, now).unwrap().certificate_pem());
    let (only_a, only_b, both) = (bundle_of(&[&a]), bundle_of(&[&b]), bundle_of(&[&a, &b]));
    let ours = both.clone().requiring(&a);
    let wanted = Wanted::admission(&service(), &ours, ENTRY, "/default");
    let follow = |object: &Value| decide_for_follower(object, &wanted, &ours, false, now);
    assert_eq!(follow(&entry(&service(), Some(&both))), Decision::InSync);
    assert_eq!(follow(&entry(&service(), Some(&only_a))), Decision::Left);
    for (found, expected) in [(Some(&only_b), &both), (None, &both)] {
        assert_eq!(written(follow(&entry(&service(), found))), expected.pem());
    }
    // What others may need stays.
    let other = Authority::generate("other", now).unwrap().certificate_pem();
    let all = bundle_of(&[&a, &b, &other]);
    assert_eq!(written(follow(&entry(&service(), Some(&bundle_of(&[&other]))))), all.pem());
}

#[test]
fn a_follower_mends_an_address_only_where_it_is_alone() {
    let (bundle, now) = (bundle(), SystemTime::now());
    let elsewhere = Endpoint::Url(BaseUrl::parse("https://127.0.0.1:1").unwrap());
    let object = entry(&elsewhere, Some(&bundle));
    let wanted = Wanted::admission(&url(), &bundle, ENTRY, "/default");
    assert_eq!(decide_for_follower(&object, &wanted, &bundle, false, now), Decision::Left);
    assert!(matches!(decide_for_follower(&object, &wanted, &bundle, true, now), Decision::Patch { .. }));
}
