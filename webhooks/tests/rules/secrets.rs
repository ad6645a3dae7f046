//! What may be a secret is never said again: a marker in every place where one could stand, as every type and inside
//! every URL, is in no message and no warning.

use mcp_hangar_webhooks::admission::{Webhook, review};
use mcp_hangar_webhooks::kind::{Kind, Version};
use mcp_hangar_webhooks::observer::Silent;
use mcp_hangar_webhooks::policy::{ImageDigestPolicy, Policy};
use serde_json::{Value, json};

use crate::generate::{Node, only, places, schema};
use crate::review::{merged, minimal, request};

const MARKER: &str = "swordfish";

/// Both webhooks, as a new object and as an update of a good one.
fn check(object: &Value) {
    let kind = Kind::parse(object["kind"].as_str().unwrap()).unwrap();
    let version = Version::parse(object["apiVersion"].as_str().unwrap()).unwrap();
    let policy = Policy { image_digest: ImageDigestPolicy::Warn, ..Policy::default() };
    for old in [None, Some(minimal(kind, version))] {
        for webhook in [Webhook::Default, Webhook::Validate] {
            let body = request(object, old.as_ref()).to_string();
            let reply = review(webhook, body.as_bytes(), &policy, &Silent);
            let text = String::from_utf8(reply.body).unwrap();
            assert!(!text.to_lowercase().contains(MARKER), "{object}: {text}");
        }
    }
}

/// The marker as a text, and inside every other type.
fn shapes() -> Vec<Value> {
    vec![
        json!(MARKER),
        json!([MARKER]),
        json!({ MARKER: MARKER }),
        json!({"name": "A", "value": MARKER}),
        json!([{"name": "A", "value": [MARKER]}]),
        json!([[MARKER]]),
        json!({"value": {"a": MARKER}}),
        json!([{"name": "A", "valueFrom": MARKER}]),
    ]
}

#[test]
fn values_of_variables_arguments_and_headers_are_never_said() {
    let secret = ["env", "args", "command", "headersFrom", "caBundle", "endpoint"];
    for kind in [Kind::Provider, Kind::Discovery] {
        for version in Version::ALL {
            places(&schema(kind, version)["properties"]["spec"], &mut vec!["spec"], &mut |path, _| {
                let is_inside = path.iter().any(|step| secret.contains(step));
                // Names, of variables as of Secrets, are no secrets: they are what a message is about.
                let is_name = path.last().is_some_and(|last| {
                    ["name", "key", "fieldPath", "resource", "divisor", "apiVersion", "containerName"]
                        .contains(last)
                });
                if !is_inside {
                    return;
                }
                for shape in shapes() {
                    if is_name && shape.is_string()
                        || *path.last().unwrap() == "endpoint" && shape.is_string()
                    {
                        continue;
                    }
                    let object = only(kind, version, path, Node::Raw(shape.to_string())).value();
                    check(&merged(minimal(kind, version), object));
                }
            });
        }
    }
}

#[test]
fn duplicates_and_clashes_of_variables_say_no_value() {
    for env in [
        json!([{"name": "A", "value": MARKER}, {"name": "A", "value": MARKER}]),
        json!([{"name": "A", "value": MARKER, "valueFrom": {"secretKeyRef": {}}}]),
        json!([{"name": "", "value": MARKER}, {"value": MARKER}]),
        json!([{"name": "A", "value": MARKER.repeat(20_000)}]),
    ] {
        check(&merged(minimal(Kind::Provider, Version::V1Alpha1), json!({"spec": {"env": env}})));
        let hub = json!({"spec": {"container": {"env": env}}});
        check(&merged(minimal(Kind::Provider, Version::V1Beta1), hub));
    }
}

/// User and password, in URLs of which each is refused for one reason or another.
fn urls() -> Vec<String> {
    let long = "/a".repeat(100);
    [
        "https://user:MARK@example.com/mcp",
        "https://MARK@example.com/mcp",
        "https://MARK:MARK@example.com/mcp",
        "http://user:MARK@169.254.169.254/",
        "ftp://user:MARK@example.com",
        "user:MARK@example.com",
        "MARK@example.com",
        "https:user:MARK@example.com",
        "https:/user:MARK@example.com",
        "https:\\\\user:MARK@example.com",
        "//user:MARK@example.com",
        "https://user:MARK@",
        "https://user:MARK@exa mple.com",
        "https://user:MARK\n@example.com",
        "https://user:MA\"RK@example.com",
        "https://user:a/MARK@example.com:x",
        "https://user:a?MARK@example.com",
        "https://user:a#MARK@example.com",
        "https://user:a@MARK@example.com:x",
        "https://user:MARK@example.com@example.com:99999",
        "user:a/MARK@example.com",
        "user:MARK@example.com/?a=b",
        "https://example.com:x/mcp?token=MARK",
        "example.com/mcp?token=MARK",
        "https://example.com:x/mcp#MARK",
        "https://user:%4dMARK@example.com:x",
    ]
    .iter()
    .flat_map(|url| {
        let url = url.replace("MA\"RK", &format!("{MARKER}\"")).replace("MARK", MARKER);
        [format!("{url}{long}"), format!("{url} "), url]
    })
    .collect()
}

#[test]
fn credentials_in_endpoints_are_never_said() {
    for url in urls() {
        let alpha = json!({"spec": {"mode": "remote", "image": null, "endpoint": url}});
        check(&merged(minimal(Kind::Provider, Version::V1Alpha1), alpha));
        let hub = json!({"spec": {"mode": "Remote", "container": null, "remote": {"endpoint": url}}});
        check(&merged(minimal(Kind::Provider, Version::V1Beta1), hub));
        let source = json!({"spec": {"providerTemplate": {"spec": {"endpoint": url}}}});
        check(&merged(minimal(Kind::Discovery, Version::V1Alpha1), source));
    }
}

/// In any other field a URL with an `@` is shown without what stands before it.
#[test]
fn credentials_of_urls_in_other_fields_are_never_said() {
    let urls =
        ["https://user:swordfish@example.com/a", "https://swordfish@a", "oci://swordfish:swordfish@a.b/c d"];
    for kind in Kind::ALL {
        for version in Version::ALL {
            places(&schema(kind, version)["properties"]["spec"], &mut vec!["spec"], &mut |path, _| {
                for url in urls {
                    for value in [json!(url), json!([url])] {
                        let object = only(kind, version, path, Node::Raw(value.to_string())).value();
                        check(&merged(minimal(kind, version), object));
                    }
                }
            });
        }
    }
}
