use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::discovery::found::{Form, Spec};
use crate::provider::Key;
use mcp_hangar_api::annotation::DISCOVERED_BY;
use mcp_hangar_api::v1beta1::discovery::ProviderTemplate;
use mcp_hangar_webhooks::policy::Policy;

use crate::discovery::source::Source;

fn settings(spec: &Value) -> Settings {
    let mut whole = json!({"type": "ConfigMap", "configMapRef": {"name": "m"}, "mode": "Authoritative"});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPDiscoverySource", "spec": whole,
        "metadata": {"name": "s", "namespace": "team"}});
    let key = Key { namespace: "team".into(), name: "s".into() };
    Source::of(key, serde_json::from_value(object).unwrap()).settings(&Policy::default()).unwrap()
}

fn image(image: &str) -> Body {
    let members = json!({"mode": "container", "image": image}).as_object().unwrap().clone();
    Body::Specs(vec![Spec { form: Form::Flat, members }])
}

/// `raw@place`, or `raw@place!` for one that is bad.
fn scan(text: &str, places: &str) -> Scan {
    let found = text.split_whitespace().map(|text| {
        let (raw, place) = text.trim_end_matches('!').split_once('@').unwrap();
        let origin = Origin::entry(&Origin::map(place, "m"), raw);
        let body = if text.ends_with('!') { Body::Bad("bad".into()) } else { image("r.example/a:1") };
        Found { raw: raw.into(), origin, body }
    });
    let places = places.split_whitespace().map(|place| Origin::map(place, "m")).collect();
    Scan { found: found.collect(), places, ..Scan::default() }
}

/// `name@place` of this source, `name=source` of another, `name` of nobody.
fn lives(text: &str) -> BTreeMap<String, Live> {
    let live = |text: &str| {
        let (name, by) = if let Some((name, place)) = text.split_once('@') {
            (name, Some(format!("s/{}", Origin::entry(&Origin::map(place, "m"), name).0)))
        } else if let Some((name, source)) = text.split_once('=') {
            (name, Some(format!("{source}/ConfigMap/x/m/{name}")))
        } else {
            (text, None)
        };
        let annotations = by.map(|by| (DISCOVERED_BY.to_owned(), by)).into_iter().collect();
        (name.to_owned(), Live { uid: format!("uid-{name}"), annotations, ..Live::default() })
    };
    text.split_whitespace().map(live).collect()
}

fn planned(spec: &Value, scan: &Scan, lives: &BTreeMap<String, Live>) -> Plan {
    let (template, policy) = (ProviderTemplate::default(), Policy::default());
    let maker = Maker {
        source: "s",
        namespace: "team",
        uid: "u",
        controller: true,
        template: &template,
        policy: &policy,
    };
    // What one scan misses, the next has to miss as well.
    let (settings, mut memory) = (settings(spec), Memory::default());
    let now = Moment { read: Timestamp::from_second(1_000_000).unwrap(), passed: Duration::ZERO };
    let first = plan(&maker, &settings, scan, lives, &mut memory, now);
    assert_eq!(first.deletes, []);
    plan(&maker, &settings, scan, lives, &mut memory, now)
}

/// `+created ~changed -deleted`, sorted by what is done.
fn told(plan: &Plan) -> String {
    let creates = plan.creates.iter().map(|wish| format!("+{}", wish.name));
    let updates = plan.updates.iter().map(|(wish, _)| format!("~{}", wish.name));
    let deletes = plan.deletes.iter().map(|(name, _)| format!("-{name}"));
    creates.chain(updates).chain(deletes).collect::<Vec<_>>().join(" ")
}

#[test]
fn creates_changes_and_deletes_only_what_is_its_own() {
    for (found, places, exist, spec, expected) in [
        ("a@x b@x", "x", "", json!({}), "+a +b"),
        ("a@x", "x", "a@x", json!({}), "~a"),
        ("a@x", "x", "a@x b@x", json!({}), "~a -b"),
        ("a@x", "x", "a@x b@x", json!({"mode": "Additive"}), "~a"),
        ("a@x", "x", "a b=other", json!({}), ""),
        ("", "x", "a=other b", json!({}), ""),
        ("", "x", "a@x", json!({}), "-a"),
        ("", "x", "a@x b@x", json!({}), ""),
        ("", "", "a@x", json!({}), ""),
        ("b@y", "y", "a@x b@y", json!({}), "~b"),
        ("a@x!", "x", "a@x", json!({}), ""),
        ("A@x a@x", "x", "", json!({}), "+a"),
        // The first by origin gets a name, and keeps it.
        ("a@x a@y", "x y", "", json!({}), "+a"),
        ("a@y", "x y", "a@x", json!({}), "~a"),
        ("a@y", "y", "a@x", json!({}), ""),
        // Filters look at raw names.
        ("a@x b@x", "x", "b@x", json!({"filters": {"excludePatterns": ["^b$"]}}), "+a -b"),
        ("Team_A@x b@x", "x", "", json!({"filters": {"includePatterns": ["^Team_"]}}), "+team-a"),
        // The first by name, and nobody is driven out.
        ("c@x a@x b@x", "x", "", json!({"filters": {"maxProviders": 2}}), "+a +b"),
        ("a@x b@x c@x", "x", "b@x c@x", json!({"filters": {"maxProviders": 2}}), "~b ~c"),
        ("a@x", "x", "b@y c@y", json!({"filters": {"maxProviders": 2}}), ""),
        ("a@x b@x c@x", "x", "a@x b@x c@x", json!({"filters": {"maxProviders": 2}}), "~a ~b -c"),
    ] {
        let plan = planned(&spec, &scan(found, places), &lives(exist));
        assert_eq!(told(&plan), expected, "found {found} in {places}, exist {exist}, {spec}");
    }
}

