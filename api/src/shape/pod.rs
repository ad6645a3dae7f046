//! What both versions say about a provider's pods: volumes, security, tolerations, references to keys.
//!
//! Closed types of our own instead of those of core/v1, which bring fields without effect or bound. Nothing is
//! required but what v1alpha1 requires; which combinations make sense is for the rules to say.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bound;

/// One key of a Secret or ConfigMap in the provider's namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyReference {
    /// Name of the Secret or ConfigMap, in the provider's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,

    /// Key inside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,

    /// Whether a missing object or key is left out instead of holding the start. Absent: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A volume and where the container sees it. Exactly one of secret, configMap, persistentVolumeClaim and emptyDir.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Name of the volume, a DNS label, unique in the list.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// Absolute path in the container, unique in the list.
    #[schemars(length(min = 1, max = 1024))]
    pub mount_path: String,

    /// Path inside the volume to mount instead of its root, relative and without "..". Absent: the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub sub_path: Option<String>,

    /// Whether the container may only read. Absent: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,

    /// Files from a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,

    /// Files from a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,

    /// A persistent volume, through its claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimVolume>,

    /// An empty directory that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolume>,
}

/// Files from a Secret.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretVolume {
    /// Name of the Secret, in the provider's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,

    /// Keys to make files of. Empty or absent: every key becomes a file of its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub items: Vec<KeyToPath>,
}

/// Files from a ConfigMap.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapVolume {
    /// Name of the ConfigMap, in the provider's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,

    /// Keys to make files of. Empty or absent: every key becomes a file of its name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub items: Vec<KeyToPath>,
}

/// One key and the file it becomes.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyToPath {
    /// Key of the Secret or ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub key: Option<String>,

    /// Path of the file in the volume, relative and without "..".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub path: Option<String>,
}

/// A persistent volume, through its claim.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimVolume {
    /// Name of the PersistentVolumeClaim, in the provider's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub claim_name: Option<String>,
}

/// An empty directory that lives as long as the pod.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EmptyDirVolume {
    /// Where the files live: Memory, or "" for the node's disk. Absent: the node's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Medium")]
    pub medium: Option<Medium>,

    /// Size at which the pod is evicted, a Kubernetes quantity such as 512Mi. Absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::quantity")]
    pub size_limit: Option<Quantity>,
}

/// Where the files of an empty directory live.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum Medium {
    /// The node's disk.
    #[default]
    #[serde(rename = "")]
    Disk,
    /// Memory, counted against the container's limit.
    Memory,
}

/// Security settings of pod and container. Each absent field keeps its secure default.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecurityContext {
    /// Whether an image that runs as root is refused. Absent: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,

    /// User id of the process, 0 to 2147483647. Absent: 65534.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub run_as_user: Option<i64>,

    /// Group id of the process, 0 to 2147483647. Absent: 65534.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub run_as_group: Option<i64>,

    /// Group id that owns the volumes' files, 0 to 2147483647. Absent: 65534.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub fs_group: Option<i64>,

    /// Whether the image's file system is read-only; /tmp stays writable. Absent: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,

    /// Whether a process may gain more rights than its parent. Absent: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,

    /// Linux capabilities. Absent: all are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,

    /// Filter of system calls. Absent: RuntimeDefault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
}

/// Linux capabilities.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Capabilities to add. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::capabilities")]
    pub add: Option<Vec<String>>,

    /// Capabilities to drop. Absent: ALL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bound::capabilities")]
    pub drop: Option<Vec<String>>,
}

/// Filter of system calls.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompProfile {
    /// Which filter: RuntimeDefault (the container runtime's) or Unconfined (none). Localhost is refused: no field names a
    /// profile on the node.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SeccompType")]
    pub type_: Option<SeccompType>,
}

/// Which filter of system calls.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum SeccompType {
    /// The container runtime's own.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// One that lies on the node.
    Localhost,
}

/// A taint of nodes that the pods tolerate.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Key of the taint. Empty or absent, with the operator Exists: every key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub key: Option<String>,

    /// How the value is compared: Equal, Exists (any value), Lt or Gt (numbers). Empty or absent: Equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["", "Equal", "Exists", "Lt", "Gt"]))]
    pub operator: Option<String>,

    /// Value of the taint; empty or absent with the operator Exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,

    /// Effect of the taint: NoSchedule, PreferNoSchedule or NoExecute. Empty or absent: every effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["", "NoSchedule", "PreferNoSchedule", "NoExecute"]))]
    pub effect: Option<String>,

    /// Seconds that a running pod stays after a NoExecute taint; 0 and below evict at once. Absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -9007199254740991i64, max = 9007199254740991i64))]
    pub toleration_seconds: Option<i64>,
}

/// A Secret with the credentials of a registry.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullSecret {
    /// Name of the Secret, in the provider's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
}
