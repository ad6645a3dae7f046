//! The pod template.
//!
//! In: the provider and where its server listens. Out: labels, scrape annotations, one container, volumes, and where
//! the pods may run. Everything under `container`, `pod` and `observability` lands here.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    self as core, ContainerPort, LocalObjectReference, PodSpec, PodTemplateSpec, ResourceRequirements,
    TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mcp_hangar_api::duration;
use mcp_hangar_api::v1beta1::provider::{
    Container, Metrics, Observability, Pod, PullSecret, Resources, Toleration,
};

use super::{BuildError, Place, Provider, env, labels, security, volumes};

/// Name of the container.
pub(super) const CONTAINER: &str = "mcp";

/// The template, without the hash of itself.
pub(super) fn template(provider: &Provider<'_>, place: &Place) -> Result<PodTemplateSpec, BuildError> {
    let missing =
        || BuildError::MissingImage { provider: format!("{}/{}", provider.namespace, provider.name) };
    let container = provider.spec.container.clone().unwrap_or_default();
    let image = container.image.clone().filter(|image| !image.is_empty()).ok_or_else(missing)?;
    let Observability { tracing, metrics } = provider.spec.observability.clone().unwrap_or_default();
    let metrics_port = metrics_port(metrics.unwrap_or_default());
    let pod = provider.spec.pod.clone().unwrap_or_default();
    let context = pod.security_context.clone().unwrap_or_default();
    let (pod_context, container_context) = security::contexts(context);
    let is_read_only = container_context.read_only_root_filesystem == Some(true);
    let (volumes, mounts) = volumes::volumes(container.volumes.clone(), is_read_only);
    let env = env::env(provider.name, place.port, tracing.unwrap_or_default(), container.env.clone());
    let container = core::Container {
        env: Some(env),
        image: Some(image),
        ports: Some(ports(place.port, metrics_port)),
        security_context: Some(container_context),
        volume_mounts: some(mounts),
        ..command(container)
    };
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(provider)),
            annotations: metrics_port.map(scrape),
            ..Default::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container],
            security_context: Some(pod_context),
            termination_grace_period_seconds: Some(grace(provider)),
            volumes: some(volumes),
            ..placement(pod)
        }),
    })
}

/// What the container runs. Image, port, path, env and volumes have their own places.
fn command(container: Container) -> core::Container {
    let Container { image: _, command, args, working_dir, port: _, path: _, env: _, volumes: _, resources } =
        container;
    core::Container {
        name: CONTAINER.into(),
        command: some(command),
        args: some(args),
        working_dir,
        resources: resources.map(|Resources { requests, limits }| ResourceRequirements {
            claims: None,
            requests: Some(requests).filter(|map| !map.is_empty()),
            limits: Some(limits).filter(|map| !map.is_empty()),
        }),
        // A pod takes traffic, and lets an older one go, when its port is open. Whether MCP is spoken there the
        // operator asks itself: a kubelet cannot.
        readiness_probe: Some(core::Probe {
            tcp_socket: Some(TCPSocketAction { host: None, port: IntOrString::String("mcp".into()) }),
            period_seconds: Some(2),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Where and as whom the pods run. The security settings have their own place.
fn placement(pod: Pod) -> PodSpec {
    let Pod {
        service_account_name,
        node_selector,
        tolerations,
        affinity,
        priority_class_name,
        security_context: _,
        image_pull_secrets,
    } = pod;
    let secret = |PullSecret { name }: PullSecret| LocalObjectReference { name: name.unwrap_or_default() };
    PodSpec {
        service_account_name,
        node_selector: Some(node_selector).filter(|map| !map.is_empty()),
        tolerations: some(tolerations.into_iter().map(toleration).collect()),
        affinity,
        priority_class_name,
        image_pull_secrets: some(image_pull_secrets.into_iter().map(secret).collect()),
        ..Default::default()
    }
}

fn toleration(written: Toleration) -> core::Toleration {
    let Toleration { key, operator, value, effect, toleration_seconds } = written;
    core::Toleration { key, operator, value, effect, toleration_seconds }
}

fn metrics_port(Metrics { enabled, port }: Metrics) -> Option<i32> {
    enabled.unwrap_or(true).then(|| port.unwrap_or(9090))
}

/// One port where metrics are served beside MCP: a number may stand there once.
fn ports(mcp: i32, metrics: Option<i32>) -> Vec<ContainerPort> {
    let port = |(name, number): (&str, i32)| ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..Default::default()
    };
    let metrics = metrics.filter(|metrics| *metrics != mcp).map(|number| ("metrics", number));
    [("mcp", mcp)].into_iter().chain(metrics).map(port).collect()
}

fn scrape(port: i32) -> BTreeMap<String, String> {
    let annotations =
        [("scrape", "true".to_owned()), ("port", port.to_string()), ("path", "/metrics".to_owned())];
    annotations.map(|(key, value)| (format!("prometheus.io/{key}"), value)).into()
}

/// Whole seconds, rounded up: a pod never has less time than was written.
fn grace(provider: &Provider<'_>) -> i64 {
    let written = provider.spec.lifecycle.as_ref().and_then(|it| it.shutdown_grace_period.as_deref());
    let parsed = written.and_then(|text| duration::parse(text).ok()).filter(|time| time.nanos() >= 0);
    parsed.map_or(30, |time| time.nanos() / 1_000_000_000 + i64::from(time.nanos() % 1_000_000_000 > 0))
}

/// An empty list is not applied: it would be ours without saying anything.
pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}