#[test]
fn a_fault_of_any_kind_deletes_nothing() {
    let mut scan = scan("c@x", "x");
    scan.faults.push("failed to list ConfigMaps: no answer within 10 s".into());
    let plan = planned(&json!({}), &scan, &lives("a@x b@x"));
    assert_eq!(told(&plan), "+c");
    assert_eq!(plan.lost, ["a", "b"]);
}

#[test]
fn every_item_says_why_nothing_was_made_of_it() {
    let found = "a@x b@x c@x c@y d@x! 天@x e@x";
    let exist = lives("a b=other e@x");
    let mut exist = exist;
    exist.get_mut("e").unwrap().is_going = true;
    let plan = planned(&json!({"filters": {"maxProviders": 5}}), &scan(found, "x y"), &exist);
    let errors: Vec<_> = plan
        .items
        .iter()
        .map(|item| format!("{} {}", item.name, item.error.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        errors,
        [
            "a an MCPProvider \"a\" exists that was not made by a source, and is never adopted",
            "b an MCPProvider \"b\" exists that belongs to the source \"other\"",
            "c -",
            "c the name \"c\" is taken by ConfigMap x/m",
            "d bad",
            "e the MCPProvider of before is being deleted",
            "天 \"天\": no name can be made of it; use letters and digits",
        ]
    );
}

#[test]
fn what_would_be_refused_is_reported_and_the_others_go_on() {
    let mut scan = scan("a@x b@x", "x");
    scan.found[0].body = image(":");
    let plan = planned(&json!({}), &scan, &BTreeMap::new());
    assert_eq!(told(&plan), "+b");
    let error = plan.items[0].error.as_deref().unwrap();
    assert!(error.starts_with("spec.image: Invalid value") && error.contains("HGR"), "{error}");
}

#[test]
fn what_is_so_already_is_left_alone() {
    let first = planned(&json!({}), &scan("a@x", "x"), &BTreeMap::new());
    let wish = first.creates[0].object.clone();
    let text = |path: &str| -> BTreeMap<String, String> {
        wish.pointer(path).map(|it| serde_json::from_value(it.clone()).unwrap()).unwrap_or_default()
    };
    let live = Live {
        uid: "1".into(),
        owner: Some("u".into()),
        annotations: text("/metadata/annotations"),
        spec: wish["spec"].clone(),
        ..Live::default()
    };
    let again = planned(&json!({}), &scan("a@x", "x"), &BTreeMap::from([("a".to_owned(), live)]));
    assert_eq!((told(&again), again.items[0].error.clone()), (String::new(), None));
}

#[test]
fn of_several_specs_the_one_in_use_stays() {
    let body = |order: [&str; 2]| {
        let one = |image: &&str| match super::tests::image(image) {
            Body::Specs(mut specs) => specs.remove(0),
            _ => unreachable!(),
        };
        Body::Specs(order.iter().map(one).collect())
    };
    let mut scan = scan("a@x", "x");
    scan.found[0].body = body(["r.example/a:1", "r.example/a:2"]);
    let wish = planned(&json!({}), &scan, &BTreeMap::new()).creates.remove(0).object;
    let live = Live {
        uid: "1".into(),
        owner: Some("u".into()),
        annotations: serde_json::from_value(wish["metadata"]["annotations"].clone()).unwrap(),
        spec: wish["spec"].clone(),
        ..Live::default()
    };
    scan.found[0].body = body(["r.example/a:0", "r.example/a:1"]);
    assert_eq!(told(&planned(&json!({}), &scan, &BTreeMap::from([("a".to_owned(), live)]))), "");
}

#[test]
fn ten_thousand_items_are_planned_in_bounded_time() {
    let found: Vec<String> = (0..10_000).map(|n| format!("p{n}@x")).collect();
    let began = std::time::Instant::now();
    let plan = planned(&json!({}), &scan(&found.join(" "), "x"), &BTreeMap::new());
    assert_eq!(plan.creates.len(), 10_000);
    // A debug build, and other tests beside it.
    assert!(began.elapsed() < std::time::Duration::from_secs(120), "{:?}", began.elapsed());
    println!("10,000 items planned in {:?}", began.elapsed());
}
