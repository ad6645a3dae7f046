//! Hostile bodies against the three endpoints: nested, huge, cut off, damaged, doubled, of the wrong type.

use std::time::{Duration, Instant};

use mcp_hangar_webhooks::admission::{self, Webhook};
use mcp_hangar_webhooks::conversion;
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use mcp_hangar_webhooks::policy::Policy;
use mcp_hangar_webhooks::reply::Reply;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::generate::{Taste, object};
use crate::review::{minimal, request};

const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// The three endpoints.
const ENDPOINTS: [fn(&[u8]) -> Reply; 3] = [
    |body| admission::review(Webhook::Default, body, &Policy::default(), &Silent),
    |body| admission::review(Webhook::Validate, body, &Policy::default(), &Silent),
    |body| conversion::review(body, &Silent),
];

/// What every answer has. A tree of it would hold neither every number nor every depth.
#[derive(Deserialize)]
struct Review {
    response: Response,
}

#[derive(Deserialize)]
struct Response {
    uid: String,
    allowed: Option<bool>,
    result: Option<IgnoredAny>,
}

/// An answer is a review with a uid, or plain text with 400.
fn check(body: &[u8]) -> [Option<String>; 3] {
    ENDPOINTS.map(|endpoint| {
        let reply = endpoint(body);
        match reply.status {
            200 => {
                let review: Review = serde_json::from_slice(&reply.body).unwrap();
                assert!(review.response.allowed.is_some() || review.response.result.is_some());
                Some(review.response.uid)
            }
            400 => {
                assert!(std::str::from_utf8(&reply.body).unwrap().starts_with("the body is not a"));
                None
            }
            other => panic!("{other}"),
        }
    })
}

fn answers_under_the_uid(body: &[u8]) {
    let shown = String::from_utf8_lossy(body.get(..400).unwrap_or(body)).into_owned();
    assert_eq!(check(body), [(); 3].map(|()| Some(UID.to_owned())), "{shown}");
}

fn admission_review(object: &Value) -> String {
    request(object, None).to_string()
}

fn conversion_review(object: &str) -> String {
    format!(
        r#"{{"request":{{"uid":"{UID}","desiredAPIVersion":"mcp-hangar.io/v1beta1","objects":[{object}]}}}}"#
    )
}

#[test]
fn bodies_without_a_uid_are_bad_requests() {
    for body in [
        "",
        " ",
        "null",
        "true",
        "5",
        "[]",
        "{}",
        "\"x\"",
        "{",
        "nonsense",
        r#"{"request":null}"#,
        r#"{"request":[]}"#,
        r#"{"request":{}}"#,
        r#"{"request":{"uid":null}}"#,
        r#"{"request":{"uid":7}}"#,
        r#"{"request":{"uid":{}}}"#,
        r#"{"request":{"uid":"#,
        r#"{"request":{"uid":"half"#,
        r#"{"uid":"705ab4f5"}"#,
        "\u{feff}{}",
    ] {
        assert_eq!(check(body.as_bytes()), [const { None }; 3], "{body}");
    }
    for body in [&b"\xff"[..], b"\x00\x00", b"{\"request\":{\"uid\":\"\xff"] {
        assert_eq!(check(body), [const { None }; 3]);
    }
}

