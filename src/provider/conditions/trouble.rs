//! What hinders a provider's pods, and what to do about it.
//!
//! In: the statuses of Deployment and pods. Out: the one trouble to tell first, and its message. What changes by itself
//! (attempts, waits, ports of connections) is left out, and so is all that a process wrote, which may hold secrets.

use k8s_openapi::api::apps::v1::DeploymentStatus;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use mcp_hangar_webhooks::conversion::table::{Place, place};
use mcp_hangar_webhooks::field::Path;
use mcp_hangar_webhooks::kind::Kind;
pub use mcp_hangar_webhooks::kind::Version;

/// What hinders the pods. In the order in which they are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// An object of somebody else has the name: it is never adopted.
    NameTaken {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A remote provider needs a Secret that the operator may not read.
    SecretAccess {
        /// The namespace.
        namespace: String,
    },
    /// A Secret or ConfigMap that the pods need is not there.
    Missing {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A Secret or ConfigMap that the pods need is not there, or lacks a key: the kubelet's words.
    Config {
        /// What the kubelet says.
        message: String,
    },
    /// No pod may be made: a quota, pod security, an admission webhook.
    Refused {
        /// What the API server says.
        message: String,
    },
    /// No node takes the pod.
    Unschedulable {
        /// What the scheduler says.
        message: String,
    },
    /// The image cannot be pulled.
    ImagePull {
        /// The image.
        image: String,
        /// What the kubelet says, where it does.
        reason: Option<String>,
    },
    /// The container ends again and again.
    CrashLoop {
        /// Namespace and name of the pod.
        pod: (String, String),
        /// Its last exit code.
        exit_code: i32,
        /// The kubelet's word for it, such as OOMKilled.
        reason: String,
    },
    /// The container runs, and its port is closed.
    NotListening {
        /// The pod.
        pod: String,
    },
}

/// The trouble to tell, if there is one: what concerns all pods first, then by the pods' names.
pub fn diagnose(deployment: Option<&DeploymentStatus>, pods: &[Pod]) -> Option<Trouble> {
    let failure = deployment
        .into_iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|it| it.type_.as_deref() == Some("ReplicaFailure") && it.status.as_deref() == Some("True"));
    let refused =
        failure.map(|it| Trouble::Refused { message: short(it.message.as_deref().unwrap_or_default()) });
    let of_pods = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).filter_map(of_pod);
    of_pods.chain(refused).min()
}

fn of_pod(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let unscheduled = status.conditions.iter().flatten().find(|it| {
        it.type_ == "PodScheduled" && it.status == "False" && it.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unscheduled {
        return Some(Trouble::Unschedulable {
            message: short(condition.message.as_deref().unwrap_or_default()),
        });
    }
    status.container_statuses.iter().flatten().find_map(|container| of_container(pod, container))
}

fn of_container(pod: &Pod, status: &ContainerStatus) -> Option<Trouble> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let ContainerState { running, terminated, waiting } = status.state.clone().unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.clone());
    if let Some(waiting) = waiting {
        let message = waiting.message.unwrap_or_default();
        return match waiting.reason.as_deref() {
            Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull") => {
                let reason = pull_reason(&message);
                Some(Trouble::ImagePull { image: image_of(pod, status), reason })
            }
            Some("CreateContainerConfigError") => Some(Trouble::Config { message: short(&message) }),
            Some("CrashLoopBackOff") => last.map(|last| crash(pod, name, &last)),
            // A container that could not even be started, such as for a command that is not in the image.
            Some("RunContainerError" | "CreateContainerError") => Some(Trouble::CrashLoop {
                pod: (pod.metadata.namespace.clone().unwrap_or_default(), name),
                exit_code: last.map_or(128, |last| last.exit_code),
                reason: "ContainerCannotRun".into(),
            }),
            _ => None,
        };
    }
    if let Some(terminated) = terminated {
        return Some(crash(pod, name, &terminated));
    }
    match (running, last) {
        (Some(_), Some(last)) if !status.ready => Some(crash(pod, name, &last)),
        (Some(_), None) if !status.ready => Some(Trouble::NotListening { pod: name }),
        _ => None,
    }
}

fn crash(pod: &Pod, name: String, ended: &ContainerStateTerminated) -> Trouble {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let reason = ended.reason.clone().unwrap_or_else(|| "Error".into());
    Trouble::CrashLoop { pod: (namespace, name), exit_code: ended.exit_code, reason }
}

/// As it was written; the status may hold it resolved.
fn image_of(pod: &Pod, status: &ContainerStatus) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let written = containers.filter(|it| it.name == status.name).find_map(|it| it.image.clone());
    written.unwrap_or_else(|| status.image.clone())
}

/// While it backs off, a kubelet repeats the reason after its own words, or says nothing.
fn pull_reason(message: &str) -> Option<String> {
    let told = match message.split_once("ErrImagePull: ") {
        Some((_, reason)) => reason,
        None if message.starts_with("Back-off pulling image") => "",
        None => message,
    };
    Some(short(told)).filter(|reason| !reason.is_empty())
}

