//! Every leaf of the spec that concerns a workload, and where it lands: `rows.txt`. The walk over the schema that finds
//! leaves without a row is in `provider/effects_tests.rs`, with the rows of all other leaves.

use serde_json::{Value, json};

use super::hash::{Keys, of_remote};
use super::*;
use crate::provider::effects_tests::{holds, rows};

fn spec(text: &str) -> MCPProviderSpec {
    let mut value: Value = serde_saphyr::from_str(text).unwrap();
    let spec = value.as_object_mut().unwrap();
    spec.entry("mode").or_insert(json!("Container"));
    let container = spec.entry("container").or_insert(json!({}));
    container.as_object_mut().unwrap().entry("image").or_insert(json!("r.example/weather:1"));
    serde_json::from_value(value).unwrap()
}

fn built(spec: &MCPProviderSpec, annotations: &[(&str, &str)], contents: &Contents) -> Objects {
    let annotations = annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let provider =
        Provider { name: "weather", namespace: "team", uid: "u-1", annotations: &annotations, spec };
    build(&provider, spec.replicas.unwrap_or(1), contents).unwrap()
}

fn tree(objects: &Objects) -> Value {
    json!({
        "deployment": objects.deployment,
        "service": objects.service,
        "podsService": objects.pods_service,
        "endpoint": objects.endpoint,
    })
}

fn pointer(text: &str) -> String {
    let template = "/deployment/spec/template";
    text.replace("TEMPLATE", template)
        .replace("POD", &format!("{template}/spec"))
        .replace("BOX", &format!("{template}/spec/containers/0"))
}

#[test]
fn every_field_lands_where_its_row_says() {
    let plain = tree(&built(&spec("{}"), &[], &Contents::new()));
    for [leaf, text, place, expected] in rows(include_str!("rows.txt")) {
        let written: Value = serde_saphyr::from_str(text).unwrap();
        assert!(holds(&written, leaf), "{leaf} is not in {text}");
        let tree = tree(&built(&spec(text), &[], &Contents::new()));
        let expected: Value = serde_saphyr::from_str(expected).unwrap();
        let at = |tree: &Value| tree.pointer(&pointer(place)).cloned().unwrap_or_default();
        assert_eq!(at(&tree), expected, "{leaf}: {text}");
        assert_ne!(at(&plain), expected, "{leaf}: {text} changes nothing at {place}");
    }
}

/// After a wanted change: `UPDATE=1 cargo test --lib a_full_provider`. Pods of every user roll then: say so in the changelog.
#[test]
fn a_full_provider_is_built_as_recorded() {
    let text = include_str!("full.yaml");
    let contents = Contents::from([
        (Reference::Secret("weather-key".into()), BTreeMap::from([("token".into(), b"t0p".to_vec())])),
        (Reference::ConfigMap("weather-cities".into()), BTreeMap::from([("a.txt".into(), b"Oslo".to_vec())])),
    ]);
    let objects = tree(&built(&spec(text), &[], &contents));
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/provider/build/full.golden.json");
    let said = serde_json::to_string_pretty(&objects).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(golden, &said).unwrap();
    }
    assert!(said == std::fs::read_to_string(golden).unwrap(), "pods would roll at an upgrade: {said}");
}

#[test]
fn the_hash_follows_what_pods_read_and_nothing_else() {
    let spec = spec(include_str!("full.yaml"));
    let secret = |token: &str, other: &str| {
        let data = [("token".to_owned(), token.into()), ("other".to_owned(), other.into())];
        (Reference::Secret("weather-key".into()), BTreeMap::from(data))
    };
    let cities = |key: &str, text: &str| {
        (Reference::ConfigMap("weather-cities".into()), BTreeMap::from([(key.to_owned(), text.into())]))
    };
    let stranger = (Reference::Secret("stranger".into()), BTreeMap::from([("token".to_owned(), vec![1])]));
    let hash = |spec: &MCPProviderSpec, contents: &[(Reference, BTreeMap<String, Vec<u8>>)]| {
        built(spec, &[], &contents.iter().cloned().collect()).config_hash
    };
    let base = hash(&spec, &[secret("a", "x"), cities("k", "v")]);
    for (contents, is_same, why) in [
        (vec![secret("a", "y"), cities("k", "v")], true, "a key that nobody reads"),
        (vec![secret("a", "x"), cities("k", "v"), stranger], true, "a Secret that nobody reads"),
        (vec![secret("b", "x"), cities("k", "v")], false, "a key that is read"),
        (vec![secret("a", "x"), cities("k", "w")], false, "a file of a ConfigMap"),
        (vec![secret("a", "x"), cities("kv", "")], false, "the name of a file"),
        (vec![secret("a", "x")], false, "a ConfigMap that may not be read any more"),
    ] {
        assert_eq!(hash(&spec, &contents) == base, is_same, "{why}");
    }
    let contents = [secret("a", "x"), cities("k", "v")];
    let with = |change: &dyn Fn(&mut MCPProviderSpec)| {
        let mut spec = spec.clone();
        change(&mut spec);
        hash(&spec, &contents)
    };
    assert_eq!(with(&|spec| spec.replicas = Some(9)), base, "replicas");
    assert_eq!(with(&|spec| spec.tools = None), base, "tools");
    assert_eq!(with(&|spec| spec.remote = Some(Default::default())), base, "a block of the other mode");
    assert_ne!(with(&|spec| spec.pod = None), base, "the pods' settings");
}

