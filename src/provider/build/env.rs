//! The environment of the container.
//!
//! In: name, port, tracing, the variables that were written. Out: each name once, as server-side apply needs it: five
//! fixed ones, those of OpenTelemetry where tracing is on, then the written ones, which win over ours.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector, SecretKeySelector,
};
use mcp_hangar_api::v1beta1::provider::{
    self as api, EnvSource, FieldReference, KeyReference, ResourceReference, SamplingRate, Tracing,
};

/// The variables, in order.
pub(super) fn env(name: &str, port: i32, tracing: Tracing, written: Vec<api::EnvVar>) -> Vec<EnvVar> {
    let mut all = vec![
        value("MCP_PROVIDER_NAME", name.to_owned()),
        field("MCP_PROVIDER_NAMESPACE", "metadata.namespace"),
        field("MCP_POD_NAME", "metadata.name"),
        field("MCP_POD_IP", "status.podIP"),
        value("PORT", port.to_string()),
    ];
    all.extend(traces(name, tracing));
    all.extend(written.into_iter().map(variable));
    // The last of a name counts, as it does for the kubelet.
    let mut names = BTreeSet::new();
    let mut once: Vec<_> = all.into_iter().rev().filter(|it| names.insert(it.name.clone())).collect();
    once.reverse();
    once
}

fn traces(name: &str, Tracing { enabled, sampling_rate }: Tracing) -> Vec<EnvVar> {
    if enabled != Some(true) {
        return Vec::new();
    }
    let rate = match sampling_rate {
        None => "0.1".to_owned(),
        Some(SamplingRate::Number(rate)) => rate.to_string(),
        Some(SamplingRate::Text(rate)) => rate,
    };
    let attributes = "k8s.namespace.name=$(MCP_PROVIDER_NAMESPACE),k8s.pod.name=$(MCP_POD_NAME)";
    vec![
        value("OTEL_SERVICE_NAME", name.to_owned()),
        value("OTEL_RESOURCE_ATTRIBUTES", attributes.to_owned()),
        value("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
        value("OTEL_TRACES_SAMPLER_ARG", rate),
    ]
}

fn value(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.to_owned() };
    let source = EnvVarSource { field_ref: Some(field_ref), ..Default::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

fn variable(api::EnvVar { name, value, value_from }: api::EnvVar) -> EnvVar {
    EnvVar { name, value, value_from: value_from.map(source) }
}

fn source(written: EnvSource) -> EnvVarSource {
    let EnvSource { secret_key_ref, config_map_key_ref, field_ref, resource_field_ref } = written;
    EnvVarSource {
        secret_key_ref: secret_key_ref.map(|KeyReference { name, key, optional }| SecretKeySelector {
            name: name.unwrap_or_default(),
            key: key.unwrap_or_default(),
            optional,
        }),
        config_map_key_ref: config_map_key_ref.map(|KeyReference { name, key, optional }| {
            ConfigMapKeySelector { name: name.unwrap_or_default(), key: key.unwrap_or_default(), optional }
        }),
        field_ref: field_ref.map(|FieldReference { api_version, field_path }| ObjectFieldSelector {
            api_version,
            field_path: field_path.unwrap_or_default(),
        }),
        resource_field_ref: resource_field_ref.map(
            |ResourceReference { container_name, resource, divisor }| ResourceFieldSelector {
                container_name,
                resource: resource.unwrap_or_default(),
                divisor,
            },
        ),
        ..Default::default()
    }
}