/// One line of at most 512 characters, without the local ports of connections, which differ at each attempt.
fn short(message: &str) -> String {
    let line: Vec<_> = message.split_whitespace().collect();
    let line = line.join(" ");
    let mut parts = line.split("->").peekable();
    let mut out = String::new();
    while let Some(part) = parts.next() {
        if parts.peek().is_some() {
            let stable = part.trim_end_matches(|c: char| c.is_ascii_digit());
            out.push_str(stable.trim_end_matches(':'));
            out.push_str("->");
        } else {
            out.push_str(part);
        }
    }
    if out.chars().count() > 512 {
        out = out.chars().take(509).chain("...".chars()).collect();
    }
    out
}

/// Whether `old` is `new` with the kubelet's reason added.
pub(super) fn says_more(old: &str, new: &str) -> bool {
    let told = |text: &str| text.find(UNTOLD).and_then(|at| text.get(..at)).map(str::to_owned);
    told(new).is_some_and(|start| old.strip_prefix(&start).is_some_and(|rest| rest.starts_with(": ")))
}

/// What follows an image whose kubelet does not say why.
const UNTOLD: &str = ", the kubelet does not say why";

/// A field of the hub's spec in the words of the version that the user writes.
pub(super) fn field(version: Version, hub: &str) -> String {
    let path = hub.split('.').fold(Path::of("spec"), Path::key);
    match place(Kind::Provider, version, path) {
        Place::Field(path) => path.to_string(),
        Place::Stashed(path) => format!("{path} of v1beta1"),
    }
}

impl Trouble {
    /// Whether no retry will help.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::NameTaken { .. })
    }

    /// Whether the watches do not show when it is over.
    pub const fn is_unseen(&self) -> bool {
        matches!(self, Self::NameTaken { .. } | Self::Refused { .. })
    }

    /// What is wrong and what to do, in the words of a version.
    pub fn message(&self, version: Version) -> String {
        let field = |hub| field(version, hub);
        match self {
            Self::NameTaken { kind, name } => format!(
                "{kind} {name} exists and is not this provider's: it is left alone; delete it, or name the provider otherwise"
            ),
            Self::SecretAccess { namespace } => format!(
                "the operator may not read Secrets in namespace {namespace}, and {} needs one: add it to the chart's secretNamespaces (--secret-namespaces)",
                field("remote.headersFrom"),
            ),
            Self::Missing { kind, name } => {
                format!(
                    "{kind} {name} does not exist: create it in the provider's namespace; it is picked up at once"
                )
            }
            Self::Config { message } => {
                format!(
                    "the container cannot be created: {message}; create what is missing, it is picked up by itself"
                )
            }
            Self::Refused { message } => refused(message, version),
            Self::Unschedulable { message } => format!(
                "no node takes the pod: {message}; look at {}, {}, {} and {}",
                field("container.resources"),
                field("pod.nodeSelector"),
                field("pod.tolerations"),
                field("pod.affinity"),
            ),
            Self::ImagePull { image, reason } => format!(
                "image {image} cannot be pulled{}; check {}, and {} where the registry asks for credentials",
                reason.as_ref().map_or(UNTOLD.to_owned(), |reason| format!(": {reason}")),
                field("container.image"),
                field("pod.imagePullSecrets"),
            ),
            Self::CrashLoop { pod: (namespace, pod), exit_code, reason } => {
                crashed(namespace, pod, *exit_code, reason, version)
            }
            Self::NotListening { pod } => format!(
                "pod {pod} runs and its port is closed: the server must listen on the address 0.0.0.0 and the port in PORT; another port is told with {}",
                match version {
                    Version::V1Alpha1 => "the annotation mcp-hangar.io/port".to_owned(),
                    Version::V1Beta1 => field("container.port"),
                }
            ),
        }
    }
}

fn refused(message: &str, version: Version) -> String {
    let next = if message.contains("exceeded quota") || message.contains("failed quota") {
        format!(
            "raise the ResourceQuota, or lower {} or spec.replicas",
            field(version, "container.resources")
        )
    } else if message.contains("violates PodSecurity") {
        format!("remove what {} loosens", field(version, "pod.securityContext"))
    } else if message.contains("serviceaccount") {
        format!("create the ServiceAccount, or change {}", field(version, "pod.serviceAccountName"))
    } else {
        "change what is named there".to_owned()
    };
    format!("no pod may be created: {message}; {next}")
}

fn crashed(namespace: &str, pod: &str, exit_code: i32, reason: &str, version: Version) -> String {
    let next = match (reason, exit_code) {
        ("OOMKilled", _) => format!("; raise the memory limit in {}", field(version, "container.resources")),
        ("ContainerCannotRun" | "StartError", _) | (_, 126 | 127) => {
            format!("; check that {} is in the image and may be run", field(version, "container.command"))
        }
        // A server that speaks only stdio ends well as soon as nobody writes to it.
        (_, 0) => "; a server must keep running and speak HTTP: one that speaks only stdio needs a bridge in its image".to_owned(),
        _ => String::new(),
    };
    format!(
        "the container ended with code {exit_code} ({reason}): its last lines are in kubectl logs --previous -n {namespace} {pod}{next}"
    )
}
