//! What holds for every definition: a walk over both versions' schemas of all three kinds.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::{GROUP, bound, duration, quantity};

/// Calls `visit` with every schema of every kind and version, and with its path: `MCPProvider/v1beta1 spec.env[].name`.
fn walk(mut visit: impl FnMut(&str, &Value)) {
    fn below(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            below(&format!("{path}.{name}"), property, visit);
        }
        for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(inner) = schema.get(key) {
                below(&format!("{path}{suffix}"), inner, visit);
            }
        }
    }
    static PRINTED: LazyLock<Vec<Value>> =
        LazyLock::new(|| crds().iter().map(|crd| to_value(crd).unwrap()).collect());
    for crd in &*PRINTED {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let [kind, name] =
                [&crd["spec"]["names"]["kind"], &version["name"]].map(|text| text.as_str().unwrap());
            below(&format!("{kind}/{name}"), &version["schema"]["openAPIV3Schema"], &mut visit);
        }
    }
}

/// Every schema must be without fault: `fault` says what is wrong with one.
fn check(mut fault: impl FnMut(&str, &Value) -> Option<String>) {
    let mut faults = Vec::new();
    walk(|path, schema| faults.extend(fault(path, schema).map(|fault| format!("{path}: {fault}"))));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn schema(kind: &str, version: &str, path: &str) -> Value {
    let mut found = None;
    let wanted = format!("{kind}/{version}.{path}");
    walk(|path, schema| {
        if path == wanted {
            found = Some(schema.clone());
        }
    });
    found.unwrap_or_else(|| panic!("no {wanted}"))
}

fn is_affinity(path: &str) -> bool {
    path.contains(".affinity.")
}

#[test]
fn every_property_item_and_value_is_described() {
    check(|path, schema| {
        // The items and values inside affinity are without words in Kubernetes itself.
        let described = schema["description"].as_str().is_some_and(|text| text.len() > 8);
        let exempt = is_affinity(path) && (path.ends_with("[]") || path.ends_with("{}"));
        (!described && !exempt).then(|| "no description".into())
    });
}

#[test]
fn descriptions_are_short_sentences() {
    check(|path, schema| {
        let text = schema["description"].as_str().unwrap_or_default();
        let fine = text.ends_with('.') && text.len() <= 260 && !text.contains('\n');
        (!is_affinity(path) && !fine).then(|| format!("{text:?}"))
    });
}

#[test]
fn every_string_list_map_and_number_is_bounded() {
    check(|path, schema| {
        if is_affinity(path) {
            return None;
        }
        let needed: &[&str] = match schema["type"].as_str() {
            Some("string") if schema.get("enum").is_some() => &[],
            Some("string") => &["maxLength"],
            Some("array") => &["maxItems"],
            Some("integer" | "number") => &["minimum", "maximum"],
            Some("object") if schema.get("additionalProperties").is_some() => &["maxProperties"],
            None => &["maxLength"],
            _ => &[],
        };
        needed.iter().find(|key| schema.get(**key).is_none()).map(|key| format!("no {key}"))
    });
}

#[test]
fn no_field_is_nullable_and_no_enum_has_null() {
    check(|_, schema| {
        let null = schema["enum"].as_array().is_some_and(|values| values.contains(&Value::Null));
        (null || schema.get("nullable").is_some()).then(|| "nullable".into())
    });
}

#[test]
fn only_status_has_a_default() {
    check(|path, schema| {
        let whole_status = path.matches('.').count() == 1 && path.ends_with(".status");
        let expected = whole_status.then(|| json!({"observedGeneration": -1}));
        (schema.get("default") != expected.as_ref()).then(|| format!("default {:?}", schema.get("default")))
    });
}

#[test]
fn formats_are_known_to_the_api_server() {
    check(|_, schema| {
        let format = schema["format"].as_str()?;
        (!FORMATS.contains(&format)).then(|| format.to_owned())
    });
}

#[test]
fn lists_are_atomic_but_for_conditions() {
    check(|path, schema| {
        if schema["type"] != "array" {
            return None;
        }
        let map = path.ends_with(".status.conditions");
        let (kind, keys) = if map { ("map", json!(["type"])) } else { ("atomic", Value::Null) };
        let fine = schema["x-kubernetes-list-type"] == kind && schema["x-kubernetes-list-map-keys"] == keys;
        (!fine).then(|| "wrong topology".into())
    });
}

#[test]
fn schemas_are_structural() {
    check(|path, schema| {
        let keys: BTreeSet<&str> = schema.as_object().unwrap().keys().map(String::as_str).collect();
        let allowed = [
            "additionalProperties",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minLength",
            "minimum",
            "pattern",
            "properties",
            "required",
            "type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-list-type",
        ];
        let mut odd: BTreeSet<&str> = keys.difference(&allowed.into()).copied().collect();
        if schema.get("x-kubernetes-int-or-string").is_some() {
            odd.remove("x-kubernetes-int-or-string");
        }
        if path.ends_with(".samplingRate") {
            odd.remove("x-kubernetes-preserve-unknown-fields");
        }
        if path.starts_with("MCPProvider/") && path.ends_with(".spec") {
            odd.remove("x-kubernetes-validations");
        }
        let typeless = schema.get("type").is_none() && !path.ends_with(".samplingRate");
        if typeless && schema.get("x-kubernetes-int-or-string").is_none() {
            odd.insert("no type");
        }
        (!odd.is_empty()).then(|| format!("{odd:?}"))
    });
}

#[test]
fn only_the_starred_fields_are_required() {
    let mut required = BTreeSet::new();
    walk(|path, schema| {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !is_affinity(path) && !path.contains("matchExpressions") {
                required.insert(format!("{path}.{}", name.as_str().unwrap()));
            }
        }
    });
    let mut expected = BTreeSet::new();
    for (version, block) in [("v1alpha1", ""), ("v1beta1", "container.")] {
        for kind in ["MCPProvider", "MCPProviderGroup", "MCPDiscoverySource"] {
            expected.insert(format!("{kind}/{version}.spec"));
            expected.insert(format!("{kind}/{version}.status.conditions[].type"));
            expected.insert(format!("{kind}/{version}.status.conditions[].status"));
        }
        for place in ["MCPProvider/VERSION.spec", "MCPDiscoverySource/VERSION.spec.providerTemplate.spec"] {
            let place = place.replace("VERSION", version);
            for field in ["env[].name", "volumes[].name", "volumes[].mountPath"] {
                expected.insert(format!("{place}.{block}{field}"));
            }
        }
        for field in [
            "MCPProvider/VERSION.spec.mode",
            "MCPProviderGroup/VERSION.spec.selector",
            "MCPDiscoverySource/VERSION.spec.type",
            "MCPProviderGroup/VERSION.status.providers[].name",
            "MCPProviderGroup/VERSION.status.providers[].namespace",
            "MCPDiscoverySource/VERSION.status.discoveredProviders[].name",
            "MCPDiscoverySource/VERSION.status.discoveredProviders[].source",
        ] {
            expected.insert(field.replace("VERSION", version));
        }
    }
    assert_eq!(required, expected);
}

