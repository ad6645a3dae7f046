//! The objects that run a container provider: a Deployment and two Services.
//!
//! In: the provider, the pods to run, the contents of the Secrets and ConfigMaps that its pods use, as far as they may
//! be read. Out: typed objects with the fields that are ours and no others, for server-side apply. Every struct of the
//! spec is taken apart without `..`, so that a new field does not compile until it has a place. Applying is left to
//! others; nothing here calls anything.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{PodTemplateSpec, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mcp_hangar_api::v1beta1::provider::{Container, MCPProviderSpec};
use mcp_hangar_api::{GROUP, PROVIDER_LABEL, annotation};

mod env;
pub mod hash;
mod pod;
mod security;
#[cfg(test)]
mod tests;
mod volumes;

pub use hash::{Contents, Reference, references};

/// Builds the objects of a provider of mode Container.
pub fn build(provider: &Provider<'_>, replicas: i32, contents: &Contents) -> Result<Objects, BuildError> {
    let place = Place::of(provider);
    let mut template = pod::template(provider, &place)?;
    let digest = hash::of_template(&template, provider.spec, contents);
    let metadata = template.metadata.get_or_insert_default();
    metadata.annotations.get_or_insert_default().insert(hash::ANNOTATION.into(), digest.clone());
    Ok(Objects {
        deployment: deployment(provider, replicas, template),
        service: service(provider, provider.name.to_owned(), &place, None),
        pods_service: service(provider, format!("{}-pods", provider.name), &place, Some("None".into())),
        endpoint: place.endpoint(provider),
        config_hash: digest,
    })
}

/// The provider to build for.
#[derive(Clone, Copy, Debug)]
pub struct Provider<'a> {
    /// Its name, which the objects take.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid: the objects are owned by it.
    pub uid: &'a str,
    /// Its annotations; port and path are read.
    pub annotations: &'a BTreeMap<String, String>,
    /// Its spec, of mode Container.
    pub spec: &'a MCPProviderSpec,
}

/// What runs a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects {
    /// Runs the pods.
    pub deployment: Deployment,
    /// The address for clients, `<name>`.
    pub service: Service,
    /// Selects the pods, `<name>-pods`, headless.
    pub pods_service: Service,
    /// URL of the MCP endpoint.
    pub endpoint: String,
    /// What the annotation on the pods says: changes when template, Secrets or ConfigMaps do.
    pub config_hash: String,
}

/// Why nothing can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// There is no image, and the webhook did not see it.
    #[error("failed to build deployment of provider {provider}: container.image is missing")]
    MissingImage {
        /// Namespace and name.
        provider: String,
    },
}

impl BuildError {
    /// Fixed label for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MissingImage { .. } => "missing_image",
        }
    }
}

/// The label selector of the provider's pods: of the Deployment, of the Services, and as text in the status.
pub fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(PROVIDER_LABEL.to_owned(), name.to_owned())])
}

/// Where the server listens.
struct Place {
    port: i32,
    path: String,
}

impl Place {
    /// The field wins over the annotation, which wins over the default. An annotation that says nothing usable counts
    /// as absent: the rules have named it.
    fn of(provider: &Provider<'_>) -> Self {
        let container = provider.spec.container.as_ref();
        let written = |key: &str| provider.annotations.get(key);
        let port = container.and_then(|container| container.port);
        let said = || written(annotation::PORT)?.parse().ok().filter(|port| (1..=65_535).contains(port));
        let path = container.and_then(|container| container.path.clone());
        let told = || written(annotation::PATH).filter(|path| path.starts_with('/')).cloned();
        Self { port: port.or_else(said).unwrap_or(8080), path: path.or_else(told).unwrap_or("/mcp".into()) }
    }

    fn endpoint(&self, provider: &Provider<'_>) -> String {
        format!("http://{}.{}.svc:{}{}", provider.name, provider.namespace, self.port, self.path)
    }
}

/// URL of the MCP endpoint of a provider of mode Container.
pub fn endpoint(provider: &Provider<'_>) -> String {
    Place::of(provider).endpoint(provider)
}

fn deployment(provider: &Provider<'_>, replicas: i32, template: PodTemplateSpec) -> Deployment {
    Deployment {
        metadata: metadata(provider, provider.name.to_owned()),
        spec: DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector { match_labels: Some(selector(provider.name)), ..Default::default() },
            template,
            ..Default::default()
        },
        status: None,
    }
}

fn service(provider: &Provider<'_>, name: String, place: &Place, cluster_ip: Option<String>) -> Service {
    Service {
        metadata: metadata(provider, name),
        spec: Some(ServiceSpec {
            cluster_ip,
            selector: Some(selector(provider.name)),
            ports: Some(vec![ServicePort {
                name: Some("mcp".into()),
                app_protocol: Some("agentgateway.dev/mcp".into()),
                port: place.port,
                // Part of the key by which server-side apply finds the port again.
                protocol: Some("TCP".into()),
                target_port: Some(IntOrString::String("mcp".into())),
                node_port: None,
            }]),
            ..Default::default()
        }),
        status: None,
    }
}

fn metadata(provider: &Provider<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(provider.namespace.to_owned()),
        labels: Some(labels(provider)),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{GROUP}/v1beta1"),
            kind: "MCPProvider".into(),
            name: provider.name.to_owned(),
            uid: provider.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..Default::default()
    }
}

/// The seven recommended labels and our own. None of them knows the operator's version: an upgrade rolls no pods.
fn labels(provider: &Provider<'_>) -> BTreeMap<String, String> {
    let image = provider.spec.container.as_ref().and_then(|Container { image, .. }| image.as_deref());
    let recommended = [
        ("name", "mcp-provider".to_owned()),
        ("instance", provider.name.to_owned()),
        ("version", version(image.unwrap_or_default())),
        ("component", "mcp-server".to_owned()),
        ("part-of", "mcp-hangar".to_owned()),
        ("managed-by", "mcp-hangar-operator".to_owned()),
        ("created-by", "mcp-hangar-operator".to_owned()),
    ];
    let recommended = recommended.map(|(key, value)| (format!("app.kubernetes.io/{key}"), value));
    recommended.into_iter().chain(selector(provider.name)).collect()
}

/// The tag of an image, or the start of its digest, as the value of a label.
fn version(image: &str) -> String {
    let (named, digest) =
        image.split_once('@').map_or((image, None), |(named, digest)| (named, Some(digest)));
    let last = named.rsplit('/').next().unwrap_or_default();
    let tag = last.split_once(':').map(|(_, tag)| tag);
    let hex = digest.and_then(|digest| digest.split_once(':')).and_then(|(_, hex)| hex.get(..12));
    let text: String = tag.or(hex).unwrap_or("latest").chars().take(63).collect();
    let is_odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    text.replace(is_odd, "-").trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}