#[test]
fn members_of_the_wrong_type_are_answered_under_the_uid() {
    for odd in ["null", "true", "5", "1e400", "\"x\"", "[]", "{}", "[[]]", "{\"a\":null}"] {
        for key in [
            "kind",
            "resource",
            "operation",
            "name",
            "namespace",
            "object",
            "oldObject",
            "options",
            "dryRun",
            "userInfo",
            "desiredAPIVersion",
            "objects",
        ] {
            answers_under_the_uid(format!(r#"{{"request":{{"uid":"{UID}","{key}":{odd}}}}}"#).as_bytes());
        }
        for path in [
            "/request/object",
            "/request/object/metadata",
            "/request/object/metadata/annotations",
            "/request/object/metadata/name",
            "/request/object/metadata/generateName",
            "/request/object/metadata/managedFields",
            "/request/object/metadata/deletionTimestamp",
            "/request/object/spec",
            "/request/object/kind",
            "/request/oldObject",
            "/request/oldObject/metadata",
            "/request/oldObject/metadata/annotations",
            "/request/oldObject/spec",
            "/request/options",
            "/request/options/fieldManager",
            "/request/kind/group",
            "/request/kind/version",
            "/request/kind/kind",
            "/request/operation",
        ] {
            for version in Version::ALL {
                let object = json!({"metadata": {"name": "a", "generateName": "a", "annotations": {"a": "b"},
                    "managedFields": [], "deletionTimestamp": null}});
                let object = crate::review::merged(minimal(Kind::Provider, version), object);
                let mut review = request(&object, Some(&object));
                if let Some(place) = review.pointer_mut(path) {
                    *place = json!("the odd one");
                }
                let body = review.to_string().replace("\"the odd one\"", odd);
                answers_under_the_uid(body.as_bytes());
            }
        }
    }
}

#[test]
fn nesting_neither_overflows_nor_hangs() {
    for depth in [10, 100, 127, 128, 129, 200, 10_000, 30_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for place in ["image", "env", "healthCheck", "nodeSelector"] {
                let object = format!(
                    r#"{{"apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider","metadata":{{"name":"a"}},"spec":{{"{place}":{deep}}}}}"#
                );
                answers_under_the_uid(conversion_review(&object).as_bytes());
                let mut review = admission_review(&minimal(Kind::Provider, Version::V1Alpha1));
                review = review.replace(r#""mode":"container""#, &format!(r#""{place}":{deep}"#));
                answers_under_the_uid(review.as_bytes());
            }
            answers_under_the_uid(format!(r#"{{"request":{{"uid":"{UID}","object":{deep}}}}}"#).as_bytes());
            check(deep.as_bytes());
        }
        check("[".repeat(depth).as_bytes());
        check("{\"request\":".repeat(depth).as_bytes());
    }
}

#[test]
fn huge_bodies_are_answered_in_time() {
    let spec = |spec: Value| {
        crate::review::merged(minimal(Kind::Provider, Version::V1Alpha1), json!({ "spec": spec }))
    };
    let many = |item: Value| Value::Array(vec![item; 20_000]);
    let keys: serde_json::Map<String, Value> = (0..20_000).map(|i| (format!("key {i}"), json!(i))).collect();
    let long = "x".repeat(1_000_000);
    let texts = ["image", "endpoint", "workingDir", "idleTTL", "serviceAccountName", "mode"]
        .map(|key| (key, long.as_str()));
    let source = minimal(Kind::Discovery, Version::V1Alpha1);
    let filters = json!({"spec": {"filters": {"includePatterns": [long, "(a|".repeat(300_000)]}}});
    for object in [
        spec(json!({"env": many(json!({"name": "A=", "value": 5}))})),
        spec(json!({"env": many(json!({"name": "A", "value": "5"}))})),
        spec(json!({"env": many(json!(null))})),
        spec(json!({"args": long, "resources": {"limits": {"cpu": long}}})),
        spec(texts.into_iter().collect()),
        crate::review::merged(source, filters),
        spec(json!({"tools": {"allowList": many(json!("")), "denyList": many(json!("a"))}})),
        spec(json!({ "nodeSelector": keys })),
        spec(json!({"resources": {"limits": keys, "requests": keys}})),
        spec(json!({"resources": keys})),
        spec(Value::Object(keys.clone())),
        crate::review::merged(
            minimal(Kind::Provider, Version::V1Alpha1),
            json!({"metadata": {"annotations": keys}}),
        ),
    ] {
        let started = Instant::now();
        answers_under_the_uid(admission_review(&object).as_bytes());
        answers_under_the_uid(conversion_review(&object.to_string()).as_bytes());
        // Six answers by a debug build beside other tests: far from what anything quadratic would take.
        let start: String = object["spec"].to_string().chars().take(80).collect();
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}: {start}", started.elapsed());
    }
}

/// As large as a stash may be: every entry finds its item in a list of ten thousand.
#[test]
fn a_long_list_of_variables_comes_back_in_time() {
    let env: Vec<Value> = (0..10_000)
        .map(|index| match index % 8 {
            0 => json!({"name": format!("A{index}"), "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
            _ => json!({"name": format!("A{index}"), "value": ""}),
        })
        .collect();
    let object = crate::review::merged(
        minimal(Kind::Provider, Version::V1Beta1),
        json!({"spec": {"container": {"env": env}}}),
    );
    let started = Instant::now();
    let spoke = converted("mcp-hangar.io/v1alpha1", &object.to_string());
    assert!(spoke.contains("conversion-data"));
    let back: Value = serde_json::from_str(&converted("mcp-hangar.io/v1beta1", &spoke)).unwrap();
    assert_eq!(back, object);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

fn converted(to: &str, object: &str) -> String {
    let body =
        conversion_review(object).replace("mcp-hangar.io/v1beta1\",\"objects", &format!("{to}\",\"objects"));
    let reply = conversion::review(body.as_bytes(), &Silent);
    let text = String::from_utf8(reply.body).unwrap();
    let (_, object) = text.split_once("\"convertedObjects\":[").unwrap();
    object.strip_suffix("]}}").unwrap().to_owned()
}

#[test]
fn doubled_keys_are_answered_under_the_uid() {
    let review = admission_review(&minimal(Kind::Provider, Version::V1Beta1));
    for key in ["request", "object", "metadata", "spec", "mode", "name"] {
        let doubled = review.replace(&format!("\"{key}\":"), &format!("\"{key}\":null,\"{key}\":"));
        for endpoint in ENDPOINTS {
            let reply = endpoint(doubled.as_bytes());
            assert!(matches!(reply.status, 200 | 400), "{key}");
        }
    }
    let doubled = review.replace("\"spec\":{", "\"spec\":{\"replicas\":1,\"replicas\":\"x\",");
    answers_under_the_uid(doubled.as_bytes());
}

/// Cut off at every byte: under the uid once that has been read whole.
#[test]
fn reviews_that_are_cut_off_are_answered() {
    for kind in Kind::ALL {
        let choices: Vec<u16> = (0..200).map(|i: u16| i.wrapping_mul(40_503)).collect();
        let object = object(kind, Version::V1Alpha1, Taste::Sensible, &choices);
        let object: Value = object.value();
        let uid_first = admission_review(&object).replacen(
            "\"request\":{",
            &format!("\"request\":{{\"uid\":\"{UID}\","),
            1,
        );
        // serde_json sorts its keys, so its own uid comes last and is taken out.
        let uid_first = uid_first.replacen(&format!(",\"uid\":\"{UID}\"}}"), "}", 1);
        for review in [uid_first, conversion_review(&object.to_string())] {
            answers_under_the_uid(review.as_bytes());
            let known = review.find(UID).unwrap() + UID.len() + 1;
            for end in (0..review.len()).step_by(if review.len() > 2000 { 7 } else { 1 }) {
                let cut = review.as_bytes().get(..end).unwrap();
                if end < known {
                    assert_eq!(check(cut), [const { None }; 3], "{end}");
                } else {
                    answers_under_the_uid(cut);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_reviews_are_answered(
        choices in vec(any::<u16>(), 0..60),
        kind in 0..3_usize,
        version in 0..2_usize,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let object = object(Kind::ALL[kind], Version::ALL[version], Taste::Wild, &choices).write(0);
        let admission = format!(
            r#"{{"request":{{"uid":"{UID}","operation":"UPDATE","kind":{{"group":"mcp-hangar.io","version":"{}","kind":"{}"}},"object":{object},"oldObject":{object}}}}}"#,
            Version::ALL[version].name(),
            Kind::ALL[kind].name(),
        );
        for review in [admission, conversion_review(&object)] {
            let mut body = review.into_bytes();
            for (place, byte) in &damage {
                let place = place.index(body.len());
                body[place] = *byte;
            }
            check(&body);
        }
    }

    #[test]
    fn random_bytes_are_answered(body in vec(any::<u8>(), 0..200)) {
        check(&body);
    }

    #[test]
    fn wild_objects_are_answered_under_the_uid(choices in vec(any::<u16>(), 0..400)) {
        for kind in Kind::ALL {
            for version in Version::ALL {
                let object = object(kind, version, Taste::Wild, &choices).write(0);
                let review = format!(
                    r#"{{"request":{{"uid":"{UID}","operation":"UPDATE","kind":{{"group":"mcp-hangar.io","version":"{}","kind":"{}"}},"object":{object},"oldObject":{object},"desiredAPIVersion":"mcp-hangar.io/v1beta1","objects":[{object}]}}}}"#,
                    version.name(), kind.name(),
                );
                answers_under_the_uid(review.as_bytes());
            }
        }
    }
}
