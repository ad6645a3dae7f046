//! What Pods and Services say of themselves.
//!
//! In: the objects of the selected namespaces. Out: what was found, with its endpoint; a value that is not to be used is
//! said at its annotation. What the operator made for a provider is never found. Which objects are read is left to
//! [`super::scan`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use kube::ResourceExt;
use mcp_hangar_api::annotation::{self, discovered};
use mcp_hangar_api::v1beta1::discovery::Protocol;
use mcp_hangar_api::{GROUP, PROVIDER_LABEL};
use mcp_hangar_webhooks::validation::names;
use serde_json::{Map, Value};

use super::found::{Body, Form, Found, Origin, Spec, shown};

/// Where the endpoint's path is, where nothing else is said.
const PATH: &str = "/mcp";
/// The port of that name is taken where an object has several.
const PORT: &str = "mcp";

/// What the annotations of a source are called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Before each of them.
    pub prefix: &'a str,
    /// Those that must be there.
    pub required: &'a [String],
}

/// What an annotated Service says of itself; `None` where it says nothing.
pub fn annotated_service(service: &Service, names: Names<'_>) -> Option<Found> {
    let said = Said::of(service, names)?;
    let host = host(service);
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports = ports.map(|port| (port.name.clone(), port.port)).collect::<Vec<_>>();
    let body = match said.endpoint(&host, &ports) {
        Ok(endpoint) => Body::Specs(vec![remote(endpoint)]),
        Err(says) => Body::Bad(says),
    };
    let namespace = service.namespace().unwrap_or_default();
    let origin = Origin(format!("Service/{namespace}/{}", service.name_any()));
    Some(Found { raw: said.raw, origin, body })
}

/// An endpoint of a Pod; none while it is not ready; or which of its annotations is wrong.
type Offered = Result<Option<Spec>, String>;

/// What annotated Pods say of themselves, all of one namespace: those of one name are one thing, whichever of them runs.
pub fn annotated_pods<'a>(pods: impl IntoIterator<Item = &'a Pod>, names: Names<'_>) -> Vec<Found> {
    let mut by_name: BTreeMap<(String, String), Vec<(String, Offered)>> = BTreeMap::new();
    for pod in pods {
        let Some(said) = Said::of(pod, names) else { continue };
        let found = pod_endpoint(pod, &said);
        let key = (pod.namespace().unwrap_or_default(), said.raw);
        by_name.entry(key).or_default().push((pod.name_any(), found));
    }
    let mut all = Vec::new();
    for ((namespace, raw), mut pods) in by_name {
        pods.sort_by(|one, other| one.0.cmp(&other.0));
        let bad = pods.iter().find_map(|(_, found)| found.clone().err());
        let names = pods.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let specs: Vec<Spec> = pods.into_iter().filter_map(|(_, found)| found.ok().flatten()).collect();
        let body = match (specs.is_empty(), bad) {
            (false, _) => Body::Specs(specs),
            (true, Some(says)) => Body::Bad(says),
            (true, None) => Body::Waiting(match names.as_slice() {
                [name] => format!("the Pod {name} is not ready"),
                names => format!("none of its {} Pods is ready", names.len()),
            }),
        };
        all.push(Found { origin: Origin(format!("Pod/{namespace}/{raw}")), raw, body });
    }
    all
}

/// A Service with a port of that name; `None` where it has none.
pub fn named_service(service: &Service, port: &str, protocol: Protocol) -> Option<Found> {
    if is_ours(service) {
        return None;
    }
    let is_named = |it: &&ServicePort| it.name.as_deref() == Some(port);
    let found = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).find(is_named)?;
    let scheme = scheme(protocol);
    let path = service.annotations().get(annotation::PATH).map_or(PATH, String::as_str);
    let body = match path_of(annotation::PATH, path) {
        Ok(path) => Body::Specs(vec![remote(format!("{scheme}://{}:{}{path}", host(service), found.port))]),
        Err(says) => Body::Bad(says),
    };
    let raw = service.name_any();
    let origin = Origin(format!("Service/{}/{raw}", service.namespace().unwrap_or_default()));
    Some(Found { raw, origin, body })
}

/// What the annotations say.
struct Said<'a> {
    raw: String,
    prefix: &'a str,
    annotations: &'a BTreeMap<String, String>,
}

impl<'a> Said<'a> {
    fn of(object: &'a impl ResourceExt, names: Names<'a>) -> Option<Self> {
        let annotations = object.annotations();
        if is_ours(object) || !names.required.iter().all(|name| annotations.contains_key(name)) {
            return None;
        }
        let said = annotations.get(&format!("{}/{}", names.prefix, discovered::PROVIDER));
        let raw = said.filter(|name| !name.trim().is_empty()).cloned().unwrap_or_else(|| object.name_any());
        let raw = raw.chars().take(253).collect();
        Some(Self { raw, prefix: names.prefix, annotations })
    }

