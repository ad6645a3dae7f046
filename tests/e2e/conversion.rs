//! Conversion as the API server does it: lossless both ways, within both schemas, and never failing.
//!
//! Objects are made from the schemas ([`crate::generate`]) and stored where no rule is asked, so that they are as
//! invalid as the schema allows. What the webhook is asked directly, over TLS, is what no API server would send.

use serde_json::{Value, json};

use crate::api::{as_version, path};
use crate::cluster::{LAWLESS, Shared, shared, unattended};
use crate::figures::figure;
use crate::generate::{Dice, KINDS, object, part};
use crate::webhook;

/// Objects of each kind and version.
const MANY: u64 = 40;
const VERSIONS: [(&str, &str); 2] = [("v1alpha1", "v1beta1"), ("v1beta1", "v1alpha1")];

/// Calls `check` with generated objects: the kind, the version it is made in, the other version, dice and a name.
fn for_each(test: &str, mut check: impl FnMut(&Shared, &str, &str, &str, &mut Dice, &str)) {
    let site = unattended();
    for (seed, kind) in (1..).zip(KINDS) {
        for (own, other) in VERSIONS {
            for number in 0..MANY {
                let mut dice = Dice::new(seed * 1_000_000 + number * 2 + u64::from(own == "v1beta1"));
                check(&site, kind, own, other, &mut dice, &format!("{test}-{own}-{number}"));
            }
        }
    }
}

#[test]
fn a_generated_object_comes_back_from_the_other_version_as_it_was() {
    let mut carried = 0;
    for_each("trip", |site, kind, own, other, dice, name| {
        let written = object(dice, kind, own, LAWLESS, name);
        let created = site.api.create(&written).ok();
        assert_eq!(created["spec"], written["spec"], "{kind} {own}");

        let status = part(dice, kind, own, "status");
        let mut with_status = created;
        with_status["status"] = status.clone();
        let with_status = site.api.put(&format!("{}/status", path(&written)), &with_status).ok();
        assert_eq!(
            (&with_status["spec"], &with_status["status"]),
            (&written["spec"], &status),
            "{kind} {own}"
        );

        // Written back as the other version has it, it is the same object: nothing is stored.
        let seen = site.api.read_as(&written, other);
        assert_eq!(seen["status"], status, "{kind} {own}");
        carried += u64::from(seen.to_string().contains("conversion-data"));
        let again = site.api.put(&path(&seen), &seen).ok();
        assert_eq!(
            again["metadata"]["resourceVersion"], with_status["metadata"]["resourceVersion"],
            "{kind} {own}: {seen}"
        );
        let read = site.api.read(&written);
        assert_eq!((&read["spec"], &read["status"]), (&written["spec"], &status), "{kind} {own}");
        assert_eq!(read["metadata"]["annotations"], with_status["metadata"]["annotations"], "{kind} {own}");
    });
    // Made from the schema, many a provider and template says more than v1alpha1 can.
    assert!(carried > MANY / 2, "{carried}");
    figure(
        "T9",
        format_args!(
            "{} generated objects, there and back: 0 differences; {carried} said more than v1alpha1 can",
            MANY * 6
        ),
    );
}

#[test]
fn what_conversion_makes_of_a_generated_object_passes_the_other_schema_and_loses_nothing_to_it() {
    for_each("other", |site, kind, own, other, dice, name| {
        let written = object(dice, kind, own, LAWLESS, name);
        site.api.create(&written).ok();
        let seen = site.api.read_as(&written, other);
        let mut copy = crate::gitops::manifest(&seen);
        copy["metadata"]["name"] = format!("{name}-copy").into();
        // Strict: a field that the schema does not declare is an error and not a warning.
        let created =
            site.api.post(&format!("{}?fieldValidation=Strict", crate::api::list_path(&copy)), &copy).ok();
        assert_eq!(created["spec"], seen["spec"], "{kind} {own}");
        let back = site.api.read_as(&copy, own);
        assert_eq!(back["spec"], written["spec"], "{kind} {own}: {copy}");
    });
    figure("T10", format_args!("{} generated objects valid as the other version, nothing pruned", MANY * 6));
}

#[test]
fn a_generated_object_is_accepted_or_refused_in_our_words() {
    for_each("judged", |site, kind, own, _, dice, name| {
        let written = object(dice, kind, own, "default", name);
        let reply = site.api.create_dry(&written);
        let ours = reply.code == 422 && reply.message().contains("[HGR") && !reply.causes().is_empty();
        assert!(reply.code == 201 || ours, "{} {}\n{written}", reply.code, reply.body);
    });
}

