//! The CustomResourceDefinitions, made from the types.
//!
//! Out: one definition a kind with both versions, the stored one first, without nulls, empty lists or defaults (but
//! the one on `status`). What a definition needs in a cluster is added by whoever installs it: [`for_release`] for
//! Helm, [`with_conversion`] for the webhook. Printing as YAML is left to the operator.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceConversion, CustomResourceDefinition,
    CustomResourceDefinitionVersion, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
    ValidationRule, WebhookClientConfig, WebhookConversion,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::{v1alpha1, v1beta1};

#[cfg(test)]
mod tests;

/// The definitions of the three kinds, in the order provider, group, discovery source.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut provider = merge(v1beta1::MCPProvider::crd(), v1alpha1::MCPProvider::crd(), &provider_columns());
    let group = merge(v1beta1::MCPProviderGroup::crd(), v1alpha1::MCPProviderGroup::crd(), &group_columns());
    let mut discovery =
        merge(v1beta1::MCPDiscoverySource::crd(), v1alpha1::MCPDiscoverySource::crd(), &discovery_columns());

    // The template is taken before the rules are there: it is only a part of a spec, so nothing in it is required.
    for (from, to) in provider.spec.versions.iter().zip(&mut discovery.spec.versions) {
        if let (Some(spec), Some(template)) =
            (at_ref(from, &["spec"]), at(to, &["spec", "providerTemplate", "spec"]))
        {
            let description = template.description.take();
            *template = JSONSchemaProps { description, required: None, ..spec.clone() };
        }
    }
    for version in &mut provider.spec.versions {
        let rules = required_by_mode(&version.name);
        if let Some(spec) = at(version, &["spec"]) {
            spec.x_kubernetes_validations = Some(rules);
        }
    }
    vec![provider, group, discovery]
}

/// The definition with the ownership metadata of a Helm release, so that Helm adopts it.
pub fn for_release(
    mut crd: CustomResourceDefinition,
    name: &str,
    namespace: &str,
) -> CustomResourceDefinition {
    let labels = crd.metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert("app.kubernetes.io/managed-by".into(), "Helm".into());
    let annotations = crd.metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert("meta.helm.sh/release-name".into(), name.into());
    annotations.insert("meta.helm.sh/release-namespace".into(), namespace.into());
    crd
}

/// The definition with conversion by the webhook that `client_config` names.
pub fn with_conversion(
    mut crd: CustomResourceDefinition,
    client_config: WebhookClientConfig,
) -> CustomResourceDefinition {
    crd.spec.conversion = Some(CustomResourceConversion {
        strategy: "Webhook".into(),
        webhook: Some(WebhookConversion {
            client_config: Some(client_config),
            conversion_review_versions: vec!["v1".into()],
        }),
    });
    crd
}

/// The definition as JSON to print: whole numbers are written without a fraction (`0`, not `0.0`), as the API server
/// writes them.
pub fn to_value(crd: &CustomResourceDefinition) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(crd)?;
    whole_numbers(&mut value);
    Ok(value)
}

/// `hub` with the version of `spoke` added. The API server prefers and lists the hub: it is the higher version.
fn merge(
    mut hub: CustomResourceDefinition,
    spoke: CustomResourceDefinition,
    columns: &[CustomResourceColumnDefinition],
) -> CustomResourceDefinition {
    hub.spec.versions.extend(spoke.spec.versions);
    for version in &mut hub.spec.versions {
        version.storage = version.name == v1beta1::VERSION;
        version.additional_printer_columns = Some(columns.to_vec());
        if let Some(root) = root(version) {
            clean(root);
        }
        if let Some(status) = at(version, &["status"]) {
            status.default = Some(JSON(json!({"observedGeneration": -1})));
        }
    }
    hub
}

