//! What this release says to the API server, as typed values: the two webhook configurations and the conversion stanza.
//!
//! In: an [`Endpoint`] (how the API server reaches us) and, where it is known, the CA bundle. Out: objects with every
//! API default spelled out, so that nothing reads as drift. The only source of these texts: `run --webhook-url`,
//! `crds` and everything generated build on it. Which of them is written when is [`crate::trust`]'s matter.

pub mod chart;

use std::collections::BTreeMap;

use axum::http::Uri;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as crd;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// The field manager of everything the operator writes.
pub const FIELD_MANAGER: &str = "mcp-hangar-operator";
/// The API group.
pub const GROUP: &str = mcp_hangar_api::GROUP;
/// Served versions, oldest first; the last one is the hub.
pub const VERSIONS: [&str; 2] = ["v1alpha1", "v1beta1"];
/// Plural names of the three kinds.
pub const RESOURCES: [&str; 3] = ["mcpproviders", "mcpprovidergroups", "mcpdiscoverysources"];
/// Name of the one entry of the mutating configuration.
pub const DEFAULT_ENTRY: &str = "default.mcp-hangar.io";
/// Name of the one entry of the validating configuration.
pub const VALIDATE_ENTRY: &str = "validate.mcp-hangar.io";
/// Path of the mutating webhook.
pub const DEFAULT_PATH: &str = "/default";
/// Path of the validating webhook.
pub const VALIDATE_PATH: &str = "/validate";
/// Path of the conversion webhook.
pub const CONVERT_PATH: &str = "/convert";
/// Default name of the Service, of both configurations' owner and of the Helm release.
pub const RELEASE: &str = "mcp-hangar-operator";
/// Default namespace.
pub const NAMESPACE: &str = "mcp-system";
/// Default name of the Secret that holds the CA.
pub const CA_SECRET: &str = "mcp-hangar-operator-webhook-ca";
/// Default name of the webhook Service.
pub const SERVICE: &str = "mcp-hangar-operator-webhook";

/// How the API server reaches the webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Through a Service of the cluster.
    Service {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Its port.
        port: u16,
    },
    /// Beside the cluster, at this address.
    Url(BaseUrl),
}

/// `https://host[:port]`, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: String,
    port: u16,
}

impl BaseUrl {
    /// Reads and checks the text of `--webhook-url`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        if uri.scheme_str() != Some("https") {
            return Err("the API server calls webhooks by https only; write https://HOST:PORT".into());
        }
        let authority = uri.authority().ok_or("it has no host; write https://HOST:PORT")?;
        if authority.as_str().contains('@') {
            return Err("it must not hold a user or password".into());
        }
        if uri.query().is_some() || text.contains('#') || !matches!(uri.path(), "" | "/") {
            return Err("it must end after host and port; the operator adds the paths".into());
        }
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or("it has no host; write https://HOST:PORT")?;
        let port = match authority.as_str().strip_prefix(host) {
            None | Some("") => 443,
            Some(rest) => rest
                .strip_prefix(':')
                .and_then(|digits| digits.parse().ok())
                .ok_or("its port is no number from 0 to 65535; write https://HOST:PORT")?,
        };
        Ok(Self {
            text: format!("https://{authority}"),
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
        })
    }

    /// The port, 443 unless the text names one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host at another port.
    pub fn with_port(&self, port: u16) -> Self {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        Self { text: format!("https://{host}:{port}"), host: self.host.clone(), port }
    }

    fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }
}

impl std::fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Endpoint {
    /// The Service that `crds` names by default.
    pub fn default_service(namespace: &str) -> Self {
        Self::Service { name: SERVICE.into(), namespace: namespace.into(), port: 443 }
    }

    /// Names and addresses that the serving certificate must carry.
    pub fn server_names(&self) -> Vec<String> {
        match self {
            Self::Service { name, namespace, .. } => vec![format!("{name}.{namespace}.svc")],
            Self::Url(url) => vec![url.host.clone()],
        }
    }

    /// `clientConfig` of an admission webhook.
    pub fn admission(&self, path: &str, bundle: Option<&[u8]>) -> WebhookClientConfig {
        let (service, url) = match self {
            Self::Service { name, namespace, port } => {
                let service = ServiceReference {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    path: Some(path.into()),
                    port: Some(i32::from(*port)),
                };
                (Some(service), None)
            }
            Self::Url(url) => (None, Some(url.join(path))),
        };
        WebhookClientConfig { ca_bundle: bundle.map(|pem| ByteString(pem.to_vec())), service, url }
    }

    /// `clientConfig` of the conversion webhook, in the type that CRDs have for it.
    pub fn conversion(&self, bundle: Option<&[u8]>) -> crd::WebhookClientConfig {
        let WebhookClientConfig { ca_bundle, service, url } = self.admission(CONVERT_PATH, bundle);
        let service = service.map(|service| {
            let ServiceReference { name, namespace, path, port } = service;
            crd::ServiceReference { name, namespace, path, port }
        });
        crd::WebhookClientConfig { ca_bundle, service, url }
    }
}