#[test]
fn both_versions_of_a_status_a_group_and_a_source_are_the_same() {
    for (kind, path) in [
        ("MCPProvider", "status"),
        ("MCPProviderGroup", "status"),
        ("MCPProviderGroup", "spec"),
        ("MCPDiscoverySource", "status"),
    ] {
        assert_eq!(schema(kind, "v1alpha1", path), schema(kind, "v1beta1", path), "{kind} {path}");
    }
    let [old, new] = ["v1alpha1", "v1beta1"].map(|version| {
        let mut spec = schema("MCPDiscoverySource", version, "spec");
        spec["properties"]["providerTemplate"]["properties"]["spec"].take();
        spec
    });
    assert_eq!(old, new);
}

#[test]
fn a_template_is_a_provider_spec_without_what_is_required() {
    for version in ["v1alpha1", "v1beta1"] {
        let mut provider = schema("MCPProvider", version, "spec");
        let mut template = schema("MCPDiscoverySource", version, "spec.providerTemplate.spec");
        for key in ["required", "x-kubernetes-validations", "description"] {
            assert!(provider.as_object_mut().unwrap().remove(key).is_some(), "{key}");
        }
        assert!(template.as_object_mut().unwrap().remove("description").is_some());
        assert_eq!(provider, template);
    }
}