/// Brings a schema, and all below it, into the form that the API server takes without a warning.
fn clean(schema: &mut JSONSchemaProps) {
    schema.title = None;
    schema.nullable = None;
    schema.default = None;
    schema.required = schema.required.take().filter(|required| !required.is_empty());
    schema.format = schema.format.take().filter(|format| FORMATS.contains(&format.as_str()));
    schema.description = schema.description.take().map(|text| unwrap_lines(&text));
    if schema.type_.as_deref() == Some("array") && schema.x_kubernetes_list_type.is_none() {
        schema.x_kubernetes_list_type = Some("atomic".into());
    }
    for (name, property) in schema.properties.iter_mut().flatten() {
        clean(property);
        if name == "conditions" {
            property.x_kubernetes_list_type = Some("map".into());
            property.x_kubernetes_list_map_keys = Some(vec!["type".into()]);
        }
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        clean(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        clean(values);
    }
}

/// Formats that the API server knows; any other brings a warning.
const FORMATS: [&str; 6] = ["int32", "int64", "double", "float", "date-time", "byte"];

/// Lines of one paragraph become one line; paragraphs stay apart.
fn unwrap_lines(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let whole = number
                .as_f64()
                .filter(|n| number.is_f64() && n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0);
            if let Some(whole) = whole {
                *value = Value::from(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(map) => map.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

fn root(version: &mut CustomResourceDefinitionVersion) -> Option<&mut JSONSchemaProps> {
    version.schema.as_mut()?.open_api_v3_schema.as_mut()
}

/// The schema of the property at `path`.
fn at<'a>(
    version: &'a mut CustomResourceDefinitionVersion,
    path: &[&str],
) -> Option<&'a mut JSONSchemaProps> {
    path.iter().try_fold(root(version)?, |schema, name| schema.properties.as_mut()?.get_mut(*name))
}

/// As [`at`], to read.
fn at_ref<'a>(version: &'a CustomResourceDefinitionVersion, path: &[&str]) -> Option<&'a JSONSchemaProps> {
    let root = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    path.iter().try_fold(root, |schema, name| schema.properties.as_ref()?.get(*name))
}

/// What a mode needs, as CEL: the net beneath the webhook's rules.
fn required_by_mode(version: &str) -> Vec<ValidationRule> {
    let rules = if version == v1beta1::VERSION {
        [("Container", "container", "image"), ("Remote", "remote", "endpoint")]
            .map(|(mode, block, field)| (mode, format!("has(self.{block}) && "), format!(".{block}.{field}")))
    } else {
        [("container", "image"), ("remote", "endpoint")]
            .map(|(mode, field)| (mode, String::new(), format!(".{field}")))
    };
    rules
        .into_iter()
        .map(|(mode, block, path)| ValidationRule {
            rule: format!("self.mode != '{mode}' || ({block}has(self{path}) && self{path} != '')"),
            message: Some(format!("must be set when spec.mode is \"{mode}\"")),
            field_path: Some(path),
            reason: Some("FieldValueRequired".into()),
            ..ValidationRule::default()
        })
        .collect()
}

fn column(name: &str, type_: &str, json_path: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.into(),
        type_: type_.into(),
        json_path: json_path.into(),
        ..CustomResourceColumnDefinition::default()
    }
}

/// A column that `-o wide` alone shows.
fn wide(name: &str, type_: &str, json_path: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition { priority: Some(1), ..column(name, type_, json_path) }
}

const AGE: &str = ".metadata.creationTimestamp";
const READY: &str = ".status.conditions[?(@.type==\"Ready\")].status";
const MESSAGE: &str = ".status.conditions[?(@.type==\"Ready\")].message";

fn provider_columns() -> Vec<CustomResourceColumnDefinition> {
    vec![
        column("Mode", "string", ".spec.mode"),
        column("State", "string", ".status.state"),
        column("Ready", "string", READY),
        column("Tools", "integer", ".status.toolsCount"),
        column("Age", "date", AGE),
        wide("Endpoint", "string", ".status.endpoint"),
        wide("Message", "string", MESSAGE),
    ]
}

fn group_columns() -> Vec<CustomResourceColumnDefinition> {
    vec![
        column("Strategy", "string", ".spec.strategy"),
        column("Providers", "integer", ".status.providerCount"),
        column("Ready", "integer", ".status.readyCount"),
        column("Degraded", "integer", ".status.degradedCount"),
        column("Age", "date", AGE),
        wide("Message", "string", MESSAGE),
    ]
}

fn discovery_columns() -> Vec<CustomResourceColumnDefinition> {
    vec![
        column("Type", "string", ".spec.type"),
        column("Mode", "string", ".spec.mode"),
        column("Discovered", "integer", ".status.discoveredCount"),
        column("Last Sync", "date", ".status.lastSyncTime"),
        column("Age", "date", AGE),
        wide("Message", "string", MESSAGE),
    ]
}