    fn get(&self, name: &str) -> Option<(String, &'a str)> {
        let key = format!("{}/{name}", self.prefix);
        self.annotations.get(&key).map(|value| (key, value.as_str()))
    }

    fn endpoint(&self, host: &str, ports: &[(Option<String>, i32)]) -> Result<String, String> {
        if let Some((_, endpoint)) = self.get(discovered::ENDPOINT) {
            // The rules of a provider judge it.
            return Ok(endpoint.to_owned());
        }
        let scheme = match self.get(discovered::PROTOCOL) {
            None => "http",
            Some((_, known @ ("http" | "https"))) => known,
            Some((key, other)) => {
                return Err(format!("annotation {key}: {}: must be http or https", shown(other)));
            }
        };
        let port = match self.get(discovered::PORT) {
            Some((key, text)) => number(text).ok_or_else(|| {
                format!(
                    "annotation {key}: {}: must be a whole number between 1 and 65535, in quotes",
                    shown(text)
                )
            })?,
            None => {
                let named = ports.iter().find(|(name, _)| name.as_deref() == Some(PORT));
                match (named, ports) {
                    (Some((_, port)), _) | (None, [(_, port)]) => *port,
                    _ => {
                        let key = format!("{}/{}", self.prefix, discovered::PORT);
                        let count = ports.len();
                        return Err(format!(
                            "annotation {key}: must be set: there are {count} ports, and none of them is named {PORT}"
                        ));
                    }
                }
            }
        };
        let path = match self.get(discovered::PATH) {
            Some((key, text)) => path_of(&key, text)?,
            None => PATH,
        };
        Ok(format!("{scheme}://{host}:{port}{path}"))
    }
}

fn pod_endpoint(pod: &Pod, said: &Said<'_>) -> Offered {
    let status = pod.status.as_ref();
    let conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
    let address = status.and_then(|status| status.pod_ip.as_deref()).filter(|ip| !ip.is_empty());
    let host = match address {
        Some(address) if address.contains(':') => format!("[{address}]"),
        Some(address) => address.to_owned(),
        None => String::new(),
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|it| it.ports.iter().flatten());
    let ports: Vec<_> = ports.map(|port| (port.name.clone(), port.container_port)).collect();
    // What is wrong with its annotations is said before it is ready.
    let endpoint = said.endpoint(&host, &ports)?;
    let is_there = is_ready && address.is_some() && pod.metadata.deletion_timestamp.is_none();
    Ok(is_there.then(|| remote(endpoint)))
}

fn remote(endpoint: String) -> Spec {
    let members = [("mode", "remote".to_owned()), ("endpoint", endpoint)];
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value)));
    Spec { form: Form::Flat, members: members.collect::<Map<_, _>>() }
}

fn host(service: &Service) -> String {
    format!("{}.{}.svc", service.name_any(), service.namespace().unwrap_or_default())
}

const fn scheme(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Https => "https",
    }
}

fn number(text: &str) -> Option<i32> {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|port| plain && (1..=65535).contains(port))
}

fn path_of<'a>(key: &str, text: &'a str) -> Result<&'a str, String> {
    const LONGEST: usize = 1024;
    if text.len() > LONGEST {
        return Err(format!("annotation {key}: must have at most {LONGEST} bytes"));
    }
    let said =
        names::absolute_path(text).map_err(|says| format!("annotation {key}: {}: {says}", shown(text)));
    said.map(|()| text)
}