/// The hub's bounds of a field, and where v1alpha1 says the same. A hub object that is valid must be valid there.
#[test]
fn v1alpha1_is_never_tighter_than_the_hub() {
    for (hub, spoke) in [
        ("container.image", "image"),
        ("container.command", "command"),
        ("container.args", "args"),
        ("container.workingDir", "workingDir"),
        ("container.volumes", "volumes"),
        ("remote.endpoint", "endpoint"),
        ("replicas", "replicas"),
        ("lifecycle.idleTTL", "idleTTL"),
        ("lifecycle.startupTimeout", "startupTimeout"),
        ("lifecycle.shutdownGracePeriod", "shutdownGracePeriod"),
        ("healthCheck", "healthCheck"),
        ("circuitBreaker", "circuitBreaker"),
        ("tools", "tools"),
        ("observability", "observability"),
        ("pod.serviceAccountName", "serviceAccountName"),
        ("pod.nodeSelector", "nodeSelector"),
        ("pod.tolerations", "tolerations"),
        ("pod.affinity", "affinity"),
        ("pod.priorityClassName", "priorityClassName"),
        ("pod.securityContext", "securityContext"),
        ("pod.imagePullSecrets", "imagePullSecrets"),
        ("container.env[].name", "env[].name"),
        ("container.env[].value", "env[].value"),
        ("container.env[].valueFrom.secretKeyRef", "env[].valueFrom.secretKeyRef"),
        ("container.env[].valueFrom.configMapKeyRef", "env[].valueFrom.configMapKeyRef"),
        ("container.resources.limits{}", "resources.limits.cpu"),
        ("container.resources.limits{}", "resources.limits.memory"),
        ("container.resources.requests{}", "resources.requests.cpu"),
        ("container.resources.requests{}", "resources.requests.memory"),
    ] {
        let [hub, spoke] = [("v1beta1", hub), ("v1alpha1", spoke)].map(|(version, path)| {
            let mut schema = schema("MCPProvider", version, &format!("spec.{path}"));
            schema["description"].take();
            schema
        });
        assert_eq!(hub, spoke);
    }
    for (version, path) in [("v1beta1", "spec.container.env"), ("v1alpha1", "spec.env")] {
        let env = schema("MCPProvider", version, path);
        assert_eq!((&env["maxItems"], &env["items"]["required"]), (&json!(10_000), &json!(["name"])));
    }
}

#[test]
fn rules_name_the_field_that_a_mode_needs() {
    for (version, expected) in [
        (
            "v1alpha1",
            [
                (".image", "self.mode != 'container' || (has(self.image) && self.image != '')"),
                (".endpoint", "self.mode != 'remote' || (has(self.endpoint) && self.endpoint != '')"),
            ],
        ),
        (
            "v1beta1",
            [
                (
                    ".container.image",
                    "self.mode != 'Container' || (has(self.container) && has(self.container.image) && \
                 self.container.image != '')",
                ),
                (
                    ".remote.endpoint",
                    "self.mode != 'Remote' || (has(self.remote) && has(self.remote.endpoint) && \
                 self.remote.endpoint != '')",
                ),
            ],
        ),
    ] {
        let rules = schema("MCPProvider", version, "spec")["x-kubernetes-validations"].clone();
        for (rule, (path, text)) in rules.as_array().unwrap().iter().zip(expected) {
            assert_eq!((&rule["fieldPath"], &rule["rule"]), (&json!(path), &json!(text)));
            assert_eq!(rule["reason"], "FieldValueRequired");
            assert!(rule["message"].as_str().unwrap().starts_with("must be set when spec.mode is "));
        }
    }
}

#[test]
fn names_versions_and_subresources_are_those_of_the_api() {
    let expected = [
        ("mcpproviders", ["mcpp", "provider"]),
        ("mcpprovidergroups", ["mcppg", "providergroup"]),
        ("mcpdiscoverysources", ["mcpds", "discoverysource"]),
    ];
    for (crd, (plural, short)) in crds().into_iter().zip(expected) {
        assert_eq!(crd.metadata.name.as_deref(), Some(format!("{plural}.{GROUP}").as_str()));
        assert_eq!((crd.spec.group.as_str(), crd.spec.scope.as_str()), (GROUP, "Namespaced"));
        assert_eq!(crd.spec.names.short_names, Some(short.map(String::from).into()));
        assert_eq!(crd.spec.names.categories, Some(vec!["mcp".into(), "all".into()]));
        assert_eq!(crd.spec.conversion, None);
        let versions: Vec<_> =
            crd.spec.versions.iter().map(|v| (v.name.as_str(), v.served, v.storage)).collect();
        assert_eq!(versions, [("v1beta1", true, true), ("v1alpha1", true, false)]);
        for version in &crd.spec.versions {
            let subresources = version.subresources.as_ref().unwrap();
            assert!(subresources.status.is_some());
            let scale = subresources.scale.as_ref().map(|scale| {
                (
                    &*scale.spec_replicas_path,
                    &*scale.status_replicas_path,
                    scale.label_selector_path.as_deref(),
                )
            });
            let provider = (".spec.replicas", ".status.replicas", Some(".status.selector"));
            assert_eq!(scale, (plural == "mcpproviders").then_some(provider));
        }
    }
}