#[test]
fn an_object_whose_stash_fits_nowhere_breaks_no_list() {
    let site = shared();
    let namespace = LAWLESS;
    let provider = |name: &str, container: Value, annotations: Value| {
        json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPProvider",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {"mode": "Container", "container": container}})
    };
    let sources: Vec<Value> = (0..10_000)
        .map(|n| json!({"name": format!("E{n}"), "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}))
        .collect();
    for (name, container, annotations) in [
        ("full-notes", json!({"image": "a", "port": 9000}), json!({"note": "x".repeat(262_130)})),
        ("full-env", json!({"image": "a", "env": sources}), json!({})),
    ] {
        let written = provider(name, container, annotations);
        site.api.create(&written).ok();
        let seen = site.api.read_as(&written, "v1alpha1");
        assert!(seen["metadata"]["annotations"]["mcp-hangar.io/conversion-data"].is_null(), "{name}");
        // Where a rule is asked, nobody gets that far.
        let mut judged = written.clone();
        judged["metadata"]["namespace"] = "default".into();
        let reply = site.api.create_dry(&judged);
        assert!(reply.code == 422 && reply.message().contains("HGR143"), "{}", reply.message());
    }
    for version in ["v1alpha1", "v1beta1"] {
        let list = site.api.get(&format!("/apis/mcp-hangar.io/{version}/mcpproviders")).ok();
        let items = list["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item["apiVersion"] == format!("mcp-hangar.io/{version}").as_str()));
    }
}

#[test]
fn a_watch_in_either_version_tells_of_writes_in_the_other() {
    let site = shared();
    let namespace = site.namespace("watched");
    for (own, other) in VERSIONS {
        let list = format!("/apis/mcp-hangar.io/{other}/namespaces/{namespace}/mcpproviders");
        let since = site.api.get(&list).ok()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let url = "https://tools.example.com/mcp";
        let spec = match own {
            "v1alpha1" => json!({"mode": "remote", "endpoint": url}),
            _ => json!({"mode": "Remote", "remote": {"endpoint": url}}),
        };
        let written = json!({"apiVersion": format!("mcp-hangar.io/{own}"), "kind": "MCPProvider",
            "metadata": {"name": format!("seen-{own}"), "namespace": namespace}, "spec": spec});
        site.api.create(&written).ok();
        site.api.merge_patch(&path(&written), &json!({"spec": {"replicas": 3}})).ok();
        site.api.delete(&path(&written)).ok();
        let watch = site.api.get(&format!("{list}?watch=1&timeoutSeconds=1&resourceVersion={since}"));
        let mut events: Vec<Value> =
            watch.message().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // What the operator writes beside us is status, of a generation that was told of already.
        let generation = |event: &Value| event["object"]["metadata"]["generation"].clone();
        events
            .dedup_by(|event, before| event["type"] == "MODIFIED" && generation(event) == generation(before));
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"], "{watch:?}");
        for event in events {
            let seen = (&event["object"]["apiVersion"], &event["object"]["spec"]["mode"]);
            let mode = if other == "v1alpha1" { "remote" } else { "Remote" };
            assert_eq!(seen, (&json!(format!("mcp-hangar.io/{other}")), &json!(mode)));
        }
    }
}

#[test]
fn conversion_never_answers_failed_for_an_object_of_our_kinds() {
    let site = shared();
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let specs = [
        json!(null),
        json!(1),
        json!("text"),
        json!([]),
        json!({}),
        json!({"mode": 7, "image": [], "env": {}, "replicas": "many"}),
        json!({"container": 1, "remote": [], "lifecycle": "x", "pod": null}),
        json!({"container": {}, "remote": {}}),
        json!({"env": [1, null, {}, {"name": 1}, {"name": "a"}, {"name": "a", "valueFrom": {"fieldRef": 1}}]}),
        json!({"container": {"env": [null, {"valueFrom": 1}], "resources": {"limits": 1, "requests": {"x": null}}}}),
        json!({"providerTemplate": 1}),
        json!({"providerTemplate": {"spec": [], "metadata": 1}}),
        json!({"tools": deep}),
        json!({"\u{0}": "\u{1}", "": "", "mode": "\u{feff}"}),
        json!({"idleTTL": 1e300, "replicas": -0.0}),
    ];
    let metadata = [
        json!(null),
        json!({}),
        json!({"name": "x"}),
        json!({"annotations": {"mcp-hangar.io/conversion-data": "[{"}}),
        json!({"annotations": {"mcp-hangar.io/conversion-data": "[{\"p\":[\"spec\",\"container\"],\"v\":1}]"}}),
        json!({"annotations": {}, "labels": null}),
    ];
    let mut objects = Vec::new();
    for kind in KINDS {
        for (own, _) in VERSIONS {
            for spec in &specs {
                for metadata in &metadata {
                    let mut object = as_version(&json!({"kind": kind}), own);
                    for (key, value) in [("spec", spec), ("metadata", metadata), ("status", spec)] {
                        if !value.is_null() {
                            object[key] = value.clone();
                        }
                    }
                    objects.push(object);
                }
            }
        }
    }
    for (_, wanted) in VERSIONS {
        let review = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": "one", "desiredAPIVersion": format!("mcp-hangar.io/{wanted}"), "objects": objects}});
        let (status, answer) = webhook::post(&site, "/convert", &review);
        let response = &answer["response"];
        assert_eq!(
            (status, &response["result"]["status"], &response["uid"]),
            (200, &json!("Success"), &json!("one")),
            "{}",
            response["result"]
        );
        let converted = response["convertedObjects"].as_array().unwrap();
        assert_eq!(converted.len(), objects.len());
        for (before, after) in objects.iter().zip(converted) {
            let expected: Value = format!("mcp-hangar.io/{wanted}").into();
            assert_eq!((&after["apiVersion"], &after["kind"]), (&expected, &before["kind"]));
            // The API server never asks for the version that an object has already.
            assert!(after["metadata"].is_object() || before["apiVersion"] == expected, "{after}");
        }
    }
    figure("T13", format_args!("{} spoilt objects to both versions: 0 answered Failed", objects.len()));
}