/// The mutating configuration, with `caBundle` only where it is given.
pub fn mutating(name: &str, endpoint: &Endpoint, bundle: Option<&[u8]>) -> MutatingWebhookConfiguration {
    MutatingWebhookConfiguration {
        metadata: metadata(name),
        webhooks: Some(vec![MutatingWebhook {
            name: DEFAULT_ENTRY.into(),
            admission_review_versions: vec!["v1".into()],
            client_config: endpoint.admission(DEFAULT_PATH, bundle),
            failure_policy: Some("Fail".into()),
            match_conditions: Some(match_conditions()),
            match_policy: Some("Equivalent".into()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            reinvocation_policy: Some("IfNeeded".into()),
            rules: Some(rules()),
            side_effects: "None".into(),
            timeout_seconds: Some(5),
        }]),
    }
}

/// The validating configuration, with `caBundle` only where it is given.
pub fn validating(name: &str, endpoint: &Endpoint, bundle: Option<&[u8]>) -> ValidatingWebhookConfiguration {
    ValidatingWebhookConfiguration {
        metadata: metadata(name),
        webhooks: Some(vec![ValidatingWebhook {
            name: VALIDATE_ENTRY.into(),
            admission_review_versions: vec!["v1".into()],
            client_config: endpoint.admission(VALIDATE_PATH, bundle),
            failure_policy: Some("Fail".into()),
            match_conditions: Some(match_conditions()),
            match_policy: Some("Equivalent".into()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            rules: Some(rules()),
            side_effects: "None".into(),
            timeout_seconds: Some(5),
        }]),
    }
}

/// The three CRDs with the conversion stanza. Never `strategy: None`, which relabels and prunes.
pub fn crds(endpoint: &Endpoint, bundle: Option<&[u8]>) -> Vec<CustomResourceDefinition> {
    let crds = mcp_hangar_api::crd::crds().into_iter();
    crds.map(|crd| mcp_hangar_api::crd::with_conversion(crd, endpoint.conversion(bundle))).collect()
}

/// Full name of a CRD.
pub fn crd_name(resource: &str) -> String {
    format!("{resource}.{GROUP}")
}

/// The labels of everything the operator creates.
pub fn labels() -> BTreeMap<String, String> {
    [("name", RELEASE), ("part-of", "mcp-hangar"), ("managed-by", FIELD_MANAGER)]
        .into_iter()
        .map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()))
        .collect()
}

fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), labels: Some(labels()), ..ObjectMeta::default() }
}

fn rules() -> Vec<RuleWithOperations> {
    let owned = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
    vec![RuleWithOperations {
        api_groups: owned(&[GROUP]),
        api_versions: owned(&VERSIONS),
        operations: owned(&["CREATE", "UPDATE"]),
        resources: owned(&RESOURCES),
        scope: Some("Namespaced".into()),
    }]
}

/// Lets pass what must work while nobody answers: objects being deleted, and updates that change neither the spec nor
/// an annotation other than the two that traffic carriers write. The comparison is spelled out in both directions
/// because two-variable comprehensions came after Kubernetes 1.30.
fn match_conditions() -> Vec<MatchCondition> {
    const NEW: &str = "object.metadata.?annotations.orValue({})";
    const OLD: &str = "oldObject.metadata.?annotations.orValue({})";
    const FREE: &str = "k in ['mcp-hangar.io/wake', 'mcp-hangar.io/last-activity']";
    let changed = [
        "request.operation == \"CREATE\"".to_owned(),
        "has(object.spec) != has(oldObject.spec)".to_owned(),
        "(has(object.spec) && object.spec != oldObject.spec)".to_owned(),
        format!(
            "!{NEW}.all(k, {FREE} || (k in {OLD} && object.metadata.annotations[k] == oldObject.metadata.annotations[k]))"
        ),
        format!("!{OLD}.all(k, {FREE} || k in {NEW})"),
    ];
    vec![
        MatchCondition {
            name: "not-deleting".into(),
            expression: "!has(object.metadata.deletionTimestamp)".into(),
        },
        MatchCondition { name: "spec-or-annotations-changed".into(), expression: changed.join(" || ") },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> BaseUrl {
        BaseUrl::parse(text).unwrap()
    }

    #[test]
    fn reads_a_webhook_url_with_and_without_a_port() {
        assert_eq!(url("https://127.0.0.1:9443").port(), 9443);
        assert_eq!(url("https://example.com/").to_string(), "https://example.com");
        assert_eq!(Endpoint::Url(url("https://[::1]:9443")).server_names(), ["::1"]);
        assert_eq!(url("https://[::1]:9443").join(CONVERT_PATH), "https://[::1]:9443/convert");
    }

    #[test]
    fn refuses_a_webhook_url_that_the_api_server_would_refuse() {
        for text in [
            "http://a:1",
            "127.0.0.1:9443",
            "https://a/x",
            "https://a?b=c",
            "https://u:p@a",
            "",
            "https://",
            "https://a#b",
            "https://a:99999",
            "https://a:x",
            "https://a:",
            "https://[::1]:99999",
        ] {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn never_renders_a_bundle_that_was_not_given() {
        let endpoint = Endpoint::default_service(NAMESPACE);
        let texts = [
            serde_json::to_string(&mutating(RELEASE, &endpoint, None)).unwrap(),
            serde_json::to_string(&validating(RELEASE, &endpoint, None)).unwrap(),
            serde_json::to_string(&endpoint.conversion(None)).unwrap(),
        ];
        for text in texts {
            assert!(!text.contains("caBundle") && !text.contains("null") && !text.contains("[]"), "{text}");
        }
    }

    #[test]
    fn a_url_and_a_service_never_stand_together() {
        let config = Endpoint::Url(url("https://127.0.0.1:9443")).admission(DEFAULT_PATH, Some(b"pem"));
        assert_eq!(config.url.as_deref(), Some("https://127.0.0.1:9443/default"));
        assert!(config.service.is_none());
    }
}