#[test]
fn columns_are_those_of_the_api_in_both_versions() {
    let expected = [
        "Mode State Ready Tools Age | Endpoint Message",
        "Strategy Providers Ready Degraded Age | Message",
        "Type Mode Discovered Last Sync Age | Message",
    ];
    for (crd, expected) in crds().iter().zip(expected) {
        for version in &crd.spec.versions {
            let (wide, always): (Vec<_>, Vec<_>) = version
                .additional_printer_columns
                .iter()
                .flatten()
                .partition(|column| column.priority == Some(1));
            let names = |columns: &[&CustomResourceColumnDefinition]| {
                columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(" ")
            };
            assert_eq!(format!("{} | {}", names(&always), names(&wide)), expected);
        }
    }
}

/// A path that the schema lacks would show an empty column for ever.
#[test]
fn columns_show_fields_that_exist() {
    for crd in crds() {
        for version in &crd.spec.versions {
            for column in version.additional_printer_columns.iter().flatten() {
                let path = column.json_path.replace("[?(@.type==\"Ready\")]", "[]");
                if path != AGE {
                    schema(&crd.spec.names.kind, &version.name, path.trim_start_matches('.'));
                }
            }
        }
    }
}

#[test]
fn a_printed_definition_has_nothing_empty_in_it() {
    fn empty(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Null => found.push(path.into()),
            Value::Array(items) if items.is_empty() => found.push(path.into()),
            Value::Object(map) if map.is_empty() && !path.ends_with(".subresources.status") => {
                found.push(path.into());
            }
            Value::Number(number) if number.is_f64() => found.push(path.into()),
            Value::Array(items) => items.iter().for_each(|item| empty(path, item, found)),
            Value::Object(map) => {
                map.iter().for_each(|(key, item)| empty(&format!("{path}.{key}"), item, found))
            }
            _ => {}
        }
    }
    for crd in crds() {
        let value = to_value(&crd).unwrap();
        let mut found = Vec::new();
        empty(&crd.spec.names.kind, &value, &mut found);
        assert_eq!(found, Vec::<String>::new());
        assert_eq!(value.get("status"), None);
        // kubectl apply keeps a copy in an annotation of at most 256 KiB.
        assert!(value.to_string().len() < 200_000, "{} bytes", value.to_string().len());
    }
}

#[test]
fn a_release_is_named_in_the_metadata_only() {
    for crd in crds() {
        let mut released = for_release(crd.clone(), "mcp-hangar-operator", "mcp-system");
        let value = to_value(&released).unwrap();
        assert_eq!(value["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "Helm"}));
        assert_eq!(
            value["metadata"]["annotations"],
            json!({
                "meta.helm.sh/release-name": "mcp-hangar-operator",
                "meta.helm.sh/release-namespace": "mcp-system",
            })
        );
        (released.metadata.labels, released.metadata.annotations) = (None, None);
        assert_eq!(released, crd);
    }
}

#[test]
fn conversion_is_added_on_demand() {
    let config =
        WebhookClientConfig { url: Some("https://example.com/convert".into()), ..Default::default() };
    let crd = with_conversion(crds().remove(0), config);
    assert_eq!(
        to_value(&crd).unwrap()["spec"]["conversion"],
        json!({
            "strategy": "Webhook",
            "webhook": {
                "clientConfig": {"url": "https://example.com/convert"},
                "conversionReviewVersions": ["v1"],
            },
        })
    );
}

/// Patterns are read by RE2 in the API server and by Rust elsewhere; both know what is used here.
#[test]
fn patterns_are_never_stricter_than_the_parsers() {
    let pattern = |text: &str| regex::RegexBuilder::new(text).unicode(false).build().unwrap();
    let (durations, quantities) = (pattern(bound::DURATION), pattern(bound::QUANTITY));
    let parts =
        ["", "+", "-", "0", "1", "12", ".", "1.", ".5", "1.5", "ns", "us", "µs", "μs", "ms", "s", "m", "h"];
    let suffixes =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-3"];
    for (sign, number) in ["", "+", "-"].iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
        for (unit, more) in parts.iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
            let text = format!("{sign}{number}{unit}{more}");
            assert!(duration::parse(&text).is_err() || durations.is_match(&text), "{text:?}");
        }
        for suffix in suffixes {
            let text = format!("{sign}{number}{suffix}");
            assert_eq!(quantity::parse(&text).is_ok(), quantities.is_match(&text), "{text:?}");
        }
    }
}

