//! Every leaf of a source's spec: two specs that differ in it mean something else. A walk over the schema finds the leaves
//! that nobody names; what each meaning does, the tests of the plan and of a real API server show.

use std::collections::BTreeSet;

use mcp_hangar_api::crd::crds;
use mcp_hangar_webhooks::policy::Policy;
use serde_json::{Value, json};

use super::source::Source;
use crate::provider::Key;
use crate::provider::effects_tests::leaves;

const MAP: &str = "type: ConfigMap, configMapRef: {name: m}";
const SPACES: &str = "type: Namespace, namespaceSelector:";
const NOTES: &str = "type: Annotations, annotations:";
const PORTS: &str = "type: ServiceDiscovery, serviceDiscovery:";

/// A leaf, what stands before it, and two ways to go on.
pub(crate) const EFFECTS: [(&str, &str, &str, &str); 27] = [
    ("type", "configMapRef: {name: m}, namespaceSelector: {}", "type: ConfigMap", "type: Namespace"),
    ("mode", MAP, "mode: Additive", "mode: Authoritative"),
    ("refreshInterval", MAP, "refreshInterval: 1s", "refreshInterval: 2s"),
    ("paused", MAP, "paused: true", "paused: false"),
    ("namespaceSelector.matchLabels.*", SPACES, "{matchLabels: {a: '1'}}", "{matchLabels: {a: '2'}}"),
    (
        "namespaceSelector.matchExpressions[].key",
        SPACES,
        "{matchExpressions: [{key: a, operator: Exists}]}",
        "{matchExpressions: [{key: b, operator: Exists}]}",
    ),
    (
        "namespaceSelector.matchExpressions[].operator",
        SPACES,
        "{matchExpressions: [{key: a, operator: Exists}]}",
        "{matchExpressions: [{key: a, operator: DoesNotExist}]}",
    ),
    (
        "namespaceSelector.matchExpressions[].values[]",
        SPACES,
        "{matchExpressions: [{key: a, operator: In, values: ['1']}]}",
        "{matchExpressions: [{key: a, operator: In, values: ['2']}]}",
    ),
    ("namespaceSelector.excludeNamespaces[]", SPACES, "{excludeNamespaces: [a]}", "{excludeNamespaces: [b]}"),
    ("configMapRef.name", "type: ConfigMap, configMapRef:", "{name: m}", "{name: other}"),
    ("configMapRef.namespace", "type: ConfigMap, configMapRef:", "{name: m}", "{name: m, namespace: other}"),
    ("configMapRef.key", "type: ConfigMap, configMapRef:", "{name: m}", "{name: m, key: k}"),
    ("annotations.podSelector.*", NOTES, "{podSelector: {a: '1'}}", "{podSelector: {a: '2'}}"),
    ("annotations.serviceSelector.*", NOTES, "{serviceSelector: {a: '1'}}", "{serviceSelector: {a: '2'}}"),
    ("annotations.annotationPrefix", NOTES, "{annotationPrefix: a.example}", "{annotationPrefix: b.example}"),
    ("annotations.requiredAnnotations[]", NOTES, "{requiredAnnotations: [a]}", "{requiredAnnotations: [b]}"),
    ("serviceDiscovery.selector.*", PORTS, "{selector: {a: '1'}}", "{selector: {a: '2'}}"),
    ("serviceDiscovery.portName", PORTS, "{portName: a}", "{portName: b}"),
    ("serviceDiscovery.protocol", PORTS, "{protocol: http}", "{protocol: https}"),
    (
        "providerTemplate.metadata.labels.*",
        MAP,
        "providerTemplate: {metadata: {labels: {a: '1'}}}",
        "providerTemplate: {metadata: {labels: {a: '2'}}}",
    ),
    (
        "providerTemplate.metadata.annotations.*",
        MAP,
        "providerTemplate: {metadata: {annotations: {a: '1'}}}",
        "providerTemplate: {metadata: {annotations: {a: '2'}}}",
    ),
    // Merged as a whole, whatever it holds: its leaves are those of a provider.
    (TEMPLATE, MAP, "providerTemplate: {spec: {replicas: 1}}", "providerTemplate: {spec: {replicas: 2}}"),
    ("filters.includePatterns[]", MAP, "filters: {includePatterns: [a]}", "filters: {includePatterns: [b]}"),
    ("filters.excludePatterns[]", MAP, "filters: {excludePatterns: [a]}", "filters: {excludePatterns: [b]}"),
    ("filters.maxProviders", MAP, "filters: {maxProviders: 1}", "filters: {maxProviders: 2}"),
    ("ownership.controller", MAP, "ownership: {controller: true}", "ownership: {controller: false}"),
    ("ownership.blockDeletion", MAP, "ownership: {blockDeletion: true}", "ownership: {blockDeletion: false}"),
];
const TEMPLATE: &str = "providerTemplate.spec";

fn meaning(before: &str, rest: &str) -> String {
    let between = if before.ends_with(':') { " " } else { ", " };
    let text = format!("{{{before}{between}{rest}}}");
    let spec: Value = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let object = json!({"apiVersion": "mcp-hangar.io/v1beta1", "kind": "MCPDiscoverySource", "spec": spec,
        "metadata": {"name": "s", "namespace": "team"}});
    let key = Key { namespace: "team".into(), name: "s".into() };
    let policy = Policy { configmap_namespaces: vec!["other".into()], ..Policy::default() };
    let settings = Source::of(key, serde_json::from_value(object).unwrap()).settings(&policy);
    format!("{:?}", settings.unwrap_or_else(|says| panic!("{text}: {says}")))
}

#[test]
fn each_leaf_of_the_schema_means_something() {
    for (leaf, before, one, other) in EFFECTS {
        assert_ne!(meaning(before, one), meaning(before, other), "{leaf}");
    }
    let crd = crds().into_iter().find(|crd| crd.spec.names.kind == "MCPDiscoverySource").unwrap();
    for version in &crd.spec.versions {
        let schema = serde_json::to_value(&version.schema).unwrap();
        let mut found = BTreeSet::new();
        leaves(&schema["openAPIV3Schema"]["properties"]["spec"], "", &mut found);
        let named: BTreeSet<_> = EFFECTS.iter().map(|(leaf, ..)| (*leaf).to_owned()).collect();
        assert_eq!(found, named, "{}", version.name);
    }
}