#[test]
fn a_remote_provider_is_hashed_by_what_it_is_reached_with() {
    let spec = |endpoint: &str| -> MCPProviderSpec {
        serde_json::from_value(json!({"mode": "Remote", "remote": {"endpoint": endpoint, "headersFrom":
            [{"name": "Authorization", "secretKeyRef": {"name": "s", "key": "k"}}]}}))
        .unwrap()
    };
    let secret = |bytes: &[u8]| {
        Contents::from([(Reference::Secret("s".into()), BTreeMap::from([("k".into(), bytes.to_vec())]))])
    };
    let base = of_remote(&spec("http://a.example"), &secret(b"1"));
    assert_eq!(of_remote(&spec("http://a.example"), &secret(b"1")), base);
    assert_ne!(of_remote(&spec("http://b.example"), &secret(b"1")), base);
    assert_ne!(of_remote(&spec("http://a.example"), &secret(b"2")), base);
}

#[test]
fn names_each_object_once_with_the_keys_that_count() {
    let keys = |keys: &[&str]| Keys::Some(keys.iter().map(|key| (*key).to_owned()).collect());
    let found = references(&spec(
        "container: {env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: a}}},
           {name: B, valueFrom: {secretKeyRef: {name: s, key: b}}},
           {name: C, valueFrom: {configMapKeyRef: {name: c, key: a}}}, {name: D, value: d}],
         volumes: [{name: v, mountPath: /v, configMap: {name: c}},
           {name: w, mountPath: /w, secret: {secretName: t, items: [{key: k, path: p}]}}]}",
    ));
    let expected = BTreeMap::from([
        (Reference::Secret("s".into()), keys(&["a", "b"])),
        (Reference::Secret("t".into()), keys(&["k"])),
        (Reference::ConfigMap("c".into()), Keys::All),
    ]);
    assert_eq!(found, expected);
}

#[test]
fn what_the_user_wrote_wins_over_ours() {
    for (text, place, expected) in [
        // Each name once: server-side apply refuses a second one.
        (
            "container: {env: [{name: PORT, value: '1'}, {name: A, value: $(PORT)}]}",
            "BOX/env/4",
            json!({"name": "PORT", "value": "1"}),
        ),
        ("container: {env: [{name: PORT, value: '1'}, {name: A, value: $(PORT)}]}", "BOX/env/6", Value::Null),
        (
            "container: {volumes: [{name: v, mountPath: /tmp/, emptyDir: {}}]}",
            "POD/volumes",
            json!([{"name": "v", "emptyDir": {}}]),
        ),
        (
            "container: {volumes: [{name: tmp, mountPath: /v, emptyDir: {}}]}",
            "BOX/volumeMounts/1",
            json!({"name": "mcp-tmp", "mountPath": "/tmp"}),
        ),
        ("pod: {securityContext: {readOnlyRootFilesystem: false}}", "POD/volumes", Value::Null),
        ("{}", "POD/volumes", json!([{"name": "tmp", "emptyDir": {}}])),
        ("{}", "/podsService/spec/clusterIP", json!("None")),
        ("{}", "/podsService/metadata/name", json!("weather-pods")),
        ("{}", "/service/spec/selector", json!({"mcp-hangar.io/provider": "weather"})),
    ] {
        let tree = tree(&built(&spec(text), &[], &Contents::new()));
        assert_eq!(tree.pointer(&pointer(place)).cloned().unwrap_or_default(), expected, "{text} {place}");
    }
}

#[test]
fn the_field_wins_over_the_annotation_and_that_over_the_default() {
    for (text, annotations, expected) in [
        ("{}", vec![], "8080/mcp"),
        ("{}", vec![(annotation::PORT, "3000"), (annotation::PATH, "/x")], "3000/x"),
        ("container: {port: 1, path: /y}", vec![(annotation::PORT, "3000"), (annotation::PATH, "/x")], "1/y"),
        ("{}", vec![(annotation::PORT, "70000"), (annotation::PATH, "x")], "8080/mcp"),
        ("{}", vec![(annotation::PORT, "")], "8080/mcp"),
    ] {
        let endpoint = built(&spec(text), &annotations, &Contents::new()).endpoint;
        assert_eq!(endpoint, format!("http://weather.team.svc:{expected}"), "{text} {annotations:?}");
    }
}

#[test]
fn the_version_label_is_always_valid() {
    let digest = format!("r.example/a@sha256:{}", "0123456789abcdef".repeat(4));
    for (image, expected) in [
        ("a", "latest"),
        ("r.example:5000/a", "latest"),
        ("a:1.2", "1.2"),
        ("a:_x_", "x"),
        (&digest, "0123456789ab"),
        ("a:1@sha256:00", "1"),
        (&format!("a:{}", "x".repeat(128)), &"x".repeat(63)),
    ] {
        assert_eq!(version(image), expected, "{image}");
    }
}

#[test]
fn names_the_missing_image() {
    let spec: MCPProviderSpec = serde_json::from_value(json!({"mode": "Container"})).unwrap();
    let provider =
        Provider { name: "weather", namespace: "team", uid: "u", annotations: &BTreeMap::new(), spec: &spec };
    let error = build(&provider, 1, &Contents::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to build deployment of provider team/weather: container.image is missing"
    );
}