/// A value with every field that the schema declares.
fn sample(schema: &Value) -> Value {
    if let Some(values) = schema["enum"].as_array() {
        return values.last().unwrap().clone();
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("object"), _) => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let value = schema.get("additionalProperties").map(|value| ("key".to_owned(), sample(value)));
            properties.map(|(name, property)| (name.clone(), sample(property))).chain(value).collect()
        }
        (Some("array"), _) => json!([sample(&schema["items"])]),
        (Some("string"), Some("date-time")) => json!("2026-01-02T03:04:05Z"),
        (Some("string"), _) => json!("text"),
        (Some("integer"), _) => json!(7),
        (Some("boolean"), _) => json!(true),
        (None, _) if schema.get("x-kubernetes-int-or-string").is_some() => json!("1"),
        (None, _) => json!(0.5),
        other => panic!("{other:?}"),
    }
}

fn check_round_trip<T: DeserializeOwned + Serialize>(kind: &str, version: &str) {
    let object = json!({
        "apiVersion": format!("{GROUP}/{version}"),
        "kind": kind,
        "metadata": {"name": "name"},
        "spec": sample(&schema(kind, version, "spec")),
        "status": sample(&schema(kind, version, "status")),
    });
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), object, "{kind} {version}");
}

#[test]
fn types_keep_every_field_that_the_schema_declares() {
    check_round_trip::<v1alpha1::MCPProvider>("MCPProvider", "v1alpha1");
    check_round_trip::<v1alpha1::MCPProviderGroup>("MCPProviderGroup", "v1alpha1");
    check_round_trip::<v1alpha1::MCPDiscoverySource>("MCPDiscoverySource", "v1alpha1");
    check_round_trip::<v1beta1::MCPProvider>("MCPProvider", "v1beta1");
    check_round_trip::<v1beta1::MCPProviderGroup>("MCPProviderGroup", "v1beta1");
    check_round_trip::<v1beta1::MCPDiscoverySource>("MCPDiscoverySource", "v1beta1");
}

/// Each field of the status alone in a shape that the type does not have.
fn check_odd<T: DeserializeOwned + Default + PartialEq + std::fmt::Debug>(kind: &str) {
    for name in schema(kind, "v1beta1", "status")["properties"].as_object().unwrap().keys() {
        for odd in [json!(null), json!({"odd": 1}), json!([{"odd": 1}, 1]), json!(1e300), json!([null])] {
            let status = json!({ name: odd });
            assert_eq!(serde_json::from_value::<T>(status.clone()).unwrap(), T::default(), "{status}");
        }
    }
}

#[test]
fn an_odd_status_is_read_as_far_as_it_goes() {
    check_odd::<v1beta1::MCPProviderStatus>("MCPProvider");
    check_odd::<v1beta1::MCPProviderGroupStatus>("MCPProviderGroup");
    check_odd::<v1beta1::MCPDiscoverySourceStatus>("MCPDiscoverySource");
    let status = json!({
        "state": "Hot",
        "toolsCount": 3,
        "conditions": [
            {"type": "Ready", "status": "Maybe", "lastTransitionTime": "yesterday", "reason": ""},
            {"status": "True"},
        ],
    });
    let status: v1beta1::MCPProviderStatus = serde_json::from_value(status).unwrap();
    assert_eq!((status.state, status.tools_count), (None, Some(3)));
    assert_eq!(
        serde_json::to_value(status.conditions).unwrap(),
        json!([{"type": "Ready", "status": "Unknown", "reason": ""}])
    );
}

/// Writes the definitions as JSON for a look at them: `MCP_HANGAR_CRDS=dir cargo test -p mcp-hangar-api`.
#[test]
fn definitions_can_be_written() {
    let written = std::env::var_os("MCP_HANGAR_CRDS").map(std::path::PathBuf::from);
    for crd in crds() {
        let json = serde_json::to_string_pretty(&to_value(&crd).unwrap()).unwrap();
        if let Some(directory) = &written {
            std::fs::write(directory.join(format!("{}.json", crd.spec.names.plural)), json).unwrap();
        }
    }
}