/// Made for a provider: finding it would make another provider of it.
fn is_ours(object: &impl ResourceExt) -> bool {
    let owners = object.owner_references();
    object.labels().contains_key(PROVIDER_LABEL)
        || owners.iter().any(|it| it.api_version.split('/').next() == Some(GROUP) && it.kind == "MCPProvider")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REQUIRED: &str = "mcp-hangar.io/provider";

    fn names(required: &[String]) -> Names<'_> {
        Names { prefix: "mcp-hangar.io", required }
    }

    fn told(found: Option<Found>) -> String {
        let Some(Found { raw, origin, body }) = found else { return "nothing".into() };
        let body = match body {
            Body::Specs(specs) => specs
                .iter()
                .map(|it| it.members["endpoint"].as_str().unwrap())
                .collect::<Vec<_>>()
                .join(" or "),
            Body::Waiting(says) => format!("waits: {says}"),
            Body::Bad(says) => format!("bad: {says}"),
        };
        format!("{raw} at {}: {body}", origin.0)
    }

    fn service(annotations: Value, ports: Value) -> Service {
        let mut service = json!({"metadata": {"name": "svc", "namespace": "team"}});
        (service["metadata"]["annotations"], service["spec"]["ports"]) = (annotations, ports);
        serde_json::from_value(service).unwrap()
    }

    #[test]
    fn a_service_is_located_by_its_annotations_and_what_is_wrong_is_said_at_them() {
        let required = [REQUIRED.to_owned()];
        let one = json!([{"port": 80}]);
        for (annotations, ports, expected) in [
            (json!({}), &one, "nothing"),
            (json!({"provider": "x"}), &one, "http://svc.team.svc:80/mcp"),
            (
                json!({"provider": "x", "port": "8080", "path": "/a", "protocol": "https"}),
                &one,
                "https://svc.team.svc:8080/a",
            ),
            (
                json!({"provider": "x", "endpoint": "https://e.example/mcp", "port": "http"}),
                &one,
                "https://e.example/mcp",
            ),
            (
                json!({"provider": "x", "port": "http"}),
                &one,
                "bad: annotation mcp-hangar.io/port: \"http\": must be a whole number between 1 and 65535, in quotes",
            ),
            (
                json!({"provider": "x", "port": "99999"}),
                &one,
                "bad: annotation mcp-hangar.io/port: \"99999\": must be a whole number between 1 and 65535, in quotes",
            ),
            (
                json!({"provider": "x", "port": "+80"}),
                &one,
                "bad: annotation mcp-hangar.io/port: \"+80\": must be a whole number between 1 and 65535, in quotes",
            ),
            (
                json!({"provider": "x", "protocol": "grpc"}),
                &one,
                "bad: annotation mcp-hangar.io/protocol: \"grpc\": must be http or https",
            ),
            (
                json!({"provider": "x", "path": "mcp"}),
                &one,
                "bad: annotation mcp-hangar.io/path: \"mcp\": must be an absolute path; write \"/mcp\"",
            ),
            (
                json!({"provider": "x"}),
                &json!([{"port": 1, "name": "a"}, {"port": 2, "name": "mcp"}]),
                "http://svc.team.svc:2/mcp",
            ),
            (
                json!({"provider": "x"}),
                &json!([{"port": 1, "name": "a"}, {"port": 2, "name": "b"}]),
                "bad: annotation mcp-hangar.io/port: must be set: there are 2 ports, and none of them is named mcp",
            ),
        ] {
            let annotations: BTreeMap<String, Value> = annotations
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (format!("mcp-hangar.io/{name}"), value.clone()))
                .collect();
            let found =
                told(annotated_service(&service(json!(annotations), ports.clone()), names(&required)));
            let expected = if expected == "nothing" {
                expected.to_owned()
            } else {
                format!("x at Service/team/svc: {expected}")
            };
            assert_eq!(found, expected, "{annotations:?}");
        }
    }

    #[test]
    fn a_service_with_a_named_port_is_found_by_its_own_name() {
        let ports = json!([{"port": 1}, {"port": 9000, "name": "mcp"}]);
        let of = |service: &Service, port| told(named_service(service, port, Protocol::Http));
        let plain = service(json!({"mcp-hangar.io/path": "/x"}), ports.clone());
        assert_eq!(of(&plain, "mcp"), "svc at Service/team/svc: http://svc.team.svc:9000/x");
        assert_eq!(of(&plain, "other"), "nothing");
        let spoilt = service(json!({"mcp-hangar.io/path": "x"}), ports);
        assert!(of(&spoilt, "mcp").contains("bad: annotation mcp-hangar.io/path"));
    }

    #[test]
    fn what_was_made_for_a_provider_is_never_found() {
        let ports = json!([{"port": 9000, "name": "mcp"}]);
        let mut ours = service(json!({REQUIRED: "x"}), ports);
        ours.metadata.labels = Some(BTreeMap::from([(PROVIDER_LABEL.to_owned(), "x".to_owned())]));
        assert_eq!(named_service(&ours, "mcp", Protocol::Http), None);
        assert_eq!(annotated_service(&ours, names(&[REQUIRED.to_owned()])), None);
    }

    fn pod(name: &str, provider: &str, ip: &str, ready: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "team", "annotations": {REQUIRED: provider}},
            "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 7000}]}]},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}}))
        .unwrap()
    }

    #[test]
    fn pods_of_one_name_are_one_provider_and_wait_until_one_of_them_is_ready() {
        let required = [REQUIRED.to_owned()];
        let of = |pods: &[Pod]| {
            let found = annotated_pods(pods, names(&required));
            found.into_iter().map(|found| told(Some(found))).collect::<Vec<_>>()
        };
        assert_eq!(
            of(&[
                pod("b", "x", "10.0.0.2", true),
                pod("a", "x", "10.0.0.1", true),
                pod("c", "y", "fd00::1", true)
            ]),
            [
                "x at Pod/team/x: http://10.0.0.1:7000/mcp or http://10.0.0.2:7000/mcp",
                "y at Pod/team/y: http://[fd00::1]:7000/mcp"
            ]
        );
        assert_eq!(
            of(&[pod("a", "x", "10.0.0.1", false), pod("b", "x", "10.0.0.2", true)]),
            ["x at Pod/team/x: http://10.0.0.2:7000/mcp"]
        );
        assert_eq!(
            of(&[pod("a", "x", "10.0.0.1", false)]),
            ["x at Pod/team/x: waits: the Pod a is not ready"]
        );
        assert_eq!(of(&[pod("a", "x", "", true)]), ["x at Pod/team/x: waits: the Pod a is not ready"]);
    }
}
